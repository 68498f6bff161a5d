"""The losses, summed over real tokens: cross-entropy of the vocabulary, and of attention with given links."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from nmt.data.symbols import PAD


class Loss(NamedTuple):
    """Sums over real target tokens: `objective` is what training minimizes (smoothed), `nll` the real negative
    log-likelihood in nats (no gradient), `tokens` their number. Whoever steps divides, once per update."""

    objective: Tensor
    nll: Tensor
    tokens: int


# Of a weight whose logarithm is taken: a float32 can still hold its inverse, scaled for float16 too.
_MIN_WEIGHT = 1e-20


def guided_cross_entropy(weights: Tensor, links: Tensor) -> Tensor:
    """How far attention is from given links, in nats, summed over the linked target pieces.

    weights (B, T, S), links (L, 3): sentence, target piece, source piece, each once. A piece with several links is to
    spread its attention evenly; one without is left alone.  # Chen et al. (2016)
    """
    row, tgt, src = links.unbind(1)
    links_of = weights.new_zeros(weights.shape[:2]).index_put_((row, tgt), weights.new_ones(()), accumulate=True)
    return -(weights[row, tgt, src].clamp_min(_MIN_WEIGHT).log() / links_of[row, tgt]).sum()


def real_tokens(features: Tensor, tgt_out: Tensor, token_positions: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """features (B, T, R), tgt_out (B, T) -> those of the N tokens that are not padding, (N, R) and (N,).

    token_positions (N,): where in tgt_out, flattened, real tokens are; to find it out takes a wait for the device.
    """
    if token_positions is None:
        token_positions = (tgt_out != PAD).flatten().nonzero().squeeze(1)
    return features.flatten(0, 1).index_select(0, token_positions), tgt_out.flatten().index_select(0, token_positions)


def cross_entropy(
    features: Tensor,
    weight: Tensor,
    bias: Tensor,
    tgt_out: Tensor,
    *,
    smoothing: float = 0.0,
    token_positions: Tensor | None = None,
) -> Loss:
    """features (B, T, R), weight (V, R), bias (V,), tgt_out (B, T) -> sums over the tokens that are not padding.

    Label smoothing mixes the one-hot target with the uniform distribution over all V.  # Szegedy et al. (2016), 7
    token_positions: as `real_tokens` takes them.
    """
    tokens, targets = real_tokens(features, tgt_out, token_positions)
    logits = functional.linear(tokens, weight, bias)
    log_probs = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(1)
    nll = -log_probs.gather(1, targets.unsqueeze(1)).sum()
    objective = (1 - smoothing) * nll - smoothing * log_probs.mean(1).sum()
    return Loss(objective, nll.detach(), len(targets))
