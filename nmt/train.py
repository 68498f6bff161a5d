"""The train command: `python -m nmt.train +experiment=bahdanau [key=value ...]` trains a translation model."""

from nmt.runtime.start_time import job_started  # isort: skip  (the first import, as it starts max_minutes)

import contextlib
import logging
import time
from pathlib import Path
from typing import NamedTuple

import torch

from nmt import build, checkpoint
from nmt.acceleration.selection import prepare_device
from nmt.analysis.alignment import LinkFiles
from nmt.analysis.segmentation import unfit_tokenizer
from nmt.build import build_validator, validation_settings
from nmt.checkpoint.run_folder import RunFolder, new_run_folder
from nmt.cli import run_command
from nmt.config.continued import check_same_run, resumed
from nmt.config.saved import from_dict, read_saved, to_dict, to_yaml
from nmt.config.schema import CalibrateConfig, TrainConfig
from nmt.config.unused import refuse_unused
from nmt.corpus import Corpus
from nmt.data.tokenizer import Tokenizer
from nmt.runtime.device import seed_everything
from nmt.runtime.distributed import Distributed, init_distributed
from nmt.runtime.logs import start_log
from nmt.runtime.memory import out_of_memory
from nmt.training.budget import Budget
from nmt.training.checkpointer import DATA_VALID, Checkpointer, RunIdentity
from nmt.training.dry_run import dry_run
from nmt.training.metrics_logger import MetricsLogger
from nmt.training.optim import EMA
from nmt.training.train_state import TrainState
from nmt.training.trainer import Trainer
from nmt.validation.translation import Validator

log = logging.getLogger("nmt")


class SavedRun(NamedTuple):
    """The newest checkpoint of a run that is resumed."""

    place: Path
    snapshot: checkpoint.Snapshot
    config: TrainConfig
    tokenizer: Tokenizer


class Launch(NamedTuple):
    """The run to start or resume. overrides: those of the command line; resuming: whether the folder has a run; saved:
    its checkpoint, if it has one."""

    folder: RunFolder
    config: TrainConfig
    overrides: list[str]
    resuming: bool
    saved: SavedRun | None


def main(config: TrainConfig, overrides: list[str]) -> float | None:
    """Trains -> the score of the best validation, by trainer.early_stopping_metric; None if there was none.

    The score is BLEU in percent, the negative loss in nats per token, or the negative alignment error rate in percent:
    larger is better for each, so an optimizing sweeper always maximizes. Raises SystemExit(0) if a signal stops the
    run, so that the other jobs of a sweep are not started.
    """
    started = job_started()
    with contextlib.ExitStack() as stack, init_distributed() as distributed:
        start_log(None, quiet=not distributed.is_main)
        launch = distributed.on_main(lambda: _resolve_run(config, overrides, stack))
        if launch.saved and _is_finished(launch.saved.snapshot, launch.config):
            state = launch.saved.snapshot.state
            log.info(f"{launch.folder.path}: finished at update {state['update']} by {state['finished']}")
            return state["best"]
        trainer = _build(launch, distributed, started)
        if launch.saved:
            _check_moved(launch.saved, launch.config, trainer)
            trainer.restore(launch.saved.snapshot)
        distributed.on_main(lambda: _create_run_folder(launch, trainer, stack))
        if launch.saved:
            if distributed.is_main:
                trainer.checkpointer.repair_links(launch.saved.place)
            log.info(f"resumed from {launch.saved.place}, update {trainer.progress.update}")
            launch = launch._replace(saved=None)  # frees a copy of all weights and of the optimizer's state
        elif launch.resuming:
            log.info(f"resume={launch.folder.path}: no checkpoint yet, starting from the beginning")
        _log_setup(trainer)
        trainer.train()
        if distributed.is_main:  # runs after the process group has ended, as the others do not wait; before the unlock
            stack.callback(_calibrate, trainer, launch.config)
    log.info(f"run {launch.folder.path}")
    if trainer.stopped:
        raise SystemExit(0)
    return trainer.progress.best


def _resolve_run(config: TrainConfig, overrides: list[str], stack: contextlib.ExitStack) -> Launch:
    """The run folder and its newest checkpoint, if any. Called on rank 0. A resumed run stays locked until `stack`
    ends."""
    folder = _folder(config, stack)
    if config.resume is None or (config.resume == "auto" and not folder.exists()):
        refuse_unused(config, overrides)
        folder.check_free()
        return Launch(folder, config, overrides, False, None)
    saved = _saved(folder)
    now = resumed(saved, config, overrides)
    stack.enter_context(folder.lock())
    start_log(folder.log)
    if (place := folder.latest_valid()) is None:
        return Launch(folder, now, overrides, True, None)
    snapshot = checkpoint.read(place, weights_only=False)
    if not snapshot.training:  # neither an optimizer's state nor random states
        raise ValueError(
            f"resume={folder.path}: an average of checkpoints, which has a place in no corpus; try "
            f"finetune_from={folder.path} for a new run from its weights"
        )
    before = from_dict(TrainConfig, snapshot.config)
    check_same_run(before, now)
    saved = SavedRun(place, snapshot, before, Tokenizer.load(place / "tokenizer"))
    return Launch(folder, now, overrides, True, saved)


def _folder(config: TrainConfig, stack: contextlib.ExitStack) -> RunFolder:
    if config.resume and config.resume != "auto":
        if config.run and Path(config.run) != Path(config.resume):
            raise ValueError(
                f"run={config.run} has no effect with resume={config.resume}, as a run goes on in its own folder; "
                "leave it out, or try finetune_from= for a new run from its weights"
            )
        return RunFolder(config.resume)
    if config.resume == "auto" and not config.run:
        raise ValueError("resume=auto continues the run that run= names: give run=FOLDER as well")
    if config.run:
        return RunFolder(config.run)
    return stack.enter_context(new_run_folder(Path("runs") / config.name))


def _saved(folder: RunFolder) -> dict:
    if not folder.config.is_file():
        raise ValueError(f"resume={folder.path}: holds no run (no config.yaml); try resume=auto, or run= for a new one")
    return read_saved(folder.config)


def _is_finished(snapshot: checkpoint.Snapshot, config: TrainConfig) -> bool:
    """Whether the run has finished, and its limits are unchanged."""
    limits = ("max_updates", "max_epochs", "max_minutes", "patience")
    before, now = snapshot.config["trainer"], to_dict(config)["trainer"]
    return bool(snapshot.state.get("finished")) and all(before[key] == now[key] for key in limits)


def _build(launch: Launch, distributed: Distributed, started: float) -> Trainer:
    """Builds all objects, before a new run folder is created, so that user errors leave no folder behind."""
    config, saved = launch.config, launch.saved
    if config.threads:
        torch.set_num_threads(config.threads)
    build.check_alignment_head(config)
    device = prepare_device(config.device, config.precision, distributed, config.fused_kernels, config.cuda_graphs)
    seed_everything(config.seed)
    with distributed.main_process_first():
        train, valid, guide = _read_text(launch)
        weights = None
        if saved:
            tokenizer = _own_tokenizer(saved, config, train)
        elif config.finetune_from:
            config, tokenizer, weights = build.load_of_kind(config, launch.overrides)
            refuse_unused(config, launch.overrides)  # again, for the model of the checkpoint
        else:
            tokenizer = build.build_tokenizer(config.tokenizer, train, Path(config.data.cache))
        encoded = build.encode(train, tokenizer, config.data, skip=True, links=guide)
        linked = build.read_validation_links(config, valid)
        valid_encoded = build.encode(valid, tokenizer, config.data, skip=False, links=linked)
        model = build.new_of_kind(config, tokenizer, encoded, device.device)
    if weights is not None:
        model.load_state_dict(model.state_dict() | weights)  # a new alignment head keeps its initial weights
    seed_everything(config.seed + distributed.rank)  # initial weights are the same on all ranks, dropout is not
    optimizer, schedule = build.build_optim(config, model)
    options = config.trainer
    batches = build.build_batches(config, encoded, training=True, tokenizer=tokenizer)
    gradients = build.build_gradients(config, model, batches, tokenizer, device, distributed)
    ema = EMA(model, config.optim.ema_decay) if config.optim.ema_decay else None
    state = TrainState(model, optimizer, schedule, gradients.scaler, ema)
    corpus = train.digest() + (guide.digest() if guide else "")
    validator = build_validator(config, model, tokenizer, valid, valid_encoded)
    cost = build.calibration_cost(config, len(valid_encoded), distributed.size)
    identity = RunIdentity(corpus, validation_settings(config, valid, validator), config.seed)
    return Trainer(
        state,
        gradients,
        validator,
        Checkpointer(state, launch.folder, distributed, options, tokenizer, to_dict(config), identity),
        options,
        Budget(options.max_updates, options.max_epochs, options.max_minutes, started, calibration_cost=cost),
        MetricsLogger(launch.folder, tensorboard=options.tensorboard) if distributed.is_main else None,
    )


def _read_text(launch: Launch) -> tuple[Corpus, Corpus, LinkFiles | None]:
    """The training and validation text, and the links of the training text. The test text, if any, is checked only."""
    data = launch.config.data
    try:
        train, valid = build.read_corpus(data, "train"), build.read_corpus(data, "valid")
        if data.test:
            build.read_corpus(data, "test")
        return train, valid, build.read_guided_links(launch.config.guided_alignment)
    except ValueError as error:
        if launch.resuming and "no such file" in str(error):
            raise ValueError(f"{error}; if it has moved, say on this command line where it is now") from None
        raise


def _own_tokenizer(saved: SavedRun, now: TrainConfig, train: Corpus) -> Tokenizer:
    """The tokenizer of the checkpoint. Raises ValueError if the settings name the files of another tokenizer."""
    keys = ("model", "src_model", "tgt_model")
    changed = [key for key in keys if getattr(now.tokenizer, key) != getattr(saved.config.tokenizer, key)]
    if changed:
        given = build.build_tokenizer(now.tokenizer, train, Path(now.data.cache))
        if given.digest() != saved.tokenizer.digest():
            place = getattr(now.tokenizer, changed[0])
            raise ValueError(
                f"tokenizer.{changed[0]}={place}: not the model that this run is trained with, which its checkpoint "
                "holds; leave it out"
            )
    return saved.tokenizer


def _check_moved(saved: SavedRun, now: TrainConfig, trainer: Trainer) -> None:
    """Raises ValueError if the path of the validation text is new and its lines are not the same.

    Trainer.restore checks the training text.
    """
    data, old = now.data, saved.config.data
    before = saved.snapshot.state.get("validation")
    if (data.name, data.valid) == (old.name, old.valid) or not isinstance(before, dict):
        return
    if before.get(DATA_VALID) != trainer.checkpointer.identity.validation[DATA_VALID]:
        raise ValueError(
            f"{DATA_VALID}={data.valid}: not the lines that this run is validated on, of {DATA_VALID}={old.valid}; "
            "give it the same lines, or try finetune_from= for a new run from its weights"
        )


def _create_run_folder(launch: Launch, trainer: Trainer, stack: contextlib.ExitStack) -> None:
    """Creates the folder of a new run, locked until `stack` ends, and writes the configuration. Called on rank 0.

    All files are first written as a test; after a failure there the folder of a new run does not exist.
    """
    text = to_yaml(trainer.checkpointer.config | {"run": str(launch.folder.path), "resume": None})
    if not launch.resuming:
        stack.enter_context(launch.folder.lock())
    dry_run(trainer.checkpointer, text, tensorboard=trainer.options.tensorboard)
    if launch.resuming:
        launch.folder.write_config(text)
    else:
        launch.folder.create(text)
        start_log(launch.folder.log)


def _calibrate(trainer: Trainer, config: TrainConfig) -> None:
    """Calibrates the confidence of a finished run. A failure is only logged, as the run itself is complete."""
    if not (trainer.progress.finished and build.calibrates(config)):
        return
    run = str(trainer.run.path)
    by_hand = f"python -m nmt.calibrate checkpoint={run}"
    if not trainer.budget.can_calibrate(time.monotonic()):
        log.info(f"confidence is not calibrated, as trainer.max_minutes are too few for it; {by_hand} does it")
        return
    try:
        pairs = list(build.read_corpus(config.data, "valid"))[: CalibrateConfig.sentences]
        log.info(build.describe_calibration(build.calibrate(run, trainer.device.device, pairs)))
    except (ValueError, OSError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not out_of_memory(error):
            raise
        log.warning(f"confidence is not calibrated: {str(error).splitlines()[0]}; {by_hand} tries again")


def _log_setup(trainer: Trainer) -> None:
    encoded, tokenizer = trainer.batches.encoded, trainer.checkpointer.tokenizer
    assert isinstance(tokenizer, Tokenizer)
    weights = sum(parameter.numel() for parameter in trainer.state.model.parameters())
    log.info(f"run folder {trainer.run.path}")
    device = trainer.device.reason + ("; CUDA graphs" if trainer.gradients.graphs else "")
    log.info(f"precision {device}; {torch.get_num_threads()} threads; {trainer.distributed.size} rank(s)")
    log.info(
        f"{len(encoded)} training pairs, left out: {encoded.skipped.blank} blank, {encoded.skipped.long} over-long; "
        f"vocabulary {len(tokenizer.src)} and {len(tokenizer.tgt)}; {weights:,} weights; "
        f"real tokens in batches {trainer.batches.fill(0).both:.0%}"
    )
    validator = trainer.validator
    if not isinstance(validator, Validator):
        return
    if unfit := unfit_tokenizer(validator.tokenizer, validator.references, "data.bleu_tokenizer"):
        log.warning(unfit)


if __name__ == "__main__":
    run_command("train", main, TrainConfig)
