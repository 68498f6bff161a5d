"""Splits HTML into tags, text and other markup by the rules of the HTML Standard, 13.2.5 "Tokenization".

html.parser is not used: that of Python 3.11 changes attributes with &, reads tags in <textarea>, refuses some
declarations, and takes time in proportion to the square of the length of a malformed text.
"""

import re
from collections.abc import Iterator
from html import unescape
from html.entities import html5
from typing import NamedTuple

MAX_UNFINISHED = 20  # tags and comments without an end; after each the text is searched to its end

_S = r" \t\n\f\r"
_ATTRIBUTE = rf"""
    ([^{_S}/>][^{_S}/>=]*+)                                      # the name, which may begin with =
    (?: [{_S}]*+ = [{_S}]*+ ( "[^"]*+" | '[^']*+' | (?!["'])[^{_S}>]*+ )  |  (?![{_S}]*+=) )
"""
_ATTRIBUTES = re.compile(_ATTRIBUTE, re.X)
_MARKUP = re.compile(
    rf"""
    (?P<kept>
        <!-- (?: -?> | .*?--!?> )
        | <!\[CDATA\[ .*?\]\]>
        | < (?: ! (?!--|\[CDATA\[) | \? | / (?![a-z]) ) [^>]*+ >  # a declaration, or what is read as a comment
    )
    | < (?P<end>/?) (?P<name>[a-z][^{_S}/>]*+)
      (?P<attributes> (?: [{_S}]++ | /(?!>) | {_ATTRIBUTE} )*+ )
      (?P<empty>/?) >
    """,
    re.X | re.S | re.I | re.A,
)
_BEGIN = re.compile(r"<(/?[a-z]|!--|!\[CDATA\[)", re.I | re.A)
# In an attribute a name without ; is no reference if = or a letter or digit follows it.
_REFERENCE = re.compile(r"&(?:#[0-9]+;?|#x[0-9a-f]+;?|[a-z][a-z0-9]*+(?:;|(?!=)))", re.I | re.A)
# Elements without tags in them. The content of all but <title>, whose text is translated, is kept as it is.
_RAW = frozenset(["iframe", "noembed", "noframes", "plaintext", "script", "style", "textarea", "xmp", "title"])
_RAW_IN_DRAWINGS = frozenset(["script", "style"])  # in <svg> and <math>


class Text(NamedTuple):
    """Text with its references replaced by characters."""

    text: str


class Kept(NamedTuple):
    """A comment, a declaration, or the content of an element such as <script>, as it is written."""

    markup: str


class StartTag(NamedTuple):
    """at: its place in the document. empty: it ends with />. The first of attributes with the same name counts."""

    at: int
    name: str
    attributes: dict[str, str]
    empty: bool


class EndTag(NamedTuple):
    """The end tag of an element."""

    name: str


Token = Text | Kept | StartTag | EndTag


def tokens(html: str) -> Iterator[Token]:
    """The tokens of a document in order. The beginning of a tag or comment without an end is text.

    Raises ValueError where there are more than MAX_UNFINISHED of them before the last >. Those after it take no search.
    """
    at = unfinished = drawings = 0
    last = html.rfind(">")
    while at < len(html):
        found = _MARKUP.match(html, at) if at < last else None
        if found is None:
            unfinished += at < last and _BEGIN.match(html, at) is not None
            if unfinished > MAX_UNFINISHED:
                raise ValueError(f"more than {MAX_UNFINISHED} tags or comments have no end")
            end = html.find("<", at + 1)
            end = end if end >= 0 else len(html)
            yield Text(unescape(html[at:end]))
            at = end
            continue
        at = found.end()
        if found["kept"]:
            yield Kept(found["kept"])
            continue
        name, is_end, empty = found["name"].lower(), bool(found["end"]), bool(found["empty"])
        yield EndTag(name) if is_end else StartTag(found.start(), name, _read(found["attributes"]), empty)
        if name in ("svg", "math") and not empty:
            drawings = max(0, drawings - 1 if is_end else drawings + 1)
        if name in (_RAW_IN_DRAWINGS if drawings else _RAW) and not is_end and not empty:
            ends = re.compile(rf"</{name}(?=[{_S}/>])", re.I | re.A).search(html, at)
            content = html[at : ends.start() if ends else len(html)]
            yield Text(unescape(content)) if name == "title" else Kept(content)
            at += len(content)


def _read(attributes: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in _ATTRIBUTES.findall(attributes):
        unquoted = value[1:-1] if value[:1] in ("'", '"') else value
        found.setdefault(name.lower(), _REFERENCE.sub(_character, unquoted))
    return found


def _character(reference: re.Match[str]) -> str:
    """The character of a reference in an attribute; the text as it is if this is none."""
    text = reference[0]
    return unescape(text) if text[1] == "#" or text[1:] in html5 else text
