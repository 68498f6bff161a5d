"""Small models of every kind."""

from dataclasses import dataclass

import torch
from torch import nn

from nmt.acceleration.fused import FusedLoops
from nmt.attention.composed import AttentionOptions, compose_attention
from nmt.attention.local import GLOBAL, Extent
from nmt.attention.normalizers import Normalizer
from nmt.attention.scores import CoverageAttention, ScoreFunction
from nmt.layers.cells import CellKind
from nmt.layers.loops import ReferenceLoops
from nmt.layers.stack import StackOptions
from nmt.layers.transformer import TransformerOptions
from nmt.model.decoder import Bridge, DecoderKind, DecoderSizes, InitHidden, TransformerDecoder, build_decoder
from nmt.model.encoder import Encoder
from nmt.model.initialization import Initialization, initialize
from nmt.model.seq2seq import Seq2Seq, TiedEmbeddings
from nmt.model.transformer_encoder import TransformerEncoder


@dataclass(frozen=True)
class SmallModel:
    """The kind and the sizes of a model. decoder: bahdanau, luong, fixed, or transformer, with its encoder; memory: M,
    of both directions together."""

    decoder: str = "bahdanau"
    cell: CellKind = CellKind.gru
    score: ScoreFunction = ScoreFunction.additive
    layers: int = 1
    init_hidden: InitHidden = InitHidden.backward_first
    input_feeding: bool = True
    bidirectional: bool = True
    vocab_size: int = 23
    embedding: int = 8
    hidden: int = 8
    memory: int = 8
    readout: int = 8
    attention_size: int = 5
    normalizer: Normalizer = Normalizer.softmax
    extent: Extent = GLOBAL
    window: int = 10
    renormalize: bool = False
    heads: int = 1
    dropout: float = 0.0
    transformer_heads: int = 2
    feedforward: int | None = None
    attention_layer: int | None = None
    attention_head: int | None = None
    layer_norm: bool = False
    residual: bool = False
    transition_depth: int = 1
    context_to_layers: bool = False
    tied_embeddings: TiedEmbeddings = TiedEmbeddings.none

    def build(self, seed: int = 1) -> Seq2Seq:
        """The model as it is trained, with torch's own initialization, in float32."""
        torch.manual_seed(seed)
        if self.decoder == "transformer":
            return self._transformer()
        directions = 2 if self.bidirectional else 1
        encoder = Encoder(
            self.vocab_size,
            embedding=self.embedding,
            hidden=self.memory // directions,
            layers=self.layers,
            cell=self.cell,
            bidirectional=self.bidirectional,
            dropout=self.dropout,
            stack=self._stack,
        )
        state_size = 2 * self.hidden if self.cell is CellKind.lstm else self.hidden
        attention = AttentionOptions(
            score=self.score,
            size=self.attention_size,
            normalizer=self.normalizer,
            extent=self.extent,
            window=self.window,
            renormalize=self.renormalize,
            heads=self.heads,
            gaussians=2,
            max_positions=4,
        )
        bridge = Bridge(self.init_hidden, self.memory // directions, directions, [state_size] * self.layers)
        decoder = build_decoder(
            DecoderKind("fixed_vector" if self.decoder == "fixed" else self.decoder),
            self._sizes(self.memory),
            build_bridge=lambda: bridge,
            build_attention=lambda: compose_attention(attention, self.hidden, self.memory),
            input_feeding=self.input_feeding,
        )
        return Seq2Seq(encoder, decoder, tied_embeddings=self.tied_embeddings, loops=FusedLoops())

    def _transformer(self) -> Seq2Seq:
        options = TransformerOptions(
            self.transformer_heads, self.feedforward, self.attention_layer, self.attention_head
        )
        widths = {"embedding": self.embedding, "layers": self.layers, "dropout": self.dropout}
        encoder = TransformerEncoder(self.vocab_size, **widths, options=options)
        decoder = TransformerDecoder(self._sizes(self.embedding), options=options)
        return Seq2Seq(encoder, decoder, tied_embeddings=self.tied_embeddings, loops=FusedLoops())

    @property
    def _stack(self) -> StackOptions:
        return StackOptions(layer_norm=self.layer_norm, residual=self.residual, transition_depth=self.transition_depth)

    def _sizes(self, memory: int) -> DecoderSizes:
        return DecoderSizes(
            vocab_size=self.vocab_size,
            embedding=self.embedding,
            hidden=self.hidden,
            memory=memory,
            readout=self.readout,
            layers=self.layers,
            cell=self.cell,
            dropout=self.dropout,
            stack=self._stack,
            context_to_layers=self.context_to_layers,
        )


# Decoders with what a stack can have beyond its sizes: each by itself, and all together.
STACKS = [
    *(("bahdanau", {"layer_norm": True, "cell": cell}) for cell in CellKind),
    *(("bahdanau", {"transition_depth": 3, "cell": cell}) for cell in CellKind),
    ("bahdanau", {"residual": True, "layers": 3}),
    ("bahdanau", {"context_to_layers": True, "layers": 3}),
    *(
        (decoder, {"layer_norm": True, "residual": True, "transition_depth": 2, "layers": 3, "cell": cell, **options})
        for decoder, cell, options in (
            ("bahdanau", CellKind.gru, {"context_to_layers": True}),
            ("conditional_gru", CellKind.gru_reset_after, {"context_to_layers": True}),
            ("luong", CellKind.lstm, {"input_feeding": True}),
            ("luong", CellKind.gru, {"input_feeding": False}),
            ("fixed", CellKind.gru, {}),
        )
    ),
    ("luong", {"residual": True, "layers": 2, "cell": CellKind.lstm}),
    ("conditional_gru", {"transition_depth": 3}),
]


def make_model(decoder: str = "bahdanau", *, seed: int = 1, dtype: torch.dtype = torch.float64, **sizes) -> Seq2Seq:
    """A model for exact comparisons: biases and coverage weights are not zero, so that one left out is noticed.

    sizes: the fields of SmallModel.
    """
    model = SmallModel(decoder, **sizes).build(seed)
    for module in model.modules():
        if isinstance(module, CoverageAttention):
            nn.init.uniform_(module.coverage_weight, -2, 2)
    initialize(model, Initialization.xavier)
    for parameter in model.parameters():
        if parameter.dim() == 1:
            nn.init.normal_(parameter, 0.0, 0.3)
    return model.to(dtype)


def draw_weights(model: Seq2Seq, std: float) -> Seq2Seq:
    """The model in float64 for evaluation, with every weight drawn: outputs differ clearly."""
    for weight in model.parameters():
        nn.init.normal_(weight, std=std)
    return model.double().eval()


def reference_of(model: Seq2Seq) -> Seq2Seq:
    """The same weights on the reference loops."""
    return model.with_loops(ReferenceLoops())
