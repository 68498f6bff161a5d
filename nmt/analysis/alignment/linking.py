"""Word links from the attention between words."""

from typing import NamedTuple

import numpy as np


class Link(NamedTuple):
    """Source word `src` and target word `tgt` are translations of each other; both count from 0. Equal to the tuple."""

    src: int
    tgt: int


MIN_CLAIM = 0.2  # a target word is linked to the source word of its largest claim if that is larger
MIN_WEIGHT = 0.1  # a source word is linked to the target word with the largest weight on it unless that is smaller


def links(weights: np.ndarray, *, min_claim: float = MIN_CLAIM, threshold: float | None = None) -> list[Link]:
    """The links of a sentence pair, sorted by source word, then target word.

    Without a threshold, the claim of a target word on a source word is w^2 / (sum of all weights on that source word).
    The denominator matters for words such as an article, which also attends, for its gender, to the following noun:
    another target word has the larger weight on the noun. A target word is linked to the source word of its largest
    claim, if that is more than `min_claim`. A source word with a weight of at least `MIN_WEIGHT` from any target word
    is linked to the target word with the largest weight on it, so several source words can be linked to one target
    word. Target words without either have no link. Of equal values the first counts. With a threshold, 0 < threshold <=
    1, each pair of at least that weight is linked.

    weights: (Tw, Sw), as in `WordAttention`. Raises ValueError for a threshold outside its range.
    """
    if threshold is not None:
        return threshold_links(threshold, weights)
    if not weights.size:
        return []
    claims = claims_of(weights)
    found = {(tgt, src) for tgt, src in enumerate(claims.argmax(axis=1)) if claims[tgt, src] > min_claim}
    found |= {(tgt, src) for src, tgt in enumerate(weights.argmax(axis=0)) if weights[tgt, src] >= MIN_WEIGHT}
    return sorted(Link(int(src), int(tgt)) for tgt, src in found)


def claims_of(weights: np.ndarray) -> np.ndarray:
    """weights (Tw, Sw) -> the claim (Tw, Sw) of each target word on each source word; see `links`."""
    attended = weights.sum(axis=0)
    return np.divide(weights**2, attended, out=np.zeros_like(weights), where=attended > 0)


def threshold_links(threshold: float, weights: np.ndarray) -> list[Link]:
    """The pairs of (Tw, Sw) that reach a threshold, sorted. Raises ValueError unless 0 < threshold <= 1."""
    if not 0 < threshold <= 1:
        raise ValueError(f"a link threshold of {threshold} makes no sense; try one above 0 and up to 1, such as 0.2")
    return sorted(Link(int(src), int(tgt)) for tgt, src in zip(*np.nonzero(weights >= threshold), strict=True))
