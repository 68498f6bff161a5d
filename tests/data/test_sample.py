"""The corpus files in data/sample are those that the script writes, and a part of the demo corpus."""

from pathlib import Path

import pytest

from nmt.analysis.alignment import read_links
from nmt.corpus import read_files
from nmt.demo_corpus import splits

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "data" / "sample"
COUNTS = {"train": 1900, "valid": 200, "test": 200}


def test_the_sample_is_what_the_script_writes(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import make_sample

    make_sample.write_sample(tmp_path)
    written = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert written == {path.name: path.read_bytes() for path in SAMPLE.iterdir()}


def test_the_sample_is_small():
    assert sum(path.stat().st_size for path in [*SAMPLE.iterdir(), SAMPLE.parent / "README.md"]) < 500 * 1024


@pytest.mark.parametrize(("name", "count"), COUNTS.items())
def test_a_part_of_the_sample_has_pairs_and_links_within_them(name, count):
    pairs = list(read_files([str(SAMPLE / name)], "en", "fr"))
    gold = list(read_links(SAMPLE / f"{name}.links", count))
    assert len(pairs) == len(gold) == count
    for pair, links in zip(pairs, gold, strict=True):
        words = len(pair.src.split()), len(pair.tgt.split())
        assert links.sure
        assert all(i < words[0] and j < words[1] for i, j in links.sure)


def test_no_training_pair_of_the_sample_is_a_test_pair_of_the_demo_corpus():
    whole = splits(train=2000, valid=600, test=600, seed=1)
    held_out = {example.src for example in (*whole.valid, *whole.test)}
    assert not held_out & set((SAMPLE / "train.en").read_text().splitlines())
