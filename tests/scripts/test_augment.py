"""The script that makes training text with trained models, on runs of one update."""

import subprocess
import sys

import pytest

from tests.support.commands import ROOT, compose_config, environment

pytestmark = [pytest.mark.slow, pytest.mark.process]


def augment(folder, *words) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / "augment.py"), *map(str, words)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment(), check=False)


def test_runs_of_both_directions_translate_the_corpus_and_a_stopped_one_goes_on(tiny, tmp_path):
    from nmt import train

    for src, tgt in (("de", "en"), ("en", "de")):
        changes = {"data.src": src, "data.tgt": tgt, "trainer__max_updates": 1, "decode__max_length": 8}
        words = tiny.settings(tmp_path / f"{src}-{tgt}", **changes)
        train.main(compose_config(words), words)
    for side in ("de", "en"):
        lines = (tiny.folder / f"train.{side}").read_text().splitlines(keepends=True)
        (tmp_path / f"corpus.{side}").write_text("".join(lines[:20]))
    words = ("out", "corpus", "--runs", "de-en", "en-de", "--", "threads=1")
    ended = augment(tmp_path, *words)
    assert (ended.returncode, ended.stdout) == (0, "data.train=[corpus,out/de-en,out/en-de]\n"), ended.stderr
    found = {path.name: path.read_text() for path in (tmp_path / "out").iterdir()}
    assert sorted(found) == ["de-en.de", "de-en.en", "en-de.de", "en-de.en"]
    assert found["de-en.de"] == (tmp_path / "corpus.de").read_text()
    assert found["en-de.en"] == (tmp_path / "corpus.en").read_text()
    assert [text.count("\n") for text in found.values()] == [20] * 4
    stopped = tmp_path / "out" / "de-en.en"
    stopped.write_text("".join(f"{line}\n" for line in stopped.read_text().splitlines()[:7]))
    assert augment(tmp_path, *words).returncode == 0
    assert stopped.read_text() == found["de-en.en"]


def test_a_folder_that_is_no_run_and_two_of_one_name_are_refused(tmp_path):
    assert (
        augment(tmp_path, "out", "corpus", "--runs", "nowhere").stderr == "nowhere is no run folder (no config.yaml)\n"
    )
    assert "two runs are called one" in augment(tmp_path, "out", "corpus", "--runs", "a/one", "b/one").stderr
