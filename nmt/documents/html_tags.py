"""Which tags end a line of text, and which hold none that is to be translated."""

from bs4.element import PreformattedString, Tag

_BLOCKS = """
[document] address article aside blockquote body caption center col colgroup dd details dialog dir div dl dt fieldset
figcaption figure footer form frameset h1 h2 h3 h4 h5 h6 head header hgroup hr html legend li link main menu meta nav
noscript ol optgroup option p pre search section select summary table tbody td tfoot th thead title tr ul
"""
BLOCKS = frozenset(_BLOCKS.split())  # they end a line of text; all others, known or not, stand in it
_OPAQUE = """
audio base canvas embed iframe link map math meta noembed noframes object plaintext ruby script style svg template
textarea video xmp
"""
OPAQUE = frozenset(_OPAQUE.split())  # they hold no text to be translated


def is_translated(tag: Tag, otherwise: bool) -> bool:
    """What its attributes say, else `otherwise`."""
    if "notranslate" in str(tag.get("class", "")).split():
        return False
    return {"no": False, "yes": True, "": True}.get(str(tag.get("translate", "?")).lower(), otherwise)


def has_text(tag: Tag) -> bool:
    """Whether there is something to be translated, or a mark, in what stands in a line."""
    if tag.name in OPAQUE or not is_translated(tag, True):
        return False
    return any(
        has_text(child)
        if isinstance(child, Tag)
        else not isinstance(child, PreformattedString) and not str(child).isspace() and bool(child)
        for child in tag.children
    )
