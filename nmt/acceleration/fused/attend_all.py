"""The additive score for all steps as one autograd function, with a hand-written backward."""

import torch
from torch.autograd.function import once_differentiable

from nmt.acceleration.fused.attention import FusedAttention, Query
from nmt.acceleration.fused.scores import ScoreWeights, create_attention
from nmt.acceleration.matmul import accumulation_dtype
from nmt.attention.scores import Source


class AttendAll(torch.autograd.Function):
    """The additive score if the states do not depend on it: states (T, B, H) -> contexts (T, B, M), weights (T, B, S).

    In torch's operations it remains a loop over steps, so that the (B, T, S, A) tensor of the terms of all energies is
    never allocated.
    """

    @staticmethod
    def forward(ctx, normalizer, dtype, states, memory, keys, mask, query, v, coverage_weight):
        matmul_inputs = states.to(dtype)
        source, score = Source(memory, keys, mask), ScoreWeights(query, v, coverage_weight)
        accumulation = accumulation_dtype(states.dtype)
        attention = create_attention(source, score, normalizer, len(states), dtype, accumulation)
        attention.forward_steps(Query(states, matmul_inputs))
        ctx.types = type(attention), normalizer
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(matmul_inputs, *attention.buffers)
        return attention.contexts, attention.weights

    @staticmethod
    @once_differentiable
    def backward(ctx, d_contexts, d_weights):
        matmul_inputs, *buffers = ctx.saved_tensors
        attention_type, normalizer = ctx.types
        attention: FusedAttention = attention_type.from_buffers(normalizer, *buffers)
        with torch.autocast(matmul_inputs.device.type, enabled=False):
            d_contexts = torch.zeros_like(attention.contexts) if d_contexts is None else d_contexts.contiguous()
            attention.start_backward(Query(matmul_inputs, matmul_inputs), d_contexts, d_weights)
            d_states = torch.zeros_like(matmul_inputs, dtype=attention.contexts.dtype)
            attention.backward_steps(d_states)
            d_score = attention.score_gradients()
            return (
                *(None, None, d_states, attention.memory_gradient(), d_score.keys, None),
                *(d_score.query, d_score.v, d_score.coverage_weight),
            )
