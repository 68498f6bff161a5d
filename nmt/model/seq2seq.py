"""Encoder and decoder joined: the seam that search, training and analysis know."""

from enum import Enum

from torch import Tensor, nn

from nmt.model.attention import Source
from nmt.model.decoder import Decoder, Features, State
from nmt.model.encoder import Encoder
from nmt.model.loss import Loss, cross_entropy, guided_cross_entropy
from nmt.model.prepared import Prepared


class Tie(Enum):
    """Which matrices are one: none, target embedding and output (two), source embedding as well (three).

    # Press and Wolf (2017)
    """

    none = "none"
    two = "two"
    three = "three"


class Seq2Seq(nn.Module):
    """logits = W_o features + b over a vocabulary of V words.

    Raises ValueError where tied matrices would differ in shape.
    """

    def __init__(self, encoder: Encoder, decoder: Decoder, *, tie: Tie = Tie.none):
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        words, width = decoder.embedding.weight.shape
        self.output = nn.Linear(decoder.features_size, words)
        if tie is not Tie.none:
            if decoder.features_size != width:
                raise ValueError(
                    f"model.tie={tie.value} makes the target embedding (width {width}) the output matrix "
                    f"(width {decoder.features_size}): give both one width (model.decoder.embedding and "
                    "model.decoder.readout, or model.decoder.hidden for luong), or set model.tie=none"
                )
            self.output.weight = decoder.embedding.weight
        if tie is Tie.three:
            if encoder.embedding.weight.shape != decoder.embedding.weight.shape:
                raise ValueError(
                    "model.tie=three needs one vocabulary and one embedding width for both sides: set "
                    "tokenizer.joint=true and model.encoder.embedding equal to model.decoder.embedding, "
                    "or model.tie=two"
                )
            encoder.embedding.weight = decoder.embedding.weight

    @property
    def has_attention(self) -> bool:
        return self.decoder.has_attention

    @property
    def device(self):
        return self.output.weight.device

    def encode(self, src: Tensor, src_lengths: Tensor) -> tuple[Source, State]:
        """src (B, S), src_lengths (B,), EOS included -> what stays and what changes over the steps."""
        encoded = self.encoder(src, src_lengths)
        return self.decoder.source(encoded), self.decoder.start(encoded)

    def step(self, tokens: Tensor, state: State, source: Source) -> tuple[Tensor, State, Tensor]:
        """tokens (N,), state of N = B * K rows, source of B rows -> logits (N, V), state, weights (N, S)."""
        features, state, weights = self.decoder.step(tokens, state, source)
        return self.logits(features), state, weights

    def prepared(self, *, shared: bool = True, sharp: int = 0) -> Prepared:
        """The same `encode` and `step`, faster and without gradients, until the weights change; see `Prepared`."""
        return Prepared(self.encoder, self.decoder, self.output, shared=shared, sharp=sharp)

    def features(self, src: Tensor, src_lengths: Tensor, tgt_in: Tensor) -> Features:
        """-> features (B, T, R) and weights (B, T, S) of teacher forcing."""
        source, state = self.encode(src, src_lengths)
        return self.decoder.features(tgt_in, state, source)

    def logits(self, features: Tensor) -> Tensor:
        """features (..., R) -> logits (..., V)."""
        return self.output(features)

    def forward(self, src: Tensor, src_lengths: Tensor, tgt_in: Tensor) -> tuple[Tensor, Tensor]:
        """-> logits (B, T, V), weights (B, T, S) of teacher forcing."""
        features, weights = self.features(src, src_lengths, tgt_in)
        return self.logits(features), weights

    def loss(
        self,
        src: Tensor,
        src_lengths: Tensor,
        tgt_in: Tensor,
        tgt_out: Tensor,
        smoothing: float = 0.0,
        links: Tensor | None = None,
        guidance: float = 0.0,
        real: Tensor | None = None,
    ) -> Loss:
        """Sums over the real tokens of tgt_out (B, T); never makes the (B, T, V) logits. real: see cross_entropy.

        links (L, 3), as `guided_cross_entropy` takes them, draw attention towards them with the weight `guidance`.
        """
        features, weights = self.features(src, src_lengths, tgt_in)
        loss = self.loss_of(features, tgt_out, smoothing, real)
        if links is None or not guidance:
            return loss
        return loss._replace(objective=loss.objective + guidance * guided_cross_entropy(weights, links))

    def loss_of(self, features: Tensor, tgt_out: Tensor, smoothing: float = 0.0, real: Tensor | None = None) -> Loss:
        """The same of features (B, T, R) made before, without links."""
        return cross_entropy(features, self.output.weight, self.output.bias, tgt_out, smoothing=smoothing, real=real)
