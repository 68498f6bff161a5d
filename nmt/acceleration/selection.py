"""Which fused kernels and CUDA graphs are used on a device: those that compute what torch's own operations compute."""

from dataclasses import replace
from enum import Enum

from nmt.acceleration.fused.selfcheck import check_kernel
from nmt.acceleration.kernels import Kernel, set_kernels
from nmt.runtime.device import Device, DeviceName, Precision, choose_device
from nmt.runtime.distributed import Distributed


class FusedKernels(Enum):
    """The words of ``fused_kernels``: auto uses those that give, on this GPU, what torch's own operations give."""

    auto = "auto"
    off = "off"


class CudaGraphsMode(Enum):
    """The words of ``cuda_graphs``: CUDA graphs of encoder and decoder, one for each shape of batch; auto: on CUDA."""

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
    """The device, the type of its products and, on CUDA, the kernels that the model uses from now on.

    Raises ValueError where the machine does not have it.
    """
    return choose_kernels(choose_device(name, precision, distributed), fused_kernels, cuda_graphs)


def choose_kernels(device: Device, fused_kernels: FusedKernels, cuda_graphs: CudaGraphsMode) -> Device:
    """From now on the model uses the kernels that work on `device` -> the same with CUDA graphs on or off; its reason
    then says which kernels, and why not others. On a CPU there are neither.
    """
    set_kernels(())
    reasons = [device.reason]
    cuda = device.device.type == "cuda"
    if cuda and fused_kernels is FusedKernels.auto:
        problems = {kernel: check_kernel(kernel, device.device, device.dtype) for kernel in Kernel}
        working = [kernel for kernel, why in problems.items() if not why]
        set_kernels(working)
        reasons.append(f"kernels {', '.join(kernel.value for kernel in working) or 'none'}")
        reasons += [f"not {kernel.value}: {why}" for kernel, why in problems.items() if why]
    match cuda_graphs:
        case CudaGraphsMode.on:
            reasons.append("CUDA graphs, as asked" if cuda else "cuda_graphs=on is ignored on a cpu")
        case CudaGraphsMode.auto if cuda:
            reasons.append("CUDA graphs")
        case _:
            pass
    return replace(device, reason="; ".join(reasons), cuda_graphs=cuda and cuda_graphs is not CudaGraphsMode.off)
