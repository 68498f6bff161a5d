"""A rule for settings with and without effect, and the format of a setting in a message."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple


class Rule(NamedTuple):
    """keys: settings, separated by spaces, * for any text; acts: whether they have an effect in a configuration;
    advice: the reason and what to do if not, printed after "KEY=VALUE has no effect: "."""

    keys: str
    acts: Callable[[Any], bool]
    advice: str


def needs(keys: str, acts: Callable[[Any], bool], needed: str) -> Rule:
    """A rule whose advice is that the settings need `needed`."""
    return Rule(keys, acts, f"it needs {needed}; give that too, or leave {{key}} out")


def is_set(value: object) -> bool:
    """Whether a value is neither null nor false."""
    return value is not None and value is not False


def value_at(config: Any, key: str) -> Any:
    """The value at a dotted key of a configuration."""
    for part in key.split("."):
        config = getattr(config, part)
    return config


def shown(value: Any) -> str:
    """A value as it is written on a command line."""
    value = getattr(value, "value", value)
    if isinstance(value, Iterable) and not isinstance(value, str):
        return f"[{','.join(map(str, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)
