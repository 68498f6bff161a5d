"""The translator: translates a stream of lines of any number and length, in order."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from typing import NamedTuple, Protocol

import numpy as np
import torch

from nmt.alignment_head import TranslatorWithHead
from nmt.data.symbols import EOS, NAMES
from nmt.decoding.batching import batches, pad, windows
from nmt.decoding.constraints import FORBIDDEN_IDS
from nmt.decoding.hypotheses import Hypothesis
from nmt.decoding.linking import Ids, link_weights
from nmt.decoding.options import SearchOptions
from nmt.decoding.sampling import sample
from nmt.decoding.search import Searchable, beam_search, greedy_search

# A line with more source pieces has no attention weights: with a beam of 5 they would take gigabytes.
ATTENTION_PIECES = 2048
# All characters that str.splitlines takes for line ends; replaced, so that each line has one line of translation.
_LINE_ENDS = dict.fromkeys(map(ord, "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"), " ")


class Translation(NamedTuple):
    """One translation of one line. For a line without words all is empty and the scores are 0."""

    text: str  # always one line
    score: float  # after length normalization
    log_prob: float  # natural logarithm, summed over tgt_pieces
    src_words: list[str]  # the words of the line
    tgt_words: list[str]  # the words of text
    src_pieces: list[str]  # (S,) the last is "</s>"
    tgt_pieces: list[str]  # (T,) the last is "</s>" if the hypothesis is finished
    weights: np.ndarray  # (T, S) float32; (T, 0) without attention
    src_word_of: list[int]  # (S,) index into src_words, -1 for a piece of no word; empty if attention is off
    tgt_word_of: list[int]  # (T,) index into tgt_words, likewise
    link_weights: np.ndarray | None = None  # (T, S) weights from which words are linked; None: `weights`


class TranslationModel(Protocol):
    """The methods of a model that the translator uses."""

    training: bool

    def for_inference(self, *, fold_memory: bool, rescore_top_k: int) -> Searchable:
        """The object that search uses, valid until the weights change; see
        `nmt.acceleration.inference.InferenceModel`."""
        ...

    @property
    def device(self) -> torch.device: ...


class SourceTokenizer(Protocol):
    """The methods of the source tokenizer that the translator uses."""

    def encode(self, text: str, /) -> list[int]: ...

    def encode_words(self, text: str, /) -> tuple[list[int], list[int]]: ...

    def pieces(self, ids: Sequence[int], /) -> list[str]: ...


class TargetTokenizer(Protocol):
    """The methods of the target tokenizer that the translator uses."""

    def encode(self, text: str, /) -> list[int]: ...

    def decode(self, ids: Sequence[int], /) -> str: ...

    def decode_words(self, ids: Sequence[int], /) -> tuple[str, list[int]]: ...

    def pieces(self, ids: Sequence[int], /) -> list[str]: ...


class TokenizerLike(Protocol):
    """A tokenizer."""

    @property
    def src(self) -> SourceTokenizer: ...

    @property
    def tgt(self) -> TargetTokenizer: ...


class SourceLine(NamedTuple):
    """A tokenized line."""

    words: list[str]
    ids: list[int]  # the last is EOS
    word_of: list[int]  # index into words, -1 for EOS; empty if attention is off
    prefix: list[int]  # the first ids of its translations


class Translator:
    """Translates lines with a model in eval mode, in batches of similar length.

    A batch holds at most batch_size sentences and BATCH_PIECES padded pieces, so a line of 10,000 words is a batch of
    its own. `attention=False` returns neither weights nor the word of each piece. The weights of a very long line are
    far larger than everything else, so a line of more than ATTENTION_PIECES pieces never has weights.
    head: the same model with an alignment head, which then makes the links of translations with attention.
    fold_memory: see `nmt.acceleration.inference.InferenceModel`; None: with more than one hypothesis per sentence.

    Raises ValueError if batch_size is below 1.
    """

    def __init__(
        self,
        model: TranslationModel,
        tokenizer: TokenizerLike,
        search: SearchOptions,
        *,
        batch_size: int = 64,
        attention: bool = True,
        head: TranslatorWithHead | None = None,
        fold_memory: bool | None = None,
    ):
        if batch_size < 1:
            raise ValueError(f"decode.batch_size is {batch_size}: a batch has at least one sentence; try 64")
        self.model = model
        self.tokenizer = tokenizer
        self.search = search
        self.batch_size = batch_size
        self.attention = attention
        self.head = head
        self.fold_memory = fold_memory

    def translate(
        self, lines: Iterable[str], *, prefixes: Iterable[str] | None = None, window: int | None = None, skip: int = 0
    ) -> Iterator[list[Translation]]:
        """The n best translations of each line, in the order of the lines, without their line ends.

        At most `window` lines are read ahead (32 batches by default, fewer if they are long); with 1 each line is
        translated before the next is read. A list may be shorter than nbest; for a line without words it is one empty
        translation. prefixes: the beginning of the translations of each line; its last word may be continued.
        The first `skip` lines, already translated, are skipped, without effect on the translations of the others.
        Raises ValueError if there are fewer prefixes than lines.
        """
        window = 32 * self.batch_size if window is None else window
        assert window >= 1, window
        assert not self.model.training, "dropout would change the translations: call model.eval() first"
        # Search takes at most `beam` tokens of a row, and none of FORBIDDEN_IDS; one more logit is rescored, so that
        # bf16 does not decide which is the last of them.
        beam = 1 if self.search.sampling else self.search.beam
        fold_memory = beam > 1 if self.fold_memory is None else self.fold_memory
        model = self.model.for_inference(fold_memory=fold_memory, rescore_top_k=beam + len(FORBIDDEN_IDS) + 1)
        prepared = (self._prepare(line, prefix) for line, prefix in _with_prefixes(lines, prefixes))
        for lines_ahead in windows(prepared, window, lambda line: len(line.ids) ** 2):
            # The window in which skipping ends is translated whole, so that the batches are the same as without skip.
            if skip < len(lines_ahead):
                yield from self._translate_window(model, lines_ahead)[skip:]
            skip = max(0, skip - len(lines_ahead))

    def _prepare(self, line: str, prefix: str) -> SourceLine:
        begun = self.tokenizer.tgt.encode(prefix) if prefix else []
        if not self.attention:
            return SourceLine(line.split(), [*self.tokenizer.src.encode(line), EOS], [], begun)
        ids, word_of = self.tokenizer.src.encode_words(line)
        return SourceLine(line.split(), [*ids, EOS], [*word_of, -1], begun)

    def _translate_window(self, model: Searchable, lines: list[SourceLine]) -> list[list[Translation]]:
        translations = [[_empty(line)] for line in lines]
        lengths = [len(line.ids) for line in lines]
        # Longest first, lines of equal length in order. Lines without words are left out. Lines too long for attention
        # share no batch with shorter ones.
        order = sorted((row for row, length in enumerate(lengths) if length > 1), key=lambda row: -lengths[row])
        for rows in batches(order, lengths, self.batch_size, apart=ATTENTION_PIECES):
            batch = [lines[row] for row in rows]
            found = self._search_batch(model, batch)
            linked = self._link(batch, found)
            for row, line, best in zip(rows, batch, found, strict=True):
                translations[row] = [self._finish(line, hypothesis, next(linked)) for hypothesis in best]
        return translations

    def _link(self, batch: list[SourceLine], found: list[list[Hypothesis]]) -> Iterator[np.ndarray | None]:
        """The alignment weights of the head for each hypothesis; None without a head."""
        if not self.head or not any(best.weights.size for nbest in found for best in nbest):
            return repeat(None)
        pairs = [Ids(line.ids, each.ids) for line, nbest in zip(batch, found, strict=True) for each in nbest]
        return iter(link_weights(self.head, pairs, self.batch_size))

    def _search_batch(self, model: Searchable, batch: list[SourceLine]) -> list[list[Hypothesis]]:
        src, src_lengths = pad([line.ids for line in batch])
        src, src_lengths = src.to(self.model.device), src_lengths.to(self.model.device)
        prefixes = pad([line.prefix for line in batch])[0].to(self.model.device)
        asked = {"attention": self.attention and src.shape[1] <= ATTENTION_PIECES, "prefixes": prefixes}
        if self.search.sampling:
            return sample(model, src, src_lengths, self.search, **asked)
        if self.search.beam == 1:
            return [[best] for best in greedy_search(model, src, src_lengths, self.search, **asked)]
        return beam_search(model, src, src_lengths, self.search, **asked)

    def _finish(self, line: SourceLine, hypothesis: Hypothesis, linked: np.ndarray | None) -> Translation:
        tgt, ids = self.tokenizer.tgt, hypothesis.ids
        text, tgt_word_of = tgt.decode_words(ids) if self.attention else (tgt.decode(ids), [])
        text = text.translate(_LINE_ENDS)
        return Translation(
            text=text,
            score=hypothesis.score,
            log_prob=hypothesis.log_prob,
            src_words=line.words,
            tgt_words=text.split(),
            src_pieces=[*self.tokenizer.src.pieces(line.ids[:-1]), NAMES[EOS]],
            tgt_pieces=tgt.pieces(ids),
            weights=hypothesis.weights,
            src_word_of=line.word_of,
            tgt_word_of=tgt_word_of,
            link_weights=linked,
        )


def _with_prefixes(lines: Iterable[str], prefixes: Iterable[str] | None) -> Iterator[tuple[str, str]]:
    """Each line with its prefix, "" if there are no prefixes. Raises ValueError if there are too few."""
    begun = repeat("") if prefixes is None else iter(prefixes)
    for number, line in enumerate(lines):
        prefix = next(begun, None)
        if prefix is None:
            raise ValueError(f"there are more lines than the {number} prefixes: give one prefix for each line")
        yield line, prefix


def _empty(line: SourceLine) -> Translation:
    return Translation("", 0.0, 0.0, line.words, [], [], [], np.zeros((0, 0), np.float32), [], [])
