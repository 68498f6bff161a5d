"""The aligner's data about pieces: frequencies, and whether a piece continues a word."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from nmt.data.binarized import BinarizedCorpus
from nmt.data.tokenizer import Subwords, Tokenizer

_WORD_START = "\u2581"
_ROWS = 10_000  # of the corpus in memory at once


class Vocabulary(NamedTuple):
    """Data about the V pieces of one side: unigram (V,), the logarithms of their relative frequencies, and continues
    (V,), whether a piece continues a word."""

    unigram: Tensor
    continues: Tensor


def untrained_vocabulary(subwords: Subwords) -> Vocabulary:
    """A vocabulary of equally frequent pieces, for a model whose weights are loaded from a checkpoint."""
    size = len(subwords)
    continues = torch.tensor([not piece.startswith(_WORD_START) for piece in subwords.vocabulary])
    return Vocabulary(torch.zeros(size).log_softmax(0), continues)


def vocabularies(tokenizer: Tokenizer, corpus: BinarizedCorpus) -> tuple[Vocabulary, Vocabulary]:
    """The vocabularies of source and target, with frequencies from a corpus; add-one smoothing."""
    sizes = len(tokenizer.src), len(tokenizer.tgt)
    counts = [np.ones(size, dtype=np.int64) for size in sizes]
    for begin in range(0, len(corpus), _ROWS):
        rows = corpus.rows(np.arange(begin, min(begin + _ROWS, len(corpus))))
        for count, ids, lengths in zip(counts, (rows.src, rows.tgt), (rows.src_lengths, rows.tgt_lengths), strict=True):
            pieces = ids[np.arange(ids.shape[1]) < lengths[:, None] - 1]
            count += np.bincount(pieces, minlength=len(count))
    src, tgt = (
        untrained_vocabulary(side)._replace(unigram=torch.from_numpy(np.log(count / count.sum())).float())
        for side, count in zip((tokenizer.src, tokenizer.tgt), counts, strict=True)
    )
    return src, tgt
