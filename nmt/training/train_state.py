"""The state of training: its update, and saving and restoring it, bit for bit."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from nmt import checkpoint
from nmt.aligner import Aligner
from nmt.alignment_head import TranslatorWithHead
from nmt.checkpoint import Snapshot
from nmt.checkpoint.progress import Progress
from nmt.model.seq2seq import Seq2Seq
from nmt.training.optim import EMA, Schedule


@dataclass
class TrainState:
    """The model in training, and all state that changes with it.

    The model of a snapshot has the weights for translation. With a moving average these are the average, and the
    trained weights are among the snapshot's training tensors.
    """

    model: Seq2Seq | Aligner | TranslatorWithHead
    optimizer: torch.optim.Optimizer
    schedule: Schedule
    scaler: torch.amp.GradScaler
    ema: EMA | None = None
    progress: Progress = field(default_factory=Progress)
    base_rates: list[float] = field(init=False)

    def __post_init__(self):
        self.base_rates = [group["lr"] for group in self.optimizer.param_groups]

    def step(self, spent: float) -> None:
        """Updates the weights with their gradients, at update `progress.update`. spent: the used share of the
        budget.
        """
        factor = self.schedule.scale(self.progress.update, spent)
        for group, rate in zip(self.optimizer.param_groups, self.base_rates, strict=True):
            group["lr"] = rate * factor
        self.scaler.step(self.optimizer)
        if self.ema:
            self.ema.update(self.progress.update)

    def averaged(self) -> contextlib.AbstractContextManager[None]:
        """A context manager in which the model has the weights for translation."""
        return self.ema.swapped() if self.ema else contextlib.nullcontext()

    def snapshot(self, states: list[dict[str, Tensor]], about: dict, config: dict) -> Snapshot:
        """states: the random states of each rank; about: further entries of the state file."""
        tensors, optimizer = checkpoint.pack_optimizer(self.optimizer.state_dict())
        weights = self.model.state_dict()
        if self.ema:
            tensors |= {f"raw.{name}": weight for name, weight in self.ema.own.items()}
            kept_as = self._kept_as()
            weights = {n: self.ema.weights[kept_as[n]] if n in kept_as else held for n, held in weights.items()}
        for rank, state in enumerate(states):
            tensors |= {f"random.{rank}.{kind}": value for kind, value in state.items()}
        state = {
            **self.progress.state_dict(),
            **about,
            "optimizer": optimizer,
            "schedule": self.schedule.state_dict(),
            "scaler": self.scaler.state_dict(),
        }
        return Snapshot(weights, tensors, state, config)

    def restore(self, snapshot: Snapshot, progress: Progress) -> None:
        """Restores all state except random states. progress: the snapshot's.

        Raises ValueError with the name of the part that does not fit, before anything has changed.
        """
        state, training = snapshot.state, snapshot.training
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
        self.progress = progress

    def _kept_as(self) -> dict[str, str]:
        """Every name of a parameter -> its first name (tied ones have several)."""
        first = {id(parameter): name for name, parameter in self.model.named_parameters()}
        return {name: first[id(p)] for name, p in self.model.named_parameters(remove_duplicate=False)}

    def _fitting(self, scaler: object) -> dict:
        """The saved state of loss scaling, without that of another precision (more devices, or none)."""
        if not isinstance(scaler, dict) or not all(type(number) in (int, float) for number in scaler.values()):
            raise ValueError("state.json: damaged: no loss scaling")
        return scaler if scaler.keys() == self.scaler.state_dict().keys() else {}


def _refuse_other(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], prefix: str) -> None:
    names = {name for name in found if name.startswith(prefix)}
    for name in sorted(names ^ expected.keys()):
        problem = "missing" if name in expected else "not a weight of this model"
        raise ValueError(f"checkpoint: {name[:80]!r} is {problem}")
    for name, tensor in expected.items():
        if (found[name].shape, found[name].dtype) != (tensor.shape, tensor.dtype):
            was, now = tuple(found[name].shape), tuple(tensor.shape)
            raise ValueError(f"checkpoint: {name[:80]!r} is {was} {found[name].dtype}, not {now} {tensor.dtype}")
