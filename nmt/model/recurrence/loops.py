"""Loops over steps as one autograd function each, with hand-written backward.

In the loop of the backward stands only what recurs; whatever can wait is one product over all steps after it. The
functions take and give time-major tensors.
"""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nmt.model.recurrence.cells import CellTape, GRUAfterTape
from nmt.model.recurrence.looks import Asker, LookTape, record_look
from nmt.model.recurrence.products import add_product, squash_, tanh_backward, weight_gradient, wide_dtype


def _gates(projected: Tensor) -> Tensor:
    """A copy that the tape may overwrite, time-major and in the type of states."""
    return torch.empty(projected.shape, dtype=wide_dtype(projected.dtype), device=projected.device).copy_(projected)


def _last(d_states: Tensor | None, cell: CellTape) -> Tensor:
    """The gradient that enters at the last state, and is then carried back."""
    last = torch.zeros_like(cell.state[-1], memory_format=torch.contiguous_format)
    return last if d_states is None else last.copy_(d_states.select(-3, cell.steps))


def _bias_gradient(cell: CellTape) -> Tensor | None:
    return cell.bias_gradient() if isinstance(cell, GRUAfterTape) else None


class RunCell(torch.autograd.Function):
    """A cell over a sequence.

    projected (..., T, B, gates * H), start (..., B, state_size) -> states (..., T + 1, B, state_size).
    keep (..., T, B, 1): a state is multiplied by it; 0 where the step is padding. Before a sentence the state so stays
    zero, which is how the backward direction reads it from its end.
    """

    @staticmethod
    def forward(ctx, tape: type[CellTape], dtype, projected, start, keep, weight, bias):
        cell = tape.record(weight, bias, _gates(projected), start, dtype)
        for t in range(cell.steps):
            if keep is None:
                cell.advance(t)
            else:
                cell.advance_masked(t, keep.select(-3, t))
        ctx.tape = tape
        ctx.save_for_backward(keep, *cell.buffers)
        return cell.states

    @staticmethod
    @once_differentiable
    def backward(ctx, d_states):
        keep, *buffers = ctx.saved_tensors
        cell = ctx.tape(*buffers)
        with torch.autocast(d_states.device.type, enabled=False):
            cell.start_backward()
            gradient = _last(d_states, cell)
            for t in reversed(range(cell.steps)):
                kept = None if keep is None else keep.select(-3, t)
                cell.retreat_between(t, gradient, kept, d_states.select(-3, t))
            return None, None, cell.d_gates, gradient, None, cell.weight_gradients(), _bias_gradient(cell)


class LookThenUpdate(torch.autograd.Function):
    """Bahdanau's loop: attention asks with the state, the context enters the gates.

    projected (T, B, gates * H): the words' part of the gates; start (B, state_size)
    memory (B, S, M), keys (B, S, A), mask (B, S)
    context_weight (gates * H, M); query (A, H) and v (A,) of the additive score, cover (A,) of coverage, or None
    -> states (T + 1, B, state_size), contexts (T, B, M), weights (T, B, S).
    """

    @staticmethod
    def forward(ctx, tape, dtype, projected, start, memory, keys, mask, weight, bias, context_weight, query, v, cover):
        gates = _gates(projected)
        cell = tape.record(weight, bias, gates, start, dtype)
        look = record_look(memory, keys, mask, query, v, cover, cell.steps, dtype, gates.dtype)
        context_weight = context_weight.to(dtype)
        for t in range(cell.steps):
            look.advance(t, cell.asker(t))
            add_product(cell.gate[t], look.operand[t], context_weight.t())
            cell.advance(t)
        ctx.tapes = tape, len(cell.buffers), type(look)
        ctx.save_for_backward(context_weight, *cell.buffers, *look.buffers)
        ctx.set_materialize_grads(False)
        return cell.states, look.contexts, look.weights

    @staticmethod
    @once_differentiable
    def backward(ctx, d_states, d_contexts, d_weights):
        context_weight, *buffers = ctx.saved_tensors
        tape, split, look_tape = ctx.tapes
        cell: CellTape = tape(*buffers[:split])
        look: LookTape = look_tape(*buffers[split:])
        with torch.autocast(cell.states.device.type, enabled=False):
            cell.start_backward()
            if d_contexts is None:
                d_contexts = torch.zeros_like(look.contexts)
            else:
                d_contexts = d_contexts.clone(memory_format=torch.contiguous_format)
            look.start_backward(cell.asked(0), d_contexts, d_weights)
            gradient = _last(d_states, cell)
            for t in reversed(range(cell.steps)):
                cell.retreat_between(t, gradient, None, None if d_states is None else d_states[t])
                add_product(look.d_context[t].squeeze(1), cell.d_gate[t], context_weight)
                look.retreat(t, cell.asker(t), gradient[:, : cell.size])
            d_score = look.score_gradients()
            return (
                *(None, None, cell.d_gates, gradient),
                *(look.memory_gradient(), d_score.keys, None),
                *(cell.weight_gradients(), _bias_gradient(cell), weight_gradient(cell.d_gates, look.operands)),
                *(d_score.query, d_score.v, d_score.cover),
            )


class UpdateThenLook(torch.autograd.Function):
    """Luong's loop with input feeding: h~_{t-1} enters the bottom cell, the top asks, h~_t = tanh(W_c [c_t; h_t]).

    projected (T, B, gates * H): the words' part of the bottom gates; fed (B, H): the h~ before the first step
    memory (B, S, M), keys (B, S, A), mask (B, S)
    fed_weight (gates * H, H), combine_weight (H, M + H); query (A, H), v (A,), cover (A,): as above
    drops (L - 1, T, B, H): what each upper layer's input is multiplied by, or None
    layers: of every layer weight, bias, start; then of every upper one the weight and bias of its input
    -> h~ (T + 1, B, H), the first included, and weights (T, B, S).
    """

    @staticmethod
    def forward(
        ctx,
        tape,
        dtype,
        projected,
        fed,
        memory,
        keys,
        mask,
        fed_weight,
        combine_weight,
        query,
        v,
        cover,
        drops,
        *layers: Tensor,
    ):
        bottom = _gates(projected)
        wide, steps = bottom.dtype, len(bottom)
        depth = (len(layers) + 2) // 5
        cells: list[CellTape] = []
        inputs: list[Tensor] = []  # weights of the upper layers' inputs
        for layer in range(depth):
            weight, bias, start = layers[3 * layer : 3 * layer + 3]
            gates = bottom
            if layer:
                input_weight, input_bias = layers[3 * depth + 2 * layer - 2 : 3 * depth + 2 * layer]
                inputs.append(input_weight.to(dtype))
                gates = torch.empty_like(bottom).copy_(input_bias)
            cells.append(tape.record(weight, bias, gates, start, dtype))
        top = cells[-1]
        look = record_look(memory, keys, mask, query, v, cover, steps, dtype, wide)
        fed_weight, combine_weight = fed_weight.to(dtype), combine_weight.to(dtype)
        from_context, from_hidden = combine_weight.split((memory.shape[2], fed.shape[1]), 1)
        outputs = torch.empty(steps + 1, *fed.shape, dtype=wide, device=fed.device)
        outputs[0] = fed
        operands = outputs if dtype == wide else outputs.to(dtype)
        dropped = None if drops is None else torch.empty_like(drops, dtype=dtype)
        for t in range(steps):
            add_product(cells[0].gate[t], operands[t], fed_weight.t())
            cells[0].advance(t)
            for layer in range(1, depth):
                below = cells[layer - 1].operand[t + 1]
                if drops is not None and dropped is not None:
                    below = torch.mul(below, drops[layer - 1, t], out=dropped[layer - 1, t])
                add_product(cells[layer].gate[t], below, inputs[layer - 1].t())
                cells[layer].advance(t)
            look.advance(t, top.asker(t + 1))
            output = outputs[t + 1]
            output.copy_(torch.mm(look.operand[t], from_context.t()))
            add_product(output, top.operand[t + 1], from_hidden.t())
            squash_(output, dtype)
            if operands is not outputs:
                operands[t + 1].copy_(output)
        ctx.tapes = tape, depth, len(top.buffers), type(look)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(
            *(fed_weight, combine_weight, outputs, None if operands is outputs else operands, drops, dropped, *inputs),
            *(buffer for cell in cells for buffer in cell.buffers),
            *look.buffers,
        )
        return outputs, look.weights

    @staticmethod
    @once_differentiable
    def backward(ctx, d_outputs, d_weights):
        fed_weight, combine_weight, outputs, operands, drops, dropped, *rest = ctx.saved_tensors
        operands = outputs if operands is None else operands
        tape, depth, width, look_tape = ctx.tapes
        inputs, rest = rest[: depth - 1], rest[depth - 1 :]
        cells: list[CellTape] = [tape(*rest[width * layer : width * (layer + 1)]) for layer in range(depth)]
        look: LookTape = look_tape(*rest[width * depth :])
        top, size, steps = cells[-1], outputs.shape[2], len(outputs) - 1
        from_context, from_hidden = combine_weight.split((combine_weight.shape[1] - size, size), 1)
        with torch.autocast(outputs.device.type, enabled=False):
            for cell in cells:
                cell.start_backward()
            asked = top.asked(1)
            look.start_backward(asked, torch.zeros_like(look.contexts), d_weights)
            gradients = [torch.zeros_like(cell.state[0]) for cell in cells]
            d_fed = torch.zeros_like(outputs[0])
            d_combined = torch.empty_like(operands[1:])  # before the tanh
            for t in reversed(range(steps)):
                if d_outputs is not None:
                    d_fed.add_(d_outputs[t + 1])
                tanh_backward(d_fed, outputs[t + 1], grad_input=d_combined[t])
                add_product(look.d_context[t].squeeze(1), d_combined[t], from_context)
                d_top = gradients[-1][:, :size]
                add_product(d_top, d_combined[t], from_hidden)
                look.retreat(t, top.asker(t + 1), d_top)
                for layer in reversed(range(1, depth)):
                    cells[layer].retreat(t, gradients[layer])
                    d_below = cells[layer].d_gate[t] @ inputs[layer - 1]
                    gradients[layer - 1][:, :size].add_(d_below if drops is None else d_below * drops[layer - 1, t])
                cells[0].retreat(t, gradients[0])
                d_fed.zero_()
                add_product(d_fed, cells[0].d_gate[t], fed_weight)
            if d_outputs is not None:
                d_fed.add_(d_outputs[0])
            d_score = look.score_gradients()
            d_combine = (weight_gradient(d_combined, look.operands), weight_gradient(d_combined, asked.operand))
            d_layers: list[Tensor | None] = []
            for cell, gradient in zip(cells, gradients, strict=True):
                d_layers += [cell.weight_gradients(), _bias_gradient(cell), gradient]
            for layer in range(1, depth):
                d_gates = cells[layer].d_gates
                below = cells[layer - 1].asked(1).operand if dropped is None else dropped[layer - 1]
                d_layers += [weight_gradient(d_gates, below), d_gates.sum((0, 1), dtype=outputs.dtype)]
            return (
                *(None, None, cells[0].d_gates, d_fed),
                *(look.memory_gradient(), d_score.keys, None),
                *(weight_gradient(cells[0].d_gates, operands[:-1]), torch.cat(d_combine, 1)),
                *(d_score.query, d_score.v, d_score.cover, None, *d_layers),
            )


class LookAtOnce(torch.autograd.Function):
    """The additive score where no state recurs through it: states (T, B, H) -> contexts (T, B, M), weights (T, B, S).

    In torch's operations still a loop over steps, so that the (B, T, S, A) tensor of all energies' terms never exists.
    """

    @staticmethod
    def forward(ctx, dtype, states, memory, keys, mask, query, v, cover):
        operands = states.to(dtype)
        look = record_look(memory, keys, mask, query, v, cover, len(states), dtype, wide_dtype(states.dtype))
        look.advance_all(Asker(states, operands))
        ctx.look_tape = type(look)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(operands, *look.buffers)
        return look.contexts, look.weights

    @staticmethod
    @once_differentiable
    def backward(ctx, d_contexts, d_weights):
        operands, *buffers = ctx.saved_tensors
        look: LookTape = ctx.look_tape(*buffers)
        with torch.autocast(operands.device.type, enabled=False):
            d_contexts = torch.zeros_like(look.contexts) if d_contexts is None else d_contexts.contiguous()
            look.start_backward(Asker(operands, operands), d_contexts, d_weights)
            d_states = torch.zeros_like(operands, dtype=look.contexts.dtype)
            look.retreat_all(d_states)
            d_score = look.score_gradients()
            return (
                *(None, d_states, look.memory_gradient(), d_score.keys, None),
                *(d_score.query, d_score.v, d_score.cover),
            )
