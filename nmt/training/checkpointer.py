"""When and under which names a run is saved, and resuming from a checkpoint."""

import logging
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from nmt import checkpoint
from nmt.checkpoint import Snapshot
from nmt.checkpoint.progress import Progress
from nmt.checkpoint.run_folder import RunFolder
from nmt.checkpoint.writing import SavableTokenizer
from nmt.runtime.device import random_states, restore_random_states
from nmt.runtime.distributed import Distributed
from nmt.training.options import TrainerOptions
from nmt.training.train_state import TrainState

log = logging.getLogger("nmt")

DATA_VALID = "data.valid"  # the name under which a validation is known by its lines
HARD_ATTENTION = "decode.hard_attention"  # how hard attention predicts a word, in text and likelihood alike


@dataclass
class RunIdentity:
    """The inputs that must be unchanged when a run is resumed.

    corpus: a digest of the training corpus. validation: the values that the numbers of a validation depend on besides
    the model, by the names of settings, such as a digest of its lines. seed: for the random numbers of an additional
    rank.
    """

    corpus: str = ""
    validation: Mapping[str, str | int | float | None] = field(default_factory=dict)
    seed: int = 1


class Checkpointer:
    """Saves `state` in the run folder as `last`, `best` and step-N, and restores it.

    The earlier `last` is kept as `previous`, for the case that a file of the newest checkpoint is damaged. config:
    plain data that is saved in each checkpoint, with `tokenizer`, for translation.
    """

    def __init__(
        self,
        state: TrainState,
        run: RunFolder,
        distributed: Distributed,
        options: TrainerOptions,
        tokenizer: SavableTokenizer,
        config: dict,
        identity: RunIdentity,
    ):
        self.state, self.run, self.distributed, self.options = state, run, distributed, options
        self.tokenizer, self.config, self.identity = tokenizer, config, identity
        self.saved, self.saved_at, self.save_owed = -1, time.monotonic(), False

    def minutes_are_up(self, now: float) -> bool:
        """Whether `save_minutes` have passed at `now`, time.monotonic(), since a checkpoint was saved."""
        minutes = self.options.save_minutes
        return bool(minutes) and now - self.saved_at > 60 * minutes

    def step_due(self, *, minutes_up: bool, validated: bool) -> bool:
        """Whether a checkpoint step-N is due at this update.

        Weights with a loss that is not finite must not replace valid ones: saving waits for a finite loss.
        """
        due = self.save_owed or self._scheduled() or minutes_up
        self.save_owed = due and self.state.progress.skipped_in_row > 0 and not validated
        return due and not self.save_owed

    def save(self, *, step: bool = False, best: bool = False) -> None:
        """Writes `last`, and the same as step-N and as best if requested. One rank writes; all send their random
        states.

        Saving is not asynchronous: 20 MB of weights with Adam's 40 MB take 0.15 s (mostly of the disk), every few
        minutes.
        """
        update = self.state.progress.update
        states = self.distributed.gather(random_states())
        if self.distributed.is_main:
            checkpoint.write(self.run.last, self.snapshot(states), self.tokenizer, self.run.previous)
            if best:
                checkpoint.hard_link(self.run.last, self.run.best)
            if step:
                checkpoint.hard_link(self.run.last, self.run.step(update))
                self.run.prune(self.options.keep_checkpoints)
        self.saved, self.saved_at = update, time.monotonic()

    def snapshot(self, states: list[dict[str, torch.Tensor]]) -> Snapshot:
        """The state of the run for resuming; `states`: the ranks' random states."""
        about = {"corpus": self.identity.corpus, "validation": dict(self.identity.validation)}
        return self.state.snapshot(states, about, self.config)

    def restore(self, snapshot: Snapshot) -> None:
        """Restores a result of `snapshot`. Raises ValueError if it is not a snapshot of such a run."""
        progress = Progress.from_state_dict(snapshot.state)
        if snapshot.state.get("corpus") != self.identity.corpus:
            raise ValueError(
                "the training corpus is not the one that this run has its place in: give it the same lines (and "
                "guided_alignment.links) again, or try finetune_from= for a new run from its weights"
            )
        self.state.restore(snapshot, progress)
        self._compare_validations(snapshot.state.get("validation"))
        self._restore_random(snapshot.training)
        progress.finished = ""

    def repair_links(self, place: Path) -> None:
        """Creates the other names of the checkpoint `place` that are missing because the process was killed."""
        progress, run = self.state.progress, self.run
        names = [run.last]
        names += [run.best] if progress.best is not None and progress.best_update == progress.update else []
        names += [run.step(progress.update)] if progress.update and self._scheduled() else []
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

    def _scheduled(self) -> bool:
        every = self.options.save_every
        return every > 0 and self.state.progress.update % every == 0

    def _restore_random(self, training: Mapping[str, torch.Tensor]) -> None:
        rank = self.distributed.rank
        mine = f"random.{rank}."
        own = {name.removeprefix(mine): value for name, value in training.items() if name.startswith(mine)}
        if own:
            restore_random_states(own)
        else:  # more ranks than before
            torch.manual_seed(self.identity.seed + 7919 * self.state.progress.update + rank)

    def _compare_validations(self, before: object) -> None:
        """Resets the best score, with a message, if the validation has changed and scores are not comparable."""
        progress = self.state.progress
        if not isinstance(before, dict) or progress.validated == 0:
            return
        changed = {name: value for name, value in self.identity.validation.items() if before.get(name) != value}
        if not changed:
            return
        log.warning(
            f"validations are not what they were up to update {progress.update} ({_told(before, changed)}): their "
            "numbers are not compared, and best and patience begin anew"
        )
        progress.best, progress.best_update, progress.best_scheduled, progress.waited = None, 0, None, 0
        if changed.keys() & {DATA_VALID, HARD_ATTENTION}:  # the loss, which the schedule uses, depends on them
            self.state.schedule.best, self.state.schedule.waited = math.inf, 0


def _told(before: Mapping, changed: Mapping) -> str:
    """The changes as a text for the log; for a digest only the fact of a change."""
    return "; ".join(
        f"{name} has other lines" if name == DATA_VALID else f"{name} was {before.get(name)!r:.40}, is {value}"
        for name, value in changed.items()
    )
