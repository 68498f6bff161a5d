"""Fonts for text of any script in images, and replacements for characters without a font.

Fonts are searched only if DejaVu Sans, which is installed with matplotlib, lacks a character. Joined letters (Arabic,
Devanagari) and right-to-left order inside a word are correct since matplotlib 3.11, which shapes text with libraqm;
earlier versions draw letters one by one from left to right. Emoji are outlines: matplotlib does not support color
fonts.
"""

import logging
import unicodedata
from collections.abc import Iterable
from functools import cache

from matplotlib import font_manager

_log = logging.getLogger(__name__)
# A font that exists only as Medium or Light is as good as a regular one here: no warning is needed.
logging.getLogger(font_manager.__name__).addFilter(lambda record: "Failed to find font weight" not in str(record.msg))

FIRST = "DejaVu Sans"

# Joiners and variation selectors have no glyph of their own: they change their neighbors, or have no effect.
_SHAPERS = frozenset(map(chr, [0x200C, 0x200D, *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)]))


def families(texts: Iterable[str]) -> list[str]:
    """The font families that draw these texts together, in the order in which matplotlib should try them."""
    found = (_family(cluster) for cluster in sorted({cluster for text in texts for cluster in _clusters(text)}))
    return list(dict.fromkeys([FIRST, *(family for family in found if family)]))


def drawable(text: str) -> str:
    """The text with characters that cannot be drawn as code points, "U+4E2D", and "U+4E2D+6587" for neighbors.

    These are characters in no installed font, control, format and unassigned characters, and a text of blanks only.
    """
    blank = not text.strip()
    written, escaping = [], False
    for cluster in _clusters(text):
        bare = "".join(character for character in cluster if character not in _SHAPERS)
        # As much as a font has: with the shapers, else without, else without its last marks.
        attempts = [cluster, *(bare[:end] for end in range(len(bare), 0, -1))]
        drawn = "" if blank else next((attempt for attempt in attempts if _family(attempt)), "")
        if drawn:
            written.append(drawn)
            escaping = False
        for character in "" if drawn == cluster else bare[len(drawn) :]:
            written.append(f"{'+' if escaping else 'U+'}{ord(character):04X}")
            escaping = True
    return "".join(written)


def _clusters(text: str) -> list[str]:
    """Split a text into letters with their marks: a letter and its marks must be drawn with one font."""
    clusters: list[str] = []
    for character in text:
        if clusters and (unicodedata.category(character).startswith("M") or character in _SHAPERS):
            clusters[-1] += character
        else:
            clusters.append(character)
    return clusters


def _has_no_picture(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") and character not in _SHAPERS


@cache
def _family(cluster: str) -> str:
    """The first family that has glyphs of all characters; "" if there is none."""
    if any(map(_has_no_picture, cluster)):
        return ""
    if _characters(FIRST).issuperset(map(ord, cluster)):
        return FIRST
    family = next((family for family in _installed() if all(_draws(family, character) for character in cluster)), "")
    if not family and len(cluster) == 1:
        _advise()
    return family


@cache
def _advise() -> None:
    """Warns, once per process, which fonts to install."""
    _log.warning(
        "pictures show some characters as code points (U+4E2D): no installed font draws them; a font of their script "
        "helps, such as those of Debian's fonts-noto-core and fonts-noto-cjk"
    )


@cache
def _installed() -> tuple[str, ...]:
    """All families but the first, in the order of preference: Noto Sans, then sans serif, then the rest, by name."""
    manager = font_manager.fontManager
    known = {font.fname for font in manager.ttflist}
    # matplotlib caches a list of fonts on disk, which lacks fonts installed later.
    for path in font_manager.findSystemFonts():
        if path not in known:
            try:
                manager.addfont(path)
            except (OSError, RuntimeError):
                continue  # a damaged font, or a bitmap font, which matplotlib cannot draw
    # TeX's fonts have other characters in place of letters, and "Last Resort" draws only boxes.
    unfit = ("cm", "STIXSize", "STIXNon", "Last Resort", FIRST)
    names = {font.name for font in manager.ttflist if not font.name.startswith(unfit) or font.name.startswith("cmu")}
    plain = {name: not any(word in name for word in ("Serif", "Mono", "Condensed", "Light")) for name in names}
    return tuple(sorted(names, key=lambda name: (not name.startswith("Noto Sans"), not plain[name], name)))


def _font(family: str):
    # matplotlib's own search by name, so that the result is valid for the font that it draws with.
    path = font_manager.findfont(font_manager.FontProperties(family=[family]), fallback_to_default=False)
    return font_manager.get_font(path)


@cache
def _characters(family: str) -> frozenset[int]:
    try:
        return frozenset(_font(family).get_charmap())
    except (OSError, RuntimeError, ValueError):
        return frozenset()


def _draws(family: str, character: str) -> bool:
    if ord(character) not in _characters(family):
        return False
    if character.isspace() or character in _SHAPERS:
        return True
    # Color fonts list characters with empty outlines.
    font = _font(family)
    font.load_char(ord(character))
    return len(font.get_path()[0]) > 0
