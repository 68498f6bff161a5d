"""The Python interface: a trained model that translates lines and aligns pairs; docs/python.md shows it.

model = nmt.load("runs/mine")
(translation,) = model.translate(["A red house."])
nmt.word_links(translation)
"""

from collections.abc import Iterable, Sequence
from dataclasses import fields
from enum import Enum
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

from nmt import build
from nmt.acceleration.selection import prepare_device
from nmt.analysis.alignment import Link, WordAttention, word_attention, word_links
from nmt.analysis.confidence import SentenceConfidence, assess
from nmt.analysis.evaluation import draw_translation
from nmt.bounds import positive_int
from nmt.build import Loaded
from nmt.config.schema import DecodeConfig, DecodeOverrides, LinksFrom
from nmt.corpus import Pair
from nmt.decoding.translator import Translation
from nmt.decoding.word_scores import word_log_probs
from nmt.runtime.device import Device, DeviceName, Precision

__all__ = [
    "Link",
    "SentenceConfidence",
    "TrainedModel",
    "Translation",
    "WordAttention",
    "draw_heatmap",
    "load",
    "word_attention",
    "word_links",
]

Member = TypeVar("Member", bound=Enum)


class TrainedModel:
    """The model of a checkpoint in eval mode, with its tokenizer and the device it is on."""

    def __init__(self, loaded: Loaded, device: Device):
        self.model, self.tokenizer, self.config = loaded.model, loaded.tokenizer, loaded.config
        self.checkpoint = loaded.folder
        self.device = device
        self._loaded = loaded
        self._calibration = build.calibration_of(loaded)

    def translate(
        self,
        lines: Iterable[str],
        *,
        beam: int = 5,
        batch_size: int | None = None,
        max_length: int | None = None,
        prefixes: Iterable[str] | None = None,
        **search: Any,
    ) -> list[Translation]:
        """The best translation of each line, in order.

        beam: the width of the search; 1 is greedy. batch_size: sentences searched together. max_length: the most
        target subwords, EOS included. Where the last two are None, they are those of the run's validations.
        prefixes: of each line the text with which its translation begins. search: further options, such as
        no_repeat_ngram_size=3 or length_penalty="gnmt"; see nmt.decoding.options.SearchOptions.
        Raises ValueError for a value that is impossible, and for nbest=, as one translation of each line is returned.
        """
        if search.get("nbest", 1) != 1:
            raise ValueError(f"nbest={search['nbest']}: translate returns the best translation of each line alone")
        given = _lines(lines)
        begun = None if prefixes is None else _prefixes(prefixes, len(given))
        options = DecodeOverrides(beam=beam, batch_size=batch_size, max_length=max_length, **_options(search))
        translator = build.translator_of(self._loaded, options)
        with self.device.autocast():
            return [nbest[0] for nbest in translator.translate(given, prefixes=begun)]

    def force_decode(
        self, pairs: Iterable[tuple[str, str]], *, batch_size: int = 64, links_from: str | None = None
    ) -> list[Translation]:
        """The Translation of each given pair (source, target), with its log-probability and attention.

        links_from: the weights from which `word_links` makes links: "attention"; "posterior", the posterior attention,
        which uses the target token and is slower; "head", the alignment head; None: the head if the run has one, else
        attention. Raises ValueError for another value, for "head" if the run has no head, and for "posterior" if the
        model has no attention. An ensemble has only "attention".
        """
        positive_int(batch_size=batch_size)
        given = (Pair(*pair) for pair in pairs)
        source = None if links_from is None else _member(LinksFrom, "links_from", links_from)
        with self.device.autocast():
            return list(build.force_decode(self._loaded, given, links_from=source, batch_size=batch_size))

    def confidence(self, translations: Sequence[Translation], *, batch_size: int = 64) -> list[SentenceConfidence]:
        """The confidence of each translation of `translate` or `force_decode`, and its words without counterpart.

        If the run has no calibration, words have the model's probabilities, and `calibrated` is false.
        """
        positive_int(batch_size=batch_size)
        temperature = self._calibration.temperature if self._calibration else 1.0
        options = {"batch_size": batch_size, "temperature": temperature}
        with self.device.autocast():
            scores = word_log_probs(self.model, self.tokenizer, translations, **options)
        pairs = zip(translations, scores, strict=True)
        return [assess(translation, log_probs, self._calibration) for translation, log_probs in pairs]


def load(
    run: str | PathLike[str] | Sequence[str | PathLike[str]], *, device: str = "auto", precision: str = "fp32"
) -> TrainedModel:
    """The trained model of a run folder (its best checkpoint) or of one checkpoint folder; of several, their ensemble.

    device: auto, cpu or cuda. precision of matrix products: auto, fp32, bf16 or fp16.
    Raises ValueError if there is no checkpoint, if it is damaged, or if the machine lacks the device.
    """
    places = str(run) if isinstance(run, str | PathLike) else [str(each) for each in run]
    if not places:
        raise ValueError("no run is given: try nmt.load(run) or nmt.load([run, another])")
    chosen = prepare_device(_member(DeviceName, "device", device), _member(Precision, "precision", precision))
    return TrainedModel(build.load(places, chosen.device), chosen)


def draw_heatmap(translation: Translation, path: str | PathLike[str], *, subwords: bool | None = None) -> None:
    """Draws the attention of a translation into a PNG, PDF or SVG file.

    subwords: whether rows and columns are subwords instead of words; None: where a side is written without spaces.
    Raises ValueError for another suffix, and for a translation without attention.
    """
    if not draw_translation(translation, Path(path), pieces=subwords):
        raise ValueError(f"{path}: this translation has no attention to draw")


def _lines(lines: Iterable[str]) -> Sequence[str]:
    """The lines as a list. Raises ValueError for a single string, whose characters would be taken for lines."""
    if isinstance(lines, str):
        raise ValueError("translate takes a list of lines, not one string: try model.translate([line])")
    return list(lines)


def _prefixes(prefixes: Iterable[str], count: int) -> Sequence[str]:
    """The prefixes of `count` lines as a list. Raises ValueError for a single string or another number of them."""
    if isinstance(prefixes, str):
        raise ValueError("prefixes takes a list, one prefix for each line, not one string: try prefixes=[prefix]")
    found = list(islice(prefixes, count + 1))
    if len(found) != count:
        there = "more" if len(found) > count else "fewer"
        raise ValueError(f"there are {there} prefixes than lines: give one prefix for each line")
    return found


def _options(search: dict[str, Any]) -> dict[str, Any]:
    """Search options with the words among their values as members of Enums. Raises ValueError for an unknown word."""
    kinds = {each.name: each.type for each in fields(DecodeConfig)}
    found = dict(search)
    for name, value in search.items():
        kind = kinds.get(name)
        if value is not None and isinstance(kind, type) and issubclass(kind, Enum):
            found[name] = _member(kind, name, value)
    return found


def _member(kind: type[Member], name: str, value: str | Enum) -> Member:
    """The member of an Enum, given as its value or itself. Raises ValueError with the known words for another."""
    try:
        return kind(value)
    except ValueError:
        known = ", ".join(each.value for each in kind)
        raise ValueError(f"{name}={value!r} is not known: give one of {known}") from None
