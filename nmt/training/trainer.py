"""The loop: next batches, update, maybe log, maybe validate, maybe save."""

import logging
import math
import time
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from nmt.data.batches import Batches
from nmt.training import checkpoint
from nmt.training.budget import Budget
from nmt.training.checkpoint import Snapshot
from nmt.training.device import Device, Ranks, random_states, restore_random_states
from nmt.training.journal import Journal, Silence
from nmt.training.optim import Average, Schedule
from nmt.training.run_folder import RunFolder
from nmt.training.signals import StopRequest
from nmt.training.validation import Validator

log = logging.getLogger("nmt")


class BestBy(Enum):
    """What is best, and what early stopping waits for; the words of ``trainer.best_by``."""

    bleu = "bleu"
    loss = "loss"


@dataclass(frozen=True)
class Habits:
    """How often the loop does what (in updates; 0: never) and when it gives up.

    accumulate: batches an update, whatever the number of ranks; patience: validations without a better one before the
    run ends (0: never); most_skipped: updates in a row with a gradient that is not finite before it fails.
    """

    accumulate: int = 1
    clip: float = 1.0
    smoothing: float = 0.0
    log_every: int = 50
    validate_every: int = 500
    save_every: int = 500
    save_minutes: float = 0.0
    keep: int = 1
    best_by: BestBy = BestBy.bleu
    patience: int = 0
    most_skipped: int = 20


class Word(NamedTuple):
    """What no rank may decide alone: rank 0's clock and anybody's signal, agreed on once an update.

    spent: share of the budget; time_up, save_due, stops: numbers of ranks that say so.
    """

    spent: float = 0.0
    time_up: float = 0.0
    save_due: float = 0.0
    stops: float = 0.0


@dataclass
class Window:
    """Sums since the last line of the log."""

    nll: float = 0.0
    tokens: int = 0
    norm: float = 0.0
    updates: int = 0
    seconds: float = 0.0


@dataclass
class Progress:
    """Where a run is: everything about it that is neither a tensor nor a setting.

    update: updates done; epoch, batch: the place in the data (batches of this epoch that are used up); skipped: updates
    left out for a gradient that was not finite, skipped_in_row: the last of them; split: batches that did not fit into
    memory whole; best: the best validation so far and best_update when; waited: validations since.
    """

    update: int = 0
    epoch: int = 0
    batch: int = 0
    skipped: int = 0
    skipped_in_row: int = 0
    split: int = 0
    best: float | None = None
    best_update: int = 0
    waited: int = 0
    validated: int = 0
    finished: str = ""
    window: Window = field(default_factory=Window)


class Trainer:
    """Trains `model` until its budget is spent, its patience is, or someone asks it to stop."""

    def __init__(
        self,
        model,
        optimiser: torch.optim.Optimizer,
        schedule: Schedule,
        batches: Batches,
        validator: Validator | None,
        *,
        habits: Habits,
        budget: Budget,
        device: Device,
        ranks: Ranks,
        run: RunFolder,
        tokenizer,
        config: dict,
        average: Average | None = None,
        seed: int = 1,
        tensorboard: bool = True,
    ):
        self.model, self.optimiser, self.schedule, self.average = model, optimiser, schedule, average
        self.batches, self.validator = batches, validator
        self.habits, self.budget = habits, budget
        self.device, self.ranks = device, ranks
        self.run, self.tokenizer, self.config, self.seed = run, tokenizer, config, seed
        self.tensorboard = tensorboard
        self.scaler = device.scaler()
        self.base_rates = [group["lr"] for group in optimiser.param_groups]
        self.progress = Progress()
        self.order: list[np.ndarray] = []
        self.journal: Journal | Silence = Silence()
        self.saved_at = time.monotonic()
        self.word = Word()
        self.stop = StopRequest()

    # The story

    def train(self) -> Progress:
        """Runs to the end. Raises ValueError when the numbers stop being finite; the last good checkpoint stays."""
        if self.ranks.first:
            self.journal = Journal(self.run, self.progress.update, tensorboard=self.tensorboard)
        self.order = self.batches.epoch(self.progress.epoch)
        self.model.train()
        try:
            with self.stop:
                while not (end := self._ended()):
                    self._update(self._next_batches())
                    if self._due(self.habits.log_every):
                        self._log()
                    if self._due(self.habits.validate_every):
                        self._validate()
                    if self._due(self.habits.save_every) or self.word.save_due:
                        self._save(step=True)
                self._finish(end)
        finally:
            self.journal.close()
        return self.progress

    def _ended(self) -> str:
        """Why the run ends now, or ""."""
        at = self.progress
        if end := self.budget.ended_by(at.update, self._epochs()):
            return end
        if self.habits.patience and at.waited >= self.habits.patience:
            return "trainer.patience"
        if self.word.time_up:
            return "trainer.max_minutes"
        if self.word.stops:
            return self.stop.requested or "SIGNAL"
        return ""

    def _next_batches(self) -> list[np.ndarray]:
        """The rows of the batches of one update; an epoch's last update may have fewer."""
        at = self.progress
        if at.batch >= len(self.order):
            at.epoch, at.batch = at.epoch + 1, 0
            self.order = self.batches.epoch(at.epoch)
        group = self.order[at.batch : at.batch + self.habits.accumulate]
        at.batch += len(group)
        return group

    def _update(self, group: list[np.ndarray]) -> None:
        begun = time.monotonic()
        at = self.progress
        lengths = self.batches.encoded.tgt_lengths
        tokens = sum(int(lengths[rows].sum()) for rows in group)
        nll = self._gradients([rows[self.ranks.rank :: self.ranks.size] for rows in group], tokens)
        self._reduce(nll, self._own_word())
        self.scaler.unscale_(self.optimiser)
        limit = self.habits.clip or math.inf
        norm = float(torch.nn.utils.clip_grad_norm_(self.model.parameters(), limit))
        at.update += 1
        if math.isfinite(norm):
            at.skipped_in_row = 0
            factor = self.schedule.scale(at.update, self.word.spent)
            for parameters, rate in zip(self.optimiser.param_groups, self.base_rates, strict=True):
                parameters["lr"] = rate * factor
            self.scaler.step(self.optimiser)
            if self.average:
                self.average.update(at.update)
            at.window.nll += float(nll)
            at.window.tokens += tokens
            at.window.norm += norm
            at.window.updates += 1
        else:
            self._skip(norm)
        self.scaler.update()
        at.window.seconds += time.monotonic() - begun

    def _log(self) -> None:
        at, window = self.progress, self.progress.window
        numbers = {
            "loss": window.nll / max(1, window.tokens),
            "lr": self.optimiser.param_groups[0]["lr"],
            "grad_norm": window.norm / max(1, window.updates),
            "tokens_per_second": window.tokens / max(1e-9, window.seconds),
            "epoch": self._epochs(),
            "skipped": at.skipped,
            "split": at.split,
        }
        self.journal.train(at.update, self.word.spent, numbers)
        at.window = Window()

    def _validate(self) -> None:
        """Validates, remembers whether this is the best yet, and saves."""
        at = self.progress
        at.validated = at.update
        if self.validator is None:
            return
        begun = time.monotonic()
        if self.average:
            self.average.swap()
        finding = self.validator.validate(self.model, self.device, self.ranks)
        if self.average:
            self.average.swap()
        self.schedule.observe(finding.loss)
        score = finding.bleu if self.habits.best_by is BestBy.bleu else -finding.loss
        better = at.best is None or score > at.best
        if better:
            at.best, at.best_update, at.waited = score, at.update, 0
        else:
            at.waited += 1
        seconds = time.monotonic() - begun
        self.budget.reserve = seconds
        perplexity = math.exp(min(finding.loss, 700.0))
        numbers = {"loss": finding.loss, "perplexity": perplexity, "bleu": finding.bleu, "seconds": seconds}
        self.journal.valid(at.update, finding, numbers, better)
        self._save(best=better)

    def _finish(self, end: str) -> None:
        at = self.progress
        if end.startswith("SIG"):
            log.warning(f"{end}: saving at update {at.update} and stopping; go on with resume={self.run.path}")
            self._save()
            return
        if at.validated != at.update:
            self._validate()
        at.finished = end
        self._save(best=self.validator is None)
        log.info(f"finished by {end} at update {at.update}, epoch {self._epochs():.2f}")
        if at.best is not None:
            log.info(f"best validation {self.habits.best_by.value} {abs(at.best):.2f}, at update {at.best_update}")

    # The parts

    def _gradients(self, parts: list[np.ndarray], tokens: int) -> Tensor:
        """Gradients of the objective over `parts`, divided by all `tokens` of the update -> the parts' summed nll.

        Where a batch does not fit into memory, everything is done over in halves.
        """
        states = random_states()
        while True:
            try:
                return self._accumulate([part for part in parts if len(part)], tokens)
            except RuntimeError as error:
                if not _out_of_memory(error):
                    raise
                largest = max(parts, key=len)
            if len(largest) < 2:
                raise ValueError("one sentence pair alone does not fit into memory: try a smaller data.max_length")
            parts = [half for part in parts for half in np.array_split(part, 2)]
            self.progress.split += 1
            log.warning(f"update {self.progress.update + 1}: out of memory; going on with batches cut in half")
            if self.device.device.type == "cuda":
                torch.cuda.empty_cache()
            restore_random_states(states)

    def _accumulate(self, parts: list[np.ndarray], tokens: int) -> Tensor:
        self.optimiser.zero_grad(set_to_none=True)
        nll = torch.zeros((), dtype=torch.float64, device=self.device.device)
        for rows in parts:
            batch = self.batches.collate(rows).to(self.device.device)
            with self.device.autocast():
                loss = self.model.loss(batch.src, batch.src_lengths, batch.tgt_in, batch.tgt_out, self.habits.smoothing)
            self.scaler.scale(loss.objective / tokens).backward()
            nll += loss.nll
        return nll

    def _own_word(self) -> Word:
        now, at = time.monotonic(), self.progress
        stops = float(bool(self.stop.requested))
        if not self.ranks.first:
            return Word(stops=stops)
        minutes = self.habits.save_minutes
        return Word(
            self.budget.spent(at.update, self._epochs(), now),
            float(self.budget.time_is_up(now)),
            float(bool(minutes) and now - self.saved_at > 60 * minutes),
            stops,
        )

    def _reduce(self, nll: Tensor, word: Word) -> None:
        """Sums gradients, nll and what the ranks have to say, in one message an update."""
        self.word = word
        if self.ranks.size == 1:
            return
        parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        extras = torch.tensor([float(nll), *word], dtype=grads[0].dtype, device=grads[0].device)
        flat = self.ranks.sum(torch.cat([grad.flatten() for grad in grads] + [extras]))
        *sums, extras = flat.split([grad.numel() for grad in grads] + [len(extras)])
        for parameter, total in zip(parameters, sums, strict=True):
            parameter.grad = total.view_as(parameter)
        summed, *said = extras.tolist()
        nll.fill_(summed)
        self.word = Word(*said)

    def _skip(self, norm: float) -> None:
        at = self.progress
        at.skipped += 1
        at.skipped_in_row += 1
        log.warning(f"update {at.update}: gradient norm {norm}; weights left as they were ({at.skipped} so far)")
        if at.skipped_in_row >= self.habits.most_skipped:
            raise ValueError(
                f"the gradient was not finite in {at.skipped_in_row} updates in a row, up to update {at.update}: "
                f"try a smaller optim.lr or precision=fp32; the last good checkpoint is in {self.run.checkpoints}"
            )

    def _due(self, every: int) -> bool:
        return every > 0 and self.progress.update % every == 0

    def _epochs(self) -> float:
        return self.progress.epoch + self.progress.batch / max(1, len(self.order))

    # Keeping and going on

    def _save(self, *, step: bool = False, best: bool = False) -> None:
        """Writes `last`; the same as step-N and as best where asked. One rank writes, all bring their random states."""
        states = self.ranks.gather(random_states())
        if self.ranks.first:
            self.journal.flush()
            checkpoint.write(self.run.last, self.snapshot(states), self.tokenizer)
            if best:
                checkpoint.link(self.run.last, self.run.best)
            if step:
                checkpoint.link(self.run.last, self.run.step(self.progress.update))
                self.run.prune(self.habits.keep)
        self.saved_at = time.monotonic()

    def snapshot(self, states: list[dict[str, Tensor]]) -> Snapshot:
        """Everything a run needs to go on; `states`: the ranks' random states. The model's file has the weights to
        translate with: the average where there is one."""
        tensors, optimiser = checkpoint.pack_optimizer(self.optimiser.state_dict())
        weights = self.model.state_dict()
        if self.average:
            tensors |= {f"raw.{name}": weight for name, weight in self.average.own.items()}
            weights = {name: self.average.weights[self._kept_as[name]] for name in weights}
        for rank, state in enumerate(states):
            tensors |= {f"random.{rank}.{kind}": value for kind, value in state.items()}
        state = asdict(self.progress) | {
            "optimizer": optimiser,
            "schedule": self.schedule.memory(),
            "scaler": self.scaler.state_dict(),
        }
        return Snapshot(weights, tensors, state, self.config)

    @property
    def _kept_as(self) -> dict[str, str]:
        """Every name in the state dict -> the first name of that tensor (tied ones have several)."""
        first = {id(parameter): name for name, parameter in self.model.named_parameters()}
        return {name: first[id(p)] for name, p in self.model.named_parameters(remove_duplicate=False)}

    def restore(self, snapshot: Snapshot) -> None:
        """Goes on from what snapshot gave: nothing is forgotten but the seconds of the window."""
        self.model.load_state_dict(snapshot.model)
        if self.average:
            with torch.no_grad():
                for name, weight in self.average.own.items():
                    self.average.weights[name].copy_(weight)
                    weight.copy_(snapshot.training[f"raw.{name}"])
        state = dict(snapshot.state)
        self.optimiser.load_state_dict(
            checkpoint.unpack_optimizer(snapshot.training, state.pop("optimizer"), self.optimiser)
        )
        self.schedule.restore(state.pop("schedule"))
        if scaler := state.pop("scaler"):
            self.scaler.load_state_dict(scaler)
        self.progress = Progress(**(state | {"window": Window(**state["window"])}))
        mine = f"random.{self.ranks.rank}."
        own = {name.removeprefix(mine): value for name, value in snapshot.training.items() if name.startswith(mine)}
        if own:
            restore_random_states(own)
        else:  # more ranks than before
            torch.manual_seed(self.seed + 7919 * self.progress.update + self.ranks.rank)


def _out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
