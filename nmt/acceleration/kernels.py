"""The enabled kernels of a GPU; ``nmt.acceleration.selection`` selects them."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import Enum

import torch
from torch import Tensor


class Kernel(Enum):
    """Kernels of a CUDA GPU besides the loops in torch's operations.

    triton: the additive score, the elementwise operations of a GRU and the softmax over the vocabulary; cudnn: cells
    that cuDNN has, over a whole sequence; fp32_accumulation: products of bf16 operands that are accumulated in float32.
    """

    triton = "triton"
    cudnn = "cudnn"
    fp32_accumulation = "fp32_accumulation"


_kernels: frozenset[Kernel] = frozenset()
_dtype: torch.dtype | None = None


def set_kernels(kernels: Iterable[Kernel], dtype: torch.dtype | None = None) -> None:
    """Enables these kernels for products in `dtype` (None: in each), and disables all others."""
    global _kernels, _dtype
    _kernels, _dtype = frozenset(kernels), dtype


@contextmanager
def kernels_enabled(*kernels: Kernel) -> Iterator[None]:
    """Within the block: enables these kernels for products in each type, and disables all others."""
    before = _kernels, _dtype
    set_kernels(kernels)
    try:
        yield
    finally:
        set_kernels(*before)


def is_enabled(kernel: Kernel, like: Tensor, dtype: torch.dtype) -> bool:
    """Whether `kernel` is used for products in `dtype` on the device of `like`. No kernel supports float64."""
    if kernel not in _kernels or dtype is torch.float64 or _dtype not in (None, dtype):
        return False
    return like.is_cuda or (kernel is Kernel.triton and os.environ.get("TRITON_INTERPRET") == "1")
