"""The settings of the commands evaluate, translate, calibrate, compare, serve and average."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from nmt.analysis.metrics import MAIN_METRIC, METRICS
from nmt.analysis.segmentation import TOKENIZERS
from nmt.bounds import MAX_COUNT, at_least, between, greater_than, one_of, positive_int
from nmt.config.paths import CACHE_FILES, RUN_FILES, STREAM, PathKey, Use, path_key
from nmt.config.schema.data import DataKind
from nmt.config.schema.decoding import DecodeOverrides
from nmt.config.schema.ensemble import check_ensemble, is_ensemble
from nmt.decoding.ensemble import EnsembleAverage
from nmt.runtime.device import DeviceName, Precision
from nmt.server.limits import ServerLimits

# The files that the commands write into their folders, and that compare reads.
EVALUATION_OUTPUTS = (
    *("scores.json", "sources.txt", "references.txt", "hypotheses.txt", "alignments.txt", "attention.npz"),
    *("report.html", "heatmaps/*.png"),
)
AVERAGE_FILES = ("config.yaml", ".lock", "checkpoints/*", "checkpoints/*/*", "checkpoints/*/*/*")
COMPARISON_FILES = (f"{MAIN_METRIC}_by_length.png", "comparison.json")
COMPARISON_OUTPUTS = (*COMPARISON_FILES, *(f"*/{name}" for name in COMPARISON_FILES))  # in a folder for each test set
COMPARED_FILES = tuple(f"evaluation/*/{name}" for name in EVALUATION_OUTPUTS[:4])


class HeatmapUnits(Enum):
    """The values of ``heatmap_units``: the rows and columns of a heatmap."""

    words = "words"
    subwords = "subwords"


@dataclass
class TestConfig:
    """The test set of an evaluation; null values are those of the run."""

    kind: DataKind | None = None
    src: str | None = None
    tgt: str | None = None
    test: str | None = path_key(Use.prefix)
    name: str | None = path_key(Use.input)
    config: str | None = None
    concat: int = 1
    bleu_tokenizer: str | None = None
    cache: str = path_key(Use.folder, "data/cache", contents=CACHE_FILES, read_only=True)

    def __post_init__(self):
        between(1, 100, {"data__concat": self.concat})
        one_of(TOKENIZERS, data__bleu_tokenizer=self.bleu_tokenizer)


@dataclass
class EvaluateConfig:
    """The settings of `python -m nmt.evaluate`."""

    checkpoint: Any = path_key(Use.run, contents=RUN_FILES)  # or a list, because OmegaConf has no such union
    data: TestConfig = field(default_factory=TestConfig)
    decode: DecodeOverrides = field(default_factory=DecodeOverrides)
    ensemble: EnsembleAverage | None = None
    prefix: str | None = None
    prefixes: str | None = path_key(Use.input)
    metrics: list[str] | None = None
    ter_max_tokens: int = 200
    ter_max_seconds: float = 60.0
    heatmaps: int = 10
    attention_layer: int | None = None
    attention_head: int | None = None
    gold: str | None = path_key(Use.input)
    gold_reversed: bool = False
    out: str | None = path_key(Use.folder, contents=EVALUATION_OUTPUTS)
    device: DeviceName = DeviceName.auto
    precision: Precision = Precision.fp32
    threads: int | None = None

    def __post_init__(self):
        at_least(0, heatmaps=self.heatmaps)
        check_ensemble(self)
        if is_ensemble(self.checkpoint) and not self.out:
            raise ValueError("an ensemble has no run folder to write its evaluation into: give out=FOLDER as well")
        _one_of_prefix_and_prefixes(self)
        positive_int(threads=self.threads, ter_max_tokens=self.ter_max_tokens)
        positive_int(attention_layer=self.attention_layer, attention_head=self.attention_head)
        greater_than(0, ter_max_seconds=self.ter_max_seconds)
        if self.metrics == []:
            raise ValueError(f"metrics=[] leaves nothing to compute: give some of {', '.join(METRICS)}")
        for name in self.metrics or []:
            one_of(list(METRICS), metrics=name)


def _one_of_prefix_and_prefixes(config: Any) -> None:
    if config.prefix is not None and config.prefixes is not None:
        raise ValueError(
            f"prefix={config.prefix} begins every translation and prefixes={config.prefixes} each with its own: give "
            "one of them"
        )


class TextFormat(Enum):
    """The values of ``format``: the format of the text to translate."""

    lines = "lines"
    html = "html"


def _with_in(schema: type) -> type:
    """Adds the key `in`, the counterpart of `out`, which is a keyword of Python and cannot be declared in a class."""
    schema.__annotations__["in"] = str | None
    metadata = {"path": PathKey(Use.input, stream=True)}
    setattr(schema, "in", field(default=None, init=False, repr=False, compare=False, metadata=metadata))
    return schema


@dataclass
@_with_in
class TranslateConfig:
    """The settings of `python -m nmt.translate`."""

    checkpoint: Any = path_key(Use.run, contents=RUN_FILES)  # or a list, because OmegaConf has no such union
    out: str | None = path_key(Use.output, dash=True, stream=True)
    append: bool = False
    format: TextFormat = TextFormat.lines
    decode: DecodeOverrides = field(default_factory=DecodeOverrides)
    ensemble: EnsembleAverage | None = None
    prefix: str | None = None
    prefixes: str | None = path_key(Use.input)
    alignments: str | None = path_key(Use.output, dash=True)
    confidence: str | None = path_key(Use.output, dash=True)
    heatmaps: str | None = path_key(Use.folder, contents=("*.png",))
    heatmap_units: HeatmapUnits | None = None
    attention_layer: int | None = None
    attention_head: int | None = None
    device: DeviceName = DeviceName.auto
    precision: Precision = Precision.fp32
    threads: int | None = None

    def __post_init__(self):
        positive_int(threads=self.threads)
        positive_int(attention_layer=self.attention_layer, attention_head=self.attention_head)
        check_ensemble(self)
        _one_of_prefix_and_prefixes(self)
        if self.append and not self.out:
            raise ValueError("append=true continues the file that out= names: give out=FILE as well")
        if self.append and STREAM in (self.out, self.alignments, self.confidence):
            raise ValueError("append=true continues files, and - is standard output: name a file")
        if self.format is TextFormat.html:
            self._check_html()

    def _check_html(self):
        for name in ("append", "alignments", "confidence", "heatmaps", "prefix", "prefixes"):
            if getattr(self, name):
                raise ValueError(
                    f"{name}= is about lines, and format=html translates a document: leave one of them out"
                )
        if self.decode.nbest > 1:
            raise ValueError("decode.nbest= is about lines, and format=html writes one document: leave it out")

    @property
    def source(self) -> str | None:
        """The file of `in`; None for standard input."""
        return None if getattr(self, "in") == STREAM else getattr(self, "in")


@dataclass
class AverageConfig:
    """The settings of `python -m nmt.average`."""

    checkpoint: str | None = path_key(Use.run, contents=RUN_FILES)
    last: int = 5
    out: str | None = path_key(Use.folder, contents=AVERAGE_FILES)

    def __post_init__(self):
        between(2, MAX_COUNT, {"last": self.last})
        for key in ("checkpoint", "out"):
            if not getattr(self, key):
                raise ValueError(f"{key}= is not set: python -m nmt.average checkpoint=RUN out=FOLDER")


@dataclass
class CalibrateConfig:
    """The settings of `python -m nmt.calibrate`."""

    checkpoint: str | None = path_key(Use.run, contents=RUN_FILES)
    valid: str | None = path_key(Use.prefix)
    sentences: int = 2000
    cache: str = path_key(Use.folder, "data/cache", contents=CACHE_FILES, read_only=True)
    device: DeviceName = DeviceName.auto
    precision: Precision = Precision.fp32
    threads: int | None = None

    def __post_init__(self):
        positive_int(threads=self.threads, sentences=self.sentences)


@dataclass
class CompareConfig:
    """The settings of `python -m nmt.compare`."""

    runs: list[str] = path_key(Use.run, list, contents=RUN_FILES + COMPARED_FILES)
    baseline: str | None = path_key(Use.run, contents=RUN_FILES + COMPARED_FILES)
    test: Any = None  # a name or a list; checked below, because OmegaConf has no such union
    out: str = path_key(Use.folder, "comparison", contents=COMPARISON_OUTPUTS)
    width: int | None = None
    samples: int = 1000
    bleu_tokenizer: str | None = None

    def __post_init__(self):
        if not self.runs:
            raise ValueError("runs= is not set: give the run folders to compare, such as runs=[runs/one,runs/another]")
        if twice := [run for run in self.runs if self.runs.count(run) > 1]:
            raise ValueError(f"runs= names {twice[0]} twice")
        if self.baseline is not None and self.baseline not in self.runs:
            raise ValueError(f"baseline={self.baseline} is none of the runs: give one of {', '.join(self.runs)}")
        if not isinstance(self.test, str | int | list | None) or not all(isinstance(test, str) for test in self.tests):
            raise ValueError(f"test={self.test!r}: give the name of a test set, or a list of such")
        if twice := [test for test in self.tests if self.tests.count(test) > 1]:
            raise ValueError(f"test= names {twice[0]} twice")
        positive_int(width=self.width)
        between(40, MAX_COUNT, {"samples": self.samples})
        one_of(TOKENIZERS, bleu_tokenizer=self.bleu_tokenizer)

    @property
    def tests(self) -> list[str]:
        """The names of the test sets; a name of digits is parsed as a number."""
        given = self.test if isinstance(self.test, list) else [] if self.test is None else [self.test]
        return [str(test) if isinstance(test, int) else test for test in given]


@dataclass
class ServeConfig:
    """The settings of `python -m nmt.serve`."""

    # A run or a list; checked below, because OmegaConf has no such union.
    checkpoint: Any = path_key(Use.run, contents=RUN_FILES)
    host: str = "127.0.0.1"
    port: int = 5000
    limits: ServerLimits = field(default_factory=ServerLimits)
    decode: DecodeOverrides = field(default_factory=DecodeOverrides)
    device: DeviceName = DeviceName.auto
    precision: Precision = Precision.fp32
    threads: int | None = None

    def __post_init__(self):
        positive_int(threads=self.threads)
        between(0, 65535, {"port": self.port})
        if not all(isinstance(run, str) for run in self.runs):
            raise ValueError(f"checkpoint={self.checkpoint!r}: give a run folder, or a list of such")
        if not self.runs:
            raise ValueError("checkpoint= is not set: give a run folder, such as checkpoint=runs/bahdanau/...")

    @property
    def runs(self) -> list[str]:
        """The runs of `checkpoint`."""
        runs = [self.checkpoint] if isinstance(self.checkpoint, str) else self.checkpoint or []
        return list(runs) if isinstance(runs, list) else [runs]
