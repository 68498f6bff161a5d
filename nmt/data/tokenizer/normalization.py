"""Normalization of text before it is split into pieces: SentencePiece's rules, and one that keeps all characters."""

import re
from collections.abc import Callable
from enum import Enum

import sentencepiece

SPACE = "\u2581"  # how SentencePiece writes a space inside a piece
LINE_ENDS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"  # what some reader takes for the end of a line (str.splitlines)
# What str.split splits at beside the plain space and LINE_ENDS: no-break, thin and ideographic spaces, the tab.
_SPACES = "\t\x1f\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
_STAND_IN = "\U0010ffff"  # for the character SPACE in a text; no text holds it, as Unicode keeps it free for such use

# The rule that keeps all characters. Every other space is a word of its own between two plain ones, so that no piece
# holds parts of two words, whatever their space; `kept_text` takes the plain ones away.
_KEEP = [
    *((space, f" {space} ") for space in _SPACES),
    *((end, " ") for end in LINE_ENDS),
    (SPACE, _STAND_IN),
]
_PADDED = re.compile(f" ?([{_SPACES}]) ?")
_LINE_END = re.compile(f"[{LINE_ENDS}]")


class Normalization(Enum):
    """What a side's text becomes before it is cut: identity keeps its characters, the others are SentencePiece's.

    nfkc folds compatibility characters (full-width forms, ligatures, fractions) and makes every space a plain one;
    nmt_nfkc drops control characters as well; _cf puts all in lower case.
    """

    identity = "identity"
    nfkc = "nfkc"
    nmt_nfkc = "nmt_nfkc"
    nfkc_cf = "nfkc_cf"
    nmt_nfkc_cf = "nmt_nfkc_cf"


def normalizer(rule: Normalization) -> Callable[[str], str]:
    """A function that does to a text what a model with this rule does, but with plain spaces, and none in front."""
    return _normalizer(rule, bare=True).normalize


def with_normalization(model: bytes, rule: Normalization) -> bytes:
    """The SentencePiece model with another rule. Its pieces stay as they are."""
    spec = _normalizer(rule).serialized_normalizer_spec()
    # A protocol buffer's field that comes twice is merged, and the later wins: here number 3, the normalizer_spec.
    merged = model + b"\x1a" + _varint(len(spec)) + spec
    return sentencepiece.SentencePieceProcessor(model_proto=merged).serialized_model_proto()


def keeps_text(processor: sentencepiece.SentencePieceProcessor) -> bool:
    """Whether a model has the rule that `with_normalization` gives for identity."""
    return processor.normalize(f"a\xa0{SPACE}") == f"{SPACE}a{SPACE}\xa0{SPACE}{_STAND_IN}"


def kept_text(printed: str) -> str:
    """The text that the rule for identity made into `printed`, where SPACE is a plain space; always one line."""
    text = _LINE_END.sub(" ", _PADDED.sub(r"\1", printed.removeprefix(" ")))
    return "" if text.isspace() else text.replace(_STAND_IN, SPACE)


def _normalizer(rule: Normalization, *, bare: bool = False) -> sentencepiece.SentencePieceNormalizer:
    """bare: with plain spaces instead of SPACE, and none in front."""
    sentencepiece.set_min_log_level(3)  # its log is not for our readers
    marks = False if bare else None  # None: SentencePiece's own, which is to have them
    if rule is Normalization.identity:
        return sentencepiece.SentencePieceNormalizer(
            norm_map=_KEEP, add_dummy_prefix=marks, escape_whitespaces=marks, remove_extra_whitespaces=False
        )
    return sentencepiece.SentencePieceNormalizer(rule_name=rule.value, add_dummy_prefix=marks, escape_whitespaces=marks)


def _varint(number: int) -> bytes:
    """A number as protocol buffers write it: 7 bits a byte, lowest first; all bytes but the last have the 8th bit."""
    low, rest = number & 127, number >> 7
    return bytes([low | 128]) + _varint(rest) if rest else bytes([low])
