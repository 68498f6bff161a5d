"""Embeddings of words, some of which training hides."""

import torch
from torch import Tensor, nn

from nmt.data.symbols import BOS, CUT, EOS, PAD


def cut_tokens(tokens: Tensor, rate: float) -> Tensor:
    """tokens (B, T) with CUT in place of each, at random with probability `rate`; PAD, BOS and EOS stay.

    # Gao et al. (2022), after Shen et al. (2020)
    """
    return tokens.masked_fill(_words(tokens) & (torch.rand(tokens.shape, device=tokens.device) < rate), CUT)


def _words(tokens: Tensor) -> Tensor:
    """Which tokens are pieces of text, or unknown ones."""
    return (tokens != PAD) & (tokens != BOS) & (tokens != EOS)


class Embedding(nn.Embedding):
    """A table of vectors whose row PAD is zero when it is made. In training CUT, too, has a vector of zeros."""

    def __init__(self, vocab_size: int, width: int):
        super().__init__(vocab_size, width, padding_idx=PAD)

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens of any shape -> one more dimension, of `width`."""
        if not self.training:
            return super().forward(tokens)
        kept = (tokens != CUT).unsqueeze(-1)
        return super().forward(tokens.clamp_min(PAD)) * kept.to(self.weight.dtype)
