"""The encoder of the Transformer."""

import torch
from torch import Tensor, nn

from nmt.layers.dropout import Dropout
from nmt.layers.embedding import Embedding
from nmt.layers.loops import ReferenceLoops
from nmt.layers.transformer import EncoderLayer, TransformerOptions, embed
from nmt.model.encoder import EncoderOutput


class TransformerEncoder(nn.Module):
    """A stack of `layers` self-attention layers over embeddings with positions, all of width `embedding`.

    The interface is that of the recurrent `Encoder`; the first and last states have width 0: see `EncoderOutput`.
    loops: compute attention; Seq2Seq sets them.
    """

    def __init__(
        self, vocab_size: int, *, embedding: int, options: TransformerOptions, layers: int = 1, dropout: float = 0.0
    ):
        super().__init__()
        options.check_width(embedding, "model.encoder.embedding")
        self.loops = ReferenceLoops()
        self.size = embedding
        self.embedding = Embedding(vocab_size, embedding)
        self.dropout = Dropout(dropout)
        self.layers = nn.ModuleList(EncoderLayer(embedding, options, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(embedding)

    def forward(self, src: Tensor, src_lengths: Tensor) -> EncoderOutput:
        """src (B, S), src_lengths (B,) -> EncoderOutput."""
        mask = torch.arange(src.shape[1], device=src.device) < src_lengths.unsqueeze(1)
        x = self.dropout(embed(self.embedding, src))
        for layer in self.layers:
            x = layer(x, mask, self.loops)
        memory = self.norm(x) * mask.unsqueeze(2)
        return EncoderOutput(memory, mask, memory[:, 0, :0], memory[:, 0, :0])
