"""Heatmaps of attention: source words at the top, target words at the left, darker cells for larger weights.

For a heatmap of pieces, the labels are the pieces.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.text import Text

from nmt.analysis import fonts
from nmt.runtime.atomic import written_beside

SUFFIXES = (".png", ".pdf", ".svg")
LONGEST_SIDE = 200
"""The maximum number of words drawn on a side; the title mentions the rest: an image of all would be meters wide."""

_FONT_POINTS = 9
_CELL = 0.25  # inches per word: two lines of 9 points, which separates slanted labels
_GAP = 0.4  # cells between the last word and the end of sentence
_BETWEEN = 0.35  # inches between adjacent matrices
_EDGE = 0.12  # inches of white margin
_BAR_HEIGHT = 1.5  # inches: a readable color bar, also for five words
_LONGEST_TITLE = 120
_LONGEST_LABEL = 30  # characters: a long word such as an address must leave space for the matrix
_EOS_LABEL = "⟨end⟩"
# White is 0 and nearly black is 1, with linear lightness, also when printed in grey; the hue distinguishes cells from
# the grid.
_COLORS = LinearSegmentedColormap.from_list("attention", ["#ffffff", "#b5d2ea", "#5a9bd0", "#1f5fa6", "#08254d"])


class Panel(NamedTuple):
    """One matrix of an image.

    weights: (T, S) from 0 to `largest`, which has the darkest color. eos: (T,), the weight on the end of sentence,
    drawn as a separate last column; None if the labels include it. caption: the text under the matrix.
    """

    weights: np.ndarray
    eos: np.ndarray | None = None
    largest: float = 1.0
    caption: str = ""


def draw(
    weights: np.ndarray,
    src_labels: Sequence[str],
    tgt_labels: Sequence[str],
    path: Path,
    *,
    title: str = "",
    eos: np.ndarray | None = None,
    measure: str = "attention weight",
    largest: float = 1.0,
) -> None:
    """Draw one sentence's heatmap into a PNG, PDF or SVG file, according to the suffix of `path`.

    weights: (T, S), from 0 to `largest`. src_labels, tgt_labels: the S and T words (or pieces), in any script;
    characters without an installed font appear as code points. eos: (T,), the weight on the end of sentence, drawn as a
    separate last column; None if the labels include it. measure: the label of the color bar. Raises ValueError for
    another suffix and for a matrix without rows or columns.
    """
    draw_panels([Panel(weights, eos, largest)], src_labels, tgt_labels, path, title=title, measure=measure)


def draw_panels(
    panels: Sequence[Panel],
    src_labels: Sequence[str],
    tgt_labels: Sequence[str],
    path: Path,
    *,
    title: str = "",
    measure: str = "attention weight",
) -> None:
    """Draw several matrices of one sentence side by side; see `draw`.

    If their `largest` differ, the color bar ranges from 0 to 1, relative to the largest of each.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{path}: heatmaps are {', '.join(SUFFIXES)}, not {suffix or 'a file without a suffix'}")
    # Fonts are embedded, so the file looks the same everywhere: as TrueType in PDF (Type 3, the default, loses glyphs
    # of some symbol fonts), as outlines in SVG. No date is written: equal images are equal files.
    settings = {"pdf.fonttype": 42, "svg.fonttype": "path", "svg.hashsalt": "nmt"}
    metadata = {".png": {}, ".pdf": {"CreationDate": None}, ".svg": {"Date": None}}[suffix]
    buffer = io.BytesIO()
    with matplotlib.style.context(["default", settings]):
        figure = _figure(panels, src_labels, tgt_labels, title, measure)
        figure.savefig(buffer, format=suffix[1:], metadata=metadata)
    with written_beside(path) as beside:
        beside.write_bytes(buffer.getvalue())


def attention_image(
    weights: np.ndarray,
    src_labels: Sequence[str],
    tgt_labels: Sequence[str],
    *,
    title: str = "",
    eos: np.ndarray | None = None,
) -> np.ndarray:
    """The image of `draw` as pixels (height, width, 3), uint8, for TensorBoard."""
    with matplotlib.style.context("default"):
        figure = _figure([Panel(weights, eos)], src_labels, tgt_labels, title, "attention weight")
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        return np.asarray(canvas.buffer_rgba())[:, :, :3].copy()


def _figure(
    panels: Sequence[Panel], src_labels: Sequence[str], tgt_labels: Sequence[str], title: str, measure: str
) -> Figure:
    """The layout of the image in inches: labels are measured first, then everything gets the space that it needs."""
    _check(panels, src_labels, tgt_labels)
    title = _titled(title, panels[0].weights)
    rows, columns = min(len(tgt_labels), LONGEST_SIDE), min(len(src_labels), LONGEST_SIDE)
    apart = panels[0].eos is not None
    tops = [_label(word) for word in src_labels[:columns]] + [_EOS_LABEL] * apart
    sides = [_label(word) for word in tgt_labels[:rows]]
    places = [k + 0.5 for k in range(columns)] + [columns + _GAP + 0.5] * apart
    width, height = (places[-1] + 0.5) * _CELL, rows * _CELL

    figure = Figure(figsize=(1, 1), dpi=120)
    texts = [*tops, *sides, title, *(panel.caption for panel in panels)]
    style = {"fontsize": _FONT_POINTS, "fontfamily": fonts.families(texts), "parse_math": False}
    drawn = [_add_matrix(figure, panel, (rows, columns), number) for number, panel in enumerate(panels)]
    for number, axes in enumerate(drawn):
        axes.set_xticks(places, tops, rotation=45, ha="left", va="baseline", rotation_mode="anchor", **style)
        axes.set_yticks(np.arange(rows) + 0.5, [] if number else sides, **style)
        axes.set(xlim=(0, width / _CELL), ylim=(rows, 0))
    # Titles are positioned above the labels manually: matplotlib ignores the true height of slanted labels.
    heading = figure.text(0, 0, title, fontweight="bold", ha="left", va="top", **style)
    captions = [figure.text(0, 0, panel.caption, ha="left", va="top", **style) for panel in panels]
    scales = {panel.largest for panel in panels}
    norm = Normalize(0, scales.pop() if len(scales) == 1 else 1.0)
    bar = figure.add_axes((0, 0, 1, 1))
    figure.colorbar(ScalarMappable(norm, _COLORS), cax=bar).set_label(measure, fontsize=_FONT_POINTS)
    bar.tick_params(labelsize=_FONT_POINTS - 1)

    def inches(text: Text) -> tuple[float, float]:
        box = text.get_window_extent(FigureCanvasAgg(figure).get_renderer())
        return box.width / figure.dpi, box.height / figure.dpi

    slanted = [inches(label) for label in drawn[0].get_xticklabels()]
    left = _EDGE + 0.05 + max(inches(label)[0] for label in drawn[0].get_yticklabels())
    above = 0.05 + max(tall for _, tall in slanted)
    overhang = max(place * _CELL + wide - width for place, (wide, _) in zip(places, slanted, strict=True))
    heading_wide, heading_tall = inches(heading) if title else (0.0, -_EDGE)
    below = max((_EDGE + inches(text)[1] for text in captions if text.get_text()), default=0.0)
    widest = max(width, *(inches(text)[0] for text in captions))
    lefts = [left + number * (widest + _BETWEEN) for number in range(len(panels))]
    right = lefts[-1] + width
    bar_at, bar_room = lefts[-1] + widest + 0.25, 0.75
    # The color bar is below slanted labels that lean over it, or beside the matrix if that is taller.
    body = max(height + below, _BAR_HEIGHT)
    total = (
        max(bar_at + bar_room, right + overhang + _EDGE, _EDGE + heading_wide + _EDGE),
        _EDGE + heading_tall + _EDGE + above + body + _EDGE,
    )
    figure.set_size_inches(total)
    floor = total[1] - (_EDGE + heading_tall + _EDGE + above)  # the top of the matrices
    for at, axes, text in zip(lefts, drawn, captions, strict=True):
        axes.set_position((at / total[0], (floor - height) / total[1], width / total[0], height / total[1]))
        text.set_position((at / total[0], (floor - height - _EDGE) / total[1]))
    bar_tall = min(max(height, _BAR_HEIGHT), 3.0)
    bar.set_position((bar_at / total[0], (floor - bar_tall) / total[1], 0.14 / total[0], bar_tall / total[1]))
    heading.set_position((_EDGE / total[0], 1 - _EDGE / total[1]))
    return figure


def _check(panels: Sequence[Panel], src_labels: Sequence[str], tgt_labels: Sequence[str]) -> None:
    """Raises ValueError if there is nothing to draw."""
    for weights, eos, *_ in panels:
        assert weights.shape == (len(tgt_labels), len(src_labels)), "one label for each row and each column"
        assert eos is None or eos.shape == (len(tgt_labels),), "the end of sentence has one mass a row"
    if not (src_labels and tgt_labels):
        raise ValueError(
            f"an attention of {len(tgt_labels)} target by {len(src_labels)} source words cannot be drawn; "
            "it takes at least one word a side"
        )


def _add_matrix(figure: Figure, panel: Panel, size: tuple[int, int], number: int) -> Axes:
    """Axes with the cells of the first rows and columns of a panel."""
    rows, columns = size
    axes = figure.add_axes((0, 0, 1, 1), label=f"panel {number}")
    axes.tick_params(length=0, pad=3, top=True, labeltop=True, bottom=False, labelbottom=False)
    axes.spines[:].set_visible(False)
    cells = {"cmap": _COLORS, "norm": Normalize(0, panel.largest), "edgecolors": "0.85"}
    cells |= {"linewidth": 0.5, "clip_on": False}
    axes.pcolormesh(np.arange(columns + 1), np.arange(rows + 1), panel.weights[:rows, :columns], **cells)
    if panel.eos is not None:
        axes.pcolormesh([columns + _GAP, columns + _GAP + 1], np.arange(rows + 1), panel.eos[:rows, None], **cells)
    return axes


def _label(word: str, longest: int = _LONGEST_LABEL) -> str:
    shown = fonts.drawable(word[: longest + 1])
    return shown if len(shown) <= longest else shown[: longest - 1] + "…"


def _titled(title: str, weights: np.ndarray) -> str:
    cut = [
        f"{LONGEST_SIDE} of {count} {side} words"
        for count, side in zip(weights.shape, ("target", "source"), strict=True)
        if count > LONGEST_SIDE
    ]
    parts = [_label(title, _LONGEST_TITLE)] if title else []
    return " ".join(parts + ([f"(the first {' and '.join(cut)})"] if cut else []))
