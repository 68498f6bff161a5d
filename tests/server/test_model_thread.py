"""One thread for all: batches, turns, and what becomes of requests that fail, are dropped or are too many."""

import threading
import time

import pytest

from nmt.server.model_thread import Busy, ModelThread


class Recorder:
    """Work that notes its batches; it stands still until `go` is set."""

    def __init__(self):
        self.batches: list[list] = []
        self.go = threading.Event()
        self.begun = threading.Event()

    def __call__(self, items: list) -> list:
        self.begun.set()
        assert self.go.wait(30)
        self.batches.append(items)
        return [item * 10 for item in items]


def thread(batch_size: int = 4, max_waiting: int = 100, gather_seconds: float = 0.0) -> ModelThread:
    return ModelThread(batch_size=batch_size, max_waiting=max_waiting, gather_seconds=gather_seconds)


@pytest.fixture
def work():
    return Recorder()


def test_each_request_gets_its_own_results_in_order(work):
    work.go.set()
    with thread(max_waiting=1000) as model:
        futures = [model.submit(work, [100 * k + i for i in range(k)]) for k in range(20)]
        for k, future in enumerate(futures):
            assert future.result(30) == [10 * (100 * k + i) for i in range(k)]
    assert model.waiting == 0


def test_requests_that_come_while_the_model_works_share_a_batch(work):
    with thread() as model:
        first = model.submit(work, [0])
        work.begun.wait(30)
        others = [model.submit(work, [k]) for k in range(1, 6)]
        work.go.set()
        for future in [first, *others]:
            future.result(30)
    assert work.batches == [[0], [1, 2, 3, 4], [5]]


def test_a_batch_waits_for_others_that_come_soon(work):
    work.go.set()
    with thread(batch_size=2, gather_seconds=30) as model:
        one, other = model.submit(work, [1]), model.submit(work, [2])
        assert (one.result(20), other.result(20)) == ([10], [20])
    assert work.batches == [[1, 2]]


def test_a_batch_does_not_wait_for_long(work):
    work.go.set()
    with thread(gather_seconds=0.01) as model:
        assert model.submit(work, [1]).result(20) == [10]


def test_a_large_request_does_not_keep_a_small_one_waiting(work):
    with thread() as model:
        large = model.submit(work, list(range(100, 140)))
        work.begun.wait(30)
        small = model.submit(work, [1])
        work.go.set()
        large.result(30)
        small.result(30)
    assert 1 in work.batches[1]


def test_work_of_two_kinds_is_not_mixed(work):
    other = Recorder()
    work.go.set()
    other.go.set()
    with thread() as model:
        futures = [model.submit(work if k % 2 else other, [k]) for k in range(8)]
        assert [future.result(30) for future in futures] == [[10 * k] for k in range(8)]
    assert all(item % 2 for batch in work.batches for item in batch)


def test_what_is_too_much_is_refused_and_room_comes_back(work):
    with thread(max_waiting=5) as model:
        first = model.submit(work, [1, 2, 3])
        with pytest.raises(Busy):
            model.submit(work, [4, 5, 6])
        work.go.set()
        first.result(30)
        end = time.monotonic() + 30
        while model.waiting:
            assert time.monotonic() < end
            time.sleep(0.001)
        assert model.submit(work, [4, 5, 6]).result(30) == [40, 50, 60]


def test_items_that_nobody_waits_for_are_not_worked_on(work):
    with thread() as model:
        first = model.submit(work, [0])
        work.begun.wait(30)
        dropped, kept = model.submit(work, [1, 2]), model.submit(work, [3])
        assert dropped.cancel()
        work.go.set()
        assert (first.result(30), kept.result(30)) == ([0], [30])
    assert work.batches == [[0], [3]]
    assert model.waiting == 0


def test_an_item_that_fails_spoils_no_other_answer():
    def fragile(items: list) -> list:
        if 13 in items:
            raise RuntimeError("unlucky")
        return items

    with thread(gather_seconds=1) as model:
        good, bad, better = (model.submit(fragile, items) for items in ([1], [13], [2, 3]))
        assert (good.result(30), better.result(30)) == ([1], [2, 3])
        with pytest.raises(RuntimeError, match="unlucky"):
            bad.result(30)
        assert model.submit(fragile, [4]).result(30) == [4]


def test_on_leaving_what_was_submitted_is_finished(work):
    with thread(batch_size=1) as model:
        futures = [model.submit(work, [k]) for k in range(5)]
        work.go.set()
    assert [future.result(0) for future in futures] == [[10 * k] for k in range(5)]
    with pytest.raises(Busy):
        model.submit(work, [1])
