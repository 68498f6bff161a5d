"""Subword regularization: a SentencePiece model samples other segmentations of the training text in every epoch.

The text of a pair is decoded from its ids, so the original text need not be stored.
"""

import zlib
from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from nmt.bounds import greater_than
from nmt.data.binarized import BinarizedCorpus, Rows
from nmt.data.symbols import EOS, PAD, UNK
from nmt.data.tokenizer import Subwords, Tokenizer

_CACHED = 20_000  # sentences in the cache of segmentations: each update needs its sentences twice


@dataclass
class SubwordRegularizationOptions:
    """The settings subword_regularization.*

    src_alpha, tgt_alpha: for a BPE model the probability of leaving out a merge, BPE-dropout (Provilkov et al., 2020);
    for a unigram model the exponent of a segmentation's probability; a smaller one is closer to uniform (Kudo, 2018,
    3.2). null: always the best segmentation. nbest: the number of best segmentations that a unigram model samples from;
    -1: all.
    """

    src_alpha: float | None = None
    tgt_alpha: float | None = None
    nbest: int = -1

    def __post_init__(self):
        greater_than(
            0, subword_regularization__src_alpha=self.src_alpha, subword_regularization__tgt_alpha=self.tgt_alpha
        )
        if self.nbest != -1 and not 2 <= self.nbest <= 512:
            raise ValueError(
                f"subword_regularization.nbest={self.nbest} is impossible: give 2 to 512, or -1 for all segmentations"
            )

    @property
    def is_on(self) -> bool:
        """Whether segmentations of a side are sampled."""
        return self.src_alpha is not None or self.tgt_alpha is not None


class SampledCorpus:
    """The pairs of `encoded` with segmentations that depend only on the epoch, the pair and `seed`, so that they are
    the same on every rank and after resuming.

    A sentence with an unknown piece keeps its pieces, because its ids do not determine its text. Raises ValueError for
    a model that cannot sample segmentations, and for an invalid alpha.
    """

    def __init__(
        self, encoded: BinarizedCorpus, tokenizer: Tokenizer, options: SubwordRegularizationOptions, seed: int
    ):
        if encoded.weighted:
            raise ValueError(
                "subword_regularization.* draws other pieces than those that links with weights (i-j:WEIGHT) are "
                "between: leave it out, or the weights"
            )
        self.encoded, self.seed, self.nbest = encoded, seed, options.nbest
        self.sides = (tokenizer.src, tokenizer.tgt)
        self.alphas = (options.src_alpha, options.tgt_alpha)
        for name, subwords, alpha in zip(("src", "tgt"), self.sides, self.alphas, strict=True):
            if alpha is not None:
                _check(subwords, alpha, f"subword_regularization.{name}_alpha={alpha}")
        self._pieces = lru_cache(maxsize=_CACHED)(self._draw)

    def rows(self, rows: np.ndarray, epoch: int) -> Rows:
        """Like `BinarizedCorpus.rows`, with the segmentations of an epoch."""
        best = self.encoded.rows(rows)
        src = self._side(0, best.src, best.src_lengths, rows, epoch)
        return Rows(*src, *self._side(1, best.tgt, best.tgt_lengths, rows, epoch))

    def tgt_lengths(self, rows: np.ndarray, epoch: int) -> np.ndarray:
        """The lengths (B,) of the targets in an epoch, in pieces, EOS included."""
        if self.alphas[1] is None:
            return self.encoded.tgt_lengths[rows]
        best = self.encoded.rows(rows)
        return self._side(1, best.tgt, best.tgt_lengths, rows, epoch)[1]

    def links(self, rows: np.ndarray, epoch: int) -> np.ndarray:
        """Like `BinarizedCorpus.links`, between the pieces of an epoch, from the same links between words."""
        best, links = self.encoded.rows(rows), self.encoded.links(rows)
        found = []
        for place, row in enumerate(rows.tolist()):
            between = links[links[:, 0] == place]
            if not len(between):
                continue
            if all(alpha is None or UNK in side[place] for alpha, side in zip(self.alphas, best[::2], strict=True)):
                found += [(place, *piece) for piece in between[:, 1:].tolist()]
                continue
            tgt = self._words(1, best.tgt[place, : best.tgt_lengths[place]], row, epoch)
            src = self._words(0, best.src[place, : best.src_lengths[place]], row, epoch)
            words = {(tgt[0][t], src[0][s]) for t, s in between[:, 1:].tolist()}
            found += [(place, t, s) for one, other in sorted(words) for t in tgt[1][one] for s in src[1][other]]
        return np.array(found, dtype=np.int64).reshape(-1, 3)

    def _side(
        self, side: int, best: np.ndarray, lengths: np.ndarray, rows: np.ndarray, epoch: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Padded ids (B, S) of a side and their lengths (B,)."""
        if self.alphas[side] is None:
            return best, lengths
        drawn = [
            self._pieces(side, tuple(ids[: length - 1]), row, epoch)
            for ids, length, row in zip(best.tolist(), lengths.tolist(), rows.tolist(), strict=True)
        ]
        drawn_lengths = np.array([len(ids) + 1 for ids in drawn], dtype=np.int32)
        padded = np.full((len(drawn), drawn_lengths.max()), PAD, dtype=np.int32)
        for row, ids in zip(padded, drawn, strict=True):
            row[: len(ids)], row[len(ids)] = ids, EOS
        return padded, drawn_lengths

    def _draw(self, side: int, best: tuple[int, ...], row: int, epoch: int) -> list[int]:
        """The pieces of a sentence in an epoch, without EOS. best: the pieces of the best segmentation."""
        alpha = self.alphas[side]
        if alpha is None or UNK in best:
            return list(best)
        subwords = self.sides[side]
        return subwords.sample(subwords.decode(best), alpha, self.nbest, seed=self._seed(side, row, epoch))

    def _seed(self, side: int, row: int, epoch: int) -> int:
        return zlib.crc32(np.array([self.seed, epoch, row, side], dtype=np.int64).tobytes())

    def _words(self, side: int, best: np.ndarray, row: int, epoch: int) -> tuple[list[int], dict[int, list[int]]]:
        """The word of each piece of the best segmentation, and the pieces of each word in an epoch; a word has none if
        all of it is in a piece that belongs to the next word."""
        subwords, ids = self.sides[side], best[:-1].tolist()
        drawn = self._pieces(side, tuple(ids), row, epoch)
        pieces = defaultdict(list)
        for piece, word in enumerate(subwords.decode_words(drawn).words):
            pieces[word].append(piece)
        return subwords.decode_words(ids).words, pieces


def _check(subwords: Subwords, alpha: float, given: str) -> None:
    """Raises ValueError if the model of a side cannot sample with this alpha."""
    if not subwords.can_sample:
        raise ValueError(
            f"{given}: SentencePiece draws segmentations of unigram and bpe models, and this one is of another kind; "
            "try tokenizer.model_type=unigram or bpe"
        )
    if alpha > 1 and not subwords.has_nbest:
        raise ValueError(f"{given} is impossible: of a bpe model it is the share of merges that are left out, up to 1")
