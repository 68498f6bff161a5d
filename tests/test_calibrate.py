"""Calibrating a run, when it ends and by the command, and the confidences that translate then writes."""

import json
import shutil

import pytest

import nmt
from nmt import checkpoint
from nmt.build import confidence
from nmt.checkpoint.run_folder import RunFolder
from tests.support.commands import call, compose_config

pytestmark = pytest.mark.slow  # whole commands, each a second or so

LINES = ["der hund sieht", "ein haus", "", "rot", "die frau sieht ein kind", "mann mann mann"]


@pytest.fixture(scope="module")
def trained(tiny, tmp_path_factory):
    """A run as nmt.train leaves it, and what it printed."""
    folder = tmp_path_factory.mktemp("calibrate") / "run"
    ended = call(folder.parent, "train", *tiny.settings(folder, trainer__max_updates=60), "device=cpu")
    assert ended.code == 0, ended.err
    return RunFolder(folder), ended.err


@pytest.fixture
def run(trained, tmp_path) -> RunFolder:
    return RunFolder(shutil.copytree(trained[0].path, tmp_path / "run"))


def translated(tmp_path, run: RunFolder, *words: str, name: str = "sure", lines=LINES) -> tuple[list[dict], str, str]:
    """The confidences of LINES, the translations, and what was logged."""
    ended = call(
        tmp_path,
        "translate",
        f"checkpoint={run.path}",
        f"confidence={name}",
        "decode.max_length=20",
        "device=cpu",
        *words,
        stdin="".join(f"{line}\n" for line in lines).encode(),
    )
    assert ended.code == 0, ended.err
    return [json.loads(line) for line in (tmp_path / name).read_text().splitlines()], ended.out, ended.err


def test_a_run_is_calibrated_when_it_ends(trained):
    run, log = trained
    assert "confidence calibrated on" in log
    calibration = checkpoint.read_calibration(run.best)
    assert calibration
    assert calibration["words"] > 0
    checkpoint.verify(run.best)
    assert checkpoint.read_calibration(run.last) is None


def test_confidence_has_a_line_for_each_line(run, tmp_path):
    found, out, log = translated(tmp_path, run)
    assert "not calibrated" not in log
    texts = out.splitlines()
    assert len(found) == len(texts) == len(LINES)
    for line, text, source in zip(found, texts, LINES, strict=True):
        assert line["calibrated"]
        assert len(line["words"]) == len(text.split())
        assert all(0 < each < 1 for each in line["words"])
        assert set(line["omitted"] or ()) <= set(range(len(source.split())))
        assert set(line["unsupported"] or ()) <= set(range(len(text.split())))
        if text:
            assert line["sentence"] == pytest.approx(sum(line["words"]) / len(line["words"]), abs=1e-3)
        else:
            assert line["sentence"] is None


def test_a_batch_changes_nothing(run, tmp_path):
    one, text, _ = translated(tmp_path, run, "decode.batch_size=1", name="one")
    many, same, _ = translated(tmp_path, run, "decode.batch_size=64", name="many")
    assert text == same
    for alone, together in zip(one, many, strict=True):
        assert alone["words"] == pytest.approx(together["words"], abs=2e-4)
        assert (alone["omitted"], alone["unsupported"]) == (together["omitted"], together["unsupported"])


def test_writing_confidences_does_not_change_the_translations(run, tmp_path):
    stdin = "".join(f"{line}\n" for line in LINES).encode()
    words = [f"checkpoint={run.path}", "decode.max_length=20", "device=cpu"]
    assert call(tmp_path, "translate", *words, stdin=stdin).out == translated(tmp_path, run)[1]


def test_a_run_without_calibration_says_so_until_it_has_one(run, tmp_path):
    calibration = checkpoint.read_calibration(run.best)
    shutil.rmtree(run.best)
    checkpoint.hard_link(run.last, run.best)
    found, _, log = translated(tmp_path, run)
    assert "confidence is not calibrated" in log
    assert "python -m nmt.calibrate" in log
    assert not any(line["calibrated"] for line in found)
    ended = call(tmp_path, "calibrate", f"checkpoint={run.path}", "device=cpu", f"cache={tmp_path / 'cache'}")
    assert ended.code == 0, ended.err
    assert "confidence calibrated on" in ended.out
    assert checkpoint.read_calibration(run.best) == calibration
    found, _, log = translated(tmp_path, run, name="again")
    assert all(line["calibrated"] for line in found)
    assert "not calibrated" not in log


def test_an_ensemble_is_not_calibrated_and_says_so(run, tmp_path):
    found, _, log = translated(tmp_path, run, f"checkpoint=[{run.best},{run.last}]", lines=LINES[:1])
    assert "an ensemble has no calibration" in log
    assert not found[0]["calibrated"]


def test_an_interrupted_file_is_continued(run, tmp_path):
    (tmp_path / "in").write_text("".join(f"{line}\n" for line in LINES))
    words = [f"in={tmp_path / 'in'}", "decode.batch_size=1"]
    translated(tmp_path, run, *words, f"out={tmp_path / 'out'}")
    whole, out = (tmp_path / "sure").read_bytes(), (tmp_path / "out").read_bytes()
    (tmp_path / "sure").write_bytes(whole[: len(whole) // 2])
    translated(tmp_path, run, *words, f"out={tmp_path / 'out'}", "append=true")
    assert (tmp_path / "sure").read_bytes() == whole
    assert (tmp_path / "out").read_bytes() == out


def test_the_python_interface_finds_the_same(run, tmp_path):
    written, _, _ = translated(tmp_path, run)
    model = nmt.load(run.path, device="cpu")
    found = model.confidence(model.translate(LINES, max_length=20))
    for line, own in zip(written, found, strict=True):
        assert own.calibrated
        assert line["words"] == pytest.approx(own.words.tolist(), abs=2e-4)
        assert (line["omitted"], line["unsupported"]) == (own.omitted, own.unsupported)


def test_a_calibration_that_fails_leaves_a_whole_run(tiny, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "write_calibration", fail)
    ended = call(tmp_path, "train", *tiny.settings(tmp_path / "run", trainer__max_updates=5), "device=cpu")
    assert ended.code == 0, ended.err
    assert "confidence is not calibrated: [Errno 28] No space left on device" in ended.err
    checkpoint.verify(RunFolder(tmp_path / "run").best)


def test_training_can_leave_it_out(tiny, tmp_path):
    words = tiny.settings(tmp_path / "run", trainer__max_updates=5, trainer__calibrate="false")
    ended = call(tmp_path, "train", *words, "device=cpu")
    assert ended.code == 0, ended.err
    assert checkpoint.read_calibration(RunFolder(tmp_path / "run").best) is None


@pytest.mark.parametrize(
    ("verb", "words", "said"),
    [
        ("translate", ["checkpoint=r", "format=html", "confidence=o"], "confidence= is about lines, and format=html"),
        ("calibrate", [], "checkpoint= is not set"),
        ("calibrate", ["checkpoint=nowhere"], "checkpoint=nowhere: no such folder"),
        ("train", ["+experiment=aligner", "trainer.calibrate=true"], "trainer.calibrate=true has no effect"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path, verb, words, said):
    assert said in call(tmp_path, verb, *words).mistake


def test_calibrating_takes_as_many_times_a_validation_as_ranks_share_it():
    config = compose_config(["+experiment=bahdanau"])
    assert confidence.calibration_cost(config, 100, 4) == 4 * confidence.calibration_cost(config, 100, 1) > 0
    config = compose_config(["+experiment=bahdanau", "trainer.calibrate=false"])
    assert confidence.calibration_cost(config, 100, 1) == 0


def test_a_run_whose_minutes_are_too_few_is_not_calibrated_and_says_so(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(confidence, "CALIBRATION_COST", 1e6)
    words = tiny.settings(tmp_path / "run", trainer__max_updates=5, trainer__max_minutes=10)
    ended = call(tmp_path, "train", *words, "device=cpu")
    assert ended.code == 0, ended.err
    assert "confidence is not calibrated, as trainer.max_minutes are too few" in ended.err
    assert checkpoint.read_calibration(RunFolder(tmp_path / "run").best) is None
