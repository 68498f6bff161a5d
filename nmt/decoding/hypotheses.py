"""The records of the steps of a search, and the hypotheses that are read from them, backwards, at the end."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor

from nmt.data.symbols import EOS, PAD


class Hypothesis(NamedTuple):
    """One translation as ids, with its score and its attention."""

    ids: list[int]  # (T,) no BOS; EOS comes last if it is finished
    score: float  # log_prob after length normalization
    log_prob: float  # natural logarithm, summed over ids
    weights: np.ndarray  # (T, S) float32, S the true source length; (T, 0) without attention
    finished: bool


class SearchStep(NamedTuple):
    """One step's candidates for the B sentences then searched, where search made them."""

    sentences: np.ndarray  # (B,) rows of the caller's batch, ascending
    tokens: np.ndarray  # (B, K)
    parents: np.ndarray  # (B, K) places at the step before
    log_probs: np.ndarray  # (B, K)
    scores: np.ndarray  # (B, K) normalized; -inf where the candidate got no place
    weights: Tensor  # (B, P, S) by the place at the step *before*: read it with `parents`


def backtrace(history: list[SearchStep], src_lengths: Tensor, nbest: int) -> list[list[Hypothesis]]:
    """The n best endings of each sentence, best first; of two equal scores the one that ended first.

    Unfinished ones only where nothing has finished. Raises ValueError for a sentence without any.
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
    # All hypotheses of the batch are followed back together, (H,) each.
    sentence, rank = np.nonzero(there)
    end, slot = np.divmod(best[sentence, rank], beam)
    ids = np.empty((len(end), steps), np.int64)
    weights = np.empty((len(end), steps, history[0].weights.shape[2]), np.float32)
    here = slot.copy()
    for step in reversed(range(steps)):
        (on,) = np.nonzero(end >= step)
        ids[on, step] = tokens[step, sentence[on], here[on]]
        here[on] = parents[step, sentence[on], here[on]]
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
    """One field (B, K) of each step -> (T, B, K) over all sentences of the batch, `absent` where one was over."""
    whole = np.full((len(fields), *fields[0].shape), absent, fields[0].dtype)
    for step, (field, rows) in enumerate(zip(fields, sentences, strict=True)):
        whole[step, rows] = field
    return whole
