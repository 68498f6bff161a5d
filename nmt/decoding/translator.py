"""The translator: a stream of lines to a stream of translations, in order, for any number and length of lines."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from nmt.data.symbols import EOS, NAMES, PAD
from nmt.decoding.hypotheses import Hypothesis
from nmt.decoding.search import FORBIDDEN_IDS, LengthPenalty, Searchable, beam_search, check_options, greedy_search

# Padded source pieces a batch: 64 sentences of 128. With a beam of 5 and 512-wide keys a step then needs about 90 MB.
BATCH_PIECES = 8192
# Numbers in the attention matrices that wait in a window, if targets are as long as sources: 128 MB.
WINDOW_WEIGHTS = 2**25
# Source pieces beyond which a line comes without its weights: with a beam of 5 it would need gigabytes for them.
ATTENTION_PIECES = 2048
# Whatever some reader takes for the end of a line (str.splitlines), so that one line in is one line out.
_LINE_ENDS = dict.fromkeys(map(ord, "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"), " ")


class Translation(NamedTuple):
    """One translation of one line. All is empty, and the scores are 0, for a line without words."""

    text: str  # always one line
    score: float  # after length normalization
    log_prob: float  # natural logarithm, summed over tgt_pieces
    src_words: list[str]  # as in the line
    tgt_words: list[str]  # as in text
    src_pieces: list[str]  # S of them, "</s>" last
    tgt_pieces: list[str]  # T of them, "</s>" last if the hypothesis is finished
    weights: np.ndarray  # (T, S) float32; (T, 0) for a model without attention, or if none was asked for
    src_word_of: list[int]  # (S,) index into src_words, -1 for what is of none; empty if no attention was asked for
    tgt_word_of: list[int]  # (T,) index into tgt_words, likewise


class TranslationModel(Protocol):
    """What the translator asks of a model."""

    training: bool

    def for_inference(self, *, fold_memory: bool, rescore_top_k: int) -> Searchable:
        """What search asks of a model, good until its weights change; see
        `nmt.acceleration.inference.InferenceModel`."""
        ...

    @property
    def device(self) -> torch.device: ...


class SourceTokenizer(Protocol):
    """What the translator asks of the tokenizer's source side."""

    def encode(self, text: str, /) -> list[int]: ...

    def encode_words(self, text: str, /) -> tuple[list[int], list[int]]: ...

    def pieces(self, ids: Sequence[int], /) -> list[str]: ...


class TargetTokenizer(Protocol):
    """What the translator asks of the tokenizer's target side."""

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
    """A line on its way to the model."""

    words: list[str]
    ids: list[int]  # EOS last
    word_of: list[int]  # -1 for EOS; empty if no attention was asked for


class Translator:
    """Translates lines with a model in eval mode, in batches of like length.

    A batch holds at most batch_size sentences and BATCH_PIECES padded pieces, so a line of 10,000 words goes alone.
    max_length is the most target pieces of a translation, EOS included; None means twice the source and ten more.
    `attention=False` leaves the weights behind, and which word each piece belongs to. The weights of a very long line
    are far larger than all the rest, so a line of more than ATTENTION_PIECES comes without them in any case.

    Raises ValueError for options that make no sense, by their names on the command line.
    """

    def __init__(
        self,
        model: TranslationModel,
        tokenizer: TokenizerLike,
        *,
        beam: int = 5,
        nbest: int = 1,
        batch_size: int = 64,
        max_length: int | None = None,
        length_penalty: LengthPenalty = LengthPenalty.average,
        length_penalty_alpha: float = 1.0,
        attention: bool = True,
    ):
        check_options(beam=beam, nbest=nbest, length_penalty_alpha=length_penalty_alpha)
        if batch_size < 1:
            raise ValueError(f"decode.batch_size is {batch_size}: a batch has at least one sentence; try 64")
        if max_length is not None and max_length < 1:
            raise ValueError(f"decode.max_length is {max_length}: a translation needs one piece at least; try 200")
        self.model = model
        self.tokenizer = tokenizer
        self.beam = beam
        self.nbest = nbest
        self.batch_size = batch_size
        self.max_length = max_length
        self.length_penalty = length_penalty
        self.length_penalty_alpha = length_penalty_alpha
        self.attention = attention

    def translate(
        self, lines: Iterable[str], *, window: int | None = None, skip: int = 0
    ) -> Iterator[list[Translation]]:
        """The n best translations of each line, in the order of the lines, without their line ends.

        At most `window` lines are read ahead (32 batches by default, fewer if they are long); with 1 each line is
        answered before the next is read. A list may be shorter than nbest; without words it is one empty translation.
        The first `skip` lines, translated already, are left out; the others come out as if they had not been.
        """
        window = 32 * self.batch_size if window is None else window
        assert window >= 1, window
        assert not self.model.training, "dropout would change the translations: call model.eval() first"
        # Search picks from the `beam + len(FORBIDDEN_IDS)` largest; one more, so that the last of them is not picked by
        # bf16.
        model = self.model.for_inference(fold_memory=self.beam > 1, rescore_top_k=self.beam + len(FORBIDDEN_IDS) + 1)
        for lines_ahead in _windows(map(self._prepare, lines), window):
            # The window in which skipping ends is searched whole, so that each line is in the batch it would be in.
            if skip < len(lines_ahead):
                yield from self._translate_window(model, lines_ahead)[skip:]
            skip = max(0, skip - len(lines_ahead))

    def _prepare(self, line: str) -> SourceLine:
        if not self.attention:
            return SourceLine(line.split(), [*self.tokenizer.src.encode(line), EOS], [])
        ids, word_of = self.tokenizer.src.encode_words(line)
        return SourceLine(line.split(), [*ids, EOS], [*word_of, -1])

    def _translate_window(self, model: Searchable, lines: list[SourceLine]) -> list[list[Translation]]:
        translations = [[_empty(line)] for line in lines]
        for rows in _batches(lines, self.batch_size):
            batch = [lines[row] for row in rows]
            for row, line, best in zip(rows, batch, self._search(model, batch), strict=True):
                translations[row] = [self._finish(line, hypothesis) for hypothesis in best]
        return translations

    def _search(self, model: Searchable, batch: list[SourceLine]) -> list[list[Hypothesis]]:
        src, src_lengths = _pad([line.ids for line in batch])
        limits = 2 * src_lengths + 10 if self.max_length is None else torch.full_like(src_lengths, self.max_length)
        sentences = src.to(self.model.device), src_lengths.to(self.model.device)
        options = {
            "max_length": limits,
            "length_penalty": self.length_penalty,
            "length_penalty_alpha": self.length_penalty_alpha,
            "attention": self.attention and src.shape[1] <= ATTENTION_PIECES,
        }
        if self.beam == 1:
            return [[best] for best in greedy_search(model, *sentences, **options)]
        return beam_search(model, *sentences, beam=self.beam, nbest=self.nbest, **options)

    def _finish(self, line: SourceLine, hypothesis: Hypothesis) -> Translation:
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
        )


def _empty(line: SourceLine) -> Translation:
    return Translation("", 0.0, 0.0, line.words, [], [], [], np.zeros((0, 0), np.float32), [], [])


def _windows(lines: Iterable[SourceLine], max_size: int) -> Iterator[list[SourceLine]]:
    """Consecutive lines, at most `max_size` and about WINDOW_WEIGHTS numbers of attention a window."""
    window, weights = [], 0
    for line in lines:
        window.append(line)
        weights += len(line.ids) ** 2
        if len(window) == max_size or weights >= WINDOW_WEIGHTS:
            yield window
            window, weights = [], 0
    if window:
        yield window


def _batches(lines: list[SourceLine], batch_size: int) -> Iterator[list[int]]:
    """Rows of the lines that have pieces, longest first, batch by batch; equals stay in order."""
    batch: list[int] = []
    for row in sorted(range(len(lines)), key=lambda row: -len(lines[row].ids)):
        if len(lines[row].ids) == 1:  # nothing but EOS, and so are all that follow
            break
        longest = len(lines[batch[0]].ids) if batch else 0
        without = (
            longest > ATTENTION_PIECES >= len(lines[row].ids)
        )  # these come without attention, and this one with it
        if batch and (len(batch) == batch_size or (len(batch) + 1) * longest > BATCH_PIECES or without):
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def _pad(sentences: list[list[int]]) -> tuple[Tensor, Tensor]:
    """ids (B, S) with PAD behind each sentence, and lengths (B,)."""
    lengths = torch.tensor([len(ids) for ids in sentences])
    filled = torch.tensor(list(chain(*sentences)))
    padded = torch.full((len(sentences), int(lengths.max())), PAD)
    padded[torch.arange(padded.shape[1]) < lengths.unsqueeze(1)] = filled
    return padded, lengths
