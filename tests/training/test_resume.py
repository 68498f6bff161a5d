"""Resuming a run from the command line: what it says, what may change, and what faults leave on disk."""

import io
import json
import os
import random
import resource
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
import yaml
from sentencepiece import SentencePieceTrainer

from nmt import build, checkpoint, train
from nmt.checkpoint.run_folder import RunFolder
from nmt.config.saved import to_dict
from tests.support import waiting
from tests.support.commands import compose_config


def lines_of(run: Path) -> int:
    metrics = run / "metrics.jsonl"
    return metrics.read_bytes().count(b"\n") if metrics.exists() else 0


def wait_until(what, child) -> None:
    """Waits until `what()` is true. Raises AssertionError where the child ends before."""

    def happened() -> bool:
        if what():
            return True
        pid, status = os.waitpid(child.pid, os.WNOHANG)
        if pid:
            child.code = os.waitstatus_to_exitcode(status)
            raise AssertionError(f"ended with {child.code}: {child.errors()}")
        return False

    waiting.wait_until(happened)


def one_line(child) -> str:
    """The one line that an error is; what was logged before it is not."""
    errors = [line for line in child.errors().splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, child.errors()
    assert "Traceback" not in child.errors()
    return errors[0]


@pytest.fixture(scope="module")
def whole(tiny, tmp_path_factory):
    """A run of 40 updates, with a checkpoint every 10, that was never stopped."""
    from nmt.cli import run_command
    from nmt.config.schema import TrainConfig

    run = tmp_path_factory.mktemp("whole") / "run"
    pid = os.fork()
    if not pid:
        import sys

        import nmt.train

        try:
            sys.argv = ["nmt.train", *tiny.settings(run)]
            sys.stderr = open(os.devnull, "w")  # noqa: SIM115
            run_command("train", nmt.train.main, TrainConfig)
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    assert checkpoint.read_update(run / "checkpoints" / "last") == 40
    return run


@pytest.mark.slow
def test_killed_at_random_moments_a_run_ends_as_if_it_had_never_been(tiny, start_command, tmp_path, whole, assert_same):
    """The small sister of scripts/stress_resume.py."""
    rng = random.Random(1)
    run = tmp_path / "run"
    command = ["resume=auto", *tiny.settings(run)]
    for kill in range(6):
        child = start_command("train", command)
        if kill % 2:  # while a checkpoint is being written
            wait_until(lambda: list(run.glob("checkpoints/.*partial*")) or lines_of(run) >= 40, child)
            time.sleep(rng.random() * 0.01)
        else:
            target = lines_of(run) + rng.randint(1, 14)
            wait_until(lambda target=target: lines_of(run) >= min(40, target), child)
        child.kill()
        child.wait()
    assert start_command("train", command).wait() == 0
    assert_same(whole, run)


def test_a_finished_run_says_so_and_ends_well(start_command, whole):
    before = sorted((path, path.stat().st_mtime_ns) for path in whole.rglob("*.safetensors"))
    child = start_command("train", [f"resume={whole}"])
    assert child.wait() == 0
    assert f"{whole}: finished at update 40 by trainer.max_updates" in child.errors()
    assert sorted((path, path.stat().st_mtime_ns) for path in whole.rglob("*.safetensors")) == before


def test_more_updates_go_on_from_the_end_and_are_kept_in_the_settings(tiny, start_command, tmp_path, losses):
    run = tmp_path / "run"
    assert start_command("train", tiny.settings(run, trainer__max_updates=4)).wait() == 0
    assert start_command("train", [f"resume={run}", "trainer.max_updates=6"]).wait() == 0
    assert [update for update, _ in losses(run)] == [1, 2, 3, 4, 5, 6]
    assert yaml.safe_load((run / "config.yaml").read_text())["trainer"]["max_updates"] == 6
    child = start_command("train", [f"resume={run}"])
    assert child.wait() == 0
    assert "finished at update 6" in child.errors()


def test_other_settings_are_refused_with_both_values(tiny, start_command, whole):
    child = start_command("train", [f"resume={whole}", "optim.lr=0.5"])
    assert child.wait() == 2
    assert "optim.lr is 0.01 in the run and 0.5 on the command line" in one_line(child)
    assert "trainer.max_updates" in one_line(child)
    child = start_command("train", ["resume=auto", *tiny.settings(whole, model__encoder__hidden=9)])
    assert child.wait() == 2
    assert "model.encoder.hidden is 8 in the run and 9 on the command line" in one_line(child)


def test_settings_changed_by_hand_in_the_folder_are_refused(tiny, start_command, tmp_path):
    run = tmp_path / "run"
    assert start_command("train", tiny.settings(run, trainer__max_updates=2)).wait() == 0
    text = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(text.replace("lr: 0.01", "lr: 0.02"))
    child = start_command("train", [f"resume={run}", "trainer.max_updates=3"])
    assert child.wait() == 2
    assert "optim.lr is 0.01 in the checkpoint and 0.02 in the run's config.yaml" in one_line(child)


def test_a_run_without_a_checkpoint_resumes_from_its_start(tiny, start_command, tmp_path, whole, assert_same):
    run = tmp_path / "run"
    child = start_command("train", tiny.settings(run))
    wait_until(lambda: lines_of(run) >= 2, child)
    child.kill()
    child.wait()
    if list(run.glob("checkpoints/*")):
        pytest.skip("the machine was too slow to kill it before the first checkpoint")
    child = start_command("train", [f"resume={run}"])
    assert child.wait() == 0
    assert "no checkpoint yet, starting from the beginning" in child.errors()
    assert_same(whole, run)


def test_what_resume_needs_is_said(tiny, start_command, tmp_path):
    for arguments, expected in (
        ([f"resume={tmp_path / 'none'}"], "holds no run"),
        (["resume=auto"], "give run=FOLDER as well"),
    ):
        child = start_command("train", [*arguments])
        assert child.wait() == 2
        assert expected in one_line(child)
    assert not (tmp_path / "none").exists()


def test_a_changed_corpus_is_refused(tiny, start_command, tmp_path):
    for path in tiny.folder.glob("*.[de][en]"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    run = tmp_path / "run"
    own = {"data__train": tmp_path / "train", "data__valid": tmp_path / "valid"}
    assert start_command("train", tiny.settings(run, trainer__max_updates=2, **own)).wait() == 0
    for language in ("de", "en"):
        with open(tmp_path / f"train.{language}", "a") as file:
            file.write("haus\n")
    child = start_command("train", [f"resume={run}", "trainer.max_updates=3"])
    assert child.wait() == 2
    assert "the training corpus is not the one" in one_line(child)


def copy_text(tiny, folder: Path) -> dict[str, Path]:
    """The corpus in a folder of its own, and the settings that say so."""
    folder.mkdir()
    for path in tiny.folder.glob("*.[de][en]"):
        (folder / path.name).write_bytes(path.read_bytes())
    return {"data__train": folder / "train", "data__valid": folder / "valid"}


def words_of(settings: dict[str, Path]) -> list[str]:
    return [f"{key.replace('__', '.')}={value}" for key, value in settings.items()]


def test_a_run_goes_on_once_its_text_has_moved(tiny, start_command, tmp_path, losses):
    run = tmp_path / "run"
    own = copy_text(tiny, tmp_path / "here")
    settings = {"trainer__max_updates": 2, "trainer__save_every": 0}
    assert start_command("train", tiny.settings(run, **settings, **own)).wait() == 0
    (tmp_path / "here").rename(tmp_path / "there")
    child = start_command("train", [f"resume={run}", "trainer.max_updates=4"])
    assert child.wait() == 2
    assert "if it has moved, say on this command line where it is now" in one_line(child)
    moved = {key: tmp_path / "there" / path.name for key, path in own.items()}
    # Named where the run is resumed; repeated by a scheduler; written into the settings by hand.
    assert start_command("train", [f"resume={run}", "trainer.max_updates=4", *words_of(moved)]).wait() == 0
    again = tiny.settings(run, **(settings | {"trainer__max_updates": 6}), **moved)
    assert start_command("train", ["resume=auto", *again]).wait() == 0
    (tmp_path / "there").rename(tmp_path / "last")
    config = run / "config.yaml"
    config.write_text(config.read_text().replace(f"{tmp_path}/there/", f"{tmp_path}/last/"))
    assert start_command("train", [f"resume={run}", "trainer.max_updates=8"]).wait() == 0
    assert [update for update, _ in losses(run)] == list(range(1, 9))
    assert yaml.safe_load(config.read_text())["data"]["train"] == [str(tmp_path / "last" / "train")]


@pytest.mark.parametrize("name", ["train", "valid"])
def test_other_text_in_another_place_is_refused(tiny, start_command, tmp_path, name):
    run = tmp_path / "run"
    own = copy_text(tiny, tmp_path / "here")
    assert start_command("train", tiny.settings(run, trainer__max_updates=2, **own)).wait() == 0
    other = copy_text(tiny, tmp_path / "other")
    for language in ("de", "en"):
        with open(tmp_path / "other" / f"{name}.{language}", "a") as file:
            file.write("haus\n")
    child = start_command("train", [f"resume={run}", "trainer.max_updates=3", *words_of(other)])
    assert child.wait() == 2
    said = {"train": "the training corpus is not the one", "valid": "not the lines that this run is validated on"}
    assert said[name] in one_line(child)


def test_another_validation_set_under_the_same_name_is_noticed(tiny, start_command, tmp_path):
    run = tmp_path / "run"
    own = copy_text(tiny, tmp_path / "here")
    assert start_command("train", tiny.settings(run, trainer__max_updates=2, **own)).wait() == 0
    for language in ("de", "en"):
        with open(tmp_path / "here" / f"valid.{language}", "a") as file:
            file.write("haus\n")
    child = start_command("train", [f"resume={run}", "trainer.max_updates=3"])
    assert child.wait() == 0
    assert "validations are not what they were up to update 2 (data.valid has other lines)" in child.errors()
    child = start_command("train", [f"resume={run}", "trainer.max_updates=4"])
    assert child.wait() == 0
    assert "validations are not" not in child.errors()


def test_a_test_set_may_be_added(tiny, start_command, tmp_path):
    run = tmp_path / "run"
    assert start_command("train", tiny.settings(run, trainer__max_updates=2)).wait() == 0
    test = tiny.folder / "valid"
    assert start_command("train", [f"resume={run}", "trainer.max_updates=3", f"data.test={test}"]).wait() == 0
    assert yaml.safe_load((run / "config.yaml").read_text())["data"]["test"] == str(test)


def another_model() -> bytes:
    model = io.BytesIO()
    text = iter(["ein hund", "eine katze"] * 20)
    SentencePieceTrainer.train(sentence_iterator=text, model_writer=model, model_type="char", vocab_size=14)
    return model.getvalue()


def test_a_cache_that_cannot_be_written_is_named_with_its_setting(tiny, start_command, tmp_path):
    settings = tiny.settings(tmp_path / "run", trainer__max_updates=1, data__cache=tmp_path / "cache")
    child = start_command("train", settings, prepare=limit_files(1000))
    assert child.wait() == 2
    assert f"data.cache={tmp_path / 'cache'}: could not be written (" in one_line(child)
    assert not (tmp_path / "run").exists()


def test_ones_own_tokenizer_may_move_but_not_be_another(tiny, start_command, tmp_path):
    run = tmp_path / "run"
    models = {"src": tmp_path / "src.model", "tgt": tmp_path / "tgt.model"}
    models["src"].write_bytes(tiny.tokenizer.src.model)
    models["tgt"].write_bytes(tiny.tokenizer.tgt.model)
    none = {"tokenizer__model_type": None, "tokenizer__vocab_size": None, "tokenizer__byte_fallback": None}
    own = {f"tokenizer__{side}_model": place for side, place in models.items()}
    assert start_command("train", tiny.settings(run, trainer__max_updates=2, **none, **own)).wait() == 0
    moved = models["src"].rename(tmp_path / "moved.model")
    resume = [f"resume={run}", "trainer.max_updates=3", f"tokenizer.tgt_model={models['tgt']}"]
    other = tmp_path / "other.model"
    other.write_bytes(another_model())
    child = start_command("train", [*resume, f"tokenizer.src_model={other}"])
    assert child.wait() == 2
    assert "not the model that this run is trained with" in one_line(child)
    assert start_command("train", [*resume, f"tokenizer.src_model={moved}"]).wait() == 0


def test_what_can_have_no_effect_on_a_resumed_run_is_refused(tiny, start_command, tmp_path, whole):
    for words, said in (
        ([f"resume={whole}", f"run={tmp_path / 'other'}"], "has no effect with resume="),
        ([f"resume={whole}", "trainer.patience=2"], "trainer.patience=2 has no effect: it counts validations"),
        ([f"resume={whole}", "decode.beam=2"], "decode.beam=2 has no effect: validation searches with"),
    ):
        child = start_command("train", words)
        assert child.wait() == 2
        assert said in one_line(child)


def test_a_run_from_another_runs_weights_keeps_that_ones_model_and_says_so(tiny, start_command, tmp_path, whole):
    run = tmp_path / "run"
    child = start_command("train", tiny.settings(run, finetune_from=whole, model__decoder__hidden=16))
    assert child.wait() == 2
    assert f"model.decoder.hidden=16 has no effect with finetune_from={whole}" in one_line(child)
    assert "which has model.decoder.hidden=12" in one_line(child)
    own = tiny.settings(run, finetune_from=whole, trainer__max_updates=1, trainer__save_every=0)
    assert start_command("train", own).wait() == 0
    child = start_command("train", [f"resume={run}", "trainer.max_updates=2", "model.decoder.hidden=16"])
    assert child.wait() == 2
    assert "model.decoder.hidden is 12 in the run and 16 on the command line" in one_line(child)


@pytest.mark.slow
def test_what_can_have_no_effect_on_the_model_of_another_run_is_refused_before_there_is_one(tiny, tmp_path):
    whole, run = tmp_path / "whole", tmp_path / "run"
    words = tiny.settings(whole, model__decoder__kind="fixed_vector", model__attention__size=None)
    config = compose_config(words)
    made = tiny.trainer(whole, updates=1, model=build.new_model(config, tiny.tokenizer, torch.device("cpu")))
    made.checkpointer.config = to_dict(config)
    made.train()
    own = tiny.settings(run, trainer__valid_beam=2, decode__coverage_penalty=0.2, finetune_from=whole)[1:]
    own = [word for word in own if not word.startswith(("model.", "tokenizer."))]
    with pytest.raises(ValueError, match=r"decode\.coverage_penalty=0\.2 has no effect: it needs attention"):
        train.main(compose_config(own), own)
    assert not run.exists()


# What a run will write is tried before the first update


def test_a_run_whose_files_could_not_be_written_is_refused_before_there_is_one(tiny, start_command, tmp_path, whole):
    run = tmp_path / "run"  # what `whole` left in the cache is not written again
    settings = tiny.settings(run, trainer__max_updates=2, trainer__save_every=0)
    for limit, name in ((6000, "curves.png"), (60_000, ".dry-run/checkpoints/last/")):
        child = start_command("train", settings, prepare=limit_files(limit))
        assert child.wait() == 2
        assert name in one_line(child)
        assert "could not be written (" in one_line(child)
        assert os.listdir(run) == [".lock"]
        assert "update 1" not in child.errors()
    assert start_command("train", settings).wait() == 0
    assert not list(run.glob(".dry-run"))


@pytest.mark.parametrize("how", ["as it is", "by default"])
def test_the_last_checkpoint_damaged_the_one_before_is_used_with_a_warning(
    tiny, start_command, tmp_path, whole, assert_same, how
):
    run = tmp_path / "run"
    own = {} if how == "as it is" else {"trainer__save_every": None, "trainer__validate_every": None}
    assert start_command("train", tiny.settings(run, trainer__max_updates=25, **own)).wait() == 0
    weights = run / "checkpoints" / "last" / "training.safetensors"
    at = weights.stat().st_size // 2
    with open(weights, "r+b") as file:  # in place: so is every file that is a link to it
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 1]))
    child = start_command("train", [f"resume={run}", "trainer.max_updates=40"])
    assert child.wait() == 0
    assert "training.safetensors: damaged" in child.errors()
    assert "going on from " in child.errors()
    assert "resumed from " in child.errors()
    checkpoint.verify(run / "checkpoints" / "last")
    if how == "as it is":
        lines = [
            line
            for line in (run / "metrics.jsonl").read_text().splitlines()
            if '"update": 25, "kind": "valid"' not in line
        ]
        (run / "metrics.jsonl").write_text("".join(f"{line}\n" for line in lines))
        assert_same(whole, run)


def test_a_second_run_in_the_folder_is_refused_and_harms_nothing(tiny, start_command, tmp_path, whole, assert_same):
    run = tmp_path / "run"
    first = start_command("train", tiny.settings(run))
    wait_until(lambda: lines_of(run) >= 1, first)
    first.kill(signal.SIGSTOP)
    try:
        fresh = start_command("train", tiny.settings(run))
        assert fresh.wait() == 2
        assert "already holds a run" in one_line(fresh)
        other = start_command("train", [f"resume={run}"])
        assert other.wait() == 2
        assert f"process {first.pid} on " in one_line(other)
    finally:
        first.kill(signal.SIGCONT)
    assert first.wait() == 0
    assert_same(whole, run)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_saves_and_ends_well(tiny, start_command, tmp_path, whole, assert_same, number):
    run = tmp_path / "run"
    child = start_command("train", tiny.settings(run, trainer__save_every=0))
    wait_until(lambda: lines_of(run) >= 2, child)
    child.kill(number)
    assert child.wait() == 0
    assert f"{number.name}: saving at update" in child.errors()
    assert "Traceback" not in child.errors()
    update = checkpoint.read_update(run / "checkpoints" / "last")
    assert sorted(os.listdir(run / "checkpoints")) == ["last", "previous"]
    assert lines_of(run) == update
    assert start_command("train", [f"resume={run}", "trainer.save_every=10"]).wait() == 0
    assert_same(whole, run)


def test_the_minutes_of_a_job_of_a_sweep_are_its_own(tiny, start_command, tmp_path):
    began = time.monotonic()
    changes = {"trainer__max_updates": 2, "seed": "1,2"}
    assert start_command("train", ["--multirun", *tiny.settings(tmp_path / "run-${seed}", **changes)]).wait() == 0
    passed = time.monotonic() - began
    seconds = [
        checkpoint.read(place, weights_only=True).state["seconds"] for place in tmp_path.glob("run-*/checkpoints/last")
    ]
    assert len(seconds) == 2
    assert sum(seconds) < passed


def test_a_signal_ends_the_whole_sweep(tiny, start_command, tmp_path):
    changes = {"trainer__max_updates": 100_000, "trainer__save_every": 0, "seed": "1,2"}
    child = start_command("train", ["--multirun", *tiny.settings(tmp_path / "run-${seed}", **changes)])
    wait_until(lambda: lines_of(tmp_path / "run-1") >= 2, child)
    child.kill(signal.SIGTERM)
    assert child.wait() == 0
    assert checkpoint.read_update(tmp_path / "run-1" / "checkpoints" / "last") >= 2
    assert not (tmp_path / "run-2").exists()


def limit_files(size: int):
    def prepare() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    return prepare


def test_a_file_that_may_not_grow_ends_the_run_in_one_line(tiny, start_command, tmp_path, whole, assert_same):
    run = tmp_path / "run"
    assert start_command("train", tiny.settings(run, trainer__max_updates=4)).wait() == 0
    size = (run / "checkpoints" / "last" / "model.safetensors").stat().st_size
    child = start_command("train", [f"resume={run}", "trainer.max_updates=40"], prepare=limit_files(size - 1))
    assert child.wait() == 2
    assert "could not be written (" in one_line(child)
    assert checkpoint.read_update(run / "checkpoints" / "last") == 4
    assert not list(run.glob("checkpoints/.*"))
    checkpoint.verify(run / "checkpoints" / "last")


def test_a_full_disk_ends_the_run_in_one_line_and_the_last_good_checkpoint_goes_on(
    tiny, start_command, tmp_path, whole, assert_same
):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"needs the right to mount a small tmpfs: {mounted.stderr.decode().strip()}")
    try:
        run = disk / "run"
        child = start_command("train", tiny.settings(run))
        wait_until(lambda: (run / "checkpoints" / "step-10").exists(), child)
        child.kill(signal.SIGSTOP)
        before = RunFolder(run).latest_valid()
        assert before is not None
        with open(disk / "filler", "wb", buffering=0) as filler:
            while True:
                try:
                    filler.write(bytes(4096))
                except OSError:
                    break
        child.kill(signal.SIGCONT)
        assert child.wait() == 2
        assert "No space left on device" in one_line(child)
        assert RunFolder(run).latest_valid() == before
        (disk / "filler").unlink()
        assert start_command("train", [f"resume={run}"]).wait() == 0
        assert_same(whole, run)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_what_a_run_holds_while_it_is_started_is_always_a_run_or_none(
    tiny, start_command, tmp_path, whole, assert_same
):
    run = tmp_path / "run"
    command = ["resume=auto", *tiny.settings(run)]
    for moment in (".lock", "config.yaml", "train.log"):
        child = start_command("train", command)
        wait_until(lambda moment=moment: (run / moment).exists(), child)
        child.kill()
        child.wait()
    assert start_command("train", command).wait() == 0
    assert_same(whole, run)


@pytest.mark.slow
def test_a_checkpoint_tells_its_settings_as_plain_data(whole):
    config = json.loads((whole / "checkpoints" / "last" / "config.json").read_text())
    assert config["model"]["encoder"]["hidden"] == 8
