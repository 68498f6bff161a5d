"""Words without counterpart, by the attention between words: weights (Tw, Sw), as in `WordAttention`."""

import numpy as np

from nmt.analysis.alignment.linking import claims_of


def attention_received(weights: np.ndarray) -> np.ndarray:
    """-> (Sw,): the largest weight of any target word on each source word; low where nothing translates it."""
    return weights.max(axis=0, initial=0.0)


def support(weights: np.ndarray) -> np.ndarray:
    """-> (Tw,): the largest claim of each target word on any source word; low where the source has nothing for it.

    See `links` for claims: what other target words attend to as well supports a word less.
    """
    return claims_of(weights).max(axis=1, initial=0.0)
