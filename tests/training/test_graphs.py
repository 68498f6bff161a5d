"""Recorded passes are the passes as they are. Here a recording plays by doing its work again on the same memory."""

import numpy as np
import pytest
import torch

from nmt.config.schema import DecoderKind
from nmt.data.batches import Batches, Unit
from nmt.training import graphs
from nmt.training.device import (
    Device,
    DeviceName,
    GraphsChoice,
    Kernels,
    Precision,
    choose_device,
    choose_kernels,
    random_states,
    restore_random_states,
)
from nmt.training.gradients import Gradients, Word
from nmt.training.graphs import Graphs, Passes, Recording, Shape
from nmt.training.ranks import Ranks

CPU = Device(torch.device("cpu"), torch.float32, "for tests")


def filler(tiny, model, device=CPU) -> Gradients:
    return Gradients(
        model, Batches(tiny.encoded, budget=60, unit=Unit.tokens), smoothing=0.1, device=device, ranks=Ranks()
    )


def recorded(tiny, model, record=lambda work: work) -> Gradients:
    fill = filler(tiny, model)
    fill.graphs = Graphs(model, CPU, record)
    return fill


def gradients(model) -> dict[str, torch.Tensor]:
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


# Updates of several batches of several shapes, which come again in other orders.
UPDATES = [[range(5), range(5, 25)], [range(30, 50)], [range(5), range(60, 80), range(7)], [range(3), range(5, 24)]]


@pytest.mark.slow
@pytest.mark.parametrize("kind", DecoderKind)
def test_recorded_passes_give_the_same_gradients(tiny, kind):
    model = tiny.model(kind=kind).double()
    plain, fast = filler(tiny, model), recorded(tiny, model)
    for update in UPDATES:
        group = [np.array(rows) for rows in update]
        nll, *_ = plain.fill(group, Word())
        expected = gradients(model)
        played, *_ = fast.fill(group, Word())
        torch.testing.assert_close(played, nll, rtol=1e-12, atol=0)
        for name, gradient in gradients(model).items():
            torch.testing.assert_close(gradient, expected[name], rtol=1e-9, atol=1e-12, msg=name)
    assert fast.graphs is not None
    assert fast.graphs.recordings


def test_a_shape_is_recorded_when_it_comes_again(tiny):
    made = []
    fill = recorded(tiny, tiny.model(), lambda work: made.append(1) or work)
    batch = fill.batches.collate(np.arange(6))
    assert fill.graphs is not None
    assert type(fill.graphs.passes(batch)) is Passes
    assert type(recording := fill.graphs.passes(batch)) is Recording
    assert fill.graphs.passes(batch) is recording
    assert len(made) == 2  # forward and backward, once
    assert Shape.of(batch).rows == 8
    assert all(size % 8 == 0 and size >= real for size, real in zip(Shape.of(batch), batch.src.shape, strict=False))


def test_only_so_many_shapes_are_recorded(tiny, monkeypatch):
    monkeypatch.setattr(graphs, "MOST", 1)
    fill = recorded(tiny, tiny.model())
    small, large = (fill.batches.collate(np.arange(rows)) for rows in (6, 20))
    assert fill.graphs is not None
    found = [type(fill.graphs.passes(batch)) for batch in (small, small, large, large)]
    assert found == [Passes, Recording, Passes, Passes]


def test_an_update_does_not_depend_on_what_was_recorded_before_it(tiny):
    """With dropout, so that random numbers count: as in a run that goes on in a new process."""
    model = tiny.model(dropout=0.3).double().train()
    seasoned, fresh = recorded(tiny, model), recorded(tiny, model)
    group = [np.arange(20)]
    seasoned.fill(group, Word())
    for _ in range(3):
        states = random_states()
        seasoned.fill(group, Word())  # records in the first round, replays in the next two
        expected, after = gradients(model), random_states()
        restore_random_states(states)
        fresh.graphs = Graphs(model, CPU, lambda work: work)
        fresh.fill(group, Word())
        assert all(torch.equal(gradient, expected[name]) for name, gradient in gradients(model).items())
        assert torch.equal(random_states()["cpu"], after["cpu"])


def test_a_recording_that_fails_is_done_without(tiny, caplog):
    def refuse(work):
        raise RuntimeError("operation not permitted when stream is capturing")

    model = tiny.model().double()
    fill = recorded(tiny, model, refuse)
    rows = [np.arange(20)]
    fill.fill(rows, Word())
    expected = gradients(model)
    with caplog.at_level("WARNING"):
        fill.fill(rows, Word())
        fill.fill(rows, Word())
    assert caplog.text.count("going on without CUDA graphs: operation not permitted") == 1
    for name, gradient in gradients(model).items():
        assert torch.equal(gradient, expected[name])


def test_recordings_add_where_the_gradients_are_even_if_others_were_put_there(tiny):
    """Several ranks put the sum of all in the gradients' place."""
    model = tiny.model().double()
    fill = recorded(tiny, model)
    rows = [np.arange(20)]
    for _ in range(3):
        fill.fill(rows, Word())
        places = [parameter.grad.data_ptr() for parameter in model.parameters()]
        expected = gradients(model)
        for parameter in model.parameters():
            parameter.grad = torch.full_like(parameter, 7.0)
    fill.fill(rows, Word())
    assert [parameter.grad.data_ptr() for parameter in model.parameters()] == places
    for name, gradient in gradients(model).items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-12, atol=1e-12)


def test_a_recording_reads_the_weights_of_now(tiny):
    model = tiny.model().double()
    plain, fast = filler(tiny, model), recorded(tiny, model)
    rows = [np.arange(20)]
    for _ in range(3):
        fast.fill(rows, Word())
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= 0.1 * parameter.grad
    fast.fill(rows, Word())
    played = gradients(model)
    plain.fill(rows, Word())
    for name, gradient in gradients(model).items():
        torch.testing.assert_close(played[name], gradient, rtol=1e-9, atol=1e-12)


def test_graphs_are_ignored_on_a_cpu_and_it_is_said():
    device = choose_device(DeviceName.cpu, Precision.fp32)
    chosen = choose_kernels(device, Kernels.auto, GraphsChoice.on)
    assert not chosen.graphs
    assert chosen.reason == device.reason + "; graphs=on is ignored on a cpu"
    assert choose_kernels(device, Kernels.auto, GraphsChoice.off) == device


@pytest.mark.gpu
@pytest.mark.parametrize("kind", DecoderKind)
@pytest.mark.parametrize("precision", [Precision.fp32, Precision.bf16])
def test_cuda_graphs_give_the_same_gradients(tiny, kind, precision):
    device = choose_device(DeviceName.cuda, precision)
    model = tiny.model(kind=kind).cuda()
    plain, fast = filler(tiny, model, device), filler(tiny, model, choose_kernels(device, Kernels.off, GraphsChoice.on))
    assert fast.graphs is not None
    for update in [*UPDATES, *UPDATES]:
        group = [np.array(rows) for rows in update]
        plain.fill(group, Word())
        expected = gradients(model)
        fast.fill(group, Word())
        for name, gradient in gradients(model).items():
            error = (gradient - expected[name]).norm() / expected[name].norm()
            assert error < (1e-4 if precision is Precision.fp32 else 3e-2), name
    assert not fast.graphs.broken
    assert fast.graphs.recordings
