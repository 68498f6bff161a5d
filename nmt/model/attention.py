"""Attention scores, masked softmax and context.

Every score has the same three parts: ``project_keys`` (once a sentence), ``project_query`` (once a step, or for all
steps at once) and ``energies``. Queries come as (B, Q, .): Q is 1 for a step of greedy search, K for a step of beam
search, T when nothing recurs through attention; the source is never copied for them.
"""

from enum import Enum
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Source(NamedTuple):
    """What stays the same over the steps of decoding a batch.

    memory (B, S, M): encoder outputs; keys (B, S, A): what queries are matched with; mask (B, S): True on real tokens.
    """

    memory: Tensor
    keys: Tensor
    mask: Tensor

    def select(self, rows: Tensor) -> "Source":
        """The source of the sentences `rows` (R,) alone."""
        return Source(*(field.index_select(0, rows) for field in self))


class AttentionOutput(NamedTuple):
    """What attention returns: context (B, Q, M) and weights (B, Q, S), each row of which sums to one."""

    context: Tensor
    weights: Tensor


class ScoreFunction(Enum):
    """The closed list of attention scores; the values are the words of ``model.attention.score``."""

    additive = "additive"
    dot = "dot"
    scaled_dot = "scaled_dot"
    general = "general"
    concat = "concat"
    coverage = "coverage"


# Energies are at least float32, whatever autocast says: what bfloat16 rounds off an energy of 16 changes a weight by a
# twentieth.


def additive_energies(query: Tensor, keys: Tensor, v: Tensor) -> Tensor:
    """query (B, Q, A), keys (B, S, A), v (A,) -> (B, Q, S): v . tanh(query + key).  # Bahdanau et al. (2015), A.1.2"""
    query, keys, v = _wide(query, keys, v)
    with torch.autocast(query.device.type, enabled=False):
        return torch.tanh(query.unsqueeze(2) + keys.unsqueeze(1)) @ v


def coverage_energies(query: Tensor, keys: Tensor, coverage: Tensor, coverage_weight: Tensor, v: Tensor) -> Tensor:
    """The additive score with coverage (B, Q, S), the sum of earlier weights, coverage_weight (A,): v . tanh(query +
    key + coverage cover).

    # Tu et al. (2016), 3: their linguistic coverage, each word's fertility being one
    """
    query, keys, coverage, coverage_weight, v = _wide(query, keys, coverage, coverage_weight, v)
    with torch.autocast(query.device.type, enabled=False):
        return torch.tanh(query.unsqueeze(2) + keys.unsqueeze(1) + coverage.unsqueeze(3) * coverage_weight) @ v


def dot_energies(query: Tensor, keys: Tensor) -> Tensor:
    """query (B, Q, A), keys (B, S, A) -> (B, Q, S): the inner products.  # Luong et al. (2015), eq. 8"""
    query, keys = _wide(query, keys)
    with torch.autocast(query.device.type, enabled=False):
        return query @ keys.transpose(1, 2)


def _wide(*tensors: Tensor) -> list[Tensor]:
    """Each in its type, or in float32 if that is narrower."""
    return [tensor.to(torch.promote_types(tensor.dtype, torch.float32)) for tensor in tensors]


def masked_softmax(energies: Tensor, mask: Tensor) -> Tensor:
    """energies (B, Q, S), mask (B, S) -> weights (B, Q, S), at least float32: rows sum to one, padding gets exactly 0.

    Every sentence has at least its end-of-sentence token, so no row is masked whole.
    """
    energies = energies.to(torch.promote_types(energies.dtype, torch.float32))
    return energies.masked_fill(~mask.unsqueeze(1), float("-inf")).softmax(-1)


class Attention(nn.Module):
    """A score with its weights. Subclasses say how keys and queries are made and matched."""

    size: int
    uses_coverage = False  # whether energies depend on the weights of earlier steps

    def project_keys(self, memory: Tensor) -> Tensor:
        """memory (B, S, M) -> keys (B, S, A)."""
        raise NotImplementedError

    def project_query(self, hidden: Tensor) -> Tensor:
        """hidden (B, Q, H) -> query (B, Q, A)."""
        raise NotImplementedError

    def energies(self, query: Tensor, keys: Tensor, coverage: Tensor) -> Tensor:
        """query (B, Q, A), keys (B, S, A), coverage as in `forward` -> energies (B, Q, S)."""
        raise NotImplementedError

    def initial_coverage(self, memory: Tensor) -> Tensor:
        """`coverage` before the first step, of memory (B, S, M): (B, S) zeros, or (B, 0) for a score without
        coverage."""
        return memory.new_zeros(memory.shape[:2]) if self.uses_coverage else memory.new_zeros(len(memory), 0)

    def update_coverage(self, coverage: Tensor, weights: Tensor) -> Tensor:
        """`coverage` after a step with these weights, (N, S) both."""
        return coverage + weights if self.uses_coverage else coverage

    def forward(self, hidden: Tensor, source: Source, coverage: Tensor) -> AttentionOutput:
        """hidden (B, Q, H): the queries, decoder states -> AttentionOutput.

        coverage (B, Q, S): the sum of each one's weights in the steps before; (B, Q, 0) for a score without coverage.
        """
        weights = masked_softmax(self.energies(self.project_query(hidden), source.keys, coverage), source.mask)
        return AttentionOutput(weights.to(source.memory.dtype) @ source.memory, weights)

    def step(self, hidden: Tensor, source: Source, coverage: Tensor) -> AttentionOutput:
        """The same for one step of N = B * K hypotheses: hidden (N, H), coverage (N, S or 0) -> context (N, M), weights
        (N, S)."""
        rows = (len(source.mask), len(hidden) // len(source.mask))
        attended = self(hidden.unflatten(0, rows), source, coverage.unflatten(0, rows))
        return AttentionOutput(*(part.flatten(0, 1) for part in attended))


class AdditiveAttention(Attention):
    """e_ij = v . tanh(W_a s_{i-1} + U_a h_j).  # Bahdanau et al. (2015), A.1.2"""

    def __init__(self, query_size: int, memory_size: int, size: int):
        super().__init__()
        self.size = size
        self.query = nn.Linear(query_size, size, bias=False)
        self.key = nn.Linear(memory_size, size)
        self.v = nn.Parameter(torch.empty(size))
        nn.init.uniform_(self.v, -(size**-0.5), size**-0.5)

    def project_keys(self, memory: Tensor) -> Tensor:
        return self.key(memory)

    def project_query(self, hidden: Tensor) -> Tensor:
        return self.query(hidden)

    def energies(self, query: Tensor, keys: Tensor, coverage: Tensor) -> Tensor:
        return additive_energies(query, keys, self.v)


class ConcatAttention(AdditiveAttention):
    """v . tanh(W_a [h_t; h_s]): one matrix over both is two matrices added, without a bias.

    # Luong et al. (2015), eq. 8
    """

    def __init__(self, query_size: int, memory_size: int, size: int):
        super().__init__(query_size, memory_size, size)
        self.key = nn.Linear(memory_size, size, bias=False)


class CoverageAttention(AdditiveAttention):
    """The additive score with coverage: it knows the sum of each position's earlier weights.  # Tu et al. (2016), 3"""

    uses_coverage = True

    def __init__(self, query_size: int, memory_size: int, size: int):
        super().__init__(query_size, memory_size, size)
        self.coverage_weight = nn.Parameter(torch.zeros(size))

    def energies(self, query: Tensor, keys: Tensor, coverage: Tensor) -> Tensor:
        return coverage_energies(query, keys, coverage, self.coverage_weight, self.v)


class DotAttention(Attention):
    """h_t . h_s; the encoder's output must be as wide as the decoder's state.  # Luong et al. (2015), eq. 8"""

    def __init__(self, query_size: int, memory_size: int):
        super().__init__()
        if query_size != memory_size:
            raise ValueError(
                f"model.attention.score=dot multiplies decoder states ({query_size}) with encoder outputs "
                f"({memory_size}): make them equal with model.decoder.hidden={memory_size}, "
                "or use model.attention.score=general"
            )
        self.size = memory_size

    def project_keys(self, memory: Tensor) -> Tensor:
        return memory

    def project_query(self, hidden: Tensor) -> Tensor:
        return hidden

    def energies(self, query: Tensor, keys: Tensor, coverage: Tensor) -> Tensor:
        return dot_energies(query, keys)


class ScaledDotAttention(DotAttention):
    """h_t . h_s / sqrt(H): keeps the energies of wide states in the softmax's range.  # Vaswani et al. (2017), eq. 1"""

    def project_query(self, hidden: Tensor) -> Tensor:
        return hidden * hidden.shape[-1] ** -0.5


class GeneralAttention(Attention):
    """h_t W_a h_s; W_a is applied to the encoder's side, once a sentence.  # Luong et al. (2015), eq. 8"""

    def __init__(self, query_size: int, memory_size: int):
        super().__init__()
        self.size = query_size
        self.key = nn.Linear(memory_size, query_size, bias=False)

    def project_keys(self, memory: Tensor) -> Tensor:
        return self.key(memory)

    def project_query(self, hidden: Tensor) -> Tensor:
        return hidden

    def energies(self, query: Tensor, keys: Tensor, coverage: Tensor) -> Tensor:
        return dot_energies(query, keys)


def build_attention(score: ScoreFunction, query_size: int, memory_size: int, size: int) -> Attention:
    """The module for `score`; `size` (A) is used by additive, concat and coverage alone."""
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
        case _:
            raise ValueError(f"model.attention.score={score}: legal are {', '.join(s.value for s in ScoreFunction)}")
