"""Which kernels of a GPU are enabled; ``nmt.runtime.device`` chooses."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import Enum

import torch
from torch import Tensor


class Kernel(Enum):
    """What a CUDA GPU may have beyond the loops in torch's operations.

    triton: the additive score, a GRU between its products and the vocabulary's softmax; cudnn: cells that cuDNN knows,
    over a whole sequence; fp32_accumulation: products of bf16 operands that are added to float32 sums as they are made.
    """

    triton = "triton"
    cudnn = "cudnn"
    fp32_accumulation = "fp32_accumulation"


_kernels: frozenset[Kernel] = frozenset()


def set_kernels(kernels: Iterable[Kernel]) -> None:
    """From now on: these where they apply, and no others."""
    global _kernels
    _kernels = frozenset(kernels)


@contextmanager
def kernels_enabled(*kernels: Kernel) -> Iterator[None]:
    """Inside: these where they apply, and no others."""
    before = _kernels
    set_kernels(kernels)
    try:
        yield
    finally:
        set_kernels(before)


def is_enabled(kernel: Kernel, like: Tensor, dtype: torch.dtype) -> bool:
    """Whether `kernel` is used for products in `dtype` on the device of `like`. None takes float64."""
    if kernel not in _kernels or dtype is torch.float64:
        return False
    return like.is_cuda or (kernel is Kernel.triton and os.environ.get("TRITON_INTERPRET") == "1")
