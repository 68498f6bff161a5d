"""Links in files: Pharaoh lines, `i-j` for a sure link and `ipj` for a possible one."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from nmt.analysis.alignment.linking import Link


class GoldLinks(NamedTuple):
    """A line of links: those that are sure, and those that are at least possible (the sure ones among them)."""

    sure: frozenset[Link]
    possible: frozenset[Link]


def pharaoh(links: Iterable[tuple[int, int]]) -> str:
    """Write links as a Pharaoh line, `0-0 1-2`: sorted, each once; the empty string where there is none."""
    return " ".join(f"{i}-{j}" for i, j in sorted(set(links)))


_LINK = re.compile(r"([0-9]{1,9})([-p])([0-9]{1,9})")


def parse_pharaoh(line: str) -> GoldLinks:
    """Read a line of links: `i-j` is sure, `ipj` only possible. Raises ValueError naming what is neither."""
    sure, possible = set(), set()
    for word in line.split():
        match = _LINK.fullmatch(word)
        if match is None:
            raise ValueError(f"{word!r} is not a link; write i-j (sure) or ipj (possible), words counted from 0")
        link = Link(int(match[1]), int(match[3]))
        possible.add(link)
        if match[2] == "-":
            sure.add(link)
    return GoldLinks(frozenset(sure), frozenset(possible))


def read_links(path: Path) -> Iterator[GoldLinks]:
    """Read a file of Pharaoh lines, one sentence pair a line, one line in memory at a time.

    Raises ValueError naming file and line where a line holds something that is not a link.
    """
    # Bytes that are no UTF-8 become a character that is no link, so they are reported with their line like the rest.
    with open(path, encoding="utf-8-sig", errors="replace", newline="\n") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                yield parse_pharaoh(line)
            except ValueError as error:
                raise ValueError(f"{path}, line {number}: {error}") from None
