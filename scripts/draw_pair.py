"""Draws the attention, or the Jacobian, of several models for one sentence pair, side by side.

    python scripts/draw_pair.py "a source sentence" "its translation" picture.png runs/bahdanau runs/transformer:3:1
    python scripts/draw_pair.py --jacobian "a source" "its translation" picture.png runs/bahdanau runs/rnnencdec

A panel shows the attention of a model in forced decoding of the given translation. RUN:LAYER and RUN:LAYER:HEAD select
a layer and a head of a Transformer, counted from 1. With --jacobian there is a second panel for each model, its
Jacobian |d log p(y_t) / d x_j|, with each row normalized. A model without attention always has this panel only.
"""

import argparse
from pathlib import Path

import torch

from nmt import build
from nmt.analysis.alignment import drop_punctuation
from nmt.analysis.heatmap import Panel, draw_panels
from nmt.analysis.saliency import by_words, saliency, shares
from nmt.data.symbols import EOS


def panels_of(run: str, src: str, tgt: str, *, jacobian: bool = False) -> list[Panel]:
    """The panels of one model, RUN, RUN:LAYER or RUN:LAYER:HEAD, with its name in the caption.

    The scale is 0 to 1 for attention, and 0 to the largest value for a Jacobian.
    Raises ValueError for a layer or a head that the model does not have.
    """
    place, *shown = run.split(":")
    loaded = build.load(place, torch.device("cpu"))
    numbers = dict(zip(("layer", "head"), map(_number, shown), strict=False))
    loaded.model.show_attention(**numbers)
    name = ", ".join([loaded.config.name, *(f"{part} {number}" for part, number in numbers.items())])
    tokenizer = loaded.tokenizer
    src_ids, src_word_of = tokenizer.src.encode_words(src)
    tgt_ids, tgt_word_of = tokenizer.tgt.encode_words(tgt)
    tgt_word_of = drop_punctuation(tokenizer.tgt.pieces(tgt_ids), tgt_word_of)
    found = saliency(loaded.model, [*src_ids, EOS], [*tgt_ids, EOS])
    words = by_words(found, [*tgt_word_of, -1], [*src_word_of, -1], len(tgt.split()), len(src.split()))
    panels = []
    if "attention" in words:
        panels.append(Panel(*words["attention"], caption=f"{name}: attention\ndarkest: 1" if jacobian else name))
    if jacobian or not panels:
        weights, eos = shares(words["jacobian"])
        largest = float(max(weights.max(), eos.max()))
        panels.append(Panel(weights, eos, largest, f"{name}: Jacobian\ndarkest: {largest:.2f} of a row"))
    return panels


def _number(text: str) -> int:
    if not text.isdecimal():
        raise ValueError(f"{text} is no number of a layer or a head: give RUN:LAYER or RUN:LAYER:HEAD")
    return int(text)


def draw(runs: list[str], src: str, tgt: str, path: Path, *, jacobian: bool = False) -> None:
    """Draws the panels of all runs side by side. Raises ValueError for a sentence without words."""
    if not src.split() or not tgt.split():
        raise ValueError("an empty sentence has no words to draw: give a source sentence and its translation")
    panels = [panel for run in runs for panel in panels_of(run, src, tgt, jacobian=jacobian)]
    alike = all(panel.largest == 1 for panel in panels)
    measure = "attention weight" if alike else "part of the darkest"
    draw_panels(panels, src.split(), tgt.split(), path, measure=measure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("src", help="the source sentence")
    parser.add_argument("tgt", help="its translation")
    parser.add_argument("picture", type=Path, help="a PNG, PDF or SVG file")
    parser.add_argument("runs", nargs="+", metavar="RUN", help="RUN, RUN:LAYER or RUN:LAYER:HEAD")
    parser.add_argument("--jacobian", action="store_true", help="draw the Jacobian of each model too")
    given = parser.parse_args()
    try:
        draw(given.runs, given.src, given.tgt, given.picture, jacobian=given.jacobian)
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
