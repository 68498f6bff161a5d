"""The loop of the encoder over time, both directions side by side."""

from collections.abc import Sequence

import torch
from torch import Tensor

from nmt.acceleration.inference.cells import InferenceGRU
from nmt.acceleration.matmul import fast_tanh_
from nmt.layers.cells import Cell
from nmt.layers.loops import ReferenceLoops, gather_positions, reversed_positions


class InferenceLoops(ReferenceLoops):
    """The loops of an encoder with prepared cells. Cells other than plain GRUs run one by one."""

    def run_directions(
        self, cells: Sequence[Cell], inputs: Tensor, lengths: Tensor, mask: Tensor
    ) -> tuple[Tensor, ...]:
        grus = [cell for cell in cells if isinstance(cell, InferenceGRU) and cell.is_plain]
        if len(grus) < len(cells):
            return super().run_directions(cells, inputs, lengths, mask)
        positions = reversed_positions(lengths, inputs.shape[1])
        read = [inputs, *(gather_positions(inputs, positions) for _ in cells[1:])]
        projected = [cell.project(each.transpose(0, 1)) for cell, each in zip(cells, read, strict=True)]
        outputs = [each.transpose(0, 1) for each in run_grus(grus, torch.stack(projected, 1)).unbind(1)]
        outputs[1:] = [gather_positions(output, positions) for output in outputs[1:]]
        return tuple(output * mask.unsqueeze(2) for output in outputs)


def run_grus(cells: Sequence[InferenceGRU], projected: Tensor) -> Tensor:
    """Runs D cells side by side, each on its own sequence, from states of zeros: projected (S, D, B, gates * H), which
    is overwritten -> states (S, D, B, H).

    The views of all steps are created before the loop, many at once.
    """
    steps, directions, batch, _ = projected.shape
    size, dtype = cells[0].size, cells[0].dtype
    states = cells[0].weight.new_zeros(steps + 1, directions, batch, size)
    kept = torch.empty_like(states[0])
    gates, candidates = projected.split((2 * size, size), 3)
    updates, resets = gates.split(size, 3)
    state, gate, candidate, update, reset = (each.unbind(0) for each in (states, gates, candidates, updates, resets))
    own_state, own_gate, own_candidate = (each.flatten(0, 1).unbind(0) for each in (states, gates, candidates))
    own_kept = kept.unbind(0)
    products = [(cell.recurrent.forward, cell.candidate.forward) for cell in cells]  # without the overhead of a Module
    for step in range(steps):
        first = step * directions
        for number, (recurrent, _) in enumerate(products, first):
            own_gate[number].add_(recurrent(own_state[number]))
        gate[step].sigmoid_()
        torch.mul(reset[step], state[step], out=kept)
        for number, (_, product) in enumerate(products):
            own_candidate[first + number].add_(product(own_kept[number]))
        torch.lerp(state[step], fast_tanh_(candidate[step], dtype), update[step], out=state[step + 1])
    return states[1:]
