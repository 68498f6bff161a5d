"""What a run takes with it from one process to the next: into a snapshot and out of it, bit for bit."""

import logging
import math
from collections.abc import Mapping

import torch
from torch import Tensor

from nmt import checkpoint
from nmt.checkpoint import Snapshot
from nmt.checkpoint.progress import Progress
from nmt.runtime.device import restore_random_states
from nmt.runtime.distributed import Distributed
from nmt.training.optim import EMA, Schedule

log = logging.getLogger("nmt")

DATA_VALID = "data.valid"  # the name under which a validation is known by its lines


class TrainState:
    """Of the objects that training changes.

    The snapshot's model has the weights to translate with, the average where there is one; then the weights that are
    being trained are among its training tensors.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        schedule: Schedule,
        scaler: torch.amp.GradScaler,
        ema: EMA | None,
        *,
        seed: int,
        corpus: str,
        validation: Mapping[str, str | int | float | None],
    ):
        self.model, self.optimizer, self.schedule = model, optimizer, schedule
        self.scaler, self.ema, self.seed, self.corpus = scaler, ema, seed, corpus
        self.validation = dict(validation)

    def snapshot(self, progress: Progress, states: list[dict[str, Tensor]], config: dict) -> Snapshot:
        """states: the random states of each rank."""
        tensors, optimizer = checkpoint.pack_optimizer(self.optimizer.state_dict())
        weights = self.model.state_dict()
        if self.ema:
            tensors |= {f"raw.{name}": weight for name, weight in self.ema.own.items()}
            kept_as = self._kept_as()
            weights = {n: self.ema.weights[kept_as[n]] if n in kept_as else held for n, held in weights.items()}
        for rank, state in enumerate(states):
            tensors |= {f"random.{rank}.{kind}": value for kind, value in state.items()}
        state = progress.state_dict() | {
            "corpus": self.corpus,
            "validation": self.validation,
            "optimizer": optimizer,
            "schedule": self.schedule.state_dict(),
            "scaler": self.scaler.state_dict(),
        }
        return Snapshot(weights, tensors, state, config)

    def restore(self, snapshot: Snapshot, distributed: Distributed) -> Progress:
        """Puts everything where it was. Raises ValueError, naming what does not fit, before anything has changed."""
        state, training = snapshot.state, snapshot.training
        progress = Progress.from_state_dict(state)
        if state.get("corpus") != self.corpus:
            raise ValueError(
                "the training corpus is not the one that this run has its place in: give it the same lines (and "
                "guided_alignment.links) again, or try finetune_from= for a new run from its weights"
            )
        _refuse_other(snapshot.model, self.model.state_dict(), "")
        if self.ema:
            _refuse_other(training, {f"raw.{name}": weight for name, weight in self.ema.own.items()}, "raw.")
        optimizer = checkpoint.unpack_optimizer(training, state.get("optimizer"), self.optimizer)
        scaler = self._fitting(state.get("scaler"))
        self.schedule.load_state_dict(state.get("schedule"))
        self.model.load_state_dict(snapshot.model)
        if self.ema:
            with torch.no_grad():
                for name, weight in self.ema.own.items():
                    self.ema.weights[name].copy_(weight)
                    weight.copy_(training[f"raw.{name}"])
        self.optimizer.load_state_dict(optimizer)
        if scaler:
            self.scaler.load_state_dict(scaler)
        self._compare_validations(state.get("validation"), progress)
        self._restore_random(training, progress.update, distributed)
        return progress

    def _restore_random(self, training: Mapping[str, Tensor], update: int, distributed: Distributed) -> None:
        mine = f"random.{distributed.rank}."
        own = {name.removeprefix(mine): value for name, value in training.items() if name.startswith(mine)}
        if own:
            restore_random_states(own)
        else:  # more ranks than before
            torch.manual_seed(self.seed + 7919 * update + distributed.rank)

    def _compare_validations(self, before: object, progress: Progress) -> None:
        """Forgets what was best where the numbers to come will be of another validation, and says so."""
        if not isinstance(before, dict) or progress.validated == 0:
            return
        changed = {name: value for name, value in self.validation.items() if before.get(name) != value}
        if not changed:
            return
        log.warning(
            f"validations are not what they were up to update {progress.update} ({_told(before, changed)}): their "
            "numbers are not compared, and best and patience begin anew"
        )
        progress.best, progress.best_update, progress.best_scheduled, progress.waited = None, 0, None, 0
        if DATA_VALID in changed:  # the loss, which the schedule watches, is that of the lines alone
            self.schedule.best, self.schedule.waited = math.inf, 0

    def _kept_as(self) -> dict[str, str]:
        """Every name of a parameter -> its first name (tied ones have several)."""
        first = {id(parameter): name for name, parameter in self.model.named_parameters()}
        return {name: first[id(p)] for name, p in self.model.named_parameters(remove_duplicate=False)}

    def _fitting(self, scaler: object) -> dict:
        """The loss scaling to go on with; that of another precision (more devices, or none) is left out."""
        if not isinstance(scaler, dict) or not all(type(number) in (int, float) for number in scaler.values()):
            raise ValueError("state.json: damaged: no loss scaling")
        return scaler if scaler.keys() == self.scaler.state_dict().keys() else {}


def _told(before: Mapping, changed: Mapping) -> str:
    """What has changed, for the log: of a digest only that it is another."""
    return "; ".join(
        f"{name} has other lines" if name == DATA_VALID else f"{name} was {before.get(name)!r:.40}, is {value}"
        for name, value in changed.items()
    )


def _refuse_other(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], prefix: str) -> None:
    names = {name for name in found if name.startswith(prefix)}
    for name in sorted(names ^ expected.keys()):
        problem = "missing" if name in expected else "not a weight of this model"
        raise ValueError(f"checkpoint: {name[:80]!r} is {problem}")
    for name, tensor in expected.items():
        if (found[name].shape, found[name].dtype) != (tensor.shape, tensor.dtype):
            was, now = tuple(found[name].shape), tuple(tensor.shape)
            raise ValueError(f"checkpoint: {name[:80]!r} is {was} {found[name].dtype}, not {now} {tensor.dtype}")
