"""Selects the fused kernels and CUDA graphs for a device: those whose results are those of torch's operations."""

from dataclasses import replace
from enum import Enum

from nmt.acceleration.fused.selfcheck import check_kernel
from nmt.acceleration.kernels import Kernel, set_kernels
from nmt.runtime.device import Device, DeviceName, Precision, choose_device
from nmt.runtime.distributed import Distributed


class FusedKernels(Enum):
    """The values of ``fused_kernels``: auto uses those whose results, on this GPU, are those of torch's operations."""

    auto = "auto"
    off = "off"


class CudaGraphsMode(Enum):
    """The values of ``cuda_graphs``: CUDA graphs of encoder and decoder, one for each shape of batch; auto: on CUDA."""

    auto = "auto"
    on = "on"
    off = "off"


def prepare_device(
    name: DeviceName,
    precision: Precision,
    distributed: Distributed | None = None,
    fused_kernels: FusedKernels = FusedKernels.auto,
    cuda_graphs: CudaGraphsMode = CudaGraphsMode.off,
) -> Device:
    """Selects the device, the type of its products and, on CUDA, enables kernels for the model.

    Raises ValueError if the machine does not have the device.
    """
    return choose_kernels(choose_device(name, precision, distributed), fused_kernels, cuda_graphs)


def choose_kernels(device: Device, fused_kernels: FusedKernels, cuda_graphs: CudaGraphsMode) -> Device:
    """Enables the kernels that work on `device` -> the device with CUDA graphs allowed or not, and a reason with the
    kernels and why others are not used. On a CPU there are none."""
    set_kernels((), device.dtype)
    reasons = [device.reason]
    cuda = device.device.type == "cuda"
    if cuda and fused_kernels is FusedKernels.auto:
        problems = {kernel: check_kernel(kernel, device.device, device.dtype) for kernel in Kernel}
        working = [kernel for kernel, why in problems.items() if not why]
        set_kernels(working, device.dtype)  # the others are not checked
        reasons.append(f"kernels {', '.join(kernel.value for kernel in working) or 'none'}")
        reasons += [f"not {kernel.value}: {why}" for kernel, why in problems.items() if why]
    if cuda_graphs is CudaGraphsMode.on and not cuda:
        reasons.append("cuda_graphs=on is ignored on a cpu")
    return replace(device, reason="; ".join(reasons), cuda_graphs=cuda and cuda_graphs is not CudaGraphsMode.off)
