"""A line of text in HTML: its sentences, and placing its inline tags around the words of their translations."""

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from bs4.element import NavigableString, PageElement, PreformattedString, Tag

from nmt.documents.html_tags import has_text, is_space
from nmt.documents.placement import NO_TAGS, HasMarks, Tags, WordTags, place_atom, place_tags, targets_of
from nmt.documents.sentences import Part, split_text

_WORD = re.compile(r"\S+")
_SIGNS = frozenset("%‰‱#@&")  # punctuation to Unicode, and parts of words such as 5% and C#


class Translated(NamedTuple):
    """The translation of a sentence, and links (source word, target word); words are separated by spaces."""

    text: str
    links: Sequence[tuple[int, int]]


class Run(NamedTuple):
    """Adjacent nodes that form a line of text. keeps_lines: the text is preformatted, so its line ends count."""

    nodes: list[PageElement]
    keeps_lines: bool


class _Stretch(NamedTuple):
    """A span of a line's text with the same tags around it."""

    begin: int
    end: int
    tags: Tags


class _Atom(NamedTuple):
    """A node of a line that contains no text to be translated: an image, a comment, a tag without text."""

    at: int
    tags: Tags
    node: PageElement


class HtmlLine:
    """The text of a run, and the positions of its tags and atoms. parts: the sentences and the text between them."""

    def __init__(self, run: Run, language: str):
        self._run = run
        self._tags: list[Tag] = []
        self._stretches: list[_Stretch] = []
        self._atoms: list[_Atom] = []
        self._text = ""
        breaks = [0]
        for node in run.nodes:
            self._read(node, NO_TAGS, breaks)
        # The positions of atoms and of changes of tags.
        self._points = sorted({*(each.begin for each in self._stretches), *(each.at for each in self._atoms)})
        self.parts: list[Part] = []
        for begin, end in zip(breaks, [*breaks[1:], len(self._text)], strict=True):
            self.parts += split_text(self._text[begin:end], language, lines=run.keeps_lines)

    def _read(self, node: PageElement, tags: Tags, breaks: list[int]) -> None:
        """Adds a node and its descendants. breaks: receives the positions after each <br>."""
        if isinstance(node, NavigableString) and not isinstance(node, PreformattedString):
            self._stretches.append(_Stretch(len(self._text), len(self._text) + len(node), tags))
            self._text += node
        elif isinstance(node, Tag) and has_text(node):
            inside = tags | {len(self._tags)}
            self._tags.append(node)
            for child in node.children:
                self._read(child, inside, breaks)
        else:
            self._atoms.append(_Atom(len(self._text), tags, node))
            if isinstance(node, Tag) and node.name == "br":
                breaks.append(len(self._text))
            elif isinstance(node, Tag) and is_space(node):
                self._stretches.append(_Stretch(len(self._text), len(self._text) + 1, tags))
                self._text += " "  # keeps the words on both sides apart

    @property
    def nodes(self) -> list[PageElement]:
        """The nodes of the run."""
        return self._run.nodes

    def translated(self, following: Iterator[Translated], spaced: bool) -> list[PageElement]:
        """The nodes of the run with the sentences replaced by their translations. The nodes must have no parent."""
        writer = _Writer(self._tags)
        atoms = list(reversed(self._atoms))
        begin, after_sentence = 0, False
        for part in self.parts:
            end = begin + len(part.text)
            if part.translatable:
                self._write_atoms(writer, atoms, begin)
                if after_sentence and spaced:
                    writer.write(" ", NO_TAGS)
                self._write_translated(writer, atoms, (begin, end), next(following))
            else:
                self._write_kept(writer, atoms, (begin, end))
            begin, after_sentence = end, part.translatable
        self._write_atoms(writer, atoms, len(self._text))
        writer.flush()
        return writer.written

    def _write_atoms(self, writer: "_Writer", atoms: list[_Atom], to: int) -> None:
        """Writes the atoms at or before position `to`. atoms: those not yet written, the next one last."""
        while atoms and atoms[-1].at <= to:
            atom = atoms.pop()
            writer.add(atom.node, atom.tags)

    def _write_kept(self, writer: "_Writer", atoms: list[_Atom], span: tuple[int, int]) -> None:
        begin, end = span
        inner = self._points[bisect_right(self._points, begin) : bisect_left(self._points, end)]
        for one, other in pairwise([begin, *inner, end]):
            self._write_atoms(writer, atoms, one)
            writer.write(self._text[one:other], self._tags_of(one, other))

    def _write_translated(
        self, writer: "_Writer", atoms: list[_Atom], span: tuple[int, int], translated: Translated
    ) -> None:
        words = [found.span() for found in _WORD.finditer(self._text, *span)]
        source = [self._word_tags(*word) for word in words]
        translation = [found.span() for found in _WORD.finditer(translated.text)]
        target = [_marks_and_letters(translated.text[begin:end]) for begin, end in translation]
        spaces = ["", *(translated.text[one:other] for (_, one), (other, _) in pairwise(translation))]
        links = [(i, t) for i, t in translated.links if i < len(source) and t < len(target)]
        inside: list[list[_Atom]] = [[] for _ in range(len(target) + 1)]
        begins, linked = [begin for begin, _ in words], targets_of(links)
        while atoms and atoms[-1].at < span[1]:
            atom = atoms.pop()
            inside[place_atom(bisect_left(begins, atom.at), len(source), len(target), linked)].append(atom)
        placed = place_tags(source, [HasMarks(bool(before), bool(after)) for before, _, after in target], links)
        for t, (word, tags) in enumerate(zip(target, placed, strict=True)):
            space = (placed[t - 1].after or placed[t - 1].core) & (tags.before or tags.core) if t else None
            self._write_inside(writer, inside[t], space, spaces[t])
            for text, around in zip(word, (tags.before, tags.core, tags.after), strict=True):
                writer.write(text, around or NO_TAGS)
        self._write_inside(writer, inside[-1], NO_TAGS if target else None, None)
        for tags in () if target else source:
            for around in (tags.before, tags.core, tags.after):
                writer.add(NavigableString(""), around or NO_TAGS)

    def _write_inside(self, writer: "_Writer", atoms: list[_Atom], space: Tags | None, text: str | None) -> None:
        """Writes the space between two words and the atoms there, which keep the spaces around them.

        space: the tags around the space; None: there is no space. text: the space; None if no word follows, so that
        none is written at the end.
        """
        close = [atom for atom in atoms if space is not None and not self._is_space(atom.at - 1)]
        apart = [atom for atom in atoms if space is None or self._is_space(atom.at - 1)]
        for atom in close:
            writer.add(atom.node, atom.tags)
        if space is not None and (text is not None or apart):
            writer.write(text or " ", space)
        for number, atom in enumerate(apart, 1):
            writer.add(atom.node, atom.tags)
            if self._is_space(atom.at) and (text is not None or number < len(apart)):
                writer.write(" ", space or NO_TAGS)

    def _is_space(self, at: int) -> bool:
        return self._text[at : at + 1].isspace()

    def _tags_of(self, begin: int, end: int) -> Tags:
        """The union of the tags of the characters from begin to end."""
        first = max(0, bisect_right(self._stretches, begin, key=lambda each: each.begin) - 1)
        found: Tags = NO_TAGS
        for number in range(first, len(self._stretches)):
            stretch = self._stretches[number]
            if stretch.begin >= end:
                break
            found |= stretch.tags
        return found

    def _word_tags(self, begin: int, end: int) -> WordTags:
        before, _, after = map(len, _marks_and_letters(self._text[begin:end]))
        return WordTags(
            self._tags_of(begin + before, end - after),
            self._tags_of(begin, begin + before) if before else None,
            self._tags_of(end - after, end) if after else None,
        )


class _Writer:
    """Writes nodes with the tags around them. Tags that adjacent nodes share are written once, around both."""

    def __init__(self, tags: Sequence[Tag]):
        self._originals = tags
        self._open: list[tuple[int, Tag]] = []
        self._used: set[int] = set()
        self._texts: list[str] = []
        self._tags = NO_TAGS
        self.written: list[PageElement] = []  # the top-level nodes

    def write(self, text: str, tags: Tags) -> None:
        """Adds text; adjacent texts in the same tags become one string."""
        if text and self._texts and tags == self._tags:
            self._texts.append(text)
        elif text:
            self.flush()
            self._texts, self._tags = [text], tags

    def add(self, node: PageElement, tags: Tags) -> None:
        """Adds a node that is not joined with the text before it."""
        self.flush()
        self._add(node, tags)

    def flush(self) -> None:
        """Adds the text that is not yet written as a node."""
        if self._texts:
            self._add(NavigableString("".join(self._texts)), self._tags)
            self._texts = []

    def _add(self, node: PageElement, tags: Tags) -> None:
        path = sorted(tags)
        shared = 0
        while shared < min(len(path), len(self._open)) and self._open[shared][0] == path[shared]:
            shared += 1
        del self._open[shared:]
        for number in path[shared:]:
            tag = self._originals[number].copy_self()
            if number in self._used:
                tag.attrs.pop("id", None)  # an id is unique in a document
            self._used.add(number)
            self._append(tag)
            self._open.append((number, tag))
        self._append(node)

    def _append(self, node: PageElement) -> None:
        if self._open:
            self._open[-1][1].append(node)
        else:
            self.written.append(node)


def _marks_and_letters(word: str) -> tuple[str, str, str]:
    """Splits a word into the punctuation before its first other character, the middle, and the punctuation after the
    last other character. Of a word of punctuation alone all is the middle."""
    letters = [k for k, char in enumerate(word) if char in _SIGNS or not unicodedata.category(char).startswith("P")]
    if not letters:
        return "", word, ""
    return word[: letters[0]], word[letters[0] : letters[-1] + 1], word[letters[-1] + 1 :]
