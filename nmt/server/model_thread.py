"""The thread that runs the models, in batches with lines of many requests."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

# The function for a batch: items -> as many results, in order.
Work = Callable[[list[Any]], Sequence[Any]]


class Busy(Exception):
    """The queue is full, or the thread has been closed."""


class _Request:
    """Items for the same work function, and their results so far."""

    def __init__(self, work: Work, items: Sequence[Any]):
        self.work, self.items = work, items
        self.arrived = time.monotonic()
        self.future: Future[list[Any]] = Future()
        self.taken = self.done = 0
        self._results: list[Any] = [None] * len(items)

    def finish(self, place: int, result: Any) -> None:
        self._results[place] = result
        self.done += 1
        if self.done == len(self.items):
            self._settle(self.future.set_result, self._results)

    def fail(self, error: Exception) -> None:
        self._settle(self.future.set_exception, error)

    def _settle(self, settle: Callable[[Any], None], value: Any) -> None:
        """Sets the future, unless it is done or cancelled."""
        if not self.future.done() and self.future.set_running_or_notify_cancel():
            settle(value)


class _Place(NamedTuple):
    """An item of a batch: its request and its number there."""

    request: _Request
    number: int


class ModelThread:
    """Runs the work of requests in one thread, in batches of up to `batch_size` items with the same work function.

    A batch that is not full waits for more items until its oldest request is gather_seconds old. Requests take turns,
    so one with many items does not delay a small one. If a batch fails, its items are tried one by one, so that one
    item does not fail the others. Used as a context manager; on exit, submitted requests are finished first.

    max_waiting: the most items in the queue, including those being processed.
    """

    def __init__(self, *, batch_size: int, max_waiting: int, gather_seconds: float = 0.003):
        self._batch_size, self._max_waiting, self._gather_seconds = batch_size, max_waiting, gather_seconds
        self._changed = threading.Condition()
        self._turns: deque[_Request] = deque()
        self._waiting = 0
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)

    def __enter__(self) -> "ModelThread":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    @property
    def waiting(self) -> int:
        """The number of items that wait or are being processed."""
        return self._waiting

    def submit(self, work: Work, items: Sequence[Any]) -> "Future[list[Any]]":
        """Submits items -> a future of their results, in order.

        Cancelling the future drops the items that are not yet being processed. The future raises the exception of
        `work` for an item. Raises Busy if the queue is full or the thread has been closed.
        """
        request = _Request(work, items)
        if not items:
            request.future.set_result([])
            return request.future
        with self._changed:
            if self._closed or self._waiting + len(items) > self._max_waiting:
                raise Busy
            self._waiting += len(items)
            self._turns.append(request)
            self._changed.notify()
        return request.future

    def _run(self) -> None:
        while batch := self._next_batch():
            self._work(batch)
            with self._changed:
                self._waiting -= len(batch)

    def _next_batch(self) -> list[_Place]:
        """Waits for the next batch; empty after the thread has been closed."""
        with self._changed:
            while True:
                self._drop_cancelled()
                if not self._turns and self._closed:
                    return []
                if not self._turns:
                    self._changed.wait()
                    continue
                patience = self._turns[0].arrived + self._gather_seconds - time.monotonic()
                if patience <= 0 or self._closed or self._fits() >= self._batch_size:
                    return self._take()
                self._changed.wait(patience)

    def _fits(self) -> int:
        """The number of items that could be in a batch with the first."""
        work = self._turns[0].work
        return sum(len(each.items) - each.taken for each in self._turns if each.work == work)

    def _take(self) -> list[_Place]:
        """The next batch: one item of each request in turn, of those with the work function of the first."""
        work = self._turns[0].work
        others: list[_Request] = []
        batch: list[_Place] = []
        while self._turns and len(batch) < self._batch_size:
            request = self._turns.popleft()
            if request.work != work:
                others.append(request)
                continue
            batch.append(_Place(request, request.taken))
            request.taken += 1
            if request.taken < len(request.items):
                self._turns.append(request)
        # Requests for another work function are next, before any that arrive meanwhile.
        self._turns.extendleft(reversed(others))
        return batch

    def _drop_cancelled(self) -> None:
        for request in [each for each in self._turns if each.future.done()]:
            self._turns.remove(request)
            self._waiting -= len(request.items) - request.taken

    def _work(self, batch: list[_Place]) -> None:
        try:
            results = batch[0].request.work([place.request.items[place.number] for place in batch])
        except Exception as error:
            if len(batch) == 1:
                batch[0].request.fail(error)
            else:
                for place in batch:
                    self._work([place])
            return
        for place, result in zip(batch, results, strict=True):
            place.request.finish(place.number, result)
