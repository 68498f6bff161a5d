"""Saved configurations: conversion to plain data and back, and comparison."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nmt.config.schema import TrainConfig

MOST_YAML = 256 << 10  # bytes; real ones have about 3,000
MOST_DEPTH = 32  # real ones have 4
_OPENING = (yaml.FlowSequenceStartToken, yaml.FlowMappingStartToken, yaml.BlockSequenceStartToken)
_OPENING += (yaml.BlockMappingStartToken,)
_CLOSING = (yaml.FlowSequenceEndToken, yaml.FlowMappingEndToken, yaml.BlockEndToken)


def to_dict(config) -> dict:
    """A configuration as dictionaries, lists, numbers and strings, for YAML and JSON."""
    plain = OmegaConf.to_container(OmegaConf.structured(config), enum_to_str=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def to_yaml(plain: dict) -> str:
    """A result of to_dict as the text of config.yaml. Raises ValueError if it could not be read again."""
    for name in leaves(plain):
        value = str(value_at(plain, name))
        if "${" in value or not _is_unicode(value):
            raise ValueError(
                f"{name}={value!a}: could not be read again from the run's config.yaml; give it another name"
            )
    return OmegaConf.to_yaml(OmegaConf.create(plain))


def from_dict(schema: type, plain: dict) -> Any:
    """The inverse of to_dict. Raises ValueError for invalid data (for example of another version).

    ${...} is refused: a file must not read environment variables or run resolvers.
    """
    try:
        if "${" in repr(plain):
            raise ValueError("a configuration with ${...} in it: a saved one is resolved, so this is not ours")
        return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), plain))
    except (OmegaConfBaseException, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"a configuration that this version cannot read: {' '.join(str(error).split())[:300]}"
        ) from error


def read_saved(path: Path) -> dict:
    """The configuration in a run's config.yaml, checked. Raises ValueError if it is invalid."""
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_YAML + 1)
        text = raw.decode("utf-8")
        _check_yaml(text)
        saved = OmegaConf.to_container(OmegaConf.create(text))
    except (OmegaConfBaseException, yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: cannot be read: {' '.join(str(error).split())[:200]}") from None
    if not isinstance(saved, dict):
        raise ValueError(f"{path}: is no configuration")
    return to_dict(from_dict(TrainConfig, saved))  # pyright: ignore[reportArgumentType]


def _is_unicode(text: str) -> bool:
    """Whether a string can be encoded as UTF-8: invalid bytes of a path become lone surrogates."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _check_yaml(text: str) -> None:
    """Raises ValueError for YAML that could take unlimited time to read: aliases, deep nesting, a large file."""
    if len(text.encode()) > MOST_YAML:
        raise ValueError(f"larger than {MOST_YAML:,} bytes, so it is not ours")
    depth = 0
    for token in yaml.scan(text):
        if isinstance(token, yaml.AliasToken):
            raise ValueError("has an alias (*name) in it, as no configuration of ours does: write it out")
        depth += isinstance(token, _OPENING) - isinstance(token, _CLOSING)
        if depth > MOST_DEPTH:
            raise ValueError(f"nested more than {MOST_DEPTH} deep, so it is not ours")


def value_at(plain: dict, key: str):
    """The value at a dotted key of plain data."""
    for part in key.split("."):
        plain = plain[part]
    return plain


LOCATION_KEYS = ("run", "resume")  # the location of the run
# Settings, besides the paths, that may differ between repetitions of one experiment.
NUISANCE_KEYS = (
    "seed",
    "device",
    "threads",
    "data.cache",
    "trainer.log_every",
    "trainer.keep_checkpoints",
    "trainer.tensorboard",
)


def comparable(plain: dict) -> dict:
    """The settings that repetitions of an experiment share: all but NUISANCE_KEYS and LOCATION_KEYS, by dotted key."""
    return {name: value_at(plain, name) for name in leaves(plain) if name not in (*NUISANCE_KEYS, *LOCATION_KEYS)}


def leaves(plain: dict, prefix: str = "") -> Iterator[str]:
    """The dotted keys of the values in plain data."""
    for key, value in plain.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"
