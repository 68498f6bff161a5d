"""The sequence-to-sequence model: the interface for search, training and analysis."""

import copy
from enum import Enum
from typing import NamedTuple

import torch
from torch import Tensor, nn

from nmt.attention.hard import HardPrediction
from nmt.attention.scores import Source
from nmt.data.batches import Batch
from nmt.data.symbols import PAD
from nmt.layers.loops import ReferenceLoops, StepModel
from nmt.layers.loss import ConsistentLoss, Loss, PassWeights, guided_cross_entropy
from nmt.model.decoder import Decoder, Features, State, Step
from nmt.model.encoder import Encoder
from nmt.model.transformer_encoder import TransformerEncoder


class TiedEmbeddings(Enum):
    """Which matrices are shared. target: target embedding and output layer; all: the source embedding too.

    # Press and Wolf (2017)
    """

    none = "none"
    target = "target"
    all = "all"


class TokenLogProbs(NamedTuple):
    """log_probs (B, T): of each target token, 0 on padding; weights (B, T, S)."""

    log_probs: Tensor
    weights: Tensor


# Rows of the vocabulary product at once: with 30,000 words 512 rows are 60 MB.
CHUNK = 512


class Seq2Seq(nn.Module):
    """logits = W_o features + b over a vocabulary of V words.

    loops: run encoder, decoder and loss over all steps; the reference loops by default.
    Raises ValueError if tied matrices would differ in shape.
    """

    def __init__(
        self,
        encoder: Encoder | TransformerEncoder,
        decoder: Decoder,
        *,
        tied_embeddings: TiedEmbeddings = TiedEmbeddings.none,
        loops: ReferenceLoops | None = None,
    ):
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.loops = encoder.loops = decoder.loops = loops or ReferenceLoops()
        vocab_size, width = decoder.embedding.weight.shape
        self.output = nn.Linear(decoder.features_size, vocab_size)
        if tied_embeddings is not TiedEmbeddings.none:
            if decoder.features_size != width:
                raise ValueError(
                    f"model.tied_embeddings={tied_embeddings.value} makes the target embedding (width {width}) the "
                    "output matrix "
                    f"(width {decoder.features_size}): give both one width (model.decoder.embedding and "
                    "model.decoder.readout, or model.decoder.hidden for luong), or set model.tied_embeddings=none"
                )
            self.output.weight = decoder.embedding.weight
        if tied_embeddings is TiedEmbeddings.all:
            if encoder.embedding.weight.shape != decoder.embedding.weight.shape:
                raise ValueError(
                    "model.tied_embeddings=all needs one vocabulary and one embedding width for both sides: set "
                    "tokenizer.joint=true and model.encoder.embedding equal to model.decoder.embedding, "
                    "or model.tied_embeddings=target"
                )
            encoder.embedding.weight = decoder.embedding.weight

    can_be_captured = True  # in a CUDA graph: an update computes the same operations whatever the values are

    @property
    def has_attention(self) -> bool:
        return self.decoder.has_attention

    @property
    def device(self):
        return self.output.weight.device

    def encode(self, src: Tensor, src_lengths: Tensor) -> tuple[Source, State]:
        """src (B, S), src_lengths (B,), EOS included -> the Source, constant over the steps, and the initial State."""
        encoded = self.encoder(src, src_lengths)
        return self.decoder.source(encoded), self.decoder.init_state(encoded)

    def step(self, tokens: Tensor, state: State, source: Source) -> tuple[Tensor, State, Tensor]:
        """tokens (N,), state of N = B * K rows, source of B rows -> logits (N, V), state, weights (N, S)."""
        step = self.decoder.step(tokens, state, source)
        return self.predict(self.decoder, self.output, step, source), step.state, step.weights

    def predict(self, decoder: Decoder, output: nn.Module, step: Step, source: Source) -> Tensor:
        """A step of `decoder` -> logits (N, V) by `output`. Both are this model's, or their replacements in
        inference.
        """
        return output(step.features)

    def with_loops(self, loops: ReferenceLoops) -> "Seq2Seq":
        """A model with the same weights and other loops."""
        model = copy.deepcopy(self, {id(weight): weight for weight in self.parameters()})
        model.loops = model.encoder.loops = model.decoder.loops = loops
        return model

    def for_inference(self, *, fold_memory: bool = True, rescore_top_k: int = 0) -> StepModel:
        """An object with equal but faster `encode` and `step`, without gradients; valid until the weights change.

        fold_memory: a step has several rows per sentence. rescore_top_k: the number of largest logits of a row that are
        computed in float32, in any precision of the products.
        """
        return self.loops.for_inference(self, fold_memory=fold_memory, rescore_top_k=rescore_top_k)

    def features(self, src: Tensor, src_lengths: Tensor, tgt_in: Tensor) -> Features:
        """-> features (B, T, R) and weights (B, T, S) of teacher forcing."""
        source, state = self.encode(src, src_lengths)
        return self.decoder.features(tgt_in, state, source)

    def features_without_weights(self, src: Tensor, src_lengths: Tensor, tgt_in: Tensor) -> Tensor:
        """-> features (B, T, R) of teacher forcing, without weights: sufficient for training without links."""
        source, state = self.encode(src, src_lengths)
        return self.decoder.features_without_weights(tgt_in, state, source)

    def logits(self, features: Tensor) -> Tensor:
        """features (..., R) -> logits (..., V)."""
        return self.output(features)

    def forward(self, src: Tensor, src_lengths: Tensor, tgt_in: Tensor) -> tuple[Tensor, Tensor]:
        """-> logits (B, T, V), weights (B, T, S) of teacher forcing."""
        features, weights = self.features(src, src_lengths, tgt_in)
        return self.logits(features), weights

    def log_probs(
        self, src: Tensor, src_lengths: Tensor, tgt_in: Tensor, tgt_out: Tensor, temperature: float = 1.0
    ) -> TokenLogProbs:
        """Log-probabilities of the real tokens of tgt_out (B, T), at least float32, without a (B, T, V) tensor.

        temperature: divides the logits.
        """
        features, weights = self.features(src, src_lengths, tgt_in)
        is_token = tgt_out != PAD
        found = []
        for rows, ids in zip(features[is_token].split(CHUNK), tgt_out[is_token].split(CHUNK), strict=True):
            logits = self.logits(rows) / temperature
            log_probs = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)
            found.append(log_probs.gather(1, ids.unsqueeze(1)).squeeze(1))
        gold = torch.cat(found)
        each = torch.zeros(tgt_out.shape, dtype=gold.dtype, device=gold.device)
        return TokenLogProbs(each.masked_scatter(is_token, gold), weights)

    def loss(self, batch: Batch, smoothing: float = 0.0, guidance: float = 0.0) -> Loss:
        """Sums over the real tokens of the target, computed without a (B, T, V) tensor.

        guidance: the weight of the cross-entropy of attention with the links of the batch: see `guided_cross_entropy`.
        """
        pairs = batch.src, batch.src_lengths, batch.tgt_in
        if not guidance:
            features = self.features_without_weights(*pairs)
            return self.loss_from_features(features, batch.tgt_out, smoothing, batch.token_positions)
        features, weights = self.features(*pairs)
        loss = self.loss_from_features(features, batch.tgt_out, smoothing, batch.token_positions)
        return loss._replace(objective=loss.objective + guidance * guided_cross_entropy(weights, batch.links))

    def predict_by(self, prediction: HardPrediction) -> None:
        """Sets the prediction of hard attention, in search and scoring; no effect on soft attention."""

    def show_attention(self, layer: int | None = None, head: int | None = None) -> None:
        """Sets the layer and head, both from 1, whose weights a Transformer returns; None: unchanged.

        Raises ValueError if there is no such layer or head, and for another decoder.
        """
        self.decoder.show_attention(layer, head)

    def after_update(self, nll: float) -> None:
        """Called after every update of the weights. nll: in nats per target token, the same on all ranks."""

    def loss_from_features(
        self, features: Tensor, tgt_out: Tensor, smoothing: float = 0.0, token_positions: Tensor | None = None
    ) -> Loss:
        """As `loss`, for given features (B, T, R), without links."""
        return self.loops.cross_entropy(
            features,
            self.output.weight,
            self.output.bias,
            tgt_out,
            smoothing=smoothing,
            token_positions=token_positions,
        )

    def consistent_loss_from_features(
        self,
        features: Tensor,
        tgt_out: Tensor,
        weights: PassWeights,
        smoothing: float = 0.0,
        token_positions: Tensor | None = None,
    ) -> ConsistentLoss:
        """The loss of two passes: features (2 B, T, R), tgt_out (B, T); see
        `nmt.layers.loss.consistent_cross_entropy`.
        """
        return self.loops.consistent_cross_entropy(
            features,
            self.output.weight,
            self.output.bias,
            tgt_out,
            weights=weights,
            smoothing=smoothing,
            token_positions=token_positions,
        )
