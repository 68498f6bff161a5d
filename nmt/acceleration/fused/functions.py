"""Loops over steps as one autograd function each, with hand-written backward.

In the loop of the backward stands only what recurs; whatever can wait is one product over all steps after it. The
functions take and give time-major tensors.
"""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nmt.acceleration.fused.attention import FusedAttention, Query
from nmt.acceleration.fused.cells import FusedCell, FusedGRUResetAfter
from nmt.acceleration.fused.scores import create_attention
from nmt.acceleration.matmul import accumulation_dtype, addmm_, fast_tanh_, tanh_backward, weight_gradient


def _gates(projected: Tensor) -> Tensor:
    """A copy that the cell may overwrite, time-major and in the type of states."""
    return torch.empty(projected.shape, dtype=accumulation_dtype(projected.dtype), device=projected.device).copy_(
        projected
    )


def _last(d_states: Tensor | None, cell: FusedCell) -> Tensor:
    """The gradient that enters at the last state, and is then carried back."""
    last = torch.zeros_like(cell.state[-1], memory_format=torch.contiguous_format)
    return last if d_states is None else last.copy_(d_states.select(-3, cell.steps))


def _bias_gradient(cell: FusedCell) -> Tensor | None:
    return cell.bias_gradient() if isinstance(cell, FusedGRUResetAfter) else None


class RunCell(torch.autograd.Function):
    """A cell over a sequence.

    projected (..., T, B, gates * H), start (..., B, state_size) -> states (..., T + 1, B, state_size).
    step_mask (..., T, B, 1): a state is multiplied by it; 0 where the step is padding. Before a sentence the state so
    stays zero, which is how the backward direction reads it from its end.
    """

    @staticmethod
    def forward(ctx, cell_type: type[FusedCell], dtype, projected, start, step_mask, weight, bias):
        cell = cell_type.create(weight, bias, _gates(projected), start, dtype)
        for t in range(cell.steps):
            if step_mask is None:
                cell.forward_step(t)
            else:
                cell.forward_step_masked(t, step_mask.select(-3, t))
        ctx.cell_type = cell_type
        ctx.save_for_backward(step_mask, *cell.buffers)
        return cell.states

    @staticmethod
    @once_differentiable
    def backward(ctx, d_states):
        step_mask, *buffers = ctx.saved_tensors
        cell = ctx.cell_type(*buffers)
        with torch.autocast(d_states.device.type, enabled=False):
            cell.start_backward()
            gradient = _last(d_states, cell)
            for t in reversed(range(cell.steps)):
                mask = None if step_mask is None else step_mask.select(-3, t)
                cell.backward_step_masked(t, gradient, mask, d_states.select(-3, t))
            return None, None, cell.d_gates, gradient, None, cell.weight_gradients(), _bias_gradient(cell)


class BahdanauLoop(torch.autograd.Function):
    """Bahdanau's loop: attention asks with the state, the context enters the gates.

    projected (T, B, gates * H): the words' part of the gates; start (B, state_size)
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
        gates = _gates(projected)
        cell = cell_type.create(weight, bias, gates, start, dtype)
        attention = create_attention(
            normalizer, memory, keys, mask, query, v, coverage_weight, cell.steps, dtype, gates.dtype
        )
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
        attention: FusedAttention = attention_type(*buffers[split:])
        attention.normalizer = normalizer
        with torch.autocast(cell.states.device.type, enabled=False):
            cell.start_backward()
            if d_contexts is None:
                d_contexts = torch.zeros_like(attention.contexts)
            else:
                d_contexts = d_contexts.clone(memory_format=torch.contiguous_format)
            attention.start_backward(cell.all_queries(0), d_contexts, d_weights)
            gradient = _last(d_states, cell)
            for t in reversed(range(cell.steps)):
                cell.backward_step_masked(t, gradient, None, None if d_states is None else d_states[t])
                addmm_(attention.d_context[t].squeeze(1), cell.d_gate[t], context_weight)
                attention.backward_step(t, cell.query_at(t), gradient[:, : cell.size])
            d_score = attention.score_gradients()
            return (
                *(None, None, None, cell.d_gates, gradient),
                *(attention.memory_gradient(), d_score.keys, None),
                *(
                    cell.weight_gradients(),
                    _bias_gradient(cell),
                    weight_gradient(cell.d_gates, attention.matmul_inputs),
                ),
                *(d_score.query, d_score.v, d_score.coverage_weight),
            )


class LuongLoop(torch.autograd.Function):
    """Luong's loop with input feeding: h~_{t-1} enters the bottom cell, the top asks, h~_t = tanh(W_c [c_t; h_t]).

    projected (T, B, gates * H): the words' part of the bottom gates; attentional (B, H): the h~ before the first step
    memory (B, S, M), keys (B, S, A), mask (B, S)
    fed_weight (gates * H, H), combine_weight (H, M + H); query (A, H), v (A,), coverage_weight (A,): as above
    drops (L - 1, T, B, H): what each upper layer's input is multiplied by, or None
    layers: of every layer weight, bias, start; then of every upper one the weight and bias of its input
    -> h~ (T + 1, B, H), the first included, and weights (T, B, S).
    """

    @staticmethod
    def forward(
        ctx,
        cell_type,
        normalizer,
        dtype,
        projected,
        attentional,
        memory,
        keys,
        mask,
        input_feed_weight,
        combine_weight,
        query,
        v,
        coverage_weight,
        drops,
        *layers: Tensor,
    ):
        bottom = _gates(projected)
        accumulation, steps = bottom.dtype, len(bottom)
        depth = (len(layers) + 2) // 5
        cells: list[FusedCell] = []
        inputs: list[Tensor] = []  # weights of the upper layers' inputs
        for layer in range(depth):
            weight, bias, start = layers[3 * layer : 3 * layer + 3]
            gates = bottom
            if layer:
                input_weight, input_bias = layers[3 * depth + 2 * layer - 2 : 3 * depth + 2 * layer]
                inputs.append(input_weight.to(dtype))
                gates = torch.empty_like(bottom).copy_(input_bias)
            cells.append(cell_type.create(weight, bias, gates, start, dtype))
        top = cells[-1]
        attention = create_attention(
            normalizer, memory, keys, mask, query, v, coverage_weight, steps, dtype, accumulation
        )
        input_feed_weight, combine_weight = input_feed_weight.to(dtype), combine_weight.to(dtype)
        from_context, from_hidden = combine_weight.split((memory.shape[2], attentional.shape[1]), 1)
        outputs = torch.empty(steps + 1, *attentional.shape, dtype=accumulation, device=attentional.device)
        outputs[0] = attentional
        matmul_inputs = outputs if dtype == accumulation else outputs.to(dtype)
        dropped = None if drops is None else torch.empty_like(drops, dtype=dtype)
        for t in range(steps):
            addmm_(cells[0].gate[t], matmul_inputs[t], input_feed_weight.t())
            cells[0].forward_step(t)
            for layer in range(1, depth):
                below = cells[layer - 1].matmul_input[t + 1]
                if drops is not None and dropped is not None:
                    below = torch.mul(below, drops[layer - 1, t], out=dropped[layer - 1, t])
                addmm_(cells[layer].gate[t], below, inputs[layer - 1].t())
                cells[layer].forward_step(t)
            attention.forward_step(t, top.query_at(t + 1))
            output = outputs[t + 1]
            output.copy_(torch.mm(attention.matmul_input[t], from_context.t()))
            addmm_(output, top.matmul_input[t + 1], from_hidden.t())
            fast_tanh_(output, dtype)
            if matmul_inputs is not outputs:
                matmul_inputs[t + 1].copy_(output)
        ctx.types = cell_type, depth, len(top.buffers), type(attention), normalizer
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(
            *(
                input_feed_weight,
                combine_weight,
                outputs,
                None if matmul_inputs is outputs else matmul_inputs,
                drops,
                dropped,
                *inputs,
            ),
            *(buffer for cell in cells for buffer in cell.buffers),
            *attention.buffers,
        )
        return outputs, attention.weights

    @staticmethod
    @once_differentiable
    def backward(ctx, d_outputs, d_weights):
        input_feed_weight, combine_weight, outputs, matmul_inputs, drops, dropped, *rest = ctx.saved_tensors
        matmul_inputs = outputs if matmul_inputs is None else matmul_inputs
        cell_type, depth, width, attention_type, normalizer = ctx.types
        inputs, rest = rest[: depth - 1], rest[depth - 1 :]
        cells: list[FusedCell] = [cell_type(*rest[width * layer : width * (layer + 1)]) for layer in range(depth)]
        attention: FusedAttention = attention_type(*rest[width * depth :])
        attention.normalizer = normalizer
        top, size, steps = cells[-1], outputs.shape[2], len(outputs) - 1
        from_context, from_hidden = combine_weight.split((combine_weight.shape[1] - size, size), 1)
        with torch.autocast(outputs.device.type, enabled=False):
            for cell in cells:
                cell.start_backward()
            all_queries = top.all_queries(1)
            attention.start_backward(all_queries, torch.zeros_like(attention.contexts), d_weights)
            gradients = [torch.zeros_like(cell.state[0]) for cell in cells]
            d_attentional = torch.zeros_like(outputs[0])
            d_combined = torch.empty_like(matmul_inputs[1:])  # before the tanh
            for t in reversed(range(steps)):
                if d_outputs is not None:
                    d_attentional.add_(d_outputs[t + 1])
                tanh_backward(d_attentional, outputs[t + 1], grad_input=d_combined[t])
                addmm_(attention.d_context[t].squeeze(1), d_combined[t], from_context)
                d_top = gradients[-1][:, :size]
                addmm_(d_top, d_combined[t], from_hidden)
                attention.backward_step(t, top.query_at(t + 1), d_top)
                for layer in reversed(range(1, depth)):
                    cells[layer].backward_step(t, gradients[layer])
                    d_below = cells[layer].d_gate[t] @ inputs[layer - 1]
                    gradients[layer - 1][:, :size].add_(d_below if drops is None else d_below * drops[layer - 1, t])
                cells[0].backward_step(t, gradients[0])
                d_attentional.zero_()
                addmm_(d_attentional, cells[0].d_gate[t], input_feed_weight)
            if d_outputs is not None:
                d_attentional.add_(d_outputs[0])
            d_score = attention.score_gradients()
            d_combine = (
                weight_gradient(d_combined, attention.matmul_inputs),
                weight_gradient(d_combined, all_queries.matmul_input),
            )
            d_layers: list[Tensor | None] = []
            for cell, gradient in zip(cells, gradients, strict=True):
                d_layers += [cell.weight_gradients(), _bias_gradient(cell), gradient]
            for layer in range(1, depth):
                d_gates = cells[layer].d_gates
                below = cells[layer - 1].all_queries(1).matmul_input if dropped is None else dropped[layer - 1]
                d_layers += [weight_gradient(d_gates, below), d_gates.sum((0, 1), dtype=outputs.dtype)]
            return (
                *(None, None, None, cells[0].d_gates, d_attentional),
                *(attention.memory_gradient(), d_score.keys, None),
                *(weight_gradient(cells[0].d_gates, matmul_inputs[:-1]), torch.cat(d_combine, 1)),
                *(d_score.query, d_score.v, d_score.coverage_weight, None, *d_layers),
            )


class AttendAll(torch.autograd.Function):
    """The additive score where no state recurs through it: states (T, B, H) -> contexts (T, B, M), weights (T, B, S).

    In torch's operations still a loop over steps, so that the (B, T, S, A) tensor of all energies' terms never exists.
    """

    @staticmethod
    def forward(ctx, normalizer, dtype, states, memory, keys, mask, query, v, coverage_weight):
        matmul_inputs = states.to(dtype)
        accumulation = accumulation_dtype(states.dtype)
        attention = create_attention(
            normalizer, memory, keys, mask, query, v, coverage_weight, len(states), dtype, accumulation
        )
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
        attention: FusedAttention = attention_type(*buffers)
        attention.normalizer = normalizer
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
