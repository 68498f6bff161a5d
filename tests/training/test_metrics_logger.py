"""What is logged is logged once, however often a run is killed and resumed."""

import json

import pytest

from nmt.checkpoint.progress import Progress
from nmt.checkpoint.run_folder import RunFolder
from nmt.training.metrics_logger import MetricsLogger
from nmt.validation.translation import ValidationResult

FINDING = ValidationResult(1.0, {"bleu": 2.0}, [])


def numbers(loss: float) -> dict[str, float]:
    return {"loss": loss, "lr": 0.1, "grad_norm": 1.0, "tokens_per_second": 1.0, "epoch": 0.5}


def points(run: RunFolder, tag: str) -> list[tuple[int, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run.tensorboard))
    events.Reload()
    return [(event.step, round(event.value, 3)) for event in events.Scalars(tag)]


def logged(run: RunFolder, kind: str) -> list[tuple[int, float]]:
    lines = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    return [(line["update"], line["loss"]) for line in lines if line["kind"] == kind]


@pytest.mark.slow
def test_points_beyond_the_checkpoint_are_dropped_from_both_records(tmp_path):
    run = RunFolder(tmp_path)
    first = MetricsLogger(run).open(Progress())
    for update in (1, 2, 3, 4):
        first.train(update, 0.0, numbers(update))
    first.valid(2, FINDING, {"loss": 9.0, "perplexity": 1.0, "bleu": 1.0, "seconds": 1.0}, True)
    first.flush()
    with run.metrics.open("a") as file:
        file.write('{"update": 5, "ki')  # a kill in the middle of a line
    second = MetricsLogger(run).open(Progress(update=2, validated=2))
    second.train(3, 0.0, numbers(30))
    second.close()
    assert logged(run, "train") == points(run, "train/loss") == [(1, 1.0), (2, 2.0), (3, 30.0)]
    assert logged(run, "valid") == points(run, "valid/loss") == [(2, 9.0)]
    first.close()


@pytest.mark.slow
def test_a_validation_that_was_not_saved_is_dropped_though_its_update_was(tmp_path):
    run = RunFolder(tmp_path)
    first = MetricsLogger(run).open(Progress())
    first.train(2, 0.0, numbers(2))
    first.valid(2, FINDING, {"loss": 9.0, "perplexity": 1.0, "bleu": 1.0, "seconds": 1.0}, True)
    first.flush()
    second = MetricsLogger(run).open(Progress(update=2, validated=0))
    second.valid(2, FINDING, {"loss": 8.0, "perplexity": 1.0, "bleu": 1.0, "seconds": 1.0}, True)
    second.close()
    assert logged(run, "train") == points(run, "train/loss") == [(2, 2.0)]
    assert logged(run, "valid") == points(run, "valid/loss") == [(2, 8.0)]
    first.close()
