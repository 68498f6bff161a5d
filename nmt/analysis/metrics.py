"""Scores of translations: METRICS, the table for evaluation, the report page, validation and comparison.

A metric has statistics of each sentence, which are summed, and a score of the sums. So each text is processed once for
the scores of a corpus, of the sentences of one length, and of resamples.
"""

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from nmt.analysis.moses import moses_tokens, primary_language
from nmt.analysis.segmentation import BY_SPACES

if TYPE_CHECKING:
    from sacrebleu.metrics.base import Metric as SacreBLEUMetric
    from sacrebleu.metrics.bleu import BLEU


class MetricScore(NamedTuple):
    """A corpus score and its signature; left_out: the number of sentences too long for the metric."""

    score: float
    signature: str
    left_out: int = 0


class Limits(NamedTuple):
    """Limits of a slow metric. tokens: sentences with more tokens on a side are left out; seconds: the time after which
    it is aborted."""

    tokens: int = 200
    seconds: float = 60.0


class OverLimit(Exception):
    """A metric was not computed because of the limit in the message."""


class Scorer(Protocol):
    """A metric for one reference per sentence."""

    def statistics(
        self, hypotheses: Sequence[str], references: Sequence[str], limits: Limits | None = None
    ) -> np.ndarray:
        """-> (sentences, K) float64; the rows of sentences that a limit leaves out are nan. Raises OverLimit."""
        ...

    def score(self, sums: np.ndarray) -> float:
        """sums (K,) of the statistics of some sentences -> their score."""
        ...

    def signature(self) -> str:
        """The settings that the score depends on."""
        ...


class Metric(NamedTuple):
    """label: its name in output; note: its scale; build: from BLEU's tokenizer to a scorer, or with by_language from
    the target language; validated: it is computed at each validation; compared: its differences are tested; limited: it
    is slow, and has Limits; default: it is computed if no metric is given."""

    label: str
    note: str
    build: Callable[[str], Scorer]
    validated: bool = False
    compared: bool = True
    limited: bool = False
    default: bool = True
    by_language: bool = False


class SacreBLEU:
    """A metric of sacreBLEU. prepare: applied to each line first."""

    def __init__(self, metric: "SacreBLEUMetric", prepare: Callable[[str], str] = str, for_inference: str = ""):
        """for_inference: the description of `prepare` in the signature."""
        self.metric, self.prepare, self.for_inference = metric, prepare, for_inference
        self.metric.num_refs = 1  # type: ignore[attr-defined]  # its signature needs it, and asks for a score first

    def statistics(
        self, hypotheses: Sequence[str], references: Sequence[str], limits: Limits | None = None
    ) -> np.ndarray:
        ours, theirs = ([self.prepare(line) for line in lines] for lines in (hypotheses, references))
        if limits is None:
            return np.array(self.metric._extract_corpus_statistics(ours, [theirs]), dtype=np.float64)
        until = time.monotonic() + limits.seconds
        rows: list[Sequence[float] | None] = []
        for one, other in zip(ours, theirs, strict=True):
            if time.monotonic() > until:
                raise OverLimit(
                    f"{limits.seconds:g} s were over after {len(rows):,} of {len(ours):,} sentences (ter_max_seconds)"
                )
            long = max(len(one.split()), len(other.split())) > limits.tokens
            rows.append(None if long else self.metric._extract_corpus_statistics([one], [[other]])[0])
        width = next((len(row) for row in rows if row is not None), 1)
        return np.array([[np.nan] * width if row is None else row for row in rows], dtype=np.float64)

    def score(self, sums: np.ndarray) -> float:
        return float(self.metric._compute_score_from_stats(list(sums)).score)

    def signature(self) -> str:
        signature = self.metric.get_signature()
        if self.for_inference:
            signature.update("tok", f"{self.for_inference}+{signature.info['tok']}")
        return str(signature)


def _bleu(tokenizer: str) -> Scorer:
    """The BLEU of the `sacrebleu` command: mixed case, for detokenized text.  # Post (2018)"""
    return SacreBLEU(_sacrebleu(tokenizer))


def _sacrebleu(tokenizer: str, *, effective_order: bool = False) -> "BLEU":
    from sacrebleu.metrics.bleu import BLEU

    try:
        return BLEU(tokenize=tokenizer, effective_order=effective_order)
    except (RuntimeError, OSError) as error:  # a package that is not installed, a model that cannot be downloaded
        said = " ".join(str(error).split())
        raise ValueError(
            f"sacreBLEU's tokenizer {tokenizer} does not work here ({said}): try data.bleu_tokenizer=char"
        ) from None


def _chrf(_tokenizer: str) -> Scorer:
    """chrF2: character n-grams up to 6 and no words, sacreBLEU's defaults.  # Popović (2015)"""
    from sacrebleu.metrics.chrf import CHRF

    return SacreBLEU(CHRF())


def _ter(tokenizer: str) -> Scorer:
    """Translation edit rate, sacreBLEU's defaults, which ignore case.  # Snover et al. (2006)

    Tokens are separated by spaces, or are those of BLEU if it needs another tokenizer.
    """
    from sacrebleu.metrics.ter import TER

    if tokenizer in BY_SPACES:
        return SacreBLEU(TER())
    return SacreBLEU(TER(), _sacrebleu(tokenizer).tokenizer, tokenizer)


def _bleu_moses(language: str) -> Scorer:
    """BLEU of lower-cased Moses tokens of both sides: common in the literature, not comparable with BLEU of sacreBLEU's
    tokens."""
    from sacrebleu.metrics.bleu import BLEU

    prepare = moses_tokens(language)
    return SacreBLEU(BLEU(tokenize="none", lowercase=True), prepare, f"sacremoses-{primary_language(language)}")


METRICS: dict[str, Metric] = {
    "bleu": Metric("BLEU", "of 100; more is better", _bleu, validated=True),
    "chrf": Metric("chrF", "of 100; more is better", _chrf),
    "ter": Metric("TER", "edits for 100 tokens; less is better", _ter, compared=False, limited=True),
    "bleu_moses": Metric(
        "BLEU (lower-cased Moses tokens)",
        "of 100; more is better; not comparable with BLEU",
        _bleu_moses,
        compared=False,
        default=False,
        by_language=True,
    ),
}


MAIN_METRIC = next(iter(METRICS))  # the metric that is drawn by length


def default_metrics() -> list[str]:
    """The names of the metrics that are computed if none is given."""
    return [name for name, metric in METRICS.items() if metric.default]


def build_scorer(name: str, tokenizer: str, language: str) -> Scorer:
    """A metric of METRICS. tokenizer: BLEU's; language: of the target. Raises ValueError if a package is missing."""
    metric = METRICS[name]
    return metric.build(language if metric.by_language else tokenizer)


class Measured(NamedTuple):
    """A metric on a corpus: its statistics for each sentence, and its score."""

    scorer: Scorer
    statistics: np.ndarray
    score: MetricScore

    def score_of(self, rows: Sequence[int] | np.ndarray) -> float | None:
        """The score of some sentences; None if all of them were left out."""
        return _sum_up(self.scorer, self.statistics[rows])


def measure(
    name: str,
    hypotheses: Sequence[str],
    references: Sequence[str],
    *,
    tokenizer: str = "13a",
    limits: Limits | None = None,
    language: str = "en",
) -> Measured:
    """One metric of METRICS, with its statistics. tokenizer: BLEU's; limits: for a slow metric only; language: the
    target language.

    Raises ValueError for unequal numbers of lines or none, and OverLimit.
    """
    if len(hypotheses) != len(references):
        raise ValueError(
            f"{len(hypotheses)} translations cannot be scored against {len(references)} references; give one for each"
        )
    if not references:
        raise ValueError("there is nothing to score: no translations and no references; give at least one line")
    scorer = build_scorer(name, tokenizer, language)
    statistics = scorer.statistics(hypotheses, references, limits if METRICS[name].limited else None)
    score, signature = _sum_up(scorer, statistics), scorer.signature()
    left_out = int(np.isnan(statistics).any(axis=1).sum())
    if left_out:
        assert limits is not None
        signature += f"|longest:{limits.tokens}"
        if score is None:
            raise OverLimit(f"every sentence has more than {limits.tokens} tokens (ter_max_tokens)")
    assert score is not None
    return Measured(scorer, statistics, MetricScore(score, signature, left_out))


def measure_all(
    hypotheses: Sequence[str],
    references: Sequence[str],
    *,
    tokenizer: str = "13a",
    names: Sequence[str] | None = None,
    limits: Limits | None = None,
    language: str = "en",
) -> tuple[dict[str, Measured], list[str]]:
    """The metrics with these names (None: METRICS' default ones), and remarks on what the limits left out."""
    measured, remarks = {}, []
    how = {"tokenizer": tokenizer, "limits": limits, "language": language}
    for name in default_metrics() if names is None else names:
        label = METRICS[name].label
        try:
            found = measured[name] = measure(name, hypotheses, references, **how)
        except OverLimit as limit:
            remarks.append(f"{label} is not computed: {limit}")
            continue
        if found.score.left_out and limits:
            remarks.append(
                f"{label} leaves out {found.score.left_out:,} of {len(references):,} sentences, those of more than "
                f"{limits.tokens} tokens (ter_max_tokens)"
            )
    return measured, remarks


def _sum_up(scorer: Scorer, statistics: np.ndarray) -> float | None:
    kept = statistics[~np.isnan(statistics).any(axis=1)]
    return scorer.score(kept.sum(axis=0)) if len(kept) else None


def corpus_score(
    name: str, hypotheses: Sequence[str], references: Sequence[str], *, tokenizer: str = "13a"
) -> MetricScore:
    """One metric of METRICS. Raises ValueError for unequal numbers of lines or none."""
    return measure(name, hypotheses, references, tokenizer=tokenizer).score


SentenceMetric = Callable[[str, str], float]  # hypothesis and reference -> a score from 0 to 100


def sentence_bleu(tokenizer: str = "13a") -> SentenceMetric:
    """BLEU of one sentence as in sacreBLEU's sentence_bleu: smoothed, with the n-grams that fit into the lengths.

    Raises ValueError for a tokenizer that is not available.
    """
    bleu = _sacrebleu(tokenizer, effective_order=True)
    return lambda hypothesis, reference: float(bleu.sentence_score(hypothesis, [reference]).score)


def sentence_chrf(hypothesis: str, reference: str) -> float:
    """chrF2 of one sentence, from 0 to 100, with the same settings; for sorting, not for reporting."""
    from sacrebleu.metrics.chrf import CHRF

    return float(CHRF().sentence_score(hypothesis, [reference]).score)
