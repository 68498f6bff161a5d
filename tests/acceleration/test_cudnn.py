"""cuDNN's cells on our weights. On a CPU torch computes the same cells, so the order of weights is tested anywhere."""

import pytest
import torch

from nmt.acceleration.fused import FusedLoops, cudnn
from nmt.acceleration.fused.selfcheck import check_kernel
from nmt.acceleration.kernels import Kernel, kernels_enabled
from nmt.layers.cells import CellKind, build_cell
from nmt.layers.loops import ReferenceLoops
from tests.support.models import reference_of

KNOWN = [CellKind.lstm, CellKind.gru_reset_after]


@pytest.fixture
def anywhere(monkeypatch):
    """cuDNN's path on this device."""
    monkeypatch.setattr(cudnn, "is_enabled", lambda kernel, like, dtype: True)


def gradients(model, sentences):
    logits, weights = model(sentences.src, sentences.src_lengths, sentences.tgt_in)
    loss = logits.square().sum() + weights.pow(3).sum()
    return loss, torch.autograd.grad(loss, list(model.parameters()), materialize_grads=True)


@pytest.mark.parametrize("kind", KNOWN)
def test_the_cell_is_ours(kind):
    torch.manual_seed(0)
    cell = build_cell(kind, 3, 4).double()
    for parameter in cell.parameters():
        torch.nn.init.normal_(parameter)
    inputs, start = torch.randn(5, 2, 3, dtype=torch.float64), torch.randn(2, cell.state_size, dtype=torch.float64)
    made = cudnn.run(cell, inputs, start, torch.float64)
    torch.testing.assert_close(made, ReferenceLoops().outputs(cell, inputs, start)[1:], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", KNOWN)
@pytest.mark.parametrize("decoder", ["bahdanau", "luong", "fixed"])
def test_cudnns_path_has_the_reference_paths_gradients(make, sentences, anywhere, kind, decoder, monkeypatch):
    calls = []
    run = cudnn.run
    monkeypatch.setattr(cudnn, "run", lambda *arguments: calls.append(1) or run(*arguments))
    model = make(decoder, cell=kind, layers=2, input_feeding=False)
    loss, grads = gradients(model, sentences)
    assert len(calls) == 4 + (2 if decoder == "luong" else 1)  # two directions of two layers, and the decoder's
    expected, plain = gradients(reference_of(model), sentences)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)
    for a, b in zip(grads, plain, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)


def test_the_published_gru_is_not_cudnns(anywhere):
    inputs = torch.zeros(1, 1, 3)
    assert not cudnn.is_supported(build_cell(CellKind.gru, 3, 4), inputs, inputs.dtype)
    assert cudnn.is_supported(build_cell(CellKind.gru_reset_after, 3, 4), inputs, inputs.dtype)


def test_a_cpu_is_left_to_our_loops(monkeypatch):
    monkeypatch.setattr(cudnn, "run", lambda *arguments: pytest.fail("cuDNN is asked"))
    cell = build_cell(CellKind.lstm, 3, 4)
    with kernels_enabled(Kernel.cudnn):
        FusedLoops().outputs(cell, torch.zeros(1, 1, 3), torch.zeros(1, cell.state_size))


@pytest.mark.parametrize("kernel", [Kernel.cudnn, Kernel.fp32_accumulation])
def test_the_trials_of_what_a_cpu_lacks_agree_with_themselves(kernel):
    assert check_kernel(kernel, torch.device("cpu"), torch.bfloat16) == ""


def test_a_kernel_that_is_not_installed_is_not_used(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert check_kernel(Kernel.triton, torch.device("cpu"), torch.float32) == "triton is not installed"


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kernel", list(Kernel))
def test_every_kernel_works_on_a_hopper_gpu(kernel, dtype):
    if torch.cuda.get_device_capability() != (9, 0):
        pytest.skip("another GPU may well lack one")
    assert check_kernel(kernel, torch.device("cuda"), dtype) == ""


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", KNOWN)
def test_cudnn_is_the_reference_path_on_cuda(make, sentences, kind, dtype):
    if dtype is torch.bfloat16 and (torch.backends.cudnn.version() or 0) < 91300:
        pytest.skip("cuDNN runs bf16 cells from 9.13 on")
    torch.backends.cudnn.allow_tf32 = False
    model = make("luong", cell=kind, layers=2, input_feeding=False, dtype=torch.float32).cuda()
    sentences = type(sentences)(*(part.cuda() for part in sentences))
    with kernels_enabled(Kernel.cudnn), torch.autocast("cuda", dtype, enabled=dtype is not torch.float32):
        loss, grads = gradients(model, sentences)
    expected, plain = gradients(reference_of(model), sentences)
    narrow = dtype is not torch.float32
    torch.testing.assert_close(loss.float(), expected, rtol=0.03 if narrow else 1e-4, atol=1e-3)
    for a, b in zip(grads, plain, strict=True):
        assert (a - b).norm() < (0.06 if narrow else 1e-3) * b.norm() + 1e-3
