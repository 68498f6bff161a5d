"""The decoder of the Transformer: masked self-attention, attention to the source, feed-forward, layer by layer."""

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from nmt.attention.scores import Source
from nmt.layers.dropout import Dropout
from nmt.layers.loops import ReferenceLoops
from nmt.layers.transformer import (
    CrossAttention,
    FeedForward,
    SelfAttention,
    StackedLinear,
    TransformerOptions,
    attend_with_weights,
    embed,
    merge_heads,
    split_heads,
)
from nmt.model.decoder.interface import Decoder, DecoderSizes, Features, Step, select_rows
from nmt.model.encoder import EncoderOutput


class TransformerState(NamedTuple):
    """keys, values: those of each layer's self-attention for the t words so far, (N, H, t, D) each.

    A step returns new tensors, one position longer, and does not modify the old ones.
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]

    def select(self, rows: Tensor) -> "TransformerState":
        return TransformerState(select_rows(self.keys, rows), select_rows(self.values, rows))

    def for_single_position(self) -> "TransformerState":
        return self


class LayerSource(NamedTuple):
    """The source of one layer: keys, values (B, H, S, D), mask (B, S)."""

    keys: Tensor
    values: Tensor
    mask: Tensor


class DecoderLayer(nn.Module):
    """x + self-attention, x + attention to the source, x + feed-forward; dropout on the added outputs.

    # Vaswani et al. (2017), 3.1 and 5.4
    """

    def __init__(self, width: int, options: TransformerOptions, dropout: float):
        super().__init__()
        self.self_attention = SelfAttention(width, options.heads)
        self.cross_attention = CrossAttention(width, options.heads)
        self.feedforward = FeedForward(width, options)
        self.dropout = Dropout(dropout)

    def add_self_attention(self, x: Tensor, context: Tensor) -> Tensor:
        """x (B, T, E), context (B, H, T, D) of the words so far -> x."""
        return x + self.dropout(self.self_attention.output(merge_heads(context)))

    def add_source(
        self, x: Tensor, source: LayerSource, loops: ReferenceLoops, *, weighted: bool
    ) -> tuple[Tensor, Tensor | None]:
        """x (B, T, E) -> x after attention to the source and feed-forward; the weights (B, H, T, S) if `weighted`."""
        query, weights = self.cross_attention.query(x), None
        if weighted:
            context, weights = attend_with_weights(query, *source)
        else:
            context = loops.attend_heads(query, source.keys, source.values, source.mask[:, None, None])
        x = x + self.dropout(self.cross_attention.output(merge_heads(context)))
        return x + self.dropout(self.feedforward(x)), weights


class TransformerDecoder(Decoder[TransformerState]):
    """A stack of `layers` layers, all as wide as the target embedding.  # Vaswani et al. (2017), 3

    The returned weights are those of one layer's attention to the source, of one head or the mean of the heads, as the
    options specify. They are computed only for this layer, and only if requested.
    In Source, keys and memory (B, S, layers * E) are the concatenated keys and values of all layers.
    """

    def __init__(self, sizes: DecoderSizes, *, options: TransformerOptions):
        embedding, layers, dropout = sizes.embedding, sizes.layers, sizes.dropout
        options.check_width(embedding, "model.decoder.embedding")
        options.check_layer(layers)
        super().__init__(sizes.vocab_size, embedding, dropout)
        self.features_size = embedding
        self.options = self.shown = options
        self.keys = StackedLinear(sizes.memory, embedding, layers)
        self.values = StackedLinear(sizes.memory, embedding, layers)
        self.layers = nn.ModuleList(DecoderLayer(embedding, options, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(embedding)

    def source(self, encoded: EncoderOutput) -> Source:
        return Source(self.values(encoded.memory), self.keys(encoded.memory), encoded.mask)

    def init_state(self, encoded: EncoderOutput) -> TransformerState:
        heads = self.options.heads
        none = (encoded.memory.new_zeros(len(encoded.memory), heads, 0, self.features_size // heads),)
        return TransformerState(none * len(self.layers), none * len(self.layers))

    def step(self, tokens: Tensor, state: TransformerState, source: Source) -> Step:
        x = embed(self.embedding, tokens.unsqueeze(1), state.keys[0].shape[2])
        keys, values, shown = [], [], x
        for number, (layer, layer_source) in enumerate(zip(self._stack, self._sources(source), strict=True)):
            query, key, value = layer.self_attention.query_keys_values(x)
            keys.append(torch.cat((state.keys[number], key), 2))
            values.append(torch.cat((state.values[number], value), 2))
            x = layer.add_self_attention(x, self.loops.attend_heads(query, keys[-1], values[-1]))
            x = x.view(len(source.mask), -1, x.shape[2])  # the K hypotheses of a sentence are K queries of its source
            x, weights = layer.add_source(x, layer_source, self.loops, weighted=number == self._layer(self.shown))
            shown = shown if weights is None else _of_head(weights, self.shown).flatten(0, 1)
            x = x.flatten(0, 1).unsqueeze(1)
        return Step(self.norm(x).squeeze(1), TransformerState(tuple(keys), tuple(values)), shown)

    def features(self, tgt_in: Tensor, state: TransformerState, source: Source) -> Features:
        return Features(*self._run(tgt_in, source, self.shown))

    def features_without_weights(self, tgt_in: Tensor, state: TransformerState, source: Source) -> Tensor:
        return self._run(tgt_in, source)[0]

    def features_and_own_weights(
        self, tgt_in: Tensor, state: TransformerState, source: Source
    ) -> tuple[Features, Tensor]:
        features, shown, own = self._run(tgt_in, source, self.shown, self.options)
        return Features(features, shown), own

    def _run(self, tgt_in: Tensor, source: Source, *wanted: TransformerOptions) -> list[Tensor]:
        """All steps: the features (B, T, E), and the weights (B, T, S) that each of `wanted` chooses."""
        x = self.dropout(embed(self.embedding, tgt_in))
        found: dict[int, Tensor] = {}
        for number, (layer, layer_source) in enumerate(zip(self._stack, self._sources(source), strict=True)):
            projected = layer.self_attention.query_keys_values(x)
            x = layer.add_self_attention(x, self.loops.attend_heads(*projected, causal=True))
            weighted = number in map(self._layer, wanted)
            x, weights = layer.add_source(x, layer_source, self.loops, weighted=weighted)
            if weights is not None:
                found[number] = weights
        return [self.norm(x), *(_of_head(found[self._layer(each)], each) for each in wanted)]

    def show_attention(self, layer: int | None, head: int | None) -> None:
        self.shown = self.shown.showing(layer, head, len(self.layers))

    @property
    def _stack(self) -> list[DecoderLayer]:
        """All layers, bottom first."""
        return cast("list[DecoderLayer]", list(self.layers))

    def _sources(self, source: Source) -> list[LayerSource]:
        """The source of each layer."""
        keys, values = (part.chunk(len(self.layers), 2) for part in (source.keys, source.memory))
        return [
            LayerSource(split_heads(key, self.options.heads), split_heads(value, self.options.heads), source.mask)
            for key, value in zip(keys, values, strict=True)
        ]

    def _layer(self, options: TransformerOptions) -> int:
        """The layer, from 0, whose weights `options` choose."""
        layer = options.attention_layer
        return max(0, len(self.layers) - 2) if layer is None else layer - 1


def _of_head(weights: Tensor, options: TransformerOptions) -> Tensor:
    """weights (B, H, Q, S) -> (B, Q, S)."""
    head = options.attention_head
    return weights.mean(1) if head is None else weights[:, head - 1]
