"""The marginal likelihood of hard attention in chunks, without the (N, S, V) logits."""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nmt.acceleration.matmul import addmm_
from nmt.attention.hard import MAX_EXPONENT, Marginal, Positions


class _ChunkedMarginal(torch.autograd.Function):
    """Forward computes the gradients too, chunk by chunk, from the same logits; backward only scales them.

    With the posterior r_j = alpha_j p(y | j) / p(y) the gradient of -log p(y) is -r_j / alpha_j for alpha_j, and r_j
    (softmax - onehot) for the logits of position j.  # Deng et al. (2018), 3
    """

    @staticmethod
    def forward(ctx, activate, need, chunk, dtype, decoder, memory, sentence, weights, drop, weight, bias, targets):
        accumulation = torch.promote_types(decoder.dtype, torch.float32)
        low_weight, low_bias = weight.to(dtype), bias.to(dtype)
        log_probs = torch.empty(len(targets), dtype=accumulation, device=decoder.device)
        empty = torch.zeros_like if need else torch.empty_like
        grads = [empty(each, dtype=accumulation) for each in (decoder, memory, weights, weight, bias)]
        d_decoder, d_memory, d_weights, d_weight, d_bias = grads
        step, size = max(1, chunk // weights.shape[1]), weights.shape[1]
        for start in range(0, len(targets), step):
            words = slice(start, start + step)
            parts = decoder[words].unsqueeze(1) + memory[sentence[words]]
            with torch.set_grad_enabled(need):
                parts = parts.detach().requires_grad_(need)
                features = activate(parts) * drop[words].unsqueeze(1)
            operand = features.detach().flatten(0, 1).to(dtype)
            logits = torch.addmm(low_bias, operand, low_weight.t()).to(accumulation)
            gold = targets[words].repeat_interleave(size).unsqueeze(1)
            gold_logits, highest = logits.gather(1, gold), logits.amax(1, keepdim=True)
            # The normalizer is computed from the most probable word, whose probability is at least 1 / V.
            probabilities = torch.softmax(logits, 1, out=logits)
            normalizer = highest - probabilities.amax(1, keepdim=True).log()
            each = (gold_logits - normalizer).view(-1, size)
            prior = weights[words].to(accumulation)
            best = each.masked_fill(prior == 0, -torch.inf).amax(1, keepdim=True)
            likelihood = each.sub_(best).clamp_(max=MAX_EXPONENT).exp_()
            total = (prior * likelihood).sum(1, keepdim=True)
            log_probs[words] = (total.log() + best).squeeze(1)
            if not need:
                continue
            d_weights[words] = likelihood.div_(total).neg()
            posterior = (prior * likelihood).view(-1, 1)
            # The contribution of a less probable position is below the rounding error of its word's gradient.
            (kept,) = torch.where(posterior.squeeze(1) > torch.finfo(accumulation).eps)
            d_logits = probabilities.index_select(0, kept)
            d_logits.scatter_add_(1, gold[kept], d_logits.new_full((len(kept), 1), -1.0)).mul_(posterior[kept])
            d_bias += d_logits.sum(0)
            low = d_logits.to(dtype)
            addmm_(d_weight, low.t(), operand.index_select(0, kept))
            d_features = torch.zeros_like(operand, dtype=features.dtype)
            d_features[kept] = (low @ low_weight).to(features.dtype)
            (d_parts,) = torch.autograd.grad(features, parts, d_features.view_as(features))
            d_decoder[words] = d_parts.sum(1)
            d_memory.index_add_(0, sentence[words], d_parts.to(accumulation))
        if need:
            ctx.save_for_backward(*grads)
        ctx.mark_non_differentiable(log_probs)
        return -log_probs.sum(), log_probs

    @staticmethod
    @once_differentiable
    def backward(ctx, d_nll, _d_log_probs):
        decoder, memory, weights, weight, bias = (grad * d_nll for grad in ctx.saved_tensors)
        return None, None, None, None, decoder, memory, None, weights, None, weight, bias, None


def marginal_nll(
    positions: Positions, weight: Tensor, bias: Tensor, targets: Tensor, *, chunk: int | None = None
) -> Marginal:
    """Computes `nmt.attention.hard.marginal_nll`; chunk: rows, words times positions, whose logits are in memory at
    once.

    Products run in the autocast type if autocast is on, everything else in float32 or wider.
    """
    kind = positions.decoder.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype
    with torch.autocast(kind, enabled=False):
        nll, log_probs = _ChunkedMarginal.apply(
            positions.activate,
            torch.is_grad_enabled(),
            chunk or (512 if kind == "cpu" else 4096),
            dtype,
            *(positions.decoder, positions.memory, positions.sentence, positions.weights, positions.drop),
            *(weight, bias, targets),
        )
    return Marginal(nll, log_probs)
