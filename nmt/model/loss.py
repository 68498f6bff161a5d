"""Cross-entropy of the vocabulary, summed over real tokens, in chunks: a (B T, V) tensor never exists at once."""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nmt.data.symbols import PAD
from nmt.model.linear import WIDTH, padded, pays
from nmt.model.recurrence.products import add_product
from nmt.model.recurrence.ways import Kernel, uses


class Loss(NamedTuple):
    """Sums over real target tokens: `objective` is what training minimises (smoothed), `nll` the real negative
    log-likelihood in nats (no gradient), `tokens` their number. Whoever steps divides, once per update."""

    objective: Tensor
    nll: Tensor
    tokens: int


_LEAST = 1e-20  # of a weight whose logarithm is taken: a float32 can still hold its inverse, scaled for float16 too


def guided_cross_entropy(weights: Tensor, links: Tensor) -> Tensor:
    """How far attention is from given links, in nats, summed over the linked target pieces.

    weights (B, T, S), links (L, 3): sentence, target piece, source piece, each once. A piece with several links is to
    spread its attention evenly; one without is left alone.  # Chen et al. (2016)
    """
    row, tgt, src = links.unbind(1)
    links_of = weights.new_zeros(weights.shape[:2]).index_put_((row, tgt), weights.new_ones(()), accumulate=True)
    return -(weights[row, tgt, src].clamp_min(_LEAST).log() / links_of[row, tgt]).sum()


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Forward makes the gradients too, chunk by chunk, while the logits are at hand; backward only scales them.

    With p = softmax(logits) and smoothing e over V words the objective of a token is
    (1 - e) (lse - logit_y) + e (lse - mean logit), its gradient p - (1 - e) onehot - e / V.
    """

    @staticmethod
    def forward(ctx, features, weight, bias, targets, smoothing: float, chunk: int, dtype):
        wide = torch.promote_types(features.dtype, torch.float32)
        need = any(ctx.needs_input_grad[:3])
        # In half precision on a GPU the rows of operands are as wide as its kernels want them: see nmt.model.linear.
        align = pays(features, dtype)
        operands = padded(features, dtype, one=True) if align else features.to(dtype)
        narrow_weight = padded(weight, dtype) if align else weight.to(dtype)
        narrow_bias, width = bias.to(dtype), features.shape[1]
        with_bias = operands.shape[1] > width  # the bias's gradient comes behind that of the weights
        lse_sum = torch.zeros((), dtype=wide, device=features.device)
        gold_sum = torch.zeros((), dtype=wide, device=features.device)
        if need:
            narrow_features = torch.empty(chunk, operands.shape[1], dtype=dtype, device=features.device)
            grad_features = torch.empty(features.shape, dtype=wide, device=features.device)
            grad_weight = torch.zeros_like(narrow_weight, dtype=wide)
            grad_bias = torch.zeros_like(bias, dtype=wide)
        # Equal chunks, in one room: for a CPU fresh pages cost more than what is computed in them.
        chunk = math.ceil(len(targets) / max(1, math.ceil(len(targets) / chunk)))
        words = len(weight)
        columns = -(-words // WIDTH) * WIDTH if align else words
        logits_room = torch.empty(chunk, columns, dtype=dtype, device=features.device)[:, :words]
        fused = uses(Kernel.triton, features, dtype)
        wide_room = logits_room if fused or dtype == wide else torch.empty_like(logits_room, dtype=wide)
        for start in range(0, len(targets), max(1, chunk)):
            operand = operands[start : start + chunk]
            gold = targets[start : start + chunk].unsqueeze(1)
            logits, grad = logits_room[: len(gold)], wide_room[: len(gold)]
            torch.addmm(narrow_bias, operand, narrow_weight.t(), out=logits)
            if fused:
                from nmt.model.triton_loss import softmax_less_gold_  # what it imports is not everywhere

                normalisers, picked = softmax_less_gold_(logits, gold, 1.0 - smoothing, need)
                lse_sum += normalisers.sum()
                gold_sum += picked.sum()
            else:
                gold_sum += logits.gather(1, gold).sum(dtype=wide)
                # torch's softmax is several times as fast as its exp and logsumexp on CPU, so the normaliser is read
                # off the likeliest word: lse = logit - log p. Its p is at least 1 / V, so the logarithm is safe.
                highest = logits.amax(1).to(wide)
                torch.softmax(grad.copy_(logits), 1, out=grad)
                lse_sum += (highest - grad.amax(1).log_()).sum()
                if need:
                    grad.scatter_add_(1, gold, grad.new_full(gold.shape, smoothing - 1.0))
            if need:
                if not with_bias:
                    grad_bias += grad.sum(0, dtype=wide)
                narrow_grad = grad if grad.dtype == dtype else logits.copy_(grad)
                torch.mm(narrow_grad, narrow_weight, out=narrow_features[: len(gold)])
                grad_features[start : start + chunk] = narrow_features[: len(gold), :width]
                add_product(grad_weight, narrow_grad.t(), operand)
        if with_bias and need:
            grad_bias, grad_weight = grad_weight[:, width].contiguous(), grad_weight[:, :width]
        objective = lse_sum - (1 - smoothing) * gold_sum
        if smoothing:
            # The uniform part is the same for every word, so it needs no pass over the vocabulary: with the mean row of
            # W, mean logit = W_mean . features + b_mean, and its gradients are of rank one.
            mean_row = weight.to(wide).mean(0)
            summed = features.sum(0, dtype=wide)
            objective -= smoothing * (summed @ mean_row + len(features) * bias.to(wide).mean())
            if need:
                grad_features -= smoothing * mean_row
                grad_weight -= summed * (smoothing / words)
                grad_bias -= len(features) * (smoothing / words)
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
        return *(grad.mul_(grad_objective) for grad in ctx.saved_tensors), None, None, None, None


def cross_entropy(
    features: Tensor,
    weight: Tensor,
    bias: Tensor,
    tgt_out: Tensor,
    *,
    smoothing: float = 0.0,
    real: Tensor | None = None,
    chunk: int | None = None,
) -> Loss:
    """features (B, T, R), weight (V, R), bias (V,), tgt_out (B, T) -> sums over the tokens that are not padding.

    Label smoothing mixes the one-hot target with the uniform distribution over all V.  # Szegedy et al. (2016), 7
    real (N,): where in tgt_out, flattened, real tokens are; to find it out takes a wait for the device.
    Products run in the autocast type where autocast is on, everything else in float32 or wider.
    """
    if real is None:
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
            chunk or (512 if kind == "cpu" else 4096),  # tokens: as many as fill the machine
            dtype,
        )
    return Loss(objective, nll, len(real))
