"""Consistency training: two passes in one batch, whose sums are exact however an update is divided."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from nmt.acceleration.cuda_graphs import CudaGraphs
from nmt.data.batches import Batches, BatchOptions
from nmt.data.symbols import BOS, CUT, EOS, PAD
from nmt.layers.embedding import Embedding, cut_tokens
from nmt.layers.loss import PassWeights, guided_cross_entropy
from nmt.runtime.device import Device
from nmt.runtime.distributed import Distributed
from nmt.training import consistency as consistency_module
from nmt.training import gradients as gradients_module
from nmt.training.consistency import Consistency, LossOptions, guided_passes, two_passes
from nmt.training.gradients import Gradients, SyncedFlags
from nmt.training.optim import OptimizerOptions
from tests.support.commands import compose_config

CPU = Device(torch.device("cpu"), torch.float32, "for tests")
KINDS = [Consistency.r_drop, Consistency.simcut]


def gradients(model) -> dict[str, torch.Tensor]:
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


def filler(tiny, model, kind: Consistency, distributed: Distributed | None = None) -> Gradients:
    return Gradients(
        model,
        Batches(tiny.encoded, BatchOptions(60)),
        loss=LossOptions(0.1, consistency=kind),
        optimizer=OptimizerOptions(),
        device=CPU,
        distributed=distributed or Distributed(),
    )


@pytest.fixture
def determined(monkeypatch):
    """The second pass differs from the first by what the pairs are, not by random numbers: either kind hides words."""
    monkeypatch.setattr(consistency_module, "cut_tokens", lambda tokens, _: tokens.masked_fill(tokens % 3 == 1, CUT))
    hide = lambda batch, options: two_passes(batch, replace(options, consistency=Consistency.simcut))  # noqa: E731
    monkeypatch.setattr(gradients_module, "two_passes", hide)


def test_the_weights_of_the_parts_are_the_papers():
    assert LossOptions(consistency=Consistency.r_drop).pass_weights == PassWeights(0.5, 0.5, 1.25, 1.25)
    assert LossOptions(consistency=Consistency.simcut).pass_weights == PassWeights(1.0, 0.0, 3.0, 0.0)
    chosen = LossOptions(consistency=Consistency.r_drop, consistency_weight=2.0)
    assert chosen.pass_weights == PassWeights(0.5, 0.5, 0.5, 0.5)


def test_words_are_cut_at_the_rate_and_what_is_no_word_stays():
    torch.manual_seed(1)
    tokens = torch.randint(0, 9, (200, 50))
    cut = cut_tokens(tokens, 0.25)
    words = (tokens != PAD) & (tokens != BOS) & (tokens != EOS)
    assert torch.equal(cut[~words], tokens[~words])
    assert ((cut == tokens) | (cut == CUT)).all()
    assert float((cut[words] == CUT).float().mean()) == pytest.approx(0.25, abs=0.01)


def test_a_cut_word_has_no_vector_and_no_gradient():
    table = Embedding(7, 4)
    vectors = table(torch.tensor([[4, CUT, 5]]))
    assert not vectors[0, 1].any()
    assert torch.equal(vectors[0, 0], table.weight[4])
    vectors.sum().backward()
    assert table.weight.grad is not None
    assert table.weight.grad.sum(1).tolist() == [0, 0, 0, 0, 4, 4, 0]


@pytest.mark.parametrize("kind", KINDS)
def test_the_second_pass_has_the_same_pairs_and_the_first_all_their_words(tiny, kind):
    torch.manual_seed(1)
    batch = Batches(tiny.encoded, BatchOptions(60)).collate(np.arange(20))
    both = two_passes(batch, LossOptions(consistency=kind, cut_rate=0.3))
    for name in ("src", "src_lengths", "tgt_in"):
        first, second = getattr(both, name).chunk(2)
        assert torch.equal(first, getattr(batch, name))
        cut = kind is Consistency.simcut and name != "src_lengths"
        assert torch.equal(second, first) != cut
        assert torch.equal(torch.where(second == CUT, first, second), first)
    assert both.tgt_out is batch.tgt_out


def test_the_gradient_is_that_of_two_separate_passes(tiny, determined):
    """By torch's own functions, of the reference loops, in float64."""
    model = tiny.model().double()
    fill = filler(tiny, model, Consistency.r_drop)
    nll, kl, tokens, *_ = fill.accumulate([np.arange(20)], SyncedFlags())
    found = gradients(model)
    batch = fill.batches.collate(np.arange(20))
    src, tgt_in = (side.masked_fill(side % 3 == 1, CUT) for side in (batch.src, batch.tgt_in))
    real, targets = (batch.tgt_out != PAD).flatten(), batch.tgt_out.flatten()
    p, q = (
        model(words, batch.src_lengths, given)[0].flatten(0, 1)[real].log_softmax(1)
        for words, given in ((batch.src, batch.tgt_in), (src, tgt_in))
    )
    losses = [functional.cross_entropy(each, targets[real], reduction="sum", label_smoothing=0.1) for each in (p, q)]
    divergences = [functional.kl_div(b, a, reduction="sum", log_target=True) for a, b in ((p, q), (q, p))]
    model.zero_grad()
    ((losses[0] + losses[1] + 5 / 2 * (divergences[0] + divergences[1])) / 2 / tokens).backward()
    for name, gradient in gradients(model).items():
        torch.testing.assert_close(gradient, found[name], rtol=1e-9, atol=1e-12, msg=name)
    plain = [functional.nll_loss(each.detach(), targets[real], reduction="sum") for each in (p, q)]
    assert float(nll) == pytest.approx(float(plain[0] + plain[1]) / 2)
    assert float(kl) == pytest.approx(float(divergences[0].detach() + divergences[1].detach()) / 2)
    assert float(kl) > 0


@pytest.mark.parametrize("kind", KINDS)
def test_half_batches_of_two_passes_accumulate_to_the_whole(tiny, determined, kind):
    model = tiny.model().double()
    fill, rows = filler(tiny, model, kind), np.arange(20)
    whole = fill.accumulate([rows], SyncedFlags())
    expected = gradients(model)
    halves = fill.accumulate([rows[:3], rows[3:11], rows[11:]], SyncedFlags())
    torch.testing.assert_close((halves.nll, halves.kl), (whole.nll, whole.kl), rtol=1e-12, atol=0)
    assert float(whole.kl) > 0
    for name, gradient in gradients(model).items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-9, atol=1e-12, msg=name)


@pytest.mark.parametrize("kind", KINDS)
def test_two_ranks_of_two_passes_are_one_with_twice_the_batch(tiny, determined, kind):
    model = tiny.model().double()
    rows, sent = np.arange(20), []

    class Sending(Distributed):
        """A rank that notes what it sends to the others."""

        def sum(self, tensor):
            sent.append(tensor)
            return tensor

    whole = filler(tiny, model, kind).accumulate([rows], SyncedFlags())
    expected = torch.cat([gradient.flatten() for gradient in gradients(model).values()])
    for rank in range(2):
        filler(tiny, model, kind, Sending(rank, 2)).accumulate([rows], SyncedFlags())
    total = sent[0] + sent[1]
    torch.testing.assert_close(total[: len(expected)], expected, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(total[len(expected) :][:2], torch.stack((whole.nll, whole.kl)), rtol=1e-12, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_captured_passes_of_both_give_the_same_gradients(tiny, determined, kind):
    model = tiny.model().double()
    plain, fast = filler(tiny, model, kind), filler(tiny, model, kind)
    fast.graphs = CudaGraphs(model, CPU, lambda work: work)
    for _ in range(3):
        expected = plain.accumulate([np.arange(13)], SyncedFlags())
        theirs = gradients(model)
        found = fast.accumulate([np.arange(13)], SyncedFlags())
        torch.testing.assert_close((found.nll, found.kl), (expected.nll, expected.kl), rtol=1e-12, atol=0)
        for name, gradient in gradients(model).items():
            torch.testing.assert_close(gradient, theirs[name], rtol=1e-9, atol=1e-12, msg=name)


def test_guidance_draws_at_each_pass_as_much_as_its_cross_entropy_counts():
    torch.manual_seed(0)
    attention, links = torch.rand(4, 3, 5).softmax(2), torch.tensor([[0, 1, 2], [1, 0, 0], [1, 0, 4]])
    first, second = (float(guided_cross_entropy(half, links)) for half in attention.chunk(2))
    assert float(guided_passes(attention, links, PassWeights(0.5, 0.5, 1, 1))) == pytest.approx((first + second) / 2)
    assert float(guided_passes(attention, links, PassWeights(1.0, 0.0, 3, 0))) == pytest.approx(first)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_of_two_passes_logs_their_divergence_and_resumes_bit_for_bit(tiny, tmp_path, everything, losses, kind):
    from nmt import train

    run = lambda words: train.main(compose_config(words), words)  # noqa: E731
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    options = {"loss__consistency": kind.value, "trainer__save_every": 0}
    run(tiny.settings(whole, trainer__max_updates=8, **options))
    run(tiny.settings(stopped, trainer__max_updates=4, **options))
    run([f"resume={stopped}", "trainer.max_updates=8"])
    assert losses(whole) == losses(stopped)
    one, two = everything(whole)["model"], everything(stopped)["model"]
    assert all(torch.equal(weight, two[name]) for name, weight in one.items())
    numbers = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    assert all(line["kl"] > 0 for line in numbers if line["kind"] == "train")
    assert "  kl 0." in (whole / "train.log").read_text()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"consistency_weight": 0.0}, r"loss\.consistency_weight=0\.0 is impossible"),
        ({"cut_rate": 0.0}, r"loss\.cut_rate=0\.0 is impossible"),
        ({"cut_rate": 1.0}, r"loss\.cut_rate=1\.0 is impossible"),
    ],
)
def test_a_second_pass_that_could_not_count_is_refused(options, said):
    with pytest.raises(ValueError, match=said):
        LossOptions(consistency=Consistency.simcut, **options)
