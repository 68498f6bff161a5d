"""The columns of a table for the two languages, from the names in its first line."""

import re
from collections.abc import Sequence

_SIDES = ({"source", "src"}, {"target", "tgt", "trg"})
_WORDS = set().union(*_SIDES, {"text", "sentence", "translation", "reference"})
_NAME = re.compile(r"[^\W\d_]{4,}( \([\w ]+\))?")  # one word, or a form like: Chinese (simplified)


def find_columns(columns: Sequence[str], src: str, tgt: str) -> tuple[int, int] | None:
    """The indices of the source and the target column, or None if the names do not determine them.

    In order of preference, a column matches a language by its name in the configuration (`de`); in other case (`DE`),
    by another tag of the language (`deu`, `de-AT`) or by the name of the language (`German`, `Deutsch`); by its side
    (`source`, `target`).
    """
    found = []
    for language, side in zip((src, tgt), _SIDES, strict=True):
        ranks = [_rank(column, language, side) for column in columns]
        best = min((rank for rank in ranks if rank is not None), default=None)
        if best is None or ranks.count(best) > 1:
            return None
        found.append(ranks.index(best))
    return (found[0], found[1]) if found[0] != found[1] or src == tgt else None


def is_heading_of_others(columns: Sequence[str], src: str, tgt: str) -> bool:
    """Whether a row without result from `find_columns` is nevertheless a heading, such as `German` with `text`."""
    named = any(_rank(c, language, side) is not None for c in columns for language, side in zip((src, tgt), _SIDES))  # noqa: B905
    return named and all(c.strip().lower() in _WORDS or _language(c) or _language_by_name(c) for c in columns)


def _rank(column: str, language: str, side: set[str]) -> int | None:
    """The rank of the match of a column's name, 0 is best; None without a match."""
    if column == language:
        return 0
    name = column.strip().strip('"').lower()
    if name == language.lower():
        return 1
    wanted = _language(language)
    if wanted and _language(name) == wanted:
        return 2
    if wanted and _language_by_name(name) == wanted:
        return 3
    return 4 if name in side else None


def _language(tag: str) -> str | None:
    """The language of a tag such as `de`, `deu`, `de-AT` or `zho_Hans`; None for an invalid tag."""
    import langcodes  # here, because most corpora do not need it

    tag = tag.strip()
    if not re.fullmatch(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*", tag) or not langcodes.tag_is_valid(tag):
        return None
    return langcodes.Language.get(tag).prefer_macrolanguage().language


def _language_by_name(name: str) -> str | None:
    import langcodes

    if not _NAME.fullmatch(name.strip()):
        return None
    try:
        return langcodes.find(name.strip()).prefer_macrolanguage().language
    except LookupError:
        return None
