"""The loop of the conditional GRU as one autograd function, with a hand-written backward: see ``run_cell``."""

import torch
from torch.autograd.function import once_differentiable

from nmt.acceleration.fused.attention import FusedAttention
from nmt.acceleration.fused.cells import FusedCell
from nmt.acceleration.fused.run_cell import bias_gradient, copy_gates, last_gradient, own_gradient
from nmt.acceleration.fused.scores import ScoreWeights, create_attention
from nmt.acceleration.matmul import addmm_, weight_gradient
from nmt.attention.scores import Source


class ConditionalGRULoop(torch.autograd.Function):
    """The loop of two cells in turn: the first reads the word, its new state is the query, and the second reads the
    context.

    projected (T, B, gates * H): the input of the first cell's gates; start (B, state_size)
    memory (B, S, M), keys (B, S, A), mask (B, S)
    weight, bias: of the first cell's recurrent product; further_weight, further_bias: of the second's
    context_weight (gates * H, M), context_bias (gates * H,): the input of the second cell's gates
    query (A, H) and v (A,) of the additive score, coverage_weight (A,) of coverage, or None
    -> states (T + 1, B, state_size) after the second cell, contexts (T, B, M), weights (T, B, S).
    """

    @staticmethod
    def forward(
        ctx,
        cell_type,
        normalizer,
        dtype,
        projected,
        start,
        memory,
        keys,
        mask,
        weight,
        bias,
        further_weight,
        further_bias,
        context_weight,
        context_bias,
        query,
        v,
        coverage_weight,
    ):
        gates = copy_gates(projected)
        further_gates = torch.empty_like(gates).copy_(context_bias)
        first: FusedCell = cell_type.create(weight, bias, gates, start, dtype)
        second: FusedCell = cell_type.create(further_weight, further_bias, further_gates, start, dtype)
        first.write_to(second.state, second.matmul_input)
        second.write_to(first.state[1:], first.matmul_input[1:])
        source, score = Source(memory, keys, mask), ScoreWeights(query, v, coverage_weight)
        attention = create_attention(source, score, normalizer, first.steps, dtype, gates.dtype)
        context_weight = context_weight.to(dtype)
        for t in range(first.steps):
            first.forward_step(t)
            attention.forward_step(t, second.query_at(t))
            addmm_(second.gate[t], attention.matmul_input[t], context_weight.t())
            second.forward_step(t)
        ctx.types = cell_type, len(first.buffers), type(attention), normalizer
        ctx.save_for_backward(context_weight, *first.buffers, *second.buffers, *attention.buffers)
        ctx.set_materialize_grads(False)
        return first.states, attention.contexts, attention.weights

    @staticmethod
    @once_differentiable
    def backward(ctx, d_states, d_contexts, d_weights):
        context_weight, *buffers = ctx.saved_tensors
        cell_type, split, attention_type, normalizer = ctx.types
        first: FusedCell = cell_type(*buffers[:split])
        second: FusedCell = cell_type(*buffers[split : 2 * split])
        attention: FusedAttention = attention_type.from_buffers(normalizer, *buffers[2 * split :])
        with torch.autocast(first.states.device.type, enabled=False):
            first.start_backward()
            second.start_backward()
            d_contexts = own_gradient(d_contexts, attention.contexts)
            attention.start_backward(second.all_queries(0), d_contexts, d_weights)
            gradient = last_gradient(d_states, first)
            for t in reversed(range(first.steps)):
                second.backward_step(t, gradient)
                addmm_(attention.d_context[t], second.d_gate[t], context_weight)
                attention.backward_step(t, second.query_at(t), gradient[:, : first.size])
                first.backward_step_masked(t, gradient, None, None if d_states is None else d_states[t])
            d_score = attention.score_gradients()
            return (
                *(None, None, None, first.d_gates, gradient),
                *(attention.memory_gradient(), d_score.keys, None),
                *(first.weight_gradients(), bias_gradient(first), second.weight_gradients(), bias_gradient(second)),
                weight_gradient(second.d_gates, attention.matmul_inputs),
                second.d_gates.sum((0, 1), dtype=gradient.dtype),
                *(d_score.query, d_score.v, d_score.coverage_weight),
            )
