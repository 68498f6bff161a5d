"""Translations of one test set by several systems: how BLEU goes with length, and whether a difference is chance."""

import math
import statistics
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from nmt.analysis.metrics import bleu_tokenizer

SEED = 12345  # of all resampling, sacreBLEU's own default, so that equal translations give equal numbers
LEAST = 20  # sentences in a point of a curve: of fewer BLEU is mostly noise
_POINTS = 10


class Point(NamedTuple):
    """BLEU of the sentences of `low` to `high` source words, both included: their mean `length`, how many they are, and
    between what `lower` and `upper` 95 % of the resamples lie."""

    low: int
    high: int
    length: float
    sentences: int
    bleu: float
    lower: float
    upper: float


def length_curves(
    systems: Sequence[Sequence[Sequence[str]]],
    references: Sequence[str],
    src_lengths: Sequence[int],
    *,
    tgt: str = "",
    width: int | None = None,
    samples: int = 1000,
) -> list[list[Point]]:
    """A curve for each system, as in Figure 2 of Bahdanau et al. (2015), with a band by bootstrap.

    systems: of each system the translations by each of its seeds, whose BLEU is averaged. src_lengths: words of each
    source sentence. A point spans `width` words (None: a tenth of all lengths), and more where there are fewer than
    LEAST sentences. Sentences are drawn with replacement, the same ones for all systems and seeds; their n-gram counts
    are summed, and never counted again.  # Koehn (2004)
    """
    from sacrebleu.metrics.bleu import BLEU

    metric = BLEU(tokenize=bleu_tokenizer(tgt))

    def score(counts: np.ndarray) -> float:
        """counts (seeds, 10), summed over sentences -> the mean of the seeds' BLEU."""
        return float(np.mean([metric._compute_score_from_stats(list(row)).score for row in counts]))

    counted = [
        np.array([metric._extract_corpus_statistics(list(lines), [list(references)]) for lines in seeds])
        for seeds in systems
    ]
    curves: list[list[Point]] = [[] for _ in systems]
    lengths = np.asarray(src_lengths)
    for rows in _bins(lengths, width):
        inside, count = lengths[rows], len(rows)
        for curve, counts in zip(curves, counted, strict=True):
            dice = np.random.default_rng(SEED)
            drawn = (dice.multinomial(count, np.full(count, 1 / count)) for _ in range(samples))
            found = [score(np.einsum("n,snk->sk", times, counts[:, rows])) for times in drawn]
            lower, upper = np.percentile(found, (2.5, 97.5))
            whole = score(counts[:, rows].sum(1))
            about = int(inside.min()), int(inside.max()), float(inside.mean()), count
            curve.append(Point(*about, whole, float(lower), float(upper)))
    return curves


def _bins(lengths: np.ndarray, width: int | None) -> Iterator[np.ndarray]:
    """The rows of the sentences of each point, from short to long; too few at the end go with those before."""
    shortest, longest = int(lengths.min()), int(lengths.max())
    width = width or -(-(longest - shortest + 1) // _POINTS)
    pending = np.empty(0, dtype=np.int64)
    whole: np.ndarray | None = None
    for low in range(shortest, longest + 1, width):
        pending = np.append(pending, np.flatnonzero((low <= lengths) & (lengths < low + width)))
        if len(pending) >= LEAST:
            if whole is not None:
                yield whole
            whole, pending = pending, pending[:0]
    yield pending if whole is None else np.append(whole, pending)


class Verdict(NamedTuple):
    """One metric of one run: its score, half the interval in which 95 % of its resamples lie, and the chance `p` of so
    large a difference from the first run if in truth there were none; nan of the first run itself."""

    score: float
    interval: float
    p: float


class Comparison(NamedTuple):
    """By metric, "BLEU" and "chrF2": the verdicts in the order of the runs, and sacreBLEU's signature."""

    verdicts: dict[str, list[Verdict]]
    signatures: dict[str, str]


def compare(
    hypotheses: Sequence[Sequence[str]], references: Sequence[str], *, tgt: str = "", samples: int = 1000
) -> Comparison:
    """Each run's translations against those of the first, by sacreBLEU's paired bootstrap test.  # Koehn (2004)

    tgt: the target language, which chooses BLEU's tokenizer.
    """
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF
    from sacrebleu.significance import PairedTest

    named: list[tuple[str, Sequence[str]]] = [(str(run), list(lines)) for run, lines in enumerate(hypotheses)]
    metrics = {"BLEU": BLEU(tokenize=bleu_tokenizer(tgt)), "chrF2": CHRF()}
    test = PairedTest(named, metrics, [list(references)], test_type="bs", n_samples=samples)
    signatures, results = test()
    verdicts = {
        name: [
            Verdict(float(each.score), float(each.ci or 0.0), _chance(each.p_value, lines, hypotheses[0]))
            for (_, lines), each in zip(named, results[name], strict=True)
            if not isinstance(each, str)
        ]
        for name in signatures
    }
    return Comparison(verdicts, {name: str(signature) for name, signature in signatures.items()})


def _chance(p: float | None, lines: Sequence[str], first: Sequence[str]) -> float:
    """sacreBLEU's p, but for translations that are the same: to these its test would give the smallest there is."""
    if p is None:
        return math.nan
    return 1.0 if list(lines) == list(first) else float(p)


class Seeds(NamedTuple):
    """The mean of a score over runs that differ by their seed, and its standard deviation (of a sample: n - 1)."""

    mean: float
    deviation: float


def over_seeds(scores: Sequence[float]) -> Seeds:
    """At least two scores -> Seeds."""
    return Seeds(statistics.mean(scores), statistics.stdev(scores))
