"""Words without counterpart, from the attention between words: weights (Tw, Sw), as in `WordAttention`."""

import numpy as np

from nmt.analysis.alignment.linking import claims_of


def attention_received(weights: np.ndarray) -> np.ndarray:
    """-> (Sw,): the largest weight of any target word on each source word; low if no word translates it."""
    return weights.max(axis=0, initial=0.0)


def support(weights: np.ndarray) -> np.ndarray:
    """-> (Tw,): the largest claim of each target word on any source word; low if no source word supports it.

    See `links` for claims: a source word to which other target words attend supports a word less.
    """
    return claims_of(weights).max(axis=1, initial=0.0)
