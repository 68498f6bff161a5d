"""The table of attention kinds: its experiments are there, and it is read from evaluated runs."""

import json

import pytest

from scripts.attention_table import EXPERIMENTS, Result, read, table
from scripts.training_jobs import scores_file
from tests.support.commands import compose_config


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_of_the_table_composes(experiment):
    assert compose_config([f"+experiment={experiment}", "threads=1", "seed=2"]).name == experiment


def test_a_result_is_read_from_scores_metrics_and_log(tmp_path):
    scores = {"bleu": {"score": 91.5}, "perplexity": 1.1, "alignment": {"aer": 0.25}}
    scores_file(tmp_path).parent.mkdir()
    scores_file(tmp_path).write_text(json.dumps(scores))
    lines = [{"kind": "train", "tokens_per_second": 100}, {"kind": "train", "tokens_per_second": 300}]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "train.log").write_text("vocabulary 1000 and 1000; 887,016 weights; real tokens\n")
    assert read(tmp_path) == Result(91.5, 1.1, 25.0, 887016, 200)


def test_the_table_has_means_deviations_and_paces_relative_to_the_first():
    one = [Result(90, 1.2, 6.0, 1000, 400), Result(92, 1.0, 5.0, 1000, 400)]
    found = table({"bahdanau": one, "rnnencdec": [Result(16, 2.5, None, 900, 800)]})
    assert found.splitlines()[2:] == [
        "| `bahdanau` | 2 | 91.00 ± 1.41 | 1.100 | 5.5 | 1,000 | 1.00 |",
        "| `rnnencdec` | 1 | 16.00 | 2.500 | - | 900 | 2.00 |",
    ]
