"""Standard input, output and error of a command: closed streams, and output without a reader."""

import contextlib
import os
import sys


def settle_closed_streams() -> None:
    """Opens /dev/null for each closed standard stream; sys.stdin and sys.stdout remain None.

    Otherwise the next opened file would get the number of the stream, and printed text would be written to it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  (it lasts as long as the process)


def flush_output() -> None:
    """Writes buffered text of standard output. If this fails, drops the text and raises OSError or BrokenPipeError."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        drop_output()
        error.filename = "standard output"
        raise


def drop_output() -> None:
    """Drops buffered output after its reader has closed the pipe: at exit Python would report an error."""
    with contextlib.suppress(OSError):  # for a stream without a file descriptor
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
