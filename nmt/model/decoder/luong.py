"""The decoder of Luong, Pham and Manning (2015): attention asks with the state that is."""

import torch
from torch import Tensor, nn

from nmt.model import recurrence
from nmt.model.attention import AdditiveAttention, Attention, Source
from nmt.model.cells import CellKind
from nmt.model.decoder.bridge import Bridge
from nmt.model.decoder.seam import Decoder, Features, State, Step
from nmt.model.encoder import Encoded


class LuongDecoder(Decoder):
    """Updates, then looks: h_t asks, h~_t = tanh(W_c [c_t; h_t]) is the feature.  # Luong et al. (2015), eq. 5 and 3.3

    With input feeding h~_{t-1} enters the bottom cell; without (and without coverage) nothing recurs through attention
    and all steps are one product. The top layer asks.

    Footnote 14 of the paper gives the weights of a content score to the word that is fed in, y_{t-1}. Trained here, fed
    back or not, they are those of the word being predicted: with general on the demo corpus the alignment error is 8 %
    so, and 77 % where the weights are read a step later.
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
        return State(
            self.bridge(encoded),
            encoded.memory.new_zeros(len(encoded.memory), width),
            self.attention.unlooked(encoded.memory),
        )

    def step(self, tokens: Tensor, state: State, source: Source) -> Step:
        return self._advance(self.cell.project(self.embedding(tokens)), state, source)

    def features(self, tgt_in: Tensor, state: State, source: Source) -> Features:
        embedded = self.dropout(self.embedding(tgt_in.t()))  # time-major from here
        fast = recurrence.is_fast(self.cell, self.attention)
        if self.fed is not None or (self.attention.covers and not fast):
            attentional, weights = self._loop(self.cell.project(embedded), state, source)
            return Features(self.dropout(attentional).transpose(0, 1), weights.transpose(0, 1))
        hidden = self._top(recurrence.outputs(self.cell, embedded, state.layers[0]), state.layers)[1:]
        if fast and isinstance(self.attention, AdditiveAttention):
            look = recurrence.look_at_once(self.attention, hidden, source)
            hidden = hidden.transpose(0, 1)
        else:
            hidden = hidden.transpose(0, 1)
            look = self.attention(hidden, source, hidden.new_zeros(*hidden.shape[:2], 0))
        return Features(self.dropout(self._combine(look.context, hidden)), look.weights)

    def _loop(self, projected: Tensor, state: State, source: Source) -> recurrence.Fed:
        """The loop where a look depends on those before, by input feeding or coverage: projected (T, B, gates * H)."""
        if self.fed is not None and recurrence.is_fast(self.cell, self.attention):
            return recurrence.update_then_look(
                *(self.cells, self.attention, self.fed.weight, self.combine.weight),
                *(projected, state.layers, state.attentional, source),
                dropout=self.dropout.probability if self.training else 0.0,
            )
        steps = []
        for word in projected:
            steps.append(self._advance(word, state, source))
            state = steps[-1].state
        return recurrence.Fed(
            torch.stack([step.features for step in steps]), torch.stack([step.weights for step in steps])
        )

    def _advance(self, projected: Tensor, state: State, source: Source) -> Step:
        """projected (N, gates * H): the word's part of the gates."""
        if self.fed is not None:
            projected = projected + self.fed(state.attentional)
        layers = self._climb(self.cell(projected, state.layers[0]), state.layers)
        rows = (len(source.mask), len(projected) // len(source.mask))
        hidden = self.cells[-1].output(layers[-1]).unflatten(0, rows)
        look = self.attention(hidden, source, state.looked.unflatten(0, rows))
        weights = look.weights.flatten(0, 1)
        features = self._combine(look.context, hidden).flatten(0, 1)
        attentional = features if self.fed is not None else state.attentional
        return Step(features, State(layers, attentional, self.attention.remember(state.looked, weights)), weights)

    def _combine(self, context: Tensor, hidden: Tensor) -> Tensor:
        return torch.tanh(self.combine(torch.cat((context, hidden), -1))).to(hidden.dtype)
