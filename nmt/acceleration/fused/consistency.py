"""The cross-entropy of two passes over the same pairs and their divergence, in chunks, without a (B, T, V) tensor."""

import math

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nmt.acceleration.fused.linear import padded, pays
from nmt.acceleration.matmul import addmm_
from nmt.layers.loss import ConsistentLoss, PassWeights, real_tokens


class _ChunkedConsistency(torch.autograd.Function):
    """Forward computes the gradients too, chunk by chunk; backward only scales them.

    first, second (N, R) are the features of the passes. With p and q their softmax over V words, d = log p - log q and
    smoothing e, the gradient of the first pass's logits is
      w1 (p - (1 - e) onehot - e / V) + f p (d - KL(p || q)) + r (p - q)
    for weights w1 of its cross-entropy, f of KL(p || q) and r of KL(q || p). For the second pass, exchange p and q, f
    and r, negate d, and replace w1 by w2.
    """

    @staticmethod
    def forward(
        ctx,
        first,
        second,
        weight,
        bias,
        targets,
        weights: PassWeights,
        smoothing: float,
        chunk: int,
        dtype,
        with_gradients: bool,
    ):
        accumulation = torch.promote_types(first.dtype, torch.float32)
        need = with_gradients and any(ctx.needs_input_grad[:4])
        count, width = len(targets), first.shape[1]
        align = pays(first, dtype)
        inputs = [padded(each, dtype) if align else each.to(dtype) for each in (first, second)]
        low_weight = padded(weight, dtype) if align else weight.to(dtype)
        low_bias, shares = bias.to(dtype), (weights.first, weights.second)
        kl_weights = (weights.forward_kl, weights.reverse_kl)
        place = {"dtype": accumulation, "device": first.device}
        chunk = math.ceil(count / max(1, math.ceil(count / chunk)))
        low_logits = torch.empty(chunk, len(weight), dtype=dtype, device=first.device)
        rooms = torch.empty(5, chunk, len(weight), **place)
        lse_sum, gold_sum, kl_sum = (torch.zeros((), **place) for _ in range(3))
        if need:
            d_features = torch.empty(2, count, width, **place)
            d_weight, d_bias = torch.zeros_like(low_weight, dtype=accumulation), torch.zeros_like(bias, **place)
        for start in range(0, count, max(1, chunk)):
            rows = slice(start, start + chunk)
            gold = targets[rows].unsqueeze(1)
            logits, probs, scratch = rooms[:2, : len(gold)], rooms[2:4, : len(gold)], rooms[4, : len(gold)]
            normalizers = []
            for part, share in enumerate(shares):
                product = torch.addmm(low_bias, inputs[part][rows], low_weight.t(), out=low_logits[: len(gold)])
                torch.softmax(logits[part].copy_(product), 1, out=probs[part])
                # As in the cross-entropy: the normalizer is computed from the most probable word, whose p is at least 1
                # / V.
                normalizers.append(logits[part].amax(1) - probs[part].amax(1).log_())
                lse_sum += share * normalizers[part].sum()
                gold_sum += share * logits[part].gather(1, gold).sum()
            difference = logits[0].sub_(logits[1]).sub_((normalizers[0] - normalizers[1]).unsqueeze(1))
            signs = (1.0, -1.0)
            kls = [sign * torch.linalg.vecdot(p, difference) for p, sign in zip(probs, signs, strict=True)]
            kl_sum += kl_weights[0] * kls[0].sum() + kl_weights[1] * kls[1].sum()
            if not need:
                continue
            for part, share in enumerate(shares):
                own, other = kl_weights[part], kl_weights[1 - part]
                grad = torch.mul(difference, signs[part] * own, out=scratch)
                grad.add_((share + other - own * kls[part]).unsqueeze(1)).mul_(probs[part])
                if other:
                    grad.sub_(probs[1 - part], alpha=other)
                grad.scatter_add_(1, gold, grad.new_full(gold.shape, share * (smoothing - 1.0)))
                d_bias += grad.sum(0)
                low_grad = grad if dtype == accumulation else low_logits[: len(gold)].copy_(grad)
                d_features[part, rows] = torch.mm(low_grad, low_weight)[:, :width]
                addmm_(d_weight, low_grad.t(), inputs[part][rows])
        if need:
            d_weight = d_weight[:, :width]
        objective = lse_sum - (1 - smoothing) * gold_sum + kl_sum
        if smoothing:  # as in the cross-entropy: of rank one, without a pass over the vocabulary
            mean_row = weight.to(accumulation).mean(0)
            summed = shares[0] * first.sum(0, dtype=accumulation) + shares[1] * second.sum(0, dtype=accumulation)
            objective -= smoothing * (summed @ mean_row + sum(shares) * count * bias.to(accumulation).mean())
            if need:
                for part, share in enumerate(shares):
                    d_features[part] -= share * smoothing * mean_row
                d_weight -= summed * (smoothing / len(weight))
                d_bias -= sum(shares) * count * (smoothing / len(weight))
        if need:
            ctx.save_for_backward(d_features, d_weight, d_bias)
        ctx.spent = False
        nll, kl = lse_sum - gold_sum, kl_sum / sum(kl_weights)
        ctx.mark_non_differentiable(nll, kl)
        return objective, nll, kl

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_objective, _grad_nll, _grad_kl):
        if ctx.spent:
            raise RuntimeError("the loss can be differentiated once: its gradients are scaled where they lie")
        ctx.spent = True
        d_features, d_weight, d_bias = (grad.mul_(grad_objective) for grad in ctx.saved_tensors)
        return *d_features.unbind(0), d_weight, d_bias, None, None, None, None, None, None


def consistent_cross_entropy(
    features: Tensor,
    weight: Tensor,
    bias: Tensor,
    tgt_out: Tensor,
    *,
    weights: PassWeights,
    smoothing: float = 0.0,
    token_positions: Tensor | None = None,
    chunk: int | None = None,
) -> ConsistentLoss:
    """Computes `nmt.layers.loss.consistent_cross_entropy`; chunk: tokens of a pass whose logits are in memory at once.

    Products run in the autocast type if autocast is on, everything else in float32 or wider.
    """
    halves = features.chunk(2)
    first, targets = real_tokens(halves[0], tgt_out, token_positions)
    second, _ = real_tokens(halves[1], tgt_out, token_positions)
    kind = features.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else features.dtype
    with torch.autocast(kind, enabled=False):
        objective, nll, kl = _ChunkedConsistency.apply(
            *(first, second, weight, bias, targets, weights, smoothing),
            *(chunk or (256 if kind == "cpu" else 2048), dtype),
            torch.is_grad_enabled(),  # always False inside of forward
        )
    return ConsistentLoss(objective, nll, len(targets), kl)
