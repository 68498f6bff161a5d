"""The gradient of one update: summed over batches and ranks, divided once by all its target tokens or sentences."""

import logging
import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from nmt.acceleration.cuda_graphs import CudaGraphs
from nmt.data.batches import Batch, Batches
from nmt.layers.loss import ConsistentLoss, Loss
from nmt.minimum_risk import CandidateSampler, risk_loss
from nmt.runtime.device import Device, random_states, restore_random_states
from nmt.runtime.distributed import Distributed
from nmt.runtime.memory import out_of_memory
from nmt.training.consistency import Consistency, LossOptions, guided_passes, two_passes
from nmt.training.optim import Normalization, OptimizerOptions

log = logging.getLogger("nmt")

Add = Callable[[Batch], "Sums"]  # adds the gradients of a batch


class Guidance(Protocol):
    """The weight of guided alignment in the objective."""

    def weight_at(self, epoch: int) -> float:
        """The weight in an epoch, counted from 0; 0 without links."""
        ...


class SyncedFlags(NamedTuple):
    """Flags summed over all ranks once per update, so that every rank stops, saves and validates at the same update.

    spent: the share of the budget that is used; time_up, save_due, validation_due, stops: the number of ranks with this
    flag; splits: how often batches were split, over all ranks.
    """

    spent: float = 0.0
    time_up: float = 0.0
    save_due: float = 0.0
    validation_due: float = 0.0
    stops: float = 0.0
    splits: float = 0.0


class Update(NamedTuple):
    """The results of an update, over all ranks. nll: summed, in nats, a tensor on the device that may not be computed
    yet; kl: likewise the divergence of two passes (0 with one pass); tokens: the number of target tokens; flags: those
    of all ranks; cost: the expected cost, summed over sentences (0 with another objective); sentences: their number."""

    nll: Tensor
    kl: Tensor
    tokens: int
    flags: SyncedFlags
    cost: Tensor = torch.zeros(())
    sentences: int = 0


class Sums(NamedTuple):
    """Sums over one or several batches: see Update."""

    nll: Tensor
    kl: Tensor
    cost: Tensor


class Gradients:
    """Computes the gradients of the parameters of `model`, as if all batches of an update were one batch on one rank.

    loss, guidance: the objective; candidates: for minimum risk training; optimizer: the divisor of the sum and the
    clipping norm.
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
        candidates: CandidateSampler | None = None,
    ):
        self.model, self.batches, self.guidance, self.candidates = model, batches, guidance, candidates
        self.loss, self.options = loss, optimizer
        self.device, self.distributed = device, distributed
        self.scaler = device.scaler()
        guided = guidance is not None and guidance.weight_at(1) > 0  # needs gradients of weights, which no graph has
        captured = device.cuda_graphs and model.can_be_captured and candidates is None and not guided
        self.graphs = CudaGraphs(model, device) if captured else None
        self._ahead: dict[bytes, Batch] = {}

    def accumulate(
        self, batches: list[np.ndarray], flags: SyncedFlags, guidance: float = 0.0, epoch: int = 0
    ) -> Update:
        """batches: rows of the batches of the update; flags: this rank's; guidance: weight of the links in the
        objective; epoch: the epoch of the batches.

        Gradients are those of the objective per token, or per sentence, times the scaler's scale. Raises ValueError if
        a single pair does not fit into memory.
        """
        tokens, sentences = self._tgt_tokens(batches, epoch), sum(map(len, batches))
        match self.options.normalization:
            case Normalization.tokens:
                divisor = tokens
            case Normalization.sentences:
                divisor = sentences
            case _:
                legal = ", ".join(each.value for each in Normalization)
                raise ValueError(f"optim.normalization={self.options.normalization}: legal are {legal}")
        add = partial(self.add, divisor=divisor, guidance=guidance)
        if self.candidates:
            add = partial(self.add_risk, self.candidates, divisor=divisor, sentences=sentences, epoch=epoch)
        sums, splits = self._of_this_rank(self._own(batches), add, epoch)
        (nll, kl, cost), synced = self._summed(sums, flags._replace(splits=float(splits)))
        return Update(nll, kl, tokens, synced, cost, sentences)

    def guidance_at(self, epoch: int) -> float:
        """The weight of the links in the objective in an epoch, from 0."""
        return self.guidance.weight_at(epoch) if self.guidance else 0.0

    def clip(self, optimizer: torch.optim.Optimizer) -> Tensor:
        """Divides the gradients by the scaler's scale, and clips their norm -> the norm before, on the device."""
        self.scaler.unscale_(optimizer)
        return torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.options.max_grad_norm or math.inf)

    def prefetch(self, batches: list[np.ndarray], epoch: int = 0) -> None:
        """Makes the batches of the next update, of the same epoch, while the device computes the current update."""
        if self.device.device.type == "cuda":
            self._ahead = {rows.tobytes(): self._batch(rows, epoch) for rows in self._own(batches) if len(rows)}

    def _tgt_tokens(self, batches: list[np.ndarray], epoch: int) -> int:
        """The target tokens of all ranks. If segmentations are sampled, each rank samples only its own."""
        if self.batches.sampled is None or self.distributed.size == 1:
            return sum(self.batches.tgt_tokens(rows, epoch) for rows in batches)
        count = sum(self.batches.tgt_tokens(rows, epoch) for rows in self._own(batches) if len(rows))
        return int(self.distributed.sum(torch.tensor(count)))

    def _own(self, batches: list[np.ndarray]) -> list[np.ndarray]:
        """This rank's part of the batches of an update, split if candidates make a batch too large."""
        own = [rows[self.distributed.rank :: self.distributed.size] for rows in batches]
        if self.candidates is None:
            return own
        encoded, device = self.batches.encoded, self.device.device
        longest = [max(encoded.src_lengths[rows].max(), encoded.tgt_lengths[rows].max()) for rows in own if len(rows)]
        parts = zip((rows for rows in own if len(rows)), longest, strict=True)
        return [piece for rows, length in parts for piece in self.candidates.split(rows, int(length), device)]

    def _batch(self, rows: np.ndarray, epoch: int) -> Batch:
        return self._ahead.pop(rows.tobytes(), None) or self.batches.collate(rows, epoch).to(self.device.device)

    def _of_this_rank(self, parts: list[np.ndarray], add: Add, epoch: int) -> tuple[Tensor, int]:
        """-> the parts' Sums (3,), and how often they were split: if a part does not fit into memory, all is computed
        again in halves, from the same random state."""
        states = random_states()
        for splits in range(64):
            try:
                return self._accumulated([part for part in parts if len(part)], add, epoch), splits
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

    def _accumulated(self, parts: list[np.ndarray], add: Add, epoch: int) -> Tensor:
        self.zero()
        sums = torch.zeros(3, dtype=torch.float64, device=self.device.device)
        for rows in parts:
            for total, found in zip(sums, add(self._batch(rows, epoch)), strict=True):
                total += found
        return sums

    def zero(self) -> None:
        """Resets the gradients."""
        if self.graphs:
            self.graphs.zero()
        else:
            self.model.zero_grad(set_to_none=True)

    def add(self, batch: Batch, divisor: int, guidance: float = 0.0) -> Sums:
        """Adds the gradients of a batch, divided by `divisor`, the number of tokens or sentences of the update."""
        if self.loss.consistency is not Consistency.none:
            batch = two_passes(batch, self.loss)
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
        none = torch.zeros_like(loss.nll)
        return Sums(loss.nll, loss.kl if isinstance(loss, ConsistentLoss) else none, none)

    def add_risk(self, sampler: CandidateSampler, batch: Batch, divisor: int, sentences: int, epoch: int) -> Sums:
        """Adds the gradients of the expected cost, divided by the number of sentences of the update, and of the
        weighted cross-entropy of the references, divided by `divisor` as in `add`."""
        options = sampler.options
        with self.device.autocast():
            candidates = sampler.draw(self.model, batch, epoch)
            loss = risk_loss(self.model, batch, candidates, options, self.loss.label_smoothing)
        objective = loss.expected_cost / sentences + options.cross_entropy_weight / divisor * loss.cross_entropy
        self.scaler.scale(objective).backward()
        return Sums(loss.nll, torch.zeros_like(loss.nll), loss.expected_cost.detach())

    def _loss(self, batch: Batch, guidance: float) -> Loss | ConsistentLoss:
        if self.loss.consistency is Consistency.none:
            return self.model.loss(batch, self.loss.label_smoothing, guidance)
        features, attention = self.model.features(batch.src, batch.src_lengths, batch.tgt_in)
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
        """The sums over all ranks, in one all-reduce. sums (3,): see Sums."""
        if self.distributed.size == 1:
            return sums, flags
        parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        sums_of_flags = torch.tensor([*sums.tolist(), *flags], dtype=grads[0].dtype, device=grads[0].device)
        flat = self.distributed.sum(torch.cat([*(grad.flatten() for grad in grads), sums_of_flags]))
        *totals, sums_of_flags = flat.split([*(grad.numel() for grad in grads), len(sums_of_flags)])
        for parameter, total in zip(parameters, totals, strict=True):
            parameter.grad = total.view_as(parameter)
        return sums_of_flags[:3], SyncedFlags(*sums_of_flags[3:].tolist())
