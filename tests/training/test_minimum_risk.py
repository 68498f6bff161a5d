"""Minimum risk training: exact however an update is divided, and from a trained model alone."""

import json

import numpy as np
import pytest
import torch

from nmt.analysis.metrics import sentence_chrf
from nmt.data.batches import Batches, BatchOptions
from nmt.minimum_risk import CandidateSampler, MinimumRiskOptions, candidates, risk_loss
from nmt.runtime.distributed import Distributed
from nmt.training.consistency import LossOptions, Objective
from nmt.training.gradients import Gradients, SyncedFlags
from nmt.training.optim import Normalization, OptimizerOptions
from tests.support.commands import compose_config

OPTIONS = MinimumRiskOptions(samples=6, sharpness=0.5, cross_entropy_weight=0.3)


def gradients(model) -> dict[str, torch.Tensor]:
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


@pytest.fixture
def filler(tiny, cpu):
    """filler(model, distributed=None, **options) -> Gradients; options: of the optimizer."""

    def build(model, distributed: Distributed | None = None, **options) -> Gradients:
        return Gradients(
            model,
            Batches(tiny.encoded, BatchOptions(60)),
            loss=LossOptions(0.1, objective=Objective.minimum_risk),
            optimizer=OptimizerOptions(**options),
            device=cpu,
            distributed=distributed or Distributed(),
            candidates=CandidateSampler(OPTIONS, tiny.tokenizer.tgt, sentence_chrf, seed=1),
        )

    return build


@pytest.mark.parametrize("normalization", Normalization)
def test_the_objective_is_a_mean_over_sentences_and_over_tokens(tiny, filler, normalization):
    model = tiny.model().double()
    fill = filler(model, normalization=normalization)
    rows = np.arange(8)
    update = fill.accumulate([rows], SyncedFlags(), epoch=2)
    found = gradients(model)
    batch = fill.batches.collate(rows)
    assert fill.candidates
    loss = risk_loss(model, batch, fill.candidates.draw(model, batch, 2), OPTIONS, 0.1)
    model.zero_grad()
    divisor = 8 if normalization is Normalization.sentences else batch.tokens
    (loss.expected_cost / 8 + 0.3 * loss.cross_entropy / divisor).backward()
    for name, gradient in gradients(model).items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-9, atol=1e-12, msg=name)
    assert update.cost.item() == pytest.approx(loss.expected_cost.item())
    assert update.nll.item() == pytest.approx(loss.nll.item())
    assert (update.sentences, update.tokens) == (8, batch.tokens)
    assert 0 < update.cost.item() < 8


@pytest.mark.slow
def test_half_batches_accumulate_to_the_whole(tiny, filler, monkeypatch):
    model = tiny.model().double()
    fill, rows = filler(model), np.arange(12)
    whole = fill.accumulate([rows], SyncedFlags())
    expected = gradients(model)
    parts = fill.accumulate([rows[:3], rows[3:7], rows[7:]], SyncedFlags())
    monkeypatch.setattr(candidates, "CPU_PIECES", 300)  # so that each batch is divided
    drawn = []
    monkeypatch.setattr(fill, "_batch", lambda rows, epoch: drawn.append(len(rows)) or fill.batches.collate(rows))
    divided = fill.accumulate([rows], SyncedFlags())
    assert len(drawn) > 1
    for found in (parts, divided):
        torch.testing.assert_close((found.nll, found.cost), (whole.nll, whole.cost), rtol=1e-12, atol=0)
    for name, gradient in gradients(model).items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-9, atol=1e-12, msg=name)


def test_two_ranks_are_one_with_twice_the_batch(tiny, filler):
    model = tiny.model().double()
    rows, sent = np.arange(9), []

    class Sending(Distributed):
        """A rank that notes what it sends to the others."""

        def sum(self, tensor):
            sent.append(tensor)
            return tensor

    whole = filler(model).accumulate([rows], SyncedFlags())
    expected = torch.cat([gradient.flatten() for gradient in gradients(model).values()])
    for rank in range(2):
        filler(model, Sending(rank, 2)).accumulate([rows], SyncedFlags())
    total = sent[0] + sent[1]
    torch.testing.assert_close(total[: len(expected)], expected, rtol=1e-9, atol=1e-12)
    assert total[len(expected) :][:3].tolist() == pytest.approx([whole.nll.item(), 0.0, whole.cost.item()])


@pytest.mark.slow
def test_updates_lower_the_expected_cost(tiny, filler):
    """Of the sentences that it is trained on, all of them in each update."""
    model = tiny.model()
    fill, rows = filler(model), np.arange(8)
    optimizer, costs = torch.optim.Adam(model.parameters(), lr=0.01), []
    for _ in range(12):
        costs.append(fill.accumulate([rows], SyncedFlags()).cost.item() / len(rows))
        optimizer.step()
    assert costs[-1] < costs[0] - 0.02


def run(words: list[str]) -> None:
    from nmt import train

    train.main(compose_config(words), words)


@pytest.fixture(scope="module")
def trained(tiny, tmp_path_factory):
    """A run by cross-entropy."""
    folder = tmp_path_factory.mktemp("runs") / "trained"
    run(tiny.settings(folder, trainer__max_updates=3, trainer__save_every=0))
    return folder


def settings(tiny, folder, trained, **changes) -> list[str]:
    risk = {"loss__objective": "minimum_risk", "minimum_risk__samples": 4, "minimum_risk__cost": "chrf"}
    return tiny.settings(folder, finetune_from=trained, trainer__save_every=0, **risk, **changes)


@pytest.mark.slow
def test_a_run_logs_the_expected_cost_and_resumes_bit_for_bit(tiny, tmp_path, trained, assert_same, losses):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    run(settings(tiny, whole, trained, trainer__max_updates=4))
    run(settings(tiny, stopped, trained, trainer__max_updates=2))
    run([f"resume={stopped}", "trainer.max_updates=4"])
    assert losses(whole) == losses(stopped)
    lines = [
        [json.loads(line) for line in (each / "metrics.jsonl").read_text().splitlines()] for each in (whole, stopped)
    ]
    costs = [[line["expected_cost"] for line in each if line["kind"] == "train"] for each in lines]
    assert costs[0] == costs[1]
    assert all(0 < cost < 1 for cost in costs[0])
    assert "  expected cost 0." in (whole / "train.log").read_text()


@pytest.mark.slow
@pytest.mark.process
def test_two_processes_train_as_one(tiny, tmp_path, trained, two_ranks, everything):
    dropout = {"model__encoder__dropout": 0, "model__decoder__dropout": 0, "trainer__max_updates": 2}
    run(settings(tiny, tmp_path / "one", trained, **dropout))
    children = two_ranks(settings(tiny, tmp_path / "two", trained, **dropout))
    assert [child.wait() for child in children] == [0, 0], children[0].errors()
    one, two = (everything(tmp_path / name)["model"] for name in ("one", "two"))
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, rtol=1e-4, atol=1e-4, msg=name)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], r"samples translations from a model that is trained already: give finetune_from=RUN"),
        (["finetune_from=RUN", "guided_alignment.links=a"], r"guided_alignment\.links are of the references"),
        (["finetune_from=RUN", "model.attention.choice=hard", "loss.label_smoothing=0"], "not defined for .*=hard"),
        (["finetune_from=RUN", "loss.consistency=r_drop"], r"loss\.consistency=r_drop compares two passes"),
        (["finetune_from=RUN", "minimum_risk.samples=0"], r"minimum_risk\.samples=0 is impossible"),
        (["finetune_from=RUN", "minimum_risk.sharpness=0"], r"minimum_risk\.sharpness=0\.0 is impossible"),
    ],
)
def test_what_it_cannot_be_combined_with_is_refused(words, said):
    with pytest.raises(Exception, match=said):
        compose_config(["+experiment=bahdanau", "loss.objective=minimum_risk", *words])
