"""The geometry of small charts: the coordinates of lines, bars and ticks; the template draws them as SVG."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from nmt.analysis.by_length import LengthRow
from nmt.analysis.metrics import METRICS
from nmt.analysis.series import Series

WIDTH, HEIGHT = 300, 190  # user units, about a pixel each
LEFT, RIGHT, TOP, BOTTOM = 40, 8, 12, 34
MAX_POINTS = 300  # of a line: more would overlap at this width


class Tick(NamedTuple):
    """A tick of an axis, at x or y, and its label."""

    at: float
    label: str


class ChartPoint(NamedTuple):
    """A point of a line, and its tooltip."""

    x: float
    y: float
    label: str


class ChartLine(NamedTuple):
    """A series: `kind` is "train" or "valid", a class of the style sheet."""

    label: str
    kind: str
    points: list[ChartPoint]


class Bar(NamedTuple):
    """A bar: `value` is written above it, `label` below it; `note` is the number of its sentences."""

    x: float
    y: float
    width: float
    height: float
    value: str
    label: str
    note: str


class Chart(NamedTuple):
    """A chart of WIDTH by HEIGHT; lines or bars."""

    title: str
    summary: str
    x_label: str
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    lines: Sequence[ChartLine] = ()
    bars: Sequence[Bar] = ()


def line_chart(title: str, lines: Mapping[tuple[str, str], Series], *, log: bool = False) -> Chart | None:
    """Draw series over updates, by kind ("train", "valid") and label; None if all are empty.

    log: logarithmic values, all of which must be above 0.
    """
    drawn = {name: _thin(points) for name, points in lines.items() if points}
    if not drawn:
        return None
    values = [value for points in drawn.values() for _, value in points]
    last = max(update for points in drawn.values() for update, _ in points)
    scale = math.log10 if log else float
    marks = _log_marks(min(values), max(values)) if log else _marks(min(values), max(values))
    low, high = (scale(limit) for limit in (min(marks[0], *values), max(marks[-1], *values)))
    x_marks = [mark for mark in _marks(0, last, most=5) if mark <= last]

    def x(update: float) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * update / last, 1)

    def y(value: float) -> float:
        return round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (scale(value) - low) / (high - low), 1)

    shown = [
        ChartLine(label, kind, [ChartPoint(x(at), y(v), f"{label} {_number(v)} at update {at:,}") for at, v in points])
        for (kind, label), points in drawn.items()
    ]
    ends = "; ".join(
        f"{label} from {_number(points[0][1])} to {_number(points[-1][1])}" for (_, label), points in drawn.items()
    )
    return Chart(
        title,
        f"{title} over {last:,} updates: {ends}",
        "update",
        [Tick(x(mark), _short(mark)) for mark in x_marks],
        [Tick(y(mark), _short(mark)) for mark in marks],
        lines=shown,
    )


def length_chart(rows: Sequence[LengthRow], unit: str = "words") -> Chart | None:
    """Draw the first metric (BLEU, if it is among them) by source length, a bar for each row; None without rows.

    unit: of the lengths.
    """
    if not rows or not rows[0].scores:
        return None
    name = next(iter(rows[0].scores))
    label, scores = METRICS[name].label, [row.scores[name] for row in rows]
    marks = _marks(0, max([1.0, *(score for score in scores if score is not None)]))
    each = (WIDTH - LEFT - RIGHT) / len(rows)
    ground = HEIGHT - BOTTOM
    bars = []
    for k, (row, score) in enumerate(zip(rows, scores, strict=True)):
        height = (ground - TOP) * (score or 0.0) / marks[-1]
        bars.append(
            Bar(
                round(LEFT + each * (k + 0.14), 1),
                round(ground - height, 1),
                round(each * 0.72, 1),
                round(height, 1),
                "-" if score is None else f"{score:.1f}",
                f"{row.low}-{row.high}" if row.low < row.high else f"{row.high}",
                f"{row.sentences:,} sentence{'s' if row.sentences > 1 else ''}",
            )
        )
    return Chart(
        f"{label} by source length",
        "; ".join(f"{bar.label} {unit}: {label} {bar.value}, {bar.note}" for bar in bars),
        f"{unit} in the source",
        [],
        [Tick(round(ground - (ground - TOP) * mark / marks[-1], 1), _short(mark)) for mark in marks],
        bars=bars,
    )


def _thin(points: Series) -> Series:
    """At most MAX_POINTS of the points, at equal distances, the last one included."""
    step = math.ceil(len(points) / MAX_POINTS)
    return points[::-1][::step][::-1]


def _marks(low: float, high: float, *, most: int = 6) -> list[float]:
    """Two to `most` numbers from at or below `low` to at or above `high`, 1, 2 or 5 times a power of ten apart."""
    if high - low < 1e-9 * max(1.0, abs(high)):
        low, high = low - abs(low) * 0.05, high + (abs(high) * 0.05 or 1.0)
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    for step in (power * factor for factor in (1, 2, 5, 10, 20, 50)):
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        if last - first + 1 <= most:
            return [round(step * k, 12) for k in range(first, last + 1)]
    raise AssertionError("fifty times a sixth of the range is enough for any range")


def _log_marks(low: float, high: float) -> list[float]:
    """Two to seven numbers from at or below `low` to at or above `high`: powers of ten, and some between them."""
    powers = range(math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9) + 1)
    for factors in ((1, 2, 5), (1, 3), (1,)):
        marks = [factor * 10.0**power for power in powers for factor in factors]
        inside = [mark for mark in marks if low <= mark <= high]
        below, above = [mark for mark in marks if mark < low], [mark for mark in marks if mark > high]
        found = below[-1:] + inside + above[:1]
        if len(found) <= 7:
            return found
    return found


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _short(value: float) -> str:
    """A tick's label: 2000 is 2k."""
    if value and abs(value) < 1e-4:
        return f"{value:.0e}".replace("e-0", "e-")
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"
