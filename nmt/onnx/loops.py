"""The loop over the source as one operation, so that a graph holds it for any length."""

import torch
from torch import Tensor
from torch._higher_order_ops.scan import scan

from nmt.layers.cells import Cell
from nmt.layers.loops import ReferenceLoops


class ScanLoops(ReferenceLoops):
    """The reference loops, but that an encoder's cell runs in a scan, which ONNX calls Scan: tracing would repeat the
    step of a Python loop once for each position of its example."""

    def run_cell(self, cell: Cell, projected: Tensor, start: Tensor) -> Tensor:
        def step(state: Tensor, projected_step: Tensor) -> tuple[Tensor, Tensor]:
            state = cell(projected_step, state)
            return state, state.clone()  # what is carried and what is kept may not be one tensor

        _, states = scan(step, start, projected)
        return torch.cat((start.unsqueeze(0), states))
