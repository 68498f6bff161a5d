"""A SentencePiece model with this program's ids: text to pieces and back, exactly, and the word of each piece."""

import codecs
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
import sentencepiece

from nmt.data.symbols import BOS, EOS, NAMES, PAD, UNK, UNK_SURFACE
from nmt.data.tokenizer.normalization import SPACE, keeps_text, kept_text

# What becomes a plain space before SentencePiece sees it, one character for one, so that offsets stay true: whatever
# str.split splits at (some of it SentencePiece drops or keeps), the space symbol, and lone surrogates (not encodable).
# A model that keeps all characters sees them all, but for the surrogates.
_SPACES = re.compile(r"[^\S ]|[\u2581\ud800-\udfff]")
_SURROGATES = re.compile(r"[\ud800-\udfff]")


class EncodedWords(NamedTuple):
    """Pieces of a text, and for each the index in `text.split()` of the word it belongs to."""

    ids: list[int]
    words: list[int]


class DecodedWords(NamedTuple):
    """A text, and for each id the index in `text.split()` of the word it became part of; -1 if it printed nothing."""

    text: str
    words: list[int]


class Subwords:
    """A SentencePiece model whose ids are ours: PAD, UNK, BOS, EOS are 0 to 3, then its other pieces in their order.

    For any text x, with a model that has byte fallback, `decode(encode(x)) == normalize(x)`. Where the model was
    trained here with Normalization.identity, `normalize(x) == x` for every line x with text in it.
    """

    def __init__(self, model: bytes, source: str = "the model"):
        """`model`: the content of a .model file; `source` names it in the ValueError raised if it is none."""
        sentencepiece.set_min_log_level(3)  # its complaints come to us as exceptions; its log is not for our readers
        try:
            processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        except (RuntimeError, TypeError, ValueError) as error:
            raise ValueError(f"{source} is not a SentencePiece model, or is damaged") from error
        if not model or processor.get_piece_size() < 1:
            raise ValueError(f"{source} is not a SentencePiece model, or is damaged")
        self.model = model
        self._processor = processor
        self._keeps_text = keeps_text(processor)
        theirs = [processor.pad_id(), processor.unk_id(), processor.bos_id(), processor.eos_id()]
        others = [i for i in range(processor.get_piece_size()) if i not in theirs]
        self._ours = np.full(processor.get_piece_size(), UNK, dtype=np.int32)  # their id -> our id
        self._ours[others] = np.arange(len(NAMES), len(NAMES) + len(others))
        for ours, id_ in zip((PAD, UNK, BOS, EOS), theirs, strict=True):
            if id_ >= 0:
                self._ours[id_] = ours
        self._same = np.array_equal(self._ours, np.arange(len(self._ours)))
        self._pieces = [*NAMES, *(processor.id_to_piece(i) for i in others)]
        # A word model's unknown is a whole word with the space before it, elsewhere it is some characters.
        whole = processor.encode("\U0010fffd", out_type=str)[:1] != [SPACE]
        unknown = (SPACE if whole else "") + UNK_SURFACE
        self._bytes = [b"", unknown.encode(), b"", b""]  # what each id prints
        for i in others:
            piece = processor.id_to_piece(i)
            if processor.is_control(i):
                self._bytes.append(b"")
            elif processor.is_byte(i):
                self._bytes.append(bytes([int(piece[1:-1], 16)]))
            else:
                self._bytes.append(piece.encode())
        self._is_byte = [False] * len(NAMES) + [processor.is_byte(i) for i in others]

    def __len__(self) -> int:
        return len(self._pieces)

    @property
    def vocabulary(self) -> list[str]:
        """The name of every id, in order."""
        return self._pieces

    @property
    def renumbered(self) -> list[int]:
        """Of each id that SentencePiece itself gives, the id here; empty where all are the same."""
        return [] if self._same else self._ours.tolist()

    def encode(self, text: str) -> list[int]:
        """The pieces of a text, without BOS and EOS; none for a blank one."""
        ids = self._processor.encode(self._spaced(text))
        return ids if self._same else self._ours[ids].tolist()

    def encode_batch(self, texts: Iterable[str], num_threads: int = 1) -> list[list[int]]:
        """`encode` of each text, in SentencePiece's own threads."""
        batch = self._processor.encode([self._spaced(text) for text in texts], num_threads=num_threads)
        return batch if self._same else [self._ours[ids].tolist() if ids else ids for ids in batch]

    @cached_property
    def has_nbest(self) -> bool:
        """Whether the model knows several segmentations of a text with their probabilities: whether it is a unigram
        model."""
        return self._can(lambda: self._processor.nbest_encode_as_ids("a", 2))

    @cached_property
    def can_sample(self) -> bool:
        """Whether the model can draw a segmentation."""
        return self._can(lambda: self._processor.encode("a", enable_sampling=True, alpha=0.1, nbest_size=-1))

    def sample(self, text: str, alpha: float, nbest: int = -1, *, seed: int) -> list[int]:
        """The pieces of a text in a segmentation drawn by `seed`, below 2^31; the same for the same seed.

        A BPE model leaves out each merge with probability `alpha`; a unigram model draws among the `nbest` (-1: all)
        segmentations by their probabilities to the power `alpha`.
        """
        sentencepiece.set_random_generator_seed(seed)
        ids = self._processor.encode(self._spaced(text), enable_sampling=True, alpha=alpha, nbest_size=nbest)
        return ids if self._same else self._ours[ids].tolist() if ids else ids

    def _can(self, encode: Callable[[], object]) -> bool:
        try:
            encode()
        except RuntimeError:
            return False
        return True

    def decode(self, ids: Sequence[int]) -> str:
        """One line of text, with single spaces unless the model keeps them; PAD, BOS and EOS print nothing, UNK prints
        UNK_SURFACE."""
        printed = b"".join([self._bytes[i] for i in ids]).decode(errors="replace")
        return self._surface(printed.replace(SPACE, " "))

    def normalize(self, text: str) -> str:
        """The text after encoding and decoding: the model's normalization of it."""
        return self._surface(self._processor.normalize(self._spaced(text)).replace(SPACE, " "))

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """The name of each id: `▁the`, `<0xE2>`, `</s>`."""
        return [self._pieces[i] for i in ids]

    def encode_words(self, text: str) -> EncodedWords:
        """`encode`, with the word of each piece; a piece that is only a space belongs to the word that follows."""
        spaced = self._spaced(text)
        mapped = self._processor.encode(spaced, out_type="offset_mapping")
        ids = self._ours[mapped["ids"]].tolist() if mapped["ids"] else []
        spans = []
        for piece, (begin, end) in zip(mapped["pieces"], mapped["offsets"], strict=True):
            if piece[0] == SPACE:
                begin = max(begin, spaced.rfind(" ", begin, end) + 1)
            # A character that becomes several counts with the last of them: the f of a ligature goes where its i goes.
            spans.append((-1, -1) if begin == end or piece == SPACE else (begin, end))
        return EncodedWords(ids, _words_of(text, spans))

    def decode_words(self, ids: Sequence[int]) -> DecodedWords:
        """`decode`, with the word of each id; -1 for PAD, BOS, EOS, and for all where the text is blank."""
        text, spans = self._print(ids)
        printed = [k for k, i in enumerate(ids) if self._bytes[i]]
        words = [-1] * len(ids)
        for k, word in zip(printed, _words_of(text, [spans[k] for k in printed]), strict=True):
            words[k] = word
        return DecodedWords(self._surface(text), words)

    def _spaced(self, text: str) -> str:
        """The same number of characters; unless the model keeps them, with every kind of space a plain one."""
        if not text.isprintable() or SPACE in text:  # rarely, and most of the time is saved
            text = (_SURROGATES if self._keeps_text else _SPACES).sub(" ", text)
        return "" if text.isspace() else text

    def _surface(self, printed: str) -> str:
        """The text of what pieces print, where SPACE is a plain space."""
        return kept_text(printed) if self._keeps_text else " ".join(printed.split())

    def _print(self, ids: Sequence[int]) -> tuple[str, list[tuple[int, int]]]:
        """The text of ids, spaces as they come, and where in it each begins and ends; (-1, -1) for one that is a space.

        Bytes join into a character at the last of them, so the earlier ones have an empty span where it begins.
        """
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        text, length, spans = [], 0, []
        for i in ids:
            if not self._bytes[i]:
                spans.append((length, length))
                continue
            if not self._is_byte[i]:  # whatever bytes came before are as much of a character as they will ever be
                text.append(decoder.decode(b"", final=True))
                decoder.reset()
                length += len(text[-1])
            text.append(decoder.decode(self._bytes[i]))
            spans.append((-1, -1) if text[-1] == SPACE else (length, length + len(text[-1])))
            length += len(text[-1])
        text.append(decoder.decode(b"", final=True))
        return "".join(text).replace(SPACE, " "), spans


def _words_of(text: str, spans: Sequence[tuple[int, int]]) -> list[int]:
    """The index in `text.split()` of the word each span of characters belongs to; (-1, -1) goes with the span after it.

    A span that holds several words (characters that normalization drops may be among them) belongs to the last; an
    empty one (the first bytes of a character) to the word at its place or, between words, to the word that follows.
    Without words all are -1.
    """
    words_at = [found.span() for found in re.finditer(r"\S+", text)]
    if not words_at:
        return [-1] * len(spans)
    begins = [begin for begin, _ in words_at]
    words: list[int] = []
    following = len(words_at) - 1
    for begin, end in reversed(spans):
        if begin >= 0:
            here = bisect_right(begins, max(begin, end - 1)) - 1  # the last word that begins within the span or before
            if here < 0 or words_at[here][1] <= begin:  # nothing of it is within: the span is space, or empty after it
                here += 1
            following = min(following, here)  # words never go back
        words.append(following)
    return words[::-1]
