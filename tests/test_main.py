"""The console command: which command it starts, and what it says where there is none."""

import subprocess
import sys

import pytest

from nmt import __main__ as entry
from nmt import __version__
from nmt.cli import CONFIGS


@pytest.fixture
def start(monkeypatch, capsys):
    """start("train", "seed=3") -> (exit status, output, errors) and the module that was run, with its arguments."""

    def run(*words):
        started = []
        monkeypatch.setattr(entry.runpy, "run_module", lambda name, **_: started.append((name, sys.argv[1:])))
        monkeypatch.setattr(sys, "argv", ["nmt", *words])
        code = 0
        try:
            entry.main()
        except SystemExit as end:
            code = int(end.code or 0)
        return started, (code, *capsys.readouterr())

    return run


def test_there_is_a_command_for_every_configuration():
    assert sorted(entry.COMMANDS) == sorted(path.stem for path in CONFIGS.glob("*.yaml"))


@pytest.mark.parametrize("command", entry.COMMANDS)
def test_a_command_starts_its_module_with_the_other_words(start, command):
    started, ended = start(command, "seed=3", "--help")
    assert started == [(f"nmt.{command}", ["seed=3", "--help"])]
    assert ended == (0, "", "")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["trian", "seed=3"], "error: trian: no such command, did you mean train; legal are train, evaluate, "),
        (["+experiment=bahdanau"], "error: +experiment=bahdanau: no such command; legal are train, "),
        ([], "error: no command given; legal are train, "),
    ],
)
def test_a_word_that_is_no_command_is_refused_in_one_line(start, words, said):
    started, (code, out, err) = start(*words)
    assert (started, code, out, err.count("\n")) == ([], 2, "", 1)
    assert err.startswith(said)


@pytest.mark.parametrize("word", ["--help", "-h", "help"])
def test_help_names_every_command(start, word):
    _, (code, out, err) = start(word)
    assert (code, err) == (0, "")
    assert all(f"\n  {command} " in out for command in entry.COMMANDS)


def test_the_version_is_printed(start):
    assert start("--version")[1] == (0, f"nmt {__version__}\n", "")


@pytest.mark.process
def test_another_kind_of_system_is_refused_in_a_sentence():
    code = "import os; os.name = 'nt'\ntry:\n    import nmt\nexcept ImportError as error:\n    print(error)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=CONFIGS.parent)
    assert said.stdout.startswith("nmt needs a POSIX system")
