"""The gradient of one update: summed over batches and ranks, divided once by all its target tokens or sentences."""

import logging
import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from nmt.acceleration.cuda_graphs import CudaGraphs
from nmt.bounds import fraction
from nmt.data.batches import Batch, Batches
from nmt.runtime.device import Device, random_states, restore_random_states
from nmt.runtime.distributed import Distributed
from nmt.runtime.memory import out_of_memory
from nmt.training.optim import Normalization, OptimizerOptions

log = logging.getLogger("nmt")


@dataclass
class LossOptions:
    """The settings loss.*"""

    label_smoothing: float = 0.0

    def __post_init__(self):
        fraction(loss__label_smoothing=self.label_smoothing)


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
        self.smoothing, self.options = loss.label_smoothing, optimizer
        self.device, self.distributed = device, distributed
        self.scaler = device.scaler()
        self.graphs = CudaGraphs(model, device) if device.cuda_graphs and not model.loss_reads_weights else None
        self._ahead: dict[bytes, Batch] = {}

    def accumulate(
        self, batches: list[np.ndarray], flags: SyncedFlags, guidance: float = 0.0
    ) -> tuple[Tensor, int, SyncedFlags]:
        """batches: rows of the batches of the update; flags: this rank's; guidance: weight of the links in the
        objective -> summed nll in nats, on the device, which may still be at work; target tokens; all ranks' flags.

        Gradients are those of the objective a token, or a sentence, times the scaler's scale. Raises ValueError where a
        single pair does not fit into memory.
        """
        tokens = sum(int(self.batches.encoded.tgt_lengths[rows].sum()) for rows in batches)
        match self.options.normalization:
            case Normalization.tokens:
                divisor = tokens
            case Normalization.sentences:
                divisor = sum(map(len, batches))
            case _:
                legal = ", ".join(each.value for each in Normalization)
                raise ValueError(f"optim.normalization={self.options.normalization}: legal are {legal}")
        nll, splits = self._of_this_rank(self._own(batches), divisor, guidance)
        summed, synced = self._summed(nll, flags._replace(splits=float(splits)))
        return summed, tokens, synced

    def guidance_at(self, epoch: int) -> float:
        """The weight of the links in the objective in an epoch, from 0."""
        return self.guidance.weight_at(epoch) if self.guidance else 0.0

    def clip(self, optimizer: torch.optim.Optimizer) -> Tensor:
        """Takes the scaler's scale off the gradients, and clips their norm -> the norm before, on the device."""
        self.scaler.unscale_(optimizer)
        return torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.options.max_grad_norm or math.inf)

    def prefetch(self, batches: list[np.ndarray]) -> None:
        """Makes the batches of the next update, while the device is still at work on this one."""
        if self.device.device.type == "cuda":
            self._ahead = {rows.tobytes(): self._batch(rows) for rows in self._own(batches) if len(rows)}

    def _own(self, batches: list[np.ndarray]) -> list[np.ndarray]:
        """This rank's part of the batches of an update."""
        return [rows[self.distributed.rank :: self.distributed.size] for rows in batches]

    def _batch(self, rows: np.ndarray) -> Batch:
        return self._ahead.pop(rows.tobytes(), None) or self.batches.collate(rows).to(self.device.device)

    def _of_this_rank(self, parts: list[np.ndarray], divisor: int, guidance: float) -> tuple[Tensor, int]:
        """-> the parts' summed nll, and how often they were cut: where one does not fit into memory, all is done over
        in halves, with the same random numbers to begin with."""
        states = random_states()
        for splits in range(64):
            try:
                return self._accumulated([part for part in parts if len(part)], divisor, guidance), splits
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

    def _accumulated(self, parts: list[np.ndarray], divisor: int, guidance: float) -> Tensor:
        self.zero()
        nll = torch.zeros((), dtype=torch.float64, device=self.device.device)
        for rows in parts:
            nll += self.add(self._batch(rows), divisor, guidance)
        return nll

    def zero(self) -> None:
        """Forgets the gradients of the last update."""
        if self.graphs:
            self.graphs.zero()
        else:
            self.model.zero_grad(set_to_none=True)

    def add(self, batch: Batch, divisor: int, guidance: float = 0.0) -> Tensor:
        """Adds the gradients of a batch, divided by `divisor`, what the whole update has of tokens or sentences -> its
        nll."""
        # Links reach attention's weights, whose gradient no recording takes.
        passes = self.graphs.passes(batch) if self.graphs and not guidance else None
        if passes is None:
            pairs = batch.src, batch.src_lengths, batch.tgt_in, batch.tgt_out
            with self.device.autocast():
                loss = self.model.loss(*pairs, self.smoothing, batch.links, guidance, batch.token_positions)
            self.scaler.scale(loss.objective / divisor).backward()
            return loss.nll
        features = passes.forward(batch)
        with self.device.autocast():  # as it is, not recorded: real tokens are as many as they are
            loss = self.model.loss_from_features(features, batch.tgt_out, self.smoothing, batch.token_positions)
        self.scaler.scale(loss.objective / divisor).backward()
        assert features.grad is not None
        passes.backward(features.grad)
        return loss.nll

    def _summed(self, nll: Tensor, flags: SyncedFlags) -> tuple[Tensor, SyncedFlags]:
        """Over the ranks, in one message."""
        if self.distributed.size == 1:
            return nll, flags
        parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        sums_of_flags = torch.tensor([float(nll), *flags], dtype=grads[0].dtype, device=grads[0].device)
        flat = self.distributed.sum(torch.cat([*(grad.flatten() for grad in grads), sums_of_flags]))
        *sums, sums_of_flags = flat.split([*(grad.numel() for grad in grads), len(sums_of_flags)])
        for parameter, total in zip(parameters, sums, strict=True):
            parameter.grad = total.view_as(parameter)
        return sums_of_flags[0], SyncedFlags(*sums_of_flags[1:].tolist())
