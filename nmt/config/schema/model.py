"""The settings model.*"""

from dataclasses import dataclass, field
from enum import Enum

from nmt.aligner import AlignerOptions
from nmt.alignment_head import AlignmentHeadOptions
from nmt.attention.composed import AttentionOptions
from nmt.attention.hard import AttentionChoice, HardAttentionOptions
from nmt.attention.local import GLOBAL, Extent
from nmt.attention.scores import ScoreFunction
from nmt.bounds import MAX_LAYERS, between, fraction, positive_int
from nmt.layers.cells import CellKind
from nmt.layers.stack import StackOptions
from nmt.layers.transformer import TransformerOptions
from nmt.model.decoder import DecoderKind, InitHidden
from nmt.model.initialization import Initialization
from nmt.model.seq2seq import TiedEmbeddings


class ModelKind(Enum):
    """The values of ``model.kind``: the task of a model."""

    translator = "translator"
    aligner = "aligner"
    alignment_head = "alignment_head"  # a trained translator with a head that makes links


class EncoderKind(Enum):
    """The values of ``model.encoder.kind``."""

    rnn = "rnn"
    transformer = "transformer"


@dataclass
class EncoderConfig(StackOptions):
    """The settings model.encoder.*"""

    kind: EncoderKind = EncoderKind.rnn
    cell: CellKind = CellKind.gru
    embedding: int = 256
    hidden: int = 256
    layers: int = 1
    bidirectional: bool = True
    dropout: float = 0.0
    word_dropout: float = 0.0
    recurrent_dropout: float = 0.0

    def __post_init__(self):
        positive_int(
            model__encoder__embedding=self.embedding,
            model__encoder__hidden=self.hidden,
        )
        between(1, MAX_LAYERS, {"model__encoder__layers": self.layers})
        between(1, MAX_LAYERS, {"model__encoder__transition_depth": self.transition_depth})
        fraction(
            model__encoder__dropout=self.dropout,
            model__encoder__word_dropout=self.word_dropout,
            model__encoder__recurrent_dropout=self.recurrent_dropout,
        )


@dataclass
class DecoderConfig(StackOptions):
    """The settings model.decoder.*"""

    kind: DecoderKind = DecoderKind.bahdanau
    cell: CellKind = CellKind.gru
    embedding: int = 256
    hidden: int = 512
    layers: int = 1
    readout: int = 256
    init_hidden: InitHidden = InitHidden.backward_first
    input_feeding: bool = True
    context_to_layers: bool = False
    dropout: float = 0.0
    word_dropout: float = 0.0
    recurrent_dropout: float = 0.0

    def __post_init__(self):
        positive_int(
            model__decoder__embedding=self.embedding,
            model__decoder__hidden=self.hidden,
            model__decoder__readout=self.readout,
        )
        between(1, MAX_LAYERS, {"model__decoder__layers": self.layers})
        between(1, MAX_LAYERS, {"model__decoder__transition_depth": self.transition_depth})
        fraction(
            model__decoder__dropout=self.dropout,
            model__decoder__word_dropout=self.word_dropout,
            model__decoder__recurrent_dropout=self.recurrent_dropout,
        )


@dataclass
class AttentionConfig(AttentionOptions):
    """The settings model.attention.*"""

    choice: AttentionChoice = AttentionChoice.soft
    hard: HardAttentionOptions = field(default_factory=HardAttentionOptions)

    def __post_init__(self):
        positive_int(
            model__attention__size=self.size,
            model__attention__window=self.window,
            model__attention__heads=self.heads,
            model__attention__gaussians=self.gaussians,
            model__attention__max_positions=self.max_positions,
        )
        if self.score in (ScoreFunction.additive, ScoreFunction.concat, ScoreFunction.coverage) and self.size is None:
            raise ValueError(
                f"model.attention.size is needed by {self.score.value} attention; try model.attention.size=512"
            )
        if self.score in (ScoreFunction.location, ScoreFunction.gaussian):
            given = [f"model.attention.heads={self.heads}"] if self.heads > 1 else []
            given += [f"model.attention.extent={self.extent.value}"] if self.extent is not GLOBAL else []
            if given:
                raise ValueError(
                    f"{given[0]} needs a score that compares the query with the source, and "
                    f"model.attention.score={self.score.value} does not: try model.attention.score=additive"
                )
        if self.choice is AttentionChoice.hard:
            self._check_hard()

    def _check_hard(self):
        """Checks hard attention, which needs probabilities over positions, of a single attention."""
        if self.heads > 1:
            raise ValueError(
                f"model.attention.heads={self.heads} read {self.heads} positions for a word, and "
                "model.attention.choice=hard chooses one: set model.attention.heads=1"
            )
        if self.extent is Extent.local_p and not self.renormalize:
            raise ValueError(
                "model.attention.choice=hard chooses a position by weights that sum to one, which those of "
                "model.attention.extent=local_p do not: set model.attention.renormalize=true"
            )


@dataclass
class ModelConfig:
    """The settings model.*"""

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    attention: AttentionConfig = field(default_factory=lambda: AttentionConfig(size=512))
    transformer: TransformerOptions = field(default_factory=TransformerOptions)
    tied_embeddings: TiedEmbeddings = TiedEmbeddings.none
    initialization: Initialization = Initialization.xavier
    aligner: AlignerOptions = field(default_factory=AlignerOptions)
    alignment_head: AlignmentHeadOptions = field(default_factory=AlignmentHeadOptions)
    kind: ModelKind = ModelKind.translator

    def __post_init__(self):
        positive_int(model__transformer__feedforward=self.transformer.feedforward)
        if self.attention.choice is AttentionChoice.hard and self.decoder.kind not in (
            DecoderKind.bahdanau,
            DecoderKind.luong,
        ):
            raise ValueError(
                "model.attention.choice=hard chooses a source position for each word, which "
                f"model.decoder.kind={self.decoder.kind.value} does not do: try model.decoder.kind=bahdanau or luong"
            )
        # A recurrent decoder that starts from an encoder state, or reads it at every step, needs a recurrent encoder.
        if self.encoder.kind is EncoderKind.rnn or self.decoder.kind is DecoderKind.transformer:
            return
        if self.decoder.kind is DecoderKind.fixed_vector:
            raise ValueError(
                "model.decoder.kind=fixed_vector reads the last state of a recurrent encoder, which "
                "model.encoder.kind=transformer does not have: try model.encoder.kind=rnn"
            )
        if self.decoder.init_hidden in (InitHidden.last, InitHidden.backward_first):
            raise ValueError(
                f"model.decoder.init_hidden={self.decoder.init_hidden.value} is a state of a recurrent encoder, which "
                "model.encoder.kind=transformer does not have: try model.decoder.init_hidden=mean"
            )
