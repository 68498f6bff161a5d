"""Raises an error for settings of a command line that have no effect."""

import fnmatch
from collections.abc import Iterable
from typing import Any

from nmt.config.schema import TrainConfig
from nmt.config.unused.commands import COMMAND_RULES
from nmt.config.unused.given import given
from nmt.config.unused.rule import Rule, is_set, shown, value_at
from nmt.config.unused.training import TRAIN_RULES, refuse_idle_trainer

_RULES = {TrainConfig: TRAIN_RULES, **COMMAND_RULES}


def refuse_unused(config: Any, overrides: list[str], rules: Iterable[Rule] = ()) -> None:
    """Raises ValueError for the first setting of the command line `overrides` that has no effect in `config`.

    rules: additional rules, if a checkpoint determines which settings have an effect.
    """
    names = given(overrides)
    for rule in (*_RULES.get(type(config), ()), *rules):
        for key in rule.keys.split():
            for name in fnmatch.filter(names, key):
                if is_set(value := value_at(config, name)) and not rule.acts(config):
                    raise ValueError(f"{name}={shown(value)} has no effect: {rule.advice.format(key=name)}")
    if isinstance(config, TrainConfig):
        refuse_idle_trainer(config)
