"""Trains a translator: `python -m nmt.train +experiment=bahdanau [key=value ...]`; --help says more."""

from nmt.training.budget import Budget, job_started  # isort: skip  (first: max_minutes counts from here)

import contextlib
import logging
from pathlib import Path
from typing import NamedTuple

import torch
from omegaconf import OmegaConf

from nmt import build
from nmt.config.door import door
from nmt.config.plain import check_same_run, read_plain, resumed, to_plain
from nmt.config.schema import TrainConfig
from nmt.data.tokenizer import Tokenizer
from nmt.training import checkpoint
from nmt.training.checkpoint import Snapshot
from nmt.training.device import choose_device, choose_kernels, seed_everything
from nmt.training.journal import start_log
from nmt.training.optim import Average
from nmt.training.ranks import Ranks, join_ranks
from nmt.training.run_folder import RunFolder, fresh, locate
from nmt.training.trainer import Trainer
from nmt.training.validation import Validator

log = logging.getLogger("nmt")


class Kept(NamedTuple):
    """What a run to go on with has on disk."""

    place: Path
    snapshot: Snapshot
    tokenizer: Tokenizer


class Start(NamedTuple):
    """What rank 0 finds when it looks where to train. going_on: there is a run; kept: and it has a checkpoint."""

    folder: RunFolder
    config: TrainConfig
    going_on: bool
    kept: Kept | None


def main(config: TrainConfig, overrides: list[str]) -> None:
    """Raises SystemExit(0) when it was asked to stop: the other jobs of a sweep are not begun."""
    started = job_started()
    with contextlib.ExitStack() as stack, join_ranks() as ranks:
        start_log(None, quiet=not ranks.first)
        start = ranks.decide(lambda: _look(config, overrides, stack))
        if start.kept and _is_finished(start.kept.snapshot, start.config):
            state = start.kept.snapshot.state
            log.info(f"{start.folder.path}: finished at update {state['update']} by {state['finished']}")
            return
        trainer = _build(start, ranks, started)
        if start.kept:
            trainer.restore(start.kept.snapshot)
        ranks.decide(lambda: _settle(start, trainer, stack))
        if start.kept:
            if ranks.first:
                trainer.mend(start.kept.place)
            log.info(f"resumed from {start.kept.place}, update {trainer.progress.update}")
            start = start._replace(kept=None)  # a copy of all weights and of the optimiser's state
        elif start.going_on:
            log.info(f"resume={start.folder.path}: no checkpoint yet, starting from the beginning")
        _introduce(trainer)
        trainer.train()
        log.info(f"run {start.folder.path}")
    if trainer.stopped:
        raise SystemExit(0)


def _look(config: TrainConfig, overrides: list[str], stack: contextlib.ExitStack) -> Start:
    """Where to train and what is there already, which stays locked until `stack` ends. For rank 0."""
    folder = _folder(config, stack)
    if config.resume is None or (config.resume == "auto" and not folder.holds_run()):
        folder.check_free()
        return Start(folder, config, False, None)
    saved = _saved(folder)
    now = resumed(saved, config, overrides)
    stack.enter_context(folder.lock())
    start_log(folder.log)
    place = folder.newest_whole()
    if place is None:
        return Start(folder, now, True, None)
    kept = Kept(place, checkpoint.read(place, weights_only=False), Tokenizer.load(place / "tokenizer"))
    check_same_run(kept.snapshot.config, now)
    return Start(folder, now, True, kept)


def _folder(config: TrainConfig, stack: contextlib.ExitStack) -> RunFolder:
    if config.resume and config.resume != "auto":
        return RunFolder(config.resume)
    if config.resume == "auto" and not config.run:
        raise ValueError("resume=auto continues the run that run= names: give run=FOLDER as well")
    if config.run:
        return RunFolder(config.run)
    return stack.enter_context(fresh(Path("runs") / config.name))


def _saved(folder: RunFolder) -> dict:
    if not folder.config.is_file():
        raise ValueError(f"resume={folder.path}: holds no run (no config.yaml); try resume=auto, or run= for a new one")
    return read_plain(folder.config)


def _is_finished(snapshot: Snapshot, config: TrainConfig) -> bool:
    """Whether the run came to its end, and is given no more than it had."""
    limits = ("max_updates", "max_epochs", "max_minutes", "patience")
    before, now = snapshot.config["trainer"], to_plain(config)["trainer"]
    return bool(snapshot.state.get("finished")) and all(before[key] == now[key] for key in limits)


def _build(start: Start, ranks: Ranks, started: float) -> Trainer:
    """Everything that a person can get wrong, before a new run folder exists."""
    config, kept = start.config, start.kept
    if config.threads:
        torch.set_num_threads(config.threads)
    device = choose_device(config.device, config.precision, ranks)
    device = choose_kernels(device, config.kernels, config.graphs)
    seed_everything(config.seed)
    with ranks.first_alone():
        train, valid = build.read_corpus(config.data, "train"), build.read_corpus(config.data, "valid")
        if config.data.test:
            build.read_corpus(config.data, "test")
        weights = None
        if kept:
            tokenizer = kept.tokenizer
        elif config.init:
            config, tokenizer, weights = build.inherit(config, locate(config.init))
        else:
            tokenizer = build.build_tokenizer(config.tokenizer, train, Path(config.data.cache))
        guide = build.read_guide(config.guided)
        encoded = build.encode(train, tokenizer, config.data, skip=True, links=guide)
        valid_encoded = build.encode(valid, tokenizer, config.data, skip=False)
        model = build.new_model(config, tokenizer, device.device)
    if weights is not None:
        model.load_state_dict(weights)
    seed_everything(config.seed + ranks.rank)  # the weights are the same on all ranks, and dropout is not
    optimiser, schedule = build.build_optim(config, model)
    pairs = list(valid)[: config.trainer.valid_sentences]
    return Trainer(
        model,
        optimiser,
        schedule,
        build.build_batches(config, encoded, training=True),
        Validator(
            build.build_batches(config, valid_encoded, training=False),
            [pair.src for pair in pairs],
            [pair.tgt for pair in pairs],
            build.languages(config.data).tgt,
            build.build_translator(model, tokenizer, config.decode, beam=config.trainer.valid_beam),
        ),
        habits=build.habits(config),
        budget=Budget(config.trainer.max_updates, config.trainer.max_epochs, config.trainer.max_minutes, started),
        device=device,
        ranks=ranks,
        run=start.folder,
        tokenizer=tokenizer,
        config=to_plain(config),
        corpus=train.digest() + (guide.digest() if guide else ""),
        average=Average(model, config.optim.average) if config.optim.average else None,
        seed=config.seed,
        tensorboard=config.trainer.tensorboard,
    )


def _settle(start: Start, trainer: Trainer, stack: contextlib.ExitStack) -> None:
    """Makes the run folder of a new run, locked until `stack` ends; keeps the settings of either. For rank 0."""
    text = OmegaConf.to_yaml(OmegaConf.create(trainer.config | {"run": str(start.folder.path), "resume": None}))
    if start.going_on:
        start.folder.write_config(text)
    else:
        stack.enter_context(start.folder.lock())
        start.folder.create(text)
        start_log(start.folder.log)
        checkpoint.try_writing(start.folder.checkpoints, trainer.snapshot([]), trainer.tokenizer)


def _introduce(trainer: Trainer) -> None:
    encoded, tokenizer = trainer.batches.encoded, trainer.tokenizer
    assert isinstance(tokenizer, Tokenizer)
    weights = sum(parameter.numel() for parameter in trainer.model.parameters())
    log.info(f"run folder {trainer.run.path}")
    log.info(f"precision {trainer.device.reason}; {torch.get_num_threads()} threads; {trainer.ranks.size} rank(s)")
    log.info(
        f"{len(encoded)} training pairs, left out: {encoded.skipped.blank} blank, {encoded.skipped.long} over-long; "
        f"vocabulary {len(tokenizer.src)} and {len(tokenizer.tgt)}; {weights:,} weights; "
        f"real tokens in batches {trainer.batches.fill(0):.0%}"
    )


if __name__ == "__main__":
    door("train", main, TrainConfig)
