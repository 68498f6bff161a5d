"""Checks of settings. Each raises ValueError, which names the setting: the keyword `a__b` is the setting a.b."""

import math
import sys
from collections.abc import Sequence

MAX_COUNT = 1_000_000  # of units, layers or threads: a larger number is a typing error, and would not fit into memory

MAX_LAYERS = 64  # an untrusted file must not make the program build a million layers


def between(low: float, high: float, values: dict[str, float | None]) -> None:
    """Refuses values below `low` or above `high`, and NaN; None is allowed."""
    for name, value in values.items():
        if value is not None and not low <= value <= high:  # in this form it refuses NaN too
            bound = f"the most is {high:,}" if value > high else f"the least is {low:g}"
            raise ValueError(f"{name.replace('__', '.')}={value} is impossible: {bound}")


def at_least(low: float, **values: float | None) -> None:
    """Refuses values below `low`, infinity and NaN; None is allowed."""
    between(low, sys.float_info.max, values)


def one_of(words: Sequence[str], **values: str | None) -> None:
    """Refuses values that are not among `words`; None is allowed."""
    for name, value in values.items():
        if value is not None and value not in words:
            raise ValueError(f"{name.replace('__', '.')}={value} is not known: give one of {', '.join(words)}")


def positive_int(**values: int | None) -> None:
    """Refuses values below 1 or above MAX_COUNT; None is allowed."""
    between(1, MAX_COUNT, dict(values))


def greater_than(low: float, **values: float | None) -> None:
    """Refuses `low` and values below, infinity and NaN; None is allowed."""
    for name, value in values.items():
        if value is not None and not low < value < math.inf:
            raise ValueError(f"{name.replace('__', '.')}={value} is impossible: give a number above {low:g}")


def fraction(**values: float) -> None:
    """Refuses values below 0, values of at least 1, and NaN."""
    for name, value in values.items():
        if not 0 <= value < 1:
            raise ValueError(f"{name.replace('__', '.')}={value} is impossible: give a share of at least 0 and below 1")
