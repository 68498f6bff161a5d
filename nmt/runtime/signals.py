"""Stopping by signals: after the first the training loop saves and ends; a second one ends the process at once."""

import signal
import threading
import time
from types import TracebackType

# What schedulers send before they take a machine away, and Ctrl-C.
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


class StopRequest:
    """`with StopRequest() as stop:` then check `stop.requested` after each update.

    requested: the name of the first signal that came ("SIGTERM"), or "" while none has.
    grace_seconds: seconds in which further signals belong to the first. Under torchrun, Ctrl-C reaches a rank twice,
    once from
        the terminal and once from torchrun; with 0 any second signal ends the process, by the kernel and at once, even
        in the middle of a long computation.

    On leaving, the handlers from before are back. In a thread that is not the main one it installs nothing.
    """

    def __init__(self, grace_seconds: float = 0.0) -> None:
        self.requested = ""
        self._grace_seconds = grace_seconds
        self._since = 0.0
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            # A handler that was not set from Python is None, and cannot be put back from Python.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)  # pyright: ignore[reportArgumentType]
        self._before = {}

    def _note(self, number: int, frame: object) -> None:
        now = time.monotonic()
        if not self.requested:
            self.requested = signal.Signals(number).name
            self._since = now
            if not self._grace_seconds:
                for each in SIGNALS:
                    signal.signal(each, signal.SIG_DFL)
        elif now - self._since >= self._grace_seconds:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
