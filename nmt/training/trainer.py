"""The loop: next batches, update, maybe log, maybe validate, maybe save."""

import contextlib
import errno
import logging
import math
import time
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import numpy as np
import torch

from nmt import checkpoint
from nmt.checkpoint import Snapshot
from nmt.checkpoint.progress import LogWindow, Progress
from nmt.checkpoint.run_folder import RunFolder
from nmt.checkpoint.writing import SavableTokenizer
from nmt.data.batches import Batches
from nmt.runtime.contention import NOTICED, CoreWait
from nmt.runtime.device import Device, random_states
from nmt.runtime.distributed import Distributed
from nmt.runtime.signals import StopRequest
from nmt.training.budget import Budget
from nmt.training.gradients import Gradients, Normalization, SyncedFlags
from nmt.training.metrics_logger import MetricsLogger, NullLogger
from nmt.training.optim import EMA, Schedule
from nmt.training.train_state import TrainState
from nmt.training.validation import ValidationInterrupted, Validator

log = logging.getLogger("nmt")

# Ctrl-C reaches a rank twice, once from the terminal and once from torchrun.
SIGNAL_GRACE_SECONDS = 5.0
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)


class EarlyStoppingMetric(Enum):
    """What is best, and what early stopping waits for; the words of ``trainer.early_stopping_metric``."""

    bleu = "bleu"
    loss = "loss"


@dataclass(frozen=True)
class TrainerOptions:
    """How often the loop does what (in updates; 0: never) and when it gives up.

    grad_accumulation: batches an update, whatever the number of ranks; guidance: weight of the links in the objective,
    which each epoch multiplies by guidance_decay; patience: validations without a better one before the
    run ends (0: never); max_skipped_updates: updates in a row with a number that is not finite before it fails.
    """

    grad_accumulation: int = 1
    max_grad_norm: float = 1.0
    normalization: Normalization = Normalization.tokens
    label_smoothing: float = 0.0
    guidance: float = 0.0
    guidance_decay: float = 1.0
    log_every: int = 50
    validate_every: int = 500
    save_every: int = 500
    save_minutes: float = 0.0
    keep_checkpoints: int = 1
    early_stopping_metric: EarlyStoppingMetric = EarlyStoppingMetric.bleu
    patience: int = 0
    max_skipped_updates: int = 20


class Trainer:
    """Trains `model` until its budget is spent, its patience is, or someone asks it to stop.

    config: plain data that goes into each checkpoint, with `tokenizer`, for those who translate with it.
    """

    def __init__(
        self,
        model,
        optimizer: torch.optim.Optimizer,
        schedule: Schedule,
        batches: Batches,
        validator: Validator,
        *,
        options: TrainerOptions,
        budget: Budget,
        device: Device,
        distributed: Distributed,
        run: RunFolder,
        tokenizer: SavableTokenizer,
        config: dict,
        corpus: str = "",
        validation: dict[str, str | int | float | None] | None = None,
        ema: EMA | None = None,
        seed: int = 1,
        tensorboard: bool = True,
    ):
        """corpus: a digest of the training corpus, in which the run has its place. validation: what the numbers of a
        validation depend on beside the model, by the names of settings, such as a digest of its lines.
        """
        self.model, self.optimizer, self.schedule, self.ema = model, optimizer, schedule, ema
        self.batches, self.validator = batches, validator
        self.options, self.budget = options, budget
        self.device, self.distributed = device, distributed
        self.run, self.tokenizer, self.config = run, tokenizer, config
        self.tensorboard = tensorboard
        self.gradients = Gradients(
            model,
            batches,
            smoothing=options.label_smoothing,
            device=device,
            distributed=distributed,
            normalization=options.normalization,
        )
        self.scaler = self.gradients.scaler
        self.train_state = TrainState(
            model, optimizer, schedule, self.scaler, ema, seed=seed, corpus=corpus, validation=validation or {}
        )
        self.base_rates = [group["lr"] for group in optimizer.param_groups]
        self.progress = Progress()
        self.order: list[np.ndarray] = []
        self.metrics_logger: MetricsLogger | NullLogger = NullLogger()
        self.cores: CoreWait | None = CoreWait()
        self.flags = SyncedFlags()
        self.saved, self.saved_at, self.save_owed = -1, time.monotonic(), False
        self.stop = StopRequest(grace_seconds=SIGNAL_GRACE_SECONDS if distributed.size > 1 else 0.0)

    # The story

    def train(self) -> Progress:
        """Runs to the end. Raises ValueError when the numbers stop being finite; the last good checkpoint stays."""
        progress = self.progress
        self.order = self.batches.epoch(progress.epoch)
        self.model.train()
        with self._open_metrics_logger(), self.stop:
            if progress.update and self._due(self.options.validate_every) and progress.validated < progress.update:
                self._validate_and_save()  # the validation that was abandoned for the signal that stopped the run
            while not (reason := self._stop_reason()):
                self._update()
                if self._due(self.options.log_every):
                    self._log()
                self._validate_and_save()
            self._finish(reason)
        return progress

    @property
    def stopped(self) -> bool:
        """Whether somebody asked it to stop, in time or not."""
        return bool(self.flags.stops or self.stop.requested)

    def _stop_reason(self) -> str:
        """Why the run ends now, or ""."""
        progress = self.progress
        if self.flags.stops:  # before all else: who sends a signal gives half a minute
            return self.stop.requested or "SIGNAL"
        if reason := self.budget.ended_by(progress.update, self._epochs()):
            return reason
        if self.options.patience and progress.waited >= self.options.patience:
            return "trainer.patience"
        return "trainer.max_minutes" if self.flags.time_up else ""

    def _update(self) -> None:
        begun, progress = time.monotonic(), self.progress
        own = self._local_flags(begun)
        batches = self._next_batches()
        guidance = self.options.guidance * self.options.guidance_decay**progress.epoch
        nll, tokens, self.flags = self.gradients.accumulate(batches, own, guidance)
        self.scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.options.max_grad_norm or math.inf)
        self.gradients.prefetch(self._peek_batches())
        nll, norm = torch.stack((nll.double(), norm.double())).tolist()  # where an update waits for the device
        progress.update += 1
        progress.split += int(self.flags.splits)
        if math.isfinite(norm) and math.isfinite(nll):
            progress.skipped_in_row = 0
            factor = self.schedule.scale(progress.update, self.flags.spent)
            for parameters, rate in zip(self.optimizer.param_groups, self.base_rates, strict=True):
                parameters["lr"] = rate * factor
            self.scaler.step(self.optimizer)
            if self.ema:
                self.ema.update(progress.update)
            progress.window.nll += nll
            progress.window.tokens += tokens
            progress.window.norm += norm
            progress.window.updates += 1
        else:
            self._skip(nll, norm)
        self.scaler.update()
        progress.window.seconds += time.monotonic() - begun

    def _next_batches(self) -> list[np.ndarray]:
        """The rows of the batches of one update; an epoch's last update may have fewer."""
        progress = self.progress
        if progress.batch >= len(self.order):
            progress.epoch, progress.batch = progress.epoch + 1, 0
            self.order = self.batches.epoch(progress.epoch)
        batches = self._peek_batches()
        progress.batch += len(batches)
        return batches

    def _peek_batches(self) -> list[np.ndarray]:
        """The rows of what comes next in this epoch, if anything does."""
        return self.order[self.progress.batch : self.progress.batch + self.options.grad_accumulation]

    def _log(self) -> None:
        progress, window = self.progress, self.progress.window
        if not window.updates:
            return  # all were left out, and said so
        numbers = {
            "loss": window.nll / max(1, window.tokens),
            "lr": self.optimizer.param_groups[0]["lr"],
            "grad_norm": window.norm / window.updates,
            "tokens_per_second": window.tokens / max(1e-9, window.seconds),
            "epoch": self._epochs(),
            "skipped": progress.skipped,
            "split": progress.split,
        }
        self.metrics_logger.train(progress.update, self.flags.spent, numbers)
        progress.window = LogWindow()
        self._watch_cores()

    def _watch_cores(self) -> None:
        """Says once that threads wait for cores, where fewer of them would be faster."""
        if self.cores is None or self.device.device.type != "cpu" or torch.get_num_threads() == 1:
            return
        if (share := self.cores.share()) > NOTICED:
            log.warning(
                f"other programs keep cores busy: for {share:.0%} of their time the {torch.get_num_threads()} threads "
                "had to wait for one, and each waits for the slowest; if this goes on, threads=1 is faster here "
                f"(resume={self.run.path} threads=1)"
            )
            self.cores = None

    def _validate_and_save(self) -> None:
        """Validates and saves, where it is time for it."""
        scheduled = self._due(self.options.validate_every)
        validated = better = False
        if scheduled or self.flags.validation_due:
            try:
                better = self._validate(counts=scheduled)
                validated = True
            except ValidationInterrupted:
                self.flags = self.flags._replace(stops=1.0)
                return
        # Weights with which a loss was not finite must not replace good ones: they are saved once one is.
        step = self.save_owed or self._due(self.options.save_every) or bool(self.flags.save_due)
        self.save_owed = step and self.progress.skipped_in_row > 0 and not validated
        if validated or (step and not self.save_owed):
            self._save(step=step, best=better)

    def _validate(self, *, counts: bool) -> bool:
        """Validates -> whether this is the best yet. counts: for the plateau schedule and early stopping too, which the
        one at the end of a budget must not do: a run that is given more goes on as if that had been its budget. So
        early stopping has a best of its own.
        """
        begun, progress = time.monotonic(), self.progress
        stopped = lambda: bool(self.stop.requested)  # noqa: E731
        with self.ema.swapped() if self.ema else contextlib.nullcontext():
            result = self.validator.validate(self.model, self.device, self.distributed, stopped)
        if not math.isfinite(result.loss):
            raise self._diverged("the loss of the validation is not finite at")
        progress.validated = progress.update
        score = result.bleu if self.options.early_stopping_metric is EarlyStoppingMetric.bleu else -result.loss
        # BLEU can be 0 for long while the loss falls: of equal ones the smaller loss is better.
        rank = score, -result.loss
        better = progress.best is None or rank > (progress.best, -progress.best_loss)
        if better:
            progress.best, progress.best_loss, progress.best_update = score, result.loss, progress.update
        if counts:
            if progress.best_scheduled is None or rank > (progress.best_scheduled, -progress.best_scheduled_loss):
                progress.best_scheduled, progress.best_scheduled_loss, progress.waited = score, result.loss, 0
            else:
                progress.waited += 1
            self.schedule.on_validation(result.loss)
        seconds = time.monotonic() - begun
        perplexity = math.exp(min(result.loss, 700.0))
        numbers = {"loss": result.loss, "perplexity": perplexity, **result.scores, "seconds": seconds}
        if result.attention_stats:
            numbers |= {f"attention_{name}": number for name, number in result.attention_stats._asdict().items()}
        self.metrics_logger.valid(progress.update, result, numbers, better)
        progress.reserve = self.budget.reserve = (
            1.1 * (time.monotonic() - begun) + 1.0
        )  # and a second for saving and leaving
        return better

    def _finish(self, reason: str) -> None:
        progress = self.progress
        better = False
        if not self.flags.stops and progress.validated != progress.update:
            try:
                better = self._validate(counts=False)
            except ValidationInterrupted:
                reason = self.stop.requested or "SIGNAL"
                self.flags = self.flags._replace(stops=1.0)
        if self.flags.stops:
            log.warning(f"{reason}: saving at update {progress.update} and stopping; go on with resume={self.run.path}")
            if self.saved != progress.update:
                self._save()
            return
        progress.finished = reason
        self._save(best=better)
        log.info(f"finished by {reason} at update {progress.update}, epoch {self._epochs():.2f}")
        if progress.best is not None:
            log.info(
                f"best validation {self.options.early_stopping_metric.value} {abs(progress.best):.2f}, at update "
                f"{progress.best_update}"
            )

    # The parts

    @contextlib.contextmanager
    def _open_metrics_logger(self):
        """Opens it on the rank that writes; closing it must not hide the error that ends the run."""
        if self.distributed.is_main:
            self.metrics_logger = MetricsLogger(self.run, self.progress, tensorboard=self.tensorboard)
        try:
            yield
        except BaseException as error:
            with contextlib.suppress(OSError):
                self.metrics_logger.close()
            if isinstance(error, OSError) and error.errno in UNWRITABLE:
                kept = " its checkpoints are kept;" if self._has_checkpoint() else ""
                raise OSError(
                    f"{error.filename or self.run.path}: could not be written ({error.strerror});{kept} make room and "
                    f"try resume={self.run.path}"
                ) from None
            raise
        self.metrics_logger.close()

    def _local_flags(self, now: float) -> SyncedFlags:
        progress, stops = self.progress, float(bool(self.stop.requested))
        if not self.distributed.is_main:
            return SyncedFlags(stops=stops)
        minutes = self.options.save_minutes
        return SyncedFlags(
            spent=self.budget.spent(progress.update, self._epochs(), now),
            time_up=float(self.budget.time_is_up(now)),
            save_due=float(bool(minutes) and now - self.saved_at > 60 * minutes),
            validation_due=float(not progress.validated and self.budget.first_validation_due(now)),
            stops=stops,
        )

    def _skip(self, nll: float, norm: float) -> None:
        progress = self.progress
        progress.skipped += 1
        progress.skipped_in_row += 1
        log.warning(
            f"update {progress.update}: loss {nll:g}, gradient norm {norm:g}: weights left as they were "
            f"({progress.skipped} so far)"
        )
        if progress.skipped_in_row >= self.options.max_skipped_updates:
            raise self._diverged(
                f"loss or gradient was not finite in {progress.skipped_in_row} updates in a row, up to"
            )

    def _diverged(self, what: str) -> BaseException:
        """What ends a run whose numbers are not finite; one rank says why. what: ends before "update"."""
        if not self.distributed.is_main:
            return SystemExit(2)
        try_ = f"a smaller optim.lr than {self.base_rates[0]:g}"
        try_ += ", optim.max_grad_norm=1" if not self.options.max_grad_norm else ""
        try_ += "" if self.device.dtype == torch.float32 else ", or precision=fp32"
        if self._has_checkpoint():
            try_ = (
                f"finetune_from={self.run.path} run=ANOTHER with {try_}; the last good checkpoint is in "
                f"{self.run.checkpoints}"
            )
        return ValueError(f"{what} update {self.progress.update}: try {try_}")

    def _has_checkpoint(self) -> bool:
        return any(checkpoint.resolve(place).is_dir() for place in (self.run.last, self.run.previous))

    def _due(self, every: int) -> bool:
        return every > 0 and self.progress.update % every == 0

    def _epochs(self) -> float:
        return self.progress.epoch + self.progress.batch / max(1, len(self.order))

    # Keeping and going on

    def _save(self, *, step: bool = False, best: bool = False) -> None:
        """Writes `last`; the same as step-N and as best where asked. One rank writes, all bring their random states.

        Not beside the training: 20 MB of weights with Adam's 40 take 0.15 s (most of it the disk's), once in minutes.
        """
        progress = self.progress
        states = self.distributed.gather(random_states())
        if self.distributed.is_main:
            progress.seconds = self.budget.seconds(time.monotonic())
            self.metrics_logger.flush()
            checkpoint.write(self.run.last, self.snapshot(states), self.tokenizer, self.run.previous)
            if best:
                checkpoint.hard_link(self.run.last, self.run.best)
            if step:
                checkpoint.hard_link(self.run.last, self.run.step(progress.update))
                self.run.prune(self.options.keep_checkpoints)
        self.saved, self.saved_at = progress.update, time.monotonic()

    def snapshot(self, states: list[dict[str, torch.Tensor]]) -> Snapshot:
        """Everything a run needs to go on; `states`: the ranks' random states."""
        return self.train_state.snapshot(self.progress, states, self.config)

    def restore(self, snapshot: Snapshot) -> None:
        """Goes on from what snapshot gave. Raises ValueError for what is not a snapshot of such a run."""
        self.progress = self.train_state.restore(snapshot, self.distributed)
        self.progress.finished = ""
        self.budget.before, self.budget.reserve = self.progress.seconds, self.progress.reserve

    def repair_links(self, place: Path) -> None:
        """Makes up for what a kill left undone after it wrote the checkpoint `place`: its other names."""
        progress, run = self.progress, self.run
        names = [run.last]
        names += [run.best] if progress.best is not None and progress.best_update == progress.update else []
        names += [run.step(progress.update)] if progress.update and self._due(self.options.save_every) else []
        for name in names:
            if name == place:
                continue
            try:
                whole = checkpoint.read_update(name) == progress.update
                checkpoint.verify(name)
            except ValueError:
                whole = False
            if not whole:
                checkpoint.hard_link(place, name)
