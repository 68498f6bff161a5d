"""Choosing the best continuations of the hypotheses at a step of search, from their logits.

Tensors of width V stay on the model's device; the few best candidates are compared on the host.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from nmt.acceleration.inference.output import BLOCK
from nmt.decoding.constraints import FORBIDDEN_IDS


class Candidates(NamedTuple):
    """The K best continuations of each sentence, best first; ties: the lower parent first, then the lower id."""

    log_probs: np.ndarray  # (B, K) float64
    parents: np.ndarray  # (B, K) the place of the beam that each one continues
    tokens: np.ndarray  # (B, K)


def take_likeliest(
    logits: Tensor, allowed: Tensor, log_probs: np.ndarray, _sentences: np.ndarray, _length: int
) -> Candidates:
    """The most probable continuation of each row; ties: the lowest id."""
    gained = log_softmax(logits)
    for forbidden in FORBIDDEN_IDS:
        gained.select(1, forbidden).fill_(-torch.inf)
    if allowed is not logits:
        gained.masked_fill_(allowed.isneginf(), -torch.inf)
    if gained.device.type == "cpu":  # torch's argmax takes ten times as long as NumPy's
        tokens = gained.numpy().argmax(1)[:, None]
        likeliest = pick(gained.numpy(), tokens)
    else:
        likeliest, tokens = (each.cpu().numpy() for each in gained.max(1, keepdim=True))
    return Candidates(only_finite(log_probs + likeliest), np.zeros_like(tokens), tokens)


def take_best(
    logits: Tensor, allowed: Tensor, log_probs: np.ndarray, beam: int, handicaps: Tensor | None = None
) -> Candidates:
    """The K best of the P * V continuations of each sentence.

    logits: (B * P, V); log_probs (B, P) of the P hypotheses of each sentence. allowed: the logits with -inf for tokens
    that are not allowed. handicaps (B, V): subtracted from the logits for the ranking alone.
    A block is a part of the vocabulary after one hypothesis. The K best are in the K blocks with the largest maxima, so
    only these blocks are sorted.
    Log-probabilities are at least float32, whatever the precision of the model, and sums are float64.
    """
    size, parents = log_probs.shape
    gained = log_softmax(logits)
    for forbidden in FORBIDDEN_IDS:
        gained.select(1, forbidden).fill_(-torch.inf)
    if allowed is not logits:
        gained.masked_fill_(allowed.isneginf(), -torch.inf)
    ranked = gained if handicaps is None else gained - handicaps.repeat_interleave(parents, 0)
    columns, outside = _best_blocks(ranked, log_probs, beam)
    continued, tokens = np.divmod(columns, logits.shape[1])
    so_far = pick(log_probs, continued)

    def grow(by: Tensor) -> np.ndarray:
        there = torch.from_numpy(columns).to(by.device)
        grown = only_finite(so_far + by.view(size, -1).gather(1, there).cpu().numpy())
        grown[outside] = -np.inf
        return grown

    grown = grow(gained)
    order = (-(grown if handicaps is None else grow(ranked))).argsort(1, kind="stable")[:, :beam]
    best = Candidates(pick(grown, order), pick(continued, order), pick(tokens, order))
    # A small vocabulary may have fewer than K continuations at the first step: then some places stay empty.
    if missing := beam - order.shape[1]:
        places = ((0, 0), (0, missing))
        return Candidates(
            np.pad(best[0], places, constant_values=-np.inf), *(np.pad(each, places) for each in best[1:])
        )
    return best


def _best_blocks(ranked: Tensor, log_probs: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The `count` blocks of each sentence that have the largest maxima of ranked + log_probs.

    ranked (B * P, V), log_probs (B, P) -> columns (B, k) of (B, P * V), ascending, so that a stable sort decides ties;
    and bool (B, k), True for columns of another block: the last block of a row is shorter, and extends into the one
    before. Of equal maxima at the limit the first are taken, so that ties are decided as in `Candidates`.
    """
    size, vocab_size = len(log_probs), ranked.shape[1]
    width = min(BLOCK, vocab_size)
    whole = vocab_size // width * width
    maxima = ranked[:, :whole].view(len(ranked), -1, width).amax(2)
    if whole < vocab_size:
        maxima = torch.cat((maxima, ranked[:, whole:].amax(1, keepdim=True)), 1)
    blocks = maxima.shape[1]
    of_sentence = maxima.cpu().numpy().reshape(*log_probs.shape, blocks) + log_probs[:, :, None]
    of_sentence = only_finite(of_sentence.reshape(size, -1))
    count = min(count, of_sentence.shape[1])
    limit = -np.partition(-of_sentence, count - 1, axis=1)[:, count - 1 : count]
    above, ties = of_sentence > limit, of_sentence == limit
    taken = above | (ties & (ties.cumsum(1) <= count - above.sum(1, keepdims=True)))
    chosen = taken.nonzero()[1].reshape(size, count)
    parents, block = np.divmod(chosen, blocks)
    begin = (block * width)[:, :, None]
    ids = np.minimum(begin, vocab_size - width) + np.arange(width)
    return (parents[:, :, None] * vocab_size + ids).reshape(size, -1), (ids < begin).reshape(size, -1)


def log_softmax(logits: Tensor) -> Tensor:
    """logits (N, V) -> log-probabilities, at least float32.

    One fused pass: twice as fast on a CPU as logsumexp, which makes several passes over temporaries of this size.
    """
    return logits.log_softmax(dim=1, dtype=torch.promote_types(logits.dtype, torch.float32))


def only_finite(log_probs: np.ndarray) -> np.ndarray:
    """Replaces NaN and infinity by -inf, in place: the output of a model with damaged weights is no hypothesis."""
    log_probs[~np.isfinite(log_probs)] = -np.inf
    return log_probs


def pick(numbers: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """numbers (B, P), columns (B, K) -> (B, K), numbers at the columns of each row."""
    return numbers[np.arange(len(numbers))[:, None], columns]
