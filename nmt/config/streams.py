"""Standard input, output and error of a command: closed streams, and output without a reader."""

import contextlib
import os
import sys


def settle_closed_streams() -> None:
    """Opens /dev/null where a standard stream is closed; sys.stdin and sys.stdout stay None there.

    Else the next file that is opened would take the stream's number, and what is printed would go into it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  (it lasts as long as the process)


def flush_output() -> None:
    """Writes what is left of standard output. Raises OSError, BrokenPipeError among them, and drops it then."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        drop_output()
        error.filename = "standard output"
        raise


def drop_output() -> None:
    """Drops unwritten output, since its reader is gone: at exit Python would report an error."""
    with contextlib.suppress(OSError):  # of a stream that is no file of the system
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
