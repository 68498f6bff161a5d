"""Gradients of an update do not depend on how its pairs are divided into batches, nor on how often memory ran out."""

import numpy as np
import pytest
import torch

from nmt.config.schema import DecoderKind
from nmt.data.batches import Batches, BatchOptions
from nmt.runtime.device import Device
from nmt.runtime.distributed import Distributed
from nmt.training.consistency import LossOptions
from nmt.training.gradients import Gradients, SyncedFlags
from nmt.training.optim import Normalization, OptimizerOptions


def gradients(model) -> dict[str, torch.Tensor]:
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


def filler(
    tiny,
    model,
    smoothing: float = 0.1,
    normalization: Normalization = Normalization.tokens,
    distributed: Distributed | None = None,
) -> Gradients:
    device = Device(torch.device("cpu"), torch.float32, "for tests")
    batches = Batches(tiny.encoded, BatchOptions(60))
    return Gradients(
        model,
        batches,
        loss=LossOptions(smoothing),
        optimizer=OptimizerOptions(normalization=normalization),
        device=device,
        distributed=distributed or Distributed(),
    )


@pytest.mark.parametrize("kind", DecoderKind)
def test_half_batches_accumulate_to_the_whole(tiny, kind):
    model = tiny.model(kind=kind).double()
    rows = np.arange(20)
    fill = filler(tiny, model)
    nll, _, tokens, *_ = fill.accumulate([rows], SyncedFlags())
    whole = gradients(model)
    halves, _, same_tokens, *_ = fill.accumulate([rows[:3], rows[3:11], rows[11:]], SyncedFlags())
    assert same_tokens == tokens == int(tiny.encoded.tgt_lengths[:20].sum())
    assert float(halves) == pytest.approx(float(nll), rel=1e-12)
    for name, gradient in gradients(model).items():
        torch.testing.assert_close(gradient, whole[name], rtol=1e-9, atol=1e-12, msg=name)


class Unsummed(Distributed):
    """A rank whose part of a sum stays its own."""

    def sum(self, tensor):
        return tensor


# 20 pairs: in one batch, in three that accumulate, and in three that two and three ranks share.
@pytest.mark.parametrize("cuts", [[], [3, 11]])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_gradient_is_divided_by_the_target_tokens_or_the_sentences_of_its_whole_update(tiny, cuts, size):
    model = tiny.model().double()
    rows = np.arange(20)
    filler(tiny, model, normalization=Normalization.tokens).accumulate([rows], SyncedFlags())
    a_token = gradients(model)
    tokens = int(tiny.encoded.tgt_lengths[:20].sum())
    group = np.split(rows, cuts)
    for normalization, scale in ((Normalization.tokens, 1.0), (Normalization.sentences, tokens / 20)):
        total = {name: torch.zeros_like(gradient) for name, gradient in a_token.items()}
        for rank in range(size):
            fill = filler(tiny, model, normalization=normalization, distributed=Unsummed(rank, size))
            _, _, counted, *_ = fill.accumulate(group, SyncedFlags())
            assert counted == tokens  # the loss is logged a token, whatever the gradient is divided by
            for name, gradient in gradients(model).items():
                total[name] += gradient
        for name, gradient in total.items():
            torch.testing.assert_close(gradient, scale * a_token[name], rtol=1e-9, atol=1e-12, msg=name)


def test_a_batch_that_does_not_fit_into_memory_is_split_and_counted(tiny, monkeypatch):
    model = tiny.model().double()
    fill = filler(tiny, model)
    whole_nll, *_ = fill.accumulate([np.arange(20)], SyncedFlags())
    whole = gradients(model)
    loss = model.loss

    def limited(batch, *rest):
        if len(batch.src) > 5:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate a lot")
        return loss(batch, *rest)

    monkeypatch.setattr(model, "loss", limited)
    nll, _, _, word, *_ = fill.accumulate([np.arange(20)], SyncedFlags())
    assert word.splits == 2
    assert float(nll) == pytest.approx(float(whole_nll), rel=1e-12)
    for name, gradient in gradients(model).items():
        torch.testing.assert_close(gradient, whole[name], rtol=1e-9, atol=1e-12, msg=name)


def test_memory_that_runs_out_for_real_is_recognized(tiny, monkeypatch):
    model = tiny.model()
    fill = filler(tiny, model)
    loss = model.loss

    def hungry(batch, *rest):
        if len(batch.src) > 10:
            torch.empty(2**60)
        return loss(batch, *rest)

    monkeypatch.setattr(model, "loss", hungry)
    assert fill.accumulate([np.arange(20)], SyncedFlags()).flags.splits == 1


def test_a_single_pair_that_does_not_fit_is_said(tiny, monkeypatch):
    model = tiny.model()

    def never(*_):
        raise MemoryError

    monkeypatch.setattr(model, "loss", never)
    with pytest.raises(ValueError, match=r"one sentence pair alone .* try a smaller data.max_length"):
        filler(tiny, model).accumulate([np.arange(7)], SyncedFlags())


def test_an_error_of_ours_is_no_lack_of_memory(tiny, monkeypatch):
    model = tiny.model()

    def broken(*_):
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(model, "loss", broken)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        filler(tiny, model).accumulate([np.arange(7)], SyncedFlags())
