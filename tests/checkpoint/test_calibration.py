"""The calibration in a checkpoint: written beside whole weights, read again, and absent from others."""

import pytest
import torch

from nmt import checkpoint
from nmt.checkpoint import Snapshot

CALIBRATION = {"temperature": 1.5, "words": 3}


class NoTokenizer:
    def save(self, folder):
        (folder / "file").write_text("pieces")


@pytest.fixture
def last(tmp_path):
    snapshot = Snapshot({"weight": torch.ones(3)}, {"moment": torch.zeros(3)}, {"update": 7}, {"name": "one"})
    checkpoint.write(tmp_path / "last", snapshot, NoTokenizer())
    return tmp_path / "last"


def test_a_checkpoint_has_none_until_it_is_written(last):
    assert checkpoint.read_calibration(last) is None
    checkpoint.write_calibration(last, CALIBRATION)
    assert checkpoint.read_calibration(last) == CALIBRATION
    checkpoint.write_calibration(last, CALIBRATION | {"words": 4})
    assert checkpoint.read_calibration(last) == CALIBRATION | {"words": 4}


def test_the_rest_of_the_checkpoint_stays(last):
    checkpoint.write_calibration(last, CALIBRATION)
    checkpoint.verify(last)
    found = checkpoint.read(last, weights_only=False)
    assert (found.state, found.config) == ({"update": 7}, {"name": "one"})
    assert torch.equal(found.model["weight"], torch.ones(3))
    assert (last / "tokenizer" / "file").read_text() == "pieces"


def test_another_name_of_the_checkpoint_has_none(last):
    best = last.with_name("best")
    checkpoint.hard_link(last, best)
    checkpoint.write_calibration(best, CALIBRATION)
    assert checkpoint.read_calibration(last) is None
    checkpoint.verify(last)
    checkpoint.hard_link(best, last.with_name("copy"))
    assert checkpoint.read_calibration(last.with_name("copy")) == CALIBRATION


def test_a_damaged_calibration_is_named(last):
    checkpoint.write_calibration(last, CALIBRATION)
    path = last / "calibration.json"
    path.write_text(path.read_text().replace("1.5", "2.5"))
    with pytest.raises(ValueError, match=r"calibration.json: damaged: its checksum"):
        checkpoint.read_calibration(last)


def test_an_error_leaves_the_checkpoint_as_it_was(last, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("nmt.checkpoint.writing._write_json", fail)
    with pytest.raises(OSError, match="could not be written"):
        checkpoint.write_calibration(last, CALIBRATION)
    checkpoint.verify(last)
    assert checkpoint.read_calibration(last) is None
    assert [path.name for path in last.parent.iterdir()] == ["last"]
