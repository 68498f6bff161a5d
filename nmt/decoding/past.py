"""The past of the hypotheses of a search: their tokens, and their coverage of the source."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

SMALLEST = torch.finfo(torch.float32).tiny  # the coverage of words without any attention, for a finite logarithm


class Past(NamedTuple):
    """The tokens and the coverage of P hypotheses of B sentences; one that no option uses always has width 0."""

    ids: Tensor  # (B, P, t)
    coverage: Tensor  # (B, P, S) float64, sums of weights; before the first step one column of zeros
    keeps_ids: bool

    @staticmethod
    def begin(sentences: int, device: torch.device, *, ids: bool, coverage: bool) -> "Past":
        """One empty hypothesis for each sentence. ids, coverage: whether an option uses them."""
        covered = torch.zeros(sentences, 1, int(coverage), dtype=torch.float64, device=device)
        return Past(torch.zeros(sentences, 1, 0, dtype=torch.long, device=device), covered, ids)

    def attend(self, weights: Tensor) -> "Past":
        """Adds the weights (B * P, S) of a step to the coverage. Raises ValueError if the model has no attention."""
        if not self.coverage.shape[2]:
            return self
        if not weights.shape[1]:
            raise ValueError("decode.coverage_penalty sums attention, which this model does not have: leave it out")
        return self._replace(coverage=self.coverage + weights.unflatten(0, self.coverage.shape[:2]))

    def extend(self, parents: np.ndarray, tokens: np.ndarray) -> "Past":
        """The hypotheses `parents` (B, K), continued by `tokens` (B, K)."""
        coverage, ids = self.coverage, self.ids
        if not coverage.shape[2] and not self.keeps_ids:
            return self
        rows = torch.from_numpy(parents).to(ids.device).unsqueeze(2)
        if coverage.shape[2]:
            coverage = coverage.gather(1, rows.expand(-1, -1, coverage.shape[2]))
        if self.keeps_ids:
            ids = ids.gather(1, rows.expand(-1, -1, ids.shape[2]))
            ids = torch.cat((ids, torch.from_numpy(tokens).to(ids.device).unsqueeze(2)), 2)
        return Past(ids, coverage, self.keeps_ids)

    def select(self, rows: Tensor) -> "Past":
        """The part for the sentences `rows`."""
        return Past(self.ids[rows], self.coverage[rows], self.keeps_ids)


def coverage_penalty(coverage: Tensor, src_lengths: Tensor, beta: float) -> Tensor:
    """beta sum_i log(min(coverage_i, 1)): coverage (B, P, S), sums of weights; src_lengths (B,) -> (B, P), at most 0.

    The sum is over the source without EOS, which need not be translated.  # Wu et al. (2016), eq. 14
    """
    is_word = torch.arange(coverage.shape[2], device=coverage.device) < src_lengths[:, None, None] - 1
    covered = coverage.double().clamp(SMALLEST, 1).where(is_word, 1.0)
    return beta * covered.log().sum(2)
