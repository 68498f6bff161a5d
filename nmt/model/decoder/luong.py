"""The decoder of Luong, Pham and Manning (2015): the query is the updated state."""

import torch
from torch import Tensor, nn

from nmt.acceleration import fused
from nmt.model.attention import AdditiveAttention, Attention, Source
from nmt.model.cells import CellKind
from nmt.model.decoder.bridge import Bridge
from nmt.model.decoder.interface import Decoder, Features, State, Step
from nmt.model.encoder import EncoderOutput


class LuongDecoder(Decoder):
    """Updates, then attends: the query is h_t, h~_t = tanh(W_c [c_t; h_t]) is the feature.  # Luong et al. (2015), eq.
    5 and 3.3

    With input feeding h~_{t-1} enters the bottom cell; without (and without coverage) nothing recurs through attention
    and all steps are one product. The top layer asks.

    Footnote 14 of the paper gives the weights of a content score to the word that is fed in, y_{t-1}. Trained here, fed
    back or not, they are those of the word being predicted: with general on the demo corpus the alignment error is 8 %
    so, and 77 % where the weights are read a step later.
    """

    def __init__(
        self,
        vocab_size: int,
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
        super().__init__(vocab_size, embedding, hidden, layers, cell, dropout)
        self.features_size = hidden
        self.attention = attention
        self.bridge = bridge
        self.input_feed = nn.Linear(hidden, self.cell.gates * hidden, bias=False) if input_feeding else None
        self.combine = nn.Linear(memory + hidden, hidden, bias=False)

    def source(self, encoded: EncoderOutput) -> Source:
        return Source(encoded.memory, self.attention.project_keys(encoded.memory), encoded.mask)

    def init_state(self, encoded: EncoderOutput) -> State:
        width = self.hidden if self.input_feed is not None else 0
        return State(
            self.bridge(encoded),
            encoded.memory.new_zeros(len(encoded.memory), width),
            self.attention.initial_coverage(encoded.memory),
        )

    def step(self, tokens: Tensor, state: State, source: Source) -> Step:
        return self._step(self.cell.project(self.embedding(tokens)), state, source)

    def features(self, tgt_in: Tensor, state: State, source: Source) -> Features:
        embedded = self.dropout(self.embedding(tgt_in.t()))  # time-major from here
        fast = fused.is_fast(self.cell, self.attention)
        if self.input_feed is not None or (self.attention.uses_coverage and not fast):
            attentional, weights = self._loop(self.cell.project(embedded), state, source)
            return Features(self.dropout(attentional).transpose(0, 1), weights.transpose(0, 1))
        hidden = self._run_upper_layers(fused.outputs(self.cell, embedded, state.layers[0]), state.layers)[1:]
        if fast and isinstance(self.attention, AdditiveAttention):
            attended = fused.attend_all(self.attention, hidden, source)
            hidden = hidden.transpose(0, 1)
        else:
            hidden = hidden.transpose(0, 1)
            attended = self.attention(hidden, source, hidden.new_zeros(*hidden.shape[:2], 0))
        return Features(self.dropout(self._combine(attended.context, hidden)), attended.weights)

    def _loop(self, projected: Tensor, state: State, source: Source) -> fused.LuongOutputs:
        """The loop over steps, where attention depends on earlier steps by input feeding or coverage: projected (T, B,
        gates * H)."""
        if self.input_feed is not None and fused.is_fast(self.cell, self.attention):
            return fused.luong_loop(
                *(self.cells, self.attention, self.input_feed.weight, self.combine.weight),
                *(projected, state.layers, state.attentional, source),
                dropout=self.dropout.probability if self.training else 0.0,
            )
        steps = []
        for projected_step in projected:
            steps.append(self._step(projected_step, state, source))
            state = steps[-1].state
        return fused.LuongOutputs(
            torch.stack([step.features for step in steps]), torch.stack([step.weights for step in steps])
        )

    def _step(self, projected: Tensor, state: State, source: Source) -> Step:
        """projected (N, gates * H): the word's part of the gates."""
        if self.input_feed is not None:
            projected = projected + self.input_feed(state.attentional)
        layers = self._step_upper_layers(self.cell(projected, state.layers[0]), state.layers)
        rows = (len(source.mask), len(projected) // len(source.mask))
        hidden = self.cells[-1].output(layers[-1]).unflatten(0, rows)
        attended = self.attention(hidden, source, state.coverage.unflatten(0, rows))
        weights = attended.weights.flatten(0, 1)
        features = self._combine(attended.context, hidden).flatten(0, 1)
        attentional = features if self.input_feed is not None else state.attentional
        return Step(
            features, State(layers, attentional, self.attention.update_coverage(state.coverage, weights)), weights
        )

    def _combine(self, context: Tensor, hidden: Tensor) -> Tensor:
        return torch.tanh(self.combine(torch.cat((context, hidden), -1))).to(hidden.dtype)
