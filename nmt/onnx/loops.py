"""The loop over the source as a scan operation, so that a graph is valid for any source length."""

import torch
from torch import Tensor
from torch._higher_order_ops.scan import scan

from nmt.layers.cells import Cell
from nmt.layers.loops import ReferenceLoops


class ScanLoops(ReferenceLoops):
    """The reference loops, with the encoder's cell in a scan, which is exported as ONNX's Scan.

    Tracing would unroll a Python loop to the length of the example.
    """

    def run_cell(self, cell: Cell, projected: Tensor, start: Tensor) -> Tensor:
        def step(state: Tensor, projected_step: Tensor) -> tuple[Tensor, Tensor]:
            state = cell(projected_step, state)
            return state, state.clone()  # scan does not allow the carry and the output to be the same tensor

        _, states = scan(step, start, projected)
        return torch.cat((start.unsqueeze(0), states))
