"""The confidence of a translation: the calibrated confidence of each word, and words without counterpart."""

from nmt.analysis.confidence.calibration import (
    Calibration,
    expected_calibration_error,
    fit_isotonic,
    fit_temperature,
    low_quantile,
)
from nmt.analysis.confidence.coverage import attention_received, support
from nmt.analysis.confidence.right_words import right_words
from nmt.analysis.confidence.sentence import SentenceConfidence, assess

__all__ = [
    "Calibration",
    "SentenceConfidence",
    "assess",
    "attention_received",
    "expected_calibration_error",
    "fit_isotonic",
    "fit_temperature",
    "low_quantile",
    "right_words",
    "support",
]
