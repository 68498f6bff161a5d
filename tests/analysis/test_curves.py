import json

import pytest
from PIL import Image

from nmt.analysis.curves import draw_curves
from nmt.analysis.series import read_series


def write(path, *entries, tail=""):
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries) + tail)
    return path


def train(update, loss):
    return {"update": update, "kind": "train", "loss": loss, "lr": 0.001}


def valid(update, perplexity, bleu):
    return {"update": update, "kind": "valid", "perplexity": perplexity, "bleu": bleu}


def test_a_run_with_every_number_is_drawn_as_a_png(tmp_path):
    lines = write(tmp_path / "m", train(10, 5.0), train(20, 4.0), valid(20, 50.0, 3.0))
    assert draw_curves(lines, tmp_path / "curves.png")
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.format == "PNG"


@pytest.mark.parametrize(
    "entry",
    [train(1, 5.0), valid(1, 9.0, 0.0), {"update": 1, "kind": "valid", "bleu": 0.0}, train(1, 1e9)],
    ids=["training", "validation", "bleu", "diverged"],
)
def test_a_single_line_is_enough_to_draw(tmp_path, entry):
    assert draw_curves(write(tmp_path / "m", entry), tmp_path / "curves.png")


def test_a_line_that_was_cut_off_is_passed_over(tmp_path):
    lines = write(tmp_path / "m", train(10, 5.0), tail='{"update": 20, "kind": "tr')
    assert read_series(lines)["train", "loss"] == [(10, 5.0)]


def test_the_last_of_two_lines_for_one_update_wins(tmp_path):
    lines = write(tmp_path / "m", train(10, 5.0), train(20, 4.0), train(30, 3.0), train(20, 4.5), train(30, 3.5))
    assert read_series(lines)["train", "loss"] == [(10, 5.0), (20, 4.5), (30, 3.5)]


def test_training_and_validation_at_one_update_do_not_replace_each_other(tmp_path):
    lines = write(tmp_path / "m", train(10, 5.0), valid(10, 50.0, 3.0))
    assert read_series(lines).keys() == {("train", "loss"), ("train", "lr"), ("valid", "perplexity"), ("valid", "bleu")}


@pytest.mark.parametrize("text", ["", "{", '{"update": 1, "kind": "train", "loss": NaN}\n', '[]\n"x"\n1\n'])
def test_without_a_number_nothing_is_drawn(tmp_path, text):
    (tmp_path / "m").write_text(text)
    assert not draw_curves(tmp_path / "m", tmp_path / "curves.png")
    assert not (tmp_path / "curves.png").exists()


def test_without_a_file_nothing_is_drawn(tmp_path):
    assert not draw_curves(tmp_path / "m", tmp_path / "curves.png")
