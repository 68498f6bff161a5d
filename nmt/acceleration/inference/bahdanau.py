"""A step of Bahdanau's decoder in few operations: what the state is multiplied by is one product."""

from typing import TypeGuard

import torch
from torch import Tensor, nn

from nmt.acceleration.inference.attention import INFERENCE_SCORES, InferenceAdditive
from nmt.acceleration.inference.cells import INFERENCE_CELLS, InferenceCell
from nmt.acceleration.inference.linear import FusedLinear, PackedLinear, get_linear, join_linears
from nmt.attention.scores import Source
from nmt.model.decoder import BahdanauDecoder, Decoder, Step
from nmt.model.decoder.bahdanau import BahdanauState


class InferenceBahdanau:
    """`BahdanauDecoder.step`: the same numbers, to the last bit, as its prepared parts one by one.

    prepared: the decoder whose parts were replaced, of the weights of `decoder`. context: what is made of a context
    before `prepared.context` and `prepared.readout.context` take their parts of it.
    """

    def __init__(self, decoder: BahdanauDecoder, prepared: BahdanauDecoder, context: nn.Module, dtype: torch.dtype):
        cell, attention = prepared.cell, prepared.attention
        assert isinstance(cell, InferenceCell), cell
        assert isinstance(attention, InferenceAdditive), attention
        self._cell, self._attention, self._readout = cell, attention, prepared.readout
        self._embedding, self._context_parts, self._context = prepared.embedding, prepared.context, context
        products = [
            FusedLinear(2 * get_linear(decoder.attention, "query").weight, None),
            FusedLinear(decoder.readout.state.weight, decoder.readout.state.bias),
            cell.recurrent_product(decoder.cell),
        ]
        self._widths = [len(weight) for weight, _ in products]
        self._state_product = PackedLinear(*join_linears(products), dtype).forward

    def step(self, tokens: Tensor, state: BahdanauState, source: Source) -> Step:
        """As BahdanauDecoder.step."""
        old, attention, readout = state.layers[0], self._attention, self._readout
        embedded = self._embedding(tokens)
        query, of_state, recurrent = self._state_product(self._cell.output(old)).split(self._widths, 1)
        batch = len(source.mask)
        query = attention.activate_query(query).view(batch, -1, self._widths[0])
        weights = attention.normalize(
            attention.energies(query, source.keys, state.attention.unflatten(batch)), source.mask
        )
        context = self._context(attention.attend(weights, source.memory).context.flatten(0, 1))
        weights = weights.flatten(0, 1)
        pairs = (of_state + readout.word(embedded)).add_(readout.context(context))
        features = torch.maximum(*pairs.chunk(2, 1))
        carried = state.attention
        if attention.uses_coverage:
            carried = carried._replace(coverage=carried.coverage + weights)
        projected = self._cell.project(embedded) + self._context_parts(context)
        new = self._cell.update(projected, old, recurrent)
        return Step(features, BahdanauState((new,), carried), weights)


def can_be_fused(decoder: Decoder) -> TypeGuard[BahdanauDecoder]:
    """Whether `InferenceBahdanau` computes what this decoder does."""
    return (
        type(decoder) is BahdanauDecoder
        and not decoder.hard
        and len(decoder.cells) == 1
        and type(decoder.cell) in INFERENCE_CELLS
        and type(decoder.attention) in INFERENCE_SCORES
        and decoder.attention.heads == 1
    )
