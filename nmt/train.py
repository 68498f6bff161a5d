"""Trains a translator: `python -m nmt.train +experiment=bahdanau [key=value ...]`; --help says more."""

import time

STARTED = time.monotonic()  # before the slow imports: trainer.max_minutes counts from here

import contextlib  # noqa: E402
import datetime  # noqa: E402
import logging  # noqa: E402
from pathlib import Path  # noqa: E402

import torch  # noqa: E402
from omegaconf import OmegaConf  # noqa: E402

from nmt import build  # noqa: E402
from nmt.config.door import door  # noqa: E402
from nmt.config.plain import from_plain, resumed, to_plain  # noqa: E402
from nmt.config.schema import TrainConfig  # noqa: E402
from nmt.training import checkpoint  # noqa: E402
from nmt.training.budget import Budget  # noqa: E402
from nmt.training.device import Device, Ranks, choose_device, join_ranks, seed_everything  # noqa: E402
from nmt.training.journal import start_log  # noqa: E402
from nmt.training.optim import Average  # noqa: E402
from nmt.training.run_folder import RunFolder, locate  # noqa: E402
from nmt.training.trainer import Trainer  # noqa: E402
from nmt.training.validation import Validator  # noqa: E402

log = logging.getLogger("nmt")


def main(config: TrainConfig, overrides: list[str]) -> None:
    with join_ranks() as ranks:
        start_log(None, quiet=not ranks.first)
        folder = RunFolder(ranks.share(_folder(config)))
        going_on = config.resume is not None and (config.resume != "auto" or folder.holds_run())
        if going_on:
            config = _settings_of(folder, config, overrides)
        elif not config.resume:
            folder.check_free()
        with folder.lock() if ranks.first and going_on else contextlib.nullcontext():
            _train(config, folder, going_on, ranks)


def _folder(config: TrainConfig) -> Path:
    if config.resume and config.resume != "auto":
        return Path(config.resume)
    if config.resume == "auto" and not config.run:
        raise ValueError("resume=auto continues the run that run= names: give run=FOLDER as well")
    return Path(config.run or Path("runs") / config.name / datetime.datetime.now().strftime("%Y-%m-%d-%H%M%S"))


def _settings_of(folder: RunFolder, config: TrainConfig, overrides: list[str]) -> TrainConfig:
    if not folder.config.exists():
        raise ValueError(f"resume={folder.path}: holds no run (no config.yaml); try resume=auto, or run= for a new one")
    saved = OmegaConf.to_container(OmegaConf.load(folder.config))
    assert isinstance(saved, dict)
    return resumed(to_plain(from_plain(TrainConfig, saved)), config, overrides)


def _train(config: TrainConfig, folder: RunFolder, going_on: bool, ranks: Ranks) -> None:
    if config.threads:
        torch.set_num_threads(config.threads)
    device = choose_device(config.device, config.precision, ranks)
    seed_everything(config.seed)

    # Everything that a person can get wrong comes before the run folder exists.
    with ranks.first_alone():
        train, valid = build.read_corpus(config.data, "train"), build.read_corpus(config.data, "valid")
        if config.data.test:
            build.read_corpus(config.data, "test")
        if config.init:
            config, tokenizer, weights = build.inherit(config, locate(config.init))
        else:
            tokenizer, weights = build.build_tokenizer(config.tokenizer, train, Path(config.data.cache)), None
        encoded = build.encode(train, tokenizer, config.data, skip=True)
        valid_encoded = build.encode(valid, tokenizer, config.data, skip=False)
        model = build.new_model(config, tokenizer, device.device)
    if weights is not None:
        model.load_state_dict(weights)
    optimiser, schedule = build.build_optim(config, model)
    pairs = list(valid)[: config.trainer.valid_sentences]
    trainer = Trainer(
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
        budget=Budget(config.trainer.max_updates, config.trainer.max_epochs, config.trainer.max_minutes, STARTED),
        device=device,
        ranks=ranks,
        run=folder,
        tokenizer=tokenizer,
        config=to_plain(config),
        average=Average(model, config.optim.average) if config.optim.average else None,
        seed=config.seed,
        tensorboard=config.trainer.tensorboard,
    )
    with contextlib.ExitStack() as stack:
        if ranks.first and not going_on:
            stack.enter_context(folder.lock())
            folder.create()
            OmegaConf.save(OmegaConf.create(to_plain(config)), folder.config)
        if ranks.first:
            start_log(folder.log)
        if going_on and not _restore(trainer, folder, config, ranks):
            return
        _introduce(trainer, device, encoded, tokenizer, folder)
        trainer.train()
        log.info(f"run {folder.path}")


def _restore(trainer: Trainer, folder: RunFolder, config: TrainConfig, ranks: Ranks) -> bool:
    """Puts the trainer where the run stopped; False for a run that is finished and asked for no more."""
    place = ranks.share(folder.newest_whole() if ranks.first else None)
    if place is None:
        log.info(f"resume={folder.path}: no checkpoint yet, starting from the beginning")
        return True
    snapshot = checkpoint.read(place, weights_only=False)
    limits = ("max_updates", "max_epochs", "max_minutes", "patience")
    before, now = snapshot.config["trainer"], to_plain(config)["trainer"]
    if snapshot.state["finished"] and all(before[key] == now[key] for key in limits):
        log.info(f"{folder.path}: finished at update {snapshot.state['update']} by {snapshot.state['finished']}")
        return False
    trainer.restore(snapshot)
    trainer.progress.finished = ""
    log.info(f"resumed from {place}, update {trainer.progress.update}")
    return True


def _introduce(trainer: Trainer, device: Device, encoded, tokenizer, folder: RunFolder) -> None:
    weights = sum(parameter.numel() for parameter in trainer.model.parameters())
    fill = trainer.batches.fill(0)
    log.info(f"run folder {folder.path}")
    log.info(f"precision {device.reason}; {torch.get_num_threads()} threads; {trainer.ranks.size} rank(s)")
    log.info(
        f"{len(encoded)} training pairs, left out: {encoded.skipped.blank} blank, {encoded.skipped.long} over-long; "
        f"vocabulary {len(tokenizer.src)} and {len(tokenizer.tgt)}; {weights:,} weights; real tokens in batches {fill}"
    )


if __name__ == "__main__":
    door("train", main, TrainConfig)
