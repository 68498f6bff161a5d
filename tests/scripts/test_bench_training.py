"""The loops that the benchmark compares with must compute what ours computes."""

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "bench_training.py"


@pytest.mark.parametrize("decoder", ["bahdanau", "luong"])
def test_all_variants_have_the_same_gradients(decoder):
    spec = importlib.util.spec_from_file_location("bench_training", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    assert bench.check(decoder) < 1e-12
