"""The report page: its data, rendered into one HTML file that needs no other file."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import jinja2

from nmt.analysis.alignment import GoldLinks, TranslationLike
from nmt.analysis.evaluation import Report
from nmt.analysis.metrics import METRICS
from nmt.analysis.report import charts
from nmt.analysis.report.charts import Chart, length_chart, line_chart
from nmt.analysis.report.sentences import Selection, describe
from nmt.analysis.series import Series, read_series
from nmt.runtime.atomic import written_beside

# The numbers of a validation that are not statistics of attention.
_COMMON = {"loss", "perplexity", "seconds"}
# The labels of the others on the page, in order; see nmt.analysis.attention_stats.
_STATS = {
    "attention_entropy": "Entropy, in nats",
    "attention_max_weight": "Largest weight",
    "attention_eos_mass": "Weight on the end",
    "attention_uncovered": "Source words never seen",
    "attention_over_attended": "Source words seen too often",
    "attention_forward": "Steps that do not go back",
}


class ReportSentences(NamedTuple):
    """The sentences of the page: the reference of each of `selection.kept`, in order, by forced decoding; gold: links
    of all lines of the test set, or None; attention: whether the model has attention."""

    selection: Selection
    forced: Sequence[TranslationLike]
    gold: Sequence[GoldLinks] | None
    attention: bool


@dataclass
class ReportHeader:
    """The heading of the page. src, tgt: the two languages; facts: further lines, by name."""

    run: str
    test: str
    src: str
    tgt: str
    facts: Mapping[str, str] = field(default_factory=dict)


def write_page(
    path: Path, header: ReportHeader, report: Report, sentences: ReportSentences, metrics_jsonl: Path
) -> None:
    """Write the page atomically. Curves are left out if there is no metrics.jsonl.

    All texts and names are escaped: none is interpreted as HTML or JavaScript.
    """
    series = read_series(metrics_jsonl)
    page = (
        _environment()
        .get_template("page.html")
        .render(
            header=header,
            report=report,
            sentences=sentences,
            size=charts,
            metrics=METRICS,
            lengths=length_chart(report.rows, report.unit),
            curves=_curves(series),
            stats=_stats(series),
            data={
                "attention": sentences.attention,
                "gold": sentences.gold is not None,
                "sentences": [
                    describe(selected, forced, sentences.gold[selected.number] if sentences.gold is not None else None)
                    for selected, forced in zip(sentences.selection.selected, sentences.forced, strict=True)
                ],
            },
        )
    )
    with written_beside(path) as beside:
        beside.write_text(page, encoding="utf-8")


def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _curves(series: Mapping[tuple[str, str], Series]) -> list[Chart]:
    """The charts of training: one each for likelihood, metrics, learning rate and gradient."""
    # A loss of x nats per token is a perplexity of e^x; far above the vocabulary size it has no meaning.
    train = [(update, math.exp(loss)) for update, loss in series.get(("train", "loss"), []) if loss < 100]
    found = [
        line_chart(
            "Perplexity",
            {("train", "training"): train, ("valid", "validation"): series.get(("valid", "perplexity"), [])},
            log=True,
        ),
        *(
            line_chart(f"Validation {metric.label}", {("valid", metric.label): series.get(("valid", name), [])})
            for name, metric in METRICS.items()
        ),
        line_chart("Learning rate", {("train", "rate"): series.get(("train", "lr"), [])}),
        line_chart("Gradient norm", {("train", "norm"): series.get(("train", "grad_norm"), [])}),
    ]
    return [chart for chart in found if chart]


def _stats(series: Mapping[tuple[str, str], Series]) -> list[Chart]:
    """A chart for each further number of validations: the statistics of attention."""
    found = {
        name: points
        for (kind, name), points in series.items()
        if kind == "valid" and name not in _COMMON | METRICS.keys()
    }
    names = [name for name in _STATS if name in found] + sorted(found.keys() - _STATS.keys())
    titles = {name: _STATS.get(name, name.replace("_", " ").capitalize()) for name in names}
    charts = (line_chart(titles[name], {("valid", titles[name]): found[name]}) for name in names)
    return [chart for chart in charts if chart]
