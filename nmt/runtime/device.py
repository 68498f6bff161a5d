"""Device and precision: the only module that chooses CUDA, bf16, threads and seeds."""

import os
import random
import socket
from dataclasses import dataclass
from enum import Enum

import numpy as np
import torch
from torch import Tensor

from nmt.runtime.distributed import Distributed, gpu_of

# oneDNN caches kernels for 1024 shapes by default, and every batch of text has new shapes: the memory of a run on a CPU
# grew for hours. With 128 the speed was the same, and the memory after 100 updates a fifth less. The variable is read
# when the first kernel is created.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "128")
# torch caches as many packed matrix products: translating 100,000 lines took 750 MB and memory kept growing. With a
# small cache it does not grow.
os.environ.setdefault("LRU_CACHE_CAPACITY", "32")


class DeviceName(Enum):
    """The values of ``device``."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class Precision(Enum):
    """The values of ``precision``: the type of matrix products. State, energies, softmax and loss are float32."""

    auto = "auto"
    fp32 = "fp32"
    bf16 = "bf16"
    fp16 = "fp16"


@dataclass(frozen=True)
class Device:
    """A torch device and the type of its matrix products (float32: no autocast).

    reason: why this type was chosen, for the log. cuda_graphs: whether training may capture CUDA graphs.
    """

    device: torch.device
    dtype: torch.dtype
    reason: str
    cuda_graphs: bool = False

    def autocast(self) -> torch.autocast:
        """The context in which forward passes run."""
        return torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype != torch.float32)

    def scaler(self) -> torch.amp.GradScaler:
        """Loss scaling, which fp16 alone needs (disabled for the other types)."""
        return torch.amp.GradScaler(self.device.type, enabled=self.dtype == torch.float16)


def choose_device(name: DeviceName, precision: Precision, distributed: Distributed | None = None) -> Device:
    """The device and the type of its matrix products. Raises ValueError if the machine does not support them."""
    cuda = torch.cuda.is_available()
    match name:
        case DeviceName.cuda if not cuda:
            raise ValueError("device=cuda, but torch sees no CUDA GPU here: try device=cpu or device=auto")
        case DeviceName.auto:
            name = DeviceName.cuda if cuda else DeviceName.cpu
        case _:
            pass
    if name is DeviceName.cuda:
        device = torch.device("cuda", _gpu(distributed or Distributed()))
        torch.cuda.set_device(device)
        # No TF32 for float32, whatever the value of TORCH_ALLOW_TF32_CUBLAS_OVERRIDE.
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
        dtype, why = _cuda_precision(precision, device)
    else:
        device = torch.device("cpu")
        dtype, why = _cpu_precision(precision)
    return Device(device, dtype, f"{str(dtype).removeprefix('torch.')}: {why}")


def _gpu(distributed: Distributed) -> int:
    """The index of this rank's own GPU. Raises ValueError on all ranks if there are fewer GPUs than ranks."""
    gpu, count = gpu_of(distributed.local), torch.cuda.device_count()
    if distributed.size > 1:
        own = None if gpu is None else str(torch.cuda.get_device_properties(gpu).uuid)
        found = distributed.gather((socket.gethostname(), own))
        if None in (uuid for _, uuid in found) or len(set(found)) < len(found):
            gpu = None
    if gpu is None:
        raise ValueError(f"more ranks than the {count} GPU(s) here: try --nproc-per-node={count}, or device=cpu")
    return gpu


def _cuda_precision(precision: Precision, device: torch.device) -> tuple[torch.dtype, str]:
    major, minor = torch.cuda.get_device_capability(device)
    where = f"cuda ({torch.cuda.get_device_name(device)}), compute capability {major}.{minor}"
    match precision:
        case Precision.fp32:
            return torch.float32, f"{where}, as asked"
        case Precision.fp16:
            return torch.float16, f"{where}, as asked"
        case Precision.bf16:
            if major < 8:
                raise ValueError(f"precision=bf16 needs compute capability 8.0, this is {where}: try precision=fp16")
            return torch.bfloat16, f"{where}, as asked"
        case _:
            return (torch.bfloat16 if major >= 8 else torch.float16), where


def _cpu_precision(precision: Precision) -> tuple[torch.dtype, str]:
    fast = cpu_multiplies_bf16()
    where = f"cpu {'with' if fast else 'without'} bfloat16 instructions"
    match precision:
        case Precision.fp32:
            return torch.float32, f"{where}, as asked"
        case Precision.bf16:
            return torch.bfloat16, f"{where}, as asked"
        case Precision.fp16:
            raise ValueError("precision=fp16 is ten times slower than fp32 on a CPU: try precision=bf16, fp32 or auto")
        case _:
            return (torch.bfloat16 if fast else torch.float32), where


def cpu_multiplies_bf16() -> bool:
    """Whether this CPU has instructions for bfloat16 products (AVX-512 BF16 or AMX)."""
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, lambda: False)() for name in names)


def seed_everything(seed: int) -> None:
    """Seeds the random generators of Python, NumPy and torch."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def random_states() -> dict[str, Tensor]:
    """The states of torch's generators (uint8 tensors) by device. Training uses no other generators."""
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_initialized():  # otherwise the call would create a CUDA context on an unused GPU
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def restore_random_states(states: dict[str, Tensor]) -> None:
    """Restores a result of `random_states`; the cuda state is ignored if no GPU is used. Raises ValueError if it is
    damaged."""
    try:
        torch.set_rng_state(states["cpu"])
        if "cuda" in states and torch.cuda.is_initialized():
            torch.cuda.set_rng_state(states["cuda"])
    except (KeyError, TypeError, RuntimeError):
        raise ValueError("random states: damaged: not those of torch's generators") from None
