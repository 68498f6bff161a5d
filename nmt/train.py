"""Trains a translator: `python -m nmt.train +experiment=bahdanau [key=value ...]`; --help says more."""

from nmt.training.budget import Budget, job_started  # isort: skip  (first: max_minutes counts from here)

import contextlib
import logging
from pathlib import Path
from typing import NamedTuple

import torch

from nmt import build
from nmt.analysis.alignment import LinkFiles
from nmt.analysis.segmentation import unfit_tokenizer
from nmt.config.door import door
from nmt.config.plain import check_same_run, from_plain, read_plain, resumed, to_plain, to_yaml
from nmt.config.schema import TrainConfig
from nmt.config.unused import refuse_unused
from nmt.data.corpus import Corpus
from nmt.data.tokenizer import Tokenizer
from nmt.decoding.search import Normalisation
from nmt.training import checkpoint
from nmt.training.checkpoint import Snapshot
from nmt.training.device import choose_device, seed_everything
from nmt.training.dry_run import dry_run
from nmt.training.journal import start_log
from nmt.training.memory import DATA_VALID
from nmt.training.optim import Average
from nmt.training.ranks import Ranks, join_ranks
from nmt.training.run_folder import RunFolder, fresh, locate
from nmt.training.trainer import BestBy, Trainer
from nmt.training.validation import Validator

log = logging.getLogger("nmt")


class Kept(NamedTuple):
    """What a run to go on with has on disk."""

    place: Path
    snapshot: Snapshot
    config: TrainConfig
    tokenizer: Tokenizer


class Start(NamedTuple):
    """What rank 0 finds when it looks where to train. overrides: the command line; going_on: there is a run; kept: and
    it has a checkpoint."""

    folder: RunFolder
    config: TrainConfig
    overrides: list[str]
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
            _check_moved(start.kept, start.config, trainer)
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
        refuse_unused(config, overrides)
        folder.check_free()
        return Start(folder, config, overrides, False, None)
    saved = _saved(folder)
    now = resumed(saved, config, overrides)
    stack.enter_context(folder.lock())
    start_log(folder.log)
    place = folder.newest_whole()
    if place is None:
        return Start(folder, now, overrides, True, None)
    snapshot = checkpoint.read(place, weights_only=False)
    before = from_plain(TrainConfig, snapshot.config)
    check_same_run(before, now)
    kept = Kept(place, snapshot, before, Tokenizer.load(place / "tokenizer"))
    return Start(folder, now, overrides, True, kept)


def _folder(config: TrainConfig, stack: contextlib.ExitStack) -> RunFolder:
    if config.resume and config.resume != "auto":
        if config.run and Path(config.run) != Path(config.resume):
            raise ValueError(
                f"run={config.run} has no effect with resume={config.resume}, as a run goes on in its own folder; "
                "leave it out, or try init= for a new run from its weights"
            )
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
    device = choose_device(config.device, config.precision, ranks, config.kernels, config.graphs)
    seed_everything(config.seed)
    with ranks.first_alone():
        train, valid, guide = _read_text(start)
        weights = None
        if kept:
            tokenizer = _own_tokenizer(kept, config, train)
        elif config.init:
            config, tokenizer, weights = build.inherit(config, locate(config.init), start.overrides)
        else:
            tokenizer = build.build_tokenizer(config.tokenizer, train, Path(config.data.cache))
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
            build.metric_tokenizer(config.data),
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
        validation=_validation(config, valid),
        average=Average(model, config.optim.average) if config.optim.average else None,
        seed=config.seed,
        tensorboard=config.trainer.tensorboard,
    )


def _read_text(start: Start) -> tuple[Corpus, Corpus, LinkFiles | None]:
    """Training and validation text, and the links of the first; the test text is looked at, if there is any."""
    data = start.config.data
    try:
        train, valid = build.read_corpus(data, "train"), build.read_corpus(data, "valid")
        if data.test:
            build.read_corpus(data, "test")
        return train, valid, build.read_guide(start.config.guided)
    except ValueError as error:
        if start.going_on and "no such file" in str(error):
            raise ValueError(f"{error}; if it has moved, say on this command line where it is now") from None
        raise


def _validation(config: TrainConfig, valid: Corpus) -> dict[str, str | int | float | None]:
    """What the numbers of a validation depend on beside the model, by the names of settings."""
    found: dict[str, str | int | float | None] = {DATA_VALID: valid.digest()}
    if config.trainer.best_by is BestBy.bleu:
        trainer, decode = config.trainer, config.decode
        found["data.bleu_tokenizer"] = build.metric_tokenizer(config.data)
        found["trainer.valid_sentences"] = trainer.valid_sentences
        found["trainer.valid_beam"] = trainer.valid_beam
        found["decode.max_length"] = decode.max_length
        found["decode.normalisation"] = decode.normalisation.value
        found["decode.alpha"] = decode.alpha if decode.normalisation is Normalisation.gnmt else None
    return found


def _own_tokenizer(kept: Kept, now: TrainConfig, train: Corpus) -> Tokenizer:
    """The tokenizer of the checkpoint. Raises ValueError where the settings name another place of other models."""
    keys = ("model", "src_model", "tgt_model")
    changed = [key for key in keys if getattr(now.tokenizer, key) != getattr(kept.config.tokenizer, key)]
    if changed:
        given = build.build_tokenizer(now.tokenizer, train, Path(now.data.cache))
        if given.digest() != kept.tokenizer.digest():
            place = getattr(now.tokenizer, changed[0])
            raise ValueError(
                f"tokenizer.{changed[0]}={place}: not the model that this run is trained with, which its checkpoint "
                "holds; leave it out"
            )
    return kept.tokenizer


def _check_moved(kept: Kept, now: TrainConfig, trainer: Trainer) -> None:
    """Raises ValueError where the validation text is elsewhere and another. For training text Trainer.restore does."""
    data, old = now.data, kept.config.data
    before = kept.snapshot.state.get("validation")
    if (data.name, data.valid) == (old.name, old.valid) or not isinstance(before, dict):
        return
    if before.get(DATA_VALID) != trainer.memory.validation[DATA_VALID]:
        raise ValueError(
            f"{DATA_VALID}={data.valid}: not the lines that this run is validated on, of {DATA_VALID}={old.valid}; "
            "give it the same lines, or try init= for a new run from its weights"
        )


def _settle(start: Start, trainer: Trainer, stack: contextlib.ExitStack) -> None:
    """Makes the run folder of a new run, locked until `stack` ends; keeps the settings of either. For rank 0.

    Everything that the run will write is tried first: what fails leaves no run behind.
    """
    text = to_yaml(trainer.config | {"run": str(start.folder.path), "resume": None})
    if not start.going_on:
        stack.enter_context(start.folder.lock())
    dry_run(trainer, text)
    if start.going_on:
        start.folder.write_config(text)
    else:
        start.folder.create(text)
        start_log(start.folder.log)


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
    validator = trainer.validator
    if unfit := unfit_tokenizer(validator.tokenizer, validator.references, "data.bleu_tokenizer"):
        log.warning(unfit)


if __name__ == "__main__":
    door("train", main, TrainConfig)
