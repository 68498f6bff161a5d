"""A model with hard attention: a `Seq2Seq` that predicts each word from one source position."""

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from nmt.attention.hard import (
    AttentionChoice,
    HardAttentionOptions,
    HardPrediction,
    HardTraining,
    Positions,
    entropy,
    mixture_log_probs,
    reinforce_objective,
    sample_positions,
)
from nmt.attention.scores import Source
from nmt.data.batches import Batch
from nmt.data.symbols import PAD
from nmt.layers.loops import ReferenceLoops
from nmt.layers.loss import Loss, guided_cross_entropy
from nmt.model.decoder import Decoder, Step
from nmt.model.encoder import Encoder
from nmt.model.seq2seq import CHUNK, Seq2Seq, TiedEmbeddings, TokenLogProbs
from nmt.model.transformer_encoder import TransformerEncoder


class HardSeq2Seq(Seq2Seq):
    """Each word is predicted from one position; attention weights are the probabilities of the positions: see
    `nmt.attention.hard`.

    options: the settings of training. prediction: the definition of a word's probability, except in training by
    samples. baseline: for training=reinforce, the moving average of a word's log-probability over the updates so far; a
    buffer, so that checkpoints save it.
    """

    can_be_captured = False
    baseline: Tensor

    def __init__(
        self,
        encoder: Encoder | TransformerEncoder,
        decoder: Decoder,
        options: HardAttentionOptions,
        *,
        tied_embeddings: TiedEmbeddings = TiedEmbeddings.none,
        loops: ReferenceLoops | None = None,
    ):
        super().__init__(encoder, decoder, tied_embeddings=tied_embeddings, loops=loops)
        decoder.hard = True
        self.options = options
        self.prediction = HardPrediction.marginal
        if options.training is HardTraining.reinforce:
            self.register_buffer("baseline", torch.zeros(()))

    def predict(self, decoder: Decoder, output: nn.Module, step: Step, source: Source) -> Tensor:
        rows = len(step.features) // len(source.memory)
        sentence = torch.arange(len(source.memory), device=source.memory.device).repeat_interleave(rows)
        positions = self._positions(decoder, step.features, decoder.context_part(source.memory), sentence, step.weights)
        match self.prediction:
            case HardPrediction.marginal:
                return torch.cat([_mixture(output, positions, words) for words in _chunks(positions.weights)])
            case HardPrediction.most_probable:
                parts = step.features + positions.parts_at(step.weights.argmax(1))
                return output(decoder.activate(parts))
            case _:
                raise ValueError(f"decode.hard_attention={self.prediction}: {_LEGAL}")

    def forward(self, src: Tensor, src_lengths: Tensor, tgt_in: Tensor) -> tuple[Tensor, Tensor]:
        source, state = self.encode(src, src_lengths)
        features, weights = self.decoder.features(tgt_in, state, source)
        all_steps = Step(features.flatten(0, 1), state, weights.flatten(0, 1))
        return self.predict(self.decoder, self.output, all_steps, source).unflatten(0, tgt_in.shape), weights

    def log_probs(
        self, src: Tensor, src_lengths: Tensor, tgt_in: Tensor, tgt_out: Tensor, temperature: float = 1.0
    ) -> TokenLogProbs:
        """As `Seq2Seq.log_probs`. With gradients, logits are recomputed in the backward pass instead of stored."""
        positions, targets, weights = self._teacher_force(src, src_lengths, tgt_in, tgt_out)
        positions = self._predicting(positions)
        again = partial(checkpoint, _mixture, use_reentrant=False) if torch.is_grad_enabled() else _mixture
        found = (
            again(self.output, positions, words, temperature).gather(1, targets[words].unsqueeze(1))
            for words in _chunks(positions.weights)
        )
        gold = torch.cat(list(found)).squeeze(1)
        each = torch.zeros(tgt_out.shape, dtype=gold.dtype, device=gold.device)
        return TokenLogProbs(each.masked_scatter(tgt_out != PAD, gold), weights)

    def loss(self, batch: Batch, smoothing: float = 0.0, guidance: float = 0.0) -> Loss:
        """In training, nll is that of the objective without the entropy and reward terms: with samples, that of the
        sampled positions. Otherwise it is that of the predictions of `step`."""
        assert not smoothing, "the configuration refuses label smoothing with hard attention"
        pairs = batch.src, batch.src_lengths, batch.tgt_in, batch.tgt_out
        positions, targets, weights = self._teacher_force(*pairs, batch.token_positions)
        if self.training and self.options.training is HardTraining.reinforce:
            loss = self._reinforce(positions, targets, len(batch.src))
        else:
            asked = positions if self.training else self._predicting(positions)
            nll, _ = self.loops.marginal_nll(asked, self.output, targets)
            loss = Loss(nll, nll.detach(), len(targets))
        if not guidance:
            return loss
        return loss._replace(objective=loss.objective + guidance * guided_cross_entropy(weights, batch.links))

    def predict_by(self, prediction: HardPrediction) -> None:
        self.prediction = prediction

    def after_update(self, nll: float) -> None:
        if self.options.training is HardTraining.reinforce:
            self.baseline.lerp_(self.baseline.new_tensor(-nll), 1 - self.options.baseline_decay)

    def _teacher_force(
        self, src: Tensor, src_lengths: Tensor, tgt_in: Tensor, tgt_out: Tensor, token_positions: Tensor | None = None
    ) -> "_Forced":
        source, state = self.encode(src, src_lengths)
        features, weights = self.decoder.features(tgt_in, state, source)
        if token_positions is None:
            token_positions = (tgt_out != PAD).flatten().nonzero().squeeze(1)
        features, of_tokens = (part.flatten(0, 1).index_select(0, token_positions) for part in (features, weights))
        memory, sentence = self.decoder.context_part(source.memory), token_positions // tgt_out.shape[1]
        positions = self._positions(self.decoder, features, memory, sentence, of_tokens)
        return _Forced(positions, tgt_out.flatten().index_select(0, token_positions), weights)

    def _positions(
        self, decoder: Decoder, features: Tensor, memory: Tensor, sentence: Tensor, weights: Tensor
    ) -> Positions:
        """The Positions of the target's tokens, with one dropout mask for all positions of a word."""
        drop = decoder.dropout(features.new_ones(len(features), decoder.features_size))
        return Positions(features, memory, sentence, weights, drop, decoder.activate)

    def _predicting(self, positions: Positions) -> Positions:
        """The positions that the probability of a word depends on."""
        match self.prediction:
            case HardPrediction.marginal:
                return positions
            case HardPrediction.most_probable:
                return positions.certain(positions.parts_at(positions.weights.argmax(1)))
            case _:
                raise ValueError(f"decode.hard_attention={self.prediction}: {_LEGAL}")

    def _reinforce(self, positions: Positions, targets: Tensor, sentences: int) -> Loss:
        """One sample for each word; for some sentences the expected context.  # Xu et al. (2015), 4.1"""
        weights = positions.weights
        sampled = sample_positions(weights)
        chosen = weights.gather(1, sampled.unsqueeze(1)).squeeze(1)
        parts = positions.parts_at(sampled)
        if self.options.expected:
            soft = torch.rand(sentences, device=weights.device) < self.options.expected
            soft = soft[positions.sentence]
            parts = torch.where(soft.unsqueeze(1), positions.expected_parts(), parts)
            chosen = chosen.masked_fill(soft, 1.0)
        found = self.loops.marginal_nll(positions.certain(parts), self.output, targets)
        objective = reinforce_objective(found, chosen, entropy(weights), self.baseline, self.options)
        return Loss(objective, found.nll.detach(), len(targets))


def build_seq2seq(
    choice: AttentionChoice,
    options: HardAttentionOptions,
    encoder: Encoder | TransformerEncoder,
    decoder: Decoder,
    *,
    tied_embeddings: TiedEmbeddings,
    loops: ReferenceLoops,
) -> Seq2Seq:
    """The model for `choice`; only hard attention uses `options`."""
    match choice:
        case AttentionChoice.soft:
            return Seq2Seq(encoder, decoder, tied_embeddings=tied_embeddings, loops=loops)
        case AttentionChoice.hard:
            return HardSeq2Seq(encoder, decoder, options, tied_embeddings=tied_embeddings, loops=loops)
        case _:
            legal = ", ".join(each.value for each in AttentionChoice)
            raise ValueError(f"model.attention.choice={choice}: legal are {legal}")


class _Forced(NamedTuple):
    """The N real tokens of a target: their Positions and ids (N,), and all weights (B, T, S)."""

    positions: Positions
    targets: Tensor
    weights: Tensor


_LEGAL = f"legal are {', '.join(each.value for each in HardPrediction)}"


def _mixture(output: nn.Module, positions: Positions, words: slice, temperature: float = 1.0) -> Tensor:
    """The log-probabilities (n, V) of some of the words."""
    logits = output(positions.features(words).flatten(0, 1)) / temperature
    log_probs = logits.log_softmax(-1, dtype=torch.promote_types(logits.dtype, torch.float32))
    return mixture_log_probs(log_probs.unflatten(0, (-1, positions.weights.shape[1])), positions.weights[words])


def _chunks(weights: Tensor) -> list[slice]:
    """Slices of words with weights (N, S): as many words at a time as have CHUNK rows."""
    if torch.compiler.is_exporting():  # a graph has no loop over their number
        return [slice(None)]
    words, size = weights.shape
    step = max(1, CHUNK // size)
    return [slice(start, start + step) for start in range(0, words, step)]
