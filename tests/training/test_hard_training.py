"""Training of hard attention: a run that is stopped goes on as if it had not been, samples and baseline included."""

import numpy as np
import pytest
import torch

from nmt import build, checkpoint
from nmt.attention.hard import AttentionChoice, HardAttentionOptions, HardTraining
from nmt.config.schema import AttentionConfig, DecoderConfig, EncoderConfig, ModelConfig
from nmt.data.batches import Batch, Batches, BatchOptions
from nmt.runtime.device import Device
from nmt.runtime.distributed import Distributed
from nmt.training.gradients import Gradients, LossOptions, SyncedFlags
from nmt.training.optim import OptimizerOptions
from tests.support.commands import compose_config

pytestmark = pytest.mark.slow  # whole commands, each a second or so

REINFORCE = {
    "model__attention__choice": "hard",
    "model__attention__hard__training": "reinforce",
    "loss__label_smoothing": 0,
}


@pytest.fixture
def hard(tiny):
    """hard(training) -> a tiny model with hard attention."""

    def make(training: HardTraining):
        torch.manual_seed(1)
        options = HardAttentionOptions(training)
        config = ModelConfig(
            EncoderConfig(embedding=8, hidden=8, dropout=0.3),
            DecoderConfig(embedding=8, hidden=12, readout=8, dropout=0.3),
            AttentionConfig(size=8, choice=AttentionChoice.hard, hard=options),
        )
        return build.build_model(config, len(tiny.tokenizer.src), len(tiny.tokenizer.tgt))

    return make


@pytest.mark.parametrize("training", HardTraining)
def test_stopping_and_going_on_is_never_having_stopped(tiny, tmp_path, losses, hard, training):
    how = {"grad_accumulation": 2, "ema": 0.9}
    whole = tiny.trainer(tmp_path / "whole", updates=8, model=hard(training), **how)
    whole.train()
    tiny.trainer(tmp_path / "parts", updates=5, model=hard(training), **how).train()
    other = tiny.trainer(tmp_path / "parts", updates=8, model=hard(training), **how)
    torch.manual_seed(99)
    other.restore(checkpoint.read(other.run.last, weights_only=False))
    other.train()
    for name, weight in whole.state.model.state_dict().items():
        assert torch.equal(weight, other.state.model.state_dict()[name]), name
    assert losses(tmp_path / "whole") == losses(tmp_path / "parts")


def test_the_baseline_is_the_moving_average_of_the_logged_losses(tiny, tmp_path, hard, losses):
    trainer = tiny.trainer(tmp_path, updates=6, model=hard(HardTraining.reinforce))
    trainer.train()
    expected = 0.0
    for _, loss in losses(tmp_path):
        expected = 0.9 * expected - 0.1 * loss
    assert trainer.state.model.baseline.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
@pytest.mark.process
def test_two_ranks_that_are_stopped_go_on_with_their_samples_and_one_baseline(tiny, two_ranks, tmp_path, everything):
    """A baseline of its own on the second rank would be lost with the process."""
    own = REINFORCE | {"trainer__save_every": 0}
    assert [child.wait() for child in two_ranks(tiny.settings(tmp_path / "whole", trainer__max_updates=6, **own))] == [
        0,
        0,
    ]
    run = tmp_path / "parts"
    assert [child.wait() for child in two_ranks(tiny.settings(run, trainer__max_updates=3, **own))] == [0, 0]
    assert [child.wait() for child in two_ranks([f"resume={run}", "trainer.max_updates=6"])] == [0, 0]
    assert everything(run)["model"]["baseline"] < 0
    for name, tensor in everything(tmp_path / "whole")["model"].items():
        assert torch.equal(tensor, everything(run)["model"][name]), name


def test_half_batches_accumulate_to_the_whole_likelihood(tiny, hard):
    model = hard(HardTraining.marginal).double()
    for module in (model.encoder.dropout, model.decoder.dropout):
        module.probability = 0.0
    fill = Gradients(
        model.train(),
        Batches(tiny.encoded, BatchOptions(60)),
        loss=LossOptions(),
        optimizer=OptimizerOptions(),
        device=Device(torch.device("cpu"), torch.float32, "for tests"),
        distributed=Distributed(),
    )
    rows, found = np.arange(20), []
    for parts in ([rows], [rows[:3], rows[3:11], rows[11:]]):
        nll = fill.accumulate(parts, SyncedFlags()).nll
        found.append([nll, *(parameter.grad.clone() for parameter in model.parameters())])
    for whole, halves in zip(*found, strict=True):
        torch.testing.assert_close(whole, halves, rtol=1e-9, atol=1e-12)


def test_links_teach_the_positions(tiny, hard):
    model = hard(HardTraining.marginal)
    batch = Batches(tiny.encoded, BatchOptions(60)).collate(np.arange(4))
    pairs = batch.src, batch.src_lengths, batch.tgt_in, batch.tgt_out
    links = torch.tensor([[0, 0, 1], [1, 1, 0]])
    plain, guided = model.eval().loss(Batch.of(*pairs)), model.loss(Batch.of(*pairs, links), 0.0, 0.5)
    weights = model(*pairs[:3])[1]
    distance = -weights[0, 0, 1].log() - weights[1, 1, 0].log()
    assert float((guided.objective - plain.objective).detach()) == pytest.approx(
        0.5 * float(distance.detach()), rel=1e-4
    )
    assert guided.nll == plain.nll


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["+experiment=hard_marginal", "loss.label_smoothing=0.1"], "loss.label_smoothing=0.1 is not defined for"),
        (["+experiment=rnnencdec", "model.attention.choice=hard"], "model.decoder.kind=fixed_vector does not do"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(words, said):
    with pytest.raises(ValueError, match=said) as refusal:
        compose_config(words)
    assert "\n" not in str(refusal.value)
