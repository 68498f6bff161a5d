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


_kernels: dict[torch.dtype, frozenset[Kernel]] = {}  # by the type of products
_DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def set_kernels(kernels: Iterable[Kernel], *dtypes: torch.dtype) -> None:
    """Enables these kernels for products in these types, and disables all others for these types."""
    _kernels.update(dict.fromkeys(dtypes, frozenset(kernels)))


@contextmanager
def kernels_enabled(*kernels: Kernel) -> Iterator[None]:
    """Within the block: enables these kernels for products in each type, and disables all others."""
    before = dict(_kernels)
    set_kernels(kernels, *_DTYPES)
    try:
        yield
    finally:
        _kernels.clear()
        _kernels.update(before)


def is_enabled(kernel: Kernel, like: Tensor, dtype: torch.dtype) -> bool:
    """Whether `kernel` is used for products in `dtype` on the device of `like`. No kernel supports float64."""
    if kernel not in _kernels.get(dtype, ()):
        return False
    return like.is_cuda or (kernel is Kernel.triton and os.environ.get("TRITON_INTERPRET") == "1")
