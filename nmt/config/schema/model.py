"""The settings of a model: model.*"""

from dataclasses import dataclass, field
from enum import Enum

from nmt.aligner import AlignerOptions
from nmt.bounds import MAX_LAYERS, between, fraction, positive_int
from nmt.model.attention import ScoreFunction
from nmt.model.cells import CellKind
from nmt.model.decoder import InitHidden
from nmt.model.initialization import Initialization
from nmt.model.seq2seq import TiedEmbeddings


class ModelKind(Enum):
    """What a model is for; the words of ``model.kind``."""

    translator = "translator"
    aligner = "aligner"


class DecoderKind(Enum):
    """The words of ``model.decoder.kind``."""

    bahdanau = "bahdanau"
    luong = "luong"
    fixed_vector = "fixed_vector"


@dataclass
class EncoderConfig:
    cell: CellKind = CellKind.gru
    embedding: int = 256
    hidden: int = 256
    layers: int = 1
    bidirectional: bool = True
    dropout: float = 0.0

    def __post_init__(self):
        positive_int(
            model__encoder__embedding=self.embedding,
            model__encoder__hidden=self.hidden,
        )
        between(1, MAX_LAYERS, {"model__encoder__layers": self.layers})
        fraction(model__encoder__dropout=self.dropout)


@dataclass
class DecoderConfig:
    kind: DecoderKind = DecoderKind.bahdanau
    cell: CellKind = CellKind.gru
    embedding: int = 256
    hidden: int = 512
    layers: int = 1
    readout: int = 256
    init_hidden: InitHidden = InitHidden.backward_first
    input_feeding: bool = True
    dropout: float = 0.0

    def __post_init__(self):
        positive_int(
            model__decoder__embedding=self.embedding,
            model__decoder__hidden=self.hidden,
            model__decoder__readout=self.readout,
        )
        between(1, MAX_LAYERS, {"model__decoder__layers": self.layers})
        fraction(model__decoder__dropout=self.dropout)


@dataclass
class AttentionConfig:
    score: ScoreFunction = ScoreFunction.additive
    size: int | None = None

    def __post_init__(self):
        positive_int(model__attention__size=self.size)
        if self.score in (ScoreFunction.additive, ScoreFunction.concat, ScoreFunction.coverage) and self.size is None:
            raise ValueError(
                f"model.attention.size is needed by {self.score.value} attention; try model.attention.size=512"
            )


@dataclass
class ModelConfig:
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    attention: AttentionConfig = field(default_factory=lambda: AttentionConfig(size=512))
    tied_embeddings: TiedEmbeddings = TiedEmbeddings.none
    initialization: Initialization = Initialization.xavier
    kind: ModelKind = ModelKind.translator
    aligner: AlignerOptions = field(default_factory=AlignerOptions)
