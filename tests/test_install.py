"""The wheel, installed in an environment of its own, is the whole program."""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = ("nmt", "configs", "pyproject.toml", "setup.py", "README.md", "LICENSE")

pytestmark = [pytest.mark.slow, pytest.mark.process]


def run(folder: Path, *words: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """A command in `folder` that finds no package by way of the environment variables."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    return subprocess.run(
        [str(word) for word in words],
        cwd=folder,
        input=stdin,
        capture_output=True,
        text=True,
        env=environment | {"OMP_NUM_THREADS": "1"},
        check=False,
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel of this source tree, built from a copy, as a build leaves files behind."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder)
    pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation")
    built = run(folder, *pip, "--wheel-dir", "dist", ".")
    assert built.returncode == 0, built.stderr
    return next((folder / "dist").glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """The bin folder of a new environment with the wheel, which borrows all other packages of this one."""
    folder = tmp_path_factory.mktemp("environment")
    assert run(folder, sys.executable, "-m", "venv", "--without-pip", folder).returncode == 0
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    others = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (packages / "others.pth").write_text("".join(f"{each}\n" for each in sorted(others)))
    pip = (sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install", "--quiet", "--no-deps")
    done = run(folder, *pip, "--no-index", "--no-compile", wheel)
    assert done.returncode == 0, done.stderr
    return folder / "bin"


def test_the_wheel_holds_every_file_of_the_package_and_every_configuration(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if name.startswith("nmt/")}
    package = {path for path in (ROOT / "nmt").rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    expected = {str(path.relative_to(ROOT)) for path in package}
    expected |= {f"nmt/{path.relative_to(ROOT)}" for path in (ROOT / "configs").rglob("*.yaml")}
    assert names == expected


def test_the_installed_command_trains_evaluates_and_translates(installed, tmp_path):
    where = run(tmp_path, installed / "python", "-c", "import nmt; print(nmt.__file__)").stdout
    assert Path(where).is_relative_to(installed.parent)
    words = ["data.cache=cache", "device=cpu", "precision=fp32"]
    few = ["run=mine", "trainer.max_epochs=null", "trainer.max_updates=50", "trainer.tensorboard=false"]
    few += ["trainer.valid_sentences=20", "model.encoder.hidden=16", "model.decoder.hidden=32"]
    trained = run(tmp_path, installed / "nmt", "train", "+experiment=bahdanau", *words, *few)
    assert trained.returncode == 0, trained.stderr
    assert "at update 50" in trained.stderr
    greedy = ["heatmaps=1", "decode.beam=1", "decode.max_length=20"]
    evaluated = run(tmp_path, installed / "nmt", "evaluate", "checkpoint=mine", *words, *greedy)
    assert evaluated.returncode == 0, evaluated.stderr
    assert "BLEU" in evaluated.stdout
    assert (tmp_path / "mine" / "report.html").stat().st_size > 0
    translated = run(
        tmp_path, installed / "nmt", "translate", "checkpoint=mine", "device=cpu", stdin="The man sleeps.\n"
    )
    assert (translated.returncode, translated.stderr) == (0, "")
    assert translated.stdout.count("\n") == 1


@pytest.mark.parametrize("command", ["saliency", "serve"])
def test_other_installed_commands_show_their_help(installed, tmp_path, command):
    shown = run(tmp_path, installed / "nmt", command, "--help")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert f"nmt.{command}" in shown.stdout
    assert not list(tmp_path.iterdir())
