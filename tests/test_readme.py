"""The README promises nothing that does not work as printed."""

import re
import shlex
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from nmt.config import schema  # noqa: F401  (registers what the YAML files are checked against)
from nmt.config.door import CONFIGS

README = Path(__file__).parent.parent / "README.md"
TEXT = README.read_text(encoding="utf-8")


def commands() -> list[list[str]]:
    """The words after `-m` of each command in an indented block, without redirections, dots and comments."""
    joined = re.sub(r"\\\n\s*", "", TEXT)
    lines = re.findall(r"^ {4,}.*-m (nmt\.\w+.*)$", joined, re.M)
    return [re.split(r"\s[<>]", shlex.join(shlex.split(line, comments=True)).replace("'<'", "<"))[0].split() for line in lines]


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_every_command_composes(command):
    verb, *overrides = (word.strip("'") for word in command)
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        OmegaConf.to_object(compose(verb.removeprefix("nmt."), [word for word in overrides if word != "..."]))


def test_there_are_commands():
    assert len(commands()) >= 8


@pytest.mark.parametrize("path", re.findall(r"\]\(([^)#:]+)\)", TEXT))
def test_every_link_leads_somewhere(path):
    assert (README.parent / path).exists()


@pytest.mark.parametrize("target", re.findall(r"`make (\w+)`", TEXT))
def test_every_make_target_exists(target):
    assert re.search(rf"^{target}:", (README.parent / "Makefile").read_text(encoding="utf-8"), re.M)
