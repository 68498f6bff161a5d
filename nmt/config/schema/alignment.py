"""The settings of the commands that explain given or found translations: align, saliency."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from nmt.analysis.alignment import Symmetrization
from nmt.bounds import at_least, positive_int
from nmt.config.paths import RUN_FILES, STREAM, Use, path_key
from nmt.config.schema.decoding import DecodeOverrides
from nmt.config.schema.ensemble import check_ensemble, is_ensemble
from nmt.decoding.ensemble import EnsembleAverage
from nmt.runtime.device import DeviceName, Precision

SALIENCY_FILES = (
    *("attention.npz", "jacobian.npz", "input_gradient.npz", "saliency.json", "hypotheses.txt", "heatmaps/*.png"),
)


@dataclass
class ForcedConfig:
    """Of decoding where the words are given: only how many pairs go together."""

    batch_size: int = 64

    def __post_init__(self):
        positive_int(decode__batch_size=self.batch_size)


class AlignmentDirection(Enum):
    """By which of its directions an aligner makes links; the words of ``direction``."""

    both = "both"
    forward = "forward"
    backward = "backward"


class LinksFrom(Enum):
    """Which weights of a translator links are made from; the words of ``links_from``."""

    attention = "attention"
    posterior = "posterior"
    head = "head"


@dataclass
class AlignConfig:
    """What `python -m nmt.align` takes."""

    checkpoint: Any = path_key(Use.run, contents=RUN_FILES)  # or a list of them: OmegaConf has no such union
    direction: AlignmentDirection = AlignmentDirection.both
    ensemble: EnsembleAverage | None = None
    src: str | None = path_key(Use.input)
    tgt: str | None = path_key(Use.input)
    out: str | None = path_key(Use.output, dash=True, stream=True)
    append: bool = False
    score: bool = False
    confidence: bool = False
    soft_alignment: str | None = path_key(Use.output)
    heatmaps: str | None = path_key(Use.folder, contents=("*.png",))
    threshold: float | None = None
    links_from: LinksFrom | None = None
    attention_layer: int | None = None
    attention_head: int | None = None
    reverse: str | None = path_key(Use.run, contents=RUN_FILES)
    symmetrize: Symmetrization | None = None
    gold: str | None = path_key(Use.input)
    gold_reversed: bool = False
    links: str | None = path_key(Use.input)
    decode: ForcedConfig = field(default_factory=ForcedConfig)
    device: DeviceName = DeviceName.auto
    precision: Precision = Precision.fp32
    threads: int | None = None

    def __post_init__(self):
        positive_int(threads=self.threads)
        positive_int(attention_layer=self.attention_layer, attention_head=self.attention_head)
        check_ensemble(self)
        if self.links_from is LinksFrom.posterior and is_ensemble(self.checkpoint):
            raise ValueError(
                "links_from=posterior asks one model how well a source word explains a target word: give one run"
            )
        if self.links_from is LinksFrom.head and is_ensemble(self.checkpoint):
            raise ValueError("links_from=head asks the alignment head of one model: give one checkpoint=")
        if self.threshold is not None and not 0 < self.threshold <= 1:
            raise ValueError(
                f"threshold={self.threshold} makes no sense: give a weight above 0 and up to 1, such as 0.2"
            )
        if self.append and self.out in (None, STREAM):
            raise ValueError("append=true continues the file that out= names: give out=FILE as well")
        for name in ("soft_alignment", "gold"):
            if self.append and getattr(self, name):
                raise ValueError(
                    f"append=true goes on in the middle, and {name}= needs all pairs: leave one of them out"
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
            "ensemble",
            "src",
            "tgt",
            "out",
            "append",
            "score",
            "confidence",
            "soft_alignment",
            "heatmaps",
            "threshold",
            "links_from",
            "attention_layer",
            "attention_head",
            "reverse",
            "symmetrize",
        ):
            if getattr(self, name):
                raise ValueError(f"links={self.links} are scored as they are, without a model: leave {name}= away")


@dataclass
class SaliencyConfig:
    """What `python -m nmt.saliency` takes."""

    checkpoint: str | None = path_key(Use.run, contents=RUN_FILES)
    src: str | None = path_key(Use.input)
    tgt: str | None = path_key(Use.input)
    out: str = path_key(Use.folder, "saliency", contents=SALIENCY_FILES)
    heatmaps: int = 10
    attention_layer: int | None = None
    attention_head: int | None = None
    gold: str | None = path_key(Use.input)
    gold_reversed: bool = False
    decode: DecodeOverrides = field(default_factory=DecodeOverrides)
    device: DeviceName = DeviceName.auto
    precision: Precision = Precision.fp32
    threads: int | None = None

    def __post_init__(self):
        at_least(0, heatmaps=self.heatmaps)
        positive_int(threads=self.threads)
        positive_int(attention_layer=self.attention_layer, attention_head=self.attention_head)
        if not self.src:
            raise ValueError("src= is not set: src=FILE holds the source sentences, line by line")
        if self.gold and not self.tgt:
            raise ValueError(f"gold={self.gold} holds the links of given pairs: give tgt=FILE, their translations, too")
        if self.gold_reversed and not self.gold:
            raise ValueError("gold_reversed=true is about the links of gold=: give gold=FILE as well")
