"""The cross-entropy over the vocabulary in chunks, without a (B T, V) tensor."""

import math

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nmt.acceleration.fused.linear import WIDTH, padded, pays
from nmt.acceleration.kernels import Kernel, is_enabled
from nmt.acceleration.matmul import addmm_
from nmt.layers.loss import Loss, real_tokens


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Forward computes the gradients too, chunk by chunk, from the same logits; backward only scales them.

    With p = softmax(logits) and smoothing e over V words the loss of a token is (1 - e) (lse - logit_y) + e (lse - mean
    logit), its gradient p - (1 - e) onehot - e / V.
    """

    @staticmethod
    def forward(ctx, features, weight, bias, targets, smoothing: float, chunk: int, dtype, with_gradients: bool):
        accumulation = torch.promote_types(features.dtype, torch.float32)
        need = with_gradients and any(ctx.needs_input_grad[:3])
        # In half precision on a GPU the rows of operands are padded to the width that its kernels need: see `padded`.
        align = pays(features, dtype)
        matmul_inputs = padded(features, dtype, one=True) if align else features.to(dtype)
        low_weight = padded(weight, dtype) if align else weight.to(dtype)
        low_bias, width = bias.to(dtype), features.shape[1]
        with_bias = matmul_inputs.shape[1] > width  # the gradient of the bias is in the column after the weights
        lse_sum = torch.zeros((), dtype=accumulation, device=features.device)
        gold_sum = torch.zeros((), dtype=accumulation, device=features.device)
        if need:
            low_features = torch.empty(chunk, matmul_inputs.shape[1], dtype=dtype, device=features.device)
            grad_features = torch.empty(features.shape, dtype=accumulation, device=features.device)
            grad_weight = torch.zeros_like(low_weight, dtype=accumulation)
            grad_bias = torch.zeros_like(bias, dtype=accumulation)
        # Chunks of equal size, in the same memory: on a CPU allocating new pages takes longer than the computation in
        # them.
        chunk = math.ceil(len(targets) / max(1, math.ceil(len(targets) / chunk)))
        vocab_size = len(weight)
        columns = -(-vocab_size // WIDTH) * WIDTH if align else vocab_size
        logits_buffer = torch.empty(chunk, columns, dtype=dtype, device=features.device)[:, :vocab_size]
        fused = is_enabled(Kernel.triton, features, dtype)
        grad_buffer = (
            logits_buffer if fused or dtype == accumulation else torch.empty_like(logits_buffer, dtype=accumulation)
        )
        for start in range(0, len(targets), max(1, chunk)):
            matmul_input = matmul_inputs[start : start + chunk]
            gold = targets[start : start + chunk].unsqueeze(1)
            logits, grad = logits_buffer[: len(gold)], grad_buffer[: len(gold)]
            torch.addmm(low_bias, matmul_input, low_weight.t(), out=logits)
            if fused:
                from nmt.acceleration.fused.triton_loss import softmax_less_gold_  # triton is not installed everywhere

                normalizers, gold_logits = softmax_less_gold_(logits, gold, 1.0 - smoothing, need)
                lse_sum += normalizers.sum()
                gold_sum += gold_logits.sum()
            else:
                gold_sum += logits.gather(1, gold).sum(dtype=accumulation)
                # torch's softmax is several times as fast as its exp and logsumexp on a CPU, so the normalizer is
                # computed from the most probable word: lse = logit - log p. Its p is at least 1 / V, so the logarithm
                # is safe.
                highest = logits.amax(1).to(accumulation)
                torch.softmax(grad.copy_(logits), 1, out=grad)
                lse_sum += (highest - grad.amax(1).log_()).sum()
                if need:
                    grad.scatter_add_(1, gold, grad.new_full(gold.shape, smoothing - 1.0))
            if need:
                if not with_bias:
                    grad_bias += grad.sum(0, dtype=accumulation)
                low_grad = grad if grad.dtype == dtype else logits.copy_(grad)
                torch.mm(low_grad, low_weight, out=low_features[: len(gold)])
                grad_features[start : start + chunk] = low_features[: len(gold), :width]
                addmm_(grad_weight, low_grad.t(), matmul_input)
        if with_bias and need:
            grad_bias, grad_weight = grad_weight[:, width].contiguous(), grad_weight[:, :width]
        objective = lse_sum - (1 - smoothing) * gold_sum
        if smoothing:
            # The uniform part is the same for every word, so it needs no pass over the vocabulary: with the mean row of
            # W, mean logit = W_mean . features + b_mean, and its gradients are of rank one.
            mean_row = weight.to(accumulation).mean(0)
            summed = features.sum(0, dtype=accumulation)
            objective -= smoothing * (summed @ mean_row + len(features) * bias.to(accumulation).mean())
            if need:
                grad_features -= smoothing * mean_row
                grad_weight -= summed * (smoothing / vocab_size)
                grad_bias -= len(features) * (smoothing / vocab_size)
        if need:
            ctx.save_for_backward(grad_features, grad_weight, grad_bias)
        ctx.spent = False
        nll = lse_sum - gold_sum
        ctx.mark_non_differentiable(nll)
        return objective, nll

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_objective, _grad_nll):
        if ctx.spent:
            raise RuntimeError("the loss can be differentiated once: its gradients are scaled where they lie")
        ctx.spent = True
        return *(grad.mul_(grad_objective) for grad in ctx.saved_tensors), None, None, None, None, None


def cross_entropy(
    features: Tensor,
    weight: Tensor,
    bias: Tensor,
    tgt_out: Tensor,
    *,
    smoothing: float = 0.0,
    token_positions: Tensor | None = None,
    chunk: int | None = None,
) -> Loss:
    """Computes `nmt.layers.loss.cross_entropy`; chunk: tokens whose logits are in memory at once.

    Products run in the autocast type if autocast is on, everything else in float32 or wider.
    """
    tokens, targets = real_tokens(features, tgt_out, token_positions)
    kind = features.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else features.dtype
    with torch.autocast(kind, enabled=False):
        objective, nll = _ChunkedCrossEntropy.apply(
            tokens,
            weight,
            bias,
            targets,
            smoothing,
            chunk or (512 if kind == "cpu" else 4096),  # tokens: enough for full utilization
            dtype,
            torch.is_grad_enabled(),  # always False inside of forward
        )
    return Loss(objective, nll, len(targets))
