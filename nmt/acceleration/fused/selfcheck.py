"""Checks of kernels on this machine: each is compared with torch's operations before it is used."""

import importlib.util
from collections.abc import Sequence
from itertools import chain

import torch
from torch import Tensor

from nmt.acceleration.fused.loops import FusedLoops, run_side_by_side
from nmt.acceleration.fused.loss import cross_entropy
from nmt.acceleration.kernels import Kernel, kernels_enabled
from nmt.acceleration.matmul import addmm_
from nmt.attention.scores import AdditiveAttention, Source
from nmt.layers.cells import GRUCell, GRUResetAfterCell, LSTMCell

# The tolerated error of a number, relative to the largest number of its tensor.
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 5e-2, torch.float16: 2e-2}
# The source lengths of a check: a kernel is compiled for each power of two. A usual length and the longest.
POSITIONS = (50, 512)


def check_kernel(kernel: Kernel, device: torch.device, dtype: torch.dtype, positions: Sequence[int] = POSITIONS) -> str:
    """The reason, in one line, why `kernel` cannot be used on `device` for products in `dtype`; "" if its results,
    forward and backward, are those of torch. positions: the source lengths of the check."""
    if kernel is Kernel.triton and importlib.util.find_spec("triton") is None:
        return "triton is not installed"
    state = torch.get_rng_state()
    try:
        found: list[list[Tensor]] = []
        for kernels in ((), (kernel,)):
            torch.manual_seed(0)  # of the CPU, where all random numbers are drawn
            with kernels_enabled(*kernels):
                found.append(_tried(kernel, device, dtype, positions))
        for expected, got in zip(*found, strict=True):
            error = float((got - expected).abs().max() / expected.abs().max())
            if not error < TOLERANCE[dtype]:  # this form refuses nan too
                return f"it is {error:.1g} away from what torch computes"
    except Exception as error:  # any error: the kernel is not used
        return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    finally:
        torch.set_rng_state(state)
    return ""


def _tried(kernel: Kernel, device: torch.device, dtype: torch.dtype, positions: Sequence[int]) -> list[Tensor]:
    """The results that involve the kernel: outputs and gradients."""
    match kernel:
        case Kernel.triton:
            parts = [_attend_all(device, dtype, longest) for longest in positions]
            return [*chain(*parts), *_gru_and_loss(device, dtype)]
        case Kernel.cudnn:
            return _cells(device, dtype)
        case Kernel.fp32_accumulation:
            return _sums(device, dtype)
        case _:
            raise ValueError(f"no check of {kernel}")


def _gradients(outputs: list[Tensor], leaves: list[Tensor]) -> list[Tensor]:
    total = torch.stack([output.float().square().sum() for output in outputs]).sum()
    return [part.detach().float() for part in (*outputs, *torch.autograd.grad(total, leaves))]


def _leaf(device: torch.device, *shape: int) -> Tensor:
    return torch.randn(*shape).to(device).requires_grad_()


def _attend_all(device: torch.device, dtype: torch.dtype, positions: int) -> list[Tensor]:
    attention = AdditiveAttention(48, 64, 80).to(device)
    memory, keys, hidden = _leaf(device, 5, positions, 64), _leaf(device, 5, positions, 80), _leaf(device, 4, 5, 48)
    lengths = torch.tensor([positions, positions - 1, positions // 3, 2, 1]).unsqueeze(1)
    source = Source(memory, keys, (torch.arange(positions) < lengths).to(device))
    with torch.autocast(device.type, dtype, enabled=dtype is not torch.float32):
        outputs = FusedLoops().attend_all(attention, hidden, source)
    return _gradients(list(outputs), [memory, keys, hidden, attention.query.weight, attention.v])


def _gru_and_loss(device: torch.device, dtype: torch.dtype) -> list[Tensor]:
    features, weight, bias = _leaf(device, 5, 4, 64), _leaf(device, 5000, 64), _leaf(device, 5000)
    targets = torch.randint(1, 5000, (5, 4)).to(device)
    cells = [GRUCell(24, 32).to(device) for _ in range(2)]
    projected, step_mask = _leaf(device, 2, 4, 5, 96), torch.ones(2, 4, 5, 1, device=device)
    with torch.autocast(device.type, dtype, enabled=dtype is not torch.float32):
        outputs = run_side_by_side(cells, projected, step_mask)
        loss = cross_entropy(features, weight, bias, targets, smoothing=0.1, chunk=7)
    return _gradients([outputs, loss.objective / 20], [features, weight, bias, projected, cells[1].weight])


def _cells(device: torch.device, dtype: torch.dtype) -> list[Tensor]:
    found = []
    for kind in (LSTMCell, GRUResetAfterCell):
        cell = kind(24, 32).to(device)
        inputs, start = _leaf(device, 7, 5, 24), _leaf(device, 5, cell.state_size)
        with torch.autocast(device.type, dtype, enabled=dtype is not torch.float32):
            outputs = FusedLoops().outputs(cell, inputs, start)
        found += _gradients([outputs], [inputs, start, *cell.parameters()])
    return found


def _sums(device: torch.device, dtype: torch.dtype) -> list[Tensor]:
    found = []
    for shapes in (((9, 24), (9, 16), (16, 24)), ((2, 9, 24), (2, 9, 16), (2, 16, 24))):
        out, left, right = (torch.randn(*shape).to(device) for shape in shapes)
        addmm_(out, left.to(dtype), right.to(dtype))
        addmm_(out[..., :8], left.to(dtype), right[..., :8].to(dtype))  # a part of each row, as for gates
        found.append(out)
    return found
