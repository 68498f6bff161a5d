"""Normalization of text before segmentation: SentencePiece's rules, and a rule that keeps all characters."""

import re
from collections.abc import Callable
from enum import Enum

import sentencepiece

SPACE = "\u2581"  # SentencePiece's symbol for a space in a piece
LINE_ENDS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"  # the characters that end a line for str.splitlines
# The characters besides the plain space and LINE_ENDS that str.split splits at: no-break, thin and ideographic spaces,
# the tab.
_SPACES = "\t\x1f\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
_STAND_IN = "\U0010ffff"  # replaces the character SPACE in a text; a noncharacter of Unicode, not used in text

# The rule that keeps all characters. Every space other than the plain one is a word of its own between two plain
# spaces, so that no piece has parts of two words; `kept_text` removes these plain spaces.
_KEEP = [
    *((space, f" {space} ") for space in _SPACES),
    *((end, " ") for end in LINE_ENDS),
    (SPACE, _STAND_IN),
]
_PADDED = re.compile(f" ?([{_SPACES}]) ?")
_LINE_END = re.compile(f"[{LINE_ENDS}]")


class Normalization(Enum):
    """The normalization of a side's text before segmentation: identity keeps all characters, the others are
    SentencePiece's.

    nfkc replaces compatibility characters (full-width forms, ligatures, fractions) and makes every space a plain one;
    nmt_nfkc also removes control characters; _cf also converts to lower case.
    """

    identity = "identity"
    nfkc = "nfkc"
    nmt_nfkc = "nmt_nfkc"
    nfkc_cf = "nfkc_cf"
    nmt_nfkc_cf = "nmt_nfkc_cf"


def normalizer(rule: Normalization) -> Callable[[str], str]:
    """A function that normalizes a text like a model with this rule, but with plain spaces, and no space in front."""
    return _normalizer(rule, bare=True).normalize


def with_normalization(model: bytes, rule: Normalization) -> bytes:
    """The SentencePiece model with another normalization rule. ValueError if the installed SentencePiece is too old."""
    spec = _normalizer(rule).serialized_normalizer_spec()
    # In protocol buffers a repeated message field is merged, and the later value wins: here number 3, normalizer_spec.
    merged = model + b"\x1a" + _varint(len(spec)) + spec
    processor = sentencepiece.SentencePieceProcessor(model_proto=merged)
    if processor.normalize("a") != f"{SPACE}a":  # see `_normalizer`; the text would be segmented into small pieces
        raise ValueError(f"SentencePiece {sentencepiece.__version__} is too old: install 0.2.3 or newer")
    return processor.serialized_model_proto()


def keeps_text(processor: sentencepiece.SentencePieceProcessor) -> bool:
    """Whether a model has the rule of `with_normalization` for identity."""
    return processor.normalize(f"a\xa0{SPACE}") == f"{SPACE}a{SPACE}\xa0{SPACE}{_STAND_IN}"


def kept_text(printed: str) -> str:
    """The text that the rule for identity turned into `printed`, with SPACE as a plain space; always one line."""
    text = _LINE_END.sub(" ", _PADDED.sub(r"\1", printed.removeprefix(" ")))
    return "" if text.isspace() else text.replace(_STAND_IN, SPACE)


def _normalizer(rule: Normalization, *, bare: bool = False) -> sentencepiece.SentencePieceNormalizer:
    """bare: plain spaces instead of SPACE, and no space in front."""
    sentencepiece.set_min_log_level(3)  # turns off its log
    marks = False if bare else None  # None: SentencePiece's default, which has them; before 0.2.3 it was False
    if rule is Normalization.identity:
        return sentencepiece.SentencePieceNormalizer(
            norm_map=_KEEP, add_dummy_prefix=marks, escape_whitespaces=marks, remove_extra_whitespaces=False
        )
    return sentencepiece.SentencePieceNormalizer(rule_name=rule.value, add_dummy_prefix=marks, escape_whitespaces=marks)


def _varint(number: int) -> bytes:
    """A number as a varint of protocol buffers: 7 bits a byte, lowest first; the 8th bit is set in all bytes but the
    last."""
    low, rest = number & 127, number >> 7
    return bytes([low | 128]) + _varint(rest) if rest else bytes([low])
