"""Attention: scores, weights, context, and the state of attention.

Every score has the same three parts: ``project_keys`` (once per sentence), ``project_query`` (once per step, or for all
steps at once) and ``energies``. Queries have the shape (B, Q, .): Q is 1 for a step of greedy search, K for a step of
beam search, T if no step depends on the attention of earlier steps. The source is not copied for the queries.
"""

from enum import Enum

import torch
from torch import Tensor, nn

from nmt.attention.energies import (
    additive_energies,
    advance_centers,
    coverage_energies,
    dot_energies,
    gaussian_energies,
    location_energies,
    split_heads,
)
from nmt.attention.normalizers import Normalizer, normalize
from nmt.attention.state import AttentionOutput, AttentionState, AttentionStep, Source


class ScoreFunction(Enum):
    """The attention scores: the values of ``model.attention.score``."""

    additive = "additive"
    dot = "dot"
    scaled_dot = "scaled_dot"
    general = "general"
    concat = "concat"
    coverage = "coverage"
    location = "location"
    gaussian = "gaussian"


class Attention(nn.Module):
    """A score with its parameters. Subclasses implement the projections of keys and queries, and the energies.

    heads: the number of sums, over A / heads units each, into which the energy is split; see
    `nmt.attention.multi_head`.
    """

    size: int
    heads = 1
    normalizer = Normalizer.softmax
    uses_coverage = False  # whether energies depend on the weights of earlier steps
    position_width = 0  # of AttentionState.position

    def project_keys(self, memory: Tensor) -> Tensor:
        """memory (B, S, M) -> keys (B, S, A)."""
        raise NotImplementedError

    def project_query(self, hidden: Tensor) -> Tensor:
        """hidden (B, Q, H) -> query (B, Q, A)."""
        raise NotImplementedError

    def energies(self, query: Tensor, keys: Tensor, state: AttentionState) -> Tensor:
        """query (B, Q, A), keys (B, S, A), state (B, Q, .) -> energies (B, Q, S), or (B, Q, S, heads)."""
        raise NotImplementedError

    def normalize(self, energies: Tensor, mask: Tensor) -> Tensor:
        """energies (B, Q, S), mask (B, S) or (B, Q, S) -> weights (B, Q, S): rows sum to one, and positions where the
        mask is False get exactly 0."""
        return normalize(self.normalizer, energies, mask)

    @property
    def is_stateful(self) -> bool:
        """Whether a step depends on the attention of earlier steps; if not, all steps can be computed at once."""
        return self.uses_coverage or self.position_width > 0

    def source(self, memory: Tensor, mask: Tensor) -> Source:
        """memory (B, S, M), mask (B, S): from the encoder -> the Source, which is constant over the steps."""
        return Source(memory, self.project_keys(memory), mask)

    def initial_state(self, memory: Tensor) -> AttentionState:
        """The state before the first step, for memory (B, S, M): zeros, at least in float32, as bfloat16 cannot count
        beyond 256."""
        batch, positions, _ = memory.shape
        dtype = torch.promote_types(memory.dtype, torch.float32)
        return AttentionState(
            memory.new_zeros(batch, positions if self.uses_coverage else 0, dtype=dtype),
            memory.new_zeros(batch, self.position_width, dtype=dtype),
        )

    def next_position(self, hidden: Tensor, position: Tensor) -> Tensor:
        """hidden (N, H), position (N, P) -> the state's position after a step with this query."""
        return position

    def weights(self, hidden: Tensor, source: Source, state: AttentionState) -> Tensor:
        """As `forward` -> weights (B, Q, S), or (B, Q * heads, S)."""
        return self.normalize(self.energies(self.project_query(hidden), source.keys, state), source.mask)

    def attend(self, weights: Tensor, memory: Tensor) -> AttentionOutput:
        """weights: as `weights` returns them; memory (B, S, M) -> AttentionOutput."""
        return AttentionOutput(weights.to(memory.dtype) @ memory, weights)

    def forward(self, hidden: Tensor, source: Source, state: AttentionState) -> AttentionOutput:
        """hidden (B, Q, H): decoder states, the queries; state (B, Q, .): the state of each query ->
        AttentionOutput.
        """
        return self.attend(self.weights(hidden, source, state), source.memory)

    def step(self, hidden: Tensor, source: Source, state: AttentionState) -> AttentionStep:
        """The same for one step of N = B * K hypotheses: hidden (N, H), state (N, .) -> AttentionStep."""
        batch = len(source.mask)
        attended = self(hidden.unflatten(0, (batch, -1)), source, state.unflatten(batch))
        context, weights = (part.flatten(0, 1) for part in attended)
        coverage = state.coverage + weights if self.uses_coverage else state.coverage
        return AttentionStep(context, weights, AttentionState(coverage, self.next_position(hidden, state.position)))


class AdditiveAttention(Attention):
    """e_ij = v . tanh(W_a s_{i-1} + U_a h_j + b), where the paper has no b.  # Bahdanau et al. (2015), A.1.2"""

    def __init__(self, query_size: int, memory_size: int, size: int):
        super().__init__()
        self.size = size
        self.query = nn.Linear(query_size, size, bias=False)
        self.key = nn.Linear(memory_size, size)
        self.v = nn.Parameter(torch.empty(size))
        nn.init.uniform_(self.v, -(size**-0.5), size**-0.5)

    @property
    def v_by_head(self) -> Tensor:
        """v (A,), or for several heads (A, heads)."""
        return self.v if self.heads == 1 else split_heads(self.v, self.heads)

    def project_keys(self, memory: Tensor) -> Tensor:
        return self.key(memory)

    def project_query(self, hidden: Tensor) -> Tensor:
        return self.query(hidden)

    def energies(self, query: Tensor, keys: Tensor, state: AttentionState) -> Tensor:
        return additive_energies(query, keys, self.v_by_head)


class ConcatAttention(AdditiveAttention):
    """v . tanh(W_a [h_t; h_s]): the product with W_a is the sum of two products, without a bias.

    # Luong et al. (2015), eq. 8
    """

    def __init__(self, query_size: int, memory_size: int, size: int):
        super().__init__(query_size, memory_size, size)
        self.key = nn.Linear(memory_size, size, bias=False)


class CoverageAttention(AdditiveAttention):
    """The additive score with coverage, the sum of each position's earlier weights.  # Tu et al. (2016), 3"""

    uses_coverage = True

    def __init__(self, query_size: int, memory_size: int, size: int):
        super().__init__(query_size, memory_size, size)
        self.coverage_weight = nn.Parameter(torch.zeros(size))

    def energies(self, query: Tensor, keys: Tensor, state: AttentionState) -> Tensor:
        return coverage_energies(query, keys, state.coverage, self.coverage_weight, self.v_by_head)


class DotAttention(Attention):
    """h_t . h_s; encoder outputs and decoder states must have the same width.  # Luong et al. (2015), eq. 8"""

    name = "dot"

    def __init__(self, query_size: int, memory_size: int):
        super().__init__()
        if query_size != memory_size:
            raise ValueError(
                f"model.attention.score={self.name} multiplies decoder states ({query_size}) with encoder outputs "
                f"({memory_size}): make them equal with model.decoder.hidden={memory_size}, "
                "or use model.attention.score=general"
            )
        self.size = memory_size

    def project_keys(self, memory: Tensor) -> Tensor:
        return memory

    def project_query(self, hidden: Tensor) -> Tensor:
        return hidden

    def energies(self, query: Tensor, keys: Tensor, state: AttentionState) -> Tensor:
        return dot_energies(query, keys, self.heads)


class ScaledDotAttention(DotAttention):
    """h_t . h_s / sqrt(H): keeps the energies of wide states in the softmax's range.  # Vaswani et al. (2017), eq. 1"""

    name = "scaled_dot"

    def project_query(self, hidden: Tensor) -> Tensor:
        return hidden * (self.size // self.heads) ** -0.5


class GeneralAttention(Attention):
    """h_t W_a h_s; W_a is applied to the encoder outputs, once per sentence.  # Luong et al. (2015), eq. 8"""

    def __init__(self, query_size: int, memory_size: int):
        super().__init__()
        self.size = query_size
        self.key = nn.Linear(memory_size, query_size, bias=False)

    def project_keys(self, memory: Tensor) -> Tensor:
        return self.key(memory)

    def project_query(self, hidden: Tensor) -> Tensor:
        return hidden

    def energies(self, query: Tensor, keys: Tensor, state: AttentionState) -> Tensor:
        return dot_energies(query, keys, self.heads)


class PositionAttention(Attention):
    """A score of query and position that does not depend on the encoder outputs: keys have width 0."""

    def __init__(self, query_size: int, width: int):
        super().__init__()
        self.size = 0
        self.query = nn.Linear(query_size, width)

    def project_keys(self, memory: Tensor) -> Tensor:
        return memory[..., :0]

    def project_query(self, hidden: Tensor) -> Tensor:
        return self.query(hidden)


class LocationAttention(PositionAttention):
    """softmax(W_a h_t + b), where the paper has no b: an energy for each of the first `positions` positions; later ones
    get no weight.

    # Luong et al. (2015), 3.1
    """

    def __init__(self, query_size: int, positions: int):
        super().__init__(query_size, positions)

    def energies(self, query: Tensor, keys: Tensor, state: AttentionState) -> Tensor:
        return location_energies(query, keys.shape[1])


class GaussianAttention(PositionAttention):
    """A sum of K Gaussians over positions, whose centers only move forward, normalized over the real positions.

    # Graves (2013), eq. 46-51, where the sum is not normalized
    """

    def __init__(self, query_size: int, gaussians: int):
        super().__init__(query_size, 3 * gaussians)
        self.position_width = gaussians

    def energies(self, query: Tensor, keys: Tensor, state: AttentionState) -> Tensor:
        importance, sharpness, steps = query.chunk(3, -1)
        return gaussian_energies(importance, sharpness, advance_centers(state.position, steps), keys.shape[1])

    def next_position(self, hidden: Tensor, position: Tensor) -> Tensor:
        return advance_centers(position, self.query(hidden).chunk(3, -1)[2])


def build_attention(score: ScoreFunction, query_size: int, memory_size: int, size: int) -> Attention:
    """The module for `score`. size: A of additive, concat and coverage; the number of positions of location; the number
    of Gaussians of gaussian; unused by the other scores."""
    match score:
        case ScoreFunction.additive:
            return AdditiveAttention(query_size, memory_size, size)
        case ScoreFunction.concat:
            return ConcatAttention(query_size, memory_size, size)
        case ScoreFunction.coverage:
            return CoverageAttention(query_size, memory_size, size)
        case ScoreFunction.dot:
            return DotAttention(query_size, memory_size)
        case ScoreFunction.scaled_dot:
            return ScaledDotAttention(query_size, memory_size)
        case ScoreFunction.general:
            return GeneralAttention(query_size, memory_size)
        case ScoreFunction.location:
            return LocationAttention(query_size, size)
        case ScoreFunction.gaussian:
            return GaussianAttention(query_size, size)
        case _:
            raise ValueError(f"model.attention.score={score}: legal are {', '.join(s.value for s in ScoreFunction)}")
