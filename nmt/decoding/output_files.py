"""Continues interrupted output files: counts their complete lines and truncates the rest."""

import gzip
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from nmt.runtime.text_files import DAMAGED, open_input, open_output


class OutputFile(NamedTuple):
    """A file with one line for each sentence; with `numbered`, several lines `number ||| ...`, numbers from 0."""

    path: Path
    numbered: bool = False


def common_sentences(outputs: list[OutputFile]) -> int:
    """The number of sentences that are complete in all files; 0 without files.

    A missing file counts as empty. Raises ValueError if a line of a numbered file has no number.
    """
    return min(map(_whole, outputs), default=0)


def truncate_to_common(outputs: list[OutputFile]) -> int:
    """Truncates the files after the `common_sentences` -> their number.

    Raises ValueError if a file is missing and another has lines: these would all be lost.
    """
    sentences = common_sentences(outputs)
    missing = [output.path for output in outputs if not output.path.exists()]
    for output in outputs if missing else ():
        if kept := _whole(output):
            raise ValueError(
                f"{missing[0]}: no such file, and {output.path} has {kept} line(s), which append=true would drop; give "
                "the outputs of the interrupted command, or append=false to begin anew"
            )
    for output in outputs:
        _cut(output, sentences)
    return sentences


def _whole(output: OutputFile) -> int:
    sentences = 0
    for index, line in enumerate(_whole_lines(output.path)):
        # A numbered sentence may lack further lines: it is known to be complete once the next one has begun.
        sentences = _number(output.path, index, line) if output.numbered else index + 1
    return sentences


def _cut(output: OutputFile, sentences: int) -> None:
    """Keeps the first `sentences`. A gzip file is rewritten, as a truncated stream cannot be continued."""

    def kept() -> Iterator[bytes]:
        for index, line in enumerate(_whole_lines(output.path)):
            if (_number(output.path, index, line) if output.numbered else index) >= sentences:
                return
            yield line

    if output.path.suffix != ".gz" and not _is_gzip(output.path):
        end = sum(map(len, kept()))
        with open(os.open(output.path, os.O_RDWR | os.O_CREAT, 0o666), "r+b") as file:
            file.truncate(end)
        return
    index = output.path.resolve()  # the target of a symbolic link
    beside = index.with_name(f".{os.getpid()}.{index.name}")
    try:
        with open_output(beside) as file:
            file.writelines(kept())
        if index.exists():
            shutil.copymode(index, beside)
        beside.replace(index)
    finally:
        beside.unlink(missing_ok=True)


def _is_gzip(path: Path) -> bool:
    if not path.exists():
        return False
    with open_input(path) as file:
        return isinstance(file, gzip.GzipFile)


def _whole_lines(path: Path) -> Iterator[bytes]:
    """The lines that end in a line feed, up to the end of the file or of the readable part of a gzip stream."""
    if not path.exists():
        return
    with suppress(*DAMAGED), open_input(path) as file:
        for line in file:
            if not line.endswith(b"\n"):
                return
            yield line


def _number(path: Path, index: int, line: bytes) -> int:
    number = line.split(b" ||| ", 1)[0]
    if not (number.isdigit() and len(number) < 16):
        raise ValueError(f"{path}, line {index + 1}: does not begin with a sentence's number; try append=false")
    return int(number)
