"""The evaluation of a test set: translations, scores, word alignments and pictures, in one folder."""

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from nmt.analysis.alignment import (
    Agreement,
    AttentionWriter,
    GoldLinks,
    Translated,
    alignment_error_rate,
    pharaoh,
    word_attention,
    word_links,
)
from nmt.analysis.by_length import LengthRow, by_length
from nmt.analysis.metrics import Limits, Score, measure_all
from nmt.analysis.segmentation import TOKENIZERS, length_unit, lengths, without_spaces


def draw_translation(translation: Translated, path: Path, *, pieces: bool | None = None) -> None:
    """The heatmap of one translation, by word or by piece; nothing for an empty one.

    pieces=None: by piece where one of the two sides is written without spaces.
    """
    from nmt.analysis.heatmap import draw  # matplotlib is slow to import, and a translation can do without

    if pieces is None:
        pieces = any(without_spaces([" ".join(words)]) for words in (translation.src_words, translation.tgt_words))
    if pieces and translation.weights.size:
        draw(translation.weights, translation.src_pieces, translation.tgt_pieces, path)
    elif translation.weights.size and translation.tgt_words:
        attention = word_attention(translation)
        draw(attention.weights, translation.src_words, translation.tgt_words, path, eos=attention.eos)


def agreement(forced: Iterable[Translated], gold: Iterable[GoldLinks]) -> Agreement:
    """How well the attention of reference translations agrees with their gold links, hard link by hard link."""
    found = [word_links(translation) for translation in forced]
    gold = list(gold)
    return alignment_error_rate(found, [each.sure for each in gold], [each.possible for each in gold])


@dataclass
class Report:
    """scores, by metric, of `sentences` translations made in `seconds`; perplexity of the references; rows of scores by
    source length, which is counted in `unit`; tokenizer: BLEU's; remarks: which scores are missing or leave something
    out, and why; alignment where the test set has gold links; heatmaps: the files drawn; stress: where the test set is
    no real text, what it is."""

    scores: dict[str, Score]
    perplexity: float
    sentences: int
    seconds: float
    rows: list[LengthRow]
    unit: str = "words"
    tokenizer: str = "13a"
    remarks: Sequence[str] = ()
    alignment: Agreement | None = None
    heatmaps: list[Path] = field(default_factory=list)
    stress: str = ""

    def save(self, path: Path) -> None:
        """Writes scores.json."""
        found: dict = {name: {"score": each.score, "signature": each.signature} for name, each in self.scores.items()}
        for name, each in self.scores.items():
            found[name] |= {"left_out": each.left_out} if each.left_out else {}
        found |= {"perplexity": self.perplexity, "sentences": self.sentences, "seconds": round(self.seconds, 3)}
        found |= {"bleu_tokenizer": self.tokenizer}
        found |= {"remarks": list(self.remarks)} if self.remarks else {}
        found |= {"alignment": self.alignment._asdict()} if self.alignment else {}
        found |= {"stress": self.stress} if self.stress else {}
        rows = [{"low": row.low, "high": row.high, "sentences": row.sentences, **row.scores} for row in self.rows]
        found |= {"length_unit": self.unit, "by_length": rows}
        path.write_text(json.dumps(found, indent=2) + "\n", "utf-8")


class Evaluation(NamedTuple):
    """What an evaluation left, line by line: the test set and its translations; stress: see Report; tokenizer: BLEU's,
    "" where it does not say."""

    sources: list[str]
    references: list[str]
    hypotheses: list[str]
    stress: str
    tokenizer: str


def read_evaluation(folder: Path) -> Evaluation:
    """What `write_evaluation` wrote. Raises ValueError where something is missing, or is not of one evaluation."""
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
        stress, tokenizer = (str(scores.get(key, "")) for key in ("stress", "bleu_tokenizer"))
        if tokenizer not in ("", *TOKENIZERS):
            raise ValueError(tokenizer)
    except (ValueError, AttributeError):
        raise ValueError(f"{folder / 'scores.json'} is damaged") from None
    return Evaluation(**lines, stress=stress, tokenizer=tokenizer)


def write_evaluation(
    folder: Path,
    translations: Iterable[Translated],
    sources: list[str],
    references: list[str],
    *,
    tokenizer: str,
    metrics: Sequence[str] | None = None,
    limits: Limits | None = None,
    perplexity: float,
    attention: bool,
    heatmaps: int,
    alignment: Agreement | None = None,
    stress: str = "",
) -> Report:
    """Writes sources.txt, references.txt, hypotheses.txt, alignments.txt, attention.npz, heatmaps/N.png and scores.json
    into `folder`.

    `translations` are read as they are made; what stood in the folder from an earlier evaluation is replaced. Without
    `attention` (a model that has none) there are no alignments, matrices or pictures; where one side of the text is
    written without spaces, the pictures are by piece. tokenizer, metrics, limits: see `measure_all`. `alignment` and
    `stress` go into the report.
    """
    begun = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    pictures = folder / "heatmaps"
    for old in pictures.glob("*.png"):
        old.unlink()
    for old in ("scores.json", "alignments.txt", "attention.npz"):
        (folder / old).unlink(missing_ok=True)
    for name, lines in (("sources.txt", sources), ("references.txt", references)):
        with (folder / name).open("w", encoding="utf-8", newline="\n") as text:
            text.writelines(f"{line}\n" for line in lines)
    hypotheses, drawn = [], []
    pieces = without_spaces(sources) or without_spaces(references)
    writer = AttentionWriter(folder / "attention.npz") if attention else None
    aligned = (folder / "alignments.txt").open("w", encoding="utf-8", newline="\n") if attention else None
    with (folder / "hypotheses.txt").open("w", encoding="utf-8", newline="\n") as text:
        if writer:
            writer.__enter__()
        for number, translation in enumerate(translations):
            text.write(translation.text + "\n")
            hypotheses.append(translation.text)
            if writer is None or aligned is None:
                continue
            aligned.write(pharaoh(word_links(translation)) + "\n")
            writer.write(word_attention(translation).weights)
            if number < heatmaps and translation.tgt_words:
                pictures.mkdir(exist_ok=True)
                drawn.append(pictures / f"{number}.png")
                draw_translation(translation, drawn[-1], pieces=pieces)
        if writer and aligned:
            writer.__exit__(None, None, None)
            aligned.close()
    seconds = time.monotonic() - begun
    measured, remarks = measure_all(hypotheses, references, tokenizer=tokenizer, names=metrics, limits=limits)
    unit = length_unit(sources)
    report = Report(
        {name: each.score for name, each in measured.items()},
        perplexity,
        len(hypotheses),
        seconds,
        by_length(measured, lengths(sources, unit)),
        unit,
        tokenizer,
        remarks,
        alignment,
        drawn,
        stress,
    )
    report.save(folder / "scores.json")
    return report
