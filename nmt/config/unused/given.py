"""The settings that a command line gives."""

from collections.abc import Iterator
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser


def given(overrides: list[str]) -> list[str]:
    """The dotted keys in a command line: the score for model/attention=..., other groups by their names."""
    found: list[str] = []
    for override in OverridesParser.create().parse_overrides(overrides):
        name = override.key_or_group
        found += ["model.attention.score"] if name == "model/attention" else _leaves(name, override.value())
    return found


def _leaves(name: str, value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, child in value.items():
            yield from _leaves(f"{name}.{key}", child)
    else:
        yield name
