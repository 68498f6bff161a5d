"""Validation: shared out over the ranks it finds the same, and it can be abandoned."""

import pytest
import torch

from nmt.training.device import Ranks
from nmt.training.validation import Abandoned, likelihood, translate_together


def test_the_likelihood_does_not_depend_on_the_mode_the_model_was_in(tiny, tmp_path, cpu):
    trainer = tiny.trainer(tmp_path, dropout=0.5)
    batches = trainer.validator.batches
    model = trainer.model.train()
    first = likelihood(model, batches, cpu, Ranks())
    assert model.training
    assert likelihood(model.eval(), batches, cpu, Ranks()) == first
    assert first.tokens == int(tiny.valid.tgt_lengths.sum())


def test_who_is_asked_to_stop_abandons_the_likelihood(tiny, tmp_path, cpu):
    trainer = tiny.trainer(tmp_path)
    with pytest.raises(Abandoned):
        likelihood(trainer.model, trainer.validator.batches, cpu, Ranks(), lambda: True)
    assert trainer.model.training


def test_who_is_asked_to_stop_abandons_the_translations(tiny, tmp_path, cpu):
    trainer = tiny.trainer(tmp_path)
    asked = iter([False] * 3 + [True] * 100)
    with pytest.raises(Abandoned):
        translate_together(trainer.model, trainer.validator.translator, tiny.src, cpu, Ranks(), lambda: next(asked))
    assert trainer.model.training


def test_validating_draws_no_random_numbers(tiny, tmp_path, cpu):
    trainer = tiny.trainer(tmp_path)
    before = torch.get_rng_state()
    trainer.validator.validate(trainer.model, cpu, Ranks())
    assert torch.equal(torch.get_rng_state(), before)
