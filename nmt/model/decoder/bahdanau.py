"""The decoder of Bahdanau, Cho and Bengio (2015): attention asks with the state that was."""

import torch
from torch import Tensor, nn

from nmt.model import recurrence
from nmt.model.attention import Attention, Look, Source
from nmt.model.cells import CellKind
from nmt.model.decoder.bridge import Bridge
from nmt.model.decoder.readout import MaxoutReadout
from nmt.model.decoder.seam import Decoder, Features, State, Step
from nmt.model.encoder import Encoded


class BahdanauDecoder(Decoder):
    """Looks, then updates: attention asks with s_{i-1}, the context enters the gates.

    # Bahdanau et al. (2015), A.1 and A.2.2
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
        return State(
            self.bridge(encoded),
            encoded.memory.new_zeros(len(encoded.memory), 0),
            self.attention.unlooked(encoded.memory),
        )

    def step(self, tokens: Tensor, state: State, source: Source) -> Step:
        embedded = self.embedding(tokens)
        look = self._look(state.layers[0], source, state.looked)
        top = self.cells[-1].output(state.layers[-1])
        features = self.readout(top, embedded, look.context)
        bottom = self.cell(self.cell.project(embedded) + self.context(look.context), state.layers[0])
        looked = self.attention.remember(state.looked, look.weights)
        return Step(features, State(self._climb(bottom, state.layers), state.attentional, looked), look.weights)

    def features(self, tgt_in: Tensor, state: State, source: Source) -> Features:
        embedded = self.dropout(self.embedding(tgt_in.t()))  # time-major from here: a step's numbers lie together
        projected, start = self.cell.project(embedded), state.layers[0]
        if recurrence.is_fast(self.cell, self.attention):
            looked = recurrence.look_then_update(
                self.cell, self.attention, self.context.weight, projected, start, source
            )
        else:
            looked = self._look_then_update(projected, state, source)
        hidden = self._top(self.cell.output(looked.states), state.layers)[:-1]
        features = self.dropout(self.readout(hidden, embedded, looked.contexts))
        return Features(features.transpose(0, 1), looked.weights.transpose(0, 1))

    def _look_then_update(self, projected: Tensor, state: State, source: Source) -> recurrence.Looked:
        """The loop as it reads: projected (T, B, gates * H)."""
        states, looks, looked = [state.layers[0]], [], state.looked
        for word in projected:
            looks.append(self._look(states[-1], source, looked))
            looked = self.attention.remember(looked, looks[-1].weights)
            states.append(self.cell(word + self.context(looks[-1].context), states[-1]))
        contexts, weights = (torch.stack(part) for part in zip(*looks, strict=True))
        return recurrence.Looked(torch.stack(states), contexts, weights)

    def _look(self, state: Tensor, source: Source, looked: Tensor) -> Look:
        """state (N, state_size), looked (N, S or 0), N = B * K -> context (N, M), weights (N, S)."""
        rows = (len(source.mask), len(state) // len(source.mask))
        look = self.attention(self.cell.output(state).unflatten(0, rows), source, looked.unflatten(0, rows))
        return Look(*(part.flatten(0, 1) for part in look))
