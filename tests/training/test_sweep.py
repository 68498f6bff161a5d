"""A sweeper gets the score of each run's best validation: larger is better, whatever the metric."""

import json
import sys

import pytest
import yaml

from nmt.analysis.alignment import AlignmentScores
from nmt.training.options import EarlyStoppingMetric
from nmt.validation.translation import ValidationResult


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


@pytest.mark.slow
def test_optuna_finds_the_best_of_a_few_runs(tiny, start_command, tmp_path):
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper", reason="needs the optional extra `sweep`")
    settings = tiny.settings(
        f"{tmp_path}/lr-${{optim.lr}}",
        trainer__max_updates=3,
        trainer__validate_every=3,
        trainer__early_stopping_metric="loss",
        optim__lr="interval(1e-4,1e-2)",
    )
    sweeper = ["hydra/sweeper=optuna", "hydra.sweeper.direction=maximize", "hydra.sweeper.n_trials=3"]
    sweeper += ["hydra.sweeper.n_jobs=1", f"hydra.sweep.dir={tmp_path}/optuna"]
    child = start_command("train", [*settings, *sweeper, "--multirun"])
    assert child.wait() == 0, child.errors()
    scores = {}
    for run in tmp_path.glob("lr-*"):
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        scores[float(run.name.removeprefix("lr-"))] = max(-line["loss"] for line in lines if line["kind"] == "valid")
    found = yaml.safe_load((tmp_path / "optuna" / "optimization_results.yaml").read_text())
    assert len(scores) == 3
    assert found["best_value"] == max(scores.values())
    assert scores[found["best_params"]["optim.lr"]] == found["best_value"]


def test_a_larger_score_is_better_whatever_the_metric():
    good = ValidationResult(1.0, {"bleu": 30.0}, [], alignment=AlignmentScores(0.1, 0.9, 0.9))
    bad = ValidationResult(2.0, {"bleu": 20.0}, [], alignment=AlignmentScores(0.2, 0.8, 0.8))
    for metric in EarlyStoppingMetric:
        assert metric.score(good) > metric.score(bad)
    assert EarlyStoppingMetric.loss.score(good) == -1.0
