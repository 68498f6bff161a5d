"""The knobs of a model: model.*"""

from dataclasses import dataclass, field
from enum import Enum

from nmt.config.schema.bounds import MOST_LAYERS, between, count, share
from nmt.model.attention import Score
from nmt.model.cells import CellKind
from nmt.model.decoder import Start
from nmt.model.init import Init
from nmt.model.seq2seq import Tie


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
        count(
            model__encoder__embedding=self.embedding,
            model__encoder__hidden=self.hidden,
        )
        between(1, MOST_LAYERS, {"model__encoder__layers": self.layers})
        share(model__encoder__dropout=self.dropout)


@dataclass
class DecoderConfig:
    kind: DecoderKind = DecoderKind.bahdanau
    cell: CellKind = CellKind.gru
    embedding: int = 256
    hidden: int = 512
    layers: int = 1
    readout: int = 256
    start: Start = Start.backward_first
    input_feeding: bool = True
    dropout: float = 0.0

    def __post_init__(self):
        count(
            model__decoder__embedding=self.embedding,
            model__decoder__hidden=self.hidden,
            model__decoder__readout=self.readout,
        )
        between(1, MOST_LAYERS, {"model__decoder__layers": self.layers})
        share(model__decoder__dropout=self.dropout)


@dataclass
class AttentionConfig:
    score: Score = Score.additive
    size: int | None = None

    def __post_init__(self):
        count(model__attention__size=self.size)
        if self.score in (Score.additive, Score.concat, Score.coverage) and self.size is None:
            raise ValueError(
                f"model.attention.size is needed by {self.score.value} attention; try model.attention.size=512"
            )


@dataclass
class ModelConfig:
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    attention: AttentionConfig = field(default_factory=lambda: AttentionConfig(size=512))
    tie: Tie = Tie.none
    init: Init = Init.xavier
