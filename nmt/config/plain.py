"""A configuration as plain data, for checkpoints, and back; what may change when a run goes on."""

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nmt.config.schema import TrainConfig


def to_plain(config) -> dict:
    """A configuration as dictionaries, lists, numbers and words, fit for YAML and JSON."""
    plain = OmegaConf.to_container(OmegaConf.structured(config), enum_to_str=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def from_plain(schema: type, plain: dict):
    """The configuration that to_plain gave. Raises ValueError for what is not one (another version's, say)."""
    try:
        return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), plain))
    except OmegaConfBaseException as error:
        raise ValueError(
            f"a configuration that this version cannot read: {' '.join(str(error).split())[:300]}"
        ) from error


def at(plain: dict, key: str):
    """The value at a dotted key of plain data."""
    for part in key.split("."):
        plain = plain[part]
    return plain


# What a run may be resumed with: how long it goes on, what it writes and when, where it runs and how it decodes.
CHANGEABLE = (
    "run",
    "resume",
    "device",
    "threads",
    "data.cache",
    "decode",
    "trainer.max_updates",
    "trainer.max_epochs",
    "trainer.max_minutes",
    "trainer.patience",
    "trainer.log_every",
    "trainer.validate_every",
    "trainer.save_every",
    "trainer.save_minutes",
    "trainer.keep",
    "trainer.valid_beam",
    "trainer.valid_sentences",
    "trainer.tensorboard",
)


def resumed(saved: dict, asked: TrainConfig, overrides: list[str]) -> TrainConfig:
    """The configuration to go on with: the run's own, `saved`, with what the command line `overrides` asks for.

    A command that composes anew (+experiment=..., data=files, ...) asks for all of `asked`, any other only for the keys
    that it names. Raises ValueError, with both values, for a change that would make it another run.
    """
    new = to_plain(asked)
    keys = [override.lstrip("+~").partition("=")[0] for override in overrides]
    names = set(_leaves(new))
    composed = any(key not in names and not any(name.startswith(f"{key}.") for name in names) for key in keys)
    composed = composed or any(key in GROUPS for key in keys)
    asked_for = (
        names if composed else {name for name in names if any(name == k or name.startswith(f"{k}.") for k in keys)}
    )
    merged = OmegaConf.create(saved)
    for name in sorted(asked_for):
        old = OmegaConf.select(merged, name)
        if at(new, name) == old:
            continue
        if not any(name == free or name.startswith(f"{free}.") for free in CHANGEABLE):
            raise ValueError(
                f"{name} is {old} in the run and {at(new, name)} on the command line; a run can be resumed with other "
                f"{', '.join(CHANGEABLE[2:])}, and with nothing else: try init= for a new run from its weights"
            )
        OmegaConf.update(merged, name, at(new, name))
    return from_plain(TrainConfig, OmegaConf.to_container(merged))


GROUPS = ("experiment", "size", "data", "model/attention", "model/decoder", "model/encoder", "optim")


def _leaves(plain: dict, prefix: str = ""):
    for key, value in plain.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"
