"""From encoder to decoder: the first state."""

from enum import Enum

import torch
from torch import Tensor, nn

from nmt.model.encoder import Encoded


class Start(Enum):
    """What the decoder's first state is made of, through a bridge tanh(W x + b): words of ``model.decoder.start``."""

    zero = "zero"
    last = "last"
    mean = "mean"
    backward_first = "backward_first"


class Bridge(nn.Module):
    """Encoder to decoder: s_0 = tanh(W_s x), with x what `start` names.  # Bahdanau et al. (2015), A.2.2"""

    def __init__(self, start: Start, hidden: int, directions: int, state_sizes: list[int]):
        super().__init__()
        self.start = start
        self.state_sizes = state_sizes
        match start:
            case Start.zero:
                width = 0
            case Start.last | Start.mean:
                width = directions * hidden
            case Start.backward_first:
                if directions == 1:
                    raise ValueError(
                        "model.decoder.start=backward_first needs an encoder that reads backwards: "
                        "set model.encoder.bidirectional=true, or try model.decoder.start=last"
                    )
                width = hidden
        self.project = nn.Linear(width, sum(state_sizes)) if width else None

    def forward(self, encoded: Encoded) -> tuple[Tensor, ...]:
        """Encoded -> the first state of each layer, (B, state_size) each."""
        if self.project is None:
            return tuple(encoded.memory.new_zeros(len(encoded.memory), size) for size in self.state_sizes)
        match self.start:
            case Start.mean:
                summary = encoded.memory.sum(1) / encoded.mask.sum(1, keepdim=True)
            case Start.last:
                summary = torch.cat((encoded.forward_last, encoded.backward_first), 1)
            case _:
                summary = encoded.backward_first
        return torch.tanh(self.project(summary)).to(encoded.memory.dtype).split(self.state_sizes, 1)
