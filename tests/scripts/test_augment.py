"""The script that makes training text with trained models, on runs of one update."""

import pytest

from nmt import train
from scripts import augment
from tests.support.commands import ROOT, compose_config


@pytest.fixture
def run(tmp_path, monkeypatch, capfd):
    """run(WORD, ...) in an empty folder -> what the script prints. Raises SystemExit as it does."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))

    def run(*words: str) -> str:
        monkeypatch.setattr("sys.argv", ["augment.py", *words])
        augment.main()
        return capfd.readouterr().out

    return run


@pytest.mark.slow
@pytest.mark.process
def test_runs_of_both_directions_translate_the_corpus_and_a_stopped_one_goes_on(tiny, tmp_path, run):

    for src, tgt in (("de", "en"), ("en", "de")):
        changes = {"data.src": src, "data.tgt": tgt, "trainer__max_updates": 1, "decode__max_length": 8}
        words = tiny.settings(tmp_path / f"{src}-{tgt}", **changes)
        train.main(compose_config(words), words)
    for side in ("de", "en"):
        lines = (tiny.folder / f"train.{side}").read_text().splitlines(keepends=True)
        (tmp_path / f"corpus.{side}").write_text("".join(lines[:20]).removesuffix("\n"))
    printed = run("out", "corpus", "--runs", "de-en", "en-de", "--", "threads=1")
    assert printed == "data.train=[corpus,out/de-en,out/en-de]\n"
    found = {path.name: path.read_text() for path in (tmp_path / "out").iterdir()}
    assert sorted(found) == ["de-en.de", "de-en.en", "en-de.de", "en-de.en"]
    assert found["de-en.de"] == (tmp_path / "corpus.de").read_text()
    assert found["en-de.en"] == (tmp_path / "corpus.en").read_text()
    assert [len(text.splitlines()) for text in found.values()] == [20] * 4
    stopped = tmp_path / "out" / "de-en.en"
    stopped.write_text("".join(f"{line}\n" for line in stopped.read_text().splitlines()[:7]))
    run("out", "corpus", "--runs", "de-en", "--", "threads=1")
    assert stopped.read_text() == found["de-en.en"]


def test_a_folder_that_is_no_run_and_two_of_one_name_are_refused(run):
    with pytest.raises(SystemExit, match=r"nowhere is no run folder \(no config\.yaml\)"):
        run("out", "corpus", "--runs", "nowhere")
    with pytest.raises(SystemExit, match="two runs are called one"):
        run("out", "corpus", "--runs", "a/one", "b/one")
