"""Extracts the sentences of HTML and inserts their translations; inline tags follow the linked words.

Beautiful Soup parses and writes the HTML with Python's html.parser. It is maintained, accepts malformed HTML, does not
add <html> or <body> to a fragment as lxml and html5lib do, and writes the end tag of every element.
"""

import warnings
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from bs4 import BeautifulSoup, MarkupResemblesLocatorWarning, XMLParsedAsHTMLWarning
from bs4.dammit import EntitySubstitution
from bs4.element import Declaration, PageElement, Tag
from bs4.formatter import HTMLFormatter

from nmt.documents.html_lines import HtmlLine, Run, Translated
from nmt.documents.html_tags import BLOCKS, OPAQUE, is_translated
from nmt.documents.optional_ends import MAX_DEPTH, write_optional_ends

__all__ = ["MAX_DEPTH", "HtmlDocument", "Translated"]

# XHTML is parsed as HTML, and input that looks like a path or an address is text.
for _warning in (XMLParsedAsHTMLWarning, MarkupResemblesLocatorWarning):
    warnings.filterwarnings("ignore", category=_warning)


class HtmlDocument:
    """A document or a fragment of HTML. sentences: the lines to be translated.

    language: the ISO 639 code of the text. Raises ValueError if tags are nested deeper than MAX_DEPTH.
    """

    def __init__(self, html: str, language: str):
        self._html, self._language = html, language
        parts = (part for line in self._lines(_parse(html)) for part in line.parts)
        self.sentences = [" ".join(part.text.split()) for part in parts if part.translatable]

    def render(self, translations: Sequence[Translated], *, spaced: bool = False) -> str:
        """The document with the sentences replaced by their translations, in order.

        All tags, attributes and comments are kept. A tag whose words are no longer adjacent is written once for each
        run of them; only the first has its id. spaced: whether to insert a space between sentences that have none.
        """
        soup = _parse(self._html)
        following = iter(translations)
        for line in list(self._lines(soup)):
            line.replace(following, spaced)
        return soup.decode(formatter=_FORMATTER)

    def _lines(self, soup: BeautifulSoup) -> Iterator[HtmlLine]:
        for run in _runs(soup):
            line = HtmlLine(run, self._language)
            if any(part.translatable for part in line.parts):
                yield line


class _Declaration(Declaration):
    """A declaration such as <![if !mso]>, which Beautiful Soup would write as <?if !mso?>."""

    PREFIX, SUFFIX = "<![", "]>"


class _Formatter(HTMLFormatter):
    """Escapes only the characters that HTML reserves, and keeps the order of attributes."""

    def attributes(self, tag: Tag):
        return list(tag.attrs.items())


_FORMATTER = _Formatter(entity_substitution=EntitySubstitution.substitute_xml)


def _parse(html: str) -> BeautifulSoup:
    # As in browsers: the first of duplicate attributes counts, and values such as that of class are not split.
    return BeautifulSoup(
        write_optional_ends(html),
        "html.parser",
        element_classes={Declaration: _Declaration},
        multi_valued_attributes=None,
        on_duplicate_attribute="ignore",
    )


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
