"""The loop of Luong's decoder as one autograd function, with a hand-written backward: see ``run_cell``."""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nmt.acceleration.fused.attention import FusedAttention
from nmt.acceleration.fused.cells import FusedCell
from nmt.acceleration.fused.run_cell import bias_gradient, copy_gates
from nmt.acceleration.fused.scores import ScoreWeights, create_attention
from nmt.acceleration.matmul import addmm_, fast_tanh_, tanh_backward, weight_gradient
from nmt.attention.scores import Source


class LuongLoop(torch.autograd.Function):
    """Luong's loop with input feeding: h~_{t-1} is an input of the bottom cell, the top state is the query, and h~_t =
    tanh(W_c [c_t; h_t]).

    projected (T, B, gates * H): the input of the bottom gates from words; attentional (B, H): h~ before the first step
    memory (B, S, M), keys (B, S, A), mask (B, S)
    input_feed_weight (gates * H, H), combine_weight (H, M + H); query, v, coverage_weight: as in BahdanauLoop
    drops (L - 1, T, B, H): the factors of each upper layer's input, or None
    layers: of every layer weight, bias, start; then of every upper layer the weight and bias of its input
    -> h~ (T + 1, B, H), the first included, weights (T, B, S), and the top states (T + 1, B, state_size).
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
        bottom = copy_gates(projected)
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
        source, score = Source(memory, keys, mask), ScoreWeights(query, v, coverage_weight)
        attention = create_attention(source, score, normalizer, steps, dtype, accumulation)
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
        return outputs, attention.weights, top.states

    @staticmethod
    @once_differentiable
    def backward(ctx, d_outputs, d_weights, d_top_states):
        input_feed_weight, combine_weight, outputs, matmul_inputs, drops, dropped, *rest = ctx.saved_tensors
        matmul_inputs = outputs if matmul_inputs is None else matmul_inputs
        cell_type, depth, width, attention_type, normalizer = ctx.types
        inputs, rest = rest[: depth - 1], rest[depth - 1 :]
        cells: list[FusedCell] = [cell_type(*rest[width * layer : width * (layer + 1)]) for layer in range(depth)]
        attention: FusedAttention = attention_type.from_buffers(normalizer, *rest[width * depth :])
        top, size, steps = cells[-1], outputs.shape[2], len(outputs) - 1
        from_context, from_hidden = combine_weight.split((combine_weight.shape[1] - size, size), 1)
        with torch.autocast(outputs.device.type, enabled=False):
            for cell in cells:
                cell.start_backward()
            all_queries = top.all_queries(1)
            attention.start_backward(all_queries, torch.zeros_like(attention.contexts), d_weights)
            gradients = [torch.zeros_like(cell.state[0]) for cell in cells]
            if d_top_states is not None:
                gradients[-1].add_(d_top_states[-1])
            d_attentional = torch.zeros_like(outputs[0])
            d_combined = torch.empty_like(matmul_inputs[1:])  # before the tanh
            for t in reversed(range(steps)):
                if d_outputs is not None:
                    d_attentional.add_(d_outputs[t + 1])
                tanh_backward(d_attentional, outputs[t + 1], grad_input=d_combined[t])
                addmm_(attention.d_context[t], d_combined[t], from_context)
                d_top = gradients[-1][:, :size]
                addmm_(d_top, d_combined[t], from_hidden)
                attention.backward_step(t, top.query_at(t + 1), d_top)
                for layer in reversed(range(1, depth)):
                    cells[layer].backward_step(t, gradients[layer])
                    d_below = cells[layer].d_gate[t] @ inputs[layer - 1]
                    gradients[layer - 1][:, :size].add_(d_below if drops is None else d_below * drops[layer - 1, t])
                cells[0].backward_step(t, gradients[0])
                if d_top_states is not None:
                    gradients[-1].add_(d_top_states[t])
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
                d_layers += [cell.weight_gradients(), bias_gradient(cell), gradient]
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
