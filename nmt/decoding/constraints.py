"""Constraints on the hypotheses of a search: minimum and maximum length, repetition, prefixes."""

from typing import NamedTuple

import torch
from torch import Tensor

from nmt.data.symbols import BOS, EOS, PAD
from nmt.decoding.options import SearchOptions

FORBIDDEN_IDS = (PAD, BOS)  # no hypothesis contains these, whatever their probability


class Constraints(NamedTuple):
    """The constraints of B sentences; lengths are in target tokens, EOS included.

    max_lengths: (B,) float64, the type in which scores are normalized. min_lengths: (B,). prefixes: (B, T), padded with
    PAD: the first tokens of every hypothesis. no_repeat_ngram_size: an n-gram of this size occurs at most once; 0: no
    limit. free_from: from this length on neither the prefix nor the minimum length forbids a token.
    """

    max_lengths: Tensor
    min_lengths: Tensor
    prefixes: Tensor
    no_repeat_ngram_size: int
    free_from: int

    def select(self, rows: Tensor) -> "Constraints":
        """The constraints of the sentences `rows`."""
        return self._replace(
            max_lengths=self.max_lengths[rows], min_lengths=self.min_lengths[rows], prefixes=self.prefixes[rows]
        )

    def allow(self, logits: Tensor, ids: Tensor, length: int) -> Tensor:
        """logits (B * P, V) of token number `length`, counted from 1 -> the same with -inf for forbidden tokens.

        ids (B, P, length - 1): the tokens before it, used only against repetition. EOS is allowed if no other token is;
        the tokens of a prefix are always allowed. If nothing is constrained at this length, returns `logits` itself.
        """
        if length >= self.free_from and not self.no_repeat_ngram_size:
            return logits
        logits = logits.unflatten(0, (len(self.min_lengths), -1))
        allowed = logits.clone()
        allowed[:, :, FORBIDDEN_IDS] = -torch.inf
        allowed[length < self.min_lengths, :, EOS] = -torch.inf
        if 0 < self.no_repeat_ngram_size <= length:
            allowed.masked_fill_(repeating(ids, self.no_repeat_ngram_size, logits.shape[2]), -torch.inf)
        stuck = allowed.amax(2).isneginf()
        allowed[..., EOS] = torch.where(stuck, logits[..., EOS], allowed[..., EOS])
        if length <= self.prefixes.shape[1]:
            (forced,) = torch.where(self.prefixes[:, length - 1] != PAD)
            tokens = self.prefixes[forced, length - 1]
            allowed[forced] = -torch.inf
            allowed[forced, :, tokens] = logits[forced, :, tokens]
        return allowed.flatten(0, 1)


def repeating(ids: Tensor, size: int, vocab_size: int) -> Tensor:
    """ids (B, P, t) -> bool (B, P, V): the tokens that would repeat an n-gram of `size` tokens that ids contain."""
    found = torch.zeros(*ids.shape[:2], vocab_size, dtype=torch.bool, device=ids.device)
    if ids.shape[2] < size:
        return found
    sequences = ids.unfold(2, size, 1)  # (B, P, t - size + 1, size)
    begun = ids[:, :, ids.shape[2] - size + 1 :].unsqueeze(2)
    same = (sequences[..., :-1] == begun).all(3)
    # For n-grams that the last tokens do not begin, PAD is marked, which is always forbidden.
    return found.scatter_(2, torch.where(same, sequences[..., -1], PAD), True)


def constrain(src_lengths: Tensor, options: SearchOptions, prefixes: Tensor | None) -> Constraints:
    """The constraints of sentences with src_lengths (B,); prefixes (B, T).

    If two limits of a kind are given, the tighter applies. A minimum length above the maximum is reduced to the
    maximum. The maximum length never cuts a prefix, and EOS may always follow the prefix.
    """
    most, ratio = options.max_length, options.max_length_ratio
    longest = 2 * src_lengths + 10 if most is None else torch.full_like(src_lengths, most)
    if ratio is not None:
        by_ratio = _times(src_lengths, ratio).clamp(min=1)
        longest = by_ratio if most is None else longest.minimum(by_ratio)
    shortest = _times(src_lengths, options.min_length_ratio).clamp(min=options.min_length).minimum(longest)
    if prefixes is None:
        prefixes = longest.new_zeros(len(longest), 0)
    longest = longest.maximum((prefixes != PAD).sum(1) + 1)
    free_from = max(int(shortest.max()), prefixes.shape[1] + 1)
    return Constraints(longest.double(), shortest, prefixes, options.no_repeat_ngram_size, free_from)


def _times(src_lengths: Tensor, ratio: float) -> Tensor:
    """ratio * src_lengths, rounded up, with a tolerance: 1.2 * 25 is 30, although 1.2 in floating point is larger."""
    return (ratio * src_lengths.double() * (1 - 1e-9)).ceil().clamp(max=2**31 - 1).to(src_lengths.dtype)
