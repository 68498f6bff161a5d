"""What the tests of the server share: two tiny runs, and a server of both in a process of its own."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.commands import call, environment
from tests.support.http import Client


@pytest.fixture(scope="session")
def runs(tiny, tmp_path_factory) -> tuple[Path, Path]:
    """Two runs: de to en, and back."""
    folder = tmp_path_factory.mktemp("served")
    for name, updates, *sides in (
        ("there", 120, "data.src=de", "data.tgt=en"),
        ("back", 10, "data.src=en", "data.tgt=de"),
    ):
        ended = call(
            folder,
            "train",
            *tiny.settings(folder / name, trainer__max_updates=updates, trainer__save_every=0),
            *sides,
            "device=cpu",
        )
        assert ended.code == 0, ended.err
    return folder / "there", folder / "back"


@pytest.fixture(scope="session")
def served(runs, tmp_path_factory) -> Iterator[Client]:
    """A client of a server that runs both."""
    log = tmp_path_factory.mktemp("log") / "stderr"
    words = [f"checkpoint=[{runs[0]},{runs[1]}]", "port=0", "device=cpu", "threads=1", "decode.max_length=20"]
    words += [
        "limits.characters=2000",
        "limits.sentences=50",
        "limits.sentence_characters=1000",
        "limits.idle_seconds=1",
    ]
    with log.open("w") as err:
        process = subprocess.Popen([sys.executable, "-m", "nmt.serve", *words], stderr=err, env=environment())
    try:
        yield Client.when_listening(log)
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(30)
    assert code == 0, log.read_text()
    assert not re.search("Traceback|failed", log.read_text()), log.read_text()
