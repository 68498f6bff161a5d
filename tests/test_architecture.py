"""Which package imports which, over the syntax tree of every module."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "nmt"
COMMANDS = {"train", "evaluate", "translate", "align", "compare", "saliency", "average", "calibrate", "export", "serve"}

# A package may import from itself and from the packages named here.
ALLOWED = {
    "bounds": set(),
    "corpus": {"runtime"},
    "subword_sampling": set(),
    "data": {"bounds", "corpus", "runtime", "subword_sampling"},
    "demo_corpus": {"runtime"},
    "attention": set(),
    "layers": {"attention", "data"},
    "model": {"attention", "data", "layers"},
    "onnx": {"data", "layers", "model"},
    "acceleration": {"attention", "data", "layers", "model", "runtime"},
    "analysis": {"corpus", "data", "runtime"},
    "alignment_head": {"attention", "bounds", "data", "layers", "model"},
    "decoding": {
        *("acceleration", "alignment_head", "attention", "bounds", "corpus", "data", "layers", "model", "runtime"),
    },
    "minimum_risk": {"analysis", "bounds", "data", "decoding", "layers", "model"},
    "aligner": {"analysis", "bounds", "corpus", "data", "layers", "runtime"},
    "checkpoint": {"data", "runtime"},
    "runtime": set(),
    "validation": {"aligner", "alignment_head", "analysis", "corpus", "data", "decoding", "runtime"},
    "training": {
        *("acceleration", "aligner", "alignment_head", "analysis", "bounds", "checkpoint", "data", "decoding"),
        *("layers", "minimum_risk", "model", "runtime", "validation"),
    },
    "documents": set(),
    "server": {"bounds", "corpus", "data", "analysis", "decoding", "documents"},
    "config": {
        *("acceleration", "aligner", "alignment_head", "analysis", "attention", "bounds", "corpus", "data"),
        *("decoding", "layers", "minimum_risk", "model", "runtime", "server", "training"),
    },
    "cli": {"config", "runtime"},
    "build": {
        *("acceleration", "aligner", "alignment_head", "analysis", "attention", "checkpoint", "config", "corpus"),
        *("data", "decoding", "demo_corpus", "layers", "minimum_risk", "model", "runtime", "training", "validation"),
    },
    "api": {"acceleration", "bounds", "corpus", "data", "analysis", "decoding", "runtime", "config", "build"},
}


@cache
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


def module_of(name: str) -> str | None:
    """The module that an imported name is, or is in; None for another program's."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        path = ROOT.joinpath(*parts[:length])
        if path.with_suffix(".py").exists() or (path / "__init__.py").exists():
            return ".".join(parts[:length])
    return None


def within(name: str, package: str) -> bool:
    return f"{name}.".startswith(f"{package}.")


def siblings(folder: Path) -> dict[str, set[str]]:
    """The files and folders in a folder, each with those of them that it imports from; __init__: the folder itself."""
    package = ".".join(folder.relative_to(ROOT).parts)
    found = {}
    for child in sorted(folder.iterdir()):
        paths = list(child.rglob("*.py")) if child.is_dir() else [child] if child.suffix == ".py" else []
        names = {module_of(name) or "" for path in paths for name in imports(path)}
        inside = {f"{name}.__init__".split(".")[package.count(".") + 1] for name in names if within(name, package)}
        found[child.stem] = inside - {child.stem}
    return found


@pytest.mark.parametrize(
    "folder", [path.parent for path in sorted(PACKAGE.rglob("__init__.py"))], ids=lambda path: path.relative_to(ROOT)
)
def test_no_files_and_folders_import_each_other_in_a_circle(folder):
    graph = siblings(folder)
    if folder == PACKAGE:
        del graph["__init__"]  # it imports the Python interface when that is first used, and not before
    while free := {name for name, needed in graph.items() if not needed & graph.keys()}:
        graph = {name: needed for name, needed in graph.items() if name not in free}
    assert not graph, "each of these imports, or is needed by, a circle"


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


def is_kernel_or_autograd(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """A Triton kernel, or forward and backward of an autograd function, whose arguments are given."""
    decorators = " ".join(map(ast.unparse, function.decorator_list))
    return "triton.jit" in decorators or (decorators == "staticmethod" and function.name in ("forward", "backward"))


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    """The names of a function's parameters, without self and cls."""
    arguments = function.args
    found = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    return [each.arg for each in found if each and each.arg not in ("self", "cls")]


@pytest.mark.parametrize("package", ["attention", "data", "layers", "model", "training"])
def test_a_package_that_is_read_as_a_whole_has_less_than_1500_lines(package):
    assert sum(len(path.read_text("utf-8").splitlines()) for path in modules(package)) < 1500


def test_no_module_has_more_than_300_lines():
    lengths = {path: len(path.read_text("utf-8").splitlines()) for path in PACKAGE.rglob("*.py")}
    assert not [str(path.relative_to(PACKAGE)) for path, lines in lengths.items() if lines > 300]


def test_no_function_has_more_than_60_lines_or_8_parameters():
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or is_kernel_or_autograd(node):
                continue
            assert node.end_lineno is not None
            large = node.end_lineno - node.lineno >= 60 or len(parameters(node)) > 8
            assert not large, (str(path.relative_to(PACKAGE)), node.name)


@pytest.mark.process
def test_translating_starts_without_what_is_slow_to_import():
    code = "import nmt.translate, sys; print(*sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"matplotlib", "tensorboard", "datasets", "sacrebleu"} & set(printed.stdout.split())
