"""The program's log, on standard error and, for a run, in a file."""

import logging
import sys
from pathlib import Path

log = logging.getLogger("nmt")


class StderrHandler(logging.StreamHandler):
    """Writes to the current sys.stderr, so that lines appear above a progress bar that replaces it."""

    def __init__(self):
        logging.Handler.__init__(self)
        self.addFilter(lambda record: not getattr(record, "file_only", False))

    @property
    def stream(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        return sys.stderr


def start_log(path: Path | None, *, quiet: bool = False) -> None:
    """Sends the program's log to standard error and, with the time, to the file `path`. quiet: only to the file."""
    logging.raiseExceptions = False  # with a full disk, saving a checkpoint ends the run with a message of one line
    log.setLevel(logging.INFO)
    log.propagate = False
    for handler in list(log.handlers):
        log.removeHandler(handler)
        handler.close()
    log.addHandler(logging.NullHandler())
    if not quiet:
        screen = StderrHandler()
        screen.setFormatter(logging.Formatter("%(message)s"))
        log.addHandler(screen)
    if path is not None:
        file = logging.FileHandler(path, encoding="utf-8")
        file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        log.addHandler(file)
