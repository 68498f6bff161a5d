"""Gold links of a test set: reading, checking against its words, and scoring links."""

import hashlib
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import repeat
from pathlib import Path
from typing import NamedTuple, Protocol

from nmt.analysis.alignment.error_rate import AlignmentScores, alignment_error_rate
from nmt.analysis.alignment.formats import GoldLinks, load_links, read_links
from nmt.analysis.alignment.linking import Link

# A warning is given if the error rate with another reading of the file is smaller by this difference.
_MUCH_SMALLER = 0.2
_Links = Sequence[Collection[tuple[int, int]]]
_Lengths = Sequence[tuple[int, int]]


class TextPair(Protocol):
    """A line of the test set on both sides."""

    @property
    def src(self) -> str: ...
    @property
    def tgt(self) -> str: ...


class Gold(NamedTuple):
    """The gold links of a test set, source first, words counted from 0.

    name: their name in messages. target_first: whether their file has the target first. lengths: the numbers of words
    of each pair's source and target; None if the text is not available.
    """

    name: str
    links: list[GoldLinks]
    target_first: bool
    lengths: _Lengths | None

    def score(self, found: _Links) -> AlignmentScores:
        """Scores links, one collection for each pair. Raises ValueError for another number of pairs."""
        return _score(found, self.links)

    def digest(self) -> str:
        """A hash, in hexadecimal, that differs for different links."""
        lines = [f"{sorted(each.sure)} {sorted(each.possible)}" for each in self.links]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def misreading(self, found: _Links) -> str:
        """Advice if the file was probably read incorrectly; "" otherwise.

        A file whose links fit its text in two readings cannot be refused. It is probably read incorrectly if a model's
        links agree far better with it with source and target exchanged, or with words counted from 1.
        """
        error = self.score(found).aer
        for reading in (_REVERSED, _FROM_ONE):
            links = [reading.read(each) for each in self.links]
            better = _score(found, links).aer
            if better < error - _MUCH_SMALLER and _misfit(links, self.lengths) is None:
                return (
                    f"{self.name} may have been read in a wrong way: {reading.advice(self.target_first)} the alignment "
                    f"error rate would be {100 * better:.1f} %, and not {100 * error:.1f} %"
                )
        return ""


def read_gold(path: Path, pairs: Iterable[TextPair], text: str, *, target_first: bool = False) -> Gold:
    """The gold links of a test set: a file, plain or gzipped, with a line for each pair, or a .wa file.

    text: the name of the test set in messages. target_first: the file has the target first. `path` is opened once, so
    it may be a pipe. Raises ValueError for invalid links, links of another number of pairs, and links to words that do
    not exist.
    """
    lengths = [(len(pair.src.split()), len(pair.tgt.split())) for pair in pairs]
    links = list(read_links(path, len(lengths)))
    if len(links) != len(lengths):
        raise ValueError(
            f"{path} has links for {len(links):,} sentences but {text} has {len(lengths):,} lines: line n of one "
            "must be about line n of the other"
        )
    if target_first:
        links = [each.reversed() for each in links]
    if (misfit := _misfit(links, lengths)) is not None:
        row, link = misfit
        fitting = (each for each in _READINGS if _misfit([each.read(line) for line in links], lengths) is None)
        hint = next((f"all links fit {each.advice(target_first)}" for each in fitting), f"are they of {text}?")
        raise ValueError(
            f"{path}, sentence {row + 1}: a link to source word {link.src} and target word {link.tgt}, counted from 0, "
            f"of {lengths[row][0]} and {lengths[row][1]}; {hint}"
        )
    return Gold(str(path), links, target_first, lengths)


def read_gold_and_links(gold: Path, found: Path, *, target_first: bool = False) -> tuple[Gold, list[frozenset[Link]]]:
    """Gold links, and the sure links of another program, if the text is not available.

    Raises ValueError for invalid links, and if their numbers of pairs differ.
    """
    files = [load_links(path) for path in (gold, found)]
    count = max(len(file.links) for file in files)
    for file in files:
        if file.open_end:
            file.links.extend(repeat(GoldLinks(frozenset(), frozenset()), count - len(file.links)))
    right, other = (file.links for file in files)
    if len(right) != len(other):
        raise ValueError(
            f"{gold} has links for {len(right):,} sentences but {found} has {len(other):,} lines: line n of one must "
            "be about line n of the other"
        )
    if target_first:
        right = [each.reversed() for each in right]
    return Gold(str(gold), right, target_first, None), [each.sure for each in other]


def gold_beside(prefix: str) -> Path | None:
    """The file of gold links beside the text PREFIX.SRC and PREFIX.TGT: PREFIX.links or PREFIX.links.gz."""
    prefixes = {prefix: None, prefix.removesuffix(".gz").removesuffix(".tsv"): None}
    places = (Path(f"{each}.links{suffix}") for each in prefixes for suffix in ("", ".gz"))
    return next((place for place in places if place.is_file()), None)


class _Reading(NamedTuple):
    """Another reading of a file of links; advice: how to get it, with `target_first` as it was."""

    read: Callable[[GoldLinks], GoldLinks]
    advice: Callable[[bool], str]


def _from_one(links: GoldLinks) -> GoldLinks:
    return GoldLinks(*(frozenset(Link(src - 1, tgt - 1) for src, tgt in each) for each in links))


def _other_way(target_first: bool) -> str:
    return f"with gold_reversed={str(not target_first).lower()}"


_COUNTED = "1 subtracted from each number, since words are counted from 0"
_REVERSED = _Reading(GoldLinks.reversed, _other_way)
_FROM_ONE = _Reading(_from_one, lambda _: f"with {_COUNTED}")
_READINGS = (
    _REVERSED,
    _FROM_ONE,
    _Reading(
        lambda links: _from_one(links.reversed()),
        lambda target_first: f"{_other_way(target_first)} and {_COUNTED}",
    ),
)


def _misfit(links: Sequence[GoldLinks], lengths: _Lengths | None) -> tuple[int, Link] | None:
    """The first link to a word that does not exist, with the row of its pair; None if there is none."""
    for row, each in enumerate(links):
        for link in sorted(each.possible):
            if min(link) < 0 or (lengths is not None and (link.src >= lengths[row][0] or link.tgt >= lengths[row][1])):
                return row, link
    return None


def _score(found: _Links, links: Sequence[GoldLinks]) -> AlignmentScores:
    return alignment_error_rate(found, [each.sure for each in links], [each.possible for each in links])
