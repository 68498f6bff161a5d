"""The interface of a corpus: pairs of lines that can be read repeatedly, a name, and a hash of its content."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from enum import Enum
from pathlib import Path
from typing import NamedTuple


class EmptyLines(Enum):
    """The handling of a pair that is blank on one side only."""

    error = "error"
    skip = "skip"
    keep = "keep"


class Pair(NamedTuple):
    """One line of each language, without line feeds."""

    src: str
    tgt: str


class Corpus(ABC):
    """A stream of pairs that can be iterated any number of times, in one fixed order, in bounded memory.

    A corpus keeps all pairs, because evaluation needs every line. `empty_lines` for a pair that is blank on one side
    only: iterating raises ValueError (error), or encoding for training leaves such pairs out (skip) or keeps them
    (keep).
    """

    name: str
    empty_lines: EmptyLines = EmptyLines.error
    paths: Sequence[Path] = ()  # its files, if known

    @abstractmethod
    def __iter__(self) -> Iterator[Pair]:
        """Yields every pair; raises ValueError, with the place, if a pair cannot be read."""

    @abstractmethod
    def digest(self) -> str:
        """A hash, in hexadecimal, that differs for different pairs."""

    def _check_blank(self, pair: Pair, src_place: str, tgt_place: str) -> Pair:
        """Returns the pair; raises ValueError if only one side is blank and the corpus does not allow it."""
        if self.empty_lines is EmptyLines.error and bool(pair.src.strip()) != bool(pair.tgt.strip()):
            blank, other = (tgt_place, src_place) if pair.src.strip() else (src_place, tgt_place)
            raise ValueError(
                f"{blank} is blank, but {other} is not: mend the pair, or try data.empty_lines=skip (such pairs are "
                "left out "
                "of training) or data.empty_lines=keep"
            )
        return pair
