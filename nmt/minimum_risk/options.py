"""The settings of minimum risk training."""

from dataclasses import dataclass
from enum import Enum

from nmt.bounds import at_least, between, greater_than

MAX_SAMPLES = 10_000  # for each sentence; papers draw 100


class Cost(Enum):
    """The values of ``minimum_risk.cost``: the sentence metric, from 0 to 1, that is subtracted from 1."""

    bleu = "bleu"
    chrf = "chrf"


@dataclass
class MinimumRiskOptions:
    """The settings minimum_risk.*, for loss.objective=minimum_risk; the values are those of Shen et al. (2016).

    samples: drawn for each sentence; duplicates count once. cost: the metric of a candidate. sharpness: alpha, the
    power of the probabilities before they are renormalized over the candidates of a sentence. cross_entropy_weight: the
    weight of the reference's cross-entropy per target token, added to the expected cost per sentence.
    """

    samples: int = 100
    cost: Cost = Cost.bleu
    sharpness: float = 0.005
    cross_entropy_weight: float = 0.0

    def __post_init__(self):
        between(1, MAX_SAMPLES, {"minimum_risk__samples": self.samples})
        greater_than(0, minimum_risk__sharpness=self.sharpness)
        at_least(0, minimum_risk__cross_entropy_weight=self.cross_entropy_weight)
