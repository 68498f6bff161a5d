"""Which package imports which, over the syntax tree of every module."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "nmt"
COMMANDS = {"train", "evaluate", "translate", "align", "compare", "saliency"}

# A package may import from itself and from the packages named here.
ALLOWED = {
    "bounds": set(),
    "data": {"bounds"},
    "demo_corpus": set(),
    "model": {"data", "acceleration"},
    "acceleration": {"data", "model"},
    "analysis": {"data"},
    "decoding": {"data", "model", "acceleration"},
    "checkpoint": {"data"},
    "runtime": {"data", "acceleration"},
    "training": {"bounds", "data", "model", "analysis", "decoding", "checkpoint", "runtime"},
    "config": {"bounds", "data", "model", "analysis", "decoding", "training", "runtime"},
    "cli": {"config", "runtime"},
    "build": {
        *("data", "demo_corpus", "model", "acceleration", "analysis", "decoding"),
        *("checkpoint", "runtime", "training", "config"),
    },
}


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def packages(path: Path) -> set[str]:
    return {name.split(".")[1] for name in imports(path) if name.startswith("nmt.")}


def modules(package: str) -> list[Path]:
    file = PACKAGE / f"{package}.py"
    return [file] if file.exists() else sorted((PACKAGE / package).rglob("*.py"))


@pytest.mark.parametrize("package", ALLOWED)
def test_imports_run_one_way(package):
    assert modules(package)
    for path in modules(package):
        assert packages(path) <= ALLOWED[package] | {package}, path


@pytest.mark.parametrize("package", sorted(ALLOWED.keys() - {"config", "cli", "build"}))
def test_only_config_cli_and_build_know_the_config_library(package):
    for path in modules(package):
        names = imports(path)
        assert not any(name.split(".")[0] in ("hydra", "omegaconf") for name in names), path


def test_nothing_imports_a_command():
    for path in PACKAGE.rglob("*.py"):
        assert not packages(path) & COMMANDS, path


def test_every_package_has_a_rule():
    found = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert found - {"__init__", "__main__"} <= ALLOWED.keys() | COMMANDS


def test_no_module_has_a_name_that_says_nothing():
    names = {path.stem for path in PACKAGE.rglob("*")}
    assert not names & {"utils", "helpers", "common", "base", "core", "engine", "manager"}


@pytest.mark.process
def test_translating_starts_without_what_is_slow_to_import():
    code = "import nmt.translate, sys; print(*sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"matplotlib", "tensorboard", "datasets", "sacrebleu"} & set(printed.stdout.split())
