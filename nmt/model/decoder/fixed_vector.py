"""RNNencdec, the baseline without attention."""

from typing import NamedTuple

import torch
from torch import Tensor

from nmt.attention.scores import Source
from nmt.layers.readout import MaxoutReadout
from nmt.model.decoder.bridge import Bridge
from nmt.model.decoder.interface import DecoderSizes, Features, RecurrentDecoder, Step, select_rows
from nmt.model.encoder import EncoderOutput


class FixedVectorState(NamedTuple):
    """layers: the cells' states, (N, state_size) each."""

    layers: tuple[Tensor, ...]

    def select(self, rows: Tensor) -> "FixedVectorState":
        return FixedVectorState(select_rows(self.layers, rows))

    def for_single_position(self) -> "FixedVectorState":
        return self


class FixedVectorDecoder(RecurrentDecoder[FixedVectorState]):
    """RNNencdec, the baseline without attention: c is the last state of a forward encoder, at every step.

    # Cho et al. (2014); Bahdanau et al. (2015), 5.1. Only the cell is recurrent.
    """

    has_attention = False

    def __init__(self, sizes: DecoderSizes, *, bridge: Bridge):
        super().__init__(sizes)
        self.features_size = sizes.readout
        self.bridge = bridge
        self.context = self.cell.input_linear(sizes.memory)
        self.readout = MaxoutReadout(sizes.hidden, sizes.embedding, sizes.memory, sizes.readout)

    def source(self, encoded: EncoderOutput) -> Source:
        """The memory is one position, the fixed vector (B, 1, M); there are no keys and no attention."""
        vector = torch.cat((encoded.forward_last, encoded.backward_first), 1).unsqueeze(1)
        return Source(vector, vector[:, :, :0], encoded.mask[:, :0])

    def init_state(self, encoded: EncoderOutput) -> FixedVectorState:
        return FixedVectorState(self.bridge(encoded))

    def step(self, tokens: Tensor, state: FixedVectorState, source: Source) -> Step:
        embedded = self.embedding(tokens)
        context = source.memory.expand(-1, len(tokens) // len(source.memory), -1).flatten(0, 1)
        top = self._output(state.layers)
        features = self.readout(top, self.readout.word(embedded), context)
        bottom = self.cell.step(self.cell.project(embedded) + self.context(context), state.layers[0])
        layers = self._step_upper_layers(bottom, state.layers)
        return Step(features, FixedVectorState(layers), features.new_zeros(len(tokens), 0))

    def features(self, tgt_in: Tensor, state: FixedVectorState, source: Source) -> Features:
        embedded = self.dropout(self.embedding(tgt_in, time_major=True))  # time-major from here
        context = source.memory.transpose(0, 1)
        projected = self.loops.linear(self.cell.project, embedded) + self.context(context)
        states = self.loops.run_cell(self.cell.drawn(), projected, state.layers[0])
        hidden = self._run_upper_layers(self.cell.output(states), state.layers)[:-1]
        features = self.readout(hidden, self.loops.linear(self.readout.word, embedded), context)
        features = self.dropout(features).transpose(0, 1)
        return Features(features, features.new_zeros(*tgt_in.shape, 0))
