"""From the probability of a word to its confidence: the probability that the word is right."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np

BINS = 15  # Guo et al. (2017)
_GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class Calibration:
    """Values fitted on a validation set; with the defaults a confidence is the probability.

    temperature: divides the logits. probabilities, confidences: points of an increasing line, from the probability of a
    word at that temperature to the share of such words that are right. min_received, min_support: words with lower
    values are flagged; see `nmt.analysis.confidence.coverage`. words: the number of target words it was fitted on.
    Raises ValueError for an invalid line or temperature.
    """

    temperature: float = 1.0
    probabilities: tuple[float, ...] = (0.0, 1.0)
    confidences: tuple[float, ...] = (0.0, 1.0)
    min_received: float = 0.1
    min_support: float = 0.1
    words: int = 0

    def __post_init__(self):
        points = np.array([self.probabilities, self.confidences], dtype=np.float64)
        rising = points.size and (np.diff(points) >= 0).all() and points.min() >= 0 and points.max() <= 1
        limits = np.isfinite([self.min_received, self.min_support]).all()
        if not (rising and limits and 0 < self.temperature < math.inf):
            raise ValueError("no calibration: it needs a temperature above 0 and points that rise from 0 to 1")

    def confidence(self, log_probs: np.ndarray) -> np.ndarray:
        """log_probs (Tw,) of words at the temperature -> confidence (Tw,); nan remains nan."""
        return np.interp(np.exp(log_probs), self.probabilities, self.confidences)

    def to_dict(self) -> dict:
        """Plain JSON data."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, data: dict) -> "Calibration":
        """The inverse of `to_dict`. Raises ValueError for invalid data."""
        try:
            return cls(
                float(data["temperature"]),
                tuple(map(float, data["probabilities"])),
                tuple(map(float, data["confidences"])),
                float(data["min_received"]),
                float(data["min_support"]),
                int(data["words"]),
            )
        except (KeyError, TypeError, ValueError, OverflowError):
            raise ValueError("damaged: it is no calibration; run python -m nmt.calibrate again") from None


def fit_temperature(nll: Callable[[float], float], *, low: float = 0.25, high: float = 4.0) -> float:
    """The temperature that minimizes the negative log-likelihood, within 0.5 %, by golden-section search.

    nll: of the data, with logits divided by the temperature; it has one minimum, as it is convex in the inverse.
    # Guo et al. (2017), 4.2
    """
    left, right = math.log(low), math.log(high)
    inner = [right - _GOLDEN * (right - left), left + _GOLDEN * (right - left)]
    found = [nll(math.exp(each)) for each in inner]
    while right - left > 0.01:
        if found[0] < found[1]:
            right, inner[1], found[1] = inner[1], inner[0], found[0]
            inner[0] = right - _GOLDEN * (right - left)
            found[0] = nll(math.exp(inner[0]))
        else:
            left, inner[0], found[0] = inner[0], inner[1], found[1]
            inner[1] = left + _GOLDEN * (right - left)
            found[1] = nll(math.exp(inner[1]))
    return math.exp((left + right) / 2)


def fit_isotonic(probabilities: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Isotonic regression of right or wrong on the probability, by pooling adjacent violators -> its points: for each
    pool the mean probability and the share of right words.

    probabilities (N,), right (N,) bool. Shares are smoothed, so that none is 0 or 1.
    # Zadrozny and Elkan (2002); Platt (1999) for the targets
    Raises ValueError if there are no words.
    """
    if not len(probabilities):
        raise ValueError("no word of the validation set was translated, so there is nothing to calibrate on")
    hits = int(right.sum())
    targets = np.where(right, (hits + 1) / (hits + 2), 1 / (len(right) - hits + 2))
    values, places = np.unique(probabilities, return_inverse=True)
    counts, sums = np.bincount(places), np.bincount(places, targets)
    pools: list[list[float]] = []  # each: count, sum of probabilities, sum of targets
    for value, count, total in zip(values, counts, sums, strict=True):
        pools.append([count, count * value, total])
        while len(pools) > 1 and pools[-2][2] * pools[-1][0] >= pools[-1][2] * pools[-2][0]:
            last = pools.pop()
            pools[-1] = [one + other for one, other in zip(pools[-1], last, strict=True)]
    count, probability, target = np.array(pools).T
    return probability / count, target / count


def expected_calibration_error(confidences: np.ndarray, right: np.ndarray, bins: int = BINS) -> float:
    """The mean difference between confidence and share of right words over `bins` of equal width, weighted by words.

    confidences (N,) from 0 to 1, right (N,) bool.  # Guo et al. (2017), eq. 3
    """
    places = np.minimum((confidences * bins).astype(np.int64), bins - 1)
    gaps = np.bincount(places, confidences - right, minlength=bins)
    return float(np.abs(gaps).sum() / max(1, len(confidences)))


def low_quantile(values: Sequence[np.ndarray], share: float) -> float:
    """The quantile `share` of all values; 0 if there are none."""
    together = np.concatenate([np.zeros(0), *values])
    return float(np.quantile(together, share)) if len(together) else 0.0
