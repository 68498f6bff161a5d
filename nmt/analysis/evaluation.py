"""The evaluation of a test set: translations, scores, word alignments and heatmaps, in one folder."""

import contextlib
import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

from nmt.analysis.alignment import (
    AlignmentScores,
    AttentionWriter,
    TranslationLike,
    pharaoh,
    word_attention,
    word_links,
)
from nmt.analysis.by_length import LengthRow, by_length
from nmt.analysis.metrics import Limits, MetricScore, measure_all
from nmt.analysis.segmentation import TOKENIZERS, length_unit, lengths, without_spaces

# The files of an evaluation. The last one is moved to its place last, so the evaluation is complete if it exists.
EVALUATION_FILES = (
    "sources.txt",
    "references.txt",
    "hypotheses.txt",
    "alignments.txt",
    "attention.npz",
    "heatmaps",
    "scores.json",
)


def draw_translation(translation: TranslationLike, path: Path, *, pieces: bool | None = None) -> bool:
    """Draws the heatmap of one translation, by word or by piece. Returns whether it was drawn; False if a side is
    empty.

    pieces=None: by piece if one of the two sides is written without spaces.
    """
    from nmt.analysis.heatmap import draw  # matplotlib is slow to import, and not always needed

    if pieces is None:
        pieces = any(without_spaces([" ".join(words)]) for words in (translation.src_words, translation.tgt_words))
    if pieces and translation.weights.size:
        draw(translation.weights, translation.src_pieces, translation.tgt_pieces, path)
        return True
    attention = word_attention(translation)
    if not attention.weights.size:
        return False
    draw(attention.weights, translation.src_words, translation.tgt_words, path, eos=attention.eos)
    return True


@dataclass
class Report:
    """The results of an evaluation.

    scores, by metric, of `sentences` translations made in `seconds`; perplexity of the references; rows of scores by
    source length, in `unit`; tokenizer: BLEU's; remarks: scores that are missing or incomplete, and why; alignment if
    the test set has gold links; heatmaps: the names of the drawn files in the folder; synthetic_long: a description of
    the test set if it is synthetic; without_attention: the number of translations whose source was too long for
    attention.
    """

    scores: dict[str, MetricScore]
    perplexity: float
    sentences: int
    seconds: float
    rows: list[LengthRow]
    unit: str = "words"
    tokenizer: str = "13a"
    remarks: Sequence[str] = ()
    alignment: AlignmentScores | None = None
    heatmaps: list[str] = field(default_factory=list)
    synthetic_long: str = ""
    without_attention: int = 0

    def save(self, path: Path) -> None:
        """Writes scores.json."""
        found: dict = {name: {"score": each.score, "signature": each.signature} for name, each in self.scores.items()}
        for name, each in self.scores.items():
            found[name] |= {"left_out": each.left_out} if each.left_out else {}
        found |= {"perplexity": self.perplexity, "sentences": self.sentences, "seconds": round(self.seconds, 3)}
        found |= {"bleu_tokenizer": self.tokenizer}
        found |= {"remarks": list(self.remarks)} if self.remarks else {}
        found |= {"alignment": self.alignment._asdict()} if self.alignment else {}
        found |= {"synthetic_long": self.synthetic_long} if self.synthetic_long else {}
        rows = [{"low": row.low, "high": row.high, "sentences": row.sentences, **row.scores} for row in self.rows]
        found |= {"length_unit": self.unit, "by_length": rows}
        path.write_text(json.dumps(found, indent=2) + "\n", "utf-8")


class ParallelText(NamedTuple):
    """A test set, line by line; synthetic_long: see Report."""

    sources: list[str]
    references: list[str]
    synthetic_long: str = ""

    @property
    def without_spaces(self) -> bool:
        """Whether a side is written without spaces."""
        return without_spaces(self.sources) or without_spaces(self.references)


class Scoring(NamedTuple):
    """The settings of the scores of translations: see `measure_all`."""

    tokenizer: str = "13a"
    metrics: Sequence[str] | None = None
    limits: Limits | None = None
    language: str = "en"


class Evaluation(NamedTuple):
    """A written evaluation, line by line: the test set and its translations; synthetic_long: see Report; tokenizer:
    BLEU's, "" if unknown."""

    sources: list[str]
    references: list[str]
    hypotheses: list[str]
    synthetic_long: str
    tokenizer: str


def read_evaluation(folder: Path) -> Evaluation:
    """Reads the result of `write_evaluation`. Raises ValueError if files are missing, or do not belong together."""
    sides = {name: folder / f"{name}.txt" for name in ("sources", "references", "hypotheses")}
    for path in (*sides.values(), folder / "scores.json"):
        if not path.is_file():
            raise ValueError(f"{path} is missing")
    lines = {}
    for name, path in sides.items():
        with open(path, encoding="utf-8", newline="\n") as file:
            lines[name] = [line.removesuffix("\n") for line in file]
    if not len(lines["sources"]) == len(lines["references"]) == len(lines["hypotheses"]) > 0:
        counts = ", ".join(f"{len(found)} {name}" for name, found in lines.items())
        raise ValueError(f"{folder} is not one whole evaluation ({counts})")
    try:
        scores = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
        synthetic_long, tokenizer = (str(scores.get(key, "")) for key in ("synthetic_long", "bleu_tokenizer"))
        if tokenizer not in ("", *TOKENIZERS):
            raise ValueError(tokenizer)
    except (ValueError, AttributeError):
        raise ValueError(f"{folder / 'scores.json'} is damaged") from None
    return Evaluation(**lines, synthetic_long=synthetic_long, tokenizer=tokenizer)


def is_free(folder: Path, text: ParallelText) -> bool:
    """Whether there is no evaluation, or one of this text, which may be replaced."""
    if not (folder / "scores.json").is_file():
        return True
    for name, side in (("sources.txt", text.sources), ("references.txt", text.references)):
        try:
            with open(folder / name, encoding="utf-8", newline="\n") as file:
                lines = (line.removesuffix("\n") for line in file)
                if any(one != other for one, other in zip_longest(lines, side)):
                    return False
        except (OSError, UnicodeDecodeError):
            return False
    return True


def write_evaluation(
    folder: Path,
    translations: Iterable[TranslationLike],
    text: ParallelText,
    scoring: Scoring,
    *,
    perplexity: float,
    alignment: AlignmentScores | None = None,
    attention: bool,
    heatmaps: int,
) -> Report:
    """Writes EVALUATION_FILES into `folder`, which has none of them yet: see `replacing`.

    `translations` are read one by one as they are computed. Without `attention` (a model that has none) there are no
    alignments, matrices or heatmaps; if one side of the text is written without spaces, the heatmaps are by piece.
    `perplexity` and `alignment` are written to the report.
    """
    begun = time.monotonic()
    for name, lines in (("sources.txt", text.sources), ("references.txt", text.references)):
        with (folder / name).open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(f"{line}\n" for line in lines)
    written = _write_translations(folder, translations, attention, heatmaps, pieces=text.without_spaces)
    seconds = time.monotonic() - begun
    measured, remarks = measure_all(
        written.hypotheses,
        text.references,
        tokenizer=scoring.tokenizer,
        names=scoring.metrics,
        limits=scoring.limits,
        language=scoring.language,
    )
    unit = length_unit(text.sources)
    report = Report(
        {name: each.score for name, each in measured.items()},
        perplexity,
        len(written.hypotheses),
        seconds,
        by_length(measured, lengths(text.sources, unit)),
        unit,
        scoring.tokenizer,
        remarks,
        alignment,
        written.heatmaps,
        text.synthetic_long,
        written.without_attention,
    )
    report.save(folder / "scores.json")
    return report


class _Written(NamedTuple):
    """The written translations; their heatmaps, and the number of translations that were too long for attention."""

    hypotheses: list[str]
    heatmaps: list[str]
    without_attention: int


def _write_translations(
    folder: Path, translations: Iterable[TranslationLike], attention: bool, heatmaps: int, *, pieces: bool
) -> _Written:
    """Writes hypotheses.txt, and with `attention` alignments.txt, attention.npz and the first `heatmaps` heatmaps."""
    hypotheses, drawn, without = [], [], 0
    pictures = folder / "heatmaps"
    with contextlib.ExitStack() as stack:
        names = ("hypotheses.txt", "alignments.txt") if attention else ("hypotheses.txt",)
        text, *aligned = (
            stack.enter_context((folder / name).open("w", encoding="utf-8", newline="\n")) for name in names
        )
        writer = stack.enter_context(AttentionWriter(folder / "attention.npz")) if attention else None
        if attention and heatmaps:
            pictures.mkdir()
        for number, translation in enumerate(translations):
            text.write(translation.text + "\n")
            hypotheses.append(translation.text)
            if writer is None:
                continue
            aligned[0].write(pharaoh(word_links(translation)) + "\n")
            writer.write(word_attention(translation).weights)
            without += bool(translation.tgt_pieces and not translation.weights.size)
            if number < heatmaps and draw_translation(translation, pictures / f"{number}.png", pieces=pieces):
                drawn.append(f"heatmaps/{number}.png")
    return _Written(hypotheses, drawn, without)
