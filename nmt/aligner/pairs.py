"""Aligns any number of pairs with an aligner: posteriors between words, links and log-probabilities."""

import math
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice, pairwise
from typing import NamedTuple

import numpy as np
import torch

from nmt.aligner.hmm import posterior
from nmt.aligner.model import Aligner
from nmt.aligner.words import mean_over_pieces, mean_weights, membership, merged, piece_kinds, side_of
from nmt.analysis.alignment import MIN_MEAN_WEIGHT, Link
from nmt.corpus import Pair
from nmt.data.tokenizer import Tokenizer

# A window of pairs is read, sorted by length and aligned. Windows depend only on the lengths of the pairs in
# characters, so a job that is resumed in the middle has the same windows as before.
WINDOW_PAIRS = 4096
_WINDOW_CHARACTERS = 2**21
_MAX_CELLS = 2**22  # pairs of a batch times the square of its longest side: lattices then take about 200 MB
_BATCH_PIECES = 8192


class AlignedPair(NamedTuple):
    """The alignment of a pair.

    forward (Tw, Sw): for each target word, the posterior of each source word; backward (Sw, Tw): for each source word,
    that of each target word. links: from both directions, as by `mean_links`. log_probs: of the target given the
    source, and of the source given the target. too_long: the pair does not fit into memory; its posteriors are (Tw, 0)
    and (Sw, 0), it has no links, and log_probs are minus infinity.
    """

    pair: Pair
    forward: np.ndarray
    backward: np.ndarray
    links: list[Link]
    log_probs: tuple[float, float]
    too_long: bool = False

    @property
    def per_word(self) -> tuple[float, float]:
        """log_probs divided by the number of words that each one is of."""
        words = self.forward.shape[0], self.backward.shape[0]
        return self.log_probs[0] / max(1, words[0]), self.log_probs[1] / max(1, words[1])


class _Encoded(NamedTuple):
    """A pair as ids without EOS, the index of the word of each piece, and the number of words of each side."""

    src: list[int]
    src_owner: list[int]
    tgt: list[int]
    tgt_owner: list[int]
    src_words: int
    tgt_words: int

    @property
    def longer(self) -> int:
        return max(len(self.src), len(self.tgt))


class PairAligner:
    """Aligns pairs with an aligner in eval mode, whose tables it computes once for all pairs."""

    def __init__(self, model: Aligner, tokenizer: Tokenizer, *, batch_size: int = 64, threshold: float | None = None):
        """batch_size: pairs in a batch. threshold: of `mean_links`; None: its default."""
        assert not model.training, "dropout would change what is found: call model.eval() first"
        self.model, self.tokenizer, self.batch_size = model, tokenizer, batch_size
        self.threshold = MIN_MEAN_WEIGHT if threshold is None else threshold
        self._forward, self._backward = model.forward_direction.tables(), model.backward_direction.tables()
        self._src_kinds, self._tgt_kinds = piece_kinds(tokenizer.src), piece_kinds(tokenizer.tgt)

    @torch.inference_mode()
    def align(self, pairs: Iterable[Pair], *, skip: int = 0) -> Iterator[AlignedPair]:
        """Aligns the pairs, in order. The first `skip` pairs are skipped, without effect on the others."""
        for window in _windows(pairs):
            if skip >= len(window):
                skip -= len(window)
                continue
            yield from islice(self._window(window), skip, None)
            skip = 0

    def _window(self, window: list[Pair]) -> Iterator[AlignedPair]:
        encoded = [self._encode(pair) for pair in window]
        found = [_bare(pair, each) for pair, each in zip(window, encoded, strict=True)]
        fitting = (row for row, each in enumerate(encoded) if (each.src or each.tgt) and not found[row].too_long)
        order = sorted(fitting, key=lambda row: (len(encoded[row].tgt), len(encoded[row].src)))
        for rows in self._batches(order, encoded):
            for row, aligned in zip(
                rows, self._align([window[r] for r in rows], [encoded[r] for r in rows]), strict=True
            ):
                found[row] = aligned
        yield from found

    def _encode(self, pair: Pair) -> _Encoded:
        sides = self.tokenizer.src.encode_words(pair.src), self.tokenizer.tgt.encode_words(pair.tgt)
        return _Encoded(*sides[0], *sides[1], len(pair.src.split()), len(pair.tgt.split()))

    def _batches(self, order: list[int], encoded: list[_Encoded]) -> Iterator[list[int]]:
        """Batches of rows sorted by length, each with at most batch_size rows, _BATCH_PIECES and _MAX_CELLS."""
        batch: list[int] = []
        longest = 0
        for row in order:
            longest, size = max(longest, encoded[row].longer), len(batch) + 1
            full = size > self.batch_size or size * longest > _BATCH_PIECES or size * longest**2 > _MAX_CELLS
            if batch and full:
                yield batch
                batch, longest = [], encoded[row].longer
            batch.append(row)
        if batch:
            yield batch

    def _align(self, pairs: list[Pair], encoded: list[_Encoded]) -> Iterator[AlignedPair]:
        src = side_of([e.src for e in encoded], [e.src_owner for e in encoded], [e.src_words for e in encoded])
        tgt = side_of([e.tgt for e in encoded], [e.tgt_owner for e in encoded], [e.tgt_words for e in encoded])
        device = self.model.device
        ids = [each.to(device) for each in (src.ids, src.lengths, tgt.ids, tgt.lengths)]
        there = posterior(self.model.forward_direction.lattice(self._forward, *ids))
        back = posterior(self.model.backward_direction.lattice(self._backward, *ids[2:], *ids[:2]))
        forward, backward = (
            merged(found.links.cpu(), mean_over_pieces(row, kinds), membership(column))
            for found, row, column, kinds in (
                (there, tgt, src, self._tgt_kinds),
                (back, src, tgt, self._src_kinds),
            )
        )
        links = links_of(mean_weights(forward, backward).numpy() >= self.threshold)
        matrices = forward.numpy(), backward.numpy()
        log_probs = zip(there.log_probs.tolist(), back.log_probs.tolist(), strict=True)
        for row, (pair, each, scores) in enumerate(zip(pairs, encoded, log_probs, strict=True)):
            sizes = each.tgt_words, each.src_words
            one, other = matrices[0][row, : sizes[0], : sizes[1]], matrices[1][row, : sizes[1], : sizes[0]]
            yield AlignedPair(pair, one, other, links[row], scores)


def _bare(pair: Pair, encoded: _Encoded) -> AlignedPair:
    """The result for a pair that is not aligned, as both sides are blank or the pair is too long."""
    too_long = encoded.longer**2 > _MAX_CELLS
    shape = (encoded.tgt_words, 0 if too_long else encoded.src_words)
    other = (encoded.src_words, 0 if too_long else encoded.tgt_words)
    score = -math.inf if too_long else 0.0
    return AlignedPair(pair, np.zeros(shape, np.float32), np.zeros(other, np.float32), [], (score, score), too_long)


def links_of(chosen: np.ndarray) -> list[list[Link]]:
    """chosen (B, Sw, Tw) bool -> the links of each pair, sorted."""
    rows, src, tgt = np.nonzero(chosen)
    ends = np.searchsorted(rows, np.arange(len(chosen) + 1)).tolist()
    links = list(map(partial(tuple.__new__, Link), zip(src.tolist(), tgt.tolist(), strict=True)))  # no Python per link
    return [links[begin:end] for begin, end in pairwise(ends)]


def _windows(pairs: Iterable[Pair]) -> Iterator[list[Pair]]:
    window, characters = [], 0
    for pair in pairs:
        window.append(pair)
        characters += len(pair.src) + len(pair.tgt)
        if len(window) == WINDOW_PAIRS or characters >= _WINDOW_CHARACTERS:
            yield window
            window, characters = [], 0
    if window:
        yield window
