"""The conditional GRU of Nematus: attention between two transitions of one step."""

from torch import Tensor

from nmt.attention.scores import Attention, Source
from nmt.layers.readout import TanhReadout
from nmt.layers.stack import build_layer
from nmt.model.decoder.bahdanau import BahdanauState
from nmt.model.decoder.bridge import Bridge
from nmt.model.decoder.interface import DecoderSizes, Features, RecurrentDecoder, Step
from nmt.model.encoder import EncoderOutput


class ConditionalGRUDecoder(RecurrentDecoder[BahdanauState]):
    """s'_t = GRU_1(y_{t-1}, s_{t-1});  c_t = ATT(s'_t);  s_t = GRU_2(c_t, s'_t).  # Sennrich et al. (2017), 2.1

    The query depends on the previous word, and the readout reads the new state. With several layers only the bottom
    layer is conditional. Any cell can replace the GRU. With a transition depth d, d transitions follow attention. With
    context_to_layers the upper layers read the context too.  # Miceli Barone et al. (2017)
    """

    def __init__(self, sizes: DecoderSizes, *, attention: Attention, bridge: Bridge):
        super().__init__(sizes, bottom_depth=1, context_width=sizes.memory if sizes.context_to_layers else 0)
        self.features_size = sizes.readout
        self.attention = attention
        self.bridge = bridge
        self.transition = build_layer(sizes.stack, sizes.cell, sizes.memory, sizes.hidden)
        self.readout = TanhReadout(sizes.hidden, sizes.embedding, sizes.memory, sizes.readout)

    def source(self, encoded: EncoderOutput) -> Source:
        return self.attention.source(encoded.memory, encoded.mask)

    def init_state(self, encoded: EncoderOutput) -> BahdanauState:
        return BahdanauState(self.bridge(encoded), self.attention.initial_state(encoded.memory))

    def step(self, tokens: Tensor, state: BahdanauState, source: Source) -> Step:
        embedded = self.embedding(tokens)
        query = self.cell.step(self.cell.project(embedded), state.layers[0])
        attended = self.attention.step(self.cell.output(query), source, state.attention)
        bottom = self.transition.step(self.transition.project(attended.context), query)
        layers = self._step_upper_layers(bottom, state.layers, attended.context)
        features = self.readout(self._output(layers), self.readout.word(embedded), attended.context)
        return Step(features, BahdanauState(layers, attended.state), attended.weights)

    def features(self, tgt_in: Tensor, state: BahdanauState, source: Source) -> Features:
        embedded = self.dropout(self.embedding(tgt_in, time_major=True))  # time-major from here
        projected = self.loops.linear(self.cell.project, embedded)
        cells = (self.cell.drawn(), self.transition.drawn())
        outputs = self.loops.conditional_gru(cells, self.attention, projected, state.layers[0], source)
        hidden = self._run_upper_layers(self.cell.output(outputs.states), state.layers, outputs.contexts)[1:]
        features = self.readout(hidden, self.loops.linear(self.readout.word, embedded), outputs.contexts)
        return Features(self.dropout(features).transpose(0, 1), outputs.weights.transpose(0, 1))
