from itertools import pairwise

import pytest
from matplotlib.figure import Figure

from nmt.analysis import length_plot
from nmt.analysis.comparison import CurvePoint
from nmt.analysis.length_plot import draw_length_curves


def curve(*bleus):
    return [CurvePoint(5 * n + 1, 5 * n + 5, 5.0 * n + 3, 40, bleu, bleu - 2, bleu + 2) for n, bleu in enumerate(bleus)]


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """Draws curves and returns the axes."""
    figures = []

    def keep(*args, **settings):
        figures.append(Figure(*args, **settings))
        return figures[-1]

    def draw(curves, **settings):
        monkeypatch.setattr(length_plot, "Figure", keep)
        draw_length_curves(curves, tmp_path / "curve.png", title="test", samples=1000, **settings)
        assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
        return figures[-1].axes[0]

    return draw


def words(axes):
    return [text.get_text() for text in axes.texts]


def test_each_line_is_named_in_its_own_colour(drawn):
    axes = drawn({"one": curve(30, 20), "other": curve(28, 26)})
    colors = {line.get_color() for line in axes.lines}
    named = {text.get_text(): text.get_color() for text in axes.texts}
    assert {named["one"], named["other"]} == colors
    assert len(colors) == 2


def test_the_names_of_lines_that_end_together_do_not_touch(drawn):
    axes = drawn({name: curve(30, 20 + n / 100) for n, name in enumerate("abcd")})
    boxes = sorted((t.get_window_extent() for t in axes.texts if t.get_text() in "abcd"), key=lambda box: box.y0)
    assert all(below.y1 <= above.y0 for below, above in pairwise(boxes))


def test_a_synthetic_set_is_labelled_as_such(drawn):
    assert "Synthetic set, joined" in words(drawn({"one": curve(30, 20)}, synthetic_long="synthetic set, joined"))
    assert not any("tress" in text for text in words(drawn({"one": curve(30, 20)})))


def test_the_picture_says_what_is_shaded_and_how_many_sentences_there_are(drawn):
    found = words(drawn({"one": curve(30, 20)}))
    assert "shaded: 95 % of 1,000 resamples of the sentences" in found
    assert found.count("40") == 2


def test_bleu_begins_at_zero(drawn):
    assert drawn({"one": curve(30, 20)}).get_ylim()[0] == 0


def test_a_curve_of_one_point_is_drawn_with_its_interval(drawn):
    axes = drawn({"one": curve(30)})
    assert axes.containers[0].has_yerr


def test_equal_curves_are_equal_files(tmp_path):
    for name in ("a.png", "b.png"):
        draw_length_curves({"one": curve(30, 20)}, tmp_path / name, title="test", samples=40)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
