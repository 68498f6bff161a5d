"""The readout, which combines state, word and context into the input of the output layer: maxout as published, or
tanh.
"""

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class Maxout(torch.autograd.Function):
    """(..., 2 l) -> (..., l): the larger of j and j + l. Saves one bit per pair for the backward, not the pairs."""

    @staticmethod
    def forward(ctx, pairs):
        first, second = pairs.chunk(2, -1)
        ctx.save_for_backward(first >= second)
        return torch.maximum(first, second)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        (first_wins,) = ctx.saved_tensors
        pairs = gradient.new_empty(*gradient.shape[:-1], 2 * gradient.shape[-1])
        first, second = pairs.chunk(2, -1)
        torch.mul(gradient, first_wins, out=first)
        torch.sub(gradient, first, out=second)
        return pairs


class MaxoutReadout(nn.Module):
    """t_i = max over pairs of U_o s_{i-1} + V_o E y_{i-1} + C_o c_i.  # Bahdanau et al. (2015), A.2.2

    Unit j is paired with unit j + size: the paper's neighbors, numbered so that both halves lie together in memory.
    """

    def __init__(self, hidden: int, embedding: int, memory: int, size: int):
        super().__init__()
        self.state = nn.Linear(hidden, 2 * size)
        self.word = nn.Linear(embedding, 2 * size, bias=False)
        self.context = nn.Linear(memory, 2 * size, bias=False)

    def forward(self, hidden: Tensor, projected: Tensor, context: Tensor) -> Tensor:
        """hidden (..., H), projected (..., 2 size), context (..., M) -> (..., size).

        projected: the output of `word` for the embedding; it does not depend on the state, so training computes it for
        all steps at once.
        """
        return Maxout.apply(self.without_context(hidden, projected) + self.context(context))

    def without_context(self, hidden: Tensor, projected: Tensor) -> Tensor:
        """The sum without the context, (..., 2 size), before the larger of each pair is taken."""
        return self.state(hidden) + projected


class TanhReadout(nn.Module):
    """t_i = tanh(W_s s_i + W_y E y_{i-1} + W_c c_i).  # Sennrich et al. (2017), 2.1"""

    def __init__(self, hidden: int, embedding: int, memory: int, size: int):
        super().__init__()
        self.state = nn.Linear(hidden, size)
        self.word = nn.Linear(embedding, size, bias=False)
        self.context = nn.Linear(memory, size, bias=False)

    def forward(self, hidden: Tensor, projected: Tensor, context: Tensor) -> Tensor:
        """hidden (..., H), projected (..., size), context (..., M) -> (..., size).

        projected: the output of `word` for the embedding.
        """
        return torch.tanh(self.state(hidden) + projected + self.context(context))
