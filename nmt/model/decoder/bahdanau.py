"""The decoder of Bahdanau, Cho and Bengio (2015): the query is the previous state."""

import torch
from torch import Tensor, nn

from nmt.acceleration import fused
from nmt.model.attention import Attention, AttentionOutput, Source
from nmt.model.cells import CellKind
from nmt.model.decoder.bridge import Bridge
from nmt.model.decoder.interface import Decoder, Features, State, Step
from nmt.model.decoder.readout import MaxoutReadout
from nmt.model.encoder import EncoderOutput


class BahdanauDecoder(Decoder):
    """Attends, then updates: the query is the previous state s_{i-1}, the context enters the gates.

    # Bahdanau et al. (2015), A.1 and A.2.2
    With more than one layer the bottom layer asks and takes the context, and the readout reads the top layer.
    """

    def __init__(
        self,
        vocab_size: int,
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
        super().__init__(vocab_size, embedding, hidden, layers, cell, dropout)
        self.features_size = readout
        self.attention = attention
        self.bridge = bridge
        self.context = nn.Linear(memory, self.cell.gates * hidden, bias=False)
        self.readout = MaxoutReadout(hidden, embedding, memory, readout)

    def source(self, encoded: EncoderOutput) -> Source:
        return Source(encoded.memory, self.attention.project_keys(encoded.memory), encoded.mask)

    def init_state(self, encoded: EncoderOutput) -> State:
        return State(
            self.bridge(encoded),
            encoded.memory.new_zeros(len(encoded.memory), 0),
            self.attention.initial_coverage(encoded.memory),
        )

    def step(self, tokens: Tensor, state: State, source: Source) -> Step:
        embedded = self.embedding(tokens)
        attended = self._attend(state.layers[0], source, state.coverage)
        top = self.cells[-1].output(state.layers[-1])
        features = self.readout(top, embedded, attended.context)
        bottom = self.cell(self.cell.project(embedded) + self.context(attended.context), state.layers[0])
        coverage = self.attention.update_coverage(state.coverage, attended.weights)
        return Step(
            features,
            State(self._step_upper_layers(bottom, state.layers), state.attentional, coverage),
            attended.weights,
        )

    def features(self, tgt_in: Tensor, state: State, source: Source) -> Features:
        embedded = self.dropout(self.embedding(tgt_in.t()))  # time-major from here: a step's numbers lie together
        projected, start = self.cell.project(embedded), state.layers[0]
        if fused.is_fast(self.cell, self.attention):
            outputs = fused.bahdanau_loop(self.cell, self.attention, self.context.weight, projected, start, source)
        else:
            outputs = self._reference_loop(projected, state, source)
        hidden = self._run_upper_layers(self.cell.output(outputs.states), state.layers)[:-1]
        features = self.dropout(self.readout(hidden, embedded, outputs.contexts))
        return Features(features.transpose(0, 1), outputs.weights.transpose(0, 1))

    def _reference_loop(self, projected: Tensor, state: State, source: Source) -> fused.BahdanauOutputs:
        """The loop as it reads: projected (T, B, gates * H)."""
        states, attended, coverage = [state.layers[0]], [], state.coverage
        for projected_step in projected:
            attended.append(self._attend(states[-1], source, coverage))
            coverage = self.attention.update_coverage(coverage, attended[-1].weights)
            states.append(self.cell(projected_step + self.context(attended[-1].context), states[-1]))
        contexts, weights = (torch.stack(part) for part in zip(*attended, strict=True))
        return fused.BahdanauOutputs(torch.stack(states), contexts, weights)

    def _attend(self, state: Tensor, source: Source, coverage: Tensor) -> AttentionOutput:
        """state (N, state_size), coverage (N, S or 0), N = B * K -> context (N, M), weights (N, S)."""
        rows = (len(source.mask), len(state) // len(source.mask))
        attended = self.attention(self.cell.output(state).unflatten(0, rows), source, coverage.unflatten(0, rows))
        return AttentionOutput(*(part.flatten(0, 1) for part in attended))
