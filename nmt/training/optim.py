"""Optimizers and learning-rate schedules."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum

import torch
from torch import nn

from nmt.bounds import at_least, fraction, greater_than


class OptimizerName(Enum):
    """The values of ``optim.name``."""

    adam = "adam"
    adamw = "adamw"
    adadelta = "adadelta"
    sgd = "sgd"


class Normalization(Enum):
    """The divisor of the summed gradient of an update: the values of ``optim.normalization``.

    tokens: its target tokens, EOS included. sentences: its pairs, so that a long sentence has more weight, as in
    Bahdanau et al. (2015) and Luong et al. (2015). The gradient is then larger by a factor of the mean target length;
    set the learning rate of SGD and the clipping norm accordingly.
    """

    tokens = "tokens"
    sentences = "sentences"


class ScheduleName(Enum):
    """The values of ``optim.schedule.name``."""

    constant = "constant"
    inverse_sqrt = "inverse_sqrt"
    halving = "halving"
    linear = "linear"
    cosine = "cosine"
    plateau = "plateau"


@dataclass
class ScheduleOptions:
    """The settings optim.schedule.*: the learning rate's factor as a function of the update and of the budget spent.

    warmup: updates of linear growth from 0. constant: 1. inverse_sqrt: sqrt(warmup / update). halving: halved
    `halvings` times, evenly over the budget after the share `constant_fraction` (Luong et al. (2015), 4.1:
    5 of 10 epochs, then each). linear, cosine: down to `min_factor` at the end of the budget, after
    `constant_fraction`. plateau: multiplied by `factor` after more than `patience` validations without a better loss.
    """

    name: ScheduleName = ScheduleName.constant
    warmup: int = 0
    constant_fraction: float = 0.0
    halvings: int = 5
    min_factor: float = 0.0
    factor: float = 0.5
    patience: int = 1

    def __post_init__(self):
        at_least(0, optim__schedule__warmup=self.warmup, optim__schedule__patience=self.patience)
        at_least(1, optim__schedule__halvings=self.halvings)
        fraction(optim__schedule__constant_fraction=self.constant_fraction)
        for name in ("min_factor", "factor"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"optim.schedule.{name}={getattr(self, name)} is impossible: give 0 to 1")
        if self.name is ScheduleName.inverse_sqrt and self.warmup == 0:
            raise ValueError(
                "optim.schedule.name=inverse_sqrt falls from the end of its warm-up: try optim.schedule.warmup=1000"
            )


@dataclass
class OptimizerOptions:
    """The settings optim.*: how gradients become updates.

    beta1, beta2: Adam's; rho: Adadelta's; momentum: SGD's; weight_decay: not applied to biases and other vectors.
    max_grad_norm: the clipping norm of the gradient; 0: no clipping. ema_decay: the decay of the moving average of the
    weights; 0: no average.
    """

    name: OptimizerName = OptimizerName.adam
    lr: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    rho: float = 0.95
    momentum: float = 0.0
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    normalization: Normalization = Normalization.tokens
    ema_decay: float = 0.0
    schedule: ScheduleOptions = field(default_factory=ScheduleOptions)

    def __post_init__(self):
        greater_than(0, optim__lr=self.lr)
        at_least(0, optim__eps=self.eps, optim__weight_decay=self.weight_decay, optim__max_grad_norm=self.max_grad_norm)
        fraction(
            optim__beta1=self.beta1,
            optim__beta2=self.beta2,
            optim__rho=self.rho,
            optim__momentum=self.momentum,
            optim__ema_decay=self.ema_decay,
        )


def build_optimizer(model: nn.Module, options: OptimizerOptions) -> torch.optim.Optimizer:
    matrices = [p for p in model.parameters() if p.requires_grad and p.dim() > 1]
    vectors = [p for p in model.parameters() if p.requires_grad and p.dim() <= 1]
    groups = [{"params": matrices, "weight_decay": options.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    lr, betas, eps = options.lr, (options.beta1, options.beta2), options.eps
    match options.name:
        case OptimizerName.adam:
            return torch.optim.Adam(groups, lr=lr, betas=betas, eps=eps, fused=True)
        case OptimizerName.adamw:
            return torch.optim.AdamW(groups, lr=lr, betas=betas, eps=eps, fused=True)
        case OptimizerName.adadelta:
            return torch.optim.Adadelta(groups, lr=lr, rho=options.rho, eps=eps)
        case OptimizerName.sgd:
            return torch.optim.SGD(groups, lr=lr, momentum=options.momentum)
        case _:
            raise ValueError(f"optim.name={options.name}: legal are {', '.join(n.value for n in OptimizerName)}")


@dataclass
class Schedule:
    """The factor of the learning rate.

    Only the plateau schedule has a state: `level`, the factor; `waited`, the validations since the `best` loss.
    """

    options: ScheduleOptions
    level: float = 1.0
    waited: int = 0
    best: float = math.inf

    def scale(self, update: int, spent: float) -> float:
        """update: the number of the next update, from 1; spent: the used share of the budget -> the factor."""
        options = self.options
        warm = min(1.0, update / options.warmup) if options.warmup else 1.0
        rest = min(1.0, max(0.0, (spent - options.constant_fraction) / (1 - options.constant_fraction)))
        match options.name:
            case ScheduleName.constant:
                shape = 1.0
            case ScheduleName.inverse_sqrt:
                shape = math.sqrt(max(1, options.warmup) / max(update, options.warmup, 1))
            case ScheduleName.halving:
                begun = math.floor(rest * options.halvings + 1e-6) + 1  # `spent` may be rounded to float32
                shape = 0.5 ** min(begun, options.halvings) if spent > options.constant_fraction - 1e-6 else 1.0
            case ScheduleName.linear:
                shape = options.min_factor + (1 - options.min_factor) * (1 - rest)
            case ScheduleName.cosine:
                shape = options.min_factor + (1 - options.min_factor) * 0.5 * (1 + math.cos(math.pi * rest))
            case ScheduleName.plateau:
                shape = self.level
            case _:
                legal = ", ".join(name.value for name in ScheduleName)
                raise ValueError(f"optim.schedule.name={options.name}: legal are {legal}")
        return warm * shape

    def on_validation(self, loss: float) -> None:
        """Updates the plateau schedule with the loss of a validation."""
        if loss < self.best:
            self.best, self.waited = loss, 0
        else:
            self.waited += 1
        if self.options.name is ScheduleName.plateau and self.waited > self.options.patience:
            self.level, self.waited = self.level * self.options.factor, 0

    def state_dict(self) -> dict[str, float | None]:
        """The state for resuming, as strict JSON."""
        return {"level": self.level, "waited": self.waited, "best": self.best if math.isfinite(self.best) else None}

    def load_state_dict(self, state: object) -> None:
        """Restores a result of `state_dict`. Raises ValueError for anything else."""
        match state:
            case {"level": int() | float() as level, "waited": int(waited), "best": int() | float() | None as best}:
                self.level, self.waited = float(level), waited
                self.best = math.inf if best is None else float(best)
            case _:
                raise ValueError("state.json: damaged: no memory of the schedule")


class EMA:
    """An exponential moving average of the weights, used for validation, for `best` and for translation.

    avg <- d avg + (1 - d) w after each update, with d = min(decay, (1 + n) / (10 + n)) at update n, so that the initial
    weights have little influence.  # Polyak and Juditsky (1992)
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
        """A context manager in which the model has the average as its weights."""
        self.swap()
        try:
            yield
        finally:
            self.swap()

    @torch.no_grad()
    def swap(self) -> None:
        """Exchanges the model's weights and the average, in place; a second call restores them."""
        for name, weight in self.own.items():
            held = weight.clone()
            weight.copy_(self.weights[name])
            self.weights[name].copy_(held)
