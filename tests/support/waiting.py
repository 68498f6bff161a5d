"""Waiting for what another process does."""

import time
from collections.abc import Callable


def wait_until(happened: Callable[[], object], seconds: float = 200) -> None:
    """Raises AssertionError when time is up; `happened` may raise one itself, where it can't happen any more."""
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.001)
