"""The gradient of one update: summed over batches and ranks, divided once by all its target tokens or sentences."""

import logging
import math
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from nmt.acceleration.cuda_graphs import CudaGraphs
from nmt.data.batches import Batch, Batches
from nmt.layers.loss import ConsistentLoss, Loss
from nmt.runtime.device import Device, random_states, restore_random_states
from nmt.runtime.distributed import Distributed
from nmt.runtime.memory import out_of_memory
from nmt.training.consistency import Consistency, LossOptions, guided_passes, two_passes
from nmt.training.optim import Normalization, OptimizerOptions

log = logging.getLogger("nmt")


class Guidance(Protocol):
    """How much the links count in the objective."""

    def weight_at(self, epoch: int) -> float:
        """Their weight in an epoch, from 0; 0 where there are none."""
        ...


class SyncedFlags(NamedTuple):
    """Flags summed over all ranks once per update, so that every rank stops, saves and validates at the same update.

    spent: share of the budget; the others are numbers of ranks that say so: time_up, save_due, validation_due, stops;
    splits: how often batches were cut, over all ranks.
    """

    spent: float = 0.0
    time_up: float = 0.0
    save_due: float = 0.0
    validation_due: float = 0.0
    stops: float = 0.0
    splits: float = 0.0


class Update(NamedTuple):
    """What an update found, over all ranks. nll: summed, in nats, on the device, which may still be at work; kl: the
    divergence of two passes, likewise (0 where there is one); tokens: target tokens; flags: those of all ranks."""

    nll: Tensor
    kl: Tensor
    tokens: int
    flags: SyncedFlags


class Gradients:
    """Leaves gradients in the parameters of `model`, as if all batches of an update were one batch on one rank.

    loss, guidance: the objective; optimizer: what the sum is divided by and how it is clipped.
    """

    def __init__(
        self,
        model,
        batches: Batches,
        *,
        loss: LossOptions,
        optimizer: OptimizerOptions,
        device: Device,
        distributed: Distributed,
        guidance: Guidance | None = None,
    ):
        self.model, self.batches, self.guidance = model, batches, guidance
        self.loss, self.options = loss, optimizer
        self.device, self.distributed = device, distributed
        self.scaler = device.scaler()
        self.graphs = CudaGraphs(model, device) if device.cuda_graphs and model.can_be_captured else None
        self._ahead: dict[bytes, Batch] = {}

    def accumulate(
        self, batches: list[np.ndarray], flags: SyncedFlags, guidance: float = 0.0, epoch: int = 0
    ) -> Update:
        """batches: rows of the batches of the update; flags: this rank's; guidance: weight of the links in the
        objective; epoch: the one that the batches are of.

        Gradients are those of the objective a token, or a sentence, times the scaler's scale. Raises ValueError where a
        single pair does not fit into memory.
        """
        tokens = sum(self.batches.tgt_tokens(rows, epoch) for rows in batches)
        match self.options.normalization:
            case Normalization.tokens:
                divisor = tokens
            case Normalization.sentences:
                divisor = sum(map(len, batches))
            case _:
                legal = ", ".join(each.value for each in Normalization)
                raise ValueError(f"optim.normalization={self.options.normalization}: legal are {legal}")
        sums, splits = self._of_this_rank(self._own(batches), divisor, guidance, epoch)
        (nll, kl), synced = self._summed(sums, flags._replace(splits=float(splits)))
        return Update(nll, kl, tokens, synced)

    def guidance_at(self, epoch: int) -> float:
        """The weight of the links in the objective in an epoch, from 0."""
        return self.guidance.weight_at(epoch) if self.guidance else 0.0

    def clip(self, optimizer: torch.optim.Optimizer) -> Tensor:
        """Takes the scaler's scale off the gradients, and clips their norm -> the norm before, on the device."""
        self.scaler.unscale_(optimizer)
        return torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.options.max_grad_norm or math.inf)

    def prefetch(self, batches: list[np.ndarray], epoch: int = 0) -> None:
        """Makes the batches of the next update, of the same epoch, while the device is still at work on this one."""
        if self.device.device.type == "cuda":
            self._ahead = {rows.tobytes(): self._batch(rows, epoch) for rows in self._own(batches) if len(rows)}

    def _own(self, batches: list[np.ndarray]) -> list[np.ndarray]:
        """This rank's part of the batches of an update."""
        return [rows[self.distributed.rank :: self.distributed.size] for rows in batches]

    def _batch(self, rows: np.ndarray, epoch: int) -> Batch:
        return self._ahead.pop(rows.tobytes(), None) or self.batches.collate(rows, epoch).to(self.device.device)

    def _of_this_rank(self, parts: list[np.ndarray], divisor: int, guidance: float, epoch: int) -> tuple[Tensor, int]:
        """-> the parts' summed nll and kl (2,), and how often they were cut: where one does not fit into memory, all is
        done over in halves, with the same random numbers to begin with."""
        states = random_states()
        for splits in range(64):
            try:
                return self._accumulated([part for part in parts if len(part)], divisor, guidance, epoch), splits
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
            if max(map(len, parts)) < 2:
                break
            log.warning(f"out of memory with batches of {max(map(len, parts))} pairs; going on with halves")
            parts = [half for part in parts for half in np.array_split(part, 2)]
            if self.device.device.type == "cuda":
                torch.cuda.empty_cache()
            restore_random_states(states)
        raise ValueError("one sentence pair alone does not fit into memory: try a smaller data.max_length")

    def _accumulated(self, parts: list[np.ndarray], divisor: int, guidance: float, epoch: int) -> Tensor:
        self.zero()
        sums = torch.zeros(2, dtype=torch.float64, device=self.device.device)
        for rows in parts:
            for total, found in zip(sums, self.add(self._batch(rows, epoch), divisor, guidance), strict=False):
                total += found
        return sums

    def zero(self) -> None:
        """Forgets the gradients of the last update."""
        if self.graphs:
            self.graphs.zero()
        else:
            self.model.zero_grad(set_to_none=True)

    def add(self, batch: Batch, divisor: int, guidance: float = 0.0) -> tuple[Tensor, ...]:
        """Adds the gradients of a batch, divided by `divisor`, what the whole update has of tokens or sentences -> its
        nll, and where there are two passes their divergence."""
        if self.loss.consistency is not Consistency.none:
            batch = two_passes(batch, self.loss)
        # Links reach attention's weights, whose gradient no recording takes.
        passes = self.graphs.passes(batch) if self.graphs and not guidance else None
        if passes is None:
            with self.device.autocast():
                loss = self._loss(batch, guidance)
            self.scaler.scale(loss.objective / divisor).backward()
        else:
            features = passes.forward(batch)
            with self.device.autocast():  # as it is, not recorded: real tokens are as many as they are
                loss = self._loss_from_features(batch, features)
            self.scaler.scale(loss.objective / divisor).backward()
            assert features.grad is not None
            passes.backward(features.grad)
        return (loss.nll, loss.kl) if isinstance(loss, ConsistentLoss) else (loss.nll,)

    def _loss(self, batch: Batch, guidance: float) -> Loss | ConsistentLoss:
        pairs, smoothing = (batch.src, batch.src_lengths, batch.tgt_in), self.loss.label_smoothing
        if self.loss.consistency is Consistency.none:
            return self.model.loss(*pairs, batch.tgt_out, smoothing, batch.links, guidance, batch.token_positions)
        features, attention = self.model.features(*pairs)
        loss = self._loss_from_features(batch, features)
        if not guidance:
            return loss
        guided = guided_passes(attention, batch.links, self.loss.pass_weights)
        return loss._replace(objective=loss.objective + guidance * guided)

    def _loss_from_features(self, batch: Batch, features: Tensor) -> Loss | ConsistentLoss:
        """Without links."""
        smoothing, positions = self.loss.label_smoothing, batch.token_positions
        if self.loss.consistency is Consistency.none:
            return self.model.loss_from_features(features, batch.tgt_out, smoothing, positions)
        weights = self.loss.pass_weights
        return self.model.consistent_loss_from_features(features, batch.tgt_out, weights, smoothing, positions)

    def _summed(self, sums: Tensor, flags: SyncedFlags) -> tuple[Tensor, SyncedFlags]:
        """Over the ranks, in one message. sums (2,): nll and kl."""
        if self.distributed.size == 1:
            return sums, flags
        parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        sums_of_flags = torch.tensor([*sums.tolist(), *flags], dtype=grads[0].dtype, device=grads[0].device)
        flat = self.distributed.sum(torch.cat([*(grad.flatten() for grad in grads), sums_of_flags]))
        *totals, sums_of_flags = flat.split([*(grad.numel() for grad in grads), len(sums_of_flags)])
        for parameter, total in zip(parameters, totals, strict=True):
            parameter.grad = total.view_as(parameter)
        return sums_of_flags[:2], SyncedFlags(*sums_of_flags[2:].tolist())
