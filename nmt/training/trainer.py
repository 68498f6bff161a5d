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

from nmt.data.batches import Batches
from nmt.training import checkpoint
from nmt.training.budget import Budget
from nmt.training.checkpoint import Snapshot
from nmt.training.checkpoint.placing import Saves
from nmt.training.contention import NOTICED, CoreWait
from nmt.training.device import Device, random_states
from nmt.training.gradients import Gradients, Normalization, Word
from nmt.training.journal import Journal, Silence
from nmt.training.memory import Memory
from nmt.training.optim import Average, Schedule
from nmt.training.progress import Progress, Window
from nmt.training.ranks import Ranks
from nmt.training.run_folder import RunFolder
from nmt.training.signals import StopRequest
from nmt.training.validation import Abandoned, Validator

log = logging.getLogger("nmt")

# Ctrl-C reaches a rank twice, once from the terminal and once from torchrun.
SETTLE = 5.0
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)


class BestBy(Enum):
    """What is best, and what early stopping waits for; the words of ``trainer.best_by``."""

    bleu = "bleu"
    loss = "loss"


@dataclass(frozen=True)
class Habits:
    """How often the loop does what (in updates; 0: never) and when it gives up.

    accumulate: batches an update, whatever the number of ranks; guidance: weight of the links in the objective, which
    each epoch multiplies by guidance_decay; patience: validations without a better one before the
    run ends (0: never); most_skipped: updates in a row with a number that is not finite before it fails.
    """

    accumulate: int = 1
    clip: float = 1.0
    normalization: Normalization = Normalization.tokens
    smoothing: float = 0.0
    guidance: float = 0.0
    guidance_decay: float = 1.0
    log_every: int = 50
    validate_every: int = 500
    save_every: int = 500
    save_minutes: float = 0.0
    keep: int = 1
    best_by: BestBy = BestBy.bleu
    patience: int = 0
    most_skipped: int = 20


class Trainer:
    """Trains `model` until its budget is spent, its patience is, or someone asks it to stop.

    config: plain data that goes into each checkpoint, with `tokenizer`, for those who translate with it.
    """

    def __init__(
        self,
        model,
        optimiser: torch.optim.Optimizer,
        schedule: Schedule,
        batches: Batches,
        validator: Validator,
        *,
        habits: Habits,
        budget: Budget,
        device: Device,
        ranks: Ranks,
        run: RunFolder,
        tokenizer: Saves,
        config: dict,
        corpus: str = "",
        validation: dict[str, str | int | float | None] | None = None,
        average: Average | None = None,
        seed: int = 1,
        tensorboard: bool = True,
    ):
        """corpus: a digest of the training corpus, in which the run has its place. validation: what the numbers of a
        validation depend on beside the model, by the names of settings, such as a digest of its lines.
        """
        self.model, self.optimiser, self.schedule, self.average = model, optimiser, schedule, average
        self.batches, self.validator = batches, validator
        self.habits, self.budget = habits, budget
        self.device, self.ranks = device, ranks
        self.run, self.tokenizer, self.config = run, tokenizer, config
        self.tensorboard = tensorboard
        self.gradients = Gradients(
            model,
            batches,
            smoothing=habits.smoothing,
            device=device,
            ranks=ranks,
            normalization=habits.normalization,
        )
        self.scaler = self.gradients.scaler
        self.memory = Memory(
            model, optimiser, schedule, self.scaler, average, seed=seed, corpus=corpus, validation=validation or {}
        )
        self.base_rates = [group["lr"] for group in optimiser.param_groups]
        self.progress = Progress()
        self.order: list[np.ndarray] = []
        self.journal: Journal | Silence = Silence()
        self.cores: CoreWait | None = CoreWait()
        self.word = Word()
        self.saved, self.saved_at, self.save_owed = -1, time.monotonic(), False
        self.stop = StopRequest(settle=SETTLE if ranks.size > 1 else 0.0)

    # The story

    def train(self) -> Progress:
        """Runs to the end. Raises ValueError when the numbers stop being finite; the last good checkpoint stays."""
        at = self.progress
        self.order = self.batches.epoch(at.epoch)
        self.model.train()
        with self._journal(), self.stop:
            if at.update and self._due(self.habits.validate_every) and at.validated < at.update:
                self._look()  # the validation that was abandoned for the signal that stopped the run
            while not (end := self._ended()):
                self._update()
                if self._due(self.habits.log_every):
                    self._log()
                self._look()
            self._finish(end)
        return at

    @property
    def stopped(self) -> bool:
        """Whether somebody asked it to stop, in time or not."""
        return bool(self.word.stops or self.stop.requested)

    def _ended(self) -> str:
        """Why the run ends now, or ""."""
        at = self.progress
        if self.word.stops:  # before all else: who sends a signal gives half a minute
            return self.stop.requested or "SIGNAL"
        if end := self.budget.ended_by(at.update, self._epochs()):
            return end
        if self.habits.patience and at.waited >= self.habits.patience:
            return "trainer.patience"
        return "trainer.max_minutes" if self.word.time_up else ""

    def _update(self) -> None:
        begun, at = time.monotonic(), self.progress
        own = self._own_word(begun)
        group = self._next_batches()
        guidance = self.habits.guidance * self.habits.guidance_decay**at.epoch
        nll, tokens, self.word = self.gradients.fill(group, own, guidance)
        self.scaler.unscale_(self.optimiser)
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.habits.clip or math.inf)
        self.gradients.prepare(self._group())
        nll, norm = torch.stack((nll.double(), norm.double())).tolist()  # where an update waits for the device
        at.update += 1
        at.split += int(self.word.splits)
        if math.isfinite(norm) and math.isfinite(nll):
            at.skipped_in_row = 0
            factor = self.schedule.scale(at.update, self.word.spent)
            for parameters, rate in zip(self.optimiser.param_groups, self.base_rates, strict=True):
                parameters["lr"] = rate * factor
            self.scaler.step(self.optimiser)
            if self.average:
                self.average.update(at.update)
            at.window.nll += nll
            at.window.tokens += tokens
            at.window.norm += norm
            at.window.updates += 1
        else:
            self._skip(nll, norm)
        self.scaler.update()
        at.window.seconds += time.monotonic() - begun

    def _next_batches(self) -> list[np.ndarray]:
        """The rows of the batches of one update; an epoch's last update may have fewer."""
        at = self.progress
        if at.batch >= len(self.order):
            at.epoch, at.batch = at.epoch + 1, 0
            self.order = self.batches.epoch(at.epoch)
        group = self._group()
        at.batch += len(group)
        return group

    def _group(self) -> list[np.ndarray]:
        """The rows of what comes next in this epoch, if anything does."""
        return self.order[self.progress.batch : self.progress.batch + self.habits.accumulate]

    def _log(self) -> None:
        at, window = self.progress, self.progress.window
        if not window.updates:
            return  # all were left out, and said so
        numbers = {
            "loss": window.nll / max(1, window.tokens),
            "lr": self.optimiser.param_groups[0]["lr"],
            "grad_norm": window.norm / window.updates,
            "tokens_per_second": window.tokens / max(1e-9, window.seconds),
            "epoch": self._epochs(),
            "skipped": at.skipped,
            "split": at.split,
        }
        self.journal.train(at.update, self.word.spent, numbers)
        at.window = Window()
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

    def _look(self) -> None:
        """Validates and saves, where it is time for it."""
        scheduled = self._due(self.habits.validate_every)
        validated = better = False
        if scheduled or self.word.validation_due:
            try:
                better = self._validate(counts=scheduled)
                validated = True
            except Abandoned:
                self.word = self.word._replace(stops=1.0)
                return
        # Weights with which a loss was not finite must not replace good ones: they are saved once one is.
        step = self.save_owed or self._due(self.habits.save_every) or bool(self.word.save_due)
        self.save_owed = step and self.progress.skipped_in_row > 0 and not validated
        if validated or (step and not self.save_owed):
            self._save(step=step, best=better)

    def _validate(self, *, counts: bool) -> bool:
        """Validates -> whether this is the best yet. counts: for the plateau schedule and early stopping too, which the
        one at the end of a budget must not do: a run that is given more goes on as if that had been its budget. So
        early stopping has a best of its own.
        """
        begun, at = time.monotonic(), self.progress
        stopped = lambda: bool(self.stop.requested)  # noqa: E731
        with self.average.swapped() if self.average else contextlib.nullcontext():
            finding = self.validator.validate(self.model, self.device, self.ranks, stopped)
        if not math.isfinite(finding.loss):
            raise self._diverged("the loss of the validation is not finite at")
        at.validated = at.update
        score = finding.bleu if self.habits.best_by is BestBy.bleu else -finding.loss
        # BLEU can be 0 for long while the loss falls: of equal ones the smaller loss is better.
        rank = score, -finding.loss
        better = at.best is None or rank > (at.best, -at.best_loss)
        if better:
            at.best, at.best_loss, at.best_update = score, finding.loss, at.update
        if counts:
            if at.best_scheduled is None or rank > (at.best_scheduled, -at.best_scheduled_loss):
                at.best_scheduled, at.best_scheduled_loss, at.waited = score, finding.loss, 0
            else:
                at.waited += 1
            self.schedule.observe(finding.loss)
        seconds = time.monotonic() - begun
        perplexity = math.exp(min(finding.loss, 700.0))
        numbers = {"loss": finding.loss, "perplexity": perplexity, **finding.scores, "seconds": seconds}
        if finding.health:
            numbers |= {f"attention_{name}": number for name, number in finding.health._asdict().items()}
        self.journal.valid(at.update, finding, numbers, better)
        at.reserve = self.budget.reserve = 1.1 * (time.monotonic() - begun) + 1.0  # and a second for saving and leaving
        return better

    def _finish(self, end: str) -> None:
        at = self.progress
        better = False
        if not self.word.stops and at.validated != at.update:
            try:
                better = self._validate(counts=False)
            except Abandoned:
                end = self.stop.requested or "SIGNAL"
                self.word = self.word._replace(stops=1.0)
        if self.word.stops:
            log.warning(f"{end}: saving at update {at.update} and stopping; go on with resume={self.run.path}")
            if self.saved != at.update:
                self._save()
            return
        at.finished = end
        self._save(best=better)
        log.info(f"finished by {end} at update {at.update}, epoch {self._epochs():.2f}")
        if at.best is not None:
            log.info(f"best validation {self.habits.best_by.value} {abs(at.best):.2f}, at update {at.best_update}")

    # The parts

    @contextlib.contextmanager
    def _journal(self):
        """Opens it on the rank that writes; closing it must not hide the error that ends the run."""
        if self.ranks.first:
            self.journal = Journal(self.run, self.progress, tensorboard=self.tensorboard)
        try:
            yield
        except BaseException as error:
            with contextlib.suppress(OSError):
                self.journal.close()
            if isinstance(error, OSError) and error.errno in UNWRITABLE:
                kept = " its checkpoints are kept;" if self._has_checkpoint() else ""
                raise OSError(
                    f"{error.filename or self.run.path}: could not be written ({error.strerror});{kept} make room and "
                    f"try resume={self.run.path}"
                ) from None
            raise
        self.journal.close()

    def _own_word(self, now: float) -> Word:
        at, stops = self.progress, float(bool(self.stop.requested))
        if not self.ranks.first:
            return Word(stops=stops)
        minutes = self.habits.save_minutes
        return Word(
            spent=self.budget.spent(at.update, self._epochs(), now),
            time_up=float(self.budget.time_is_up(now)),
            save_due=float(bool(minutes) and now - self.saved_at > 60 * minutes),
            validation_due=float(not at.validated and self.budget.needs_a_measure(now)),
            stops=stops,
        )

    def _skip(self, nll: float, norm: float) -> None:
        at = self.progress
        at.skipped += 1
        at.skipped_in_row += 1
        log.warning(
            f"update {at.update}: loss {nll:g}, gradient norm {norm:g}: weights left as they were ({at.skipped} so far)"
        )
        if at.skipped_in_row >= self.habits.most_skipped:
            raise self._diverged(f"loss or gradient was not finite in {at.skipped_in_row} updates in a row, up to")

    def _diverged(self, what: str) -> BaseException:
        """What ends a run whose numbers are not finite; one rank says why. what: ends before "update"."""
        if not self.ranks.first:
            return SystemExit(2)
        try_ = f"a smaller optim.lr than {self.base_rates[0]:g}"
        try_ += ", optim.clip=1" if not self.habits.clip else ""
        try_ += "" if self.device.dtype == torch.float32 else ", or precision=fp32"
        if self._has_checkpoint():
            try_ = (
                f"init={self.run.path} run=ANOTHER with {try_}; the last good checkpoint is in {self.run.checkpoints}"
            )
        return ValueError(f"{what} update {self.progress.update}: try {try_}")

    def _has_checkpoint(self) -> bool:
        return any(checkpoint.standing(place).is_dir() for place in (self.run.last, self.run.previous))

    def _due(self, every: int) -> bool:
        return every > 0 and self.progress.update % every == 0

    def _epochs(self) -> float:
        return self.progress.epoch + self.progress.batch / max(1, len(self.order))

    # Keeping and going on

    def _save(self, *, step: bool = False, best: bool = False) -> None:
        """Writes `last`; the same as step-N and as best where asked. One rank writes, all bring their random states.

        Not beside the training: 20 MB of weights with Adam's 40 take 0.15 s (most of it the disk's), once in minutes.
        """
        at = self.progress
        states = self.ranks.gather(random_states())
        if self.ranks.first:
            at.seconds = self.budget.seconds(time.monotonic())
            self.journal.flush()
            checkpoint.write(self.run.last, self.snapshot(states), self.tokenizer, self.run.previous)
            if best:
                checkpoint.link(self.run.last, self.run.best)
            if step:
                checkpoint.link(self.run.last, self.run.step(at.update))
                self.run.prune(self.habits.keep)
        self.saved, self.saved_at = at.update, time.monotonic()

    def snapshot(self, states: list[dict[str, torch.Tensor]]) -> Snapshot:
        """Everything a run needs to go on; `states`: the ranks' random states."""
        return self.memory.snapshot(self.progress, states, self.config)

    def restore(self, snapshot: Snapshot) -> None:
        """Goes on from what snapshot gave. Raises ValueError for what is not a snapshot of such a run."""
        self.progress = self.memory.restore(snapshot, self.ranks)
        self.progress.finished = ""
        self.budget.before, self.budget.reserve = self.progress.seconds, self.progress.reserve

    def mend(self, place: Path) -> None:
        """Makes up for what a kill left undone after it wrote the checkpoint `place`: its other names."""
        at, run = self.progress, self.run
        names = [run.last]
        names += [run.best] if at.best is not None and at.best_update == at.update else []
        names += [run.step(at.update)] if at.update and self._due(self.habits.save_every) else []
        for name in names:
            if name == place:
                continue
            try:
                whole = checkpoint.read_update(name) == at.update
                checkpoint.verify(name)
            except ValueError:
                whole = False
            if not whole:
                checkpoint.link(place, name)
