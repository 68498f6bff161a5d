"""More ranks change the speed and nothing else, and a rank that dies costs what came after the last checkpoint."""

import os
import signal
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from nmt import checkpoint
from nmt.runtime.distributed import _own_store
from tests.support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
EXACT = {"model__encoder__dropout": 0, "model__decoder__dropout": 0, "trainer__grad_accumulation": 1}
KINDS = {
    "bahdanau": {},
    "luong": {
        "model__decoder__kind": "luong",
        "model__decoder__init_hidden": "last",
        "model__decoder__hidden": 8,
        "model__decoder__readout": None,
    },
    "fixed_vector": {
        "model__decoder__kind": "fixed_vector",
        "model__decoder__init_hidden": "last",
        "model__attention__size": None,
    },
    "hard": {"model__attention__choice": "hard", "loss__label_smoothing": 0},
    "subword_regularization": {
        "tokenizer__model_type": "bpe",
        "tokenizer__vocab_size": 60,
        "subword_regularization__src_alpha": 0.3,
        "subword_regularization__tgt_alpha": 0.3,
    },
    "transformer": {
        "model__encoder__kind": "transformer",
        "model__decoder__kind": "transformer",
        "model__encoder__hidden": None,
        "model__decoder__hidden": None,
        "model__decoder__readout": None,
        "model__attention__size": None,
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_two_ranks_are_one_with_the_same_batch(tiny, start_command, two_ranks, tmp_path, losses, kind):
    own = {**EXACT, **KINDS[kind], "trainer__max_updates": 20, "trainer__save_every": 0, "trainer__validate_every": 10}
    assert start_command("train", tiny.settings(tmp_path / "one", **own)).wait() == 0
    children = two_ranks(tiny.settings(tmp_path / "two", **own))
    assert [child.wait() for child in children] == [0, 0], children[0].errors()
    for what in ("train", "valid"):
        one, two = losses(tmp_path / "one", what), losses(tmp_path / "two", what)
        assert [update for update, _ in one] == [update for update, _ in two]
        for (update, loss), (_, other) in zip(one, two, strict=True):
            assert other == pytest.approx(loss, rel=1e-5), update
    assert len(losses(tmp_path / "two")) == 20
    assert children[1].errors() == ""


@pytest.mark.slow
def test_a_run_may_go_on_with_other_numbers_of_ranks(tiny, start_command, two_ranks, tmp_path, losses):
    settings = {**EXACT, "trainer__save_every": 0}
    assert start_command("train", tiny.settings(tmp_path / "one", trainer__max_updates=9, **settings)).wait() == 0
    run = tmp_path / "more"
    assert start_command("train", tiny.settings(run, trainer__max_updates=3, **settings)).wait() == 0
    assert [child.wait() for child in two_ranks([f"resume={run}", "trainer.max_updates=6"])] == [0, 0]
    assert start_command("train", [f"resume={run}", "trainer.max_updates=9"]).wait() == 0
    for (update, loss), (same, other) in zip(losses(tmp_path / "one"), losses(run), strict=True):
        assert (same, other) == (update, pytest.approx(loss, rel=1e-5))


@pytest.mark.slow
def test_each_rank_drops_out_units_of_its_own(tiny, two_ranks, tmp_path, everything):
    run = tmp_path / "run"
    assert [child.wait() for child in two_ranks(tiny.settings(run, trainer__max_updates=1))] == [0, 0]
    states = everything(run)["training"]
    assert not torch.equal(states["random.0.cpu"], states["random.1.cpu"])


def test_a_mistake_is_said_once_and_ends_all_ranks(tiny, two_ranks, tmp_path):
    children = two_ranks(tiny.settings(tmp_path / "run", resume=tmp_path / "none"))
    assert [child.wait() for child in children] == [2, 2]
    assert children[0].errors().count("error: ") == 1
    assert children[1].errors() == ""


@pytest.mark.slow
def test_a_signal_to_one_rank_saves_and_ends_all(tiny, two_ranks, tmp_path):
    run = tmp_path / "run"
    children = two_ranks(tiny.settings(run, trainer__max_updates=100_000, trainer__save_every=0))
    wait_until(lambda: (run / "metrics.jsonl").exists() and (run / "metrics.jsonl").stat().st_size)
    children[1].kill(signal.SIGUSR1)
    assert [child.wait() for child in children] == [0, 0]
    assert "saving at update" in children[0].errors()
    assert checkpoint.read_update(run / "checkpoints" / "last") > 0


@pytest.mark.slow
def test_a_rank_that_dies_ends_the_others(tiny, two_ranks, tmp_path):
    run = tmp_path / "run"
    children = two_ranks(tiny.settings(run, trainer__max_updates=100_000, trainer__save_every=0))
    wait_until(lambda: (run / "metrics.jsonl").exists() and (run / "metrics.jsonl").stat().st_size)
    children[1].kill()
    assert children[0].wait() == 2
    assert "error: rank 0 lost the other ranks: " in children[0].errors()
    assert "Traceback" not in children[0].errors()


def test_each_start_of_the_ranks_has_a_part_of_the_store_of_its_own():
    store = dist.HashStore()  # pyright: ignore[reportPrivateImportUsage]
    store.set("nmt/asks/1", "dead")  # killed before rank 0 could answer

    def start(rank: int) -> bytes:
        own = _own_store(store, rank, 3)
        if rank == 0:
            assert not own.check(["address"])  # of the start before
            own.set("address", uuid.uuid4().hex)
        return own.get("address")

    with ThreadPoolExecutor(3) as pool:
        starts = [list(pool.map(start, (2, 1, 0))) for _ in range(3)]
    assert [len(set(addresses)) for addresses in starts] == [1, 1, 1]
    assert len({addresses[0] for addresses in starts}) == 3


@pytest.mark.slow
def test_torchrun_restarts_after_a_kill_and_ends_as_if_undisturbed(tiny, two_ranks, tmp_path, assert_same):
    own = {"trainer__max_updates": 30, "trainer__save_every": 5}
    assert [child.wait() for child in two_ranks(tiny.settings(tmp_path / "whole", **own))] == [0, 0]
    run = tmp_path / "killed"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=5"]
    command += ["-m", "nmt.train", "resume=auto"]
    torchrun = subprocess.Popen(
        [*command, *map(str, tiny.settings(run, **own))],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until(lambda: (run / "checkpoints" / "step-5").exists() and torchrun.poll() is None)
        os.kill(worker(torchrun.pid, 1), signal.SIGKILL)
        _, errors = torchrun.communicate(timeout=600)
    finally:
        torchrun.terminate()  # and with it the ranks, which killing it would leave behind
    assert torchrun.returncode == 0, errors
    assert "resumed from " in (run / "train.log").read_text()
    assert_same(tmp_path / "whole", run)


def worker(parent: int, rank: int) -> int:
    """The process of that rank among the children of torchrun."""
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(status.read_text().rsplit(")", 1)[1].split()[1]) != parent:
                continue
            environment = (status.parent / "environ").read_bytes().split(b"\0")
        except (OSError, IndexError):
            continue
        if f"RANK={rank}".encode() in environment:
            return int(status.parent.name)
    raise AssertionError(f"torchrun has no worker of rank {rank}")


HANGS = """
import datetime, os, time
from nmt.runtime import distributed

distributed.ANSWERING = datetime.timedelta(seconds=3)
with distributed.init_distributed() as own:
    import torch
    with own.main_process_first():
        time.sleep(5 if own.is_main else 0)  # the others wait for it as long as a corpus takes
    own.sum(torch.ones(1))
    if own.rank == 1:
        time.sleep(60)
    begun = time.monotonic()
    try:
        own.sum(torch.ones(1))
    except ConnectionError:  # gloo's threads would not let an orderly exit end well
        os._exit(0 if time.monotonic() - begun < 30 else 3)
    os._exit(4)
"""


@pytest.mark.process
@pytest.mark.slow
def test_a_rank_that_hangs_is_noticed_in_time(free_port):
    shared = os.environ | {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port}
    first, hanging = (
        subprocess.Popen([sys.executable, "-c", HANGS], cwd=ROOT, env=shared | {"RANK": str(rank)}) for rank in (0, 1)
    )
    try:
        assert first.wait(120) == 0
    finally:
        hanging.kill()
        hanging.wait()
