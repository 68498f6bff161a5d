"""The loop: next batches, update, maybe log, maybe validate, maybe save."""

import contextlib
import logging
import math
import time

import numpy as np
import torch

from nmt.checkpoint import Snapshot
from nmt.checkpoint.progress import LogWindow, Progress
from nmt.runtime.contention import CoreWait
from nmt.runtime.signals import StopRequest
from nmt.training.budget import Budget
from nmt.training.checkpointer import Checkpointer
from nmt.training.consistency import Consistency, Objective
from nmt.training.gradients import Gradients, SyncedFlags
from nmt.training.metrics_logger import MetricsLogger
from nmt.training.options import TrainerOptions
from nmt.training.train_state import TrainState
from nmt.validation.alignment import AlignmentValidator
from nmt.validation.alignment_head import HeadValidator
from nmt.validation.translation import ValidationInterrupted, Validator

log = logging.getLogger("nmt")

# Ctrl-C reaches a rank twice, once from the terminal and once from torchrun.
SIGNAL_GRACE_SECONDS = 5.0


class Trainer:
    """Trains `state` until its budget or its patience is used up, or a signal asks it to stop.

    gradients: of the training batches, on this device, with these ranks. logger: None on ranks that do not write.
    """

    def __init__(
        self,
        state: TrainState,
        gradients: Gradients,
        validator: Validator | AlignmentValidator | HeadValidator,
        checkpointer: Checkpointer,
        options: TrainerOptions,
        budget: Budget,
        logger: MetricsLogger | None = None,
    ):
        self.state, self.gradients, self.validator = state, gradients, validator
        self.checkpointer, self.options, self.budget, self.logger = checkpointer, options, budget, logger
        self.batches, self.device, self.distributed = gradients.batches, gradients.device, gradients.distributed
        self.run = checkpointer.run
        self.order: list[np.ndarray] = []
        self.cores = CoreWait() if self.device.device.type == "cpu" else None
        self.flags = SyncedFlags()
        self.stop = StopRequest(grace_seconds=SIGNAL_GRACE_SECONDS if self.distributed.size > 1 else 0.0)

    @property
    def progress(self) -> Progress:
        """The progress of the run."""
        return self.state.progress

    @property
    def stopped(self) -> bool:
        """Whether a signal asked the run to stop, even after its last update."""
        return bool(self.flags.stops or self.stop.requested)

    def restore(self, snapshot: Snapshot) -> None:
        """Restores a snapshot. Raises ValueError if it is not a snapshot of such a run."""
        self.checkpointer.restore(snapshot)
        self.budget.before, self.budget.validation = self.progress.seconds, self.progress.validation_seconds

    # The loop

    def train(self) -> Progress:
        """Runs to the end. Raises ValueError if numbers are not finite; the last valid checkpoint is kept."""
        progress = self.progress
        self.order = self.batches.epoch(progress.epoch)
        self.state.model.train()
        logging_ = self.logger.opened(progress) if self.logger else contextlib.nullcontext()
        with logging_, self.run.explaining_unwritable(), self.stop:
            if progress.update and self._due(self.options.validate_every) and progress.validated < progress.update:
                self._validate_and_save()  # the validation that was abandoned for the signal that stopped the run
            while not (reason := self._stop_reason()):
                self._update()
                if self._due(self.options.log_every):
                    self._log()
                self._validate_and_save()
            self._finish(reason)
        return progress

    def _stop_reason(self) -> str:
        """The reason why the run ends now, or ""."""
        progress = self.progress
        if self.flags.stops:  # before all else: who sends a signal gives half a minute
            return self.stop.requested or "SIGNAL"
        if reason := self.budget.ended_by(progress.update, self._epochs()):
            return reason
        if self.options.patience and progress.waited >= self.options.patience:
            return "trainer.patience"
        return "trainer.max_minutes" if self.flags.time_up else ""

    def _update(self) -> None:
        begun, progress, state = time.monotonic(), self.progress, self.state
        own = self._local_flags(begun)
        batches = self._next_batches()
        guidance = self.gradients.guidance_at(progress.epoch)
        found = self.gradients.accumulate(batches, own, guidance, progress.epoch)
        self.flags = found.flags
        norm = self.gradients.clip(state.optimizer)
        self.gradients.prefetch(self._peek_batches(), progress.epoch)
        nll, kl, cost, norm = torch.stack(
            [each.double() for each in (found.nll, found.kl, found.cost, norm)]
        ).tolist()  # where an update waits for the device
        progress.update += 1
        progress.split += int(self.flags.splits)
        if math.isfinite(norm) and math.isfinite(nll):
            progress.skipped_in_row = 0
            state.step(self.flags.spent)
            state.model.after_update(nll / found.tokens)
            progress.window.add(nll, found.tokens, norm, kl, cost, found.sentences)
        else:
            self._skip(nll, norm)
        state.scaler.update()
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
        """The rows of the next update in this epoch, or none."""
        return self.order[self.progress.batch : self.progress.batch + self.options.grad_accumulation]

    def _log(self) -> None:
        progress, window = self.progress, self.progress.window
        if not window.updates:
            return  # all were left out, and said so
        numbers = {
            "loss": window.nll / max(1, window.tokens),
            "lr": self.state.optimizer.param_groups[0]["lr"],
            "grad_norm": window.norm / window.updates,
            "tokens_per_second": window.tokens / max(1e-9, window.seconds),
            "epoch": self._epochs(),
            "skipped": progress.skipped,
            "split": progress.split,
        }
        if self.gradients.loss.consistency is not Consistency.none:
            numbers["kl"] = window.kl / max(1, window.tokens)
        if self.gradients.loss.objective is Objective.minimum_risk:
            numbers["expected_cost"] = window.cost / max(1, window.sentences)
        if self.logger:
            self.logger.train(progress.update, self.flags.spent, numbers)
        progress.window = LogWindow()
        if self.cores and (advice := self.cores.advice()):
            log.warning(f"{advice} (resume={self.run.path} threads=1)")
            self.cores = None  # once is enough

    def _validate_and_save(self) -> None:
        """Validates and saves, if due."""
        scheduled = self._due(self.options.validate_every)
        validated = better = False
        if scheduled or self.flags.validation_due:
            try:
                better = self._validate(counts=scheduled)
                validated = True
            except ValidationInterrupted:
                self.flags = self.flags._replace(stops=1.0)
                return
        step = self.checkpointer.step_due(minutes_up=bool(self.flags.save_due), validated=validated)
        if validated or step:
            self._save(step=step, best=better)

    def _validate(self, *, counts: bool) -> bool:
        """Validates -> whether this is the best validation so far.

        counts: whether the validation counts for the plateau schedule and for early stopping. The one at the end of a
        budget does not: a run that is resumed with a larger budget continues as if it had always had that budget.
        """
        begun, progress = time.monotonic(), self.progress
        stopped = lambda: bool(self.stop.requested)  # noqa: E731
        with self.state.averaged():
            result = self.validator.validate(self.state.model, self.device, self.distributed, stopped)
        if not math.isfinite(result.loss):
            raise self._diverged("the loss of the validation is not finite at")
        score = self.options.early_stopping_metric.score(result)
        better = progress.record_validation(score, result.loss, counts=counts)
        if counts:
            self.state.schedule.on_validation(result.loss)
        if self.logger:
            self.logger.valid(progress.update, result, result.numbers(time.monotonic() - begun), better)
        progress.validation_seconds = self.budget.validation = time.monotonic() - begun
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
            keep = progress.skipped_in_row > 0 and self.run.last.exists()  # the weights may have diverged since then
            action = "keeping the last checkpoint" if keep else "saving"
            log.warning(f"{reason}: {action} at update {progress.update}, stopping; go on with resume={self.run.path}")
            if not keep and self.checkpointer.saved != progress.update:
                self._save()
            return
        progress.finished = reason
        self._save(best=better)
        log.info(f"finished by {reason} at update {progress.update}, epoch {self._epochs():.2f}")
        if progress.best is not None:
            metric = self.options.early_stopping_metric.value
            log.info(f"best validation {metric} {abs(progress.best):.2f}, at update {progress.best_update}")

    # The parts of the loop

    def _save(self, *, step: bool = False, best: bool = False) -> None:
        self.progress.seconds = self.budget.seconds(time.monotonic())
        if self.logger:
            self.logger.flush()  # a checkpoint counts on the numbers up to it
        self.checkpointer.save(step=step, best=best)

    def _local_flags(self, now: float) -> SyncedFlags:
        progress, stops = self.progress, float(bool(self.stop.requested))
        if not self.distributed.is_main:
            return SyncedFlags(stops=stops)
        return SyncedFlags(
            spent=self.budget.spent(progress.update, self._epochs(), now),
            time_up=float(self.budget.time_is_up(now)),
            save_due=float(self.checkpointer.minutes_are_up(now)),
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
        """The error that ends a run whose numbers are not finite; one rank logs the reason. what: ends before
        "update".
        """
        if not self.distributed.is_main:
            return SystemExit(2)
        try_ = f"a smaller optim.lr than {self.state.base_rates[0]:g}"
        try_ += ", optim.max_grad_norm=1" if not self.gradients.options.max_grad_norm else ""
        try_ += "" if self.device.dtype == torch.float32 else ", or precision=fp32"
        if self.run.has_checkpoint():
            try_ = (
                f"finetune_from={self.run.path} run=ANOTHER with {try_}; the last good checkpoint is in "
                f"{self.run.checkpoints}"
            )
        return ValueError(f"{what} update {self.progress.update}: try {try_}")

    def _due(self, every: int) -> bool:
        return every > 0 and self.progress.update % every == 0

    def _epochs(self) -> float:
        return self.progress.epoch + self.progress.batch / max(1, len(self.order))
