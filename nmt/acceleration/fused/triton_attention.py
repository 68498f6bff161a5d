"""The additive score in Triton: energies, masked softmax and context in two kernels per step, two more for the
backward, and one for the gradient of the keys over all steps.

Importing this module requires triton, which is installed with torch's packages for CUDA.
"""

# pyright: reportMissingImports=false, reportIndexIssue=false
# If triton is installed, the launches of its kernels do not fit its types:
# pyright: reportArgumentType=false, reportCallIssue=false, reportOperatorIssue=false

from typing import NamedTuple

import torch
import triton
from torch import Tensor

from nmt.acceleration.fused.attention import FusedAttention, Query, ScoreGradients, Workspace
from nmt.acceleration.fused.triton_attention_kernels import (
    context_backward,
    context_forward,
    energies_backward,
    energies_forward,
    keys_backward,
)
from nmt.acceleration.matmul import addmm_, weight_gradient


class Tile(NamedTuple):
    """The tile of a program: source positions and units that it reads at a time, and its warps."""

    rows: int
    columns: int
    warps: int


# A step is two kernels forward and two backward, each with several programs per sentence: one reads the keys, one the
# memory.
TILES = {
    "energies_forward": Tile(8, 512, 4),
    "context_forward": Tile(8, 256, 2),
    "context_backward": Tile(8, 256, 2),
    "energies_backward": Tile(8, 256, 4),
}
KEYS_TILE = 4096  # numbers in a program of keys_backward, which has all positions of a sentence, 32 in each thread
LIMIT = 43.0  # of queries and keys in keys_backward: e^2x is a normal float32
MAX_POSITIONS = 512  # source positions; with more, the rows of a tile would be too short to be read at full speed


def block_of_positions(positions: int) -> int:
    """The number of positions in a program: a power of two."""
    return max(16, triton.next_power_of_2(positions))


class TritonAdditive(FusedAttention):
    """e = v . tanh(q + k), with q = W_a s: the results of FusedAdditive, with keys and memory in the type of products.

    keys (B, S, A), query (A, H): in the type of products; v (A,): float32
    """

    def __init__(self, workspace: Workspace, keys: Tensor, query: Tensor, v: Tensor):
        super().__init__(workspace, keys, query, v)
        self.keys = keys
        self.query = query
        self.v = v
        self.block = block_of_positions(keys.shape[1])
        self.scratch = torch.empty_like(self.weights[0])  # of one step: energies, or gradients of weights

    def forward_step(self, t: int, query: Query) -> None:
        self._forward(torch.mm(query.matmul_input, self.query.t()), t, 1)

    def forward_steps(self, all_queries: Query) -> None:
        self._forward(torch.matmul(all_queries.matmul_input, self.query.t()), 0, len(all_queries.matmul_input))

    def _forward(self, queries: Tensor, first: int, steps: int) -> None:
        """queries (steps, B, A): of the steps from `first` on."""
        batch, positions, size = self.keys.shape
        width = self.memory.shape[2]
        of_energies, of_context = TILES["energies_forward"], TILES["context_forward"]
        energies = self.scratch if steps == 1 else torch.empty_like(self.weights)
        energies_forward[(batch, triton.cdiv(positions, of_energies.rows), steps)](
            *(queries, self.keys, self.v, self.bias, energies, positions, size),
            BLOCK_S=of_energies.rows,
            BLOCK_A=of_energies.columns,
            num_warps=of_energies.warps,
        )
        context_forward[(batch, triton.cdiv(width, of_context.columns), steps)](
            *(energies, self.memory, self.weights[first], self.contexts[first], self.matmul_inputs[first]),
            *(positions, width),
            LOW_PRECISION=self.low_precision is not None,
            BLOCK=self.block,
            BLOCK_S=of_context.rows,
            BLOCK_M=of_context.columns,
            num_warps=of_context.warps,
        )

    def start_backward(self, all_queries: Query, d_contexts: Tensor, d_weights: Tensor | None) -> None:
        super().start_backward(all_queries, d_contexts, None if d_weights is None else d_weights.contiguous())
        self.queries = torch.matmul(all_queries.matmul_input, self.query.t())
        self.d_queries = torch.empty_like(self.queries)
        self.d_energies = torch.empty_like(self.weights)

    def backward_step(self, t: int, query: Query, d_state: Tensor) -> None:
        self._backward(t, 1)
        addmm_(d_state, self.d_queries[t], self.query)

    def backward_steps(self, d_states: Tensor) -> None:
        self._backward(0, len(d_states))
        width = d_states.shape[2]
        addmm_(d_states.view(-1, width), self.d_queries.flatten(0, 1), self.query)  # view: never copies

    def _backward(self, first: int, steps: int) -> None:
        batch, positions, size = self.keys.shape
        of_context, of_energies = TILES["context_backward"], TILES["energies_backward"]
        d_alphas = self.scratch if steps == 1 else torch.empty_like(self.weights)
        context_backward[(batch, triton.cdiv(positions, of_context.rows), steps)](
            self.d_contexts[first],
            (self.weights if self.d_weights is None else self.d_weights)[first],
            *(self.weights[first], self.memory, d_alphas, positions, self.memory.shape[2]),
            WEIGHED=self.d_weights is not None,
            BLOCK_S=of_context.rows,
            BLOCK_M=of_context.columns,
            num_warps=of_context.warps,
        )
        energies_backward[(batch, triton.cdiv(size, of_energies.columns), steps)](
            *(d_alphas, self.queries[first], self.keys, self.v, self.weights[first]),
            *(self.d_energies[first], self.d_queries[first], positions, size),
            BLOCK=self.block,
            BLOCK_S=of_energies.rows,
            BLOCK_A=of_energies.columns,
            num_warps=of_energies.warps,
        )

    def score_gradients(self) -> ScoreGradients:
        batch, positions, size = self.keys.shape
        d_keys = torch.empty_like(self.keys)
        d_v = torch.empty(batch, size, dtype=torch.float32, device=self.keys.device)
        columns = max(16, KEYS_TILE // self.block)  # two sums and the keys stay in registers over all steps
        keys_backward[(batch, triton.cdiv(size, columns))](
            self.queries,
            self.keys,
            self.v,
            self.d_energies,
            d_keys,
            d_v,
            len(self.queries),
            positions,
            size,
            LIMIT=LIMIT,
            BLOCK_S=self.block,
            BLOCK_A=columns,
            num_warps=max(1, self.block * columns // 1024),
        )
        return ScoreGradients(d_keys, weight_gradient(self.d_queries, self.all_queries.matmul_input), d_v.sum(0))
