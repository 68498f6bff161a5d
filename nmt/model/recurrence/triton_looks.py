"""The additive score in Triton: energies, masked softmax and context in one kernel, their derivatives in two more.

bf16 in, float32 inside. To import this module takes triton, which comes with torch's packages for CUDA.
"""

# pyright: reportMissingImports=false, reportIndexIssue=false
# Where triton is installed, the launches of its kernels don't fit its types:
# pyright: reportArgumentType=false, reportCallIssue=false, reportOperatorIssue=false

import torch
import triton
import triton.language as tl
from torch import Tensor

from nmt.model.recurrence.looks import Asker, LookTape, ScoreGradients
from nmt.model.recurrence.products import add_product, weight_gradient

# A program holds all positions of one sentence at once, TILE numbers at a time, in WARPS warps.
TILE = 8192
WARPS = 8
LONGEST = 512  # source positions; with more, the rows of a tile would be too short to be read at full speed


# One program for any number of positions, wherever a step's rows begin: sentences differ, and the numbers of their
# positions are the small part of what is read.
@triton.jit(do_not_specialize=["positions"], do_not_specialize_on_alignment=["weights"])
def look_forward(
    queries,
    keys,
    v,
    bias,
    memory,
    weights,
    contexts,
    narrow,
    positions,
    size: tl.constexpr,
    width: tl.constexpr,
    NARROW: tl.constexpr,
    BLOCK_S: tl.constexpr,
    BLOCK_A: tl.constexpr,
    BLOCK_M: tl.constexpr,
):
    """Program (b, t): queries (T, B, A), keys (B, S, A), v (A,), bias (B, S), memory (B, S, M)
    -> weights (T, B, S), contexts (T, B, M) and, if NARROW, the same in the type of products."""
    row = tl.program_id(0).to(tl.int64)
    look = tl.program_id(1) * tl.num_programs(0) + row
    s = tl.arange(0, BLOCK_S)
    real = tl.load(bias + row * positions + s, mask=s < positions, other=-1.0) == 0.0
    source = (row * positions + s)[:, None]
    energies = tl.zeros([BLOCK_S], tl.float32)
    for start in range(0, size, BLOCK_A):
        a = start + tl.arange(0, BLOCK_A)
        inside = a < size
        query = tl.load(queries + look * size + a, mask=inside, other=0.0).to(tl.float32)
        slope = tl.load(v + a, mask=inside, other=0.0).to(tl.float32)
        key = tl.load(keys + source * size + a[None, :], mask=real[:, None] & inside[None, :], other=0.0)
        r = 1.0 / (1.0 + tl.exp(2.0 * (query[None, :] + key.to(tl.float32))))
        energies += tl.sum(slope[None, :] * r, 1)
    energies = tl.where(real, -2.0 * energies, float("-inf"))
    chances = tl.exp(energies - tl.max(energies, 0))
    chances = chances / tl.sum(chances, 0)
    tl.store(weights + look * positions + s, chances, mask=s < positions)
    for start in range(0, width, BLOCK_M):
        m = start + tl.arange(0, BLOCK_M)
        inside = m < width
        annotations = tl.load(memory + source * width + m[None, :], mask=real[:, None] & inside[None, :], other=0.0)
        context = tl.sum(chances[:, None] * annotations.to(tl.float32), 0)
        tl.store(contexts + look * width + m, context, mask=inside)
        if NARROW:
            tl.store(narrow + look * width + m, context.to(narrow.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["positions"], do_not_specialize_on_alignment=["weights", "d_weights", "d_energies"])
def look_backward(
    d_contexts,
    d_weights,
    queries,
    keys,
    v,
    weights,
    memory,
    d_energies,
    d_queries,
    positions,
    size: tl.constexpr,
    width: tl.constexpr,
    WEIGHED: tl.constexpr,
    BLOCK_S: tl.constexpr,
    BLOCK_A: tl.constexpr,
    BLOCK_M: tl.constexpr,
):
    """Program (b, t): the gradient d_contexts (T, B, M) and, if WEIGHED, d_weights (T, B, S)
    -> d_energies (T, B, S), d_queries (T, B, A). The energies' terms are made again."""
    row = tl.program_id(0).to(tl.int64)
    look = tl.program_id(1) * tl.num_programs(0) + row
    s = tl.arange(0, BLOCK_S)
    chances = tl.load(weights + look * positions + s, mask=s < positions, other=0.0)
    real = chances > 0.0  # where the weight is 0, so are the gradients
    source = (row * positions + s)[:, None]
    d_chances = tl.zeros([BLOCK_S], tl.float32)
    for start in range(0, width, BLOCK_M):
        m = start + tl.arange(0, BLOCK_M)
        inside = m < width
        d_context = tl.load(d_contexts + look * width + m, mask=inside, other=0.0).to(tl.float32)
        annotations = tl.load(memory + source * width + m[None, :], mask=real[:, None] & inside[None, :], other=0.0)
        d_chances += tl.sum(annotations.to(tl.float32) * d_context[None, :], 1)
    if WEIGHED:
        d_chances += tl.load(d_weights + look * positions + s, mask=s < positions, other=0.0).to(tl.float32)
    slopes = chances * (d_chances - tl.sum(chances * d_chances, 0))
    tl.store(d_energies + look * positions + s, slopes, mask=s < positions)
    for start in range(0, size, BLOCK_A):
        a = start + tl.arange(0, BLOCK_A)
        inside = a < size
        query = tl.load(queries + look * size + a, mask=inside, other=0.0).to(tl.float32)
        slope = tl.load(v + a, mask=inside, other=0.0).to(tl.float32)
        key = tl.load(keys + source * size + a[None, :], mask=real[:, None] & inside[None, :], other=0.0)
        r = 1.0 / (1.0 + tl.exp(2.0 * (query[None, :] + key.to(tl.float32))))
        d_query = 4.0 * slope * tl.sum(slopes[:, None] * (r - r * r), 0)
        tl.store(d_queries + look * size + a, d_query.to(d_queries.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["positions", "steps"])
def keys_backward(
    queries,
    keys,
    v,
    d_energies,
    d_keys,
    d_v,
    steps,
    positions,
    size: tl.constexpr,
    BLOCK_S: tl.constexpr,
    BLOCK_A: tl.constexpr,
):
    """Program (b, units): queries (T, B, A), d_energies (T, B, S)
    -> d_keys (B, S, A) and, of each sentence, d_v (B, A): all steps at once, nothing kept of any."""
    row = tl.program_id(0).to(tl.int64)
    batch = tl.num_programs(0)
    s = tl.arange(0, BLOCK_S)
    a = tl.program_id(1) * BLOCK_A + tl.arange(0, BLOCK_A)
    inside = a < size
    source = (row * positions + s)[:, None]
    tile = (s < positions)[:, None] & inside[None, :]
    key = tl.load(keys + source * size + a[None, :], mask=tile, other=0.0).to(tl.float32)
    slope = tl.load(v + a, mask=inside, other=0.0).to(tl.float32)
    sum_r = tl.zeros([BLOCK_S, BLOCK_A], tl.float32)
    sum_steep = tl.zeros([BLOCK_S, BLOCK_A], tl.float32)
    for t in range(steps):
        look = t * batch + row
        query = tl.load(queries + look * size + a, mask=inside, other=0.0).to(tl.float32)
        slopes = tl.load(d_energies + look * positions + s, mask=s < positions, other=0.0)[:, None]
        r = 1.0 / (1.0 + tl.exp(2.0 * (query[None, :] + key)))
        sum_r += slopes * r
        sum_steep += slopes * (r - r * r)
    d_key = 4.0 * slope[None, :] * sum_steep
    tl.store(d_keys + source * size + a[None, :], d_key.to(d_keys.dtype.element_ty), mask=tile)
    tl.store(d_v + row * size + a, -2.0 * tl.sum(sum_r, 0), mask=inside)


def block_of_positions(positions: int) -> int:
    """How many positions a program holds: a power of two."""
    return max(16, triton.next_power_of_2(positions))


class TritonTape(LookTape):
    """e = v . tanh(q + k), with q = W_a s: AdditiveTape's numbers, with keys and memory kept in the products' type.

    keys (B, S, A), query (A, H): in the products' type; v (A,): float32
    """

    def __init__(self, memory, bias, contexts, weights, narrow, keys: Tensor, query: Tensor, v: Tensor):
        super().__init__(memory, bias, contexts, weights, narrow, keys, query, v)
        self.keys = keys
        self.query = query
        self.v = v
        self.block = block_of_positions(keys.shape[1])
        self.columns = max(1, TILE // self.block)

    def advance(self, t: int, asker: Asker) -> None:
        self._forward(torch.mm(asker.operand, self.query.t()), t, 1)

    def advance_all(self, asked: Asker) -> None:
        self._forward(torch.matmul(asked.operand, self.query.t()), 0, len(asked.operand))

    def _forward(self, queries: Tensor, first: int, steps: int) -> None:
        """queries (steps, B, A), of the looks from `first` on."""
        batch, positions, size = self.keys.shape
        look_forward[(batch, steps)](
            queries,
            self.keys,
            self.v,
            self.bias,
            self.memory,
            self.weights[first],
            self.contexts[first],
            self.operands[first],
            positions,
            size,
            self.memory.shape[2],
            NARROW=self.narrow is not None,
            BLOCK_S=self.block,
            BLOCK_A=self.columns,
            BLOCK_M=self.columns,
            num_warps=WARPS,
        )

    def start_backward(self, asked: Asker, d_contexts: Tensor, d_weights: Tensor | None) -> None:
        super().start_backward(asked, d_contexts, None if d_weights is None else d_weights.contiguous())
        self.queries = torch.matmul(asked.operand, self.query.t())
        self.d_queries = torch.empty_like(self.queries)
        self.d_energies = torch.empty_like(self.weights)

    def retreat(self, t: int, asker: Asker, d_state: Tensor) -> None:
        self._backward(t, 1)
        add_product(d_state, self.d_queries[t], self.query)

    def retreat_all(self, d_states: Tensor) -> None:
        self._backward(0, len(d_states))
        width = d_states.shape[2]
        add_product(d_states.view(-1, width), self.d_queries.flatten(0, 1), self.query)  # view: never into a copy

    def _backward(self, first: int, steps: int) -> None:
        batch, positions, size = self.keys.shape
        look_backward[(batch, steps)](
            self.d_contexts[first],
            (self.weights if self.d_weights is None else self.d_weights)[first],
            self.queries[first],
            self.keys,
            self.v,
            self.weights[first],
            self.memory,
            self.d_energies[first],
            self.d_queries[first],
            positions,
            size,
            self.memory.shape[2],
            WEIGHED=self.d_weights is not None,
            BLOCK_S=self.block,
            BLOCK_A=self.columns,
            BLOCK_M=self.columns,
            num_warps=WARPS,
        )

    def score_gradients(self) -> ScoreGradients:
        batch, positions, size = self.keys.shape
        d_keys = torch.empty_like(self.keys)
        d_v = torch.empty(batch, size, dtype=torch.float32, device=self.keys.device)
        columns = max(16, self.columns // 4)  # two sums and the keys stay in registers over all steps
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
            BLOCK_S=self.block,
            BLOCK_A=columns,
            num_warps=WARPS,
        )
        return ScoreGradients(d_keys, weight_gradient(self.d_queries, self.asked.operand), d_v.sum(0))
