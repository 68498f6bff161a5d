"""The confidence of a translation and of its words."""

import math
from typing import Any, NamedTuple

import numpy as np

from nmt.analysis.alignment import TranslationLike, word_attention
from nmt.analysis.confidence.calibration import Calibration
from nmt.analysis.confidence.coverage import attention_received, support


class SentenceConfidence(NamedTuple):
    """sentence: the expected share of right words, nan without words; words (Tw,): the probability that each is right.

    omitted: indices of source words without attention; unsupported: of target words that no source word supports. Both
    are None without stored attention. calibrated: whether a calibration was fitted for this model.
    """

    sentence: float
    words: np.ndarray
    omitted: list[int] | None
    unsupported: list[int] | None
    calibrated: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data, rounded to four digits; null for nan."""
        return self._asdict() | {"sentence": _number(self.sentence), "words": [_number(each) for each in self.words]}


def assess(translation: TranslationLike, log_probs: np.ndarray, calibration: Calibration | None) -> SentenceConfidence:
    """log_probs (Tw,): of the words, at the temperature of the calibration. None: confidences are probabilities."""
    used = calibration or Calibration()
    words = used.confidence(log_probs)
    sentence = float(words.mean()) if len(words) else float("nan")
    if not translation.weights.size:
        return SentenceConfidence(sentence, words, None, None, calibration is not None)
    weights = word_attention(translation).weights
    omitted = np.flatnonzero(attention_received(weights) < used.min_received)
    unsupported = np.flatnonzero(support(weights) < used.min_support)
    return SentenceConfidence(sentence, words, omitted.tolist(), unsupported.tolist(), calibration is not None)


def _number(value: float) -> float | None:
    return round(float(value), 4) if math.isfinite(value) else None
