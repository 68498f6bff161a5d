"""Splits a text into sentences and the white space between them.

sentencex finds the boundaries. It is maintained by Wikimedia and has the abbreviations of about 300 languages, and its
sentences joined are the text.
"""

import re
from typing import NamedTuple

# The line ends of str.splitlines; \r\n is a single one.
_LINE_ENDS = re.compile("(\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029])")
_AROUND = re.compile(r"(\s*)(.*?)(\s*)", re.S)


class Part(NamedTuple):
    """A part of a text. translatable: it is a sentence, without white space around it; other parts are kept."""

    text: str
    translatable: bool


def split_text(text: str, language: str, *, lines: bool = True) -> list[Part]:
    """The parts of a text: sentences, and the white space between them. Joined they are the text.

    language: the ISO 639 code of the text; for an unknown code the rules are those of English. lines: whether a line
    end ends a sentence, as in plain text; in HTML it is a space. A sentence without letters and digits is not
    translatable.
    """
    from sentencex import segment  # pyright: ignore[reportAttributeAccessIssue]  (it has no types)

    parts: list[Part] = []
    for line in _LINE_ENDS.split(text) if lines else [text]:
        for sentence in segment(language, line):
            found = _AROUND.fullmatch(sentence)
            assert found
            before, core, after = found.groups()
            translatable = any(map(str.isalnum, core))
            parts += [Part(before, False), Part(core, translatable), Part(after, False)]
    return _joined(parts)


def _joined(parts: list[Part]) -> list[Part]:
    """Removes empty parts and joins adjacent parts that are not translatable."""
    found: list[Part] = []
    for part in parts:
        if found and not part.translatable and not found[-1].translatable:
            found[-1] = Part(found[-1].text + part.text, False)
        elif part.text:
            found.append(part)
    return found
