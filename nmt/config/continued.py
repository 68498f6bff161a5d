"""The configuration of a run that is resumed, or that starts from the weights of another run."""

from omegaconf import OmegaConf

from nmt.config.saved import LOCATION_KEYS, from_dict, leaves, to_dict, value_at
from nmt.config.schema import ModelKind, TrainConfig
from nmt.config.unused import given, is_inherited, refuse_unused

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
GROUPS = ("experiment", "preset", "data", "model/attention", "model/decoder", "model/encoder", "optim")


def resumed(saved: dict, asked: TrainConfig, overrides: list[str]) -> TrainConfig:
    """The configuration to resume with: that of the run, `saved`, with the settings of the command line `overrides`.

    A command line that composes anew (+experiment=..., data=files, ...) gives all values of `asked`, any other only the
    keys in it. Raises ValueError, with both values, for a change that would make it another run, and for a setting that
    has no effect.
    """
    new = to_dict(asked)
    keys = [override.lstrip("+~").partition("=")[0] for override in overrides]
    names = set(leaves(new)) - set(LOCATION_KEYS)
    composed = any(key in GROUPS or not any(_within(name, key) for name in (*names, *LOCATION_KEYS)) for key in keys)
    if saved.get("finetune_from"):
        kind = ModelKind[saved["model"]["kind"]]
        names -= {name for name in names if is_inherited(name, kind)} - set(given(overrides))
    wanted = {name: value_at(new, name) for name in names if composed or any(_within(name, key) for key in keys)}
    config = _updated(saved, _changed(saved, wanted, "in the run", "on the command line"))
    refuse_unused(config, overrides)
    return config


def check_same_run(before: TrainConfig, now: TrainConfig) -> None:
    """Raises ValueError, with both values, if a run with the settings `before` cannot resume with `now`."""
    new = to_dict(now)
    wanted = {name: value_at(new, name) for name in leaves(new) if name not in LOCATION_KEYS}
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


def inherit(config: TrainConfig, own: TrainConfig) -> TrainConfig:
    """`config` with the settings that a run with finetune_from= has from that run, `own`. The settings of a new
    alignment head are those of `config`."""
    kind, theirs = config.model.kind, to_dict(own)
    names = {name for name in leaves(theirs) if is_inherited(name, kind)} - {"model.kind"}
    if own.model.kind is not kind:
        names = {name for name in names if not _within(name, "model.alignment_head")}
    return _updated(to_dict(config), {name: value_at(theirs, name) for name in names})


def _updated(plain: dict, values: dict) -> TrainConfig:
    """The configuration `plain` with other values, by dotted key."""
    merged = OmegaConf.create(plain)
    for name, value in values.items():
        OmegaConf.update(merged, name, value)
    updated = OmegaConf.to_container(merged)
    assert isinstance(updated, dict)
    return from_dict(TrainConfig, updated)


def _within(name: str, key: str) -> bool:
    return name == key or name.startswith(f"{key}.")
