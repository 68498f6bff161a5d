"""Search options, and the score of a hypothesis."""

from dataclasses import dataclass
from enum import Enum

import numpy as np

from nmt.bounds import at_least, between, greater_than, positive_int

MOST_PENALTY = 1e6  # upper bound of coverage_penalty, so that scores stay finite; papers use values below 1


class LengthPenalty(Enum):
    """The divisor of the summed log-probability of a hypothesis, which gives its score."""

    none = "none"  # 1
    average = "average"  # the length, EOS included
    gnmt = "gnmt"  # ((5 + length) / 6) ** alpha: Wu et al. (2016), eq. 14


@dataclass
class SearchOptions:
    """The options of a search: decode.* of the configuration. Raises ValueError for a value out of range or options
    that contradict each other.

    Lengths are in tokens, EOS included. If max_length and max_length_ratio are null, the maximum length is twice the
    source length plus ten.
    """

    beam: int = 5  # beam width; 1 is greedy search
    nbest: int = 1  # hypotheses returned for a sentence
    max_length: int | None = None  # maximum length of a hypothesis
    max_length_ratio: float | None = None  # maximum length per source token
    min_length: int = 1  # minimum length of a hypothesis
    min_length_ratio: float = 0.0  # minimum length per source token
    length_penalty: LengthPenalty = LengthPenalty.average
    length_penalty_alpha: float = 0.6  # of gnmt
    coverage_penalty: float = 0.0  # beta of Wu et al. (2016), eq. 14
    no_repeat_ngram_size: int = 0  # an n-gram of this size occurs at most once in a hypothesis; 0: no limit
    diverse_beam_groups: int = 1  # Vijayakumar et al. (2018)
    diverse_beam_strength: float = 0.5  # log-probability subtracted for each choice of the token by an earlier group
    sampling: bool = False  # draw nbest translations instead of searching for the best
    temperature: float = 1.0  # for sampling: divides the logits
    top_k: int | None = None  # for sampling: only from the k most probable tokens; Fan et al. (2018)
    top_p: float | None = None  # for sampling: from the fewest tokens with this probability; Holtzman et al. (2020)
    sampling_seed: int = 1

    def __post_init__(self):
        if self.beam < 1:
            raise ValueError(f"decode.beam is {self.beam}: a beam has at least one place; try decode.beam=5")
        if self.nbest < 1:
            raise ValueError(f"decode.nbest is {self.nbest}: give 1 to {self.beam}, which is decode.beam")
        if self.nbest > self.beam and not self.sampling:
            raise ValueError(
                f"decode.nbest={self.nbest} is more than the {self.beam} of decode.beam: try decode.beam={self.nbest}"
            )
        if self.max_length is not None and self.max_length < 1:
            raise ValueError(f"decode.max_length is {self.max_length}: a translation needs one piece at least; try 200")
        if not 0 <= self.length_penalty_alpha <= 10:  # the bound of search needs 0 or more; above 10 is a typing error
            raise ValueError(
                f"decode.length_penalty_alpha is {self.length_penalty_alpha}: the exponent of the length lies in 0 to "
                "10; try decode.length_penalty_alpha=0.6"
            )
        positive_int(
            decode__min_length=self.min_length,
            decode__diverse_beam_groups=self.diverse_beam_groups,
            decode__top_k=self.top_k,
        )
        at_least(0, decode__min_length_ratio=self.min_length_ratio)
        at_least(0, decode__no_repeat_ngram_size=self.no_repeat_ngram_size)
        between(0, MOST_PENALTY, {"decode__coverage_penalty": self.coverage_penalty})
        greater_than(
            0,
            decode__max_length_ratio=self.max_length_ratio,
            decode__diverse_beam_strength=self.diverse_beam_strength,
            decode__temperature=self.temperature,
            decode__top_p=self.top_p,
        )
        between(0, 1, {"decode__top_p": self.top_p})
        between(0, 2**32 - 1, {"decode__sampling_seed": self.sampling_seed})
        for suffix in ("", "_ratio"):
            least, most = (getattr(self, f"{bound}_length{suffix}") for bound in ("min", "max"))
            if most is not None and least > most:
                raise ValueError(
                    f"decode.min_length{suffix}={least} is more than decode.max_length{suffix}={most}: no translation "
                    "has such a length; lower the one or raise the other"
                )
        if self.beam % self.diverse_beam_groups and not self.sampling:
            raise ValueError(
                f"decode.diverse_beam_groups={self.diverse_beam_groups} does not divide the {self.beam} places of "
                f"decode.beam into equal groups: try decode.beam={2 * self.diverse_beam_groups}"
            )
        if self.sampling and self.diverse_beam_groups > 1:
            raise ValueError(
                "decode.sampling=true draws each translation by itself, without a beam to divide: leave "
                "decode.diverse_beam_groups out"
            )


def length_normalize(log_probs: np.ndarray, length: int | np.ndarray, options: SearchOptions) -> np.ndarray:
    """log_probs divided by the length penalty. length: in tokens, EOS included; an array must broadcast."""
    match options.length_penalty:
        case LengthPenalty.none:
            return log_probs
        case LengthPenalty.average:
            return log_probs / length
        case LengthPenalty.gnmt:  # Wu et al. (2016), eq. 14; nmt.decoding.past has the other term
            return log_probs / ((5 + length) / 6) ** options.length_penalty_alpha
        case _:
            raise ValueError(f"decode.length_penalty is {options.length_penalty!r}; try one of: none, average, gnmt")
