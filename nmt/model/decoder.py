"""Three decoders, a short class each: Bahdanau looks, then updates; Luong updates, then looks; the third has one fixed vector.

All share one seam: ``source`` and ``start`` open a batch, ``step`` advances N = B * K hypotheses by a token (row n reads
source n // K, which is never copied), ``features`` runs a whole target with everything that does not recur outside the
loop. Both end in features (., R), the input of the vocabulary product.
"""

from enum import Enum
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from nmt.data.symbols import PAD
from nmt.model import recurrence
from nmt.model.attention import AdditiveAttention, Attention, Look, Source
from nmt.model.cells import CellKind, build_cell, run_cell
from nmt.model.encoder import Encoded


class Start(Enum):
    """What the decoder's first state is made of, through a bridge tanh(W x + b); the words of ``model.decoder.start``."""

    zero = "zero"
    last = "last"
    mean = "mean"
    backward_first = "backward_first"


class State(NamedTuple):
    """What changes over the steps, for N hypotheses.

    layers: the cells' states, (N, state_size) each; attentional (N, H): Luong's h~, of width 0 where nothing is fed.
    """

    layers: tuple[Tensor, ...]
    attentional: Tensor

    def select(self, rows: Tensor) -> "State":
        """The state of the hypotheses `rows` (R,) alone, in that order."""
        return State(
            tuple(layer.index_select(0, rows) for layer in self.layers), self.attentional.index_select(0, rows)
        )


class Step(NamedTuple):
    """features (N, R), the next state, weights (N, S)."""

    features: Tensor
    state: State
    weights: Tensor


class Features(NamedTuple):
    """features (B, T, R), weights (B, T, S)."""

    features: Tensor
    weights: Tensor


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


class Maxout(torch.autograd.Function):
    """(..., 2 l) -> (..., l): the larger of j and j + l. Keeps one bit a pair for the backward, not the pairs."""

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

    Unit j is paired with unit j + size: the paper's neighbours, numbered so that both halves lie together in memory.
    """

    def __init__(self, hidden: int, embedding: int, memory: int, size: int):
        super().__init__()
        self.state = nn.Linear(hidden, 2 * size)
        self.word = nn.Linear(embedding, 2 * size, bias=False)
        self.context = nn.Linear(memory, 2 * size, bias=False)

    def forward(self, hidden: Tensor, embedded: Tensor, context: Tensor) -> Tensor:
        """(..., H), (..., E), (..., M) -> (..., size)."""
        pairs = self.state(hidden) + self.word(embedded) + self.context(context)
        return Maxout.apply(pairs)


class Decoder(nn.Module):
    """What the three share: the target embedding and a stack of cells."""

    has_attention = True
    features_size: int

    def __init__(self, vocabulary: int, embedding: int, hidden: int, layers: int, cell: CellKind, dropout: float):
        super().__init__()
        self.hidden = hidden
        self.embedding = nn.Embedding(vocabulary, embedding, padding_idx=PAD)
        self.dropout = nn.Dropout(dropout)
        self.cell = build_cell(cell, embedding, hidden)
        self.upper = nn.ModuleList(build_cell(cell, hidden, hidden) for _ in range(layers - 1))

    @property
    def state_sizes(self) -> list[int]:
        return [cell.state_size for cell in (self.cell, *self.upper)]

    def source(self, encoded: Encoded) -> Source:
        """What stays the same over the steps."""
        raise NotImplementedError

    def start(self, encoded: Encoded) -> State:
        """The state before the first step."""
        raise NotImplementedError

    def step(self, tokens: Tensor, state: State, source: Source) -> Step:
        """tokens (N,): the last words -> Step."""
        raise NotImplementedError

    def features(self, tgt_in: Tensor, state: State, source: Source) -> Features:
        """tgt_in (B, T) -> Features: the numbers of T calls of `step`, faster."""
        raise NotImplementedError

    def _climb(self, state: Tensor, layers: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """One step of the upper cells over the bottom cell's new `state` -> all new states, bottom first."""
        states = [state]
        below: nn.Module = self.cell
        for cell, old in zip(self.upper, layers[1:], strict=True):
            states.append(cell(cell.project(self.dropout(below.output(states[-1]))), old))
            below = cell
        return tuple(states)

    def _top(self, states: Tensor, layers: tuple[Tensor, ...]) -> Tensor:
        """The upper cells over all steps of the bottom cell: states (B, T, state_size) -> the top's (B, T, state_size)."""
        below = self.cell
        for cell, start in zip(self.upper, layers[1:], strict=True):
            states = run_cell(cell, cell.project(self.dropout(below.output(states))), start)
            below = cell
        return states

    def _climb_fast(self, states: Tensor, layers: tuple[Tensor, ...]) -> Tensor:
        """As `_top`, time-major and with the state before the first step: states (T + 1, B, state_size) -> (T + 1, B, H)."""
        below = self.cell
        for cell, start in zip(self.upper, layers[1:], strict=True):
            states = recurrence.run(cell, cell.project(self.dropout(below.output(states[1:]))), start)
            below = cell
        return below.output(states)


def before(start: Tensor, states: Tensor) -> Tensor:
    """start (B, X), states (B, T, X) -> the states before each step (B, T, X)."""
    return torch.cat((start.unsqueeze(1), states[:, :-1]), 1)


class BahdanauDecoder(Decoder):
    """Looks, then updates: attention asks with s_{i-1}, the context enters the gates.  # Bahdanau et al. (2015), A.1, A.2.2

    With more than one layer the bottom layer asks and takes the context, and the readout reads the top layer.
    """

    def __init__(
        self,
        vocabulary: int,
        *,
        embedding: int,
        hidden: int,
        readout: int,
        memory: int,
        attention: Attention,
        bridge: Bridge,
        layers: int = 1,
        cell: CellKind = CellKind.gru,
        dropout: float = 0.0,
    ):
        super().__init__(vocabulary, embedding, hidden, layers, cell, dropout)
        self.features_size = readout
        self.attention = attention
        self.bridge = bridge
        self.context = nn.Linear(memory, self.cell.gates * hidden, bias=False)
        self.readout = MaxoutReadout(hidden, embedding, memory, readout)

    def source(self, encoded: Encoded) -> Source:
        return Source(encoded.memory, self.attention.project_keys(encoded.memory), encoded.mask)

    def start(self, encoded: Encoded) -> State:
        return State(self.bridge(encoded), encoded.memory.new_zeros(len(encoded.memory), 0))

    def step(self, tokens: Tensor, state: State, source: Source) -> Step:
        embedded = self.embedding(tokens)
        look = self._look(state.layers[0], source)
        top = (self.cell, *self.upper)[-1].output(state.layers[-1])
        features = self.readout(top, embedded, look.context)
        bottom = self.cell(self.cell.project(embedded) + self.context(look.context), state.layers[0])
        return Step(features, State(self._climb(bottom, state.layers), state.attentional), look.weights)

    def features(self, tgt_in: Tensor, state: State, source: Source) -> Features:
        if recurrence.is_fast(self.cell, self.attention):
            return self._features_fast(tgt_in, state, source)
        embedded = self.dropout(self.embedding(tgt_in))
        bottom, looks, states = state.layers[0], [], []
        for projected in self.cell.project(embedded).unbind(1):
            looks.append(self._look(bottom, source))
            bottom = self.cell(projected + self.context(looks[-1].context), bottom)
            states.append(bottom)
        contexts, weights = (torch.stack(part, 1) for part in zip(*looks, strict=True))
        top = before(state.layers[-1], self._top(torch.stack(states, 1), state.layers))
        hidden = (self.cell, *self.upper)[-1].output(top)
        return Features(self.dropout(self.readout(hidden, embedded, contexts)), weights)

    def _features_fast(self, tgt_in: Tensor, state: State, source: Source) -> Features:
        """The same, time-major inside: step t of every buffer lies together in memory."""
        embedded = self.dropout(self.embedding(tgt_in.t()))
        looked = recurrence.look_then_update(
            *(self.cell, self.attention, self.context.weight, self.cell.project(embedded), state.layers[0], source)
        )
        hidden = self._climb_fast(looked.states, state.layers)[:-1]
        features = self.dropout(self.readout(hidden, embedded, looked.contexts))
        return Features(features.transpose(0, 1), looked.weights.transpose(0, 1))

    def _look(self, state: Tensor, source: Source) -> Look:
        """state (N, state_size), N = B * K -> context (N, M), weights (N, S)."""
        hidden = self.cell.output(state).unflatten(0, (len(source.mask), -1))
        return Look(*(part.flatten(0, 1) for part in self.attention(hidden, source)))


class LuongDecoder(Decoder):
    """Updates, then looks: h_t asks, h~_t = tanh(W_c [c_t; h_t]) is the feature.  # Luong et al. (2015), eq. 5 and 3.3

    With input feeding h~_{t-1} enters the bottom cell; without, nothing recurs through attention and all steps are one
    product. The top layer asks.
    """

    def __init__(
        self,
        vocabulary: int,
        *,
        embedding: int,
        hidden: int,
        memory: int,
        attention: Attention,
        bridge: Bridge,
        layers: int = 1,
        cell: CellKind = CellKind.lstm,
        input_feeding: bool = True,
        dropout: float = 0.0,
    ):
        super().__init__(vocabulary, embedding, hidden, layers, cell, dropout)
        self.features_size = hidden
        self.attention = attention
        self.bridge = bridge
        self.fed = nn.Linear(hidden, self.cell.gates * hidden, bias=False) if input_feeding else None
        self.combine = nn.Linear(memory + hidden, hidden, bias=False)

    def source(self, encoded: Encoded) -> Source:
        return Source(encoded.memory, self.attention.project_keys(encoded.memory), encoded.mask)

    def start(self, encoded: Encoded) -> State:
        width = self.hidden if self.fed is not None else 0
        return State(self.bridge(encoded), encoded.memory.new_zeros(len(encoded.memory), width))

    def step(self, tokens: Tensor, state: State, source: Source) -> Step:
        return self._advance(self.cell.project(self.embedding(tokens)), state, source)

    def features(self, tgt_in: Tensor, state: State, source: Source) -> Features:
        if recurrence.is_fast(self.cell, self.attention):
            return self._features_fast(tgt_in, state, source)
        projected = self.cell.project(self.dropout(self.embedding(tgt_in)))
        if self.fed is None:
            top = self._top(run_cell(self.cell, projected, state.layers[0]), state.layers)
            hidden = (self.cell, *self.upper)[-1].output(top)
            look = self.attention(hidden, source)
            return Features(self.dropout(self._combine(look.context, hidden)), look.weights)
        steps = []
        for inputs in projected.unbind(1):
            steps.append(self._advance(inputs, state, source))
            state = steps[-1].state
        return Features(
            self.dropout(torch.stack([step.features for step in steps], 1)),
            torch.stack([step.weights for step in steps], 1),
        )

    def _features_fast(self, tgt_in: Tensor, state: State, source: Source) -> Features:
        """The same, time-major inside."""
        projected = self.cell.project(self.dropout(self.embedding(tgt_in.t())))
        if self.fed is not None:
            attentional, weights = recurrence.update_then_look(
                *((self.cell, *self.upper), self.attention, self.fed.weight, self.combine.weight),
                *(projected, state.layers, state.attentional, source),
                self.dropout.p if self.training else 0.0,
            )
            return Features(self.dropout(attentional).transpose(0, 1), weights.transpose(0, 1))
        states = recurrence.run(self.cell, projected, state.layers[0])
        hidden = self._climb_fast(states, state.layers)[1:]
        if isinstance(self.attention, AdditiveAttention):
            context, weights = recurrence.look_at_once(self.attention, hidden, source)
            features = self._combine(context, hidden).transpose(0, 1)
            return Features(self.dropout(features), weights.transpose(0, 1))
        look = self.attention(hidden.transpose(0, 1), source)
        return Features(self.dropout(self._combine(look.context, hidden.transpose(0, 1))), look.weights)

    def _advance(self, projected: Tensor, state: State, source: Source) -> Step:
        """projected (N, gates * H): the word's part of the gates."""
        if self.fed is not None:
            projected = projected + self.fed(state.attentional)
        layers = self._climb(self.cell(projected, state.layers[0]), state.layers)
        hidden = (self.cell, *self.upper)[-1].output(layers[-1]).unflatten(0, (len(source.mask), -1))
        look = self.attention(hidden, source)
        features = self._combine(look.context, hidden).flatten(0, 1)
        attentional = features if self.fed is not None else state.attentional
        return Step(features, State(layers, attentional), look.weights.flatten(0, 1))

    def _combine(self, context: Tensor, hidden: Tensor) -> Tensor:
        return torch.tanh(self.combine(torch.cat((context, hidden), -1))).to(hidden.dtype)


class FixedVectorDecoder(Decoder):
    """RNNencdec, the baseline without attention: c is the last state of a forward encoder, at every step.

    # Cho et al. (2014); Bahdanau et al. (2015), 5.1. Nothing recurs but the cell.
    """

    has_attention = False

    def __init__(
        self,
        vocabulary: int,
        *,
        embedding: int,
        hidden: int,
        readout: int,
        memory: int,
        bridge: Bridge,
        layers: int = 1,
        cell: CellKind = CellKind.gru,
        dropout: float = 0.0,
    ):
        super().__init__(vocabulary, embedding, hidden, layers, cell, dropout)
        self.features_size = readout
        self.bridge = bridge
        self.context = nn.Linear(memory, self.cell.gates * hidden, bias=False)
        self.readout = MaxoutReadout(hidden, embedding, memory, readout)

    def source(self, encoded: Encoded) -> Source:
        """The memory is one position, the fixed vector (B, 1, M); there are no keys and nothing to look at."""
        vector = torch.cat((encoded.forward_last, encoded.backward_first), 1).unsqueeze(1)
        return Source(vector, vector[:, :, :0], encoded.mask[:, :0])

    def start(self, encoded: Encoded) -> State:
        return State(self.bridge(encoded), encoded.memory.new_zeros(len(encoded.memory), 0))

    def step(self, tokens: Tensor, state: State, source: Source) -> Step:
        embedded = self.embedding(tokens)
        context = source.memory.expand(-1, len(tokens) // len(source.memory), -1).flatten(0, 1)
        top = (self.cell, *self.upper)[-1].output(state.layers[-1])
        features = self.readout(top, embedded, context)
        bottom = self.cell(self.cell.project(embedded) + self.context(context), state.layers[0])
        layers = self._climb(bottom, state.layers)
        return Step(features, State(layers, state.attentional), features.new_zeros(len(tokens), 0))

    def features(self, tgt_in: Tensor, state: State, source: Source) -> Features:
        if recurrence.is_fast(self.cell):
            return self._features_fast(tgt_in, state, source)
        embedded = self.dropout(self.embedding(tgt_in))
        projected = self.cell.project(embedded) + self.context(source.memory)
        top = before(state.layers[-1], self._top(run_cell(self.cell, projected, state.layers[0]), state.layers))
        hidden = (self.cell, *self.upper)[-1].output(top)
        features = self.dropout(self.readout(hidden, embedded, source.memory))
        return Features(features, features.new_zeros(*tgt_in.shape, 0))

    def _features_fast(self, tgt_in: Tensor, state: State, source: Source) -> Features:
        """The same, time-major inside."""
        embedded = self.dropout(self.embedding(tgt_in.t()))
        context = source.memory.transpose(0, 1)
        projected = self.cell.project(embedded) + self.context(context)
        hidden = self._climb_fast(recurrence.run(self.cell, projected, state.layers[0]), state.layers)[:-1]
        features = self.dropout(self.readout(hidden, embedded, context)).transpose(0, 1)
        return Features(features, features.new_zeros(*tgt_in.shape, 0))
