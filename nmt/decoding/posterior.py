"""Posterior attention: the attention weights times the probability of the target token given each source position."""

import math

import torch
from torch import Tensor

from nmt.attention.scores import Source

# Source positions for which logits are computed at once: with a vocabulary of 30,000 they take 60 MB.
CHUNK = 512


def posterior_attention(model, src: Tensor, src_lengths: Tensor, tgt_in: Tensor, tgt_out: Tensor) -> Tensor:
    """p(j | y_t) ~ alpha_tj p(y_t | context = h_j): src (B, S), tgt_in, tgt_out (B, T) -> (B, T, S), rows sum to one.

    Attention is a prior: it is computed before the target token of the step is known. The posterior is exact for hard
    attention; here it also applies to a model trained with soft attention.  # Deng et al. (2018), section 3

    p(y_t | context = h_j) is the output for a source that consists of position j, so `encode` and `step` suffice. The
    output layer is computed S times as often as in teacher forcing.
    """
    source, state = model.encode(src, src_lengths)
    row, position = source.mask.nonzero(as_tuple=True)
    memory, keys = (part[row, position].unsqueeze(1) for part in (source.memory, source.keys))
    alone = Source(memory, keys, source.mask.new_ones(len(row), 1))
    parts = torch.arange(len(row), device=row.device).split(CHUNK)
    found = []
    for tokens, targets in zip(tgt_in.t(), tgt_out.t(), strict=True):
        explained = torch.full(source.mask.shape, -math.inf, device=src.device)
        for part in parts:
            rows = row[part]
            before = state.select(rows).for_single_position()
            logits, _, _ = model.step(tokens[rows], before, alone.select(part))
            log_probs = logits.float().log_softmax(-1).gather(1, targets[rows].unsqueeze(1)).squeeze(1)
            explained[rows, position[part]] = log_probs
        _, state, weights = model.step(tokens, state, source)
        found.append((weights.float().log() + explained).softmax(-1))
    return torch.stack(found, 1)
