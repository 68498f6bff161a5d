"""Ensembles: several models of one vocabulary, whose probabilities are averaged."""

import math
from collections.abc import Sequence
from enum import Enum
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from nmt.attention.hard import HardPrediction
from nmt.data.batches import Batch
from nmt.data.symbols import PAD
from nmt.layers.loops import StepModel
from nmt.layers.loss import Loss
from nmt.model.decoder import Features
from nmt.model.seq2seq import CHUNK, Seq2Seq, TokenLogProbs


class EnsembleAverage(Enum):
    """The values that are averaged over the models of an ensemble."""

    probabilities = "probabilities"  # the arithmetic mean
    log_probabilities = "log_probabilities"  # the geometric mean, normalized: log-linear


class Members(NamedTuple):
    """The Source or the State of each model."""

    each: tuple[Any, ...]

    def select(self, rows: Tensor) -> "Members":
        return Members(tuple(one.select(rows) for one in self.each))


def average_logits(logits: Sequence[Tensor], average: EnsembleAverage) -> Tensor:
    """logits (..., V) of each model -> log-probabilities (..., V) of the ensemble; of a single model its logits."""
    if len(logits) == 1:
        return logits[0]
    found = [each.log_softmax(-1, dtype=torch.promote_types(each.dtype, torch.float32)) for each in logits]
    log_probs = torch.stack(found)
    match average:
        case EnsembleAverage.probabilities:
            return log_probs.logsumexp(0) - math.log(len(logits))
        case EnsembleAverage.log_probabilities:
            return log_probs.mean(0).log_softmax(-1)


def average_weights(weights: Sequence[Tensor]) -> Tensor:
    """weights (..., S) of each model, (..., 0) of one without attention -> their mean over those with attention."""
    attending = [each for each in weights if each.shape[-1]]
    if len(attending) <= 1:
        return (attending or weights)[0]
    return torch.stack(attending).mean(0)


class EnsembleSteps:
    """`encode` and `step` of several models together; see `nmt.decoding.search.Searchable`."""

    def __init__(self, members: Sequence[StepModel], average: EnsembleAverage):
        self._members, self._average = members, average

    def encode(self, src: Tensor, src_lengths: Tensor) -> tuple[Members, Members]:
        """src (B, S), src_lengths (B,), EOS included -> the Source and the initial State of each model."""
        sources, states = zip(*(each.encode(src, src_lengths) for each in self._members), strict=True)
        return Members(sources), Members(states)

    def step(self, tokens: Tensor, state: Members, source: Members) -> tuple[Tensor, Members, Tensor]:
        """tokens (N,), state of N rows, source of B rows -> logits (N, V), state, weights (N, S)."""
        found = [member.step(tokens, *own) for member, *own in zip(self._members, state.each, source.each, strict=True)]
        logits, states, weights = zip(*found, strict=True)
        return average_logits(logits, self._average), Members(states), average_weights(weights)


class Ensemble(nn.Module):
    """Models that read and write the same ids, for translating and for forced decoding.

    Probabilities are averaged over the models by `average`; attention is the mean over the models that have it.
    Raises ValueError if there is no model.
    """

    def __init__(self, members: Sequence[Seq2Seq], average: EnsembleAverage = EnsembleAverage.probabilities):
        super().__init__()
        if not members:
            raise ValueError("an ensemble needs a model")
        if average is EnsembleAverage.log_probabilities and any(member.decoder.hard for member in members):
            raise ValueError(
                "ensemble=log_probabilities needs the logits of every model, and one has hard attention, which sums "
                "probabilities over positions: try ensemble=probabilities"
            )
        self.members = nn.ModuleList(members)
        self.average = average

    @property
    def has_attention(self) -> bool:
        """Whether any of the models has attention."""
        return any(member.has_attention for member in self._each())

    @property
    def device(self) -> torch.device:
        return self._each()[0].device

    def for_inference(self, *, fold_memory: bool = True, rescore_top_k: int = 0) -> EnsembleSteps:
        """As Seq2Seq.for_inference."""
        options = {"fold_memory": fold_memory, "rescore_top_k": rescore_top_k}
        return EnsembleSteps([member.for_inference(**options) for member in self._each()], self.average)

    def encode(self, src: Tensor, src_lengths: Tensor) -> tuple[Members, Members]:
        """As EnsembleSteps.encode."""
        return EnsembleSteps(self._each(), self.average).encode(src, src_lengths)

    def step(self, tokens: Tensor, state: Members, source: Members) -> tuple[Tensor, Members, Tensor]:
        """As EnsembleSteps.step."""
        return EnsembleSteps(self._each(), self.average).step(tokens, state, source)

    def features(self, src: Tensor, src_lengths: Tensor, tgt_in: Tensor) -> Features:
        """By teacher forcing -> the concatenated features (B, T, R) of all models and weights (B, T, S)."""
        features, weights = zip(*(each.features(src, src_lengths, tgt_in) for each in self._each()), strict=True)
        return Features(torch.cat(features, -1), average_weights(weights))

    def log_probs(
        self, src: Tensor, src_lengths: Tensor, tgt_in: Tensor, tgt_out: Tensor, temperature: float = 1.0
    ) -> TokenLogProbs:
        """As Seq2Seq.log_probs; the logits of each model are divided by the temperature."""
        if self.average is EnsembleAverage.log_probabilities:
            return self._log_linear(src, src_lengths, tgt_in, tgt_out, temperature)
        found = [each.log_probs(src, src_lengths, tgt_in, tgt_out, temperature) for each in self._each()]
        if len(found) == 1:
            return found[0]
        log_probs = torch.stack([each.log_probs for each in found]).logsumexp(0) - math.log(len(found))
        weights = average_weights([each.weights for each in found])
        return TokenLogProbs(log_probs.masked_fill(tgt_out == PAD, 0.0), weights)

    @torch.no_grad()
    def loss(self, batch: Batch) -> Loss:
        """The negative log-likelihood, without a gradient, label smoothing or guided alignment."""
        nll = -self.log_probs(batch.src, batch.src_lengths, batch.tgt_in, batch.tgt_out).log_probs.sum()
        return Loss(nll, nll, len(batch.token_positions))

    def predict_by(self, *predictions: HardPrediction) -> None:
        """As Seq2Seq.predict_by, with one prediction for each model."""
        for member, prediction in zip(self._each(), predictions, strict=True):
            member.predict_by(prediction)

    def show_attention(self, layer: int | None = None, head: int | None = None) -> None:
        """As Seq2Seq.show_attention, for every model."""
        for member in self._each():
            member.show_attention(layer, head)

    def _log_linear(
        self, src: Tensor, src_lengths: Tensor, tgt_in: Tensor, tgt_out: Tensor, temperature: float
    ) -> TokenLogProbs:
        features, weights = zip(*(each.features(src, src_lengths, tgt_in) for each in self._each()), strict=True)
        is_token = tgt_out != PAD
        rows = zip(*(each[is_token].split(CHUNK) for each in features), strict=True)
        found = []
        for parts, ids in zip(rows, tgt_out[is_token].split(CHUNK), strict=True):
            logits = [member.logits(part) / temperature for member, part in zip(self._each(), parts, strict=True)]
            found.append(average_logits(logits, self.average).log_softmax(-1).gather(1, ids.unsqueeze(1)).squeeze(1))
        gold = torch.cat(found)
        each = torch.zeros(tgt_out.shape, dtype=gold.dtype, device=gold.device)
        return TokenLogProbs(each.masked_scatter(is_token, gold), average_weights(weights))

    def _each(self) -> list[Seq2Seq]:
        return list(self.members)  # pyright: ignore[reportReturnType]
