"""What the tests of the report share: a page."""

from collections.abc import Callable
from pathlib import Path

import pytest

from nmt.analysis.alignment import AlignmentScores
from nmt.analysis.by_length import LengthRow
from nmt.analysis.evaluation import Report
from nmt.analysis.metrics import MetricScore
from nmt.analysis.report import ReportHeader, ReportSentences, Selection, write_page
from tests.support.pages import FORCED, FOUND, GOLD

METRICS = (
    '{"update": 10, "kind": "train", "loss": 3.0, "lr": 0.001}\n'
    '{"update": 20, "kind": "valid", "perplexity": 9.0, "bleu": 12.5, "attention_eos_mass": 0.125, "more": 3}\n'
)


@pytest.fixture(scope="session")
def render(tmp_path_factory) -> Callable[..., Path]:
    """Writes a page of FOUND and FORCED, or of what else is given, and says where."""

    def write(found=FOUND, forced=FORCED, gold=GOLD, *, attention=True, metrics=METRICS, synthetic_long="") -> Path:
        folder = tmp_path_factory.mktemp("report")
        (folder / "metrics.jsonl").write_text(metrics)
        selection = Selection()
        list(selection.observe(found, [each.text for each in forced]))
        score = MetricScore(41.5, "nrefs:1|case:mixed")
        rows = [LengthRow(1, 10, 7, {"bleu": 43.0}), LengthRow(11, 20, 1, {"bleu": 40.0})]
        scores = {"bleu": score, "chrf": score, "ter": score}
        alignment = AlignmentScores(0.1, 0.9, 0.9) if gold else None
        report = Report(scores, 5.5, 8, 1.0, rows, alignment=alignment, synthetic_long=synthetic_long)
        subject = ReportHeader("<i>my & run</i>", "test", "en", "fr", {"decoding": "beam 5"})
        shown = ReportSentences(selection, forced, gold, attention)
        write_page(folder / "report.html", subject, report, shown, folder / "metrics.jsonl")
        return folder / "report.html"

    return write
