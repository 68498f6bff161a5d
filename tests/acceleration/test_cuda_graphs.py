"""Recorded passes are the passes as they are. Here a recording plays by doing its work again on the same memory."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from nmt import build
from nmt.acceleration import cuda_graphs
from nmt.acceleration.cuda_graphs import CapturedGraph, CudaGraphs, Passes, Shape
from nmt.acceleration.selection import CudaGraphsMode, FusedKernels, choose_kernels
from nmt.attention.local import Extent
from nmt.attention.normalizers import Normalizer
from nmt.attention.scores import ScoreFunction
from nmt.config.schema import AttentionConfig, DecoderConfig, DecoderKind, EncoderConfig, GuidedConfig, ModelConfig
from nmt.data.batches import Batches, BatchOptions
from nmt.runtime.device import Device, DeviceName, Precision, choose_device, random_states, restore_random_states
from nmt.runtime.distributed import Distributed
from nmt.training.consistency import LossOptions
from nmt.training.gradients import Gradients, SyncedFlags
from nmt.training.optim import OptimizerOptions

CPU = Device(torch.device("cpu"), torch.float32, "for tests")


def filler(tiny, model, device=CPU) -> Gradients:
    return Gradients(
        model,
        Batches(tiny.encoded, BatchOptions(60)),
        loss=LossOptions(0.1),
        optimizer=OptimizerOptions(),
        device=device,
        distributed=Distributed(),
    )


def recorded(tiny, model, capture=lambda work: work) -> Gradients:
    fill = filler(tiny, model)
    fill.graphs = CudaGraphs(model, CPU, capture)
    return fill


def gradients(model) -> dict[str, torch.Tensor]:
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


# Updates of several batches of several shapes, which come again in other orders.
UPDATES = [[range(5), range(5, 25)], [range(30, 50)], [range(5), range(60, 80), range(7)], [range(3), range(5, 24)]]


@pytest.mark.slow
@pytest.mark.parametrize("kind", DecoderKind)
def test_captured_passes_give_the_same_gradients(tiny, kind):
    assert_captured_passes_give_the_same_gradients(tiny, tiny.model(kind=kind).double())


@pytest.mark.slow
@pytest.mark.parametrize(
    "attention",
    [
        AttentionConfig(ScoreFunction.gaussian),
        AttentionConfig(size=8, extent=Extent["local_p"], window=1, heads=2),
        AttentionConfig(size=8, extent=Extent["local_m"], window=1, normalizer=Normalizer.entmax),
    ],
)
def test_captured_passes_give_the_same_gradients_for_every_kind_of_attention(tiny, attention):
    sizes = EncoderConfig(embedding=8, hidden=8), DecoderConfig(embedding=8, hidden=12, readout=8)
    words = len(tiny.tokenizer.src), len(tiny.tokenizer.tgt)
    torch.manual_seed(1)
    model = build.build_model(ModelConfig(*sizes, attention), *words).double()
    assert_captured_passes_give_the_same_gradients(tiny, model)


def assert_captured_passes_give_the_same_gradients(tiny, model) -> None:
    plain, fast = filler(tiny, model), recorded(tiny, model)
    for update in UPDATES:
        group = [np.array(rows) for rows in update]
        nll, *_ = plain.accumulate(group, SyncedFlags())
        expected = gradients(model)
        played, *_ = fast.accumulate(group, SyncedFlags())
        torch.testing.assert_close(played, nll, rtol=1e-12, atol=0)
        for name, gradient in gradients(model).items():
            torch.testing.assert_close(gradient, expected[name], rtol=1e-9, atol=1e-12, msg=name)
    assert fast.graphs is not None
    assert fast.graphs.captured


def test_a_shape_is_captured_when_it_comes_again(tiny):
    made = []
    fill = recorded(tiny, tiny.model(), lambda work: made.append(1) or work)
    batch = fill.batches.collate(np.arange(6))
    assert fill.graphs is not None
    assert type(fill.graphs.passes(batch)) is Passes
    assert type(recording := fill.graphs.passes(batch)) is CapturedGraph
    assert fill.graphs.passes(batch) is recording
    assert len(made) == 2  # forward and backward, once
    assert Shape.of(batch).rows == 8
    assert all(size % 8 == 0 and size >= real for size, real in zip(Shape.of(batch), batch.src.shape, strict=False))


def test_only_so_many_shapes_are_captured(tiny, monkeypatch):
    monkeypatch.setattr(cuda_graphs, "MAX_GRAPHS", 1)
    fill = recorded(tiny, tiny.model())
    small, large = (fill.batches.collate(np.arange(rows)) for rows in (6, 20))
    assert fill.graphs is not None
    found = [type(fill.graphs.passes(batch)) for batch in (small, small, large, large)]
    assert found == [Passes, CapturedGraph, Passes, Passes]


def test_an_update_does_not_depend_on_what_was_recorded_before_it(tiny):
    """With dropout, so that random numbers count: as in a run that goes on in a new process."""
    model = tiny.model(dropout=0.3).double().train()
    seasoned, fresh = recorded(tiny, model), recorded(tiny, model)
    group = [np.arange(20)]
    seasoned.accumulate(group, SyncedFlags())
    for _ in range(3):
        states = random_states()
        seasoned.accumulate(group, SyncedFlags())  # records in the first round, replays in the next two
        expected, after = gradients(model), random_states()
        restore_random_states(states)
        fresh.graphs = CudaGraphs(model, CPU, lambda work: work)
        fresh.accumulate(group, SyncedFlags())
        assert all(torch.equal(gradient, expected[name]) for name, gradient in gradients(model).items())
        assert torch.equal(random_states()["cpu"], after["cpu"])


def test_a_capture_that_fails_is_done_without(tiny, caplog):
    def refuse(work):
        raise RuntimeError("operation not permitted when stream is capturing")

    model = tiny.model().double()
    fill = recorded(tiny, model, refuse)
    rows = [np.arange(20)]
    fill.accumulate(rows, SyncedFlags())
    expected = gradients(model)
    with caplog.at_level("WARNING"):
        fill.accumulate(rows, SyncedFlags())
        fill.accumulate(rows, SyncedFlags())
    assert caplog.text.count("going on without CUDA graphs: operation not permitted") == 1
    for name, gradient in gradients(model).items():
        assert torch.equal(gradient, expected[name])


def test_captured_graphs_add_where_the_gradients_are_even_if_others_were_put_there(tiny):
    """Several ranks put the sum of all in the gradients' place."""
    model = tiny.model().double()
    fill = recorded(tiny, model)
    rows = [np.arange(20)]
    for _ in range(3):
        fill.accumulate(rows, SyncedFlags())
        places = [parameter.grad.data_ptr() for parameter in model.parameters()]
        expected = gradients(model)
        for parameter in model.parameters():
            parameter.grad = torch.full_like(parameter, 7.0)
    fill.accumulate(rows, SyncedFlags())
    assert [parameter.grad.data_ptr() for parameter in model.parameters()] == places
    for name, gradient in gradients(model).items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-12, atol=1e-12)


def test_a_captured_graph_reads_the_weights_of_now(tiny):
    model = tiny.model().double()
    plain, fast = filler(tiny, model), recorded(tiny, model)
    rows = [np.arange(20)]
    for _ in range(3):
        fast.accumulate(rows, SyncedFlags())
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= 0.1 * parameter.grad
    fast.accumulate(rows, SyncedFlags())
    played = gradients(model)
    plain.accumulate(rows, SyncedFlags())
    for name, gradient in gradients(model).items():
        torch.testing.assert_close(played[name], gradient, rtol=1e-9, atol=1e-12)


def test_graphs_are_ignored_on_a_cpu_and_it_is_said():
    device = choose_device(DeviceName.cpu, Precision.fp32)
    chosen = choose_kernels(device, FusedKernels.auto, CudaGraphsMode.on)
    assert not chosen.cuda_graphs
    assert chosen.reason == device.reason + "; cuda_graphs=on is ignored on a cpu"
    assert choose_kernels(device, FusedKernels.auto, CudaGraphsMode.off) == device


@pytest.mark.parametrize(("decay", "captured"), [(1.0, False), (0.5, False), (0.0, True)])
def test_what_is_guided_in_every_epoch_is_not_captured(tiny, monkeypatch, decay, captured):
    made = []
    monkeypatch.setattr("nmt.training.gradients.CudaGraphs", lambda *given: made.append(given))
    Gradients(
        tiny.model(),
        Batches(tiny.encoded, BatchOptions(60)),
        loss=LossOptions(0.1),
        optimizer=OptimizerOptions(),
        device=replace(CPU, cuda_graphs=True),
        distributed=Distributed(),
        guidance=GuidedConfig(links=["links"], decay=decay),
    )
    assert bool(made) == captured


@pytest.mark.gpu
@pytest.mark.parametrize("kind", DecoderKind)
@pytest.mark.parametrize("precision", [Precision.fp32, Precision.bf16])
def test_cuda_graphs_give_the_same_gradients(tiny, kind, precision):
    device = choose_device(DeviceName.cuda, precision)
    model = tiny.model(kind=kind).cuda()
    plain, fast = (
        filler(tiny, model, device),
        filler(tiny, model, choose_kernels(device, FusedKernels.off, CudaGraphsMode.on)),
    )
    assert fast.graphs is not None
    for update in [*UPDATES, *UPDATES]:
        group = [np.array(rows) for rows in update]
        plain.accumulate(group, SyncedFlags())
        expected = gradients(model)
        fast.accumulate(group, SyncedFlags())
        largest = max(float(gradient.norm()) for gradient in expected.values())
        tolerance = 1e-4 if precision is Precision.fp32 else 3e-2
        for name, gradient in gradients(model).items():
            # The bias of dot products' keys has no gradient but rounding: it adds the same to all energies of a query.
            error, norm = float((gradient - expected[name]).norm()), float(expected[name].norm())
            assert error < tolerance * (norm + 0.01 * largest), name
    assert not fast.graphs.broken
    assert fast.graphs.captured
