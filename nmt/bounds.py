"""Checks of values; each raises ValueError with the name of the key: the keyword `a__b` is the key a.b."""

import math
import sys
from collections.abc import Sequence

MAX_COUNT = 1_000_000  # units, layers, threads: more is a mistake, and no machine has the memory

MAX_LAYERS = 64  # a configuration from elsewhere must not build a million layers


def between(low: float, high: float, values: dict[str, float | None]) -> None:
    """Raises ValueError for a value below `low`, above `high` or nan; None is allowed."""
    for name, value in values.items():
        if value is not None and not low <= value <= high:  # this form refuses nan too
            bound = f"the most is {high:,}" if value > high else f"the least is {low:g}"
            raise ValueError(f"{name.replace('__', '.')}={value} is impossible: {bound}")


def at_least(low: float, **values: float | None) -> None:
    """Raises ValueError for a value that is below `low`, infinite or not a number."""
    between(low, sys.float_info.max, values)


def one_of(words: Sequence[str], **values: str | None) -> None:
    """Raises ValueError for a value that is not in `words`; None is allowed."""
    for name, value in values.items():
        if value is not None and value not in words:
            raise ValueError(f"{name.replace('__', '.')}={value} is not known: give one of {', '.join(words)}")


def positive_int(**values: int | None) -> None:
    """Raises ValueError for a value below 1 or above MAX_COUNT; None is allowed."""
    between(1, MAX_COUNT, dict(values))


def greater_than(low: float, **values: float | None) -> None:
    """Raises ValueError for a value that is not above `low`, infinite or nan; None is allowed."""
    for name, value in values.items():
        if value is not None and not low < value < math.inf:
            raise ValueError(f"{name.replace('__', '.')}={value} is impossible: give a number above {low:g}")


def fraction(**values: float) -> None:
    """Raises ValueError for a value below 0, nan, or 1 and above."""
    for name, value in values.items():
        if not 0 <= value < 1:
            raise ValueError(f"{name.replace('__', '.')}={value} is impossible: give a share of at least 0 and below 1")
