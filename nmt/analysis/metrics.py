"""Scores of translations, all of them sacreBLEU's, with the signatures that make them comparable."""

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from sacrebleu.metrics.base import Metric


class Score(NamedTuple):
    """A corpus score on sacreBLEU's scale (0 to 100; TER can pass it) and the signature that says how it was made."""

    score: float
    signature: str


class LengthRow(NamedTuple):
    """BLEU of the sentences whose source has `low` to `high` words, both included."""

    low: int
    high: int
    sentences: int
    bleu: float


# Languages in which 13a would take a sentence, or a phrase, for a word. Japanese and Korean are cut into characters
# and not by sacreBLEU's MeCab tokenizers, which need packages that are not everywhere: a score must not depend on that.
_TOKENIZERS = {"zh": "zh", "ja": "char", "ko": "char", "th": "char", "lo": "char", "km": "char", "my": "char"}


def bleu_tokenizer(tgt: str) -> str:
    """Name sacreBLEU's tokenizer for a target language ("de", "zh", "zh-TW", ...): 13a unless it has a better one."""
    return _TOKENIZERS.get(tgt.lower().replace("_", "-").split("-")[0], "13a")


def bleu(hypotheses: Sequence[str], references: Sequence[str], *, tgt: str = "") -> Score:
    """BLEU as the `sacrebleu` command computes it: 13a, mixed case, detokenized text in (Post, 2018).

    tgt: the target language, which only chooses the tokenizer. Raises ValueError for unequal numbers of lines or none.
    """
    from sacrebleu.metrics.bleu import BLEU

    return _score(BLEU(tokenize=bleu_tokenizer(tgt)), hypotheses, references)


def chrf(hypotheses: Sequence[str], references: Sequence[str]) -> Score:
    """chrF2, character n-grams up to 6 and no words, sacreBLEU's defaults (Popović, 2015).

    Raises ValueError for unequal numbers of lines or none.
    """
    from sacrebleu.metrics.chrf import CHRF

    return _score(CHRF(), hypotheses, references)


def sentence_chrf(hypothesis: str, reference: str) -> float:
    """chrF2 of one sentence, from 0 to 100, by the same settings; for sorting, not for reporting."""
    from sacrebleu.metrics.chrf import CHRF

    return float(CHRF().sentence_score(hypothesis, [reference]).score)


def ter(hypotheses: Sequence[str], references: Sequence[str]) -> Score:
    """Translation edit rate, smaller is better; sacreBLEU's defaults, which ignore case (Snover et al., 2006).

    Raises ValueError for unequal numbers of lines or none.
    """
    from sacrebleu.metrics.ter import TER

    return _score(TER(), hypotheses, references)


def by_length(
    hypotheses: Sequence[str],
    references: Sequence[str],
    src_lengths: Sequence[int],
    *,
    edges: Sequence[int] = (10, 20, 30, 40, 50),
    tgt: str = "",
) -> list[LengthRow]:
    """BLEU of short and of long sentences apart, as in Figure 2 of Bahdanau et al. (2015).

    src_lengths: words of each source sentence. edges: the longest length of each row but the last, rising; the last row
    reaches to the longest sentence. Rows without a sentence are left out. Raises ValueError for unequal
    numbers of lines and for edges that do not rise.
    """
    if list(edges) != sorted(set(edges)):
        raise ValueError(f"the edges of a table by length must rise, and {list(edges)} do not; try 10, 20, 30")
    if not len(src_lengths) == len(hypotheses) == len(references):
        raise ValueError(
            f"{len(hypotheses)} translations, {len(references)} references and {len(src_lengths)} source lengths do "
            "not make a table; give one of each for a sentence"
        )
    longest = max(src_lengths, default=0)
    # A row that starts at 0 would promise empty sources where there are none.
    bounds = [min(0, min(src_lengths, default=1) - 1), *(edge for edge in edges if edge < longest), longest]
    rows = []
    for below, high in pairwise(bounds):
        chosen = [k for k, length in enumerate(src_lengths) if below < length <= high]
        if chosen:
            score = bleu([hypotheses[k] for k in chosen], [references[k] for k in chosen], tgt=tgt).score
            rows.append(LengthRow(below + 1, high, len(chosen), score))
    return rows


def length_table(rows: Sequence[LengthRow]) -> str:
    """Lay the rows of `by_length` out as lines of text for a terminal."""
    lines = [f"{'source words':>12}  {'sentences':>9}  {'BLEU':>5}"]
    lines += [f"{f'{row.low}-{row.high}':>12}  {row.sentences:>9}  {row.bleu:>5.1f}" for row in rows]
    return "\n".join(lines)


def _score(metric: "Metric", hypotheses: Sequence[str], references: Sequence[str]) -> Score:
    if len(hypotheses) != len(references):
        raise ValueError(
            f"{len(hypotheses)} translations cannot be scored against {len(references)} references; give one for each"
        )
    if not references:
        raise ValueError("there is nothing to score: no translations and no references; give at least one line")
    result = metric.corpus_score(list(hypotheses), [list(references)])
    return Score(float(result.score), str(metric.get_signature()))
