"""The tokenizer of BLEU and the unit of length for a language, also for text without spaces."""

from collections.abc import Iterable, Sequence
from itertools import islice

import regex

TOKENIZERS = ("13a", "intl", "zh", "char", "ja-mecab", "ko-mecab", "flores200", "none")
"""sacreBLEU's tokenizers, the values of `data.bleu_tokenizer`."""

BY_SPACES = ("13a", "intl", "none")
"""The tokenizers that split only at spaces and punctuation."""

# By ISO 15924 script. Japanese and Korean are split into characters and not by sacreBLEU's MeCab tokenizers, whose
# packages are not installed everywhere: a score must not depend on that.
_SCRIPTS = {
    "zh": ("Hani", "Hans", "Hant", "Hanb"),
    "char": (
        *("Jpan", "Hira", "Kana", "Hrkt", "Kore", "Hang"),
        *("Thai", "Laoo", "Khmr", "Mymr", "Tibt", "Lana", "Tale", "Talu", "Tavt", "Yiii", "Java", "Bali"),
    ),
}
_BY_SCRIPT: dict[str, str] = {script: tokenizer for tokenizer, scripts in _SCRIPTS.items() for script in scripts}
_SAMPLE = 1000  # lines from which the use of spaces is determined
_LONG = 8  # letters per token: above the mean length of words in all of these languages
_LETTER = regex.compile(r"[\p{L}\p{M}]")
_HAN, _KANA = regex.compile(r"\p{Han}"), regex.compile(r"[\p{Hiragana}\p{Katakana}]")
_UNSPACED = regex.compile(
    r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}"
    r"\p{Tai_Tham}\p{Tai_Le}\p{New_Tai_Lue}\p{Tai_Viet}\p{Yi}\p{Javanese}\p{Balinese}]"
)


def bleu_tokenizer(language: str) -> str:
    """sacreBLEU's tokenizer for a language: 13a unless the language is written in a script without spaces.

    language: a code of ISO 639-1 or -3, with script and region or without: "zh", "zho", "cmn_Hant", "yue", "ja-JP",
    "zho_Latn" (13a). For any other text it is 13a.
    """
    import langcodes  # reads its tables, and most commands do not need it

    try:
        return _BY_SCRIPT.get(langcodes.Language.get(language).maximize().script or "", "13a")
    except ValueError:
        return "13a"


def needs_space(src: str, tgt: str) -> bool:
    """Whether to insert spaces between translated sentences: the source language writes none, the target does."""
    return bleu_tokenizer(src) not in BY_SPACES and bleu_tokenizer(tgt) in BY_SPACES


def without_spaces(lines: Iterable[str]) -> bool:
    """Whether a text is written without spaces between words, from its first lines.

    At least a third of its letters are of such a script, and most of its lines have no space, or spaces only between
    whole phrases. Korean has spaces; so has Chinese that is segmented into words.
    """
    letters = unspaced = tokens = several = unbroken = 0
    for line in islice(lines, _SAMPLE):
        found = len(_UNSPACED.findall(line))
        letters += len(_LETTER.findall(line))
        unspaced += found
        words = line.split()
        tokens += sum(_UNSPACED.search(word) is not None for word in words)
        several += found > 2
        unbroken += found > 2 and len(words) == 1
    return 3 * unspaced > letters and (2 * unbroken > several or unspaced > _LONG * tokens)


def length_unit(lines: Iterable[str]) -> str:
    """The unit of the lengths of a text's sentences: "words", or "characters" if it has no spaces."""
    return "characters" if without_spaces(lines) else "words"


def lengths(lines: Iterable[str], unit: str) -> list[int]:
    """The length of each line in that unit; characters are counted without spaces."""
    return [sum(map(len, line.split())) if unit == "characters" else len(line.split()) for line in lines]


def unfit_tokenizer(tokenizer: str, references: Sequence[str], key: str) -> str:
    """A warning if the tokenizer needs spaces and the references have none, or "". key: the setting of the
    tokenizer."""
    if tokenizer not in BY_SPACES or not without_spaces(references):
        return ""
    text = "".join(references[:_SAMPLE])
    better = "zh" if _HAN.search(text) and not _KANA.search(text) else "char"
    return (
        f"the references have no spaces between words, and the tokenizer {tokenizer} takes a whole phrase for a word: "
        f"BLEU and TER say little; try {key}={better}"
    )
