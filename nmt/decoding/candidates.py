"""Choosing the best continuations of the hypotheses at a step of search, from their logits.

Tensors of width V stay on the model's device; the few best candidates are compared on the host.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from nmt.acceleration.inference.output import topk_ids
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
    The K best of all are among the K best of each hypothesis, so nothing of size P * V is sorted, and log_probs are
    added to these few alone. Log-probabilities are at least float32, whatever the precision of the model.
    """
    size, parents = log_probs.shape
    # Two more than K, since PAD and BOS may be among them; ordered by id, so that the stable sort below decides ties.
    ranked = allowed if handicaps is None else allowed - handicaps.repeat_interleave(parents, 0)
    ids, _ = topk_ids(ranked, min(beam + len(FORBIDDEN_IDS), logits.shape[1])).sort(dim=1)
    tokens, gained = ids.cpu().numpy(), log_softmax(logits).gather(1, ids).cpu().numpy()
    for forbidden in FORBIDDEN_IDS:
        gained[tokens == forbidden] = -np.inf
    if allowed is not logits:
        gained[allowed.gather(1, ids).isneginf().cpu().numpy()] = -np.inf
    # (B, P, 1) + (B, P, k), in float64
    grown = only_finite(log_probs[:, :, None] + gained.reshape(size, parents, -1)).reshape(size, -1)
    tokens, width = tokens.reshape(size, -1), tokens.shape[1]
    # A small vocabulary may have fewer than K continuations at the first step: then some places stay empty.
    missing = ((0, 0), (0, max(0, beam - grown.shape[1])))
    if beam > grown.shape[1]:
        grown = np.pad(grown, missing, constant_values=-np.inf)
    costs = (
        grown if handicaps is None else grown - np.pad(handicaps.gather(1, ids.view(size, -1)).cpu().numpy(), missing)
    )
    order = (-costs).argsort(1, kind="stable")[:, :beam]
    continued = order.clip(max=tokens.shape[1] - 1)
    return Candidates(pick(grown, order), continued // width, pick(tokens, continued))


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
