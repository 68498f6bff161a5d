"""The sentences that the report page shows word by word: their selection from a test set, and their data."""

import base64
import heapq
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from difflib import SequenceMatcher
from typing import NamedTuple

import numpy as np

from nmt.analysis.alignment import (
    GoldLinks,
    TranslationLike,
    WordAttention,
    alignment_error_rate,
    by_piece,
    word_attention,
    word_links,
)
from nmt.analysis.metrics import sentence_chrf

FIRST = 100  # sentences of the test set, shown for every run
WORST = 100  # of the others, those with the lowest chrF
LONGEST = 100  # words on a side: the matrices of longer sentences would make the page too large


class SelectedSentence(NamedTuple):
    """Sentence `number` of the test set, from 0: its translation and its reference."""

    number: int
    translation: TranslationLike
    reference: str
    chrf: float


class Selection:
    """Selects the sentences of a page from a stream of translations. Only these are in memory.

    They are the first `first`, and of the others the `worst` with the lowest chrF. Sentences with more than `longest`
    words on a side are left out, and counted in `too_long`. encode: the pieces of a reference, for text without spaces,
    which is shown by piece.
    """

    def __init__(
        self,
        *,
        first: int = FIRST,
        worst: int = WORST,
        longest: int = LONGEST,
        encode: Callable[[str], Sequence] | None = None,
    ):
        self.first, self.worst, self.longest, self.encode = first, worst, longest, encode
        self.seen = self.too_long = 0
        self._first: list[SelectedSentence] = []
        self._worst: list[tuple[float, int, SelectedSentence]] = []  # a heap with the best of the worst at the top

    def observe(self, translations: Iterable[TranslationLike], references: Sequence[str]) -> Iterator[TranslationLike]:
        """Yields the translations unchanged; they are in the order of the references."""
        for number, (translation, reference) in enumerate(zip(translations, references, strict=True)):
            self.seen += 1
            shown = by_piece(translation) if self.encode else translation
            other = self.encode(reference) if self.encode else reference.split()
            if max(len(shown.src_words), len(shown.tgt_words), len(other)) > self.longest:
                self.too_long += 1
            else:
                selected = SelectedSentence(number, shown, reference, sentence_chrf(translation.text, reference))
                if number < self.first:
                    self._first.append(selected)
                elif self.worst:
                    heapq.heappush(self._worst, (-selected.chrf, -number, selected))
                    if len(self._worst) > self.worst:
                        heapq.heappop(self._worst)
            yield translation

    @property
    def selected(self) -> list[SelectedSentence]:
        """The sentences selected so far, in the order of the test set."""
        return self._first + sorted(selected for _, _, selected in self._worst)

    def __str__(self) -> str:
        """The selection of sentences as a text for the page."""
        words = "pieces" if self.encode else "words"
        long = f", without the {self.too_long:,} of more than {self.longest} {words}" if self.too_long else ""
        by = " The text has no spaces, so it is shown by piece." if self.encode else ""
        if len(self.selected) == self.seen - self.too_long:
            return f"All {self.seen:,} sentences of the test set{long}.{by}"
        return (
            f"{len(self.selected):,} of the {self.seen:,} sentences: the first {self.first:,}, and of the others the "
            f"{self.worst:,} with the lowest chrF{long}.{by}"
        )


def describe(selected: SelectedSentence, forced: TranslationLike, gold: GoldLinks | None) -> dict:
    """The data of a sentence for the page, as plain data for JSON.

    forced: the reference by forced decoding. gold: links of source and reference, if there are any.
    """
    attention = {"hypothesis": _with_columns(selected.translation), "reference": _with_columns(forced)}
    hypothesis, reference = selected.translation.tgt_words, forced.tgt_words
    blocks = SequenceMatcher(None, hypothesis, reference, autojunk=False).get_matching_blocks()
    shared = [[block[side] + k for block in blocks for k in range(block.size)] for side in (0, 1)]
    data = {
        "number": selected.number,
        "src": selected.translation.src_words,
        "chrf": round(selected.chrf, 1),
        "hypothesis": _side(selected.translation, attention["hypothesis"], shared[0]),
        "reference": _side(forced, attention["reference"], shared[1]),
        "disagreement": round(_disagreement(*attention.values()), 3),
    }
    if gold:
        size = len(selected.translation.src_words), len(reference)
        sure, possible = (
            sorted((i, j) for i, j in links if i < size[0] and j < size[1])
            for links in (gold.sure, gold.possible - gold.sure)
        )
        error = alignment_error_rate([word_links(forced)], [gold.sure], [gold.possible]).aer
        data |= {"sure": sure, "possible": possible, "aer": round(error, 3)}
    return data


def _with_columns(translation: TranslationLike) -> WordAttention:
    """The attention of a sentence, with a column of zeros for each source word if the weights were not stored."""
    weights, eos = word_attention(translation)
    if not weights.size:
        weights = np.zeros((len(translation.tgt_words), len(translation.src_words)), np.float32)
    return WordAttention(weights, eos)


def _side(translation: TranslationLike, attention: WordAttention, shared: list[int]) -> dict:
    """Words, and those without a counterpart on the other side; the model's score; rows of weights per word, eos
    last."""
    score = translation.log_prob / max(1, len(translation.tgt_pieces))
    return {
        "words": translation.tgt_words,
        "apart": sorted(set(range(len(translation.tgt_words))) - set(shared)),
        # For hypothesis and reference: their scores show which one the model prefers.
        "score": round(score, 3) if math.isfinite(score) else None,
        "weights": _quantized(np.column_stack([attention.weights, attention.eos])),
        "links": word_links(translation),
    }


def _quantized(weights: np.ndarray) -> str:
    """Weights from 0 to 1 as bytes from 0 to 255, row by row, in base64: in steps of 0.4 %."""
    return base64.b64encode(np.rint(weights.clip(0, 1) * 255).astype(np.uint8).tobytes()).decode("ascii")


def _disagreement(one: WordAttention, other: WordAttention) -> float:
    """The difference between the attention of two translations over the source, from 0 to 1.

    Each source word, and the end of sentence, has a share of the attention of all words of a translation; the result is
    half the sum of the differences of these shares (total variation). It is large if one translates words that the
    other leaves out.
    """
    shares = [np.append(each.weights.mean(axis=0), each.eos.mean()) if len(each.eos) else None for each in (one, other)]
    if shares[0] is None or shares[1] is None:
        return float((shares[0] is None) != (shares[1] is None))
    return float(np.abs(shares[0] - shares[1]).sum()) / 2
