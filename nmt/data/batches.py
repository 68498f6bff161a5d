"""Batches of pairs of similar lengths, with a maximum size, in a shuffled order in each epoch."""

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from nmt.bounds import at_least
from nmt.data.binarized import BinarizedCorpus
from nmt.data.subword_regularization import SampledCorpus
from nmt.data.symbols import BOS, PAD

# For sorting, target lengths are divided into intervals of this many tokens. Of 1 to 24, on captions and on debates,
# with sizes of 1,024 to 8,192 tokens, 3 padded least or nearly so; 1 fills the target side to 99 %, but the source side
# only to 92 %.
_STEP = 3


class BatchType(Enum):
    """The unit of the size of a batch: tokens of the longer side, padding included, or sentences (pairs)."""

    tokens = "tokens"
    sentences = "sentences"


@dataclass
class BatchOptions:
    """The settings batch.*

    size: the maximum size of a batch, in units of `type`. bucket_batches: the number of batches in a bucket, within
    which pairs are sorted by length; 0: one bucket with all pairs.
    """

    size: int = 4096
    type: BatchType = BatchType.tokens
    bucket_batches: int = 0

    def __post_init__(self):
        at_least(1, batch__size=self.size)
        at_least(0, batch__bucket_batches=self.bucket_batches)


class Fill(NamedTuple):
    """The ratio of real tokens to padded tokens, from 0 to 1, of each side and of both together."""

    src: float
    tgt: float
    both: float


class Batch(NamedTuple):
    """B pairs, padded with PAD; lengths count EOS on both sides.

    src (B,S); src_lengths (B,); tgt_in (B,T): BOS y1 ...; tgt_out (B,T): y1 ... EOS; tgt_lengths (B,); token_positions
    (tokens,): the positions of real tokens in the flattened tgt_out; all int64. rows (B,): the indices of the pairs, on
    the CPU. links (L,3): pair of the batch, target piece, source piece; L is 0 if the corpus has no links; (L,4) with
    weights, in units of 1 / `nmt.data.binarized.WEIGHT_ONE`. tokens: the number of real target tokens, the sum of
    tgt_lengths, on the CPU.
    """

    src: Tensor
    src_lengths: Tensor
    tgt_in: Tensor
    tgt_out: Tensor
    tgt_lengths: Tensor
    token_positions: Tensor
    rows: Tensor
    links: Tensor
    tokens: int

    @classmethod
    def of(
        cls, src: Tensor, src_lengths: Tensor, tgt_in: Tensor, tgt_out: Tensor, links: Tensor | None = None
    ) -> "Batch":
        """A batch of pairs that are already padded; computing the other fields waits for the device."""
        real = tgt_out != PAD
        return cls(
            src,
            src_lengths,
            tgt_in,
            tgt_out,
            tgt_lengths=real.sum(1),
            token_positions=real.flatten().nonzero().squeeze(1),
            rows=torch.arange(len(src)),
            links=torch.zeros(0, 3, dtype=torch.int64, device=src.device) if links is None else links,
            tokens=int(real.sum()),
        )

    def to(self, device: torch.device | str) -> "Batch":
        """The batch on a device; copies to CUDA are asynchronous."""
        device = torch.device(device)

        def move(x: Tensor) -> Tensor:
            return x.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else x.to(device)

        return self._replace(
            src=move(self.src),
            src_lengths=move(self.src_lengths),
            tgt_in=move(self.tgt_in),
            tgt_out=move(self.tgt_out),
            tgt_lengths=move(self.tgt_lengths),
            token_positions=move(self.token_positions),
            links=move(self.links),
        )


class Batches:
    """Divides encoded pairs into batches, epoch by epoch.

    An epoch shuffles all pairs, sorts them by length within buckets of about `bucket_batches` batches (0: one bucket
    with all pairs), splits each bucket into batches of `size`, and shuffles the batches. BatchType.tokens: the padded
    tokens of a batch's longer side, B * max(S, T), are at most `size`; a longer pair is a batch of its own.
    BatchType.sentences: every batch has `size` pairs, except the last of a bucket; with size 80 and bucket_batches 20
    this is the method of Bahdanau et al. (2015), appendix B.2: 1600 pairs at a time, sorted and split into 20.

    shuffle=False keeps the order of the pairs, the same in every epoch; sort=True then still sorts within buckets, for
    less padding if the order of pairs does not matter.
    """

    def __init__(
        self,
        encoded: BinarizedCorpus,
        options: BatchOptions,
        *,
        seed: int = 0,
        shuffle: bool = True,
        sort: bool | None = None,
        sampled: SampledCorpus | None = None,
    ):
        """sort: by default the value of `shuffle`. sampled: the same pairs with segmentations sampled in each epoch;
        the size of a batch is computed from the best segmentations."""
        self.encoded, self.sampled = encoded, sampled
        self._size, self._type, self._bucket_batches = options.size, options.type, options.bucket_batches
        self._seed, self._shuffle = seed, shuffle
        self._sort = shuffle if sort is None else sort

    def epoch(self, number: int) -> list[np.ndarray]:
        """The rows of each batch of an epoch, each row once; deterministic given the seed and `number`."""
        rng = np.random.default_rng([self._seed, number])
        rows = rng.permutation(len(self.encoded)) if self._shuffle else np.arange(len(self.encoded))
        edges = self._bucket_edges(len(rows))
        if self._sort:
            rows = rows[self._sorted(rows, edges)]
        cuts = self._cut(np.maximum(self.encoded.src_lengths[rows], self.encoded.tgt_lengths[rows]), edges)
        batches = np.split(rows, cuts)
        if self._shuffle:
            batches = [batches[i] for i in rng.permutation(len(batches))]
        return batches

    def tgt_tokens(self, rows: np.ndarray, epoch: int = 0) -> int:
        """The number of real target tokens of these pairs in an epoch."""
        sampled = self.sampled
        return int((sampled.tgt_lengths(rows, epoch) if sampled else self.encoded.tgt_lengths[rows]).sum())

    def collate(self, rows: np.ndarray, epoch: int = 0) -> Batch:
        """The batch of these pairs in an epoch, on the CPU."""
        sampled = self.sampled
        src, src_lengths, tgt, tgt_lengths = sampled.rows(rows, epoch) if sampled else self.encoded.rows(rows)
        links = sampled.links(rows, epoch) if sampled else self.encoded.links(rows)
        tgt_in = np.empty_like(tgt)
        tgt_in[:, 0] = BOS
        last = np.arange(1, tgt.shape[1]) >= tgt_lengths[:, None]
        tgt_in[:, 1:] = np.where(last, PAD, tgt[:, :-1])  # all tokens but EOS, which is never an input
        token_positions = np.flatnonzero(np.arange(tgt.shape[1]) < tgt_lengths[:, None])
        arrays = (src, src_lengths, tgt_in, tgt, tgt_lengths, token_positions, rows, links)
        return Batch(*(torch.from_numpy(array.astype(np.int64)) for array in arrays), tokens=int(tgt_lengths.sum()))

    def fill(self, number: int) -> Fill:
        """The ratios of real tokens to padded tokens of an epoch, of each side and together."""
        batches = self.epoch(number)
        rows = np.concatenate(batches)
        starts = np.cumsum([0, *(len(batch) for batch in batches[:-1])])
        sizes = np.array([len(batch) for batch in batches])
        token_counts, padded_counts = [], []
        for lengths in (self.encoded.src_lengths[rows], self.encoded.tgt_lengths[rows]):
            token_counts.append(int(lengths.sum(dtype=np.int64)))
            padded_counts.append(int((np.maximum.reduceat(lengths, starts).astype(np.int64) * sizes).sum()))
        return Fill(
            token_counts[0] / padded_counts[0],
            token_counts[1] / padded_counts[1],
            sum(token_counts) / sum(padded_counts),
        )

    def _bucket_edges(self, pairs: int) -> np.ndarray:
        """The indices at which buckets begin, and the number of pairs."""
        size = pairs
        if self._bucket_batches:
            match self._type:
                case BatchType.sentences:
                    size = self._bucket_batches * self._size
                case BatchType.tokens:
                    longer = np.maximum(self.encoded.src_lengths, self.encoded.tgt_lengths).mean(dtype=np.float64)
                    size = max(1, round(self._bucket_batches * self._size / longer))
                case _:
                    raise _unknown(self._type)
        return np.append(np.arange(0, pairs, max(1, min(size, pairs))), pairs)

    def _sorted(self, rows: np.ndarray, edges: np.ndarray) -> np.ndarray:
        """The order (N,) that places rows of similar lengths next to each other within each bucket.

        The keys of the sort are: the interval of the target length, the source length, the target length. The direction
        of a key alternates between neighboring groups, so that neighbors are similar on both sides wherever a batch
        ends. The sort is stable.
        """
        src = self.encoded.src_lengths[rows].astype(np.int64)
        tgt = self.encoded.tgt_lengths[rows].astype(np.int64)
        src_width, tgt_width = src.max(initial=0) + 1, tgt.max(initial=0) + 1
        step = tgt // _STEP
        key = np.repeat(np.arange(len(edges) - 1), np.diff(edges)) * (tgt_width // _STEP + 1) + step
        key = key * src_width + np.where(step % 2 == 0, src, src_width - 1 - src)
        key = key * tgt_width + np.where(src % 2 == 0, tgt, tgt_width - 1 - tgt)
        return np.argsort(key, kind="stable")

    def _cut(self, longer: np.ndarray, edges: np.ndarray) -> np.ndarray:
        """The ends of all batches but the last; longer: the longer side of each pair, in order; no batch crosses
        `edges`."""
        cuts: list[int] = []
        for begin, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            match self._type:
                case BatchType.sentences:
                    cuts.extend(range(begin + self._size, end, self._size))
                case BatchType.tokens:
                    at = begin
                    while at < end:
                        at += self._fitting(longer[at : min(end, at + self._size // int(longer[at]) + 1)])
                        cuts.append(at)
                    cuts.pop()
                case _:
                    raise _unknown(self._type)
            cuts.append(end)
        return np.array(cuts[:-1], dtype=np.int64)

    def _fitting(self, longer: np.ndarray) -> int:
        """The number of pairs, from the first, that fit into a batch; at least one."""
        padded = np.maximum.accumulate(longer).astype(np.int64) * np.arange(1, len(longer) + 1)
        return max(1, int(np.searchsorted(padded, self._size, side="right")))


def _unknown(type: BatchType) -> ValueError:
    return ValueError(f"batch.type={type}: legal are {', '.join(each.value for each in BatchType)}")
