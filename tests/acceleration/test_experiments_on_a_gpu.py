"""Every experiment on the GPU: the CPU's numbers in float64, mixed precision in CUDA graphs, the CPU's translations.

On a CPU the same comparison is of the fused loops with the reference loops.
"""

import copy
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from nmt import build
from nmt.acceleration.selection import CudaGraphsMode, prepare_device
from nmt.cli import CONFIGS
from nmt.config.schema import TrainConfig
from nmt.data.batches import Batches, BatchOptions
from nmt.decoding.search import SearchOptions
from nmt.decoding.translator import Translator
from nmt.layers.loops import ReferenceLoops
from nmt.runtime.device import Device, DeviceName, Precision
from nmt.runtime.distributed import Distributed
from nmt.training.gradients import Gradients, SyncedFlags
from tests.support.commands import compose_config

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
OTHER_MODELS = {"aligner", "alignment_head"}
TRANSLATORS = sorted({path.stem for path in (CONFIGS / "experiment").glob("*.yaml")} - OTHER_MODELS)
# Sampled positions differ from device to device.
WITHOUT_SAMPLES = [name for name in TRANSLATORS if name != "hard"]
SMALL = ["preset=demo", "model.tied_embeddings=none", "decode.max_length=10"]
SMALL += [f"model.{side}.{name}=0" for side in ("encoder", "decoder") for name in ("dropout", "word_dropout")]
CPU = Device(torch.device("cpu"), torch.float32, "for tests")

pytestmark = pytest.mark.slow


def composed(experiment: str) -> TrainConfig:
    config = compose_config([f"+experiment={experiment}", *SMALL])
    assert isinstance(config, TrainConfig)
    return config


@pytest.fixture(autouse=True)
def kernels_as_before() -> Iterator[None]:
    yield
    prepare_device(DeviceName.cpu, Precision.fp32)


def gradients_of(config: TrainConfig, model, tiny, device: Device) -> Gradients:
    batches = Batches(tiny.encoded, BatchOptions(60))
    return Gradients(model, batches, loss=config.loss, optimizer=config.optim, device=device, distributed=Distributed())


@pytest.mark.parametrize("name", DEVICES)
@pytest.mark.parametrize("experiment", WITHOUT_SAMPLES)
def test_loss_and_gradients_are_those_of_the_reference_loops_in_float64(tiny, experiment, name):
    config = composed(experiment)
    torch.manual_seed(1)
    model = build.new_model(config, tiny.tokenizer, torch.device("cpu")).train()
    reference = copy.deepcopy(model).double().with_loops(ReferenceLoops())
    exact = gradients_of(config, reference, tiny, CPU)
    device = prepare_device(DeviceName(name), Precision.fp32)
    fast = gradients_of(config, model.to(device.device), tiny, device)
    update = [np.arange(5), np.arange(5, 25)]
    expected, found = (each.accumulate(update, SyncedFlags()) for each in (exact, fast))
    assert found.nll.item() == pytest.approx(expected.nll.item(), rel=1e-5)
    largest = max(float(p.grad.norm()) for p in reference.parameters() if p.grad is not None)
    for (where, ours), theirs in zip(model.named_parameters(), reference.parameters(), strict=True):
        assert (ours.grad is None) == (theirs.grad is None), where
        if ours.grad is not None and theirs.grad is not None:
            error = float((ours.grad.cpu().double() - theirs.grad).norm())
            assert error < 1e-3 * float(theirs.grad.norm()) + 1e-5 * largest, where


@pytest.mark.gpu
@pytest.mark.parametrize("experiment", TRANSLATORS)
def test_mixed_precision_learns_in_captured_graphs(tiny, experiment):
    config = composed(experiment)
    device = prepare_device(DeviceName.cuda, Precision.bf16, cuda_graphs=CudaGraphsMode.auto)
    torch.manual_seed(1)
    model = build.new_model(config, tiny.tokenizer, device.device).train()
    gradients = gradients_of(config, model, tiny, device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(12):
        losses.append(gradients.accumulate([np.arange(40)], SyncedFlags()).nll.item())
        assert np.isfinite(float(gradients.clip(optimizer)))
        optimizer.step()
    assert losses[-1] < 0.9 * losses[0]
    if gradients.graphs is not None:
        assert not gradients.graphs.broken
        assert gradients.graphs.captured
    assert (gradients.graphs is not None) == model.can_be_captured


@pytest.mark.gpu
@pytest.mark.parametrize("experiment", TRANSLATORS)
def test_translations_and_weights_are_those_of_the_cpu(tiny, experiment):
    config = composed(experiment)
    torch.manual_seed(1)
    model = build.new_model(config, tiny.tokenizer, torch.device("cpu")).eval()
    found = []
    for name in ("cpu", "cuda"):
        device = prepare_device(DeviceName(name), Precision.fp32)
        translator = Translator(model.to(device.device), tiny.tokenizer, SearchOptions(beam=3, max_length=10))
        found.append([best[0] for best in translator.translate(tiny.src)])
    for ours, expected in zip(*reversed(found), strict=True):
        assert ours.score == pytest.approx(expected.score, abs=1e-3)
        if ours.tgt_pieces == expected.tgt_pieces:  # of an untrained model two may be equally probable
            np.testing.assert_allclose(ours.weights, expected.weights, atol=1e-3)
