import base64
import fnmatch
import json
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

from nmt.analysis import report
from nmt.analysis.attention_stats import AttentionStats
from nmt.analysis.by_length import LengthRow
from nmt.analysis.report import Selection
from nmt.analysis.report.charts import HEIGHT, MAX_POINTS, WIDTH, length_chart, line_chart
from nmt.analysis.report.page import _STATS
from nmt.analysis.report.sentences import describe
from tests.support.pages import FORCED, FOUND, GOLD, HARMFUL, said, without_attention

FOLDER = Path(report.__file__).parent


def watched(selection: Selection, hypotheses: list[str], references: list[str]) -> Selection:
    found = [said("a b", hypothesis) for hypothesis in hypotheses]
    assert list(selection.observe(found, references)) == found
    return selection


def told(number: int, gold: bool = True) -> dict:
    selection = Selection()
    list(selection.observe(FOUND, [each.text for each in FORCED]))
    return describe(selection.selected[number], FORCED[number], GOLD[number] if gold else None)


# Which sentences


def test_the_first_and_the_worst_of_the_others_are_kept_in_the_order_of_the_test_set():
    hypotheses = ["zzzz", "good day", "good", "xxxx", "good day", "good da", "qqqq"]
    selection = watched(Selection(first=2, worst=3), hypotheses, ["good day"] * 7)
    assert [kept.number for kept in selection.selected] == [0, 1, 2, 3, 6]
    assert str(selection) == "5 of the 7 sentences: the first 2, and of the others the 3 with the lowest chrF."


def test_a_small_test_set_is_kept_whole():
    selection = watched(Selection(), ["a", "b"], ["a", "c"])
    assert [kept.number for kept in selection.selected] == [0, 1]
    assert str(selection) == "All 2 sentences of the test set."


@pytest.mark.parametrize("long", ["hypothesis", "reference"])
def test_a_sentence_that_is_too_long_on_any_side_is_left_out_and_counted(long):
    sides = {"hypothesis": "x", "reference": "x"} | {long: "x x x x"}
    selection = watched(Selection(longest=3), ["a", sides["hypothesis"]], ["a", sides["reference"]])
    assert [kept.number for kept in selection.selected] == [0]
    assert str(selection) == "All 2 sentences of the test set, without the 1 of more than 3 words."


# What is told about one


def test_weights_are_told_to_a_third_of_a_percent():
    sentence = told(0)
    weights = np.frombuffer(base64.b64decode(sentence["hypothesis"]["weights"]), np.uint8).reshape(3, 4) / 255
    assert np.abs(weights - FOUND[0].weights).max() <= 0.5 / 255 + 1e-6


def test_the_words_that_the_other_translation_lacks_are_told():
    sentence = told(0)
    assert sentence["hypothesis"]["apart"] == [0]
    assert sentence["reference"]["apart"] == [0]


def test_disjoint_linking_is_half_the_difference_of_the_shares_of_attention():
    # Shares of the words and the end: (.94, 1, .85, .21) / 3 and (.6, 1.1, 1.2, .1) / 3.
    assert told(0)["disagreement"] == pytest.approx((0.34 + 0.1 + 0.35 + 0.11) / 3 / 2, abs=6e-4)


def test_nothing_and_something_disagree_wholly():
    assert told(2)["disagreement"] == 1


def test_gold_links_and_the_error_against_them_are_told():
    sentence = told(0)
    assert sentence["sure"] == [(0, 0), (2, 1)]
    assert sentence["possible"] == [(1, 2)]
    # The reference's links: (0, 0), (2, 1), (1, 2), all of them possible, all sure ones among them.
    assert sentence["aer"] == 0


def test_without_gold_links_none_are_told():
    assert not {"sure", "possible", "aer"} & told(0, gold=False).keys()


# The page


def test_a_text_comes_back_from_the_page_as_it_was(render):
    page = render().read_text("utf-8")
    data = json.loads(page.split('id="data">')[1].split("</script>")[0])
    assert data["sentences"][1]["hypothesis"]["words"] == HARMFUL.split()


def test_no_text_or_name_becomes_markup(render):
    page = render().read_text("utf-8")
    assert page.count("<script") == page.count("</script") == 2
    assert "<i>my" not in page
    assert "<title>&lt;i&gt;my &amp; run&lt;/i&gt;: test</title>" in page
    assert "49" not in page.split('id="data">')[1].split("</script>")[0]


def test_the_page_names_no_other_file_and_no_address(render):
    page = render().read_text("utf-8")
    assert set(re.findall(r"https?://[^\s\"'<]*", page)) == {"http://www.w3.org/2000/svg"}
    assert re.findall(r"""(?:src|href)=["']?([^"'\s>]*)""", page.split("</style>")[0]) == ["data:,"]
    assert not re.search(r"@import|url\(|\bimport\(|fetch\(|XMLHttpRequest", page)


def test_the_page_shows_curves_health_and_lengths(render):
    page = render().read_text("utf-8")
    for title in (
        "Perplexity",
        "Validation BLEU",
        "Learning rate",
        "Weight on the end",
        "More",
        "BLEU by source length",
    ):
        assert re.search(rf"<figcaption>{title}\n", page), title
    assert "Weight on the end 0.125 at update 20" in page


def test_each_number_of_the_attention_statistics_has_a_name_on_the_page():
    assert {f"attention_{name}" for name in AttentionStats._fields} == _STATS.keys()


def test_a_test_set_that_is_no_real_text_is_said_to_be_none(render):
    assert "neighbors joined &amp; more" in render(synthetic_long="neighbors joined & more").read_text("utf-8")
    assert "<span>test set</span>" not in render().read_text("utf-8")


def test_without_metrics_there_are_no_curves(render):
    page = render(metrics="").read_text("utf-8")
    assert "Training</h2>" not in page
    assert "Attention at each validation" not in page
    assert "Alignments</h2>" in page


def test_without_attention_the_translations_are_shown(render):
    page = render(without_attention(FOUND), without_attention(FORCED), None, attention=False).read_text("utf-8")
    assert "This model has no attention" in page
    assert 'id="matrix"' not in page


def test_the_page_of_many_sentences_stays_of_moderate_size(render):
    words = " ".join(f"word{k}" for k in range(30))
    rows = np.random.default_rng(1).dirichlet(np.ones(31), 30).tolist()
    page = render([said(words, words, rows)] * 200, [said(words, words, rows)] * 200, None)
    assert page.stat().st_size < 1_000_000


def test_every_file_of_the_page_is_packaged():
    settings = tomllib.loads((FOLDER.parents[2] / "pyproject.toml").read_text())["tool"]["setuptools"]
    patterns = settings["package-data"]["nmt.analysis.report"]
    files = [path.name for path in FOLDER.iterdir() if path.is_file() and path.suffix != ".py"]
    assert files
    assert [name for name in files if not any(fnmatch.fnmatch(name, each) for each in patterns)] == []


# Colors


def luminance(color: str) -> float:
    """WCAG 2's relative luminance of #rrggbb."""
    parts = [int(color[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_text_stands_out_from_whatever_lies_behind_it(scheme):
    style = (FOLDER / "page.css").read_text()
    colors = dict(re.findall(r"--(\w+): (#\w{6})", re.findall(r":root \{(.*?)\}", style, re.S)[scheme]))
    behind = [("ink", ground) for ground in ("paper", "card", "attended", "same")]
    for text, ground in [*behind, ("muted", "paper"), ("muted", "card"), ("valid", "paper"), ("gold", "attended")]:
        bright, dark = sorted((luminance(colors[text]), luminance(colors[ground])), reverse=True)
        least = 4.5 if text in ("ink", "muted") else 1.5
        assert (bright + 0.05) / (dark + 0.05) >= least, (text, ground)


# Charts


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("values", [[5.0], [3.0, 3.0], [1.0, 12345.0], [0.001, 0.0017, 0.0012], [80.1, 99.9]])
def test_every_point_and_tick_lies_within_the_drawing(values, log):
    chart = line_chart("it", {("valid", "it"): [(10 * (k + 1), value) for k, value in enumerate(values)]}, log=log)
    assert chart is not None
    points = chart.lines[0].points
    assert all(0 <= point.x <= WIDTH and 0 <= point.y <= HEIGHT for point in points)
    assert all(0 <= tick.at <= HEIGHT for tick in chart.y_ticks)
    assert 2 <= len(chart.y_ticks) <= 7
    assert len({tick.label for tick in chart.y_ticks}) == len(chart.y_ticks)


def test_a_larger_value_stands_higher():
    chart = line_chart("it", {("valid", "it"): [(1, 2.0), (2, 3.0), (3, -1.0)]})
    assert chart is not None
    first, second, third = (point.y for point in chart.lines[0].points)
    assert second < first < third


def test_nothing_is_drawn_of_nothing():
    assert line_chart("it", {("valid", "it"): []}) is None
    assert length_chart([]) is None


def test_a_long_line_is_thinned_and_keeps_its_end():
    chart = line_chart("it", {("train", "it"): [(k, float(k)) for k in range(1, 10_001)]})
    assert chart is not None
    points = chart.lines[0].points
    assert MAX_POINTS / 2 < len(points) <= MAX_POINTS
    assert points[-1].label == "it 10,000 at update 10,000"


def test_lengths_without_a_score_have_no_bar():
    chart = length_chart([LengthRow(1, 10, 5, {"ter": None}), LengthRow(11, 20, 5, {"ter": 60.0})])
    assert chart is not None
    assert [(bar.height > 0, bar.value) for bar in chart.bars] == [(False, "-"), (True, "60.0")]


def test_the_axis_of_scores_of_zero_has_round_numbers():
    chart = length_chart([LengthRow(1, 10, 5, {"bleu": 0.0})])
    assert chart is not None
    assert chart.y_ticks[0].label == "0"
    assert float(chart.y_ticks[-1].label) == 1


def test_bars_are_as_high_as_their_bleu():
    chart = length_chart([LengthRow(1, 10, 5, {"bleu": each}) for each in (40.0, 20.0, 0.0)])
    assert chart is not None
    assert chart.bars[0].height == pytest.approx(2 * chart.bars[1].height, abs=0.2)
    assert chart.bars[2].height == 0
