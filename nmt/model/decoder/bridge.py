"""The bridge from encoder to decoder: the initial state."""

from enum import Enum

import torch
from torch import Tensor, nn

from nmt.model.encoder import EncoderOutput


class InitHidden(Enum):
    """The input x of the bridge tanh(W x + b), which computes the decoder's initial state: the values of
    ``model.decoder.init_hidden``."""

    zero = "zero"
    last = "last"
    mean = "mean"
    backward_first = "backward_first"


class Bridge(nn.Module):
    """The initial state s_0 = tanh(W_s x), with the x that `init_hidden` selects.  # Bahdanau et al. (2015), A.2.2"""

    def __init__(self, init_hidden: InitHidden, hidden: int, directions: int, state_sizes: list[int]):
        super().__init__()
        self.init_hidden = init_hidden
        self.state_sizes = state_sizes
        match init_hidden:
            case InitHidden.zero:
                width = 0
            case InitHidden.last | InitHidden.mean:
                width = directions * hidden
            case InitHidden.backward_first:
                if directions == 1:
                    raise ValueError(
                        "model.decoder.init_hidden=backward_first needs an encoder that reads backwards: "
                        "set model.encoder.bidirectional=true, or try model.decoder.init_hidden=last"
                    )
                width = hidden
        self.project = nn.Linear(width, sum(state_sizes)) if width else None

    def forward(self, encoded: EncoderOutput) -> tuple[Tensor, ...]:
        """EncoderOutput -> the initial state of each layer, (B, state_size) each."""
        if self.project is None:
            return tuple(encoded.memory.new_zeros(len(encoded.memory), size) for size in self.state_sizes)
        match self.init_hidden:
            case InitHidden.mean:
                summary = encoded.memory.sum(1) / encoded.mask.sum(1, keepdim=True)
            case InitHidden.last:
                summary = torch.cat((encoded.forward_last, encoded.backward_first), 1)
            case _:
                summary = encoded.backward_first
        return torch.tanh(self.project(summary)).to(encoded.memory.dtype).split(self.state_sizes, 1)
