"""From translations to the answer of the server."""

from types import SimpleNamespace

import numpy as np
import pytest

from nmt.decoding.translator import Translation
from nmt.server.models import Explained
from nmt.server.translation import alternatives, describe


def translation(src: str, tgt: str, weights: np.ndarray) -> Translation:
    """Each word is a piece, and the end of sentence follows, but of a pair without words."""
    words = src.split(), tgt.split()
    blank = not (src or tgt)
    pieces = [[] if blank else [*side, "</s>"] for side in words]
    word_of = [[] if blank else [*range(len(side)), -1] for side in words]
    return Translation(tgt, 0.0, 0.0, words[0], words[1], pieces[0], pieces[1], weights, word_of[0], word_of[1])


@pytest.mark.parametrize("wanted", [3, 10**30])
def test_as_many_alternatives_as_there_are_can_be_had(wanted):
    nbest = [[SimpleNamespace(text=text) for text in ("a", "b", "a", "c")]]
    assert alternatives(lambda rank: nbest[0][rank].text, nbest, wanted) == ["b", "c"]  # pyright: ignore


@pytest.mark.parametrize(("src", "tgt"), [("x", "y"), ("x", ""), ("", "y")])
def test_without_attention_no_weights_are_told(src, tgt):
    without = translation(src, tgt, np.zeros((len(tgt.split()) + 1, 0), np.float32))
    found = describe(src, Explained([without], np.zeros(len(tgt.split()))))
    assert (found["links"], found["weights"], found["endWeights"]) == ([], None, None)


@pytest.mark.parametrize(
    ("src", "tgt", "told"),
    [("x", "y", ([[0.5]], [0.5])), ("x", "", ([], [])), ("", "y", ([[]], [1.0])), ("", "", ([], []))],
)
def test_with_attention_weights_have_a_row_for_each_target_word(src, tgt, told):
    rows, columns = (len(side.split()) + 1 if src or tgt else 0 for side in (tgt, src))
    weights = np.full((rows, columns), 1 / max(1, columns), np.float32)
    found = describe(src, Explained([translation(src, tgt, weights)], np.zeros(len(tgt.split()))))
    assert (found["weights"], found["endWeights"]) == told
