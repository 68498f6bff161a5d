"""Forced decoding: attention and log-probability of given translations."""

import math
from collections.abc import Iterable, Iterator
from itertools import repeat
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from nmt.alignment_head import TranslatorWithHead
from nmt.corpus import Pair
from nmt.data.symbols import BOS, EOS, NAMES, PAD
from nmt.decoding import batching
from nmt.decoding.batching import batches, pad, windows
from nmt.decoding.posterior import posterior_attention
from nmt.decoding.translator import Translation


class _Given(NamedTuple):
    """A pair as ids, both sides ending in EOS; for each piece the index of its word, -1 for EOS."""

    pair: Pair
    src: list[int]
    src_word_of: list[int]
    tgt: list[int]
    tgt_word_of: list[int]

    @property
    def blank(self) -> bool:
        return len(self.src) == len(self.tgt) == 1

    @property
    def longer(self) -> int:
        return max(len(self.src), len(self.tgt))

    @property
    def weights(self) -> int:
        return len(self.src) * len(self.tgt)

    @property
    def too_long(self) -> bool:
        return self.weights > batching.WINDOW_WEIGHTS


@torch.inference_mode()
def force_decode(
    model,
    tokenizer,
    pairs: Iterable[Pair],
    *,
    batch_size: int = 64,
    score: bool = True,
    posterior: bool = False,
    head: TranslatorWithHead | None = None,
    skip: int = 0,
) -> Iterator[Translation]:
    """The Translation of each given pair, in order, as if search had found it; `model` is in eval mode.

    Row t of its weights is the attention at the step that predicts piece t; log_prob is the sum over the target pieces.
    A pair that is blank on both sides is an empty translation. posterior: whether the weights are the
    `posterior_attention`. head: the model with an alignment head, which then computes the `link_weights`.
    score=False skips the output layer, which takes most of the time: score and log_prob are then NaN. A pair whose
    product of piece counts exceeds WINDOW_WEIGHTS would not fit into memory: its weights are (T, 0). The first `skip`
    pairs are skipped, without effect on the others.

    Pairs of similar length share a batch, inside a window of at most 32 batches and WINDOW_WEIGHTS attention weights.
    """
    assert not model.training, "dropout would change what is found: call model.eval() first"
    by = _By(model, model.for_inference() if posterior else None, head)
    for window in windows((_encode(tokenizer, pair) for pair in pairs), 32 * batch_size, lambda given: given.weights):
        if skip >= len(window):
            skip -= len(window)
            continue
        found = [_without_weights(tokenizer, given) for given in window]
        # The pairs that are decoded, longest first; pairs of equal length stay in order.
        fitting = (row for row, given in enumerate(window) if not (given.blank or given.too_long))
        order = sorted(fitting, key=lambda row: (-len(window[row].tgt), -len(window[row].src)))
        for rows in batches(order, [given.longer for given in window], batch_size):
            batch = [window[row] for row in rows]
            for row, forced in zip(rows, _force_batch(by, tokenizer, batch, score), strict=True):
                found[row] = forced
        for row, given in enumerate(window):
            if score and given.too_long:
                sides = (pad([ids])[0].to(model.device) for ids in (given.src, [BOS, *given.tgt[:-1]], given.tgt))
                total = float(log_probs_by_steps(model, *sides))
                found[row] = found[row]._replace(score=total / len(given.tgt), log_prob=total)
        yield from found[skip:]
        skip = 0


def _encode(tokenizer, pair: Pair) -> _Given:
    src, src_word_of = tokenizer.src.encode_words(pair.src)
    tgt, tgt_word_of = tokenizer.tgt.encode_words(pair.tgt)
    return _Given(pair, [*src, EOS], [*src_word_of, -1], [*tgt, EOS], [*tgt_word_of, -1])


class _By(NamedTuple):
    """The model; the model for single steps, if posterior attention is wanted; the model with its head, if any."""

    model: Any
    stepper: Any
    head: TranslatorWithHead | None


def _force_batch(by: _By, tokenizer, batch: list[_Given], score: bool) -> Iterator[Translation]:
    model = by.model
    src, src_lengths = pad([given.src for given in batch])
    tgt_in, _ = pad([[BOS, *given.tgt[:-1]] for given in batch])
    tgt_out, _ = pad([given.tgt for given in batch])
    src, src_lengths, tgt_in, tgt_out = (each.to(model.device) for each in (src, src_lengths, tgt_in, tgt_out))
    attention, linked, totals = None, repeat(None), [math.nan] * len(batch)
    if by.head:
        attention, log_weights = by.head.align(src, src_lengths, tgt_in, tgt_out)
        linked = log_weights.exp().cpu().numpy()
    if score:
        log_probs, attention = model.log_probs(src, src_lengths, tgt_in, tgt_out)
        totals = log_probs.double().sum(1).tolist()
    elif attention is None:
        attention = model.features(src, src_lengths, tgt_in).weights
    if by.stepper:
        attention = posterior_attention(by.stepper, src, src_lengths, tgt_in, tgt_out)
    weights = attention.float().cpu().numpy()
    for given, total, matrix, links in zip(batch, totals, weights, linked, strict=False):
        bare = _without_weights(tokenizer, given)
        rows, columns = len(given.tgt), len(given.src)
        # Copies, as views would keep the arrays of the whole batch in memory.
        own = None if links is None else links[:rows, :columns].copy()
        matrix = matrix[:rows, :columns].copy()
        yield bare._replace(score=total / rows, log_prob=total, weights=matrix, link_weights=own)


@torch.inference_mode()
def log_probs_by_steps(model, src: Tensor, tgt_in: Tensor, tgt_out: Tensor) -> Tensor:
    """The log-probability of each target tgt_out (B, T) given src (B, S), float64 (B,), computed step by step.

    Slower than teacher forcing, but memory grows with S + T, as the weights (B, T, S) are not stored. Sentences are
    padded with PAD.
    """
    stepper = model.for_inference()
    source, state = stepper.encode(src, (src != PAD).sum(1))
    totals = torch.zeros(len(src), dtype=torch.float64, device=src.device)
    for tokens, words in zip(tgt_in.t(), tgt_out.t(), strict=True):
        logits, state, _ = stepper.step(tokens, state, source)
        log_probs = logits.float().log_softmax(-1).gather(1, words.unsqueeze(1)).squeeze(1)
        totals += log_probs.double() * (words != PAD)
    return totals


def _without_weights(tokenizer, given: _Given) -> Translation:
    pair = given.pair
    if given.blank:
        words, nothing = (pair.src.split(), pair.tgt.split()), np.zeros((0, 0), np.float32)
        return Translation(pair.tgt, 0.0, 0.0, *words, [], [], nothing, [], [])
    return Translation(
        text=pair.tgt,
        score=math.nan,
        log_prob=math.nan,
        src_words=pair.src.split(),
        tgt_words=pair.tgt.split(),
        src_pieces=[*tokenizer.src.pieces(given.src[:-1]), NAMES[EOS]],
        tgt_pieces=[*tokenizer.tgt.pieces(given.tgt[:-1]), NAMES[EOS]],
        weights=np.zeros((len(given.tgt), 0), np.float32),
        src_word_of=given.src_word_of,
        tgt_word_of=given.tgt_word_of,
    )
