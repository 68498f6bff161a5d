"""A text split into sentences and what stands between them, and put together again.

sentencex finds the boundaries: Wikimedia keeps it up, it knows the abbreviations of some 300 languages, and its
sentences joined are the text.
"""

import re
from typing import NamedTuple

# What a text editor takes for the end of a line; \r\n is one.
_LINE_ENDS = re.compile("(\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029])")
_AROUND = re.compile(r"(\s*)(.*?)(\s*)", re.S)


class Part(NamedTuple):
    """A piece of a text. translatable: a sentence, without white space around it; the others are kept as they are."""

    text: str
    translatable: bool


def split_text(text: str, language: str, *, lines: bool = True) -> list[Part]:
    """The parts of a text, which joined are the text: sentences, and the white space between them.

    language: of the text, as ISO 639; of another word the rules for English hold. lines: a line end ends a sentence,
    as in plain text; in HTML it is a space. A sentence without letters and digits is kept as it is.
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
    """Without empty parts; neighbors that are kept are one."""
    found: list[Part] = []
    for part in parts:
        if found and not part.translatable and not found[-1].translatable:
            found[-1] = Part(found[-1].text + part.text, False)
        elif part.text:
            found.append(part)
    return found
