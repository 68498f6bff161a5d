"""Classes of HTML tags: those that end a line of text, and those without text to be translated."""

from collections.abc import Iterator

from bs4.element import PreformattedString, Tag

_BLOCKS = """
[document] address article aside blockquote body caption center col colgroup dd details dialog dir div dl dt fieldset
figcaption figure footer form frameset h1 h2 h3 h4 h5 h6 head header hgroup hr html legend li link main menu meta nav
noscript ol optgroup option p pre search section select summary table tbody td tfoot th thead title tr ul
"""
BLOCKS = frozenset(_BLOCKS.split())  # these tags end a line of text; all others, known or not, are inline
_OPAQUE = """
audio base canvas embed iframe link map math meta noembed noframes object plaintext ruby script style svg template
textarea video xmp
"""
OPAQUE = frozenset(_OPAQUE.split())  # these tags contain no text to be translated


def is_translated(tag: Tag, otherwise: bool) -> bool:
    """Whether the attributes class and translate allow the translation of a tag; `otherwise` if they are not set."""
    if "notranslate" in str(tag.get("class", "")).split():
        return False
    return {"no": False, "yes": True, "": True}.get(str(tag.get("translate", "?")).lower(), otherwise)


def has_text(tag: Tag) -> bool:
    """Whether an inline tag contains text that is not only white space, outside tags that are not translated."""
    return _is_read(tag) and any(not text.isspace() for text in _texts(tag))


def is_space(tag: Tag) -> bool:
    """Whether a tag contains white space and no other text, outside tags in it that are not translated."""
    return tag.name not in OPAQUE and any(_texts(tag)) and all(map(str.isspace, _texts(tag)))


def _is_read(tag: Tag) -> bool:
    return tag.name not in OPAQUE and is_translated(tag, True)


def _texts(tag: Tag) -> Iterator[str]:
    """The texts in a tag that are not empty, outside tags in it that are not translated."""
    for child in tag.children:
        if isinstance(child, Tag):
            if _is_read(child):
                yield from _texts(child)
        elif not isinstance(child, PreformattedString) and child:
            yield str(child)
