"""The start of the process."""

import time

_process_started: float | None = time.monotonic()  # if this module is imported before slow ones


def job_started() -> float:
    """time.monotonic() at the start of the current job: the start of the process, or of a later job of a sweep."""
    global _process_started
    started, _process_started = _process_started, None
    return time.monotonic() if started is None else started
