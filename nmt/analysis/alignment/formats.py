"""Links in files: Pharaoh lines, `i-j` sure and `ipj` possible, and the .wa files of NAACL 2003."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nmt.analysis.alignment.linking import Link
from nmt.corpus import can_be_reread
from nmt.runtime.hashing import file_sha256
from nmt.runtime.text_files import read_lines


class GoldLinks(NamedTuple):
    """The links of a line: the sure links, and the possible links, which include the sure ones."""

    sure: frozenset[Link]
    possible: frozenset[Link]

    def reversed(self) -> "GoldLinks":
        """The links with source and target exchanged."""
        return GoldLinks(*(frozenset(Link(tgt, src) for src, tgt in links) for links in self))


def pharaoh(links: Iterable[tuple[int, int]]) -> str:
    """Write links as a Pharaoh line, `0-0 1-2`: sorted, without repetitions; "" if there are none."""
    return " ".join(f"{i}-{j}" for i, j in sorted(set(links)))


def pharaoh_with_weights(links: Iterable[tuple[int, int]], weights: np.ndarray) -> str:
    """A Pharaoh line with the weight of each link, `0-0:0.974 1-2:0.513`; weights: (Tw, Sw)."""
    return " ".join(f"{i}-{j}:{weights[j, i]:.3f}" for i, j in sorted(set(links)))


_LINK = re.compile(r"([0-9]{1,9})([-p])([0-9]{1,9})")


def parse_pharaoh(line: str) -> GoldLinks:
    """Read a line of links: `i-j` is sure, `ipj` only possible. Raises ValueError with an invalid link."""
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


_WEIGHTED = re.compile(r"([0-9]{1,9})-([0-9]{1,9}):([01](?:\.[0-9]{1,9})?)")


def parse_weighted(line: str) -> dict[Link, float]:
    """Read a line of `pharaoh_with_weights`, `i-j:WEIGHT` with weights from 0 to 1. Raises ValueError with an invalid
    link."""
    found = {}
    for word in line.split():
        match = _WEIGHTED.fullmatch(word)
        if match is None or float(match[3]) > 1:
            raise ValueError(f"{word!r} is not a link with a weight; write i-j:WEIGHT, a weight from 0 to 1, as all do")
        found[Link(int(match[1]), int(match[2]))] = float(match[3])
    return found


def read_links(path: Path, sentences: int | None = None) -> Iterator[GoldLinks]:
    """Read Pharaoh lines, one sentence pair per line, one line in memory at a time; or a whole .wa file.

    The file may be gzipped, and is opened once. A .wa file is recognized by its first line; its sentences end at
    `sentences`, or at the last with a link. Raises ValueError with file and line for an invalid link.
    """
    lines, wa = _open(path)
    yield from _read_wa(path, lines, sentences) if wa else _read_pharaoh(path, lines)


class LoadedLinks(NamedTuple):
    """All links of a file; open_end: the number of sentences without a link at its end is unknown (.wa)."""

    links: list[GoldLinks]
    open_end: bool


def load_links(path: Path) -> LoadedLinks:
    """Read a whole file as `read_links` does."""
    lines, wa = _open(path)
    return LoadedLinks(list(_read_wa(path, lines, None) if wa else _read_pharaoh(path, lines)), wa)


def _open(path: Path) -> tuple[Iterator[str], bool]:
    """The lines of a file, and whether it is a .wa file."""
    lines = read_lines(path)
    first = list(islice(lines, 1))
    return chain(first, lines), bool(first and _WA.fullmatch(first[0].strip()))


def _read_pharaoh(path: Path, lines: Iterable[str]) -> Iterator[GoldLinks]:
    for number, line in enumerate(lines, start=1):
        try:
            yield parse_pharaoh(line)
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from None


class LinkFiles:
    """The sure links of a corpus, from one or more files, concatenated; messages use `name`.

    If the first link has a weight, `i-j:WEIGHT`, all must have one. target_first: the files have j-i.
    """

    def __init__(self, paths: Sequence[Path], name: str, *, target_first: bool = False):
        """Raises ValueError, with the setting `name`, for a file that is missing or not a regular file."""
        for path in paths:
            if not path.exists():
                raise ValueError(f"no such file: {path} ({name})")
            if not can_be_reread(path):
                raise ValueError(
                    f"{path} is a pipe or a folder, not a file ({name}): links are read more than once, so write them "
                    "to a file first"
                )
        self._paths = paths
        self._target_first = target_first
        self.name = f"{name}={','.join(map(str, paths))}"

    @property
    def weighted(self) -> bool:
        """Whether the links have weights."""
        first = (line for path in self._paths for line in read_lines(path) if line.strip())
        return ":" in next(first, "")

    def __iter__(self) -> Iterator[frozenset[Link] | dict[Link, float]]:
        weighted = self.weighted
        for path in self._paths:
            if weighted:
                yield from self._read_weighted(path)
                continue
            for links in read_links(path):
                yield (links.reversed() if self._target_first else links).sure

    def _read_weighted(self, path: Path) -> Iterator[dict[Link, float]]:
        for number, line in enumerate(read_lines(path), start=1):
            try:
                links = parse_weighted(line)
            except ValueError as error:
                raise ValueError(f"{path}, line {number}: {error}") from None
            yield {Link(*reversed(link)): weight for link, weight in links.items()} if self._target_first else links

    def digest(self) -> str:
        """A hash, in hexadecimal, that differs for different links."""
        total = hashlib.sha256(b"target first" if self._target_first else b"")
        for path in self._paths:
            total.update(bytes.fromhex(file_sha256(path)))
        return total.hexdigest()


_WA = re.compile(r"([0-9]{1,9})\s+([0-9]{1,9})\s+([0-9]{1,9})(?:\s+([SP]))?(?:\s+[0-9.]+(?:[eE][-+]?[0-9]+)?)?")


def _read_wa(path: Path, lines: Iterable[str], sentences: int | None) -> Iterator[GoldLinks]:
    """`sentence source-word target-word [S|P] [confidence]`, all counted from 1; a link with word 0 is skipped.

    # Mihalcea and Pedersen (2003)
    """
    sure: dict[int, set[Link]] = {}
    possible: dict[int, set[Link]] = {}
    last = 0
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        match = _WA.fullmatch(line.strip())
        if match is None or int(match[1]) == 0:
            raise ValueError(
                f"{path}, line {number}: {line.strip()!r} is not a link; write sentence, source word and target word, "
                "counted from 1, and S (sure) or P (possible)"
            )
        sentence, link = int(match[1]), Link(int(match[2]) - 1, int(match[3]) - 1)
        if sentences is not None and sentence > sentences:
            raise ValueError(f"{path}, line {number}: sentence {sentence}, and the text has only {sentences}")
        last = max(last, sentence)
        if min(link) >= 0:
            possible.setdefault(sentence, set()).add(link)
            if match[4] != "P":
                sure.setdefault(sentence, set()).add(link)
    for sentence in range(1, (last if sentences is None else sentences) + 1):
        yield GoldLinks(frozenset(sure.get(sentence, ())), frozenset(possible.get(sentence, ())))
