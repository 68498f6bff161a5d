"""Cross-entropy of the vocabulary, summed over real tokens, in chunks: a (B T, V) tensor never exists at once."""

from typing import NamedTuple

import torch
from torch import Tensor

from nmt.data.symbols import PAD


class Loss(NamedTuple):
    """Sums over real target tokens: `objective` is what training minimises (smoothed), `nll` the real negative
    log-likelihood in nats (no gradient), `tokens` their number. Whoever steps divides, once per update."""

    objective: Tensor
    nll: Tensor
    tokens: int


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Forward makes the gradients too, chunk by chunk, while the logits are at hand; backward only scales them.

    With p = softmax(logits) and smoothing e over V words the objective of a token is
    (1 - e) (lse - logit_y) + e (lse - mean logit), its gradient p - (1 - e) onehot - e / V.
    """

    @staticmethod
    def forward(ctx, features, weight, bias, targets, smoothing: float, chunk: int, dtype):
        wide = torch.promote_types(features.dtype, torch.float32)
        narrow_weight = weight.to(dtype)
        objective = torch.zeros((), dtype=wide, device=features.device)
        nll = torch.zeros((), dtype=wide, device=features.device)
        need = any(ctx.needs_input_grad[:3])
        grad_features = torch.empty_like(features) if need else None
        grad_weight = torch.zeros_like(weight, dtype=wide) if need else None
        grad_bias = torch.zeros_like(bias, dtype=wide) if need else None
        for start in range(0, len(targets), chunk):
            rows = slice(start, start + chunk)
            narrow = features[rows].to(dtype)
            gold = targets[rows].unsqueeze(1)
            logits = (narrow @ narrow_weight.t()).to(wide).add_(bias)
            lse = logits.logsumexp(1, keepdim=True)
            real = (lse - logits.gather(1, gold)).sum()
            nll += real
            if smoothing:
                objective += (1 - smoothing) * real + smoothing * (lse.sum() - logits.mean(1).sum())
            else:
                objective += real
            if need:
                grad = logits.sub_(lse).exp_()
                if smoothing:
                    grad.sub_(smoothing / grad.shape[1])
                grad.scatter_add_(1, gold, grad.new_full(gold.shape, smoothing - 1.0))
                narrow_grad = grad.to(dtype)
                grad_features[rows] = (narrow_grad @ narrow_weight).to(features.dtype)
                grad_weight += narrow_grad.t() @ narrow
                grad_bias += grad.sum(0)
        if need:
            ctx.save_for_backward(grad_features, grad_weight.to(weight.dtype), grad_bias.to(bias.dtype))
        ctx.mark_non_differentiable(nll)
        return objective, nll

    @staticmethod
    def backward(ctx, grad_objective, _grad_nll):
        return *(grad * grad_objective.to(grad.dtype) for grad in ctx.saved_tensors), None, None, None, None


def cross_entropy(
    features: Tensor, weight: Tensor, bias: Tensor, tgt_out: Tensor, *, smoothing: float = 0.0, chunk: int = 256
) -> Loss:
    """features (B, T, R), weight (V, R), bias (V,), tgt_out (B, T) -> sums over the tokens that are not padding.

    Label smoothing mixes the one-hot target with the uniform distribution over all V.  # Szegedy et al. (2016), 7
    Products run in the autocast type where autocast is on, everything else in float32 or wider.
    """
    real = (tgt_out != PAD).flatten().nonzero().squeeze(1)
    kind = features.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else features.dtype
    with torch.autocast(kind, enabled=False):
        objective, nll = _ChunkedCrossEntropy.apply(
            features.flatten(0, 1).index_select(0, real),
            weight,
            bias,
            tgt_out.flatten().index_select(0, real),
            smoothing,
            chunk,
            dtype,
        )
    return Loss(objective, nll, len(real))
