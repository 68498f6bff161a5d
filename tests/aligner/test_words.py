"""Posteriors of a batch merged to words and linked, held to the rules of one pair."""

import numpy as np
import pytest
import torch

from nmt.aligner.pairs import links_of
from nmt.aligner.words import PieceKinds, mean_over_pieces, mean_weights, membership, merged, side_of
from nmt.analysis.alignment import drop_punctuation, mean_links, merge

PIECES = ["\u2581", "\u2581a", "b", ",", "\u2581,", "<0xE2>", "\u25812"]
LETTERED = [False, True, True, False, False, False, True]
KINDS = PieceKinds(np.array(LETTERED), np.array([piece == "\u2581" for piece in PIECES]))


def random_side(rng: np.random.Generator) -> tuple[list[int], list[int], int]:
    """Pieces, the word of each, and how many words there are, some of which may have no piece."""
    words = int(rng.integers(1, 5))
    owners = sorted(rng.integers(0, words, size=rng.integers(1, 8)).tolist())
    return rng.integers(0, len(PIECES), size=len(owners)).tolist(), owners, words


@pytest.mark.parametrize("seed", range(5))
def test_a_batch_is_merged_and_linked_as_its_pairs_are(seed):
    rng = np.random.default_rng(seed)
    src, tgt = ([random_side(rng) for _ in range(6)] for _ in "st")
    sides = [side_of(*zip(*side, strict=True)) for side in (src, tgt)]
    posteriors = []
    for row, column in ((1, 0), (0, 1)):
        shape = 6, sides[row].ids.shape[1], sides[column].ids.shape[1]
        found = torch.from_numpy(rng.random(shape, dtype=np.float32))
        inside = (sides[row].owner >= 0)[:, :, None] & (sides[column].owner >= 0)[:, None]
        posteriors.append(found * torch.from_numpy(inside) / shape[2])
    forward = merged(posteriors[0], mean_over_pieces(sides[1], KINDS), membership(sides[0]))
    backward = merged(posteriors[1], mean_over_pieces(sides[0], KINDS), membership(sides[1]))
    links = links_of(mean_weights(forward, backward).numpy() >= 0.2)
    for row, ((s, s_of, s_words), (t, t_of, t_words)) in enumerate(zip(src, tgt, strict=True)):
        t_kept, s_kept = (drop_punctuation([PIECES[i] for i in ids], of) for ids, of in ((t, t_of), (s, s_of)))
        there = merge(posteriors[0][row, : len(t), : len(s)].numpy(), t_kept, s_of, t_words, s_words).weights
        back = merge(posteriors[1][row, : len(s), : len(t)].numpy(), s_kept, t_of, s_words, t_words).weights
        np.testing.assert_allclose(forward[row, :t_words, :s_words], there, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(backward[row, :s_words, :t_words], back, rtol=1e-5, atol=1e-6)
        assert links[row] == mean_links(there, back, threshold=0.2)
