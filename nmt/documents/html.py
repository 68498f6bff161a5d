"""Extracts the sentences of HTML and inserts their translations; inline tags follow the linked words.

Beautiful Soup builds the tree and writes the HTML. It is maintained, accepts malformed HTML, does not add <html> or
<body> to a fragment as lxml and html5lib do, and writes the end tag of every element.
"""

import re
import warnings
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from bs4 import BeautifulSoup, MarkupResemblesLocatorWarning
from bs4.builder import HTMLTreeBuilder
from bs4.dammit import EntitySubstitution
from bs4.element import PageElement, PreformattedString, Tag
from bs4.formatter import HTMLFormatter

from nmt.documents.html_lines import HtmlLine, Run, Translated
from nmt.documents.html_tags import BLOCKS, OPAQUE, is_translated
from nmt.documents.html_tokens import EndTag, Kept, StartTag, tokens
from nmt.documents.optional_ends import MAX_DEPTH, write_optional_ends

__all__ = ["MAX_DEPTH", "HtmlDocument", "Translated"]

_SPACES = re.compile(r"[ \t\n\f\r]+")  # those that a browser shows as one
# Input that looks like a path or an address is text.
warnings.filterwarnings("ignore", category=MarkupResemblesLocatorWarning)


class HtmlDocument:
    """A document or a fragment of HTML. sentences: the lines to be translated.

    language: the ISO 639 code of the text. Raises ValueError if tags are nested deeper than MAX_DEPTH, or
    too many have no end.
    """

    def __init__(self, html: str, language: str):
        self._html, self._language = html, language
        parts = (part for line in self._lines(_parse(html)) for part in line.parts)
        self.sentences = [_SPACES.sub(" ", part.text).strip(" ") for part in parts if part.translatable]

    def render(self, translations: Sequence[Translated], *, spaced: bool = False) -> str:
        """The document with the sentences replaced by their translations, in order.

        All tags, attributes and comments are kept. A tag whose words are no longer adjacent is written once for each
        run of them; only the first has its id. spaced: whether to insert a space between sentences that have none.
        """
        soup = _parse(self._html)
        following = iter(translations)
        lines = list(self._lines(soup))
        # Each parent is emptied and filled once: the tree searches a single child from the front of its parent.
        parents = {id(parent): parent for line in lines if (parent := line.nodes[0].parent) is not None}
        children = {key: list(parent.contents) for key, parent in parents.items()}
        for parent in parents.values():
            parent.clear()
        written: dict[int, list[PageElement]] = {}
        for line in lines:
            written |= {id(node): [] for node in line.nodes}
            written[id(line.nodes[0])] = line.translated(following, spaced)
        for key, parent in parents.items():
            parent.extend(node for child in children[key] for node in written.get(id(child), [child]))
        return soup.decode(formatter=_FORMATTER)

    def _lines(self, soup: BeautifulSoup) -> Iterator[HtmlLine]:
        for run in _runs(soup):
            line = HtmlLine(run, self._language)
            if any(part.translatable for part in line.parts):
                yield line


class _Builder(HTMLTreeBuilder):
    """Builds the tree of Beautiful Soup from the tokens of a document."""

    def feed(self, markup) -> None:
        soup = self.soup
        assert soup is not None
        assert isinstance(markup, str)
        for token in tokens(markup):
            if isinstance(token, StartTag):
                tag = soup.handle_starttag(token.name, None, None, token.attributes)
                if token.empty or (tag is not None and tag.is_empty_element):
                    soup.handle_endtag(token.name)
            elif isinstance(token, EndTag):
                soup.handle_endtag(token.name)
            elif isinstance(token, Kept):
                soup.endData()
                soup.object_was_parsed(PreformattedString(token.markup))
            else:
                soup.handle_data(token.text)


class _Formatter(HTMLFormatter):
    """Escapes only the characters that HTML reserves, and keeps the order of attributes."""

    def attributes(self, tag: Tag):
        return list(tag.attrs.items())


_FORMATTER = _Formatter(entity_substitution=EntitySubstitution.substitute_xml)


def _parse(html: str) -> BeautifulSoup:
    # Values such as that of class are not split.
    return BeautifulSoup(write_optional_ends(html), builder=_Builder, multi_valued_attributes=None)


class _Container(NamedTuple):
    """A tag that contains lines of text. translated: False if translate="no" applies. keeps_lines: inside <pre>."""

    tag: Tag
    translated: bool
    keeps_lines: bool


def _runs(soup: BeautifulSoup) -> Iterator[Run]:
    """The runs of nodes that form the lines of text to be translated, in document order."""
    holders = _holders_of_blocks(soup)
    waiting: list[Run | _Container] = [_Container(soup, True, False)]
    while waiting:
        item = waiting.pop()
        if isinstance(item, Run):
            yield item
        else:
            waiting += reversed(_divide(item, holders))


def _holders_of_blocks(soup: BeautifulSoup) -> set[int]:
    """The Python ids of all block tags and of their ancestors."""
    found = {id(soup)}
    for tag in soup.find_all(lambda each: each.name in BLOCKS):
        for each in (tag, *tag.parents):
            if id(each) in found:
                break
            found.add(id(each))
    return found


def _divide(container: _Container, holders: set[int]) -> list[Run | _Container]:
    """The runs and the inner containers of a container, in document order."""
    found: list[Run | _Container] = []
    run: list[PageElement] = []
    for node in container.tag.children:
        if id(node) not in holders:
            if not run and container.translated:
                found.append(Run(run, container.keeps_lines))
            run.append(node)
            continue
        run = []
        assert isinstance(node, Tag)
        if node.name not in OPAQUE:
            keeps_lines = container.keeps_lines or node.name == "pre"
            found.append(_Container(node, is_translated(node, container.translated), keeps_lines))
    return found
