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
    return Rule(keys, acts, f"it needs {needed}; give that too, or leave {{key}} out")


def is_set(value: object) -> bool:
    return value is not None and value is not False


def value_at(config: Any, key: str) -> Any:
    for part in key.split("."):
        config = getattr(config, part)
    return config


def shown(value: Any) -> str:
    value = getattr(value, "value", value)
    if isinstance(value, Iterable) and not isinstance(value, str):
        return f"[{','.join(map(str, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)
