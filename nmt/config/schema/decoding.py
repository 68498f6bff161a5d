"""The settings decode.*"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

from nmt.attention.hard import HardPrediction
from nmt.bounds import positive_int
from nmt.decoding.options import SearchOptions


@dataclass
class DecodeConfig(SearchOptions):
    """The search options of a run's validations, except for the beam, which is trainer.valid_beam."""

    batch_size: int = 64
    hard_attention: HardPrediction = HardPrediction.marginal

    def __post_init__(self):
        positive_int(decode__beam=self.beam, decode__batch_size=self.batch_size, decode__max_length=self.max_length)
        positive_int(decode__nbest=self.nbest)
        super().__post_init__()


def _nullable_fields_of(options: type) -> Callable[[type], type]:
    """Adds the fields of `options` that a class does not declare itself, each with the default null."""

    def add(schema: type) -> type:
        for each in fields(options):
            if each.name not in schema.__annotations__:
                schema.__annotations__[each.name] = each.type | None  # pyright: ignore[reportOperatorIssue]
                setattr(schema, each.name, None)
        return schema

    return add


@dataclass
@_nullable_fields_of(DecodeConfig)
class DecodeOverrides:
    """The search options of a command that opens a run; null values are those of the run's validations."""

    beam: int = 5
    nbest: int = 1

    def __post_init__(self):
        self.over(DecodeConfig())

    def given(self) -> dict[str, Any]:
        """The options that are not null, by name."""
        return {name: value for name, value in vars(self).items() if value is not None}

    def over(self, own: DecodeConfig) -> DecodeConfig:
        """`own`, of the run, with the values given here. Raises ValueError, with the name, for an invalid value."""
        return replace(own, **self.given())
