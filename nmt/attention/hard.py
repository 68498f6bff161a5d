"""Hard attention: a word is predicted from one source position; the weights are the probabilities of the positions.

p(position j) = alpha_tj, the weights; p(y_t | j) uses the memory at position j in place of the context. The decoder
feeds back the expected context (to Bahdanau's gates, or by input feeding), so the state of a step does not depend on
the positions of earlier steps, and p(y_t) = sum_j alpha_tj p(y_t | j) is exact.  # Deng et al. (2018), 3 and 4
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional


class AttentionChoice(Enum):
    """The values of ``model.attention.choice``. A word is predicted from: soft, the expected context; hard, one
    position.
    """

    soft = "soft"
    hard = "hard"


class HardTraining(Enum):
    """The values of ``model.attention.hard.training``, the objective of each word.

    marginal: log sum_j p(j) p(y | j), exactly.  # Deng et al. (2018), 3, "Enum"
    reinforce: its lower bound sum_j p(j) log p(y | j), from one sample of j for each word.  # Xu et al. (2015), 4.1
    """

    marginal = "marginal"
    reinforce = "reinforce"


class HardPrediction(Enum):
    """The values of ``decode.hard_attention``: predict from all positions, or from the most probable position."""

    marginal = "marginal"
    most_probable = "most_probable"


@dataclass
class HardAttentionOptions:
    """The settings model.attention.hard.*; all except `training` are for training=reinforce.

    reward: lambda_r, the weight of the score-function term; entropy: lambda_e, the weight of the entropy of the
    weights; baseline_decay: the decay of the baseline, the moving average of log p(y | j); expected: the share of
    sentences that are trained with the expected context in place of a sample.  # Xu et al. (2015), 4.1
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
    """The inputs of the prediction of N words, each from any of S positions.

    decoder (N, P): the decoder's part of the readout; memory (B, S, P): the part of each position; sentence (N,): the
    row of memory for each word; weights (N, S): p(position), 0 on padding; drop (N, R): the dropout factors of the
    features; activate: the sum of both parts (..., P) -> features (..., R).
    """

    decoder: Tensor
    memory: Tensor
    sentence: Tensor
    weights: Tensor
    drop: Tensor
    activate: Callable[[Tensor], Tensor]

    def features(self, words: slice) -> Tensor:
        """The features of the n words of a slice at every position: (n, S, R)."""
        parts = self.decoder[words].unsqueeze(1) + self.memory[self.sentence[words]]
        return self.activate(parts) * self.drop[words].unsqueeze(1)

    def parts_at(self, position: Tensor) -> Tensor:
        """The memory's part of the readout at one position for each word: position (N,) -> (N, P)."""
        return self.memory[self.sentence, position]

    def expected_parts(self) -> Tensor:
        """The memory's part of the readout for the expected context of each word, (N, P)."""
        return (self.weights.to(self.memory.dtype).unsqueeze(1) @ self.memory[self.sentence]).squeeze(1)

    def certain(self, parts: Tensor) -> "Positions":
        """The same words, each with one position of probability one; parts (N, P): the memory's part of each word."""
        own = torch.arange(len(parts), device=parts.device)
        return self._replace(memory=parts.unsqueeze(1), sentence=own, weights=self.weights.new_ones(len(parts), 1))


class Marginal(NamedTuple):
    """nll: the negative log-likelihood summed over N words; log_probs (N,): of each word, without gradient."""

    nll: Tensor
    log_probs: Tensor


def mixture_log_probs(log_probs: Tensor, weights: Tensor) -> Tensor:
    """log sum_j weights_j exp(log_probs_j): log_probs (..., S, V), weights (..., S) -> (..., V).

    The gradient exists where weights are 0.  # Deng et al. (2018), 3
    """
    weights = weights.unsqueeze(-1)
    highest = log_probs.detach().masked_fill(weights == 0, -torch.inf).amax(-2, keepdim=True)
    # Only positions of weight 0 are above the highest.
    total = (weights * (log_probs - highest).clamp(max=MAX_EXPONENT).exp()).sum(-2)
    return total.log() + highest.squeeze(-2)


MAX_EXPONENT = 80.0  # its exponential is a float32


def marginal_nll(positions: Positions, weight: Tensor, bias: Tensor, targets: Tensor) -> Marginal:
    """The exact marginal likelihood of targets (N,), with the output layer weight (V, R), bias (V,).

    All (N, S, V) logits are in memory at once; the fused loops compute the same in chunks.
    """
    logits = functional.linear(positions.features(slice(None)), weight, bias)
    log_probs = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)
    gold = log_probs.gather(2, targets.view(-1, 1, 1).expand(-1, log_probs.shape[1], 1))
    found = mixture_log_probs(gold, positions.weights).squeeze(1)
    return Marginal(-found.sum(), found.detach())


def entropy(weights: Tensor) -> Tensor:
    """The entropy of each row in nats: weights (N, S) -> (N,)."""
    return torch.special.entr(weights.clamp_min(_MIN_WEIGHT)).sum(1)


_MIN_WEIGHT = 1e-20  # its logarithm, and the derivative of its entropy, are finite


def sample_positions(weights: Tensor) -> Tensor:
    """weights (N, S) -> (N,): a position for each row, sampled with torch's generator, whose state checkpoints save."""
    return torch.multinomial(weights.detach(), 1).squeeze(1)


def reinforce_objective(
    sampled: Marginal, chosen_weights: Tensor, entropies: Tensor, baseline: Tensor, options: HardAttentionOptions
) -> Tensor:
    """The loss of reinforce: a scalar whose gradient is on average that of -sum_j p(j) log p(y | j) - entropy H.

    sampled: the likelihood of the N words, given their sampled positions; chosen_weights (N,): p of the sampled
    position, 1 if none was sampled; entropies (N,); baseline (): subtracted from the rewards.
    # Xu et al. (2015), eq. 12, with the baseline and the entropy term. A position affects only the word of its own
    # step, so its reward is the log-probability of this word.
    """
    reward = sampled.log_probs - baseline
    return sampled.nll - options.reward * (reward * chosen_weights.log()).sum() - options.entropy * entropies.sum()
