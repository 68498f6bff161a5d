"""Three sentences for a page, whose numbers are known: translated, forced, and with gold links."""

import numpy as np

from nmt.analysis.alignment import GoldLinks, Link
from nmt.decoding.translator import Translation

HARMFUL = '</script><script>hurt=1</script> &amp; <img/src=x/onerror="hurt=2"> \u2028{{7*7}} ]]>'


def said(src: str, tgt: str, rows: list[list[float]] | None = None, log_prob: float = -1.0) -> Translation:
    """A translation of whole words as pieces. rows: a word's weights over the source words and the end (S + 1)."""
    src_words, tgt_words = src.split(), tgt.split()
    if rows is None:
        rows = [np.eye(len(src_words) + 1)[min(t, len(src_words))].tolist() for t in range(len(tgt_words))]
    return Translation(
        text=tgt,
        score=log_prob,
        log_prob=log_prob,
        src_words=src_words,
        tgt_words=tgt_words,
        src_pieces=[*src_words, "</s>"],
        tgt_pieces=tgt_words,
        weights=np.array(rows, np.float32).reshape(len(tgt_words), len(src_words) + 1),
        src_word_of=[*range(len(src_words)), -1],
        tgt_word_of=list(range(len(tgt_words))),
    )


def without_attention(translations: list[Translation]) -> list[Translation]:
    """The same from a model without attention."""
    return [each._replace(weights=np.zeros((len(each.tgt_pieces), 0), np.float32)) for each in translations]


def links(sure: set[tuple[int, int]], possible: set[tuple[int, int]]) -> GoldLinks:
    return GoldLinks(frozenset(Link(*each) for each in sure), frozenset(Link(*each) for each in sure | possible))


FOUND = [
    said("the red house", "la maison rouge", [[0.9, 0, 0.1, 0], [0.04, 0.2, 0.75, 0.01], [0, 0.8, 0, 0.2]], -0.3),
    said("a b c d e", HARMFUL, None, -9.0),
    said("nothing here", "", None, 0.0),
]
FORCED = [
    said("the red house", "cette maison rouge", [[0.5, 0.1, 0.4, 0], [0.1, 0.1, 0.8, 0], [0, 0.9, 0, 0.1]], -2.1),
    said("a b c d e", "un deux trois", None, -1.5),
    said("nothing here", "rien ici", [[1, 0, 0], [0, 0, 1]], -4.0),
]
GOLD = [links({(0, 0), (2, 1)}, {(1, 2)}), links({(0, 0)}, set()), links(set(), set())]
