"""From the texts of a request to lines for the model, and from its translations to the answer."""

import math
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from nmt.analysis.alignment import word_attention, word_links
from nmt.analysis.segmentation import BY_SPACES, bleu_tokenizer
from nmt.decoding.translator import Translation
from nmt.documents.sentences import Part, split_text
from nmt.server.models import Explained


class Text(NamedTuple):
    """A text of a request, split."""

    parts: list[Part]
    spaced: bool  # whether a space is to be put between sentences that have none, as the source language has none


def split(text: str, src: str, tgt: str) -> Text:
    """src, tgt: the languages of the text and of its translation."""
    spaced = bleu_tokenizer(src) not in BY_SPACES and bleu_tokenizer(tgt) in BY_SPACES
    return Text(split_text(text, src), spaced)


def sentences(text: Text) -> list[str]:
    """The lines for the model."""
    return [part.text for part in text.parts if part.translatable]


def join(text: Text, nbest: Sequence[Sequence[Translation]], rank: int = 0) -> str:
    """The text with each sentence's translation in its place: that of a rank, or else its best one."""
    translated = iter(nbest)
    out = ""
    for part in text.parts:
        if not part.translatable:
            out += part.text
            continue
        found = next(translated)
        sentence = found[min(rank, len(found) - 1)].text if rank < len(found) else found[0].text
        needs_space = text.spaced and out and not out[-1].isspace()
        out += f" {sentence}" if needs_space else sentence
    return out


def alternatives(text: Text, nbest: Sequence[Sequence[Translation]], wanted: int) -> list[str]:
    """Up to `wanted` further translations of a text, which differ from its best and from each other."""
    ranks = range(max(map(len, nbest), default=0))
    different = dict.fromkeys(join(text, nbest, rank) for rank in ranks)
    return list(islice(different, 1, 1 + wanted))


def describe(source: str, explained: Explained, rank: int = 0) -> dict[str, Any]:
    """A `Sentence` of the contract."""
    translation, log_probs = explained.nbest[rank], explained.log_probs[rank]
    attention = word_attention(translation)
    # A model without attention, and a long line, has no columns.
    kept = not translation.tgt_words or attention.weights.shape[1] == len(translation.src_words)
    return {
        "source": source,
        "translation": translation.text,
        "sourceWords": translation.src_words,
        "targetWords": translation.tgt_words,
        "links": [tuple(link) for link in word_links(translation)],
        "weights": _rounded(attention.weights) if kept else None,
        "endWeights": _rounded(attention.eos) if kept else None,
        "logProbs": [_number(each) for each in log_probs],
        "logProb": _number(translation.log_prob),
    }


def _rounded(weights: np.ndarray) -> list:
    return np.round(weights.astype(np.float64), 4).tolist()


def _number(value: float) -> float | None:
    """None for what JSON cannot say."""
    return round(float(value), 4) if math.isfinite(value) else None


def shared_out(results: Sequence[Any], texts: Sequence[Sequence[Any]]) -> Iterator[list[Any]]:
    """Consecutive results, as many for each text as it has sentences."""
    each = iter(results)
    for text in texts:
        yield list(islice(each, len(text)))
