"""The loop of Bahdanau's decoder as one autograd function, with a hand-written backward: see ``run_cell``."""

import torch
from torch.autograd.function import once_differentiable

from nmt.acceleration.fused.attention import FusedAttention
from nmt.acceleration.fused.cells import FusedCell
from nmt.acceleration.fused.run_cell import bias_gradient, copy_gates, last_gradient, own_gradient
from nmt.acceleration.fused.scores import ScoreWeights, create_attention
from nmt.acceleration.matmul import addmm_, weight_gradient
from nmt.attention.scores import Source


class BahdanauLoop(torch.autograd.Function):
    """Bahdanau's loop: the state is the query, and the context is an input of the gates.

    projected (T, B, gates * H): the input of the gates from the words; start (B, state_size)
    memory (B, S, M), keys (B, S, A), mask (B, S)
    context_weight (gates * H, M); query (A, H) and v (A,) of the additive score, coverage_weight (A,) of coverage, or
    None -> states (T + 1, B, state_size), contexts (T, B, M), weights (T, B, S).
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
        context_weight,
        query,
        v,
        coverage_weight,
    ):
        gates = copy_gates(projected)
        cell = cell_type.create(weight, bias, gates, start, dtype)
        source, score = Source(memory, keys, mask), ScoreWeights(query, v, coverage_weight)
        attention = create_attention(source, score, normalizer, cell.steps, dtype, gates.dtype)
        context_weight = context_weight.to(dtype)
        for t in range(cell.steps):
            attention.forward_step(t, cell.query_at(t))
            addmm_(cell.gate[t], attention.matmul_input[t], context_weight.t())
            cell.forward_step(t)
        ctx.types = cell_type, len(cell.buffers), type(attention), normalizer
        ctx.save_for_backward(context_weight, *cell.buffers, *attention.buffers)
        ctx.set_materialize_grads(False)
        return cell.states, attention.contexts, attention.weights

    @staticmethod
    @once_differentiable
    def backward(ctx, d_states, d_contexts, d_weights):
        context_weight, *buffers = ctx.saved_tensors
        cell_type, split, attention_type, normalizer = ctx.types
        cell: FusedCell = cell_type(*buffers[:split])
        attention: FusedAttention = attention_type.from_buffers(normalizer, *buffers[split:])
        with torch.autocast(cell.states.device.type, enabled=False):
            cell.start_backward()
            d_contexts = own_gradient(d_contexts, attention.contexts)
            attention.start_backward(cell.all_queries(0), d_contexts, d_weights)
            gradient = last_gradient(d_states, cell)
            for t in reversed(range(cell.steps)):
                cell.backward_step_masked(t, gradient, None, None if d_states is None else d_states[t])
                addmm_(attention.d_context[t], cell.d_gate[t], context_weight)
                attention.backward_step(t, cell.query_at(t), gradient[:, : cell.size])
            d_score = attention.score_gradients()
            return (
                *(None, None, None, cell.d_gates, gradient),
                *(attention.memory_gradient(), d_score.keys, None),
                *(
                    cell.weight_gradients(),
                    bias_gradient(cell),
                    weight_gradient(cell.d_gates, attention.matmul_inputs),
                ),
                *(d_score.query, d_score.v, d_score.coverage_weight),
            )
