"""Determines the tags around each word of a translation from the links to the words of the source.

A set of tags is a frozenset of numbers. Tags are numbered in document order, so outer tags have smaller numbers. A set
that contains a tag also contains the tags around it.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

Tags = frozenset[int]
NO_TAGS: Tags = frozenset()


class WordTags(NamedTuple):
    """The tags around the letters of a word, and those around the marks before and after them; None: no such marks."""

    core: Tags
    before: Tags | None = None
    after: Tags | None = None


class HasMarks(NamedTuple):
    """Whether a target word has marks before and after its letters."""

    before: bool = False
    after: bool = False


def place_tags(
    source: Sequence[WordTags], target: Sequence[HasMarks], links: Iterable[tuple[int, int]]
) -> list[WordTags]:
    """The tags of each target word. Each tag of the source is around at least one target word, if there are any.

    A target word has the tags of all source words that it is linked to. A target word without a link has the tags that
    the nearest linked words on both sides share; before the first and after the last linked word, those that are around
    the whole source count for the missing side. Marks have the tags of the marks of the linked source word. If it has
    no marks, marks at an end of the sentence have the tags of the source's marks at that end. A tag whose source words
    have no links goes to the target word at the same relative position.

    links: (source word, target word), counted from 0.
    """
    linked: list[list[int]] = [[] for _ in target]
    for i, t in sorted(links):
        linked[t].append(i)
    whole = frozenset.intersection(*(word.core for word in source)) if source else NO_TAGS
    cores = _fill([_union(source[i].core for i in own) if own else None for own in linked], whole)
    placed = []
    for t, (core, own, marks) in enumerate(zip(cores, linked, target, strict=True)):
        words = [source[i] for i in own]
        first, last = source[:1] if t == 0 else [], source[-1:] if t == len(target) - 1 else []
        before = _marks([word.before for word in (*words, *first)], core) if marks.before else None
        after = _marks([word.after for word in (*reversed(words), *last)], core) if marks.after else None
        placed.append(WordTags(core, before, after))
    return _add_missing(source, placed)


def _union(sets: Iterable[Tags]) -> Tags:
    return frozenset().union(*sets)


def _all_of(word: WordTags) -> Tags:
    return word.core | (word.before or NO_TAGS) | (word.after or NO_TAGS)


def _marks(of_linked: Sequence[Tags | None], core: Tags) -> Tags:
    """The tags of the marks of the first word that has marks, else `core`."""
    return next((tags for tags in of_linked if tags is not None), core)


def _fill(cores: Sequence[Tags | None], whole: Tags) -> list[Tags]:
    """Replaces None, for a word without links, by the tags that its neighbors share. whole: the tags at both ends."""
    left: list[Tags] = []
    for core in cores:
        left.append(core if core is not None else left[-1] if left else whole)
    right: list[Tags] = []
    for core in reversed(cores):
        right.append(core if core is not None else right[-1] if right else whole)
    return [one & other for one, other in zip(left, reversed(right), strict=True)]


def _add_missing(source: Sequence[WordTags], placed: list[WordTags]) -> list[WordTags]:
    """Puts each tag that is around no target word around the word at its relative position, with its outer tags."""
    words_in: dict[int, list[int]] = {}
    for i, word in enumerate(source):
        for tag in _all_of(word):
            words_in.setdefault(tag, []).append(i)
    missing = words_in.keys() - _union(map(_all_of, placed))
    for tag in sorted(missing) if placed else []:
        words = words_in[tag]
        middle = (words[0] + words[-1] + 1) / 2 / len(source)
        place = min(len(placed) - 1, int(middle * len(placed)))
        outer = frozenset.intersection(*(_smallest(source[i], tag) for i in words))
        word = placed[place]
        placed[place] = WordTags(word.core | outer, word.before, word.after)
    return placed


def _smallest(word: WordTags, tag: int) -> Tags:
    """The smallest of the word's sets of tags that contains `tag`."""
    return min((tags for tags in word if tags is not None and tag in tags), key=len)


def targets_of(links: Iterable[tuple[int, int]]) -> dict[int, list[int]]:
    """The target words that each linked source word is linked to."""
    found: dict[int, list[int]] = {}
    for i, t in links:
        found.setdefault(i, []).append(t)
    return found


def place_atom(word: int, source: int, target: int, linked: Mapping[int, Sequence[int]]) -> int:
    """The index of the target word before which an atom goes that is before source word `word`.

    source, target: the numbers of words; linked: see `targets_of`. The atom goes before the first word linked to the
    next source word, else after the last word linked to the previous source word, else to the same relative position.
    """
    if word < source and word in linked:
        return min(linked[word])
    if word - 1 in linked:
        return max(linked[word - 1]) + 1
    return round(word / max(1, source) * target)
