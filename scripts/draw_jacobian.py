"""Draws what one target sentence depends on: the weights of a model with attention beside the Jacobian of another.

    python scripts/draw_jacobian.py runs/bahdanau runs/rnnencdec "a source sentence" "its translation" picture.png

Each panel is one model's matrix between the words of the same pair: its attention, where it has any, and its Jacobian
|d log p(y_t) / d x_j|, as a share of the row. A model without attention (a fixed vector) has the second alone.
"""

import argparse
from pathlib import Path

import torch

from nmt import build
from nmt.analysis.heatmap import Panel, draw_panels
from nmt.analysis.saliency import by_words, saliency, shares
from nmt.data.symbols import EOS

NAMES = {"attention": "attention", "jacobian": "Jacobian"}


def panels_of(run: str, src: str, tgt: str) -> list[Panel]:
    """The matrices of one model, with its name under each."""
    loaded = build.load(run, torch.device("cpu"))
    src_ids, src_word_of = loaded.tokenizer.src.encode_words(src)
    tgt_ids, tgt_word_of = loaded.tokenizer.tgt.encode_words(tgt)
    found = saliency(loaded.model, [*src_ids, EOS], [*tgt_ids, EOS])
    words = by_words(found, [*tgt_word_of, -1], [*src_word_of, -1], len(tgt.split()), len(src.split()))
    panels = []
    for name, shown in NAMES.items():
        if name in words:
            weights, eos = shares(words[name])
            largest = float(max(weights.max(), eos.max()))
            panels.append(Panel(weights, eos, largest, f"{loaded.config.name}: {shown}\ndarkest: {largest:.2f}"))
    return panels


def draw(runs: list[str], src: str, tgt: str, path: Path) -> None:
    """All panels of all runs, side by side. Raises ValueError for a sentence without words."""
    if not src.split() or not tgt.split():
        raise ValueError("an empty sentence has no words to draw: give a source sentence and its translation")
    panels = [panel for run in runs for panel in panels_of(run, src, tgt)]
    draw_panels(panels, src.split(), tgt.split(), path, measure="share of the row, as part of the darkest")


def main() -> None:
    parser = argparse.ArgumentParser(description="Draws attention and Jacobians of one pair of sentences side by side.")
    parser.add_argument("attention", help="the run of a model with attention")
    parser.add_argument("other", help="the run of another model, such as one without attention")
    parser.add_argument("src", help="the source sentence")
    parser.add_argument("tgt", help="its translation")
    parser.add_argument("picture", type=Path, help="a PNG, PDF or SVG file")
    given = parser.parse_args()
    try:
        draw([given.attention, given.other], given.src, given.tgt, given.picture)
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
