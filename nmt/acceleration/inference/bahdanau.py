"""A step of Bahdanau's decoder in few operations: all products with the state are one product."""

from collections.abc import Sequence
from typing import TypeGuard

import torch
from torch import Tensor, nn

from nmt.acceleration.inference.attention import INFERENCE_SCORES, InferenceAdditive
from nmt.acceleration.inference.cells import INFERENCE_CELLS, InferenceCell
from nmt.acceleration.inference.linear import FusedLinear, PackedLinear, ProjectedEmbedding, get_linear, join_linears
from nmt.attention.scores import Source
from nmt.attention.state import AttentionState, AttentionStep
from nmt.model.decoder import BahdanauDecoder, Decoder, Step
from nmt.model.decoder.bahdanau import BahdanauState


class InferenceBahdanau:
    """`BahdanauDecoder.step`, with the same results, to the last bit, as its prepared parts one by one.

    prepared: the decoder with replaced parts and the weights of `decoder`. context: projects a context to its parts of
    the gates and of the readout, side by side.
    """

    def __init__(self, decoder: BahdanauDecoder, prepared: Decoder, context: nn.Module, dtype: torch.dtype):
        assert isinstance(prepared, BahdanauDecoder), prepared
        assert isinstance(prepared.cell, InferenceCell), prepared.cell
        assert isinstance(prepared.attention, InferenceAdditive), prepared.attention
        self._cell, self._attention, self._context = prepared.cell, prepared.attention, context.forward
        self._embedding, self._word = prepared.embedding, prepared.readout.word
        of_state = [
            FusedLinear(2 * get_linear(decoder.attention, "query").weight, None),
            FusedLinear(decoder.readout.state.weight, decoder.readout.state.bias),
            prepared.cell.recurrent_product(decoder.cell),
        ]
        self._state_widths = [len(weight) for weight, _ in of_state]
        self._state = PackedLinear(*join_linears(of_state), dtype).forward
        self._widths = [get_linear(decoder, "context").out_features, decoder.readout.context.out_features]

    def step(self, tokens: Tensor, state: BahdanauState, source: Source) -> Step:
        """Computes BahdanauDecoder.step."""
        cell, old = self._cell, state.layers[0]
        query, of_state, recurrent = self._state(cell.output(old)).split_with_sizes(self._state_widths, 1)
        context, weights, attention = self._attend(query, state.attention, source)
        gates_of_word, readout_of_word = self._of_words(tokens)
        gates_of_context, readout_of_context = self._context(context).split_with_sizes(self._widths, 1)
        features = torch.maximum(*of_state.add_(readout_of_word).add_(readout_of_context).chunk(2, 1))
        new = cell.update(gates_of_word + gates_of_context, old, recurrent)
        return Step(features, BahdanauState((new,), attention), weights)

    def _attend(self, query: Tensor, state: AttentionState, source: Source) -> AttentionStep:
        """Computes Attention.step from the product of the query's weights with the hidden state."""
        attention, batch = self._attention, len(source.mask)
        query = attention.activate_query(query).view(batch, -1, query.shape[1])
        here = state.unflatten(batch) if attention.uses_coverage else state
        weights = attention.normalize(attention.energies(query, source.keys, here), source.mask)
        context, weights = attention.attend(weights, source.memory)
        context, weights = context.flatten(0, 1), weights.flatten(0, 1)
        if attention.uses_coverage:
            state = state._replace(coverage=state.coverage + weights)
        return AttentionStep(context, weights, state)

    def _of_words(self, tokens: Tensor) -> Sequence[Tensor]:
        """The inputs of the gates and of the readout from the words."""
        embedded = self._embedding(tokens)
        if isinstance(self._embedding, ProjectedEmbedding):
            return embedded.split_with_sizes(self._widths, 1)
        return self._cell.project(embedded), self._word(embedded)


def can_be_fused(decoder: Decoder) -> TypeGuard[BahdanauDecoder]:
    """Whether `InferenceBahdanau` can replace this decoder."""
    return (
        type(decoder) is BahdanauDecoder
        and not decoder.hard
        and len(decoder.cells) == 1
        and not decoder.context_width
        and type(decoder.cell) in INFERENCE_CELLS
        and isinstance(decoder.cell.project, nn.Linear)  # not normalized
        and not decoder.cell.transitions
        and type(decoder.attention) in INFERENCE_SCORES
        and decoder.attention.heads == 1
    )
