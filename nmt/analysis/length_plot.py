"""The plot of MAIN_METRIC by source length: a line and a band for each system, with its name beside it."""

import io
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import matplotlib.style
import numpy as np
from matplotlib.figure import Figure

from nmt.analysis import fonts
from nmt.analysis.comparison import CurvePoint
from nmt.analysis.metrics import MAIN_METRIC, METRICS
from nmt.runtime.atomic import written_beside

# Distinguishable with color blindness.  # Okabe and Ito (2008)
_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")  # distinguishable in grey print
_GREY = "0.45"
_APART = 0.055  # minimum distance of two names, relative to the height of the axes


def draw_length_curves(
    curves: Mapping[str, Sequence[CurvePoint]],
    path: Path,
    *,
    title: str,
    unit: str = "words",
    synthetic_long: str = "",
    samples: int,
) -> None:
    """Draw the curves, by the systems' names, into a PNG.

    unit: of the lengths; synthetic_long: a description of the test set if it is synthetic.
    """
    with matplotlib.style.context("default"):
        figure = Figure(figsize=(8, 4.8), dpi=120, layout="constrained")
        axes = figure.subplots()
        ends = {}
        for number, (name, points) in enumerate(curves.items()):
            lengths = [point.length for point in points]
            color, marker = (cycle[number % len(cycle)] for cycle in (_COLORS, _MARKERS))
            band = [point.lower for point in points], [point.upper for point in points]
            axes.fill_between(lengths, *band, color=color, alpha=0.15, linewidth=0)
            axes.errorbar(  # instead of a band for a curve of one point
                lengths,
                [point.score for point in points],
                yerr=None if len(points) > 1 else _errors(points[0]),
                color=color,
                marker=marker,
                markersize=5,
            )
            ends[name] = points[-1].score, color
        axes.set_ylim(0, max(5.0, 1.1 * max(point.upper for points in curves.values() for point in points)))
        longest = max(point.length for points in curves.values() for point in points)
        axes.set_xlim(0, 1.03 * longest)
        _name(axes, ends, longest)
        _count(axes, next(iter(curves.values())))
        family = fonts.families([title, synthetic_long, *curves])
        axes.set_title(
            title,
            loc="left",
            fontsize=11,
            fontweight="bold",
            fontfamily=family,
            parse_math=False,
            pad=38 if synthetic_long else 22,
        )
        note = f"shaded: 95 % of {samples:,} resamples of the sentences"
        about = {"transform": axes.transAxes, "fontsize": 9, "va": "bottom", "fontfamily": family}
        axes.text(0, 1.015, note, color=_GREY, **about)
        if synthetic_long:
            axes.text(0, 1.06, synthetic_long[:1].upper() + synthetic_long[1:], **about)
        axes.set_xlabel(f"{unit} in the source sentence (grey: number of sentences)")
        axes.set_ylabel(METRICS[MAIN_METRIC].label)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png")
    with written_beside(Path(path)) as beside:
        beside.write_bytes(buffer.getvalue())


def _errors(point: CurvePoint) -> list[list[float]]:
    return [[point.score - point.lower], [point.upper - point.score]]


def _name(axes, ends: dict[str, tuple[float, str]], longest: float) -> None:
    """Writes each system's name at the end of its line, with a minimum distance."""
    top = axes.get_ylim()[1]
    places = np.array([score for score, _ in ends.values()]) / top
    order = np.argsort(places)
    for below, above in pairwise(order):
        places[above] = max(places[above], places[below] + _APART)
    for (name, (_, color)), place in zip(ends.items(), places, strict=True):
        style = {"fontfamily": fonts.families([name]), "parse_math": False, "fontsize": 10, "va": "center"}
        axes.text(1.01, place, fonts.drawable(name), color=color, transform=axes.transAxes, **style)


def _count(axes, points: Sequence[CurvePoint]) -> None:
    """Writes the number of sentences over each point, outside of the curves."""
    for point in points:
        place = {"transform": axes.get_xaxis_transform(), "ha": "center", "va": "top"}
        axes.text(point.length, 0.985, f"{point.sentences}", color=_GREY, fontsize=7.5, **place)
