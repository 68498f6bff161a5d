"""A stack of recurrent layers: the construction of its cells, and the connections between layers."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nmt.layers.cells import Cell, CellKind, build_cell
from nmt.layers.normalized_cells import build_normalized_cell


@dataclass(kw_only=True)
class StackOptions:
    """The options of a stack of cells, besides its sizes.

    layer_norm: layer normalization in the cells.  # Ba et al. (2016)
    residual: a layer's input is added to its output, from the second layer on.  # Wu et al. (2016), 3.1
    transition_depth: the number of transitions in a step, of which only the first reads the input.
      # Pascanu et al. (2014); Miceli Barone et al. (2017)
    """

    layer_norm: bool = False
    residual: bool = False
    transition_depth: int = 1


def build_layer(options: StackOptions, kind: CellKind, input_size: int, size: int, *, depth: int | None = None) -> Cell:
    """The cell of one layer. depth: in place of transition_depth."""
    build = build_normalized_cell if options.layer_norm else build_cell
    cell = build(kind, input_size, size)
    depth = options.transition_depth if depth is None else depth
    cell.transitions.extend(build(kind, 0, size) for _ in range(depth - 1))
    return cell


def stack_output(cells: Sequence[Cell], states: Iterable[Tensor], *, residual: bool) -> Tensor:
    """The output of a decoder's stack: states (..., state_size) of each cell -> (..., H).

    The output of the top cell; with residual connections the sum of the outputs of all cells.
    """
    outputs = [cell.output(state) for cell, state in zip(cells, states, strict=True)]
    if not residual:
        return outputs[-1]
    total = outputs[0]
    for output in outputs[1:]:
        total = total + output
    return total


def step_upper_cells(
    cells: Sequence[Cell],
    dropout: Callable[[Tensor], Tensor],
    bottom: Tensor,
    states: Sequence[Tensor],
    *,
    residual: bool = False,
    context: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """One step of the cells above the bottom cell, whose new state is `bottom` -> all new states, bottom first.

    states: the old states, (N, state_size) each; dropout: on the output of the cell below; context (N, M): a further
    input of the upper cells.
    """
    new = [bottom]
    for layer in range(1, len(cells)):
        below = with_context(dropout(stack_output(cells[:layer], new, residual=residual)), context)
        new.append(cells[layer].step(cells[layer].project(below), states[layer]))
    return tuple(new)


def with_context(below: Tensor, context: Tensor | None) -> Tensor:
    """The input of an upper cell: below (..., H), context (..., M) -> (..., H + M)."""
    return below if context is None else torch.cat((below, context.to(below.dtype)), -1)
