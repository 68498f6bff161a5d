"""Commands, links and paths in README and the documentation work as printed."""

import re
import shlex
from pathlib import Path

import pytest

from nmt.config.continued import MOVABLE, RESUMABLE_KEYS
from nmt.config.unused import refuse_unused
from tests.support.commands import compose_config

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
TEXT = README.read_text(encoding="utf-8")
OTHERS = (ROOT / "CONTRIBUTING.md", ROOT / "data" / "README.md", *sorted((ROOT / "docs").glob("*.md")))
PAGES = {page: page.read_text(encoding="utf-8") for page in (README, *OTHERS)}


JOINED = re.sub(r"\\\n\s*", "", "\n".join(PAGES.values()))


def commands() -> list[list[str]]:
    """The words after `-m` of each command in an indented block, without redirections, dots and comments."""
    lines = re.findall(r"^ {4,}.*-m (nmt\.\w+.*)$", JOINED, re.M)
    words = [shlex.join(shlex.split(line, comments=True)).replace("'<'", "<").replace("'>'", ">") for line in lines]
    return [re.split(r"\s[<>]", line)[0].split() for line in words]


@pytest.mark.slow
@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_every_command_composes(command):
    verb, *overrides = (word.strip("'") for word in command)
    if any(word.startswith("hydra/launcher=") for word in overrides):
        pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="needs the optional extra `cluster`")
    if any(word.startswith("hydra/sweeper=") for word in overrides):
        pytest.importorskip("hydra_plugins.hydra_optuna_sweeper", reason="needs the optional extra `sweep`")
    if "--multirun" in overrides:  # one value of each list, and the lower end of each interval, stands for all
        overrides = [re.sub(r"interval\((.*)", r"\1", word.split(",")[0]) for word in overrides if word != "--multirun"]
    words = [word for word in overrides if word != "..."]
    config = compose_config(words, verb.removeprefix("nmt."))
    refuse_unused(config, [word for word in words if not word.startswith("hydra")])


def test_there_are_commands():
    assert len(commands()) >= 8


@pytest.mark.parametrize("command", re.findall(r"^ {4,}.*scripts/((?:ladder|\w+_table|augment)\.py .*)$", JOINED, re.M))
def test_settings_for_a_training_by_a_script_follow_two_dashes(command):
    words = shlex.split(command)
    assert not any("=" in word for word in (words[: words.index("--")] if "--" in words else words))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page):
    for path in re.findall(r"\]\(([^)#:]+)\)", PAGES[page]):
        assert (page.parent / path).exists(), path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_path_exists(page):
    """Of the source; files that an example of CONTRIBUTING.md makes are named by its diff."""
    made = set(re.findall(r"^--- (\S+) \(new\)$", PAGES[page], re.M))
    for path in re.findall(r"`((?:nmt|configs|scripts|tests|docs)/[\w/.]+)`", PAGES[page]):
        assert (ROOT / path).exists() or path in made, path


def test_the_readme_is_short_and_leads_to_every_page():
    assert len(TEXT.splitlines()) <= 150
    for page in PAGES.keys() - {README, ROOT / "data" / "README.md"}:
        assert f"]({page.relative_to(ROOT)})" in TEXT, page


@pytest.mark.parametrize("target", sorted(set(re.findall(r"`make (\w+)", "".join(PAGES.values())))))
def test_every_make_target_exists(target):
    assert re.search(rf"^{target}:", (README.parent / "Makefile").read_text(encoding="utf-8"), re.M)


def test_what_may_change_on_resuming_is_named():
    words = set(re.findall(r"\w+(?:\.\w+)*", PAGES[ROOT / "docs" / "restarts.md"]))
    assert {key for key in (*RESUMABLE_KEYS, *MOVABLE) if not {key, key.rpartition(".")[2]} & words} == set()
