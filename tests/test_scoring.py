"""Scoring from end to end: training, evaluating and comparing text without spaces, and with a metric of one's own."""

import contextlib
import io
import json
import random
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from nmt import compare, evaluate, train
from nmt.analysis import evaluation
from nmt.analysis.metrics import METRICS, Metric
from nmt.cli import run_command
from nmt.config.schema import CompareConfig, EvaluateConfig, TrainConfig
from tests.support.commands import TINY_TRAINING

pytestmark = pytest.mark.slow  # whole commands, each a second or so

COMMANDS = {
    "train": (train.main, TrainConfig),
    "evaluate": (evaluate.main, EvaluateConfig),
    "compare": (compare.main, CompareConfig),
}
CHARACTERS = {
    "north": "北",
    "south": "南",
    "king": "王",
    "sees": "见",
    "horse": "马",
    "old": "老",
    "red": "红",
    "tree": "树",
}
TINY = [
    "data=files",
    "data.src=en",
    "data.train=train",
    "data.valid=valid",
    "data.test=test",
    "device=cpu",
    "tokenizer.model_type=char",
    "tokenizer.vocab_size=40",
    *TINY_TRAINING,
    "trainer.max_updates=10",
    "trainer.max_epochs=null",
    "trainer.max_minutes=null",
    "trainer.validate_every=5",
    "trainer.tensorboard=false",
    "+experiment=bahdanau",
]


class Ended(NamedTuple):
    """What a command printed."""

    out: str
    err: str


def call(folder: Path, verb: str, *words: str) -> Ended:
    """`python -m nmt.VERB WORDS` in `folder`, which must succeed."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.chdir(folder):
        patch.setattr(sys, "argv", [f"nmt.{verb}", *words])
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        run_command(verb, *COMMANDS[verb])
    return Ended(out.getvalue(), err.getvalue())


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A folder with a corpus from English into Chinese, its target files under two suffixes, and RUN trained on it."""
    folder = tmp_path_factory.mktemp("chinese")
    rng = random.Random(1)
    for name, count in (("train", 150), ("valid", 6), ("test", 12)):
        lines = [rng.choices(list(CHARACTERS), k=rng.randint(4, 9)) for _ in range(count)]
        (folder / f"{name}.en").write_text("".join(" ".join(words) + "\n" for words in lines))
        chinese = "".join("".join(CHARACTERS[word] for word in words) + "。\n" for words in lines)
        for suffix in ("zho_Hans", "cn"):
            (folder / f"{name}.{suffix}").write_text(chinese, encoding="utf-8")
    ended = call(folder, "train", *TINY, "data.tgt=zho_Hans", "run=RUN")
    assert "tokenizer" not in ended.err
    return folder


def scores(folder: Path) -> dict:
    return json.loads((folder / "scores.json").read_text(encoding="utf-8"))


# Text without spaces


def test_a_long_code_of_chinese_is_validated_and_evaluated_by_character(trained):
    ended = call(trained, "evaluate", "checkpoint=RUN", "heatmaps=0", "device=cpu", "out=long")
    found = scores(trained / "long")
    assert found["bleu_tokenizer"] == "zh"
    assert "|tok:zh|" in found["bleu"]["signature"]
    assert "|tok:zh+tercom|" in found["ter"]["signature"]
    assert "no spaces" not in ended.err
    valid = [json.loads(line) for line in (trained / "RUN" / "metrics.jsonl").read_text().splitlines()]
    assert max(line["bleu"] for line in valid if line["kind"] == "valid") > 0


def test_text_without_spaces_under_an_unknown_code_is_warned_of_in_training_and_evaluation(trained):
    said = "takes a whole phrase for a word: BLEU and TER say little; try data.bleu_tokenizer=zh\n"
    assert said in call(trained, "train", *TINY, "data.tgt=cn", "run=CN").err
    assert said.strip() in (trained / "CN" / "train.log").read_text()
    assert said in call(trained, "evaluate", "checkpoint=CN", "heatmaps=0", "device=cpu").err


def test_the_tokenizer_can_be_set_for_training_and_for_evaluation(trained):
    ended = call(trained, "train", *TINY, "data.tgt=cn", "data.bleu_tokenizer=zh", "run=SET")
    assert "no spaces" not in ended.err
    call(trained, "evaluate", "checkpoint=SET", "heatmaps=0", "device=cpu", "out=as-trained")
    assert scores(trained / "as-trained")["bleu_tokenizer"] == "zh"
    call(trained, "evaluate", "checkpoint=SET", "heatmaps=0", "device=cpu", "out=other", "data.bleu_tokenizer=char")
    assert "|tok:char|" in scores(trained / "other")["bleu"]["signature"]


def test_the_pictures_of_text_without_spaces_are_by_piece(trained, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        "nmt.analysis.heatmap.draw",
        lambda weights, src, tgt, path, **_: drawn.append((weights.shape, len(src), len(tgt))),
    )
    call(trained, "evaluate", "checkpoint=RUN", "heatmaps=3", "device=cpu", "out=pictures")
    assert len(drawn) == 3
    for shape, src, tgt in drawn:
        assert shape == (tgt, src)
        assert src > 12  # characters; there are nine words at most
    page = (trained / "pictures" / "report.html").read_text(encoding="utf-8")
    assert "The text has no spaces, so it is shown by piece." in page
    data = json.loads(page.split('id="data">')[1].split("</script>")[0])
    first = data["sentences"][0]
    assert first["reference"]["words"] == ["▁", *(trained / "test.cn").read_text("utf-8").splitlines()[0]]
    assert "</s>" not in first["src"]


def test_the_pictures_of_text_with_spaces_stay_by_word(trained, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(evaluation, "draw_translation", lambda *_, pieces: asked.append(pieces))
    shutil.copytree(trained, tmp_path / "spaced")
    path = tmp_path / "spaced" / "test.zho_Hans"
    path.write_text("".join(" ".join(line) for line in path.open(encoding="utf-8")), encoding="utf-8")
    call(tmp_path / "spaced", "evaluate", "checkpoint=RUN", "heatmaps=1", "device=cpu")
    assert asked == [False]


def test_the_lengths_of_sources_without_spaces_are_counted_in_characters(trained):
    swapped = [word for word in TINY if not word.startswith("data.src")]
    call(trained, "train", *swapped, "data.src=cn", "data.tgt=en", "run=BACK")
    ended = call(trained, "evaluate", "checkpoint=BACK", "heatmaps=0", "device=cpu", "out=back")
    assert "source characters  sentences   BLEU   chrF    TER\n" in ended.out
    rows = scores(trained / "back")["by_length"]
    assert scores(trained / "back")["length_unit"] == "characters"
    assert [row["low"] for row in rows] == [1]
    assert 5 <= rows[0]["high"] <= 10
    assert ">source characters<" in (trained / "back" / "report.html").read_text("utf-8")


# Metrics


def test_a_metric_that_is_left_out_is_nowhere(trained):
    ended = call(trained, "evaluate", "checkpoint=RUN", "heatmaps=0", "device=cpu", "out=two", "metrics=[bleu,chrf]")
    assert "TER" not in ended.out
    assert "ter" not in scores(trained / "two")
    assert "<dt>TER" not in (trained / "two" / "report.html").read_text("utf-8")


def test_what_the_limits_of_the_translation_edit_rate_leave_out_is_said_everywhere(trained):
    words = ["checkpoint=RUN", "heatmaps=0", "device=cpu", "out=limited", "ter_max_tokens=6"]
    ended = call(trained, "evaluate", *words)
    (said,) = scores(trained / "limited")["remarks"]
    assert said.startswith("TER ")
    assert said.endswith("tokens (ter_max_tokens)")
    assert f"{said}\n" in ended.out
    assert said in (trained / "limited" / "report.html").read_text("utf-8")
    call(trained, "evaluate", *words[:-1], "ter_max_seconds=1e-9")
    assert "1e-09 s were over after" in scores(trained / "limited")["remarks"][0]
    assert "ter" not in scores(trained / "limited")


class LengthRatio:
    """A metric of a few lines: characters of the translations for 100 of the references."""

    def statistics(self, hypotheses, references, limits=None):
        return np.array([[len(ours), len(theirs)] for ours, theirs in zip(hypotheses, references, strict=True)], float)

    def score(self, sums):
        return float(100 * sums[0] / sums[1])

    def signature(self):
        return "characters"


def test_one_entry_in_the_table_adds_a_metric_everywhere(trained, monkeypatch):
    entry = Metric("Length", "characters for 100", lambda _tokenizer: LengthRatio(), validated=True)
    monkeypatch.setitem(METRICS, "length", entry)
    ended = call(trained, "train", *TINY, "data.tgt=zho_Hans", "run=MINE")
    assert "  Length " in ended.err
    lines = [json.loads(line) for line in (trained / "MINE" / "metrics.jsonl").read_text().splitlines()]
    assert all(line["length"] > 0 for line in lines if line["kind"] == "valid")
    ended = call(trained, "evaluate", "checkpoint=MINE", "heatmaps=0", "device=cpu")
    found = scores(trained / "MINE" / "evaluation" / "test")
    assert f"Length {found['length']['score']:.2f}  characters\n" in ended.out
    assert "  Length\n" in ended.out  # of the table by length
    assert all(row["length"] > 0 for row in found["by_length"])
    page = (trained / "MINE" / "report.html").read_text("utf-8")
    assert f'<dt>Length</dt><dd class="number">{found["length"]["score"]:.2f}</dd>' in page
    assert "Validation Length" in page
    call(trained, "compare", "runs=[MINE]", "samples=40")
    compared = json.loads((trained / "comparison" / "comparison.json").read_text("utf-8"))
    assert compared["runs"]["MINE"]["length"]["score"] == found["length"]["score"]
