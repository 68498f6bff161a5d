"""Selects between the reference loops and the fused kernels; ``nmt.runtime.device`` chooses."""

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


_fast = True
_kernels: frozenset[Kernel] = frozenset()


@contextmanager
def reference() -> Iterator[None]:
    """Inside, every loop is the readable one that autograd differentiates, and no kernel is used."""
    global _fast
    before, _fast = _fast, False
    try:
        yield
    finally:
        _fast = before


def is_reference() -> bool:
    return not _fast


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
    if not _fast or kernel not in _kernels or dtype is torch.float64:
        return False
    return like.is_cuda or (kernel is Kernel.triton and os.environ.get("TRITON_INTERPRET") == "1")
