"""Attention in the light of the word that came: which source position explains it, of those that were looked at?"""

import torch
from torch import Tensor

from nmt.model.attention import Source


def posterior_attention(
    model, src: Tensor, src_lengths: Tensor, tgt_in: Tensor, tgt_out: Tensor, *, chunk: int = 512
) -> Tensor:
    """p(j | y_t) ~ alpha_tj p(y_t | context = h_j): src (B, S), tgt_in, tgt_out (B, T) -> (B, T, S), rows sum to one.

    Attention is the prior of a step, made before its word is known.  # Deng et al. (2018), 3: the true posterior, taken
    here of a model that was trained to look at a mixture. A position alone is a source of that position alone, so this
    asks nothing of a decoder but its steps; the vocabulary is multiplied S times as often, `chunk` rows at once.
    """
    source, state = model.encode(src, src_lengths)
    sentences, positions = source.mask.shape
    rows = torch.arange(sentences, device=src.device).repeat_interleave(positions)
    memory, keys = (part.flatten(0, 1).unsqueeze(1) for part in (source.memory, source.keys))
    alone = Source(memory, keys, source.mask.new_ones(len(rows), 1))
    found = []
    for tokens, words in zip(tgt_in.t(), tgt_out.t(), strict=True):
        before = state.select(rows)
        before = before._replace(looked=before.looked[:, :1])  # of no account where there is one place to look
        features = model.decoder.step(tokens[rows], before, alone).features
        explained = torch.cat(
            [
                model.logits(part).float().log_softmax(-1).gather(1, each.unsqueeze(1)).squeeze(1)
                for part, each in zip(features.split(chunk), words[rows].split(chunk), strict=True)
            ]
        )
        _, state, weights = model.decoder.step(tokens, state, source)
        found.append((weights.float().log() + explained.unflatten(0, (sentences, positions))).softmax(-1))
    return torch.stack(found, 1)
