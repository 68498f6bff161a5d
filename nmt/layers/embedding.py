"""Embeddings, with word dropout."""

import torch
from torch import Tensor, nn

from nmt.data.symbols import BOS, CUT, EOS, PAD


def cut_tokens(tokens: Tensor, rate: float) -> Tensor:
    """tokens (B, T), each replaced by CUT with probability `rate`, except PAD, BOS and EOS.

    # Gao et al. (2022), after Shen et al. (2020)
    """
    return tokens.masked_fill(_words(tokens) & (torch.rand(tokens.shape, device=tokens.device) < rate), CUT)


def _words(tokens: Tensor) -> Tensor:
    """True for tokens that are pieces of text, known or unknown."""
    return (tokens != PAD) & (tokens != BOS) & (tokens != EOS)


def drop_words(tokens: Tensor, rate: float) -> Tensor:
    """tokens (B, T) -> bool (B, T): True where a word is dropped, with probability `rate`; all occurrences of a word in
    a sentence are dropped together.  # Gal and Ghahramani (2016), 4.2
    """
    drawn = torch.rand(tokens.shape, device=tokens.device) < rate
    first = (tokens.unsqueeze(2) == tokens.unsqueeze(1)).to(torch.uint8).argmax(2)  # where each word occurs first
    return drawn.gather(1, first)


class Embedding(nn.Embedding):
    """A table of vectors whose row PAD is initialized to zero.

    In training, CUT has a vector of zeros. With word_dropout, so has that share of the words of a sentence; the vectors
    of the other words are divided by 1 - word_dropout.
    """

    word_dropout = 0.0

    def __init__(self, vocab_size: int, width: int):
        super().__init__(vocab_size, width, padding_idx=PAD)

    def forward(self, tokens: Tensor, *, time_major: bool = False) -> Tensor:
        """tokens (B, T) -> (B, T, width), or with time_major (T, B, width); tokens (N,) of a step -> (N, width)."""
        if not self.training:
            return super().forward(tokens.t() if time_major else tokens)
        scale = (tokens != CUT).to(self.weight.dtype)
        if self.word_dropout and tokens.dim() == 2:
            scale = scale.masked_fill(drop_words(tokens, self.word_dropout), 0.0) / (1 - self.word_dropout)
        if time_major:
            tokens, scale = tokens.t(), scale.t()
        return super().forward(tokens.clamp_min(PAD)) * scale.unsqueeze(-1)


class ScaledEmbedding(nn.Embedding):
    """Embeddings that start with a standard deviation of 0.1, times 5. With a small initial value Adam, whose steps are
    equally large for all parameters, changes them quickly in proportion."""

    std, scale = 0.1, 5.0

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight, std=self.std)

    def forward(self, input: Tensor) -> Tensor:
        """ids (...) -> (..., embedding_dim)."""
        return self.scale * super().forward(input)
