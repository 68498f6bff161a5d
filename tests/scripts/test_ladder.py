"""The ladder of regularizers: steps that train as they say, and the table that is read from their runs."""

import json

import pytest

from nmt.config.unused import refuse_unused
from scripts.ladder import STEPS, Result, read, table
from scripts.training_jobs import scores_file
from tests.support.commands import compose_config


@pytest.mark.parametrize("step", STEPS)
def test_every_step_of_the_ladder_composes(step):
    words = ["+experiment=multi30k", "data=files", "data.src=de", "data.tgt=en", *STEPS[step]]
    refuse_unused(compose_config(words), words)


def test_a_result_is_the_best_validation_the_test_score_and_the_median_pace(tmp_path):
    lines = [
        {"kind": "train", "update": 1, "tokens_per_second": 100},
        {"kind": "train", "update": 2, "tokens_per_second": 300},
        {"kind": "valid", "update": 2, "bleu": 31.5, "perplexity": 7.0},
        {"kind": "valid", "update": 4, "bleu": 30.0, "perplexity": 6.0},
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert read(tmp_path) == Result(4, 7.0, 31.5, None, 200)
    scores_file(tmp_path).parent.mkdir()
    scores_file(tmp_path).write_text(json.dumps({"bleu": {"score": 32.5}}))
    assert read(tmp_path) == Result(4, 7.0, 31.5, 32.5, 200)


def test_the_table_has_means_deviations_and_paces_relative_to_the_first():
    simcut = [Result(10, 4, 31, 32, 180), Result(10, 6, 33, 33, 220)]
    found = table({"baseline": [Result(10, 5.0, 30.0, None, 400)], "simcut": simcut})
    assert found.splitlines()[2:] == [
        "| baseline | 1 | 10 | 5.00 | 30.00 | - | 1.00 |",
        "| simcut | 2 | 10 | 5.00 | 32.00 ± 1.41 | 32.50 ± 0.71 | 0.50 |",
    ]


def test_a_run_without_a_validation_is_said(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("")
    with pytest.raises(SystemExit, match="has no validation"):
        read(tmp_path)
