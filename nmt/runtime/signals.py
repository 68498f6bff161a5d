"""Stopping by signals: after the first, the training loop saves and ends; a second one ends the process at once."""

import signal
import threading
import time
from types import TracebackType

# The signals of schedulers before they reclaim a machine, and of Ctrl-C.
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


class StopRequest:
    """Records a signal to stop: `with StopRequest() as stop:`, then check `stop.requested` after each update.

    requested: the name of the first signal received, such as "SIGTERM", or "".
    grace_seconds: seconds within which further signals count as the first. Under torchrun, Ctrl-C reaches a rank twice,
    from the terminal and from torchrun. With 0, any second signal ends the process at once by the default action of the
    kernel, even during a long computation.

    On exit, the earlier handlers are restored. In a thread other than the main one, no handlers are installed.
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
