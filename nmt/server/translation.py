"""Splits the texts of a request into lines for the model, and builds the answer from the translations."""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from nmt.analysis.alignment import word_attention, word_links
from nmt.analysis.segmentation import needs_space
from nmt.decoding.translator import Translation
from nmt.documents.html import HtmlDocument, Translated
from nmt.documents.sentences import Part, split_text
from nmt.server.models import Explained


class Text(NamedTuple):
    """A text of a request, split into sentences and the white space between them."""

    parts: list[Part]
    spaced: bool  # whether to insert spaces between sentences, see needs_space


def split(text: str, src: str, tgt: str) -> Text:
    """Splits a text. src, tgt: the languages of the text and of its translation."""
    return Text(split_text(text, src), needs_space(src, tgt))


def sentences(text: Text) -> list[str]:
    """The lines for the model."""
    return [part.text for part in text.parts if part.translatable]


def join(text: Text, nbest: Sequence[Sequence[Translation]], rank: int = 0) -> str:
    """The text with each sentence replaced by its translation of the given rank, or by the best if there is none."""
    translated = iter(nbest)
    out = ""
    for part in text.parts:
        if not part.translatable:
            out += part.text
            continue
        sentence = _of_rank(next(translated), rank).text
        out += f" {sentence}" if text.spaced and out and not out[-1].isspace() else sentence
    return out


def render_html(document: HtmlDocument, nbest: Sequence[Sequence[Translation]], rank: int, *, spaced: bool) -> str:
    """As `join`, for an HTML document. The translations must have attention, for the links."""
    found = [_of_rank(each, rank) for each in nbest]
    return document.render([Translated(each.text, word_links(each)) for each in found], spaced=spaced)


def _of_rank(nbest: Sequence[Translation], rank: int) -> Translation:
    return nbest[rank] if rank < len(nbest) else nbest[0]


def alternatives(render: Callable[[int], str], nbest: Sequence[Sequence[Translation]], wanted: int) -> list[str]:
    """Up to `wanted` further translations of a text, which differ from the best and from each other.

    render: the text with the translations of a rank.
    """
    if not wanted:
        return []
    different = dict.fromkeys(render(rank) for rank in range(max(map(len, nbest), default=0)))
    return list(different)[1:][:wanted]  # islice does not accept numbers of more than 64 bits


def describe(source: str, explained: Explained) -> dict[str, Any]:
    """The fields of `contract.Sentence` for the best translation."""
    translation = explained.nbest[0]
    attention = word_attention(translation)
    # Without attention, and for a line that is too long, there are no weights; they are null, except for an empty pair.
    kept = bool(translation.weights.size) or not (translation.src_words or translation.tgt_words)
    return {
        "source": source,
        "translation": translation.text,
        "sourceWords": translation.src_words,
        "targetWords": translation.tgt_words,
        "links": [tuple(link) for link in word_links(translation)],
        "weights": _rounded(attention.weights) if kept else None,
        "endWeights": _rounded(attention.eos) if kept else None,
        "logProbs": [_number(each) for each in explained.log_probs],
        "logProb": _number(translation.log_prob),
    }


def describe_confidence(source: str, explained: Explained) -> dict[str, Any]:
    """The fields of `contract.Confidence` for the best translation."""
    best = explained.nbest[0]
    assert explained.confidence
    return {
        "source": source,
        "translation": best.text,
        "sourceWords": best.src_words,
        "targetWords": best.tgt_words,
        **explained.confidence.to_dict(),
    }


def _rounded(weights: np.ndarray) -> list:
    return np.round(weights.astype(np.float64), 4).tolist()


def _number(value: float) -> float | None:
    """Rounded to four digits; None for NaN and infinity, which JSON does not have."""
    return round(float(value), 4) if math.isfinite(value) else None


def shared_out(results: Sequence[Any], texts: Sequence[Sequence[Any]]) -> Iterator[list[Any]]:
    """Divides the results among the texts: for each text as many as it has sentences."""
    each = iter(results)
    for text in texts:
        yield list(islice(each, len(text)))
