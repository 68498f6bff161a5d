"""The decoder of Bahdanau, Cho and Bengio (2015): the query is the previous state."""

from typing import NamedTuple

from torch import Tensor, nn

from nmt.model.attention import Attention, Source
from nmt.model.cells import CellKind
from nmt.model.decoder.bridge import Bridge
from nmt.model.decoder.interface import Decoder, Features, Step, select_rows
from nmt.model.decoder.readout import MaxoutReadout
from nmt.model.encoder import EncoderOutput


class BahdanauState(NamedTuple):
    """layers: the cells' states, (N, state_size) each; coverage (N, S): the sum of the weights so far, of width 0 where
    the score has none."""

    layers: tuple[Tensor, ...]
    coverage: Tensor

    def select(self, rows: Tensor) -> "BahdanauState":
        return BahdanauState(select_rows(self.layers, rows), self.coverage.index_select(0, rows))

    def for_single_position(self) -> "BahdanauState":
        return self._replace(coverage=self.coverage[:, :1])


class BahdanauDecoder(Decoder[BahdanauState]):
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

    def init_state(self, encoded: EncoderOutput) -> BahdanauState:
        return BahdanauState(self.bridge(encoded), self.attention.initial_coverage(encoded.memory))

    def step(self, tokens: Tensor, state: BahdanauState, source: Source) -> Step:
        embedded = self.embedding(tokens)
        attended = self.attention.step(self.cell.output(state.layers[0]), source, state.coverage)
        top = self.cells[-1].output(state.layers[-1])
        features = self.readout(top, self.readout.word(embedded), attended.context)
        bottom = self.cell(self.cell.project(embedded) + self.context(attended.context), state.layers[0])
        coverage = self.attention.update_coverage(state.coverage, attended.weights)
        layers = self._step_upper_layers(bottom, state.layers)
        return Step(features, BahdanauState(layers, coverage), attended.weights)

    def features(self, tgt_in: Tensor, state: BahdanauState, source: Source) -> Features:
        embedded = self.dropout(
            self.embedding(tgt_in, time_major=True)
        )  # time-major from here: a step's numbers lie together
        projected = self.loops.linear(self.cell.project, embedded)
        outputs = self.loops.bahdanau(
            self.cell.drawn(), self.attention, self.context, projected, state.layers[0], source
        )
        hidden = self._run_upper_layers(self.cell.output(outputs.states), state.layers)[:-1]
        features = self.readout(hidden, self.loops.linear(self.readout.word, embedded), outputs.contexts)
        features = self.dropout(features)
        return Features(features.transpose(0, 1), outputs.weights.transpose(0, 1))
