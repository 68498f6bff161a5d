"""Consistency training: pairs go through the model twice, in one batch, and the divergence of the predictions is a
loss.
"""

from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor

from nmt.bounds import fraction, greater_than
from nmt.data.batches import Batch
from nmt.layers.embedding import cut_tokens
from nmt.layers.loss import PassWeights, guided_cross_entropy


class Consistency(Enum):
    """The values of ``loss.consistency``: how the second pass differs from the first.

    r_drop: another dropout mask.  # Wu et al. (2021)
    simcut: another dropout mask, and words of both sides with embeddings of zero.  # Gao et al. (2022)
    """

    none = "none"
    r_drop = "r_drop"
    simcut = "simcut"


class Objective(Enum):
    """The values of ``loss.objective``: the cross-entropy of the references, or the expected cost of candidates (see
    `nmt.minimum_risk`)."""

    cross_entropy = "cross_entropy"
    minimum_risk = "minimum_risk"


_PUBLISHED_WEIGHTS = {Consistency.none: 0.0, Consistency.r_drop: 5.0, Consistency.simcut: 3.0}


@dataclass
class LossOptions:
    """The settings loss.*

    consistency_weight: the weight of the divergence in the objective; null: the published weight, 5 for R-Drop, 3 for
    SimCut; cut_rate: the share of words with embeddings of zero in the second pass of SimCut.
    """

    label_smoothing: float = 0.0
    consistency: Consistency = Consistency.none
    consistency_weight: float | None = None
    cut_rate: float = 0.05
    objective: Objective = Objective.cross_entropy

    def __post_init__(self):
        fraction(loss__label_smoothing=self.label_smoothing, loss__cut_rate=self.cut_rate)
        greater_than(0, loss__consistency_weight=self.consistency_weight, loss__cut_rate=self.cut_rate)
        if self.objective is Objective.minimum_risk and self.consistency is not Consistency.none:
            raise ValueError(
                f"loss.consistency={self.consistency.value} compares two passes over the references, which "
                "loss.objective=minimum_risk does not train on alone: set loss.consistency=none"
            )

    @property
    def pass_weights(self) -> PassWeights:
        """The weights of the parts of the loss, for an objective with the scale of one pass.

        R-Drop: half of CE(P) + CE(Q) + weight / 2 (KL(P || Q) + KL(Q || P)).  # Wu et al. (2021), eq. 4
        SimCut: CE(P) + weight KL(P || Q).  # Gao et al. (2022), eq. 6
        """
        weight = self.consistency_weight or _PUBLISHED_WEIGHTS[self.consistency]
        match self.consistency:
            case Consistency.r_drop:
                return PassWeights(0.5, 0.5, weight / 4, weight / 4)
            case Consistency.simcut:
                return PassWeights(1.0, 0.0, weight, 0.0)
            case _:
                raise ValueError(f"loss.consistency={self.consistency.value} has no second pass")


def two_passes(batch: Batch, options: LossOptions) -> Batch:
    """The batch with its inputs repeated, with words replaced by CUT in the second copy for SimCut; tgt_out is not
    repeated."""
    cut = options.consistency is Consistency.simcut
    src, tgt_in = (
        torch.cat((side, cut_tokens(side, options.cut_rate) if cut else side)) for side in (batch.src, batch.tgt_in)
    )
    return batch._replace(src=src, src_lengths=batch.src_lengths.repeat(2), tgt_in=tgt_in)


def guided_passes(attention: Tensor, links: Tensor, weights: PassWeights) -> Tensor:
    """`guided_cross_entropy` of attention's weights (2 B, T, S) in two passes with the links of their B pairs; a pass
    has the weight of its cross-entropy."""
    first, second = (guided_cross_entropy(half, links) for half in attention.chunk(2))
    return weights.first * first + weights.second * second
