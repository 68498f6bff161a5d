"""Averaging the last checkpoints of a run."""

import errno
import re
import shutil

import pytest
import torch

from nmt import checkpoint
from nmt.checkpoint import Snapshot
from nmt.checkpoint.averaging import average
from nmt.checkpoint.run_folder import RunFolder
from nmt.training.options import TrainerOptions
from tests.support.commands import call
from tests.test_evaluate import SRC, TGT, write
from tests.training.test_translate import run  # noqa: F401 (a fixture)

pytestmark = pytest.mark.slow  # whole commands, each a second or so


class NoTokenizer:
    def save(self, folder):
        (folder / "file").write_text("")


def write_checkpoint(folder, weights, update):
    checkpoint.write(folder, Snapshot(weights, {}, {"update": update}, {"update": update}), NoTokenizer())


def test_weights_are_means_and_the_rest_is_the_last_ones(tmp_path):
    for number, value in enumerate((1.0, 2.0, 6.0)):
        tied = torch.full((2,), value)
        weights = {"tied": tied, "also": tied, "count": torch.tensor(number), "own": torch.tensor([value / 2])}
        write_checkpoint(tmp_path / str(number), weights, update=number)
    found = average([tmp_path / str(number) for number in range(3)])
    assert found.model["tied"].tolist() == [3.0, 3.0]
    assert found.model["also"] is found.model["tied"]
    assert found.model["own"].tolist() == [1.5]
    assert found.model["count"].item() == 2
    assert found.state == found.config == {"update": 2}


def test_weights_of_other_shapes_are_refused(tmp_path):
    write_checkpoint(tmp_path / "0", {"own": torch.ones(2)}, 0)
    write_checkpoint(tmp_path / "1", {"own": torch.ones(3)}, 1)
    with pytest.raises(ValueError, match="only checkpoints of one run are averaged"):
        average([tmp_path / "0", tmp_path / "1"])


def test_every_command_opens_the_average(run, tmp_path, monkeypatch):  # noqa: F811
    own = RunFolder(shutil.copytree(run, tmp_path / "run"))
    for update in (10, 20, 30):
        checkpoint.hard_link(own.last, own.step(update))

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "write", full)
        ended = call(tmp_path, "average", "checkpoint=run", "last=3", "out=mean")
        assert ended.code == 2
        assert "No space left" in ended.err
    ended = call(tmp_path, "average", "checkpoint=run", "last=3", "out=mean")
    assert ended.code == 0, ended.err
    assert "step-10, step-20, step-30" in ended.err
    write(tmp_path / "test", SRC, TGT)
    words = ["device=cpu", "decode.max_length=6"]
    lines = "".join(f"{line}\n" for line in SRC).encode()
    found = call(tmp_path, "translate", "checkpoint=mean", *words, stdin=lines)
    assert found.code == 0, found.err
    assert found.out == call(tmp_path, "translate", "checkpoint=run/checkpoints/last", *words, stdin=lines).out
    again = call(tmp_path, "average", "checkpoint=run", "last=3", "out=mean")
    assert "out=mean: is there already" in again.err
    few = call(tmp_path, "average", "checkpoint=run", "last=4", "out=other")
    assert "has 3 checkpoints step-N, and last=4 are to be averaged" in few.err
    (advice,) = re.findall(r"trainer\.keep_checkpoints=(\S+),", few.err)
    assert TrainerOptions(keep_checkpoints=int(advice)).keep_checkpoints == 0  # all
    assert "resume=mean: an average of checkpoints" in (said := call(tmp_path, "train", "resume=mean").mistake)
    assert "try finetune_from=mean" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["out=o"], "checkpoint= is not set"),
        (["checkpoint=r"], "out= is not set"),
        (["checkpoint=r", "out=o", "last=1"], "last=1 is impossible: the least is 2"),
    ],
)
def test_what_is_missing_is_said(tmp_path, words, said):
    assert said in call(tmp_path, "average", *words).mistake
