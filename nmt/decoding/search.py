"""Search: the best hypotheses of a batch of source sentences under a model, greedily or with a beam.

Search uses four methods: `encode` and `step` of a model, and `select(rows)` of the Source and of the State. Any object
with these can be searched, an ensemble too. Shapes: B sentences, K places of the beam, S source length,
T target length, V vocabulary, N = B * P rows of a step: P is 1 at the first, then K. The rows of a sentence are
adjacent and share one row of Source, which is never copied.

The rule of the beam (Sutskever et al. 2014, section 3.2): a sentence has K places. At each step the best continuations
take the free places. A finished hypothesis keeps its place: it is never extended or replaced, and the live ones share
the other places. The search of a sentence is over when no place is free, at the greatest length, or as soon as
no live hypothesis can enter the n best any more. The last rule changes no result: a log-probability only falls as a
hypothesis grows, and a coverage penalty is never above 0, so log_prob / penalty(greatest length) bounds every score
still in reach.

Diverse beams divide the places into groups (Vijayakumar et al. 2018). Each is a beam of its own, but for a token that
earlier groups took at this step it ranks a continuation lower. Scores and log-probabilities stay the model's.
"""

from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from nmt.acceleration.inference.output import topk_ids
from nmt.data.symbols import BOS, EOS
from nmt.decoding.constraints import FORBIDDEN_IDS, Constraints, constrain
from nmt.decoding.hypotheses import Hypothesis, SearchStep, backtrace
from nmt.decoding.options import SearchOptions, length_normalize
from nmt.decoding.past import Past, coverage_penalty


class Searchable(Protocol):
    """What search asks of a model; Source and State are the model's own, each with `select(rows)`."""

    def encode(self, src: Tensor, src_lengths: Tensor, /) -> tuple[Any, Any]: ...

    def step(self, tokens: Tensor, state: Any, source: Any, /) -> tuple[Tensor, Any, Tensor]: ...


class Beam(NamedTuple):
    """The K places of B sentences between two steps. Before the first step there is one live hypothesis, not K."""

    tokens: Tensor  # (B, K) the last token of each hypothesis
    log_probs: Tensor  # (B, K) float64; -inf where no live hypothesis stands
    finished_scores: Tensor  # (B, K) float64, scores of the finished hypotheses, best first, then -inf


class Candidates(NamedTuple):
    """The K best continuations of each sentence, best first; of two equals the lower parent, then the lower id."""

    log_probs: Tensor  # (B, K) float64
    parents: Tensor  # (B, K) the place each one continues
    tokens: Tensor  # (B, K)


class Batch(NamedTuple):
    """What stays the same over the steps, for the sentences that are still searched."""

    sentences: Tensor  # (B,) rows of the caller's batch
    src_lengths: Tensor  # (B,)
    constraints: Constraints
    source: Any

    def select(self, rows: Tensor) -> "Batch":
        return Batch(self.sentences[rows], self.src_lengths[rows], *(each.select(rows) for each in self[2:]))


# logits (B, V); the same with -inf for what is not allowed; log_probs (B, 1) so far; sentences (B,); length
Choose = Callable[[Tensor, Tensor, Tensor, Tensor, int], Candidates]


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
    """The most probable token at each step, for src (B, S) of true lengths (B,); one hypothesis a sentence, scored as
    beam_search scores it, whatever `options.beam` is.

    `attention=False` keeps no weights (they come as (T, 0)), which is what a line of 10,000 words wants.
    prefixes: as for beam_search. Raises ValueError if the model's output is not a distribution (NaN).
    """

    def likeliest(logits: Tensor, allowed: Tensor, log_probs: Tensor, _sentences: Tensor, _length: int) -> Candidates:
        return _continue(logits, allowed, log_probs, beam=1)

    source, state = model.encode(src, src_lengths)
    batch = start_batch(source, src_lengths, options, prefixes)
    return search_one_by_one(model, batch, state, options, likeliest, attention=attention)


def start_batch(source: Any, src_lengths: Tensor, options: SearchOptions, prefixes: Tensor | None) -> Batch:
    """All sentences of a source, before the first step."""
    sentences = torch.arange(len(src_lengths), device=src_lengths.device)
    return Batch(sentences, src_lengths, constrain(src_lengths, options, prefixes), source)


def search_one_by_one(
    model: Searchable, batch: Batch, state: Any, options: SearchOptions, choose: Choose, *, attention: bool
) -> list[Hypothesis]:
    """The one hypothesis of each sentence that begins with BOS and goes on with what `choose` takes at each step."""
    src_lengths = batch.src_lengths
    tokens = torch.full_like(batch.sentences, BOS)
    log_probs = torch.zeros(len(tokens), 1, dtype=torch.float64, device=tokens.device)
    past = _start_past(batch, options)
    history: list[SearchStep] = []
    for length in count(1):
        logits, state, weights = model.step(tokens, state, batch.source)
        past = past.attend(weights)
        allowed = batch.constraints.allow(logits, past.ids, length)
        best = choose(logits, allowed, log_probs, batch.sentences, length)
        scores = _score(best, past, batch, length, options)
        history.append(_search_step(batch.sentences, best, scores, weights, attention))
        going_on = (best.tokens[:, 0] != EOS) & (length < batch.constraints.max_lengths)
        (live,) = torch.where(going_on & best.log_probs[:, 0].isfinite())
        if len(live) == 0:
            break
        past = past.extend(best.parents, best.tokens)
        if len(live) < len(tokens):
            batch, state, past = batch.select(live), state.select(live), past.select(live)
        tokens, log_probs = best.tokens[live, 0], best.log_probs[live]
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
    """The n best hypotheses of each sentence, best score first, for src (B, S) of true lengths (B,).

    A list holds finished hypotheses only, so it may be shorter than nbest; the unfinished come back only where a
    sentence has no finished one at all. `attention=False` keeps no weights: (T, 0). prefixes (B, T), PAD behind each:
    the tokens with which the hypotheses of a sentence begin. What else is in the batch changes nothing. Raises
    ValueError if the model's output is not a distribution (NaN).
    """
    source, state = model.encode(src, src_lengths)
    batch = start_batch(source, src_lengths, options, prefixes)
    slots, past = _start(src.shape[0], options.beam, src.device), _start_past(batch, options)
    # Of a group at most so many are among the n best of all.
    wanted = min(options.nbest, options.beam // options.diverse_beam_groups)
    history: list[SearchStep] = []
    for length in count(1):
        logits, state, weights = model.step(slots.tokens.flatten(), state, batch.source)
        past = past.attend(weights)
        allowed = batch.constraints.allow(logits, past.ids, length)
        score = partial(_score, past=past, batch=batch, length=length, options=options)
        best, scores = _fill_places(logits, allowed, slots, options, score)
        history.append(_search_step(batch.sentences, best, scores, weights, attention))
        rows = slots.tokens.shape[1]
        slots = _update_beam(best, scores, slots.finished_scores, options.diverse_beam_groups)
        limits = batch.constraints.max_lengths
        by_group = (-1, options.diverse_beam_groups, options.beam // options.diverse_beam_groups)
        within_reach = length_normalize(slots.log_probs.view(by_group).amax(2), limits.unsqueeze(1), options)
        going_on = (within_reach > slots.finished_scores.view(by_group)[:, :, wanted - 1]).any(1)
        (live,) = torch.where((length < limits) & going_on)
        if len(live) == 0:
            break
        past = past.extend(best.parents, best.tokens)
        if len(live) < len(slots.tokens):
            batch, past = batch.select(live), past.select(live)
            slots = Beam(*(field[live] for field in slots))
        state = state.select((live.unsqueeze(1) * rows + best.parents[live]).flatten())
    if options.diverse_beam_groups == 1:
        return backtrace(history, src_lengths, options.nbest)
    # Two groups may have found the same hypothesis.
    found = backtrace(history, src_lengths, options.beam)
    return [list({tuple(each.ids): each for each in best}.values())[: options.nbest] for best in found]


def _score(best: Candidates, past: Past, batch: Batch, length: int, options: SearchOptions) -> Tensor:
    """The scores (B, K) of candidates of that length.  # Wu et al. (2016), eq. 14"""
    scores = length_normalize(best.log_probs, length, options)
    if not options.coverage_penalty:
        return scores
    penalties = coverage_penalty(past.coverage, batch.src_lengths, options.coverage_penalty)
    return scores + penalties.gather(1, best.parents)


def _fill_places(
    logits: Tensor, allowed: Tensor, slots: Beam, options: SearchOptions, score: Callable[[Candidates], Tensor]
) -> tuple[Candidates, Tensor]:
    """The continuations in the K places and their scores, group by group; a group goes on from its own places."""
    if options.diverse_beam_groups == 1:
        best = _continue(logits, allowed, slots.log_probs, options.beam)
        return best, _mask_taken_slots(score(best), slots.finished_scores)
    size, begun = slots.tokens.shape
    width = options.beam // options.diverse_beam_groups
    logits, allowed = logits.unflatten(0, (size, begun)), allowed.unflatten(0, (size, begun))
    taken = torch.zeros(size, logits.shape[2], dtype=torch.float64, device=logits.device)
    groups: list[tuple[Candidates, Tensor]] = []
    for first in range(0, options.beam, width):
        own = slice(first, first + width) if begun > 1 else slice(0, 1)  # at first there is one place for all groups
        rows, allowed_rows = (each[:, own].flatten(0, 1) for each in (logits, allowed))
        handicaps = options.diverse_beam_strength * taken
        best = _continue(rows, allowed_rows, slots.log_probs[:, own], width, handicaps)
        best = best._replace(parents=best.parents + (own.start or 0))
        scores = _mask_taken_slots(score(best), slots.finished_scores[:, first : first + width])
        taken.scatter_add_(1, best.tokens, scores.isfinite().double())
        groups.append((best, scores))
    candidates = Candidates(*(torch.cat(fields, 1) for fields in zip(*(best for best, _ in groups), strict=True)))
    return candidates, torch.cat([scores for _, scores in groups], 1)


def _start(size: int, beam: int, device: torch.device) -> Beam:
    """BOS in one place of each sentence: K copies of it would continue alike."""
    log_probs = torch.zeros(size, 1, dtype=torch.float64, device=device)
    return Beam(torch.full((size, 1), BOS, device=device), log_probs, log_probs.new_full((size, beam), -torch.inf))


def _start_past(batch: Batch, options: SearchOptions) -> Past:
    """Without what no option looks at."""
    ids, coverage = options.no_repeat_ngram_size > 0, options.coverage_penalty > 0
    return Past.begin(len(batch.sentences), batch.sentences.device, ids=ids, coverage=coverage)


def _continue(
    logits: Tensor, allowed: Tensor, log_probs: Tensor, beam: int, handicaps: Tensor | None = None
) -> Candidates:
    """The K best of the P * V continuations, from logits (B * P, V) and the log_probs (B, P) of what they continue.

    allowed: the logits, -inf where a token must not be taken. handicaps (B, V): what is subtracted for the ranking.
    The K best of all are among the K best of each, so nothing of size P * V is sorted, and only the few values that win
    are added to what they continue. Log-probabilities are at least float32, whatever the model computes in.
    """
    size, parents = log_probs.shape
    # Two more than K, since PAD and BOS may be among them; ordered by id, so that the stable sort below settles ties.
    ranked = allowed if handicaps is None else allowed - handicaps.repeat_interleave(parents, 0)
    ids, _ = topk_ids(ranked, min(beam + len(FORBIDDEN_IDS), logits.shape[1])).sort(dim=1)
    # One fused pass: twice as fast on a CPU as logsumexp, which makes several over temporaries of this size.
    gained = logits.log_softmax(dim=1, dtype=torch.promote_types(logits.dtype, torch.float32)).gather(1, ids)
    for forbidden in FORBIDDEN_IDS:
        gained = gained.masked_fill(ids == forbidden, -torch.inf)
    if allowed is not logits:
        gained = gained.masked_fill(allowed.gather(1, ids).isneginf(), -torch.inf)
    # (B, P, 1) + (B, P, k). -inf - -inf and what a broken model gives are no hypotheses either.
    grown = log_probs.unsqueeze(2) + gained.double().view(size, parents, -1)
    grown = grown.nan_to_num(nan=-torch.inf, posinf=-torch.inf, neginf=-torch.inf).flatten(1)
    # A small vocabulary may not have K continuations at first: then some places stay empty.
    missing = max(0, beam - grown.shape[1])
    grown = functional.pad(grown, (0, missing), value=-torch.inf)
    if handicaps is None:
        grown, order = grown.sort(dim=1, descending=True, stable=True)
    else:
        costs = functional.pad(handicaps.gather(1, ids.view(size, -1)), (0, missing))
        order = (grown - costs).argsort(dim=1, descending=True, stable=True)
        grown = grown.gather(1, order)
    order = order[:, :beam].clamp(max=parents * ids.shape[1] - 1)
    return Candidates(grown[:, :beam], order // ids.shape[1], ids.view(size, -1).gather(1, order))


def _mask_taken_slots(scores: Tensor, finished_scores: Tensor) -> Tensor:
    """scores (B, K), best first, with -inf for those that find no place beside the finished ones."""
    taken = finished_scores.isfinite().sum(dim=1, keepdim=True)
    rank = torch.arange(scores.shape[1], device=scores.device)
    return scores.masked_fill(rank >= scores.shape[1] - taken, -torch.inf)


def _update_beam(best: Candidates, scores: Tensor, finished_scores: Tensor, groups: int) -> Beam:
    """The places after a step: who ended joins the finished, who goes on stays live, the rest is empty."""
    ends = best.tokens == EOS
    newly_finished = scores.masked_fill(~ends, -torch.inf)
    ended = torch.cat([each.unflatten(1, (groups, -1)) for each in (finished_scores, newly_finished)], dim=2)
    finished_scores = ended.topk(scores.shape[1] // groups)[0].flatten(1)
    live = best.log_probs.masked_fill(ends | scores.isneginf(), -torch.inf)
    return Beam(best.tokens, live, finished_scores)


def _search_step(sentences: Tensor, best: Candidates, scores: Tensor, weights: Tensor, attention: bool) -> SearchStep:
    weights = weights.unflatten(0, (len(scores), -1)).float() if attention else weights.new_empty(*scores.shape, 0)
    return SearchStep(sentences, best.tokens, best.parents, best.log_probs, scores, weights)
