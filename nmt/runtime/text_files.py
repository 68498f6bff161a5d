"""Opens text files: plain or gzip, standard input and output as `-`; every error names the file."""

import gzip
import io
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

STREAM = "-"  # standard input, or standard output
DAMAGED = (EOFError, zlib.error, gzip.BadGzipFile)  # raised by reading a truncated or damaged gzip file
_GZIP = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"
_OTHER = {b"BZh": "bzip2 -d", b"\xfd7zXZ\x00": "xz -d", b"\x28\xb5\x2f\xfd": "zstd -d", b"PK\x03\x04": "unzip"}


def open_input(path: str | Path) -> BinaryIO:
    """Opens a file for reading, or standard input for `-`; gzip is recognized by its first bytes, whatever the name.

    The file may be a pipe, as no byte is read twice. Raises OSError, which names the file; ValueError if standard input
    is closed, or if the file is compressed by bzip2, xz, zstd or zip.
    """
    file = _standard_input() if str(path) == STREAM else open(path, "rb")  # noqa: SIM115  (the caller closes it)
    assert isinstance(file, io.BufferedReader)
    try:
        head = file.peek(8)
        if head.startswith(_GZIP):
            return cast(BinaryIO, _Unzipped(file))
        for magic, command in _OTHER.items():
            if head.startswith(magic):
                raise ValueError(f"{name_of(path)}: compressed, but not by gzip; unpack it first: {command}")
    except (OSError, ValueError) as error:
        file.close()
        raise _named(error, path) if isinstance(error, OSError) else error from None
    return cast(BinaryIO, file)


def read_lines(path: str | Path) -> Iterator[str]:
    """The lines of a file, or of standard input for `-`; see `open_input` and `decode_lines`."""
    with open_input(path) as file:
        yield from decode_lines(file, path)


def decode_lines(file: BinaryIO, path: str | Path, errors: str = "strict", *, ends: bool = False) -> Iterator[str]:
    """The lines of an open file without (or with) their `ends`: a line feed, or a carriage return and a line feed.

    A byte order mark at the start is dropped. Raises ValueError, which names `path` and the line, for bytes that are
    not UTF-8 (with errors="replace" they become U+FFFD), and for a gzip file that is damaged or truncated.
    """
    number, name = 0, name_of(path)
    try:
        for number, line in enumerate(file, 1):
            raw = line if ends else line.removesuffix(b"\n").removesuffix(b"\r")
            raw = raw.removeprefix(_BOM) if number == 1 else raw
            try:
                yield raw.decode("utf-8", errors)
            except UnicodeDecodeError as error:
                if name.endswith(".gz") and not isinstance(file, gzip.GzipFile):
                    raise ValueError(f"{name}, line {number}: not UTF-8, and not a whole gzip file") from error
                kind = "UTF-16" if number == 1 and raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "LATIN1"
                raise ValueError(
                    f"{name}, line {number}: not UTF-8 (byte {raw[error.start]:#x} at position {error.start + 1}); "
                    f"if it is {kind}, try: iconv -f {kind} -t UTF-8"
                ) from error
    except DAMAGED as error:
        raise ValueError(f"{name} is damaged or cut short after line {number}: not a whole gzip file") from error


def read_text(path: str | Path) -> str:
    """The text of a file, or of standard input for `-`, with its line ends; see `open_input` and `decode_lines`."""
    with open_input(path) as file:
        return "".join(decode_lines(file, path, ends=True))


def open_output(path: str | Path, *, append: bool = False) -> BinaryIO:
    """Opens a file for writing, or standard output for `-`; a file whose name ends in `.gz` is compressed by gzip.

    This call and every write may raise OSError, which names the file. Raises ValueError if standard output is closed.
    """
    if str(path) == STREAM:
        return cast(BinaryIO, _StandardOutput())
    file = io.BufferedWriter(_File(path, "ab" if append else "wb"))
    if not str(path).endswith(".gz"):
        return cast(BinaryIO, file)
    return cast(BinaryIO, _Zipped(file))


def name_of(path: str | Path) -> str:
    """The name of an input in messages."""
    return "standard input" if str(path) == STREAM else str(path)


class _File(io.FileIO):
    """A file whose errors include its name, unlike Python's error for a failed write."""

    def write(self, data, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            raise _named(error, str(self.name)) from None


class _StandardOutput(io.RawIOBase):
    """Standard output; `close` does not close it."""

    def __init__(self):
        if sys.stdout is None:
            raise ValueError("standard output is closed: give out=FILE")

    def writable(self) -> bool:
        return True

    def write(self, data, /) -> int:
        try:
            return sys.stdout.buffer.write(data)
        except OSError as error:
            raise _named(error, "standard output") from None

    def flush(self) -> None:
        try:
            if sys.stdout is not None:
                sys.stdout.buffer.flush()
        except OSError as error:
            raise _named(error, "standard output") from None


class _Unzipped(gzip.GzipFile):
    """A gzip file for reading that closes the underlying file too."""

    def __init__(self, file: io.BufferedReader):
        super().__init__(fileobj=file, mode="rb")
        self._below = file

    def close(self) -> None:
        super().close()
        self._below.close()


class _Zipped(gzip.GzipFile):
    """A gzip file for writing, without name and time in its header, so that equal text gives equal bytes."""

    def __init__(self, file):
        super().__init__(filename="", fileobj=file, mode="wb", mtime=0)
        self._below = file

    def close(self) -> None:
        try:
            super().close()
        finally:
            self._below.close()


def _standard_input() -> io.BufferedReader:
    """Standard input; `close` does not close it."""
    if sys.stdin is None:
        raise ValueError("standard input is closed: give it a file (< FILE), or name one instead of -")
    return io.BufferedReader(_Shared(sys.stdin.buffer))


class _Shared(io.RawIOBase):
    """Reads from a stream without closing it."""

    def __init__(self, stream):
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        data = self._stream.read1(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _named(error: OSError, path: str | Path) -> OSError:
    error.filename = error.filename or str(path)
    return error
