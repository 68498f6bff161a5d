"""Comparison of systems on one test set: scores by sentence length, and tests of significance."""

import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from nmt.analysis.metrics import MAIN_METRIC, METRICS, measure

SEED = 12345  # of all resampling, sacreBLEU's default, so that equal translations give equal numbers
MIN_SENTENCES = 20  # minimum for a point of a curve: BLEU of fewer is mostly noise
_POINTS = 10
_CHUNK = 1000  # shuffles at a time: 3 MB for a test set of 3,000 sentences, 24 MB as float64


class CurvePoint(NamedTuple):
    """The `score` (MAIN_METRIC) of the sentences of `low` to `high` source words, both included: their mean `length`,
    their number, and the `lower` and `upper` limits of 95 % of the resamples."""

    low: int
    high: int
    length: float
    sentences: int
    score: float
    lower: float
    upper: float


def length_curves(
    systems: Sequence[Sequence[Sequence[str]]],
    references: Sequence[str],
    src_lengths: Sequence[int],
    *,
    tokenizer: str = "13a",
    width: int | None = None,
    samples: int = 1000,
) -> list[list[CurvePoint]]:
    """A curve for each system, as in Figure 2 of Bahdanau et al. (2015), with a band by bootstrap.

    systems: for each system the translations by each of its seeds, whose scores are averaged. src_lengths: of each
    source sentence. A point spans `width` lengths (None: a tenth of all), and more if there are fewer than
    MIN_SENTENCES sentences. Sentences are sampled with replacement, the same ones for all systems and seeds; the
    statistics of each sentence are computed once.  # Koehn (2004)
    """
    scorer = METRICS[MAIN_METRIC].build(tokenizer)

    def score(counts: np.ndarray) -> float:
        """counts (seeds, K), summed over sentences -> the mean score over seeds."""
        return float(np.mean([scorer.score(row) for row in counts]))

    counted = [np.array([scorer.statistics(lines, references) for lines in seeds]) for seeds in systems]
    curves: list[list[CurvePoint]] = [[] for _ in systems]
    lengths = np.asarray(src_lengths)
    for rows in _bins(lengths, width):
        inside, count = lengths[rows], len(rows)
        for curve, counts in zip(curves, counted, strict=True):
            rng = np.random.default_rng(SEED)
            drawn = (rng.multinomial(count, np.full(count, 1 / count)) for _ in range(samples))
            found = [score(np.einsum("n,snk->sk", times, counts[:, rows])) for times in drawn]
            lower, upper = np.percentile(found, (2.5, 97.5))
            whole = score(counts[:, rows].sum(1))
            about = int(inside.min()), int(inside.max()), float(inside.mean()), count
            curve.append(CurvePoint(*about, whole, float(lower), float(upper)))
    return curves


def _bins(lengths: np.ndarray, width: int | None) -> Iterator[np.ndarray]:
    """The rows of the sentences of each point, from short to long; too few at the end are added to the last point."""
    shortest, longest = int(lengths.min()), int(lengths.max())
    width = width or -(-(longest - shortest + 1) // _POINTS)
    pending = np.empty(0, dtype=np.int64)
    whole: np.ndarray | None = None
    for low in range(shortest, longest + 1, width):
        pending = np.append(pending, np.flatnonzero((low <= lengths) & (lengths < low + width)))
        if len(pending) >= MIN_SENTENCES:
            if whole is not None:
                yield whole
            whole, pending = pending, pending[:0]
    yield pending if whole is None else np.append(whole, pending)


class SystemScore(NamedTuple):
    """One metric of one run: its score, half the width of the 95 % interval of its resamples, and the probability `p`
    of so large a difference from the first run, in either direction, under the null hypothesis; nan for the first run.
    """

    score: float
    interval: float
    p: float


class Comparison(NamedTuple):
    """For each metric, of METRICS: the results in the order of the runs, and the signature of score and test."""

    scores: dict[str, list[SystemScore]]
    signatures: dict[str, str]


def compare(
    hypotheses: Sequence[Sequence[str]], references: Sequence[str], *, tokenizer: str = "13a", samples: int = 1000
) -> Comparison:
    """Compares each run's translations with those of the first, by a two-sided paired approximate randomization test.

    tokenizer: BLEU's. samples: shuffles of the test, and resamples of the interval.
    """
    scores, signatures = {}, {}
    for name in (name for name, metric in METRICS.items() if metric.compared):
        runs = [measure(name, lines, references, tokenizer=tokenizer) for lines in hypotheses]
        first, score = runs[0].statistics, runs[0].scorer.score
        scores[name] = [
            SystemScore(
                run.score.score,
                bootstrap_interval(run.statistics, score, samples=samples),
                randomization_test(first, run.statistics, score, samples=samples) if number else math.nan,
            )
            for number, run in enumerate(runs)
        ]
        signatures[name] = f"{runs[0].score.signature}|ar:{samples}|bs:{samples}|seed:{SEED}"
    return Comparison(scores, signatures)


def randomization_test(
    one: np.ndarray, other: np.ndarray, score: Callable[[np.ndarray], float], *, samples: int = 1000, seed: int = SEED
) -> float:
    """The p-value of the difference between the scores of two systems, two-sided.

    Under the null hypothesis the two translations of a sentence are exchangeable.

    one, other (N, K): the systems' statistics of the same sentences. Each of `samples` shuffles exchanges the
    translations of a random half of the sentences. p is the share of shuffles, including the identity, whose difference
    is at least the observed one.  # Noreen (1989), Riezler and Maxwell (2005)
    """
    rng = np.random.default_rng(seed)
    first, total = one.sum(axis=0), one.sum(axis=0) + other.sum(axis=0)
    found = abs(score(first) - score(total - first)) - 1e-9  # tolerance for the rounding of equal sums
    change = other - one
    as_large = 0
    for begin in range(0, samples, _CHUNK):
        exchanged = rng.integers(2, size=(min(_CHUNK, samples - begin), len(one)), dtype=bool)
        shuffled = first + exchanged.astype(np.float64) @ change  # sums of counts are exact in float64
        as_large += sum(abs(score(sums) - score(total - sums)) >= found for sums in shuffled)
    return (as_large + 1) / (samples + 1)


def bootstrap_interval(
    statistics: np.ndarray, score: Callable[[np.ndarray], float], *, samples: int = 1000, seed: int = SEED
) -> float:
    """Half the width of the 95 % interval of the scores of resamples: as many sentences, sampled with replacement.

    statistics (N, K): of each sentence.  # Koehn (2004)
    """
    rng = np.random.default_rng(seed)
    count = len(statistics)
    found = sorted(score(statistics[rng.choice(count, size=count)].sum(axis=0)) for _ in range(samples))
    beyond = samples // 40
    return (found[samples - beyond - 1] - found[beyond]) / 2


class SeedStats(NamedTuple):
    """The mean of a score over runs that differ by their seed, and its standard deviation (of a sample: n - 1; nan for
    one run); p: the probability of so large a difference of the means from the baseline, nan for the baseline itself.
    """

    mean: float
    deviation: float
    p: float = math.nan


def over_seeds(scores: Sequence[float]) -> SeedStats:
    """SeedStats of the scores of runs, without p."""
    return SeedStats(statistics.mean(scores), statistics.stdev(scores) if len(scores) > 1 else math.nan)


def compare_systems(
    systems: Sequence[Sequence[Sequence[str]]],
    references: Sequence[str],
    *,
    tokenizer: str = "13a",
    samples: int = 1000,
) -> dict[str, list[SeedStats]]:
    """For each metric, each system's SeedStats; the first system is the baseline.

    systems: for each the translations by each of its seeds.
    """
    found = {}
    for name in (name for name, metric in METRICS.items() if metric.compared):
        scorer = METRICS[name].build(tokenizer)
        counted = [np.array([scorer.statistics(lines, references) for lines in seeds]) for seeds in systems]
        stats = [over_seeds([scorer.score(each) for each in counts.sum(1)]) for counts in counted]
        chances = [math.nan]
        chances += [seeds_randomization_test(counted[0], other, scorer.score, samples=samples) for other in counted[1:]]
        found[name] = [each._replace(p=p) for each, p in zip(stats, chances, strict=True)]
    return found


def seeds_randomization_test(
    one: np.ndarray, other: np.ndarray, score: Callable[[np.ndarray], float], *, samples: int = 1000, seed: int = SEED
) -> float:
    """`randomization_test` of the difference between two systems' mean scores over their seeds.

    Under the null hypothesis all translations of a sentence, of any system and seed, are exchangeable.

    one (n, N, K), other (m, N, K): statistics by seed, of the same sentences. Each of `samples` shuffles permutes the n
    + m translations of each sentence.  # Clark et al. (2011), section 4
    """
    rng = np.random.default_rng(seed)
    pool, places = np.concatenate((one, other)), np.tile(np.arange(len(one) + len(other))[:, None], one.shape[1])

    def difference(counts: np.ndarray) -> float:
        """counts (n + m, N, K) -> the difference of the mean scores."""
        scores = [score(each) for each in counts.sum(1)]
        return abs(statistics.fmean(scores[: len(one)]) - statistics.fmean(scores[len(one) :]))

    found = difference(pool) - 1e-9  # tolerance for the rounding of equal sums
    shuffles = (rng.permuted(places, axis=0) for _ in range(samples))
    as_large = sum(difference(np.take_along_axis(pool, places[:, :, None], 0)) >= found for places in shuffles)
    return (as_large + 1) / (samples + 1)
