"""From attention between words to links: which words belong together."""

from typing import NamedTuple

import numpy as np


class Link(NamedTuple):
    """Source word `src` and target word `tgt` translate each other; both count from 0. Equal to the plain pair."""

    src: int
    tgt: int


MIN_CLAIM = 0.2  # the claim above which a target word is linked to the source word it claims most
MIN_WEIGHT = 0.1  # the least weight by which a source word is linked to the target word that attends to it most


def links(weights: np.ndarray, *, min_claim: float = MIN_CLAIM, threshold: float | None = None) -> list[Link]:
    """Decide which words are linked, sorted by source word, then target word.

    Without a threshold words compete, both ways. A target word's claim to a source word is w^2 / (all the attention
    that this source word gets): one that attends to "a" and, for its gender, to the noun after it belongs to "a", since
    another word attends to the noun. It is linked to the source word of its largest claim, if that is more than
    `min_claim`. And a source word that gets a weight of at least `MIN_WEIGHT` anywhere is linked to the target word
    that attends to it most, so that several source words can share one. A target word to which neither applies, since
    others attend more to its source words, or it attends to the end of the sentence, stays without links. Of equals the
    first is taken. With a threshold, 0 < threshold <= 1, each pair of at least that weight is linked.

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
    """weights (Tw, Sw) -> the claim (Tw, Sw) of each target word to each source word; see `links`."""
    attended = weights.sum(axis=0)
    return np.divide(weights**2, attended, out=np.zeros_like(weights), where=attended > 0)


def threshold_links(threshold: float, weights: np.ndarray) -> list[Link]:
    """The pairs of (Tw, Sw) that reach a threshold, sorted. Raises ValueError for one outside 0 < threshold <= 1."""
    if not 0 < threshold <= 1:
        raise ValueError(f"a link threshold of {threshold} makes no sense; try one above 0 and up to 1, such as 0.2")
    return sorted(Link(int(src), int(tgt)) for tgt, src in zip(*np.nonzero(weights >= threshold), strict=True))
