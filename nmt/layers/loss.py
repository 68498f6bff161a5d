"""The losses, summed over real tokens: cross-entropy of the vocabulary, the divergence of two passes, and
cross-entropy of attention with given links."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from nmt.data.symbols import PAD


class Loss(NamedTuple):
    """Sums over real target tokens: `objective` is minimized in training (smoothed), `nll` is the unsmoothed negative
    log-likelihood in nats (no gradient), `tokens` their number. Training divides the sums once per update."""

    objective: Tensor
    nll: Tensor
    tokens: int


class PassWeights(NamedTuple):
    """The weights of the parts of the loss of two passes over the same pairs, with predictions P of the first and Q of
    the second pass: the two cross-entropies, KL(P || Q) and KL(Q || P)."""

    first: float
    second: float
    forward_kl: float
    reverse_kl: float


class ConsistentLoss(NamedTuple):
    """The loss of two passes: sums over the real target tokens of one pass. kl: the divergence of the passes in nats,
    in the directions with a weight, unweighted (no gradient)."""

    objective: Tensor
    nll: Tensor
    tokens: int
    kl: Tensor


# Of a weight whose logarithm is taken: a float32 can still hold its inverse, scaled for float16 too.
_MIN_WEIGHT = 1e-20


def guided_cross_entropy(weights: Tensor, links: Tensor) -> Tensor:
    """The cross-entropy of attention with given links, in nats, summed over the linked target pieces.

    weights (B, T, S); links (L, 3): sentence, target piece, source piece, without duplicates. The attention of a piece
    with several links is trained to be uniform over them; a piece without links has no loss.  # Chen et al. (2016)
    With links (L, 4), as in Batch, attention is trained to be proportional to the weights of the links.
    """
    row, tgt, src = links[:, :3].unbind(1)
    if links.shape[1] == 4:
        shares = links[:, 3].to(weights.dtype)
        total = weights.new_zeros(weights.shape[:2]).index_put_((row, tgt), shares, accumulate=True)
        shares = shares / total[row, tgt].clamp_min(1)
        return -(shares * weights[row, tgt, src].clamp_min(_MIN_WEIGHT).log()).sum()
    links_of = weights.new_zeros(weights.shape[:2]).index_put_((row, tgt), weights.new_ones(()), accumulate=True)
    return -(weights[row, tgt, src].clamp_min(_MIN_WEIGHT).log() / links_of[row, tgt]).sum()


def real_tokens(features: Tensor, tgt_out: Tensor, token_positions: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """features (B, T, R), tgt_out (B, T) -> the N rows that are not padding, (N, R) and (N,).

    token_positions (N,): the indices of real tokens in the flattened tgt_out; computing them here synchronizes with the
    device.
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
    token_positions: as in `real_tokens`.
    """
    tokens, targets = real_tokens(features, tgt_out, token_positions)
    logits = functional.linear(tokens, weight, bias)
    log_probs = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(1)
    nll = -log_probs.gather(1, targets.unsqueeze(1)).sum()
    objective = (1 - smoothing) * nll - smoothing * log_probs.mean(1).sum()
    return Loss(objective, nll.detach(), len(targets))


def consistent_cross_entropy(
    features: Tensor,
    weight: Tensor,
    bias: Tensor,
    tgt_out: Tensor,
    *,
    weights: PassWeights,
    smoothing: float = 0.0,
    token_positions: Tensor | None = None,
) -> ConsistentLoss:
    """features (2 B, T, R), the first pass over B pairs and then the second; the rest as in `cross_entropy`.

    The gradient flows through both sides of each divergence.  # Wu et al. (2021), eq. 4; Gao et al. (2022), eq. 6
    """
    passes = [real_tokens(half, tgt_out, token_positions) for half in features.chunk(2)]
    logits = [functional.linear(tokens, weight, bias) for tokens, _ in passes]
    first, second = (each.to(torch.promote_types(each.dtype, torch.float32)).log_softmax(1) for each in logits)
    targets = passes[0][1].unsqueeze(1)
    nlls = [-log_probs.gather(1, targets).sum() for log_probs in (first, second)]
    uniform = [-log_probs.mean(1).sum() for log_probs in (first, second)]
    forward_kl = (first.exp() * (first - second)).sum()
    reverse_kl = (second.exp() * (second - first)).sum()
    nll = weights.first * nlls[0] + weights.second * nlls[1]
    kl = weights.forward_kl * forward_kl + weights.reverse_kl * reverse_kl
    smoothed = weights.first * uniform[0] + weights.second * uniform[1]
    objective = (1 - smoothing) * nll + smoothing * smoothed + kl
    return ConsistentLoss(
        objective, nll.detach(), len(targets), kl.detach() / (weights.forward_kl + weights.reverse_kl)
    )
