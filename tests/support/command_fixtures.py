"""The command line without its commands: what a command line becomes, or the line that refuses it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support import commands
from tests.support.commands import Ended


class CommandLineResult(NamedTuple):
    """code: the exit status; configs: what main() got; out, err: what was printed."""

    code: int
    configs: list[Any]
    overrides: list[list[str]]
    out: str
    err: str


@pytest.fixture
def ask(monkeypatch, tmp_path) -> Callable[..., CommandLineResult]:
    """ask("train", "seed=3", ...) in an empty folder, which must stay empty."""
    monkeypatch.chdir(tmp_path)

    def call(verb: str, *words: str, main: Callable[[Any], None] | None = None) -> CommandLineResult:
        configs, overrides = [], []

        def arrive(config, given):
            configs.append(config)
            overrides.append(given)
            if main:
                main(config)

        ended = commands.call(Path.cwd(), verb, *words, main=arrive)
        assert not list(tmp_path.iterdir()), "the command line itself writes nothing"
        return CommandLineResult(ended.code, configs, overrides, ended.out, ended.err)

    return call


@pytest.fixture
def refusal(ask) -> Callable[..., str]:
    """The one line with which a command is refused."""

    def call(verb: str, *words: str, **more: Any) -> str:
        result = ask(verb, *words, **more)
        return Ended(result.code, result.out, result.err).mistake

    return call
