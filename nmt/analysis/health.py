"""How healthy attention is: sharp or spread, over- and under-looking, how much of it rests on the end of sentence.

Words that were translated twice or not at all show here before they show in BLEU.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from nmt.analysis.alignment import NOTICED, WordAttention

OFTEN = 3.0  # target words' worth of attention beyond which a source word got too much: compounds rarely become more


class Health(NamedTuple):
    """Means over a corpus.

    entropy: of a target word's attention, in nats; largest: its largest weight; end: its mass on the end of sentence;
    unseen: share of source words to which no target word gave `NOTICED`; overseen: share of those that got more than
    `OFTEN` words' worth; forward: share of steps from one target word to the next on which the source word looked at
    most does not go back.
    """

    entropy: float
    largest: float
    end: float
    unseen: float
    overseen: float
    forward: float


class Tally(NamedTuple):
    """Sums that become a Health; those of the parts of a corpus may be added up."""

    entropy: float = 0.0
    largest: float = 0.0
    end: float = 0.0
    unseen: float = 0.0
    overseen: float = 0.0
    forward: float = 0.0
    tgt_words: float = 0.0
    src_words: float = 0.0
    steps: float = 0.0


def tally(attentions: Iterable[WordAttention]) -> Tally:
    """The sums over sentences; one without words on a side has nothing to look at, and is passed over."""
    sums = np.zeros(len(Tally._fields))
    for weights, eos in attentions:
        if weights.size:
            sums += _of_sentence(weights.astype(np.float64), eos.astype(np.float64))
    return Tally(*sums.tolist())


def health(sums: Tally) -> Health:
    """Divides once. Sentences of one target word alone are wholly forward."""
    tgt_words, src_words = max(sums.tgt_words, 1.0), max(sums.src_words, 1.0)
    return Health(
        entropy=sums.entropy / tgt_words,
        largest=sums.largest / tgt_words,
        end=sums.end / tgt_words,
        unseen=sums.unseen / src_words,
        overseen=sums.overseen / src_words,
        forward=sums.forward / sums.steps if sums.steps else 1.0,
    )


def _of_sentence(weights: np.ndarray, eos: np.ndarray) -> Tally:
    """weights (Tw, Sw), eos (Tw,): rows of both sum to one."""
    rows = np.column_stack((weights, eos))
    # Where a weight is 0 its logarithm is never multiplied.
    entropy = -(rows * np.log(rows, out=np.zeros_like(rows), where=rows > 0)).sum()
    places = weights.argmax(axis=1)[weights.max(axis=1) >= eos]
    return Tally(
        entropy=entropy,
        largest=rows.max(axis=1).sum(),
        end=eos.sum(),
        unseen=(weights.max(axis=0) < NOTICED).sum(),
        overseen=(weights.sum(axis=0) > OFTEN).sum(),
        forward=(np.diff(places) >= 0).sum(),
        tgt_words=len(weights),
        src_words=weights.shape[1],
        steps=max(len(places) - 1, 0),
    )
