"""The records of the steps of a search, and the hypotheses that are traced back through them at the end."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor

from nmt.data.symbols import EOS, PAD


class Hypothesis(NamedTuple):
    """One translation as ids, with its score and its attention weights."""

    ids: list[int]  # (T,) without BOS; the last is EOS if the hypothesis is finished
    score: float  # log_prob after length normalization
    log_prob: float  # natural logarithm, summed over ids
    weights: np.ndarray  # (T, S) float32, S is the source length without padding; (T, 0) without attention
    finished: bool


class SearchStep(NamedTuple):
    """The candidates of one step, for the B sentences that are not complete at that step."""

    sentences: np.ndarray  # (B,) rows of the caller's batch, ascending
    tokens: np.ndarray  # (B, K)
    parents: np.ndarray  # (B, K) the place of the beam at the previous step that each one continues
    log_probs: np.ndarray  # (B, K)
    scores: np.ndarray  # (B, K) after length normalization; -inf for a candidate without a place in the beam
    weights: Tensor  # (B, P, S) by the place at the *previous* step: index it with `parents`


def backtrace(history: list[SearchStep], src_lengths: Tensor, nbest: int) -> list[list[Hypothesis]]:
    """The n best finished hypotheses of each sentence, best first; of two equal scores the one that finished first.

    A sentence without a finished hypothesis has its best unfinished ones. Raises ValueError for a sentence without any
    hypothesis.
    """
    sentences = [step.sentences for step in history]
    tokens, parents, log_probs, scores = (
        _all_steps(fields, sentences, absent)
        for fields, absent in zip(list(zip(*history, strict=True))[1:5], (PAD, 0, -np.inf, -np.inf), strict=True)
    )
    steps, size, beam = scores.shape
    finished_scores = np.where(tokens == EOS, scores, -np.inf)
    last = np.zeros(size, np.int64)
    for step, rows in enumerate(sentences):
        last[rows] = step
    (unfinished,) = np.nonzero(np.isneginf(finished_scores).all(axis=(0, 2)))
    finished_scores[last[unfinished], unfinished] = scores[last[unfinished], unfinished]
    finished_scores = finished_scores.swapaxes(0, 1).reshape(size, -1)
    best = np.argsort(-finished_scores, axis=1, kind="stable")[:, :nbest]
    there = np.isfinite(np.take_along_axis(finished_scores, best, 1))
    if not there[:, 0].all():
        raise ValueError(
            "the model gives no probability to any token (NaN or infinite weights?): "
            "try an earlier checkpoint, or precision=fp32"
        )
    # All H hypotheses of the batch are traced back together; these arrays are (H,).
    sentence, rank = np.nonzero(there)
    end, slot = np.divmod(best[sentence, rank], beam)
    ids = np.empty((len(end), steps), np.int64)
    weights = np.empty((len(end), steps, history[0].weights.shape[2]), np.float32)
    here = slot.copy()
    for step in reversed(range(steps)):
        (on,) = np.nonzero(end >= step)
        ids[on, step] = tokens[step, sentence[on], here[on]]
        here[on] = parents[step, sentence[on], here[on]]
        if weights.shape[2]:
            row = np.searchsorted(sentences[step], sentence[on])
            weights[on, step] = history[step].weights.cpu().numpy()[row, here[on]]
    found: list[list[Hypothesis]] = [[] for _ in range(size)]
    lengths = src_lengths.tolist()
    for number, of in enumerate(sentence):
        index = end[number], of, slot[number]
        found[of].append(
            Hypothesis(
                ids=ids[number, : index[0] + 1].tolist(),
                score=float(scores[index]),
                log_prob=float(log_probs[index]),
                weights=weights[number, : index[0] + 1, : lengths[of]].copy(),
                finished=bool(tokens[index] == EOS),
            )
        )
    return found


def _all_steps(fields: Sequence[np.ndarray], sentences: list[np.ndarray], absent: float) -> np.ndarray:
    """One field (B, K) of each step -> (T, B, K) for all sentences of the batch; `absent` after the end of one."""
    whole = np.full((len(fields), *fields[0].shape), absent, fields[0].dtype)
    for step, (field, rows) in enumerate(zip(fields, sentences, strict=True)):
        whole[step, rows] = field
    return whole
