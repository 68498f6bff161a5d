"""Samples segmentations of a text with the pieces and scores of a SentencePiece model.

SentencePiece's own sampling, from version 0.2.2, differs between processes for the same seed, and after resuming.
"""

import heapq
import math
import random
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple

import sentencepiece

_SPACE = "\u2581"  # SentencePiece's symbol
_USER_DEFINED = 4  # of SentencePiece's types of pieces
_CACHED_WORDS = 2**17  # and with BPE-dropout, the ways to leave out merges of a word that have been drawn
_CACHED_LENGTH = 32  # characters: longer words, and sentences without spaces, hardly repeat
_PENALTY = 10.0  # of an unknown character: its score is the lowest score of a piece, less this


class _Incoming(NamedTuple):
    """The pieces that end at a place of a text: where each begins, its ids, and the logarithm of the sum over all
    segmentations that end with it."""

    begins: list[int]
    ids: list[list[int]]
    weights: list[float]


class SegmentationSampler:
    """Samples segmentations of a text, as ids of the model, by a generator. User-defined pieces are never divided."""

    def __init__(self, processor: sentencepiece.SentencePieceProcessor):
        self._processor = processor
        ids = range(processor.get_piece_size())
        left_out = (processor.is_unknown, processor.is_control, processor.is_unused, processor.is_byte)
        self._ids = {processor.id_to_piece(i): i for i in ids if not any(kind(i) for kind in left_out)}
        self._bytes = {int(processor.id_to_piece(i)[1:-1], 16): i for i in ids if processor.is_byte(i)}
        self._later_bytes = {i for byte, i in self._bytes.items() if 0x80 <= byte < 0xC0}  # of a character in UTF-8
        self._scores = {piece: processor.get_score(i) for piece, i in self._ids.items()}
        self._unknown = min(self._scores.values(), default=0.0) - _PENALTY
        self._own_ids = _user_defined(processor.serialized_model_proto())
        self._own = {processor.id_to_piece(i) for i in self._own_ids}
        self._symbols = re.compile("|".join([*map(re.escape, sorted(self._own, key=len)[::-1]), "."]), re.DOTALL)
        self._longest = max(map(len, self._ids), default=1)
        apart = not any(_SPACE in piece[1:] for piece in self._ids)
        self._word = re.compile(f".[^{_SPACE}]*" if apart else ".+", re.DOTALL)
        self._cached_lattice = lru_cache(_CACHED_WORDS)(self._lattice)
        self._cached_merged = lru_cache(_CACHED_WORDS)(lambda word, kept: self._merged(word, iter(kept)))

    def bpe(self, text: str, dropout: float, generator: random.Random) -> list[int]:
        """BPE-dropout: leaves out each merge with probability `dropout`, and does not try it again, as SentencePiece.

        # Provilkov et al. (2020), algorithm 1
        """
        log_kept = math.log1p(-dropout) if dropout < 1 else -math.inf

        def kept() -> float:
            """The number of merges before the next that is left out, which has a geometric distribution."""
            return math.log(1 - generator.random()) // log_kept if dropout else math.inf

        found: list[int] = []
        for word in self._words(text):
            if len(word) > _CACHED_LENGTH:
                found += self._merged(word, iter(kept, None))[0]
                continue
            before: tuple[float, ...] = ()
            ids, merges = self._cached_merged(word, before)
            while (count := kept()) < merges:
                before += (count,)
                ids, merges = self._cached_merged(word, before)
            found += ids
        return found

    def _merged(self, word: str, kept: Iterator[float]) -> tuple[list[int], int]:
        """-> the ids of a word, and its number of merges after the last that is left out. kept: the numbers of merges
        before the first that is left out, between it and the second, and so on."""
        symbols = self._symbols.findall(word)
        before, after = list(range(-1, len(symbols) - 1)), list(range(1, len(symbols) + 1))
        merges: list[tuple[float, int, int, str]] = []

        def add(left: int, right: int) -> None:
            if left < 0 or right >= len(symbols) or symbols[left] in self._own or symbols[right] in self._own:
                return
            merged = symbols[left] + symbols[right]
            if merged in self._ids:
                heapq.heappush(merges, (-self._scores[merged], left, right, merged))

        for left in range(len(symbols) - 1):
            add(left, left + 1)
        count, left_out = 0, next(kept, None)
        while merges:
            _, left, right, merged = heapq.heappop(merges)
            if not symbols[left] or not symbols[right] or symbols[left] + symbols[right] != merged:  # outdated
                continue
            if count == left_out:
                count, left_out = 0, next(kept, None)
                continue
            count += 1
            symbols[left], symbols[right] = merged, ""
            after[left] = after[right]
            if after[left] < len(symbols):
                before[after[left]] = left
            add(before[left], left)
            add(left, after[left])
        return [i for symbol in symbols if symbol for i in self._ids_of(symbol)], count

    def unigram(self, text: str, alpha: float, generator: random.Random) -> list[int]:
        """A segmentation, with a probability proportional to its own in the model to the power `alpha`.

        # Kudo (2018), 3.2, over all segmentations: sums from the beginning, then sampling from the end
        """
        found: list[int] = []
        for word in self._words(text):
            lattice = (self._lattice if len(word) > _CACHED_LENGTH else self._cached_lattice)(word, alpha)
            pieces: list[list[int]] = []
            end = len(lattice) - 1
            while end:
                begins, ids, weights = lattice[end]
                place = _draw(weights, generator)
                pieces.append(ids[place])
                end = begins[place]
            found += [i for piece in reversed(pieces) for i in piece]
        return found

    def _lattice(self, word: str, alpha: float) -> list["_Incoming"]:
        """The pieces that end at each place of a word."""
        symbols = self._symbols.findall(word)
        lattice = [_Incoming([], [], []) for _ in range(len(symbols) + 1)]
        for begin in range(len(symbols)):
            total = _log_sum(lattice[begin].weights) if begin else 0.0
            for end, score in self._pieces_from(symbols, begin):
                begins, ids, weights = lattice[end]
                begins.append(begin)
                ids.append(self._ids_of("".join(symbols[begin:end])))
                weights.append(total + alpha * score)
        return lattice

    def nbest(self, text: str, alpha: float, count: int, generator: random.Random) -> list[int]:
        """One of the `count` best segmentations of a unigram model, with a probability as in `unigram`."""
        best: list[list[int]] = self._processor.nbest_encode_as_ids(text, count)
        if self._own:
            whole = sum(symbol in self._own for word in self._words(text) for symbol in self._symbols.findall(word))
            best = [ids for ids in best if whole == sum(i in self._own_ids for i in ids)] or best[:1]
        return best[_draw([alpha * self._score(ids) for ids in best], generator)] if best else []

    def _words(self, text: str) -> list[str]:
        """The words of a text after normalization, each with the space before it. One, if a piece has several words."""
        return self._word.findall(self._processor.normalize(text))

    def _pieces_from(self, symbols: Sequence[str], begin: int) -> Iterator[tuple[int, float]]:
        """The end and score of each piece that begins at a place; an unknown character is a piece of its own."""
        piece, end = symbols[begin], begin + 1
        if piece not in self._ids:
            yield end, self._unknown
        while True:
            if piece in self._scores:
                yield end, self._scores[piece]
            divided = end == len(symbols) or symbols[end] in self._own or piece in self._own
            if divided or len(piece) == self._longest:
                return
            piece += symbols[end]
            end += 1

    def _ids_of(self, piece: str) -> list[int]:
        """The id of a piece, or those of the bytes of an unknown character."""
        if piece in self._ids:
            return [self._ids[piece]]
        unknown = self._processor.unk_id()
        return [self._bytes.get(byte, unknown) for byte in piece.encode()] if self._bytes else [unknown]

    def _score(self, ids: list[int]) -> float:
        """The logarithm of the probability of a segmentation, up to a constant."""
        counted = [i for i in ids if i not in self._later_bytes]
        return sum(self._scores.get(piece, self._unknown) for piece in self._processor.id_to_piece(counted))


def _log_sum(values: Sequence[float]) -> float:
    largest = max(values)
    return largest + math.log(sum(math.exp(value - largest) for value in values))


def _draw(log_weights: Sequence[float], generator: random.Random) -> int:
    """An index, with a probability proportional to the exponential of its weight."""
    largest = max(log_weights)
    totals = list(accumulate(math.exp(weight - largest) for weight in log_weights))
    return bisect_right(totals[:-1], generator.random() * totals[-1])


def _user_defined(model: bytes) -> set[int]:
    """The ids of the user-defined pieces of a .model file, which SentencePiece's Python interface does not give."""
    pieces = [bytes(content) for number, content in _fields(model) if number == 1]
    return {i for i, piece in enumerate(pieces) if (3, _USER_DEFINED) in _fields(piece)}


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The number and value of each field of a protocol buffer."""
    place = 0

    def varint() -> int:
        nonlocal place
        value = shift = 0
        while (byte := message[place]) >= 128:
            place, value, shift = place + 1, value | (byte & 127) << shift, shift + 7
        place += 1
        return value | byte << shift

    while place < len(message):
        number, kind = divmod(varint(), 8)
        if kind == 0:
            yield number, varint()
        else:
            width = varint() if kind == 2 else {1: 8, 5: 4}[kind]
            yield number, message[place : place + width]
            place += width
