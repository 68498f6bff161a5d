"""Looks at the whole house: who imports whom."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "nmt"
VERBS = {"train", "evaluate", "translate", "align", "compare", "saliency"}

# A room may import from itself and from the rooms named here.
ARROWS = {
    "data": set(),
    "model": {"data"},
    "analysis": {"data"},
    "decoding": {"data", "model"},
    "training": {"data", "model", "analysis", "decoding"},
    "config": {"data", "model", "analysis", "decoding", "training"},
    "build": {"data", "model", "analysis", "decoding", "training", "config"},
}


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def rooms(path: Path) -> set[str]:
    return {name.split(".")[1] for name in imports(path) if name.startswith("nmt.")}


def modules(room: str) -> list[Path]:
    file = PACKAGE / f"{room}.py"
    return [file] if file.exists() else sorted((PACKAGE / room).rglob("*.py"))


@pytest.mark.parametrize("room", ARROWS)
def test_imports_run_one_way(room):
    for path in modules(room):
        assert rooms(path) <= ARROWS[room] | {room}, path


@pytest.mark.parametrize("room", ["data", "model", "analysis", "decoding", "training"])
def test_only_config_and_build_know_the_config_library(room):
    for path in modules(room):
        names = imports(path)
        assert not any(name.split(".")[0] in ("hydra", "omegaconf") for name in names), path


def test_nothing_imports_a_verb():
    for path in PACKAGE.rglob("*.py"):
        assert not rooms(path) & VERBS, path


def test_there_is_no_room_without_a_name():
    names = {path.stem for path in PACKAGE.rglob("*")}
    assert not names & {"utils", "helpers", "common", "base", "core", "engine", "manager"}


@pytest.mark.process
def test_translating_starts_without_what_is_slow_to_import():
    asked = "import nmt.translate, sys; print(*sys.modules)"
    said = subprocess.run([sys.executable, "-c", asked], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"matplotlib", "tensorboard", "datasets", "sacrebleu"} & set(said.stdout.split())
