"""The loop: stopping and going on changes nothing, bad numbers are left out, and it ends when it should."""

import json
import logging
import math
import os
import resource
import signal
import time

import pytest
import torch

from nmt import checkpoint
from nmt.training.optim import OptimizerName, ScheduleName
from nmt.training.options import EarlyStoppingMetric
from nmt.validation.translation import ValidationResult


def stop_and_go_on(tiny, folder, stops: list[int], updates: int, **how):
    """Trains in as many processes, so to say, as there are stops and one more."""
    for limit in (*stops, updates):
        trainer = tiny.trainer(folder, updates=limit, **how)
        if limit != (*stops, updates)[0]:
            torch.manual_seed(99)
            trainer.restore(checkpoint.read(trainer.run.last, weights_only=False))
        trainer.train()
    return trainer


# The tiny corpus has about 20 batches an epoch: 25 updates of 2 batches cross the ends of two epochs.
@pytest.mark.slow
@pytest.mark.parametrize("stops", [[1], [7], [10, 11], [3, 13, 20]])
def test_stopping_and_going_on_is_never_having_stopped(tiny, tmp_path, assert_same, stops):
    how = {"grad_accumulation": 2, "log_every": 3, "schedule": ScheduleName.inverse_sqrt, "ema": 0.9}
    tiny.trainer(tmp_path / "whole", updates=25, **how).train()
    stop_and_go_on(tiny, tmp_path / "parts", stops, 25, **how)
    # The last validations of the parts are theirs alone.
    for run in (tmp_path / "whole", tmp_path / "parts"):
        lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
        (run / "metrics.jsonl").write_text("".join(line for line in lines if '"train"' in line))
        forget_validations(run)
    assert_same(tmp_path / "whole", tmp_path / "parts")


def forget_validations(run) -> None:
    """Takes out of `last` what a validation at the end of each part leaves there."""
    snapshot = checkpoint.read(run / "checkpoints" / "last", weights_only=False)
    for key in ("best", "best_update", "validated", "finished"):
        snapshot.state.pop(key)
    checkpoint.write(run / "checkpoints" / "last", snapshot, Nothing())


class Nothing:
    def save(self, folder): ...


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", OptimizerName)
@pytest.mark.parametrize("average", [0.0, 0.9])
def test_each_update_can_be_gone_on_from(tiny, tmp_path, assert_same, optimizer, average):
    how = {
        "optimizer": optimizer,
        "ema": average,
        "save_every": 5,
        "validate_every": 3,
        "schedule": ScheduleName.plateau,
    }
    tiny.trainer(tmp_path / "whole", updates=10, **how).train()
    other = tiny.trainer(tmp_path / "other", updates=10, **how)
    other.restore(checkpoint.read(tmp_path / "whole" / "checkpoints" / "step-5", weights_only=False))
    (tmp_path / "other" / "metrics.jsonl").write_bytes((tmp_path / "whole" / "metrics.jsonl").read_bytes())
    other.train()
    assert_same(tmp_path / "whole", tmp_path / "other")


@pytest.mark.slow
def test_the_memory_of_a_plateau_and_of_patience_is_kept(tiny, tmp_path, everything):
    how = {
        "schedule": ScheduleName.plateau,
        "lr": 1.0,
        "optimizer": OptimizerName.sgd,
        "patience": 9,
        "validate_every": 1,
    }
    trainer = tiny.trainer(tmp_path, updates=6, early_stopping_metric=EarlyStoppingMetric.loss, **how)
    trainer.train()
    other = tiny.trainer(tmp_path, updates=6, early_stopping_metric=EarlyStoppingMetric.loss, **how)
    other.restore(checkpoint.read(trainer.run.last, weights_only=False))
    assert other.state.schedule == trainer.state.schedule
    assert (other.progress.waited, other.progress.best) == (trainer.progress.waited, trainer.progress.best)
    assert other.budget.validation == trainer.budget.validation > 0  # for the time that is reserved for the end


def poisoned(model, when):
    """The model's loss, not a number where when() says so."""
    loss = model.loss

    def bad(*arguments):
        found = loss(*arguments)
        return found._replace(objective=found.objective * float("nan")) if model.training and when() else found

    model.loss = bad
    return model


def test_a_batch_that_is_not_a_number_changes_nothing_and_is_counted(tiny, tmp_path):
    model = tiny.model()
    trainer = tiny.trainer(tmp_path, updates=4, model=model, ema=0.9)
    seen = {}

    def now() -> bool:
        seen[trainer.progress.update] = [
            w.detach().clone() for w in (*model.parameters(), *trainer.state.ema.own.values())
        ]
        return trainer.progress.update == 2

    poisoned(model, now)
    progress = trainer.train()
    assert all(torch.equal(one, two) for one, two in zip(seen[2], seen[3], strict=True))
    assert not all(torch.equal(one, two) for one, two in zip(seen[1], seen[2], strict=True))
    assert (progress.update, progress.skipped, progress.skipped_in_row) == (4, 1, 0)
    assert '"skipped": 1' in (tmp_path / "metrics.jsonl").read_text().splitlines()[-2]


def test_bad_numbers_without_end_stop_the_run_and_keep_its_last_good_checkpoint(tiny, tmp_path):
    model = tiny.model()
    trainer = tiny.trainer(tmp_path, updates=50, model=model, max_skipped_updates=3, save_every=2)
    poisoned(model, lambda: trainer.progress.update >= 5)
    with pytest.raises(
        ValueError, match=r"not finite in 3 updates in a row, up to update 8: try finetune_from=.* last good"
    ):
        trainer.train()
    assert checkpoint.read_update(trainer.run.last) == 4  # at 6 the loss was not finite: nothing replaces the good ones
    assert trainer.run.latest_valid() == trainer.run.last
    assert all(
        weight.isfinite().all() for weight in checkpoint.read(trainer.run.last, weights_only=True).model.values()
    )


def test_a_signal_among_bad_numbers_keeps_the_last_good_checkpoint(tiny, tmp_path):
    model = tiny.model()
    trainer = tiny.trainer(tmp_path, updates=50, model=model, max_skipped_updates=30, save_every=2)

    def bad() -> bool:
        if trainer.progress.update == 8 and not trainer.stop.requested:  # a second one would kill
            os.kill(os.getpid(), signal.SIGTERM)
        return trainer.progress.update >= 5

    poisoned(model, bad)
    trainer.train()
    assert trainer.stopped
    assert checkpoint.read_update(trainer.run.last) == 4


def scripted(trainer, found: list[tuple[float, float]]):
    """Lets the validations of a trainer find these losses and BLEUs, one after the other."""
    script = iter(found)

    def validate(*_):
        loss, bleu = next(script)
        return ValidationResult(loss, {"bleu": bleu}, [])

    trainer.validator.validate = validate
    return trainer


@pytest.mark.slow
def test_of_validations_with_equal_bleu_the_one_with_the_smaller_loss_is_best(tiny, tmp_path):
    found = [(3.0, 0.0), (2.0, 0.0), (2.5, 0.0), (1.5, 0.0), (9.0, 7.0), (1.0, 7.0), (0.5, 6.0)]
    trainer = scripted(tiny.trainer(tmp_path, updates=7, validate_every=1), found)
    progress = trainer.train()
    assert (progress.best, progress.best_loss, progress.best_update) == (7.0, 1.0, 6)
    assert checkpoint.read_update(trainer.run.best) == 6


@pytest.mark.slow
def test_patience_goes_on_while_bleu_is_zero_and_the_loss_falls(tiny, tmp_path):
    falling = [(10.0 - k, 0.0) for k in range(5)] + [(6.0 + k, 0.0) for k in range(5)]
    trainer = scripted(tiny.trainer(tmp_path, updates=50, validate_every=2, patience=2), falling)
    progress = trainer.train()
    assert (progress.finished, progress.update, progress.best_update) == ("trainer.patience", 14, 10)


@pytest.mark.slow
def test_a_tie_is_decided_alike_in_a_run_that_was_resumed(tiny, tmp_path):
    found = [(3.0, 0.0), (2.0, 0.0), (2.5, 0.0), (1.9, 0.0)]
    first = scripted(tiny.trainer(tmp_path, updates=2, validate_every=1), found[:2])
    first.train()
    second = scripted(tiny.trainer(tmp_path, updates=4, validate_every=1), found[2:])
    second.restore(checkpoint.read(first.run.last, weights_only=False))
    progress = second.train()
    assert (progress.best_update, progress.best_loss) == (4, 1.9)


def test_a_checkpoint_that_was_due_while_a_loss_was_not_finite_is_made_up_for(tiny, tmp_path):
    model = tiny.model()
    trainer = tiny.trainer(tmp_path, updates=6, model=model, save_every=3, keep_checkpoints=0)
    poisoned(model, lambda: trainer.progress.update in (2, 3))
    trainer.train()
    assert [place.name for place in trainer.run.steps()] == ["step-5", "step-6"]


@pytest.mark.parametrize("validate_every", [0, 2])
def test_numbers_that_are_not_finite_at_once_name_the_learning_rate_and_no_checkpoint(tiny, tmp_path, validate_every):
    how = {
        "lr": 1e30,
        "max_grad_norm": 0.0,
        "max_skipped_updates": 5,
        "save_every": 2,
        "validate_every": validate_every,
    }
    trainer = tiny.trainer(tmp_path, updates=50, dropout=0.0, **how)
    with pytest.raises(ValueError, match=r"not finite .*update") as error:
        trainer.train()
    assert str(error.value).endswith(": try a smaller optim.lr than 1e+30, optim.max_grad_norm=1")
    assert os.listdir(trainer.run.checkpoints) == []


def test_a_run_that_ends_with_numbers_that_are_not_finite_leaves_no_checkpoint(tiny, tmp_path):
    trainer = tiny.trainer(tmp_path, updates=3, lr=1e30, max_grad_norm=0.0, dropout=0.0)
    with pytest.raises(
        ValueError, match=r"the loss of the validation is not finite at update 3: try a smaller optim\.lr"
    ):
        trainer.train()
    assert os.listdir(trainer.run.checkpoints) == []


@pytest.mark.slow
def test_patience_ends_a_run(tiny, tmp_path):
    trainer = tiny.trainer(
        tmp_path, updates=50, lr=1e-30, validate_every=2, patience=3, early_stopping_metric=EarlyStoppingMetric.bleu
    )
    progress = trainer.train()
    assert progress.finished == "trainer.patience"
    assert progress.update == 8  # the first is the best, three are not
    assert checkpoint.read_update(trainer.run.best) == 2


def with_bleu(trainer, score_at) -> None:
    """Makes the BLEU of a validation what score_at(update) says."""
    validate = trainer.validator.validate
    trainer.validator.validate = lambda *arguments: validate(*arguments)._replace(
        scores={"bleu": score_at(trainer.progress.update)}
    )


@pytest.mark.slow
@pytest.mark.parametrize("at_the_end", [50.0, 0.0])
def test_the_validation_at_the_end_of_a_budget_does_not_move_the_memory_of_patience(tiny, tmp_path, at_the_end):
    how = {"validate_every": 5, "patience": 2}
    scores = {5: 10.0, 7: at_the_end, 10: 20.0, 15: 15.0, 20: 16.0}
    ends = {}
    for name, limits in {"whole": [40], "parts": [7, 40]}.items():
        for limit in limits:
            trainer = tiny.trainer(tmp_path / name, updates=limit, **how)
            with_bleu(trainer, scores.get)
            if limit != limits[0]:
                trainer.restore(checkpoint.read(trainer.run.last, weights_only=False))
            ends[name] = trainer.train()
    assert [(progress.finished, progress.update) for progress in ends.values()] == [("trainer.patience", 20)] * 2
    assert ends["whole"].best_scheduled == ends["parts"].best_scheduled == 20.0
    assert ends["parts"].best == max(20.0, at_the_end)  # the best checkpoint is the best there is


@pytest.mark.slow
def test_another_validation_is_noticed_and_best_and_patience_begin_anew(tiny, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("nmt"), "propagate", True)
    how = {"validate_every": 2, "patience": 9, "schedule": ScheduleName.plateau}
    first = tiny.trainer(tmp_path, updates=4, validation={"data.valid": "a", "trainer.valid_beam": 1}, **how)
    first.train()
    snapshot = checkpoint.read(first.run.last, weights_only=False)
    same = tiny.trainer(tmp_path, updates=8, validation={"data.valid": "a", "trainer.valid_beam": 1}, **how)
    same.restore(snapshot)
    assert same.progress.best is not None
    assert not [record for record in caplog.records if record.levelno == logging.WARNING]
    wider = tiny.trainer(tmp_path, updates=8, validation={"data.valid": "a", "trainer.valid_beam": 5}, **how)
    wider.restore(snapshot)
    assert (wider.progress.best, wider.progress.best_scheduled, wider.progress.waited) == (None, None, 0)
    assert wider.state.schedule.best == same.state.schedule.best < math.inf
    assert "up to update 4 (trainer.valid_beam was 1, is 5): their numbers are not compared" in caplog.text
    hard = {"data.valid": "a", "trainer.valid_beam": 1, "decode.hard_attention": "most_probable"}
    for validation in (hard, {"data.valid": "b", "trainer.valid_beam": 1}):
        other = tiny.trainer(tmp_path, updates=8, validation=validation, **how)
        other.restore(snapshot)
        assert (other.progress.best, other.state.schedule.best) == (None, math.inf)
    assert "(data.valid has other lines)" in caplog.text


# By which checkpoints a run writes and when; trainer.keep_checkpoints=1, the default, leaves one step-N.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("validate_every", "save_every"), [(0, 0), (500, 500), (3, 3), (3, 0), (0, 3), (6, 6), (2, 3), (4, 6)]
)
def test_a_flipped_byte_in_any_file_of_the_newest_checkpoint_leaves_the_one_before(
    tiny, tmp_path, validate_every, save_every
):
    trainer = tiny.trainer(
        tmp_path, updates=6, validate_every=validate_every, save_every=save_every, keep_checkpoints=1
    )
    trainer.train()
    run = trainer.run
    newest = run.latest_valid()
    assert newest == run.last
    for path in sorted(path for path in newest.rglob("*") if path.is_file()):
        whole = path.read_bytes()
        progress = len(whole) // 2
        while whole[progress : progress + 1] in b" \n":  # of JSON's blanks some may be others
            progress += 1
        with open(path, "r+b") as file:  # and so in every checkpoint that is a link to this one
            file.seek(progress)
            file.write(bytes([whole[progress] ^ 1]))
        left = run.latest_valid()
        assert left not in (None, newest), path
        snapshot = checkpoint.read(left, weights_only=False)
        assert snapshot.state["update"] >= 3 or not (validate_every == save_every == 3)
        again = tiny.trainer(tmp_path, updates=6)
        again.restore(snapshot)
        with open(path, "r+b") as file:
            file.write(whole)
    checkpoint.verify(run.last)


@pytest.mark.slow
def test_a_damaged_last_is_mended_from_the_one_before(tiny, tmp_path):
    trainer = tiny.trainer(tmp_path, updates=4, validate_every=2, save_every=2)
    trainer.train()
    weights = trainer.run.last / "model.safetensors"
    with open(weights, "r+b") as file:
        file.write(b"?")
    place = trainer.run.latest_valid()
    again = tiny.trainer(tmp_path, updates=4, validate_every=2, save_every=2)
    again.restore(checkpoint.read(place, weights_only=False))
    again.checkpointer.repair_links(place)
    for name in (again.run.last, again.run.step(4)):
        checkpoint.verify(name)


def test_what_cannot_be_written_is_named(tiny, fork, tmp_path):
    for limit, said in ((300, "metrics.jsonl"), (6000, "checkpoints/last/")):
        run = tmp_path / str(limit)

        def work(run=run, limit=limit):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            trainer = tiny.trainer(run, updates=20, save_every=3)
            with pytest.raises(OSError, match="could not be written") as error:
                trainer.train()
            print(error.value)

        child = fork(work)
        assert child.wait() == 0, child.errors()
        message = child.out.read_text()
        assert message.startswith(f"{run}/{said}")
        assert "checkpoints are kept" not in message
        assert message.count("\n") == 1


@pytest.mark.slow
def test_the_best_is_kept_by_loss_too(tiny, tmp_path):
    trainer = tiny.trainer(tmp_path, updates=6, validate_every=1, early_stopping_metric=EarlyStoppingMetric.loss)
    progress = trainer.train()
    found = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    lowest = min((line["loss"], line["update"]) for line in found if line["kind"] == "valid")
    assert (-progress.best, progress.best_update) == lowest
    assert checkpoint.read_update(trainer.run.best) == lowest[1]


@pytest.mark.slow
def test_the_minutes_include_the_last_validation_and_the_saving(tiny, tmp_path, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    trainer = tiny.trainer(tmp_path, updates=None, minutes=5)
    loss, validate = trainer.state.model.loss, trainer.validator.validate

    def slow_loss(*arguments):
        now[0] += 2.0 if trainer.state.model.training else 0.0
        return loss(*arguments)

    def slow_validation(*arguments):
        now[0] += 60.0
        return validate(*arguments)

    trainer.state.model.loss, trainer.validator.validate = slow_loss, slow_validation
    progress = trainer.train()
    assert progress.finished == "trainer.max_minutes"
    assert 290 < now[0] - 1000.0 <= 300
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    valid = [line["update"] for line in lines if line["kind"] == "valid"]
    assert len(valid) == 2  # after a quarter, to know how long it takes, and at the end
    assert valid[0] == pytest.approx(75 / 2, abs=2)
    assert valid[1] == progress.update


def test_so_many_step_checkpoints_are_kept(tiny, tmp_path):
    trainer = tiny.trainer(tmp_path, updates=7, save_every=2, keep_checkpoints=2)
    trainer.train()
    assert [place.name for place in trainer.run.steps()] == ["step-4", "step-6"]


@pytest.mark.slow
def test_minutes_alone_save_too(tiny, tmp_path):
    trainer = tiny.trainer(tmp_path, updates=4, save_minutes=1e-9)
    trainer.train()
    assert [place.name for place in trainer.run.steps()] == ["step-1", "step-2", "step-3", "step-4"]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_in_mid_update_saves_and_the_rest_is_as_if_it_had_not_come(tiny, tmp_path, assert_same, number):
    how = {"grad_accumulation": 2, "validate_every": 2, "updates": 6}
    tiny.trainer(tmp_path / "whole", **how).train()
    model = tiny.model(dropout=0.3)
    trainer = tiny.trainer(tmp_path / "parts", model=model, **how)
    loss = model.loss

    def asked(*arguments):
        if model.training and trainer.progress.update == 3 and not trainer.stop.requested:  # a second one would kill
            os.kill(os.getpid(), number)
        return loss(*arguments)

    model.loss = asked
    progress = trainer.train()
    assert progress.update < 6
    assert not progress.finished
    assert os.listdir(trainer.run.checkpoints) == ["last"] or trainer.run.best.is_dir()
    again = tiny.trainer(tmp_path / "parts", **how)
    again.restore(checkpoint.read(again.run.last, weights_only=False))
    again.train()
    assert_same(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.slow
def test_a_signal_in_mid_validation_abandons_it_and_it_is_made_up_for(tiny, tmp_path, assert_same):
    how = {"validate_every": 2, "updates": 6, "ema": 0.9}
    tiny.trainer(tmp_path / "whole", **how).train()
    model = tiny.model(dropout=0.3)
    trainer = tiny.trainer(tmp_path / "parts", model=model, **how)
    encode = model.encode

    def asked(*arguments):
        if not model.training and trainer.progress.update == 4 and not trainer.stop.requested:
            os.kill(os.getpid(), signal.SIGTERM)
        return encode(*arguments)

    model.encode = asked
    progress = trainer.train()
    assert (progress.update, progress.validated) == (4, 2)
    again = tiny.trainer(tmp_path / "parts", **how)
    again.restore(checkpoint.read(again.run.last, weights_only=False))
    again.train()
    assert_same(tmp_path / "whole", tmp_path / "parts")


def test_what_a_kill_left_undone_after_writing_is_made_up_for(tiny, tmp_path):
    trainer = tiny.trainer(tmp_path, updates=4, validate_every=4, save_every=4)
    trainer.train()
    checkpoint.delete(trainer.run.best)
    checkpoint.delete(trainer.run.step(4))
    again = tiny.trainer(tmp_path, updates=4, validate_every=4, save_every=4)
    again.restore(checkpoint.read(again.run.last, weights_only=False))
    again.checkpointer.repair_links(again.run.last)
    assert checkpoint.read_update(again.run.best) == checkpoint.read_update(again.run.step(4)) == 4


def test_another_corpus_is_refused(tiny, tmp_path):
    trainer = tiny.trainer(tmp_path, updates=1)
    trainer.train()
    trainer.checkpointer.identity.corpus = "another"
    with pytest.raises(ValueError, match="the training corpus is not the one"):
        trainer.restore(checkpoint.read(trainer.run.last, weights_only=False))


def test_the_weights_of_a_checkpoint_are_the_average(tiny, tmp_path):
    trainer = tiny.trainer(tmp_path, updates=3, ema=0.9)
    trainer.train()
    kept = checkpoint.read(trainer.run.last, weights_only=True).model
    assert all(torch.equal(kept[name], weight) for name, weight in trainer.state.ema.weights.items())
    assert not torch.equal(kept["output.weight"], trainer.state.model.output.weight)
