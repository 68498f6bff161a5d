"""Alignment error rate, precision and recall against gold links."""

from collections.abc import Collection, Sequence
from typing import NamedTuple


class AlignmentScores(NamedTuple):
    """Scores of links against gold links, each from 0 to 1: a lower `aer`, higher `precision` and `recall` are
    better."""

    aer: float
    precision: float
    recall: float


def alignment_error_rate(
    hypothesis: Sequence[Collection[tuple[int, int]]],
    sure: Sequence[Collection[tuple[int, int]]],
    possible: Sequence[Collection[tuple[int, int]]],
) -> AlignmentScores:
    """Compare links A with sure links S and possible links P, counted over the whole corpus.

    AER = 1 - (|A & S| + |A & P|) / (|A| + |S|), precision = |A & P| / |A|, recall = |A & S| / |S| (Och & Ney, 2003).
    Sure links count as possible, also if they are not in `possible`. A ratio 0 / 0 is a perfect score. Each argument
    has one collection of links per sentence; raises ValueError if their numbers differ.
    """
    if not len(hypothesis) == len(sure) == len(possible):
        raise ValueError(
            f"links for {len(hypothesis)} sentences cannot be compared with gold links for {len(sure)} (sure) and "
            f"{len(possible)} (possible); give one line for each sentence pair, an empty one where nothing is linked"
        )
    n_links = n_sure = in_sure = in_possible = 0
    for a, s, p in zip(hypothesis, sure, possible, strict=True):
        found, certain = set(a), set(s)
        n_links += len(found)
        n_sure += len(certain)
        in_sure += len(found & certain)
        in_possible += len(found & (certain | set(p)))
    return AlignmentScores(
        aer=1 - (in_sure + in_possible) / (n_links + n_sure) if n_links + n_sure else 0.0,
        precision=in_possible / n_links if n_links else 1.0,
        recall=in_sure / n_sure if n_sure else 1.0,
    )
