"""A SentencePiece model with this program's ids: text to pieces and back without loss, and the word of each piece."""

import codecs
import random
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
import sentencepiece

from nmt.data.symbols import BOS, EOS, NAMES, PAD, UNK, UNK_SURFACE
from nmt.data.tokenizer.normalization import SPACE, keeps_text, kept_text
from nmt.subword_sampling import SegmentationSampler

# Characters replaced by a plain space before SentencePiece, one for one, so that offsets are unchanged: those that
# str.split splits at (SentencePiece drops or keeps some of them), the space symbol, and lone surrogates (not
# encodable). A model that keeps all characters gets them all but the surrogates.
_SPACES = re.compile(r"[^\S ]|[\u2581\ud800-\udfff]")
_SURROGATES = re.compile(r"[\ud800-\udfff]")
_REMEMBERED_WORDS = 2**16


class EncodedWords(NamedTuple):
    """The pieces of a text, and for each the index of its word in `text.split()`."""

    ids: list[int]
    words: list[int]


class DecodedWords(NamedTuple):
    """A text, and for each id the index of its word in `text.split()`; -1 if the id prints nothing."""

    text: str
    words: list[int]


class Subwords:
    """A SentencePiece model with the ids of this program: PAD, UNK, BOS, EOS are 0 to 3, then its other pieces in
    order.

    For any text x, with a model that has byte fallback, `decode(encode(x)) == normalize(x)`. For a model trained here
    with Normalization.identity, `normalize(x) == x` for every line x that is not blank.
    """

    def __init__(self, model: bytes, source: str = "the model"):
        """model: the content of a .model file. Raises ValueError with the name `source` if it is not a valid model."""
        sentencepiece.set_min_log_level(3)  # turns off its log: errors are raised as exceptions
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
        self._ours = np.full(processor.get_piece_size(), UNK, dtype=np.int32)  # SentencePiece's id -> the id here
        self._ours[others] = np.arange(len(NAMES), len(NAMES) + len(others))
        for ours, id_ in zip((PAD, UNK, BOS, EOS), theirs, strict=True):
            if id_ >= 0:
                self._ours[id_] = ours
        self._same = np.array_equal(self._ours, np.arange(len(self._ours)))
        self._pieces = [*NAMES, *(processor.id_to_piece(i) for i in others)]
        # The unknown piece of a word model is a whole word with the space before it, of other models some characters.
        whole = processor.encode("\U0010fffd", out_type=str)[:1] != [SPACE]
        unknown = (SPACE if whole else "") + UNK_SURFACE
        self._bytes = [b"", unknown.encode(), b"", b""]  # the bytes that each id prints
        for i in others:
            piece = processor.id_to_piece(i)
            if processor.is_control(i):
                self._bytes.append(b"")
            elif processor.is_byte(i):
                self._bytes.append(bytes([int(piece[1:-1], 16)]))
            else:
                self._bytes.append(piece.encode())
        self._is_byte = [False] * len(NAMES) + [processor.is_byte(i) for i in others]
        self._ids_of_word: dict[str, list[int]] = {}

    def __len__(self) -> int:
        return len(self._pieces)

    @property
    def vocabulary(self) -> list[str]:
        """The name of every id, in order."""
        return self._pieces

    @property
    def renumbered(self) -> list[int]:
        """The id here for each id of SentencePiece; empty if all are the same."""
        return [] if self._same else self._ours.tolist()

    def encode(self, text: str) -> list[int]:
        """The ids of a text, without BOS and EOS; none for a blank text."""
        ids = self._processor.encode(self._spaced(text))
        return ids if self._same else self._ours[ids].tolist()

    def encode_batch(self, texts: Iterable[str], num_threads: int = 1) -> list[list[int]]:
        """`encode` of each text, in SentencePiece's threads."""
        batch = self._processor.encode([self._spaced(text) for text in texts], num_threads=num_threads)
        return batch if self._same else [self._ours[ids].tolist() if ids else ids for ids in batch]

    @cached_property
    def has_nbest(self) -> bool:
        """Whether the model has probabilities of several segmentations of a text: whether it is a unigram model."""
        return self._can(lambda: self._processor.nbest_encode_as_ids("a", 2))

    @cached_property
    def can_sample(self) -> bool:
        """Whether the model can sample a segmentation."""
        return self._can(lambda: self._processor.encode("a", enable_sampling=True, alpha=0.1, nbest_size=-1))

    def sample(self, text: str, alpha: float, nbest: int = -1, *, seed: int) -> list[int]:
        """The ids of a text in a sampled segmentation, which is the same for the same `seed` in every process.

        A BPE model leaves out each merge with probability `alpha`; a unigram model samples from the `nbest` (-1: all)
        segmentations with their probabilities to the power `alpha`. If a segmentation has an unknown piece, so that it
        would lose text, the result is that of `encode`.
        """
        generator, spaced = random.Random(seed), self._spaced(text)
        if not self.has_nbest:
            ids = self._sampler.bpe(spaced, alpha, generator)
        elif nbest == -1:
            ids = self._sampler.unigram(spaced, alpha, generator)
        else:
            ids = self._sampler.nbest(spaced, alpha, nbest, generator)
        ours = ids if self._same else self._ours[ids].tolist() if ids else ids
        return self.encode(text) if UNK in ours else ours

    @cached_property
    def _sampler(self) -> SegmentationSampler:
        return SegmentationSampler(self._processor)

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
        """The text after encoding and decoding: the model's normalization of the text."""
        return self._surface(self._processor.normalize(self._spaced(text)).replace(SPACE, " "))

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """The name of each id: `▁the`, `<0xE2>`, `</s>`."""
        return [self._pieces[i] for i in ids]

    def encode_words(self, text: str) -> EncodedWords:
        """`encode`, with the word of each piece; a piece that is only a space belongs to the next word."""
        parts = text.split(" ")
        if not self._encodes_words_apart or not text.isprintable() or SPACE in text or "" in parts:
            return self._encode_with_offsets(text)
        ids: list[int] = []
        words: list[int] = []
        for index, word in enumerate(parts):
            of_word = self._ids_of_word.get(word)
            if of_word is None:
                if len(self._ids_of_word) >= _REMEMBERED_WORDS:
                    self._ids_of_word.clear()
                of_word = self._ids_of_word[word] = self.encode(word)
            ids += of_word
            words += [index] * len(of_word)
        return EncodedWords(ids, words)

    @cached_property
    def _encodes_words_apart(self) -> bool:
        """Whether the pieces of words with single spaces between them are those of each word encoded alone. A unigram
        model adds up the scores of the whole text, so rounding may choose another segmentation."""
        plain = self._processor.normalize("a b") == f"{SPACE}a{SPACE}b"
        within_words = SPACE in self._pieces and not any(SPACE in piece[1:] for piece in self._pieces)
        return plain and within_words and not self.has_nbest

    def _encode_with_offsets(self, text: str) -> EncodedWords:
        """`encode_words` of any text: encodes all of it, and finds the word of each piece by its offsets."""
        spaced = self._spaced(text)
        mapped = self._processor.encode(spaced, out_type="offset_mapping")
        ids = self._ours[mapped["ids"]].tolist() if mapped["ids"] else []
        spans = []
        for piece, (begin, end) in zip(mapped["pieces"], mapped["offsets"], strict=True):
            if piece[0] == SPACE:
                begin = max(begin, spaced.rfind(" ", begin, end) + 1)
            # A character that is normalized to several belongs to the last of them: the f of a ligature to the word of
            # its i.
            spans.append((-1, -1) if begin == end or piece == SPACE else (begin, end))
        return EncodedWords(ids, _words_of(text, spans))

    def decode_words(self, ids: Sequence[int]) -> DecodedWords:
        """`decode`, with the word of each id; -1 for PAD, BOS, EOS, and for all ids if the text is blank."""
        text, spans = self._print(ids)
        printed = [k for k, i in enumerate(ids) if self._bytes[i]]
        words = [-1] * len(ids)
        for k, word in zip(printed, _words_of(text, [spans[k] for k in printed]), strict=True):
            words[k] = word
        return DecodedWords(self._surface(text), words)

    def _spaced(self, text: str) -> str:
        """Replaces every kind of space by a plain one, unless the model keeps them; the length is unchanged."""
        if not text.isprintable() or SPACE in text:  # rare: the test saves most of the time
            text = (_SURROGATES if self._keeps_text else _SPACES).sub(" ", text)
        return "" if text.isspace() else text

    def _surface(self, printed: str) -> str:
        """The text of printed pieces, with SPACE as a plain space."""
        return kept_text(printed) if self._keeps_text else " ".join(printed.split())

    def _print(self, ids: Sequence[int]) -> tuple[str, list[tuple[int, int]]]:
        """The text of ids, spaces included, and the begin and end of each id in it; (-1, -1) for an id that is a space.

        Bytes form a character at the last of them: the earlier ones have an empty span at its begin.
        """
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        text, length, spans = [], 0, []
        for i in ids:
            if not self._bytes[i]:
                spans.append((length, length))
                continue
            if not self._is_byte[i]:  # a piece that is not a byte ends any incomplete character
                text.append(decoder.decode(b"", final=True))
                decoder.reset()
                length += len(text[-1])
            text.append(decoder.decode(self._bytes[i]))
            spans.append((-1, -1) if text[-1] == SPACE else (length, length + len(text[-1])))
            length += len(text[-1])
        text.append(decoder.decode(b"", final=True))
        return "".join(text).replace(SPACE, " "), spans


def _words_of(text: str, spans: Sequence[tuple[int, int]]) -> list[int]:
    """The index in `text.split()` of the word of each span of characters; (-1, -1) belongs to the word of the next
    span.

    A span of several words (possibly with characters that normalization drops) belongs to the last; an empty span (the
    first bytes of a character) to the word at its position or, between words, to the next word. If there are no words,
    all are -1.
    """
    words_at = [found.span() for found in re.finditer(r"\S+", text)]
    if not words_at:
        return [-1] * len(spans)
    begins = [begin for begin, _ in words_at]
    words: list[int] = []
    following = len(words_at) - 1
    for begin, end in reversed(spans):
        if begin >= 0:
            here = bisect_right(begins, max(begin, end - 1)) - 1  # the last word that begins before or in the span
            if here < 0 or words_at[here][1] <= begin:  # the word does not overlap the span, which is a space or empty
                here += 1
            following = min(following, here)  # the indices of words never decrease
        words.append(following)
    return words[::-1]
