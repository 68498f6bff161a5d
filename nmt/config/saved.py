"""Saved configurations: conversion to plain data and back, and the settings that may change when a run is resumed."""

from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nmt.config.schema import ModelKind, TrainConfig
from nmt.config.unused import given, refuse_unused

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
    for name in _leaves(plain):
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


# May change when a run is resumed: the budget, outputs and their times, the device, and decoding.
RESUMABLE_KEYS = (
    "device",
    "fused_kernels",
    "cuda_graphs",
    "threads",
    "data.cache",
    "data.test",
    "decode",
    "trainer.max_updates",
    "trainer.max_epochs",
    "trainer.max_minutes",
    "trainer.patience",
    "trainer.calibrate",
    "trainer.log_every",
    "trainer.validate_every",
    "trainer.save_every",
    "trainer.save_minutes",
    "trainer.keep_checkpoints",
    "trainer.max_skipped_updates",
    "trainer.valid_beam",
    "trainer.valid_sentences",
    "trainer.tensorboard",
)
# Paths of input files: may change, because their content is checked by digests.
MOVABLE = (
    "data.name",
    "data.train",
    "data.valid",
    "guided_alignment.links",
    "valid_alignment.links",
    "tokenizer.model",
    "tokenizer.src_model",
    "tokenizer.tgt_model",
)
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
    return {name: value_at(plain, name) for name in _leaves(plain) if name not in (*NUISANCE_KEYS, *LOCATION_KEYS)}


def resumed(saved: dict, asked: TrainConfig, overrides: list[str]) -> TrainConfig:
    """The configuration to resume with: that of the run, `saved`, with the settings of the command line `overrides`.

    A command line that composes anew (+experiment=..., data=files, ...) gives all values of `asked`, any other only the
    keys in it. Raises ValueError, with both values, for a change that would make it another run, and for a setting that
    has no effect.
    """
    new = to_dict(asked)
    keys = [override.lstrip("+~").partition("=")[0] for override in overrides]
    names = set(_leaves(new)) - set(LOCATION_KEYS)
    composed = any(key in GROUPS or not any(_within(name, key) for name in (*names, *LOCATION_KEYS)) for key in keys)
    if saved.get("finetune_from"):
        names -= {name for name in names if _is_inherited(name, saved["model"]["kind"])} - set(given(overrides))
    wanted = {name: value_at(new, name) for name in names if composed or any(_within(name, key) for key in keys)}
    merged = OmegaConf.create(saved)
    for name, value in _changed(saved, wanted, "in the run", "on the command line").items():
        OmegaConf.update(merged, name, value)
    plain = OmegaConf.to_container(merged)
    assert isinstance(plain, dict)
    config = from_dict(TrainConfig, plain)
    refuse_unused(config, overrides)
    return config


def _is_inherited(name: str, kind: str) -> bool:
    """Whether a run with finetune_from= and this model.kind takes the setting from that run."""
    match ModelKind[kind]:
        case ModelKind.alignment_head:
            of_search = name.startswith("decode.") or name in ("trainer.valid_beam", "data.bleu_tokenizer")
            return of_search or (_is_of_model(name) and name != "model.alignment_head.dropout")
        case ModelKind.aligner:
            return _is_of_model(name) and name != "model.aligner.dropout"
        case _:
            return _is_of_model(name) and not name.endswith("dropout")


def _is_of_model(name: str) -> bool:
    return name.startswith(("model.", "tokenizer."))


def check_same_run(before: TrainConfig, now: TrainConfig) -> None:
    """Raises ValueError, with both values, if a run with the settings `before` cannot resume with `now`."""
    new = to_dict(now)
    wanted = {name: value_at(new, name) for name in _leaves(new) if name not in LOCATION_KEYS}
    _changed(to_dict(before), wanted, "in the checkpoint", "in the run's config.yaml")


def _changed(old: dict, wanted: dict, here: str, there: str) -> dict:
    changed = {name: value for name, value in sorted(wanted.items()) if value_at(old, name) != value}
    for name, value in changed.items():
        moved = name in MOVABLE and value and value_at(old, name)
        if not moved and not any(_within(name, free) for free in RESUMABLE_KEYS):
            raise ValueError(
                f"{name} is {value_at(old, name)} {here} and {value} {there}; a run can be resumed with other "
                f"{', '.join(RESUMABLE_KEYS)}, with other places of the same {', '.join(MOVABLE)}, and with nothing "
                "else: "
                "try finetune_from= for a new run from its weights"
            )
    return changed


def _within(name: str, key: str) -> bool:
    return name == key or name.startswith(f"{key}.")


GROUPS = ("experiment", "preset", "data", "model/attention", "model/decoder", "model/encoder", "optim")


def _leaves(plain: dict, prefix: str = ""):
    for key, value in plain.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"
