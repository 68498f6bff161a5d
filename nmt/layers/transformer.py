"""The layers of the Transformer.

# Vaswani et al. (2017), with layer normalization before each sublayer instead of after it: Xiong et al. (2020)
Every sublayer adds its output for the normalized x (B, T, E) to x. ReLU, as published.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from nmt.attention.energies import dot_energies
from nmt.attention.normalizers import masked_softmax
from nmt.attention.scores import AttentionOutput
from nmt.layers.dropout import Dropout
from nmt.layers.loops import ReferenceLoops


@dataclass
class TransformerOptions:
    """The settings model.transformer.*: for the encoder, the decoder, or both.

    heads: the number of heads of each attention. feedforward: the inner width of a feed-forward layer; None: four times
    the embedding. attention_layer: the decoder's layer, from 1, whose attention to the source is returned and is
    trained by guided alignment; None: the last but one, which aligns best (Garg et al. 2019). attention_head: from 1;
    None: the mean of all heads.
    """

    heads: int = 4
    feedforward: int | None = None
    attention_layer: int | None = None
    attention_head: int | None = None

    def __post_init__(self):
        for name in ("heads", "feedforward", "attention_layer", "attention_head"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"model.transformer.{name}={value} is impossible: the least is 1")
        if self.attention_head is not None and self.attention_head > self.heads:
            raise ValueError(
                f"model.transformer.attention_head={self.attention_head}: there are {self.heads} heads; give 1 to "
                f"{self.heads}, or more model.transformer.heads"
            )

    def check_width(self, width: int, key: str) -> None:
        """Raises ValueError if the number of heads does not divide the width, the value of the setting `key`."""
        if width % self.heads:
            raise ValueError(
                f"{key}={width} cannot be shared evenly by model.transformer.heads={self.heads}: try "
                f"{key}={-(-width // self.heads) * self.heads}"
            )

    def check_layer(self, layers: int) -> None:
        """Raises ValueError if a decoder with `layers` layers does not have the shown layer."""
        if self.attention_layer is not None and self.attention_layer > layers:
            raise ValueError(
                f"model.transformer.attention_layer={self.attention_layer}: the decoder has {layers} layers "
                f"(model.decoder.layers); give 1 to {layers}"
            )

    def showing(self, layer: int | None, head: int | None, layers: int) -> "TransformerOptions":
        """These options with another shown layer or head, from 1; None: unchanged. `layers`: of the decoder. Raises
        ValueError if there is no such layer or head."""
        for name, number, most in (("layer", layer, layers), ("head", head, self.heads)):
            if number is not None and not 1 <= number <= most:
                raise ValueError(f"attention_{name}={number}: this model has {most} {name}s; give 1 to {most}")
        return replace(
            self,
            attention_layer=self.attention_layer if layer is None else layer,
            attention_head=self.attention_head if head is None else head,
        )


def positional_encoding(start: int, stop: int, width: int, like: Tensor) -> Tensor:
    """The encodings of positions `start` to `stop` - 1: (stop - start, width), in the type of `like`.

    sin(position / 10000^(2i / width)) in column 2i, the cosine in column 2i + 1.  # Vaswani et al. (2017), 3.5
    """
    positions = torch.arange(start, stop, dtype=torch.float64, device=like.device)
    exponents = torch.arange(0, width, 2, dtype=torch.float64, device=like.device) / width
    angles = positions.unsqueeze(1) * torch.exp(-math.log(10000) * exponents)
    return torch.stack((angles.sin(), angles.cos()), 2).flatten(1)[:, :width].to(like.dtype)


def embed(embedding: nn.Module, ids: Tensor, start: int = 0) -> Tensor:
    """ids (B, T) at the positions from `start` on -> (B, T, E): scaled embeddings plus positions.

    # Vaswani et al. (2017), 3.4 and 3.5
    """
    embedded = embedding(ids)
    width = embedded.shape[2]
    return embedded * math.sqrt(width) + positional_encoding(start, start + ids.shape[1], width, embedded)


def split_heads(x: Tensor, heads: int) -> Tensor:
    """x (B, T, E) -> (B, heads, T, E / heads)."""
    return x.unflatten(2, (heads, -1)).transpose(1, 2)


def merge_heads(x: Tensor) -> Tensor:
    """x (B, heads, T, E / heads) -> (B, T, E)."""
    return x.transpose(1, 2).flatten(2)


def attend_with_weights(query: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> AttentionOutput:
    """query (B, H, Q, D), keys, values (B, H, S, D), mask (B, S) -> contexts (B, H, Q, D), weights (B, H, Q, S).

    Every head computes softmax(Q K^T / sqrt(D)) V.  # Vaswani et al. (2017), eq. 1
    `ReferenceLoops.attend_heads` computes the contexts without the weights.
    """
    batch, heads, queries, width = query.shape
    energies = dot_energies(query.flatten(0, 1), keys.flatten(0, 1)) * width**-0.5
    weights = masked_softmax(energies.reshape(batch, heads * queries, -1), mask).unflatten(1, (heads, queries))
    return AttentionOutput(weights.to(values.dtype) @ values, weights)


class StackedLinear(nn.Linear):
    """One product of `count` matrices with the same input: (..., X) -> `count` tensors (..., Y)."""

    def __init__(self, inputs: int, outputs: int, count: int):
        super().__init__(inputs, outputs * count)
        self.count = count


class SelfAttention(nn.Module):
    """Self-attention: queries, keys and values are projections of the same x.  # Vaswani et al. (2017), 3.2.2"""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.project = StackedLinear(width, width, 3)
        self.output = nn.Linear(width, width)

    def query_keys_values(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x (B, T, E) -> (B, H, T, D) each."""
        query, keys, values = self.project(self.norm(x)).chunk(3, 2)
        return split_heads(query, self.heads), split_heads(keys, self.heads), split_heads(values, self.heads)


class CrossAttention(nn.Module):
    """Attention of target positions to the source: the decoder computes keys and values once per sentence."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, width)
        self.output = nn.Linear(width, width)

    def query(self, x: Tensor) -> Tensor:
        """x (B, T, E) -> (B, H, T, D)."""
        return split_heads(self.project(self.norm(x)), self.heads)


class FeedForward(nn.Module):
    """max(0, x W_1 + b_1) W_2 + b_2.  # Vaswani et al. (2017), eq. 2"""

    def __init__(self, width: int, options: TransformerOptions):
        super().__init__()
        inner = options.feedforward or 4 * width
        self.norm = nn.LayerNorm(width)
        self.inner = nn.Linear(width, inner)
        self.outer = nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.outer(functional.relu(self.inner(self.norm(x))))


class EncoderLayer(nn.Module):
    """x + self-attention, then x + feed-forward; dropout on the added outputs.  # Vaswani et al. (2017), 3.1 and 5.4"""

    def __init__(self, width: int, options: TransformerOptions, dropout: float):
        super().__init__()
        self.self_attention = SelfAttention(width, options.heads)
        self.feedforward = FeedForward(width, options)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor, loops: ReferenceLoops) -> Tensor:
        """x (B, S, E), mask (B, S) -> x."""
        context = loops.attend_heads(*self.self_attention.query_keys_values(x), mask[:, None, None])
        x = x + self.dropout(self.self_attention.output(merge_heads(context)))
        return x + self.dropout(self.feedforward(x))
