"""Gradients of each predicted piece with respect to the source embeddings, and their agreement with attention."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import combinations
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from nmt.analysis.alignment import WordAttention, merge
from nmt.data.symbols import BOS, PAD

# The maximum number of pieces, of source and target, in the copies of one sentence in a batch: 32 copies of 128 and
# 128. This needs the memory of a training batch, 100 MB for layers of width 128.
_COPIED_PIECES = 8192


class Saliency(NamedTuple):
    """One pair, T target pieces by S source pieces, EOS last on both sides; float32.

    attention: the weights when piece t is predicted; (T, 0) for a model without attention.
    jacobian: |d log p(y_t) / d x_j|, the norm of the gradient, x_j being the embedding of source piece j.
    # Graves (2012), the sequential Jacobian, with the log-probability of the piece for the output
    input_gradient: x_j . d log p(y_t) / d x_j, input times gradient, with its sign.  # Shrikumar et al. (2017)
    """

    attention: np.ndarray
    jacobian: np.ndarray
    input_gradient: np.ndarray


def saliency(
    model, src: Sequence[int], tgt: Sequence[int], progress: Callable[[int], object] = lambda rows: None
) -> Saliency:
    """src: S ids; tgt: T ids; EOS last in both. The model, a Seq2Seq, is in eval mode.

    progress: called with the number of rows, of T, that are computed.

    The sentence is in the batch T times; copy t contributes only the log-probability of piece t. One backward pass then
    gives every row: the gradient at the embeddings of copy t. Long sentences are computed a few copies at a time, so
    that memory grows with S + T.
    """
    assert not model.training, "dropout would change the gradients: call model.eval() first"
    copies = max(1, _COPIED_PIECES // (len(src) + len(tgt)))
    parts = []
    for first in range(0, len(tgt), copies):
        parts.append(_rows(model, src, tgt[: first + copies], first))
        progress(min(first + copies, len(tgt)))
    return Saliency(*(np.concatenate(matrices) for matrices in zip(*parts, strict=True)))


def _rows(model, src: Sequence[int], tgt: Sequence[int], first: int) -> Saliency:
    """The rows of the target pieces from `first` on."""
    steps = torch.arange(first, len(tgt), device=model.device)
    copy = steps - first
    sources = torch.tensor(src, device=model.device).expand(len(steps), -1)
    lengths = torch.full((len(steps),), len(src), device=model.device)
    tgt_in = torch.tensor([BOS, *tgt[:-1]], device=model.device).expand(len(steps), -1)
    tgt_out = torch.full_like(tgt_in, PAD)
    tgt_out[copy, steps] = torch.tensor(tgt, device=model.device)[steps]
    with torch.enable_grad(), _taken_from(model.encoder.embedding) as taken:
        log_probs, weights = model.log_probs(sources, lengths, tgt_in, tgt_out)
        total = log_probs.sum()
        (embedded,) = taken
        (gradient,) = torch.autograd.grad(total, embedded)
    rows = (weights[copy, steps], gradient.norm(dim=2), (gradient * embedded).sum(2))
    return Saliency(*(row.detach().float().cpu().numpy() for row in rows))


@contextmanager
def _taken_from(module: torch.nn.Module) -> Iterator[list[Tensor]]:
    """Within the block the module's outputs are leaf tensors that receive gradients, and are added to the list."""
    taken: list[Tensor] = []

    def replace(_module, _inputs, output: Tensor) -> Tensor:
        taken.append(output.detach().requires_grad_())
        return taken[-1]

    handle = module.register_forward_hook(replace)
    try:
        yield taken
    finally:
        handle.remove()


def by_words(
    found: Saliency, tgt_word_of: Sequence[int], src_word_of: Sequence[int], n_tgt: int, n_src: int
) -> dict[str, WordAttention]:
    """The matrices between words, by name; no attention if the model has none.

    As in `merge` for attention: a weighted mean over target pieces, a sum over source pieces. For the Jacobian the
    squares are merged, which gives the norm of the gradient at all embeddings of the source word: a sum of norms would
    grow with the number of its pieces.
    """
    places = tgt_word_of, src_word_of, n_tgt, n_src
    attention = {"attention": merge(found.attention, *places)} if found.attention.shape[1] else {}
    squares = merge(found.jacobian**2, *places)
    jacobian = WordAttention(np.sqrt(squares.weights), np.sqrt(squares.eos))
    return attention | {"jacobian": jacobian, "input_gradient": merge(found.input_gradient, *places)}


def shares(words: WordAttention) -> WordAttention:
    """The absolute values of a merged matrix, normalized so that rows sum to one as for attention.

    A row of zeros becomes all weight on the end of sentence, as for a target word without pieces.
    """
    weights, eos = np.abs(words.weights), np.abs(words.eos)
    total = weights.sum(1) + eos
    eos = np.where(total > 0, eos, 1.0)
    total = np.where(total > 0, total, 1.0)
    return WordAttention((weights / total[:, None]).astype(np.float32), (eos / total).astype(np.float32))


def kendall(first: np.ndarray, second: np.ndarray) -> float:
    """Kendall's tau-b of two rows (S,): 1 for equal rankings, -1 for reversed ones, 0 for unrelated ones.

    Ties count for neither; nan if a row is constant, without a ranking.  # Kendall (1945)
    """
    one, other = (np.sign(row[:, None] - row) for row in (first, second))
    pairs = np.sqrt(np.sum(one**2) * np.sum(other**2))
    return float(np.sum(one * other) / pairs) if pairs else float("nan")


class RankCorrelation(NamedTuple):
    """The agreement of two matrices, averaged over target words; nan if there are none.

    tau: Kendall's tau-b between their rankings of the source words; top: the share of target words whose largest value
    is at the same source word; chance: this share by chance; words: the number of target words.
    """

    tau: float
    top: float
    chance: float
    words: int


def rank_correlation(sentences: Iterable[Mapping[str, np.ndarray]]) -> dict[tuple[str, str], RankCorrelation]:
    """The agreement of every two of the named matrices (Tw, Sw), which are not negative, over all sentences.

    A target word counts if both its rows rank the source words: if neither is constant.
    # Jain and Wallace (2019), 4.1, for this comparison of attention and gradients
    """
    sums: dict[tuple[str, str], np.ndarray] = {}
    for matrices in sentences:
        for pair in combinations(matrices, 2):
            total = sums.setdefault(pair, np.zeros(4))
            for one, other in zip(*(matrices[name] for name in pair), strict=True):
                if not np.isnan(tau := kendall(one, other)):
                    total += (tau, one.argmax() == other.argmax(), 1 / len(one), 1)
    return {
        pair: RankCorrelation(*(total[:3] / total[3] if total[3] else np.full(3, np.nan)).tolist(), words=int(total[3]))
        for pair, total in sums.items()
    }
