"""Distributed training: the ranks, and the messages between them."""

import contextlib
import datetime
import os
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

Item = TypeVar("Item")

# Timeouts of a rank: for the others to start; for rank 0 to prepare a corpus of many millions of pairs; for a message
# during training, between two of which rank 0 may write a checkpoint and score a validation. A rank that dies is
# noticed much earlier, by its connection or by torchrun; one that hangs is noticed by the last timeout.
RENDEZVOUS_TIMEOUT = datetime.timedelta(minutes=10)
PREPARING = datetime.timedelta(hours=3)
ANSWERING = datetime.timedelta(minutes=20)


@dataclass(frozen=True)
class Distributed:
    """The rank of this process among those of torchrun; without torchrun rank 0 of 1.

    local: the rank on this machine.
    """

    rank: int = 0
    size: int = 1
    local: int = 0
    preparing: dist.ProcessGroup | None = None  # all ranks, with the timeout PREPARING

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0, which writes all files."""
        return self.rank == 0

    def sum(self, tensor: Tensor) -> Tensor:
        """`tensor` summed over all ranks, in place."""
        if self.size > 1:
            with connected(self.rank):
                dist.all_reduce(tensor)
        return tensor

    def broadcast(self, item: Item) -> Item:
        """Rank 0's `item` (anything that can be pickled) on every rank."""
        if self.size == 1:
            return item
        box = [item]
        with connected(self.rank):
            dist.broadcast_object_list(box, src=0)
        return box[0]

    def on_main(self, action: Callable[[], Item]) -> Item:
        """Runs `action` on rank 0 -> its result, on every rank.

        If it raises ValueError or OSError, rank 0 raises it, and the other ranks raise SystemExit(2).
        """
        if self.size == 1:
            return action()
        found, error = None, None
        if self.is_main:
            try:
                found = action()
            except (ValueError, OSError) as raised:
                error = raised
        found, failed = self.broadcast((found, error is not None))
        if error:
            raise error
        if failed:
            raise SystemExit(2)  # rank 0 prints the reason
        return found  # pyright: ignore[reportReturnType]

    @contextlib.contextmanager
    def main_process_first(self):
        """Runs the block first on rank 0, then on the others, which use the caches that rank 0 has written."""
        if self.size > 1 and not self.is_main:
            self._wait()
        yield
        if self.size > 1 and self.is_main:
            self._wait()

    def gather(self, item: Item) -> list[Item]:
        """Every rank's `item`, in the order of ranks, on every rank."""
        if self.size == 1:
            return [item]
        box = [item] * self.size
        with connected(self.rank):
            dist.all_gather_object(box, item)
        return box

    def _wait(self) -> None:
        with connected(self.rank):
            dist.barrier(self.preparing)


@contextlib.contextmanager
def connected(rank: int):
    """Raises ConnectionError, with a message of one line, for the RuntimeError of Gloo or NCCL if another rank dies."""
    try:
        yield
    except RuntimeError as error:
        reason = str(error).splitlines()[0][:200]
        raise ConnectionError(f"rank {rank} lost the other ranks: {reason}") from error


@contextlib.contextmanager
def init_distributed():
    """Joins the process group of torchrun's environment variables -> Distributed; leaves the group at the end."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Distributed()
        return
    local = int(os.environ.get("LOCAL_RANK", "0"))
    cuda = torch.cuda.is_available()
    if cuda and gpu_of(local) is not None:
        torch.cuda.set_device(gpu_of(local))
    rank = int(os.environ.get("RANK", "0"))
    with connected(rank):
        store, rank, size = next(iter(rendezvous("env://", timeout=RENDEZVOUS_TIMEOUT)))
        backend = "cpu:gloo,cuda:nccl" if cuda else "gloo"
        dist.init_process_group(
            backend, store=_own_store(store, rank, size), rank=rank, world_size=size, timeout=ANSWERING
        )
        preparing = dist.new_group(backend="gloo", timeout=PREPARING)
    assert isinstance(preparing, dist.ProcessGroup)
    # After an error the group is not destroyed, as that could wait for the others: exiting closes the connections.
    yield Distributed(rank, size, local, preparing)
    dist.destroy_process_group()


def gpu_of(local: int) -> int | None:
    """The index of the GPU for a local rank: its own, or the only visible one (srun may show each rank only its own).

    None if there are too few GPUs.
    """
    count = torch.cuda.device_count()
    return local if local < count else 0 if count == 1 else None


def _own_store(store: Store, rank: int, size: int) -> Store:
    """A part of `store` that only the ranks of this start use.

    torchrun keeps its store when it restarts the ranks, with the addresses of processes that died, and new ranks would
    try to connect to them. The restart counts cannot tell starts apart, as they differ between machines. So each rank
    writes a unique name as its request, and rank 0 answers every request, also those of dead processes, until all ranks
    have confirmed.
    """
    name = uuid.uuid4().hex
    if rank:
        store.set(f"nmt/asks/{rank}", name)
        name = store.get(f"nmt/answer/{name}").decode()
        store.set(f"nmt/came/{name}/{rank}", "yes")
        return PrefixStore(name, store)
    missing = set(range(1, size))
    end = time.monotonic() + RENDEZVOUS_TIMEOUT.total_seconds()
    while missing:
        if time.monotonic() > end:
            raise RuntimeError(f"waited in vain for ranks {sorted(missing)}")
        for other in sorted(missing):
            if store.check([f"nmt/asks/{other}"]):
                store.set(f"nmt/answer/{store.get(f'nmt/asks/{other}').decode()}", name)
            if store.check([f"nmt/came/{name}/{other}"]):
                missing.discard(other)
        time.sleep(0.02)
    return PrefixStore(name, store)
