"""The benchmark of subword regularization prints a row for each kind of model."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.data.test_sampling import LINES

SCRIPT = Path(__file__).parents[2] / "scripts" / "bench_sampling.py"


@pytest.mark.process
def test_sampled_segmentations_have_more_pieces(tmp_path):
    for side in ("aa", "bb"):
        (tmp_path / f"text.{side}").write_text("".join(f"{line}\n" for line in LINES), encoding="utf-8")
    words = [str(tmp_path / "text"), "--src", "aa", "--tgt", "bb", "--vocab-size", "280", "--epochs", "2"]
    ended = subprocess.run([sys.executable, str(SCRIPT), *words], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in ended.stdout.splitlines()]
    assert [row[0] for row in rows] == ["model", "---", "bpe", "unigram"]
    assert {len(row) for row in rows} == {5}
    assert all(float(row[2]) > 1 and min(map(float, row[3:])) > 0 for row in rows[2:])
