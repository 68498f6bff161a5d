"""Scores by sentence length."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from nmt.analysis.metrics import METRICS, Measured


class LengthRow(NamedTuple):
    """Scores, by metric, of the sentences with source lengths from `low` to `high`, both included; None if the metric
    left out all of them."""

    low: int
    high: int
    sentences: int
    scores: dict[str, float | None]


def by_length(
    measured: Mapping[str, Measured], src_lengths: Sequence[int], *, edges: Sequence[int] = (10, 20, 30, 40, 50)
) -> list[LengthRow]:
    """The metrics on sentences of similar length, as in Figure 2 of Bahdanau et al. (2015).

    src_lengths: of each sentence. edges: the maximum length of each row but the last, increasing; the last row ends at
    the longest sentence. Rows without sentences are left out. Raises ValueError if the numbers of lengths and sentences
    differ, and for edges that do not increase.
    """
    if list(edges) != sorted(set(edges)):
        raise ValueError(f"the edges of a table by length must rise, and {list(edges)} do not; try 10, 20, 30")
    for each in measured.values():
        if len(each.statistics) != len(src_lengths):
            raise ValueError(
                f"{len(each.statistics)} translations and {len(src_lengths)} source lengths do not make a table; give "
                "one of each for a sentence"
            )
    longest = max(src_lengths, default=0)
    # A row from 0 would suggest that there are empty sources.
    bounds = [min(0, min(src_lengths, default=1) - 1), *(edge for edge in edges if edge < longest), longest]
    rows = []
    for below, high in pairwise(bounds):
        chosen = [k for k, length in enumerate(src_lengths) if below < length <= high]
        if chosen:
            scores = {name: each.score_of(chosen) for name, each in measured.items()}
            rows.append(LengthRow(below + 1, high, len(chosen), scores))
    return rows


def length_table(rows: Sequence[LengthRow], unit: str) -> str:
    """The rows of `by_length` as lines of text for a terminal. unit: of the lengths."""
    heading = f"source {unit}"
    names = list(rows[0].scores) if rows else []
    lines = [f"{heading:>12}  {'sentences':>9}" + "".join(f"  {METRICS[name].label:>5}" for name in names)]
    for row in rows:
        cells = ("-" if (score := row.scores[name]) is None else f"{score:.1f}" for name in names)
        length = f"{row.low}-{row.high}"
        lines.append(f"{length:>{len(heading)}}  {row.sentences:>9}" + "".join(f"  {cell:>5}" for cell in cells))
    return "\n".join(lines)
