import subprocess
import sys
from itertools import pairwise

import matplotlib
import numpy as np
import pytest

from nmt.analysis import heatmap
from nmt.analysis.heatmap import Panel, attention_image, draw, draw_panels

WORDS = ["Zwei", "junge", "Männer"]


def words(count):
    return [f"word{k}" for k in range(count)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("suffix", "start"), [(".png", b"\x89PNG"), (".pdf", b"%PDF"), (".svg", b"<?xml"), (".PNG", b"\x89PNG")]
)
def test_the_suffix_chooses_the_format(tmp_path, suffix, start):
    draw(np.eye(3), WORDS, WORDS, tmp_path / f"map{suffix}", eos=np.zeros(3), title="0")
    assert (tmp_path / f"map{suffix}").read_bytes().startswith(start)


@pytest.mark.parametrize("name", ["map.gif", "map"])
def test_another_suffix_is_refused_naming_the_legal_ones(tmp_path, name):
    with pytest.raises(ValueError, match=r"\.png, \.pdf, \.svg"):
        draw(np.eye(3), WORDS, WORDS, tmp_path / name)


@pytest.mark.parametrize(("rows", "columns"), [(0, 0), (0, 3), (3, 0)])
def test_a_matrix_without_a_row_or_a_column_is_refused(tmp_path, rows, columns):
    with pytest.raises(ValueError, match=f"{rows} target by {columns} source words"):
        draw(np.zeros((rows, columns)), WORDS[:columns], WORDS[:rows], tmp_path / "map.png")
    assert not (tmp_path / "map.png").exists()


@pytest.mark.parametrize("suffix", heatmap.SUFFIXES)
def test_equal_pictures_are_equal_files(tmp_path, suffix):
    for name in ("a", "b"):
        draw(np.eye(3), WORDS, WORDS, tmp_path / f"{name}{suffix}")
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


def test_dollars_are_no_mathematics():
    picture = attention_image(np.eye(2), ["$x_2$", "$\\frac$"], ["a", "b"], title="$")
    assert picture.shape[2] == 3


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 5, 50])
def test_a_word_gets_the_same_room_in_a_picture_of_any_size(count):
    few, many = (attention_image(np.zeros((n, n)), words(n), words(n)) for n in (count + 20, count + 30))
    assert many.shape[0] - few.shape[0] == pytest.approx(10 * heatmap._CELL * 120, abs=2)


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 5, 20, 50])
@pytest.mark.parametrize("title", ["", "a title wider than few words"])
def test_nothing_touches_the_edge_of_the_picture(count, title):
    labels = ["Donaudampfschifffahrtsgesellschaft", *words(count - 1)]
    picture = attention_image(np.ones((count, count)), labels, labels, title=title, eos=np.ones(count))
    inside = np.s_[5:-5, 5:-5]
    frame = picture.astype(int).sum() - picture[inside].astype(int).sum()
    assert frame == 255 * (picture.size - picture[inside].size)


def test_labels_do_not_overlap_at_fifty_words():
    figure = heatmap._figure([Panel(np.zeros((50, 50)), np.zeros(50))], words(50), words(50), "", "weight")
    renderer = heatmap.FigureCanvasAgg(figure).get_renderer()
    boxes = [label.get_window_extent(renderer) for label in figure.axes[0].get_yticklabels()]
    assert all(upper.y0 >= lower.y1 for upper, lower in pairwise(boxes))


def test_a_larger_weight_is_darker():
    colors = [np.dot(heatmap._COLORS(weight)[:3], [0.2126, 0.7152, 0.0722]) for weight in np.linspace(0, 1, 50)]
    assert colors == sorted(colors, reverse=True)
    assert colors[0] == pytest.approx(1)


def test_the_end_of_sentence_has_a_column_of_its_own():
    plain = attention_image(np.eye(3), WORDS, WORDS)
    assert attention_image(np.eye(3), WORDS, WORDS, eos=np.zeros(3)).shape[1] > plain.shape[1]


def test_a_very_long_sentence_is_cut_and_the_title_says_so():
    weights = np.zeros((201, 250))
    assert heatmap._titled("7", weights) == "7 (the first 200 of 201 target words and 200 of 250 source words)"


def test_drawing_leaves_the_settings_of_matplotlib_alone(tmp_path):
    before = dict(matplotlib.rcParams)
    draw(np.eye(3), WORDS, WORDS, tmp_path / "map.svg")
    assert dict(matplotlib.rcParams) == before


def test_settings_of_matplotlib_leave_the_picture_alone():
    before = attention_image(np.eye(3), WORDS, WORDS)
    with matplotlib.rc_context({"axes.grid": True, "figure.facecolor": "black", "font.size": 20}):
        np.testing.assert_array_equal(attention_image(np.eye(3), WORDS, WORDS), before)


@pytest.mark.process
def test_drawing_needs_no_pyplot():
    code = "import nmt.analysis.heatmap, nmt.analysis.curves, sys; sys.exit('matplotlib.pyplot' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def panels(count):
    return [Panel(np.eye(3) / (k + 1), np.zeros(3), 1 / (k + 1), f"number {k}\nand more") for k in range(count)]


def test_panels_stand_side_by_side_under_the_same_words(tmp_path):
    figure = heatmap._figure(panels(3), WORDS, WORDS, "title", "weight")
    *drawn, _ = figure.axes
    boxes = [axes.get_position() for axes in drawn]
    assert all(one.x1 < other.x0 and one.y0 == other.y0 for one, other in pairwise(boxes))
    assert [[label.get_text() for label in axes.get_yticklabels()] for axes in drawn] == [WORDS, [""] * 3, [""] * 3]


def test_each_panel_is_darkest_at_its_own_largest():
    figure = heatmap._figure(panels(2), WORDS, WORDS, "", "weight")
    colors = [axes.collections[0].to_rgba(np.array([1 / (k + 1)])).tolist() for k, axes in enumerate(figure.axes[:2])]
    assert colors[0] == colors[1]


def test_captions_neither_touch_each_other_nor_leave_the_picture():
    wide = [panel._replace(caption=f"{k} is wider than its three words") for k, panel in enumerate(panels(3))]
    figure = heatmap._figure(wide, WORDS, WORDS, "", "weight")
    renderer = heatmap.FigureCanvasAgg(figure).get_renderer()
    boxes = [text.get_window_extent(renderer) for text in figure.texts if text.get_text()]
    assert len(boxes) == 3
    assert all(one.x1 < other.x0 for one, other in pairwise(boxes))
    assert all(box.y0 > 0 and box.x1 < figure.bbox.width for box in boxes)


def test_a_picture_of_one_panel_is_the_plain_picture(tmp_path):
    draw(np.eye(3), WORDS, WORDS, tmp_path / "one.png", eos=np.zeros(3))
    draw_panels([Panel(np.eye(3), np.zeros(3))], WORDS, WORDS, tmp_path / "other.png")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "other.png").read_bytes()
