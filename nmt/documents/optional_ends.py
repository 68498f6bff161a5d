"""End tags that HTML allows to be left out, written into the text, as Beautiful Soup does not know of them.

<p>one<p>two is two paragraphs, of which the second would otherwise be inside of the first. The rules are those of the
HTML Standard, 13.1.2.4 "Optional tags", and of its parser, 13.2.6.4.7, for elements that stand in the body.
"""

from itertools import pairwise

from bs4.builder import HTMLTreeBuilder

from nmt.documents.html_tokens import EndTag, StartTag, tokens

MAX_DEPTH = 200  # of tags in tags

_VOID = frozenset(HTMLTreeBuilder.DEFAULT_EMPTY_ELEMENT_TAGS or ())
_SCOPES = frozenset(["button", "caption", "html", "marquee", "object", "table", "td", "template", "th"])
_LISTS = _SCOPES | {"dir", "menu", "ol", "ul"}
_PARAGRAPH = frozenset({"p"}), _SCOPES
_OPTION = frozenset({"option"}), frozenset({"datalist", "optgroup", "select"})
_TABLE = frozenset({"html", "table", "template"})
_ROWS = frozenset({"tbody", "tfoot", "thead"})
_CELLS = frozenset({"td", "th"})
_CLOSE_PARAGRAPHS = """
address article aside blockquote center details dialog dir div dl fieldset figcaption figure footer form
h1 h2 h3 h4 h5 h6 header hgroup hr main menu nav ol p pre search section summary table ul
"""
# By the name of a start tag: the elements whose end it implies, and those out of which the search for them does not go.
_Rule = tuple[frozenset[str], frozenset[str]]
_RULES: dict[str, list[_Rule]] = {
    **{name: [_PARAGRAPH] for name in _CLOSE_PARAGRAPHS.split()},
    "li": [(frozenset({"li"}), _LISTS), _PARAGRAPH],
    **{name: [(frozenset({"dd", "dt"}), _SCOPES | {"dl"}), _PARAGRAPH] for name in ("dd", "dt")},
    "option": [_OPTION],
    "optgroup": [_OPTION, (frozenset({"optgroup"}), frozenset({"select"}))],
    **{name: [(_CELLS, _TABLE | {"tr"})] for name in _CELLS},
    "tr": [(frozenset({"tr"}), _TABLE | _ROWS)],
    **{name: [(_ROWS, _TABLE)] for name in _ROWS},
}


def write_optional_ends(html: str) -> str:
    """The same document with the end tags that its start tags imply.

    Raises ValueError where tags are nested deeper than MAX_DEPTH, or too many have no end.
    """
    ends = _Ends(html).ends
    places = [0, *(place for place, _ in ends), len(html)]
    parts = [html[one:other] for one, other in pairwise(places)]
    return "".join(part + tag for part, (_, tag) in zip(parts, [*ends, (0, "")], strict=True))


class _Ends:
    """ends: where in the text an end tag is missing, and the tag, in order."""

    def __init__(self, html: str):
        self.ends: list[tuple[int, str]] = []
        self._open: list[str] = []
        for token in tokens(html):
            if isinstance(token, StartTag):
                self._start(token)
            elif isinstance(token, EndTag) and token.name in self._open:
                del self._open[len(self._open) - 1 - self._open[::-1].index(token.name) :]

    def _start(self, tag: StartTag) -> None:
        self._imply_ends(tag)
        if not tag.empty and tag.name not in _VOID:
            self._open.append(tag.name)
        if len(self._open) > MAX_DEPTH:  # the search below takes time in proportion to the depth
            raise ValueError(f"tags are nested more than {MAX_DEPTH} deep")

    def _imply_ends(self, tag: StartTag) -> None:
        for ended, scopes in _RULES.get(tag.name, ()):
            for place in reversed(range(len(self._open))):
                name = self._open[place]
                if name in ended:
                    self.ends.append((tag.at, f"</{name}>"))
                    del self._open[place:]
                    break
                if name in scopes:
                    break
