"""Every knob and its type; the numbers are in the YAML files under configs/."""

import math
import sys
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from hydra.core.config_store import ConfigStore

from nmt.analysis.alignment import Symmetrise
from nmt.data.batches import Unit
from nmt.data.corpus import Blank
from nmt.data.tokenizer import Kind
from nmt.decoding.search import Normalisation
from nmt.model.attention import Score
from nmt.model.cells import CellKind
from nmt.model.decoder import Start
from nmt.model.init import Init
from nmt.model.seq2seq import Tie
from nmt.training.device import DeviceName, GraphsChoice, Kernels, Precision
from nmt.training.optim import OptimiserName, ScheduleName
from nmt.training.trainer import BestBy


class DataKind(Enum):
    """Where a corpus comes from."""

    demo = "demo"
    files = "files"
    hub = "hub"


class DecoderKind(Enum):
    """The words of ``model.decoder.kind``."""

    bahdanau = "bahdanau"
    luong = "luong"
    fixed_vector = "fixed_vector"


MOST = 1_000_000  # units, layers, threads: whoever asks for more has slipped, and no machine would hold them

MOST_LAYERS = 64  # a file from elsewhere must not make the program build a million of them


def _between(low: float, high: float, values: dict[str, float | None]) -> None:
    for name, value in values.items():
        if value is not None and not low <= value <= high:  # in this form it holds for nan too
            bound = f"the most is {high:,}" if value > high else f"the least is {low:g}"
            raise ValueError(f"{name.replace('__', '.')}={value} is impossible: {bound}")


def _at_least(low: float, **values: float | None) -> None:
    """Raises ValueError for a value below `low`, infinite or not a number; `a__b` stands for the key a.b."""
    _between(low, sys.float_info.max, values)


def _size(**values: int | None) -> None:
    _between(1, MOST, dict(values))


def _above(low: float, **values: float | None) -> None:
    for name, value in values.items():
        if value is not None and not low < value < math.inf:
            raise ValueError(f"{name.replace('__', '.')}={value} is impossible: give a number above {low:g}")


def _share(**values: float) -> None:
    for name, value in values.items():
        if not 0 <= value < 1:
            raise ValueError(f"{name.replace('__', '.')}={value} is impossible: give a share of at least 0 and below 1")


@dataclass
class DataConfig:
    kind: DataKind = DataKind.demo
    src: str | None = None
    tgt: str | None = None
    train: Any = None  # a prefix or split, or a list of them; checked below, as OmegaConf has no such union
    valid: str | None = None
    test: str | None = None
    name: str | None = None
    config: str | None = None
    blank: Blank = Blank.error
    max_length: int | None = None
    cache: str = "data/cache"

    def __post_init__(self):
        if self.train is not None:
            parts = [self.train] if isinstance(self.train, str) else self.train
            if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
                raise ValueError(
                    f"data.train={self.train!r}: give a path without its language suffix, or a list of such"
                )
            self.train = parts
        _at_least(1, data__max_length=self.max_length)


@dataclass
class TokenizerConfig:
    kind: Kind = Kind.unigram
    joint: bool = False
    size: int = 8000
    src_size: int | None = None
    tgt_size: int | None = None
    character_coverage: float = 1.0
    byte_fallback: bool = True
    sample: int = 20_000
    model: str | None = None
    src_model: str | None = None
    tgt_model: str | None = None

    def __post_init__(self):
        _size(tokenizer__size=self.size, tokenizer__src_size=self.src_size, tokenizer__tgt_size=self.tgt_size)
        _at_least(1, tokenizer__sample=self.sample)
        if not 0.98 <= self.character_coverage <= 1:
            raise ValueError(f"tokenizer.character_coverage={self.character_coverage}: SentencePiece takes 0.98 to 1")
        if (self.src_model is None) != (self.tgt_model is None):
            raise ValueError("tokenizer.src_model and tokenizer.tgt_model go together; one for both is tokenizer.model")


@dataclass
class BatchConfig:
    size: int = 4096
    unit: Unit = Unit.tokens
    pool: int = 0

    def __post_init__(self):
        _at_least(1, batch__size=self.size)
        _at_least(0, batch__pool=self.pool)


@dataclass
class EncoderConfig:
    cell: CellKind = CellKind.gru
    embedding: int = 256
    hidden: int = 256
    layers: int = 1
    bidirectional: bool = True
    dropout: float = 0.0

    def __post_init__(self):
        _size(
            model__encoder__embedding=self.embedding,
            model__encoder__hidden=self.hidden,
        )
        _between(1, MOST_LAYERS, {"model__encoder__layers": self.layers})
        _share(model__encoder__dropout=self.dropout)


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
        _size(
            model__decoder__embedding=self.embedding,
            model__decoder__hidden=self.hidden,
            model__decoder__readout=self.readout,
        )
        _between(1, MOST_LAYERS, {"model__decoder__layers": self.layers})
        _share(model__decoder__dropout=self.dropout)


@dataclass
class AttentionConfig:
    score: Score = Score.additive
    size: int | None = None

    def __post_init__(self):
        _size(model__attention__size=self.size)
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


@dataclass
class ScheduleConfig:
    name: ScheduleName = ScheduleName.constant
    warmup: int = 0
    hold: float = 0.0
    halvings: int = 5
    floor: float = 0.0
    factor: float = 0.5
    patience: int = 1

    def __post_init__(self):
        _at_least(0, optim__schedule__warmup=self.warmup, optim__schedule__patience=self.patience)
        _at_least(1, optim__schedule__halvings=self.halvings)
        _share(optim__schedule__hold=self.hold)
        for name in ("floor", "factor"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"optim.schedule.{name}={getattr(self, name)} is impossible: give 0 to 1")
        if self.name is ScheduleName.inverse_sqrt and self.warmup == 0:
            raise ValueError(
                "optim.schedule.name=inverse_sqrt falls from the end of its warm-up: try optim.schedule.warmup=1000"
            )


@dataclass
class OptimConfig:
    name: OptimiserName = OptimiserName.adam
    lr: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    rho: float = 0.95
    momentum: float = 0.0
    weight_decay: float = 0.0
    clip: float = 1.0
    smoothing: float = 0.0
    average: float = 0.0
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)

    def __post_init__(self):
        _above(0, optim__lr=self.lr)
        _at_least(0, optim__eps=self.eps, optim__weight_decay=self.weight_decay, optim__clip=self.clip)
        _share(
            optim__beta1=self.beta1,
            optim__beta2=self.beta2,
            optim__rho=self.rho,
            optim__momentum=self.momentum,
            optim__smoothing=self.smoothing,
            optim__average=self.average,
        )


@dataclass
class TrainerConfig:
    max_updates: int | None = None
    max_epochs: float | None = None
    max_minutes: float | None = None
    accumulate: int = 1
    log_every: int = 50
    validate_every: int = 500
    save_every: int = 500
    save_minutes: float = 0.0
    keep: int = 1
    best_by: BestBy = BestBy.bleu
    patience: int = 0
    most_skipped: int = 20
    valid_beam: int = 5
    valid_sentences: int | None = None
    tensorboard: bool = True

    def __post_init__(self):
        _at_least(1, trainer__accumulate=self.accumulate, trainer__max_updates=self.max_updates)
        _at_least(1, trainer__most_skipped=self.most_skipped, trainer__valid_beam=self.valid_beam)
        _at_least(1, trainer__valid_sentences=self.valid_sentences)
        _above(0, trainer__max_epochs=self.max_epochs, trainer__max_minutes=self.max_minutes)
        _at_least(
            0,
            trainer__log_every=self.log_every,
            trainer__validate_every=self.validate_every,
            trainer__save_every=self.save_every,
            trainer__save_minutes=self.save_minutes,
            trainer__keep=self.keep,
            trainer__patience=self.patience,
        )


@dataclass
class GuidedConfig:
    links: Any = None  # a file or a list of them; checked below, as OmegaConf has no such union
    weight: float = 1.0
    decay: float = 1.0

    def __post_init__(self):
        if self.links is not None:
            files = [self.links] if isinstance(self.links, str) else self.links
            if not isinstance(files, list) or not all(isinstance(file, str) for file in files):
                raise ValueError(f"guided.links={self.links!r}: give a file of links, i-j, or a list of such")
            self.links = files
        _at_least(0, guided__weight=self.weight)
        if not 0 <= self.decay <= 1:
            raise ValueError(f"guided.decay={self.decay} is impossible: give 0 to 1")


@dataclass
class DecodeConfig:
    beam: int = 5
    batch_size: int = 64
    max_length: int | None = None
    normalisation: Normalisation = Normalisation.average
    alpha: float = 0.6
    nbest: int = 1

    def __post_init__(self):
        _size(decode__beam=self.beam, decode__batch_size=self.batch_size, decode__max_length=self.max_length)
        _size(decode__nbest=self.nbest)
        if self.nbest > self.beam:
            raise ValueError(
                f"decode.nbest={self.nbest} is more than the {self.beam} of decode.beam: try decode.beam={self.nbest}"
            )


@dataclass
class TrainConfig:
    """What `python -m nmt.train` takes."""

    name: str = "custom"
    data: DataConfig = field(default_factory=DataConfig)
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    batch: BatchConfig = field(default_factory=BatchConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    guided: GuidedConfig = field(default_factory=GuidedConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    decode: DecodeConfig = field(default_factory=DecodeConfig)
    run: str | None = None
    resume: str | None = None
    init: str | None = None
    seed: int = 1
    device: DeviceName = DeviceName.auto
    precision: Precision = Precision.auto
    kernels: Kernels = Kernels.auto
    graphs: GraphsChoice = GraphsChoice.off
    threads: int | None = None

    def __post_init__(self):
        _between(0, 2**32 - 1, {"seed": self.seed})
        limits = (self.trainer.max_updates, self.trainer.max_epochs, self.trainer.max_minutes)
        if limits == (None, None, None) and not self.trainer.patience:
            raise ValueError("nothing would end this run: set trainer.max_updates, max_epochs, max_minutes or patience")
        if self.guided.links and self.model.decoder.kind is DecoderKind.fixed_vector:
            raise ValueError("guided.links teach attention, which model.decoder.kind=fixed_vector does not have")
        if self.model.tie is Tie.three and not (self.tokenizer.joint or self.tokenizer.model):
            raise ValueError(
                "model.tie=three shares one table between the languages, which needs one vocabulary for both: "
                "try tokenizer.joint=true, or model.tie=two"
            )
        _size(threads=self.threads)


@dataclass
class TestConfig:
    """The test set of an evaluation; what is not given is the run's own."""

    kind: DataKind | None = None
    src: str | None = None
    tgt: str | None = None
    test: str | None = None
    name: str | None = None
    config: str | None = None
    join: int = 1
    cache: str = "data/cache"

    def __post_init__(self):
        _between(1, 100, {"data__join": self.join})


@dataclass
class EvaluateConfig:
    """What `python -m nmt.evaluate` takes."""

    checkpoint: str | None = None
    data: TestConfig = field(default_factory=TestConfig)
    decode: DecodeConfig = field(default_factory=DecodeConfig)
    heatmaps: int = 10
    out: str | None = None
    device: DeviceName = DeviceName.auto
    precision: Precision = Precision.fp32
    threads: int | None = None

    def __post_init__(self):
        _at_least(0, heatmaps=self.heatmaps)
        _size(threads=self.threads)


def _with_in(schema: type) -> type:
    """Adds the key `in`, which people expect beside `out`, and which Python would not let a class declare."""
    schema.__annotations__["in"] = str | None
    setattr(schema, "in", field(default=None, init=False, repr=False, compare=False))
    return schema


@dataclass
@_with_in
class TranslateConfig:
    """What `python -m nmt.translate` takes."""

    checkpoint: str | None = None
    out: str | None = None
    append: bool = False
    decode: DecodeConfig = field(default_factory=DecodeConfig)
    alignments: str | None = None
    heatmaps: str | None = None
    pieces: bool = False
    device: DeviceName = DeviceName.auto
    precision: Precision = Precision.fp32
    threads: int | None = None

    def __post_init__(self):
        _size(threads=self.threads)
        if self.append and not self.out:
            raise ValueError("append=true continues the file that out= names: give out=FILE as well")

    @property
    def source(self) -> str | None:
        """The file of `in`; None for standard input."""
        return getattr(self, "in")


@dataclass
class ForcedConfig:
    """Of decoding where the words are given: only how many pairs go together."""

    batch_size: int = 64

    def __post_init__(self):
        _size(decode__batch_size=self.batch_size)


@dataclass
class AlignConfig:
    """What `python -m nmt.align` takes."""

    checkpoint: str | None = None
    src: str | None = None
    tgt: str | None = None
    out: str | None = None
    score: bool = False
    soft: str | None = None
    heatmaps: str | None = None
    threshold: float | None = None
    posterior: bool = False
    reverse: str | None = None
    symmetrise: Symmetrise | None = None
    gold: str | None = None
    gold_reversed: bool = False
    links: str | None = None
    decode: ForcedConfig = field(default_factory=ForcedConfig)
    device: DeviceName = DeviceName.auto
    precision: Precision = Precision.fp32
    threads: int | None = None

    def __post_init__(self):
        _size(threads=self.threads)
        if self.threshold is not None and not 0 < self.threshold <= 1:
            raise ValueError(
                f"threshold={self.threshold} makes no sense: give a weight above 0 and up to 1, such as 0.2"
            )
        if self.symmetrise and not self.reverse:
            raise ValueError(
                f"symmetrise={self.symmetrise.value} joins two directions: give reverse=RUN, a model of the other one"
            )
        if self.gold_reversed and not self.gold:
            raise ValueError("gold_reversed=true is about the links of gold=: give gold=FILE as well")
        if self.links:
            self._check_links()
        elif not self.src or not self.tgt:
            missing = " and ".join(f"{name}=" for name in ("src", "tgt") if not getattr(self, name))
            raise ValueError(f"{missing} not set: src=FILE and tgt=FILE hold the pairs to align, line by line")

    def _check_links(self):
        """What goes with links that are only to be scored."""
        if not self.gold:
            raise ValueError(f"links={self.links} are scored against hand-made ones: give gold=FILE as well")
        for name in (
            "checkpoint",
            "src",
            "tgt",
            "out",
            "score",
            "soft",
            "heatmaps",
            "threshold",
            "posterior",
            "reverse",
        ):
            if getattr(self, name):
                raise ValueError(f"links={self.links} are scored as they are, without a model: leave {name}= away")


@dataclass
class SaliencyConfig:
    """What `python -m nmt.saliency` takes."""

    checkpoint: str | None = None
    src: str | None = None
    tgt: str | None = None
    out: str = "saliency"
    heatmaps: int = 10
    gold: str | None = None
    gold_reversed: bool = False
    decode: DecodeConfig = field(default_factory=DecodeConfig)
    device: DeviceName = DeviceName.auto
    precision: Precision = Precision.fp32
    threads: int | None = None

    def __post_init__(self):
        _at_least(0, heatmaps=self.heatmaps)
        _size(threads=self.threads)
        if not self.src:
            raise ValueError("src= is not set: src=FILE holds the source sentences, line by line")
        if self.gold and not self.tgt:
            raise ValueError(f"gold={self.gold} holds the links of given pairs: give tgt=FILE, their translations, too")
        if self.gold_reversed and not self.gold:
            raise ValueError("gold_reversed=true is about the links of gold=: give gold=FILE as well")


@dataclass
class CompareConfig:
    """What `python -m nmt.compare` takes."""

    runs: list[str] = field(default_factory=list)
    test: str | None = None
    out: str = "comparison"
    width: int | None = None
    samples: int = 1000

    def __post_init__(self):
        if not self.runs:
            raise ValueError("runs= is not set: give the run folders to compare, such as runs=[runs/one,runs/another]")
        if twice := [run for run in self.runs if self.runs.count(run) > 1]:
            raise ValueError(f"runs= names {twice[0]} twice")
        _size(width=self.width)
        _between(40, MOST, {"samples": self.samples})


_DOORS = {
    "train": TrainConfig,
    "evaluate": EvaluateConfig,
    "translate": TranslateConfig,
    "align": AlignConfig,
    "compare": CompareConfig,
    "saliency": SaliencyConfig,
}
for _name, _schema in _DOORS.items():
    ConfigStore.instance().store(name=f"{_name}_schema", node=_schema)
