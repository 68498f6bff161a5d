"""What each predicted piece depended on, by the gradient, beside where attention looked; and how far the two agree."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import combinations
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from nmt.analysis.alignment import WordAttention
from nmt.data.symbols import BOS

# Source pieces in the copies of one sentence that go through the model together: 64 copies of 128.
_COPIED_PIECES = 8192


class Saliency(NamedTuple):
    """One pair, T target pieces by S source pieces, EOS last on both sides; float32.

    attention: the weights when piece t was to be predicted; (T, 0) for a model without attention.
    jacobian: |d log p(y_t) / d x_j|, the length of the gradient, x_j being the embedding of source piece j.
    # Graves (2012), the sequential Jacobian, with the log-probability of the piece for the output
    product: x_j . d log p(y_t) / d x_j, input times gradient, with its sign.  # Shrikumar et al. (2017)
    """

    attention: np.ndarray
    jacobian: np.ndarray
    product: np.ndarray


def saliency(model, src: Sequence[int], tgt: Sequence[int]) -> Saliency:
    """src: S ids; tgt: T ids; EOS last in both. The model, a Seq2Seq, is in eval mode.

    The sentence goes through the model in T copies, of which copy t stands for the log-probability of piece t alone.
    One backward pass then has every row: the gradient at the embeddings of copy t.
    """
    assert not model.training, "dropout would change the gradients: call model.eval() first"
    copies = max(1, _COPIED_PIECES // len(src))
    parts = [_rows(model, src, tgt[: first + copies], first) for first in range(0, len(tgt), copies)]
    return Saliency(*(np.concatenate(matrices) for matrices in zip(*parts, strict=True)))


def _rows(model, src: Sequence[int], tgt: Sequence[int], first: int) -> Saliency:
    """The rows of the target pieces from `first` on."""
    steps = torch.arange(first, len(tgt), device=model.device)
    copy = steps - first
    sources = torch.tensor(src, device=model.device).expand(len(steps), -1)
    lengths = torch.full((len(steps),), len(src), device=model.device)
    tgt_in = torch.tensor([BOS, *tgt[:-1]], device=model.device).expand(len(steps), -1)
    with torch.enable_grad(), _taken_from(model.encoder.embedding) as taken:
        features, weights = model.features(sources, lengths, tgt_in)
        log_probs = model.logits(features[copy, steps]).log_softmax(-1)
        total = log_probs[copy, torch.tensor(tgt, device=model.device)[steps]].sum()
        (embedded,) = taken
        (gradient,) = torch.autograd.grad(total, embedded)
    rows = (weights[copy, steps], gradient.norm(dim=2), (gradient * embedded).sum(2))
    return Saliency(*(row.detach().float().cpu().numpy() for row in rows))


@contextmanager
def _taken_from(module: torch.nn.Module) -> Iterator[list[Tensor]]:
    """Inside, what the module puts out is a leaf that gradients lead to, and is kept in the list."""
    taken: list[Tensor] = []

    def replace(_module, _inputs, output: Tensor) -> Tensor:
        taken.append(output.detach().requires_grad_())
        return taken[-1]

    handle = module.register_forward_hook(replace)
    try:
        yield taken
    finally:
        handle.remove()


def shares(words: WordAttention) -> WordAttention:
    """Of a merged matrix of either sign: how much of its row each size is, so that rows sum to one as attention's do.

    A row of zeros is all on the end of sentence, like a target word that looked at no word.
    """
    weights, eos = np.abs(words.weights), np.abs(words.eos)
    total = weights.sum(1) + eos
    eos = np.where(total > 0, eos, 1.0)
    total = np.where(total > 0, total, 1.0)
    return WordAttention((weights / total[:, None]).astype(np.float32), (eos / total).astype(np.float32))


def kendall(first: np.ndarray, second: np.ndarray) -> float:
    """Kendall's tau-b of two rows (S,): 1 where they rank alike, -1 where the other way round, 0 where unrelated.

    Ties count for neither; nan where a row is constant and so ranks nothing.  # Kendall (1945)
    """
    one, other = (np.sign(row[:, None] - row) for row in (first, second))
    pairs = np.sqrt(np.sum(one**2) * np.sum(other**2))
    return float(np.sum(one * other) / pairs) if pairs else float("nan")


class Likeness(NamedTuple):
    """How two matrices agree, on average over target words.

    tau: Kendall's tau-b between their rankings of the source words; top: how often they have the same word on top;
    chance: how often they would if it were drawn; words: the target words counted, nan and 0 being of none.
    """

    tau: float
    top: float
    chance: float
    words: int


def likeness(sentences: Sequence[dict[str, np.ndarray]]) -> dict[tuple[str, str], Likeness]:
    """Each pair of a sentence's named matrices (Tw, Sw), which are not negative, over all sentences.

    A target word counts where both its rows rank the source words, that is, where neither is constant.
    # Jain and Wallace (2019), 4.1, who compare whole attentions and gradients so
    """
    names = list(sentences[0]) if sentences else []
    return {
        pair: _mean_likeness((each[pair[0]], each[pair[1]]) for each in sentences) for pair in combinations(names, 2)
    }


def _mean_likeness(matrices: Iterable[tuple[np.ndarray, np.ndarray]]) -> Likeness:
    rows = [
        (tau, one.argmax() == other.argmax(), 1 / len(one))
        for first, second in matrices
        for one, other in zip(first, second, strict=True)
        if not np.isnan(tau := kendall(one, other))
    ]
    tau, top, chance = np.mean(rows, axis=0) if rows else [float("nan")] * 3
    return Likeness(float(tau), float(top), float(chance), len(rows))
