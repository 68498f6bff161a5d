"""Posterior attention: re-weights each source position by how well it predicts the target token."""

import math

import torch
from torch import Tensor

from nmt.attention.scores import Source

# Positions whose words are predicted at once: with 30,000 words their logits are 60 MB.
CHUNK = 512


def posterior_attention(model, src: Tensor, src_lengths: Tensor, tgt_in: Tensor, tgt_out: Tensor) -> Tensor:
    """p(j | y_t) ~ alpha_tj p(y_t | context = h_j): src (B, S), tgt_in, tgt_out (B, T) -> (B, T, S), rows sum to one.

    Attention is the prior of a step, made before its word is known.  # Deng et al. (2018), 3: the true posterior, taken
    here of a model that was trained on a mixture. A position alone is a source of that position alone, so this
    takes no more than `encode` and `step`; but it multiplies by the vocabulary S times as often.
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
