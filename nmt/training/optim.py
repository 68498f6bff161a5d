"""Optimizers and learning-rate schedules."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum

import torch
from torch import nn


class OptimizerName(Enum):
    """The words of ``optim.name``."""

    adam = "adam"
    adamw = "adamw"
    adadelta = "adadelta"
    sgd = "sgd"


class Normalization(Enum):
    """What the summed gradient of an update is divided by: the words of ``optim.normalization``.

    tokens: its target tokens, EOS included. sentences: its pairs, so a long sentence counts for more, as in Bahdanau et
    al. (2015) and Luong et al. (2015); the gradient is then larger by the mean target length, which a learning rate of
    SGD and a clipping norm depend on.
    """

    tokens = "tokens"
    sentences = "sentences"


def build_optimizer(
    model: nn.Module,
    name: OptimizerName,
    *,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    rho: float,
    momentum: float,
    weight_decay: float,
) -> torch.optim.Optimizer:
    """Weight decay is left off biases and other vectors; `betas` are Adam's, `rho` Adadelta's, `momentum` SGD's."""
    matrices = [p for p in model.parameters() if p.requires_grad and p.dim() > 1]
    vectors = [p for p in model.parameters() if p.requires_grad and p.dim() <= 1]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    match name:
        case OptimizerName.adam:
            return torch.optim.Adam(groups, lr=lr, betas=betas, eps=eps, fused=True)
        case OptimizerName.adamw:
            return torch.optim.AdamW(groups, lr=lr, betas=betas, eps=eps, fused=True)
        case OptimizerName.adadelta:
            return torch.optim.Adadelta(groups, lr=lr, rho=rho, eps=eps)
        case OptimizerName.sgd:
            return torch.optim.SGD(groups, lr=lr, momentum=momentum)
        case _:
            raise ValueError(f"optim.name={name}: legal are {', '.join(n.value for n in OptimizerName)}")


class ScheduleName(Enum):
    """The words of ``optim.schedule.name``."""

    constant = "constant"
    inverse_sqrt = "inverse_sqrt"
    halving = "halving"
    linear = "linear"
    cosine = "cosine"
    plateau = "plateau"


@dataclass
class Schedule:
    """The learning rate's factor as a function of the update and of how much of the run's budget is spent.

    warmup: updates of linear growth from 0. constant: 1. inverse_sqrt: sqrt(warmup / update). halving: halved
    `halvings` times, evenly over the budget that is left after the share `constant_fraction` (Luong et al. (2015), 4.1:
    5 of 10 epochs, then each). linear, cosine: down to `min_factor` at the end of the budget, after
    `constant_fraction`. plateau: multiplied by `factor` after more than `patience` validations without a better loss;
    this alone has memory, `level`, `waited` and `best`.
    """

    name: ScheduleName
    warmup: int = 0
    constant_fraction: float = 0.0
    halvings: int = 5
    min_factor: float = 0.0
    factor: float = 0.5
    patience: int = 1
    level: float = 1.0
    waited: int = 0
    best: float = math.inf

    def scale(self, update: int, spent: float) -> float:
        """update: the number of the update to come, from 1; spent: share of the budget that is used -> the factor."""
        warm = min(1.0, update / self.warmup) if self.warmup else 1.0
        rest = (
            min(1.0, max(0.0, (spent - self.constant_fraction) / (1 - self.constant_fraction)))
            if self.constant_fraction < 1
            else 0.0
        )
        match self.name:
            case ScheduleName.constant:
                shape = 1.0
            case ScheduleName.inverse_sqrt:
                shape = math.sqrt(max(1, self.warmup) / max(update, self.warmup, 1))
            case ScheduleName.halving:
                shape = 0.5 ** math.ceil(min(rest * self.halvings, self.halvings))
            case ScheduleName.linear:
                shape = self.min_factor + (1 - self.min_factor) * (1 - rest)
            case ScheduleName.cosine:
                shape = self.min_factor + (1 - self.min_factor) * 0.5 * (1 + math.cos(math.pi * rest))
            case ScheduleName.plateau:
                shape = self.level
            case _:
                raise ValueError(
                    f"optim.schedule.name={self.name}: legal are {', '.join(s.value for s in ScheduleName)}"
                )
        return warm * shape

    def on_validation(self, loss: float) -> None:
        """What a validation found: the plateau schedule's only news."""
        if loss < self.best:
            self.best, self.waited = loss, 0
        else:
            self.waited += 1
        if self.name is ScheduleName.plateau and self.waited > self.patience:
            self.level, self.waited = self.level * self.factor, 0

    def state_dict(self) -> dict[str, float | None]:
        """What has to be kept to go on later, as strict JSON."""
        return {"level": self.level, "waited": self.waited, "best": self.best if math.isfinite(self.best) else None}

    def load_state_dict(self, state: object) -> None:
        """Puts back what memory gave. Raises ValueError for anything else."""
        match state:
            case {"level": int() | float() as level, "waited": int(waited), "best": int() | float() | None as best}:
                self.level, self.waited = float(level), waited
                self.best = math.inf if best is None else float(best)
            case _:
                raise ValueError("state.json: damaged: no memory of the schedule")


class EMA:
    """An exponential moving average of the weights, which is what validates, is kept as best and translates.

    avg <- d avg + (1 - d) w after each update, with d = min(decay, (1 + n) / (10 + n)) at update n, so that the start
    is forgotten soon.  # Polyak and Juditsky (1992)
    """

    def __init__(self, model: nn.Module, decay: float):
        self.decay = decay
        self.own = dict(model.named_parameters())
        self.weights = {name: weight.detach().clone() for name, weight in self.own.items()}

    @torch.no_grad()
    def update(self, update: int) -> None:
        """After update number `update` (from 1)."""
        decay = min(self.decay, (1 + update) / (10 + update))
        held: list[torch.Tensor] = list(self.weights.values())
        own: list[torch.Tensor] = list(self.own.values())
        torch._foreach_lerp_(held, own, 1 - decay)  # pyright: ignore[reportPrivateImportUsage]

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """The block in which the model has the average as its weights."""
        self.swap()
        try:
            yield
        finally:
            self.swap()

    @torch.no_grad()
    def swap(self) -> None:
        """Exchanges the model's weights and the average, in place; a second call puts them back."""
        for name, weight in self.own.items():
            held = weight.clone()
            weight.copy_(self.weights[name])
            self.weights[name].copy_(held)
