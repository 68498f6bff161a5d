"""The door with nobody behind it: what a command line becomes, or the line that refuses it."""

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from nmt.config.door import door
from nmt.config.schema import AlignConfig, EvaluateConfig, SaliencyConfig, TrainConfig, TranslateConfig

SCHEMAS = {
    "train": TrainConfig,
    "evaluate": EvaluateConfig,
    "translate": TranslateConfig,
    "align": AlignConfig,
    "saliency": SaliencyConfig,
}


class Heard(NamedTuple):
    """code: the exit status; configs: what arrived behind the door; out, err: what was printed."""

    code: int
    configs: list[Any]
    overrides: list[list[str]]
    out: str
    err: str


@pytest.fixture
def ask(monkeypatch, capsys, tmp_path) -> Callable[..., Heard]:
    """ask("train", "seed=3", ...) in an empty folder, which must stay empty."""
    monkeypatch.chdir(tmp_path)

    def call(verb: str, *words: str, main: Callable[[Any], None] | None = None) -> Heard:
        configs, overrides = [], []

        def arrive(config, given):
            configs.append(config)
            overrides.append(given)
            if main:
                main(config)

        monkeypatch.setattr(sys, "argv", [f"nmt.{verb}", *words])
        code = 0
        try:
            door(verb, arrive, SCHEMAS[verb])
        except SystemExit as end:
            code = int(end.code or 0)
        assert not list(tmp_path.iterdir()), "the door itself writes nothing"
        return Heard(code, configs, overrides, *capsys.readouterr())

    return call


@pytest.fixture
def refusal(ask) -> Callable[..., str]:
    """The one line with which a command is refused."""

    def call(verb: str, *words: str, **more: Any) -> str:
        heard = ask(verb, *words, **more)
        lines = heard.err.splitlines()
        assert heard.code == 2
        assert len(lines) == 1, heard.err
        assert lines[0].startswith("error: ")
        assert heard.out == ""
        return lines[0].removeprefix("error: ")

    return call
