"""Statistics of attention: entropy, coverage, and the weight on the end of sentence.

They show repeated and untranslated words earlier than BLEU.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from nmt.analysis.alignment import MIN_WEIGHT, WordAttention

MAX_COVERAGE = (
    3.0  # the sum of weights above which a source word is over-attended: compounds rarely become more target words
)


class AttentionStats(NamedTuple):
    """Means over a corpus.

    entropy: of a target word's attention, in nats; max_weight: its largest weight; eos_mass: its weight on the end of
    sentence; uncovered: the share of source words without a weight of `MIN_WEIGHT` from any target word; over_attended:
    the share of source words with a sum of weights above `MAX_COVERAGE`; forward: the share of steps from one target
    word to the next in which the source word with the largest weight does not move back.
    """

    entropy: float
    max_weight: float
    eos_mass: float
    uncovered: float
    over_attended: float
    forward: float


class AttentionSums(NamedTuple):
    """Sums from which AttentionStats are computed; the sums of parts of a corpus can be added."""

    entropy: float = 0.0
    max_weight: float = 0.0
    eos_mass: float = 0.0
    uncovered: float = 0.0
    over_attended: float = 0.0
    forward: float = 0.0
    tgt_words: float = 0.0
    src_words: float = 0.0
    steps: float = 0.0


def attention_sums(attentions: Iterable[WordAttention]) -> AttentionSums:
    """The sums over sentences; sentences without words on a side are skipped."""
    sums = np.zeros(len(AttentionSums._fields))
    for weights, eos in attentions:
        if weights.size:
            sums += _of_sentence(weights.astype(np.float64), eos.astype(np.float64))
    return AttentionSums(*sums.tolist())


def attention_stats(sums: AttentionSums) -> AttentionStats:
    """Divides the sums. Sentences of one target word have a `forward` of 1."""
    tgt_words, src_words = max(sums.tgt_words, 1.0), max(sums.src_words, 1.0)
    return AttentionStats(
        entropy=sums.entropy / tgt_words,
        max_weight=sums.max_weight / tgt_words,
        eos_mass=sums.eos_mass / tgt_words,
        uncovered=sums.uncovered / src_words,
        over_attended=sums.over_attended / src_words,
        forward=sums.forward / sums.steps if sums.steps else 1.0,
    )


def _of_sentence(weights: np.ndarray, eos: np.ndarray) -> AttentionSums:
    """weights (Tw, Sw), eos (Tw,): rows of both sum to one."""
    rows = np.column_stack((weights, eos))
    # A logarithm of 0 is never multiplied.
    entropy = -(rows * np.log(rows, out=np.zeros_like(rows), where=rows > 0)).sum()
    places = weights.argmax(axis=1)[weights.max(axis=1) >= eos]
    return AttentionSums(
        entropy=entropy,
        max_weight=rows.max(axis=1).sum(),
        eos_mass=eos.sum(),
        uncovered=(weights.max(axis=0) < MIN_WEIGHT).sum(),
        over_attended=(weights.sum(axis=0) > MAX_COVERAGE).sum(),
        forward=(np.diff(places) >= 0).sum(),
        tgt_words=len(weights),
        src_words=weights.shape[1],
        steps=max(len(places) - 1, 0),
    )
