"""Files of translations that were cut off: how much of them is whole, and where to go on."""

import os
from pathlib import Path
from typing import NamedTuple


class Output(NamedTuple):
    """A file with one line for a sentence; with `numbered`, several lines `number ||| ...`, numbers from 0."""

    path: Path
    numbered: bool = False


def continue_files(outputs: list[Output]) -> int:
    """Cuts the files behind the last sentence that is whole in all of them -> the number of sentences that stay.

    A file that is not there counts as empty. Raises ValueError for a numbered file without numbers.
    """
    sentences = min(_whole(output) for output in outputs)
    for output in outputs:
        _cut(output, sentences)
    return sentences


def _whole(output: Output) -> int:
    if not output.path.exists():
        return 0
    sentences = 0
    with output.path.open("rb") as file:
        for place, line in enumerate(file):
            if not line.endswith(b"\n"):
                break
            # Of a numbered sentence more lines may have been to come: it is whole once the next one has begun.
            sentences = _number(output.path, place, line) if output.numbered else place + 1
    return sentences


def _cut(output: Output, sentences: int) -> None:
    end = 0
    with open(os.open(output.path, os.O_RDWR | os.O_CREAT, 0o666), "r+b") as file:
        for place, line in enumerate(file):
            if not line.endswith(b"\n"):
                break
            if (_number(output.path, place, line) if output.numbered else place) >= sentences:
                break
            end += len(line)
        file.truncate(end)


def _number(path: Path, place: int, line: bytes) -> int:
    number = line.split(b" ||| ", 1)[0]
    if not (number.isdigit() and len(number) < 16):
        raise ValueError(f"{path}, line {place + 1}: does not begin with a sentence's number; try append=false")
    return int(number)
