"""Greedy search and beam search for the best translations of a batch of source sentences.

Search uses four methods: `encode` and `step` of a model, and `select(rows)` of the Source and of the State. Any object
with these can be searched, also an ensemble. Shapes: B sentences, K places of the beam, S source length, T target
length, V vocabulary, N = B * P rows of a step; P is 1 at the first step, then K. The rows of a sentence are adjacent
and share one row of Source, which is never copied.

Tensors of width V stay on the model's device. The few candidates of each sentence are compared on the host with
NumPy, whose operations on small arrays take a fraction of the time of torch's.

Beam search (Sutskever et al. 2014, section 3.2): a sentence has K places. At each step the best continuations take the
free places. A finished hypothesis keeps its place: it is never extended or replaced, and the live ones share the other
places. The search of a sentence ends when no place is free, at the maximum length, or as soon as no live hypothesis can
enter the n best any more. The last rule changes no result: the log-probability of a hypothesis only decreases with its
length, and a coverage penalty is never above 0, so log_prob / penalty(maximum length) is an upper bound of the scores
of all its continuations.

Diverse beam search divides the places into groups (Vijayakumar et al. 2018). Each group is a beam of its own; tokens
that earlier groups have chosen at the same step are ranked lower. Scores and log-probabilities are not changed.
"""

from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from nmt.data.symbols import BOS, EOS
from nmt.decoding.candidates import Candidates, pick, take_best, take_likeliest
from nmt.decoding.constraints import Constraints, constrain
from nmt.decoding.hypotheses import Hypothesis, SearchStep, backtrace
from nmt.decoding.options import SearchOptions, length_normalize
from nmt.decoding.past import Past, coverage_penalty


class Searchable(Protocol):
    """The methods of a model that search uses; Source and State are the model's own, each with `select(rows)`."""

    def encode(self, src: Tensor, src_lengths: Tensor, /) -> tuple[Any, Any]: ...

    def step(self, tokens: Tensor, state: Any, source: Any, /) -> tuple[Tensor, Any, Tensor]: ...


class Beam(NamedTuple):
    """The K places of B sentences between two steps. Before the first step there is one place, which holds BOS."""

    tokens: np.ndarray  # (B, K) the last token of each hypothesis
    log_probs: np.ndarray  # (B, K) float64; -inf in a place without a live hypothesis
    finished_scores: np.ndarray  # (B, K) float64, scores of the finished hypotheses, best first, then -inf


class Batch(NamedTuple):
    """The values that are constant over the steps, for the unfinished sentences."""

    sentences: np.ndarray  # (B,) rows of the caller's batch
    max_lengths: np.ndarray  # (B,) float64, those of the constraints
    src_lengths: Tensor  # (B,)
    constraints: Constraints
    source: Any

    def select(self, rows: np.ndarray) -> "Batch":
        there = self.to_device(rows)
        of_source = (self.constraints.select(there), self.source.select(there))
        return Batch(self.sentences[rows], self.max_lengths[rows], self.src_lengths[there], *of_source)

    def to_device(self, numbers: np.ndarray) -> Tensor:
        """An array as a tensor on the device of the model."""
        return torch.from_numpy(numbers).to(self.src_lengths.device)


# logits (B, V); the same with -inf for forbidden tokens; log_probs (B, 1) so far; sentences (B,); length
Choose = Callable[[Tensor, Tensor, np.ndarray, np.ndarray, int], Candidates]


@torch.inference_mode()
def greedy_search(
    model: Searchable,
    src: Tensor,
    src_lengths: Tensor,
    options: SearchOptions,
    *,
    attention: bool = True,
    prefixes: Tensor | None = None,
) -> list[Hypothesis]:
    """Takes the most probable token at each step, for src (B, S) and src_lengths (B,) -> one hypothesis per sentence.

    Scores are those of beam_search; `options.beam` is ignored. `attention=False` returns weights (T, 0), for example
    for a line of 10,000 words. prefixes: as for beam_search. Raises ValueError if the model's output is not a
    distribution (NaN).
    """
    source, state = model.encode(src, src_lengths)
    batch = start_batch(source, src_lengths, options, prefixes)
    return search_one_by_one(model, batch, state, options, take_likeliest, attention=attention)


def start_batch(source: Any, src_lengths: Tensor, options: SearchOptions, prefixes: Tensor | None) -> Batch:
    """The Batch of all sentences, before the first step."""
    constraints = constrain(src_lengths, options, prefixes)
    return Batch(np.arange(len(src_lengths)), constraints.max_lengths.cpu().numpy(), src_lengths, constraints, source)


def search_one_by_one(
    model: Searchable, batch: Batch, state: Any, options: SearchOptions, choose: Choose, *, attention: bool
) -> list[Hypothesis]:
    """One hypothesis of each sentence, from BOS, extended at each step by the token that `choose` returns."""
    src_lengths = batch.src_lengths
    tokens = torch.full_like(src_lengths, BOS)
    log_probs = np.zeros((len(tokens), 1))
    past = _start_past(batch, options)
    history: list[SearchStep] = []
    for length in count(1):
        logits, state, weights = model.step(tokens, state, batch.source)
        past = past.attend(weights)
        allowed = batch.constraints.allow(logits, past.ids, length)
        best = choose(logits, allowed, log_probs, batch.sentences, length)
        scores = _score(best, past, batch, length, options)
        history.append(_search_step(batch.sentences, best, scores, weights, attention))
        going_on = (best.tokens[:, 0] != EOS) & (length < batch.max_lengths)
        (live,) = (going_on & np.isfinite(best.log_probs[:, 0])).nonzero()
        if len(live) == 0:
            break
        past = past.extend(best.parents, best.tokens)
        if len(live) < len(tokens):
            there = batch.to_device(live)
            batch, state, past = batch.select(live), state.select(there), past.select(there)
        tokens, log_probs = batch.to_device(best.tokens[live, 0]), best.log_probs[live]
    return [best[0] for best in backtrace(history, src_lengths, nbest=1)]


@torch.inference_mode()
def beam_search(
    model: Searchable,
    src: Tensor,
    src_lengths: Tensor,
    options: SearchOptions,
    *,
    attention: bool = True,
    prefixes: Tensor | None = None,
) -> list[list[Hypothesis]]:
    """The n best hypotheses of each sentence, best score first, for src (B, S) and src_lengths (B,).

    Only finished hypotheses are returned, so there may be fewer than nbest; a sentence without any has unfinished ones.
    `attention=False` returns weights (T, 0). prefixes (B, T), padded with PAD: the first tokens of the hypotheses of
    each sentence. The result for a sentence does not depend on the rest of the batch. Raises ValueError if the model's
    output is not a distribution (NaN).
    """
    source, state = model.encode(src, src_lengths)
    batch = start_batch(source, src_lengths, options, prefixes)
    slots, past = _start(src.shape[0], options.beam), _start_past(batch, options)
    # At most this many hypotheses of a group are among the n best.
    wanted = min(options.nbest, options.beam // options.diverse_beam_groups)
    history: list[SearchStep] = []
    for length in count(1):
        logits, state, weights = model.step(batch.to_device(slots.tokens.ravel()), state, batch.source)
        past = past.attend(weights)
        allowed = batch.constraints.allow(logits, past.ids, length)
        score = partial(_score, past=past, batch=batch, length=length, options=options)
        best, scores = _fill_places(logits, allowed, slots, options, score)
        history.append(_search_step(batch.sentences, best, scores, weights, attention))
        rows = slots.tokens.shape[1]
        slots = _update_beam(best, scores, slots.finished_scores, options.diverse_beam_groups)
        by_group = (-1, options.diverse_beam_groups, options.beam // options.diverse_beam_groups)
        best_live = slots.log_probs.reshape(by_group).max(2)
        within_reach = length_normalize(best_live, batch.max_lengths[:, None], options)
        going_on = (within_reach > slots.finished_scores.reshape(by_group)[:, :, wanted - 1]).any(1)
        (live,) = ((length < batch.max_lengths) & going_on).nonzero()
        if len(live) == 0:
            break
        past = past.extend(best.parents, best.tokens)
        state = state.select(batch.to_device((live[:, None] * rows + best.parents[live]).ravel()))
        if len(live) < len(slots.tokens):
            batch, past = batch.select(live), past.select(batch.to_device(live))
            slots = Beam(*(field[live] for field in slots))
    if options.diverse_beam_groups == 1:
        return backtrace(history, src_lengths, options.nbest)
    # Two groups may have found the same hypothesis.
    found = backtrace(history, src_lengths, options.beam)
    return [list({tuple(each.ids): each for each in best}.values())[: options.nbest] for best in found]


def _score(best: Candidates, past: Past, batch: Batch, length: int, options: SearchOptions) -> np.ndarray:
    """The scores (B, K) of candidates of that length.  # Wu et al. (2016), eq. 14"""
    scores = length_normalize(best.log_probs, length, options)
    if not options.coverage_penalty:
        return scores
    penalties = coverage_penalty(past.coverage, batch.src_lengths, options.coverage_penalty)
    return scores + pick(penalties.cpu().numpy(), best.parents)


def _fill_places(
    logits: Tensor, allowed: Tensor, slots: Beam, options: SearchOptions, score: Callable[[Candidates], np.ndarray]
) -> tuple[Candidates, np.ndarray]:
    """The K best continuations and their scores. Each group of diverse beam search continues its own places."""
    if options.diverse_beam_groups == 1:
        best = take_best(logits, allowed, slots.log_probs, options.beam)
        return best, _mask_taken_slots(score(best), slots.finished_scores)
    size, begun = slots.tokens.shape
    width = options.beam // options.diverse_beam_groups
    logits, allowed = logits.unflatten(0, (size, begun)), allowed.unflatten(0, (size, begun))
    taken = torch.zeros(size, logits.shape[2], dtype=torch.float64, device=logits.device)
    groups: list[tuple[Candidates, np.ndarray]] = []
    for first in range(0, options.beam, width):
        own = slice(first, first + width) if begun > 1 else slice(0, 1)  # at the first step all groups share one place
        rows, allowed_rows = (each[:, own].flatten(0, 1) for each in (logits, allowed))
        handicaps = options.diverse_beam_strength * taken
        best = take_best(rows, allowed_rows, slots.log_probs[:, own], width, handicaps)
        best = best._replace(parents=best.parents + (own.start or 0))
        scores = _mask_taken_slots(score(best), slots.finished_scores[:, first : first + width])
        tokens, places = (torch.from_numpy(each).to(taken.device) for each in (best.tokens, np.isfinite(scores)))
        taken.scatter_add_(1, tokens, places.double())
        groups.append((best, scores))
    candidates = Candidates(*(np.concatenate(fields, 1) for fields in zip(*(best for best, _ in groups), strict=True)))
    return candidates, np.concatenate([scores for _, scores in groups], 1)


def _start(size: int, beam: int) -> Beam:
    """One place with BOS for each sentence, as K copies of it would have the same continuations."""
    return Beam(np.full((size, 1), BOS), np.zeros((size, 1)), np.full((size, beam), -np.inf))


def _start_past(batch: Batch, options: SearchOptions) -> Past:
    """The empty Past, with those parts that the options use."""
    ids, coverage = options.no_repeat_ngram_size > 0, options.coverage_penalty > 0
    return Past.begin(len(batch.sentences), batch.src_lengths.device, ids=ids, coverage=coverage)


def _mask_taken_slots(scores: np.ndarray, finished_scores: np.ndarray) -> np.ndarray:
    """scores (B, K), best first, with -inf for those beyond the places that finished hypotheses leave free."""
    free = np.isneginf(finished_scores).sum(1, keepdims=True)
    return np.where(np.arange(scores.shape[1]) < free, scores, -np.inf)


def _update_beam(best: Candidates, scores: np.ndarray, finished_scores: np.ndarray, groups: int) -> Beam:
    """The places after a step: candidates that end in EOS are finished, others with a place live, the rest empty."""
    ends = best.tokens == EOS
    newly_finished = np.where(ends, scores, -np.inf)
    ended = [each.reshape(len(scores), groups, -1) for each in (finished_scores, newly_finished)]
    best_first = -np.sort(-np.concatenate(ended, 2), axis=2)
    finished_scores = best_first[:, :, : scores.shape[1] // groups].reshape(scores.shape)
    return Beam(best.tokens, np.where(ends | np.isneginf(scores), -np.inf, best.log_probs), finished_scores)


def _search_step(
    sentences: np.ndarray, best: Candidates, scores: np.ndarray, weights: Tensor, attention: bool
) -> SearchStep:
    weights = weights.unflatten(0, (len(scores), -1)).float() if attention else weights.new_empty(*scores.shape, 0)
    return SearchStep(sentences, best.tokens, best.parents, best.log_probs, scores, weights)
