"""A sweeper is told the score of each run's best validation: larger is better, whatever the metric."""

import json
import sys

import pytest

from nmt.analysis.alignment import AlignmentScores
from nmt.training.options import EarlyStoppingMetric
from nmt.training.validation import ValidationResult


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["bleu", "loss"])
def test_each_job_of_a_sweep_returns_its_best_validation_score(tiny, start_command, tmp_path, metric):
    returned = tmp_path / "returned"

    def note_returned() -> None:
        import hydra._internal.hydra  # noqa: F401  (a single run calls it from there)
        from hydra.core import utils

        run_job = utils.run_job

        def noting(*arguments, **options):
            job = run_job(*arguments, **options)
            with returned.open("a") as file:
                file.write(f"{job.return_value}\n")
            return job

        for module in list(sys.modules.values()):  # launchers that were imported before have their own name for it
            if getattr(module, "run_job", None) is run_job:
                vars(module)["run_job"] = noting

    settings = tiny.settings(
        f"{tmp_path}/one,{tmp_path}/two",
        trainer__max_updates=3,
        trainer__validate_every=1,
        trainer__early_stopping_metric=metric,
    )
    child = start_command("train", [*settings, "--multirun"], note_returned)
    assert child.wait() == 0, child.errors()
    found = [float(line) for line in returned.read_text().split()]
    assert len(found) == 2
    lines = [json.loads(line) for line in (tmp_path / "one" / "metrics.jsonl").read_text().splitlines()]
    scores = [{"bleu": line["bleu"], "loss": -line["loss"]}[metric] for line in lines if line["kind"] == "valid"]
    assert found[0] == max(scores)
    again = start_command("train", [f"resume={tmp_path / 'one'}"], note_returned)  # finished: nothing is trained
    assert again.wait() == 0, again.errors()
    assert float(returned.read_text().split()[-1]) == found[0]


def test_a_larger_score_is_better_whatever_the_metric():
    good = ValidationResult(1.0, {"bleu": 30.0}, [], alignment=AlignmentScores(0.1, 0.9, 0.9))
    bad = ValidationResult(2.0, {"bleu": 20.0}, [], alignment=AlignmentScores(0.2, 0.8, 0.8))
    for metric in EarlyStoppingMetric:
        assert metric.score(good) > metric.score(bad)
    assert EarlyStoppingMetric.loss.score(good) == -1.0
