"""Which tags the words of a translation stand in, by the links to the words of the source.

A set of tags is a frozenset of numbers. Tags are numbered in document order, so outer tags have smaller numbers, and a
set holds a tag together with those that it is in.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

Tags = frozenset[int]
NO_TAGS: Tags = frozenset()


class WordTags(NamedTuple):
    """The tags around a word: around its letters, and around the marks before and after them; None: it has no such."""

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
    """The tags of each target word. Each tag of the source is around one of them at least, if there are any.

    A target word stands in the tags of all source words that it is linked to. One without a link stands in the tags
    that its linked neighbors on both sides share; at an end, in those that are around the whole source. Marks follow
    the marks of the linked source word; where it has none, marks at an end of the sentence follow the source's. A tag
    whose words are all without links goes to the target word at its place.

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
    """The tags of the first linked word's marks, or those of the word itself."""
    return next((tags for tags in of_linked if tags is not None), core)


def _fill(cores: Sequence[Tags | None], whole: Tags) -> list[Tags]:
    """The tags of words without links."""
    left: list[Tags] = []
    for core in cores:
        left.append(core if core is not None else left[-1] if left else whole)
    right: list[Tags] = []
    for core in reversed(cores):
        right.append(core if core is not None else right[-1] if right else whole)
    return [one & other for one, other in zip(left, reversed(right), strict=True)]


def _add_missing(source: Sequence[WordTags], placed: list[WordTags]) -> list[WordTags]:
    """Puts each tag that is around no word around the word at its place, with the tags that it is in."""
    missing = _union(map(_all_of, source)) - _union(map(_all_of, placed))
    for tag in sorted(missing) if placed else []:
        words = [i for i, word in enumerate(source) if tag in _all_of(word)]
        middle = (words[0] + words[-1] + 1) / 2 / len(source)
        place = min(len(placed) - 1, int(middle * len(placed)))
        outer = frozenset.intersection(*(_smallest(source[i], tag) for i in words))
        word = placed[place]
        placed[place] = WordTags(word.core | outer, word.before, word.after)
    return placed


def _smallest(word: WordTags, tag: int) -> Tags:
    """The smallest set of a word's tags that has this one."""
    return min((tags for tags in word if tags is not None and tag in tags), key=len)


def place_atom(word: int, source: int, target: int, links: Iterable[tuple[int, int]]) -> int:
    """Before which of `target` words something stands that stands before source word `word` of `source` words.

    It goes before the first word that the next source word is linked to, else behind those of the word before it.
    """
    by_source: dict[int, list[int]] = {}
    for i, t in links:
        by_source.setdefault(i, []).append(t)
    if word < source and word in by_source:
        return min(by_source[word])
    if word - 1 in by_source:
        return max(by_source[word - 1]) + 1
    return round(word / max(1, source) * target)
