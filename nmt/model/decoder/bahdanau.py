"""The decoder of Bahdanau, Cho and Bengio (2015): the query is the previous state."""

from typing import NamedTuple

from torch import Tensor

from nmt.attention.scores import Attention, AttentionState, Source
from nmt.layers.readout import Maxout, MaxoutReadout
from nmt.model.decoder.bridge import Bridge
from nmt.model.decoder.interface import DecoderSizes, Features, RecurrentDecoder, Step, select_rows
from nmt.model.encoder import EncoderOutput


class BahdanauState(NamedTuple):
    """layers: the cells' states, (N, state_size) each; attention: the state of attention."""

    layers: tuple[Tensor, ...]
    attention: AttentionState

    def select(self, rows: Tensor) -> "BahdanauState":
        return BahdanauState(select_rows(self.layers, rows), self.attention.select(rows))

    def for_single_position(self) -> "BahdanauState":
        return self._replace(attention=self.attention.for_single_position())


class BahdanauDecoder(RecurrentDecoder[BahdanauState]):
    """Attends, then updates the state: the query is the previous state s_{i-1}, and the context is an input of the
    gates.

    # Bahdanau et al. (2015), A.1 and A.2.2
    With several layers the state of the bottom layer is the query, the bottom layer reads the context, and the readout
    reads the top layer. With context_to_layers the upper layers read the context too.  # Wu et al. (2016), 3
    """

    def __init__(self, sizes: DecoderSizes, *, attention: Attention, bridge: Bridge):
        super().__init__(sizes, context_width=sizes.memory if sizes.context_to_layers else 0)
        self.features_size = sizes.readout
        self.attention = attention
        self.bridge = bridge
        self.context = self.cell.input_linear(sizes.memory)
        self.readout = MaxoutReadout(sizes.hidden, sizes.embedding, sizes.memory, sizes.readout)

    def source(self, encoded: EncoderOutput) -> Source:
        return self.attention.source(encoded.memory, encoded.mask)

    def init_state(self, encoded: EncoderOutput) -> BahdanauState:
        return BahdanauState(self.bridge(encoded), self.attention.initial_state(encoded.memory))

    def step(self, tokens: Tensor, state: BahdanauState, source: Source) -> Step:
        embedded = self.embedding(tokens)
        attended = self.attention.step(self.cell.output(state.layers[0]), source, state.attention)
        top = self._output(state.layers)
        word = self.readout.word(embedded)
        features = self.readout.without_context(top, word) if self.hard else self.readout(top, word, attended.context)
        bottom = self.cell.step(self.cell.project(embedded) + self.context(attended.context), state.layers[0])
        layers = self._step_upper_layers(bottom, state.layers, attended.context)
        return Step(features, BahdanauState(layers, attended.state), attended.weights)

    def features(self, tgt_in: Tensor, state: BahdanauState, source: Source) -> Features:
        embedded = self.dropout(
            self.embedding(tgt_in, time_major=True)
        )  # time-major from here: the numbers of a step are contiguous
        projected = self.loops.linear(self.cell.project, embedded)
        outputs = self.loops.bahdanau(
            self.cell.drawn(), self.attention, self.context, projected, state.layers[0], source
        )
        hidden = self._run_upper_layers(self.cell.output(outputs.states), state.layers, outputs.contexts)[:-1]
        word, weights = self.loops.linear(self.readout.word, embedded), outputs.weights.transpose(0, 1)
        if self.hard:
            return Features(self.readout.without_context(hidden, word).transpose(0, 1), weights)
        features = self.dropout(self.readout(hidden, word, outputs.contexts))
        return Features(features.transpose(0, 1), weights)

    def context_part(self, memory: Tensor) -> Tensor:
        return self.readout.context(memory)

    def activate(self, parts: Tensor) -> Tensor:
        return Maxout.apply(parts)
