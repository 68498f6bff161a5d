"""Threads that wait for cores are noticed, once, and it is said what helps."""

import logging

import pytest
import torch

from nmt.runtime.contention import CoreWait


def write_task(folder, number: int, ran: int, waited: int) -> None:
    (folder / str(number)).mkdir(exist_ok=True)
    (folder / str(number) / "schedstat").write_text(f"{ran} {waited} 7\n")


def test_the_share_is_that_of_all_threads_since_the_last_call(tmp_path):
    write_task(tmp_path, 1, 1000, 500)
    wait = CoreWait(tmp_path)
    write_task(tmp_path, 1, 1600, 600)
    write_task(tmp_path, 2, 200, 100)
    assert wait.share() == pytest.approx(200 / 1000)
    assert wait.share() == 0.0


def test_a_system_without_these_numbers_has_no_share(tmp_path):
    assert CoreWait(tmp_path / "missing").share() == 0.0
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "schedstat").write_text("unknown\n")
    assert CoreWait(tmp_path).share() == 0.0


@pytest.mark.parametrize(("threads", "said"), [(2, 1), (1, 0)])
def test_threads_that_wait_for_busy_cores_are_said_once(tiny, tmp_path, caplog, monkeypatch, threads, said):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    trainer = tiny.trainer(tmp_path, updates=4, log_every=1)
    assert trainer.cores is not None
    monkeypatch.setattr(trainer.cores, "share", lambda: 0.4)
    monkeypatch.setattr(logging.getLogger("nmt"), "propagate", True)
    trainer.train()
    found = {id(record) for record in caplog.records if "40% of their time the 2 threads" in record.getMessage()}
    assert len(found) == said
