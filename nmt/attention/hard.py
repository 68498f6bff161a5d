"""Hard attention: a word is predicted from one source position, which the weights choose.

p(position j) = alpha_tj, the weights; p(y_t | j) reads the memory of position j in place of the context. What the
decoder feeds back (Bahdanau's gates, input feeding) is the expected context, so the history of a step does not depend
on the positions before it and p(y_t) = sum over j of alpha_tj p(y_t | j) is exact.  # Deng et al. (2018), 3 and 4
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional


class AttentionChoice(Enum):
    """The words of ``model.attention.choice``: what predicts a word. soft: the expected context; hard: one position."""

    soft = "soft"
    hard = "hard"


class HardTraining(Enum):
    """The words of ``model.attention.hard.training``.

    marginal: log sum_j p(j) p(y | j), exactly.  # Deng et al. (2018), 3, "Enum"
    reinforce: sum_j p(j) log p(y | j), a lower bound of it, from one sample of j a word.  # Xu et al. (2015), 4.1
    """

    marginal = "marginal"
    reinforce = "reinforce"


class HardPrediction(Enum):
    """The words of ``decode.hard_attention``: a word's probability, of all positions or of the most probable one."""

    marginal = "marginal"
    most_probable = "most_probable"


@dataclass
class HardAttentionOptions:
    """The settings model.attention.hard.*; all but `training` are of training=reinforce.

    reward: lambda_r, of the score function's term; entropy: lambda_e, of the entropy of the weights; baseline_decay: of
    the moving average of log p(y | j) that rewards are compared with; expected: the share of sentences that are trained
    with the expected context in place of a sample.  # Xu et al. (2015), 4.1
    """

    training: HardTraining = HardTraining.marginal
    reward: float = 1.0
    entropy: float = 0.01
    baseline_decay: float = 0.9
    expected: float = 0.5

    def __post_init__(self):
        for name, value in (("reward", self.reward), ("entropy", self.entropy)):
            if not 0 <= value < float("inf"):
                raise ValueError(f"model.attention.hard.{name}={value} is impossible: give 0 or more")
        for name, value in (("baseline_decay", self.baseline_decay), ("expected", self.expected)):
            if not 0 <= value < 1:
                raise ValueError(f"model.attention.hard.{name}={value} is impossible: give 0 or more, and less than 1")


class Positions(NamedTuple):
    """What N words are predicted from, each from any of S positions.

    decoder (N, P): the decoder's part of the readout; memory (B, S, P): each position's part; sentence (N,): the row of
    memory that a word reads; weights (N, S): p(position), 0 on padding; drop (N, R): what the features are multiplied
    by; activate: (..., P), the sum of both parts -> features (..., R).
    """

    decoder: Tensor
    memory: Tensor
    sentence: Tensor
    weights: Tensor
    drop: Tensor
    activate: Callable[[Tensor], Tensor]

    def features(self, words: slice) -> Tensor:
        """Those of some of the words, at every position: (n, S, R)."""
        parts = self.decoder[words].unsqueeze(1) + self.memory[self.sentence[words]]
        return self.activate(parts) * self.drop[words].unsqueeze(1)

    def parts_at(self, position: Tensor) -> Tensor:
        """The memory's part of one position for each word, position (N,) -> (N, P)."""
        return self.memory[self.sentence, position]

    def expected_parts(self) -> Tensor:
        """The memory's part of the expected context of each word, (N, P)."""
        return (self.weights.to(self.memory.dtype).unsqueeze(1) @ self.memory[self.sentence]).squeeze(1)

    def certain(self, parts: Tensor) -> "Positions":
        """The same words, each with one position, of part (N, P), whose probability is one."""
        own = torch.arange(len(parts), device=parts.device)
        return self._replace(memory=parts.unsqueeze(1), sentence=own, weights=self.weights.new_ones(len(parts), 1))


class Marginal(NamedTuple):
    """nll: the negative log-likelihood summed over N words; log_probs (N,): of each, without gradient."""

    nll: Tensor
    log_probs: Tensor


def mixture_log_probs(log_probs: Tensor, weights: Tensor) -> Tensor:
    """log sum_j weights_j exp(log_probs_j): log_probs (..., S, V), weights (..., S) -> (..., V).

    The gradient exists where weights are 0.  # Deng et al. (2018), 3
    """
    weights = weights.unsqueeze(-1)
    highest = log_probs.detach().masked_fill(weights == 0, -torch.inf).amax(-2, keepdim=True)
    # Above the highest are only positions of weight 0.
    total = (weights * (log_probs - highest).clamp(max=MAX_EXPONENT).exp()).sum(-2)
    return total.log() + highest.squeeze(-2)


MAX_EXPONENT = 80.0  # its exponential is a float32


def marginal_nll(positions: Positions, weight: Tensor, bias: Tensor, targets: Tensor) -> Marginal:
    """The exact marginal likelihood of targets (N,), with the output layer weight (V, R), bias (V,).

    All (N, S, V) logits exist at once: the fused loops have the same in chunks.
    """
    logits = functional.linear(positions.features(slice(None)), weight, bias)
    log_probs = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)
    gold = log_probs.gather(2, targets.view(-1, 1, 1).expand(-1, log_probs.shape[1], 1))
    found = mixture_log_probs(gold, positions.weights).squeeze(1)
    return Marginal(-found.sum(), found.detach())


def entropy(weights: Tensor) -> Tensor:
    """weights (N, S) -> (N,), in nats."""
    return torch.special.entr(weights.clamp_min(_MIN_WEIGHT)).sum(1)


_MIN_WEIGHT = 1e-20  # its logarithm, and the slope of its entropy, are finite


def sample_positions(weights: Tensor) -> Tensor:
    """weights (N, S) -> (N,): a position for each row, drawn from torch's generator, whose state checkpoints keep."""
    return torch.multinomial(weights.detach(), 1).squeeze(1)


def reinforce_objective(
    sampled: Marginal, chosen_weights: Tensor, entropies: Tensor, baseline: Tensor, options: HardAttentionOptions
) -> Tensor:
    """What training minimizes, a scalar whose gradient is that of -sum_j p(j) log p(y | j) - entropy H on average.

    sampled: of the N words, each given its sampled position; chosen_weights (N,): p of that position, 1 where none was
    sampled; entropies (N,); baseline (): what a reward is compared with.
    # Xu et al. (2015), eq. 12 with the baseline and the entropy that follow it. A position changes no word but its own
    # here, so its reward is the log-probability of that word.
    """
    reward = sampled.log_probs - baseline
    return sampled.nll - options.reward * (reward * chosen_weights.log()).sum() - options.entropy * entropies.sum()
