"""Search: the best hypotheses of a batch of source sentences under a model, greedily or with a beam.

Search uses four methods: `encode` and `step` of a model, and `select(rows)` of the Source and of the State. Any object
with these can be searched, an ensemble too. Shapes: B sentences, K places of the beam, S source length,
T target length, V vocabulary, N = B * P rows of a step: P is 1 at the first, then K. The rows of a sentence are
adjacent and share one row of Source, which is never copied.

The rule of the beam (Sutskever et al. 2014, section 3.2): a sentence has K places. At each step the best continuations
take the free places. A finished hypothesis keeps its place: it is never extended or replaced, and the live ones share
the other places. The search of a sentence is over when no place is free, at `max_length`, or as soon as
no live hypothesis can enter the n best any more. The last rule changes no result: a log-probability only falls as a
hypothesis grows, so log_prob / penalty(max_length) bounds every score still in reach.
"""

from dataclasses import dataclass
from enum import Enum
from itertools import count
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from nmt.acceleration.inference.output import topk_ids
from nmt.data.symbols import BOS, EOS, PAD
from nmt.decoding.hypotheses import Hypothesis, SearchStep, backtrace

FORBIDDEN_IDS = (PAD, BOS)  # what no hypothesis contains, however probable the model finds it


class LengthPenalty(Enum):
    """By what the summed log-probability of a hypothesis is divided to give its score."""

    none = "none"  # by nothing
    average = "average"  # by its length, EOS included
    gnmt = "gnmt"  # by ((5 + length) / 6) ** alpha: Wu et al. (2016), eq. 14


@dataclass
class SearchOptions:
    """The options of a search: decode.* of the configuration. Raises ValueError where they contradict each other."""

    beam: int = 5  # places of the beam; 1 is greedy search
    nbest: int = 1  # hypotheses returned for a sentence
    max_length: int | None = None  # the most tokens of a hypothesis, EOS included; None: twice the source and ten more
    length_penalty: LengthPenalty = LengthPenalty.average
    length_penalty_alpha: float = 0.6  # of gnmt

    def __post_init__(self):
        if self.beam < 1:
            raise ValueError(f"decode.beam is {self.beam}: a beam has at least one place; try decode.beam=5")
        if self.nbest < 1:
            raise ValueError(f"decode.nbest is {self.nbest}: give 1 to {self.beam}, which is decode.beam")
        if self.nbest > self.beam:
            raise ValueError(
                f"decode.nbest={self.nbest} is more than the {self.beam} of decode.beam: try decode.beam={self.nbest}"
            )
        if self.max_length is not None and self.max_length < 1:
            raise ValueError(f"decode.max_length is {self.max_length}: a translation needs one piece at least; try 200")
        if not 0 <= self.length_penalty_alpha <= 10:  # below 0 no bound holds; above 10 is a slip of the finger
            raise ValueError(
                f"decode.length_penalty_alpha is {self.length_penalty_alpha}: the exponent of the length lies in 0 to "
                "10; try decode.length_penalty_alpha=0.6"
            )


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


@torch.inference_mode()
def greedy_search(
    model: Searchable,
    src: Tensor,
    src_lengths: Tensor,
    options: SearchOptions,
    *,
    attention: bool = True,
) -> list[Hypothesis]:
    """The most probable token at each step, for src (B, S) of true lengths (B,); one hypothesis a sentence, scored as
    beam_search scores it, whatever `options.beam` is.

    `attention=False` keeps no weights (they come as (T, 0)), which is what a line of 10,000 words wants.
    Raises ValueError if the model's output is not a distribution (NaN).
    """
    limits = _limits(options, src_lengths)
    sentences = torch.arange(src.shape[0], device=src.device)
    source, state = model.encode(src, src_lengths)
    tokens = torch.full_like(sentences, BOS)
    log_probs = torch.zeros(src.shape[0], 1, dtype=torch.float64, device=src.device)
    history: list[SearchStep] = []
    for length in count(1):
        logits, state, weights = model.step(tokens, state, source)
        best = _continue(logits, log_probs, beam=1)
        scores = length_normalize(best.log_probs, length, options)
        history.append(_search_step(sentences, best, scores, weights, attention))
        (live,) = torch.where((best.tokens[:, 0] != EOS) & (length < limits) & best.log_probs[:, 0].isfinite())
        if len(live) == 0:
            break
        if len(live) < len(sentences):
            sentences, limits, source, state = sentences[live], limits[live], source.select(live), state.select(live)
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
) -> list[list[Hypothesis]]:
    """The n best hypotheses of each sentence, best score first, for src (B, S) of true lengths (B,).

    A list holds finished hypotheses only, so it may be shorter than nbest; the unfinished come back only where a
    sentence has no finished one at all. `attention=False` keeps no weights: (T, 0). What else is in the batch changes
    nothing. Raises ValueError if the model's output is not a distribution (NaN).
    """
    limits = _limits(options, src_lengths)
    sentences = torch.arange(src.shape[0], device=src.device)
    source, state = model.encode(src, src_lengths)
    slots = _start(src.shape[0], options.beam, src.device)
    history: list[SearchStep] = []
    for length in count(1):
        logits, state, weights = model.step(slots.tokens.flatten(), state, source)
        best = _continue(logits, slots.log_probs, options.beam)
        scores = _mask_taken_slots(length_normalize(best.log_probs, length, options), slots.finished_scores)
        history.append(_search_step(sentences, best, scores, weights, attention))
        rows = slots.tokens.shape[1]
        slots = _update_beam(best, scores, slots.finished_scores)
        within_reach = length_normalize(slots.log_probs.amax(dim=1), limits, options)
        (live,) = torch.where((length < limits) & (within_reach > slots.finished_scores[:, options.nbest - 1]))
        if len(live) == 0:
            break
        if len(live) < len(sentences):
            sentences, limits, source = sentences[live], limits[live], source.select(live)
            slots = Beam(*(field[live] for field in slots))
        state = state.select((live.unsqueeze(1) * rows + best.parents[live]).flatten())
    return backtrace(history, src_lengths, options.nbest)


def length_normalize(log_probs: Tensor, length: int | Tensor, options: SearchOptions) -> Tensor:
    """Scores of hypotheses of that length (tokens, EOS included; a tensor must broadcast)."""
    match options.length_penalty:
        case LengthPenalty.none:
            return log_probs
        case LengthPenalty.average:
            return log_probs / length
        case LengthPenalty.gnmt:  # Wu et al. (2016), eq. 14, without the coverage term
            return log_probs / ((5 + length) / 6) ** options.length_penalty_alpha
        case _:
            raise ValueError(f"decode.length_penalty is {options.length_penalty!r}; try one of: none, average, gnmt")


def _limits(options: SearchOptions, src_lengths: Tensor) -> Tensor:
    """The most tokens of each sentence's hypotheses, (B,) float64, the type in which scores are normalized."""
    limits = 2 * src_lengths + 10 if options.max_length is None else torch.full_like(src_lengths, options.max_length)
    return limits.double()


def _start(size: int, beam: int, device: torch.device) -> Beam:
    """BOS in one place of each sentence: K copies of it would continue alike."""
    log_probs = torch.zeros(size, 1, dtype=torch.float64, device=device)
    return Beam(torch.full((size, 1), BOS, device=device), log_probs, log_probs.new_full((size, beam), -torch.inf))


def _continue(logits: Tensor, log_probs: Tensor, beam: int) -> Candidates:
    """The K best of the P * V continuations, from logits (B * P, V) and the log_probs (B, P) of what they continue.

    The K best of all are among the K best of each, so nothing of size P * V is sorted, and only the few values that win
    are added to what they continue. Log-probabilities are at least float32, whatever the model computes in.
    """
    size, parents = log_probs.shape
    # Two more than K, since PAD and BOS may be among them; ordered by id, so that the stable sort below settles ties.
    ids, _ = topk_ids(logits, min(beam + len(FORBIDDEN_IDS), logits.shape[1])).sort(dim=1)
    # One fused pass: twice as fast on a CPU as logsumexp, which makes several over temporaries of this size.
    gained = logits.log_softmax(dim=1, dtype=torch.promote_types(logits.dtype, torch.float32)).gather(1, ids)
    for forbidden in FORBIDDEN_IDS:
        gained = gained.masked_fill(ids == forbidden, -torch.inf)
    # (B, P, 1) + (B, P, k). -inf - -inf and what a broken model gives are no hypotheses either.
    grown = log_probs.unsqueeze(2) + gained.double().view(size, parents, -1)
    grown = grown.nan_to_num(nan=-torch.inf, posinf=-torch.inf, neginf=-torch.inf).flatten(1)
    # A small vocabulary may not have K continuations at first: then some places stay empty.
    missing = max(0, beam - grown.shape[1])
    grown, order = functional.pad(grown, (0, missing), value=-torch.inf).sort(dim=1, descending=True, stable=True)
    order = order[:, :beam].clamp(max=parents * ids.shape[1] - 1)
    return Candidates(grown[:, :beam], order // ids.shape[1], ids.view(size, -1).gather(1, order))


def _mask_taken_slots(scores: Tensor, finished_scores: Tensor) -> Tensor:
    """scores (B, K), best first, with -inf for those that find no place beside the finished ones."""
    taken = finished_scores.isfinite().sum(dim=1, keepdim=True)
    rank = torch.arange(scores.shape[1], device=scores.device)
    return scores.masked_fill(rank >= scores.shape[1] - taken, -torch.inf)


def _update_beam(best: Candidates, scores: Tensor, finished_scores: Tensor) -> Beam:
    """The places after a step: who ended joins the finished, who goes on stays live, the rest is empty."""
    ends = best.tokens == EOS
    newly_finished = scores.masked_fill(~ends, -torch.inf)
    finished_scores, _ = torch.cat([finished_scores, newly_finished], dim=1).topk(scores.shape[1])
    live = best.log_probs.masked_fill(ends | scores.isneginf(), -torch.inf)
    return Beam(best.tokens, live, finished_scores)


def _search_step(sentences: Tensor, best: Candidates, scores: Tensor, weights: Tensor, attention: bool) -> SearchStep:
    weights = weights.unflatten(0, (len(scores), -1)).float() if attention else weights.new_empty(*scores.shape, 0)
    return SearchStep(sentences, best.tokens, best.parents, best.log_probs, scores, weights)
