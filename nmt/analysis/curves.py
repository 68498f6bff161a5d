"""The training curves of a run as one image, from the lines of its metrics.jsonl."""

import io
import math
from pathlib import Path

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from nmt.analysis.metrics import MAIN_METRIC, METRICS
from nmt.analysis.series import Series, read_series
from nmt.runtime.atomic import written_beside

_TRAIN, _VALID = "#8fa3b8", "#c1440e"


def draw_curves(metrics_jsonl: Path, out: Path) -> bool:
    """Draw training loss and validation perplexity, validation metrics and learning rate over updates into a PNG.

    Loss and perplexity share one axis (a training loss of x nats per token is drawn at e^x); empty panels are left out.
    Incomplete lines are skipped, and later lines of a resumed run replace earlier ones with the same updates. Returns
    False, and writes nothing, if there is no data. `out` is replaced atomically.
    """
    series = read_series(Path(metrics_jsonl))
    losses = {"train, e^loss": ("train", "loss", math.exp), "valid perplexity": ("valid", "perplexity", float)}
    likelihood = {
        label: [(u, scale(v)) for u, v in series.get((kind, field), []) if scale is not math.exp or v < 100]
        for label, (kind, field, scale) in losses.items()
    }
    scores = {name: points for name in METRICS if (points := series.get(("valid", name)))}
    rate = series.get(("train", "lr"), [])
    # The height of each panel, relative to that of the learning rate.
    ratios = [3] * any(likelihood.values()) + [2] * len(scores) + [1] * bool(rate)
    if not ratios:
        return False

    with matplotlib.style.context("default"):
        figure = Figure(figsize=(8, 0.6 + 1.3 * sum(ratios)), dpi=100, layout="constrained")
        grid = figure.subplots(len(ratios), 1, sharex=True, squeeze=False, height_ratios=ratios)
        axes = iter(grid[:, 0])
        if any(likelihood.values()):
            _draw_likelihood(next(axes), likelihood)
        for name, points in scores.items():
            axis = next(axes)
            _line(axis, points, _VALID, marker=".")
            if name == MAIN_METRIC:
                best = max(points, key=lambda point: point[1])
                axis.set_title(f"best {best[1]:.1f} at update {best[0]:,}", fontsize=9, loc="right")
            axis.set_ylabel(f"valid {METRICS[name].label}")
        if rate:
            axis = next(axes)
            _line(axis, rate, _TRAIN)
            axis.set_ylabel("learning rate")
            axis.set_ylim(bottom=0)
            axis.ticklabel_format(axis="y", scilimits=(-3, 3))
        for axis in grid[:, 0]:
            axis.grid(alpha=0.3)
        last = grid[-1, 0]
        last.set_xlabel("update")
        last.set_xlim(left=0)
        last.xaxis.set_major_locator(MaxNLocator(integer=True))
        last.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png")
    with written_beside(Path(out)) as beside:
        beside.write_bytes(buffer.getvalue())
    return True


def _draw_likelihood(axis: Axes, likelihood: dict[str, Series]) -> None:
    axis.set_yscale("log")
    for (label, points), color, marker in zip(likelihood.items(), (_TRAIN, _VALID), ("", "."), strict=True):
        if points:
            _line(axis, points, color, label=label, marker=marker)
    axis.set_ylabel("perplexity")
    # Few ticks, as plain numbers: 10^1 is hard to read as a perplexity.
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.3g}" if value < 1000 else f"{value:,.0f}"))
    axis.yaxis.set_minor_locator(NullLocator())
    axis.legend(loc="upper right", fontsize=9, frameon=False)
    low, high = axis.get_ylim()
    nats = axis.twinx()
    nats.set_ylim(math.log(low), math.log(high))
    nats.set_ylabel("loss (nats a token)")


def _line(axis: Axes, points: Series, color: str, *, label: str = "", marker: str = "") -> None:
    updates, values = np.array(points).T
    # A line of a single point is not visible.
    axis.plot(
        updates, values, color=color, label=label, marker=marker or ("." if len(points) == 1 else ""), linewidth=1.3
    )
