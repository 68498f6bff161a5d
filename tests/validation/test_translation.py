"""Validation: shared out over the ranks it finds the same, and it can be abandoned."""

import json

import pytest
import torch

from nmt import build
from nmt.analysis.alignment import word_attention
from nmt.analysis.attention_stats import attention_stats, attention_sums
from nmt.attention.hard import AttentionChoice, HardPrediction
from nmt.config.schema import AttentionConfig, DecodeConfig, DecoderKind, ModelConfig, TrainConfig
from nmt.corpus import read_files
from nmt.runtime.distributed import Distributed
from nmt.training.options import EarlyStoppingMetric, TrainerOptions
from nmt.validation.translation import ValidationInterrupted, distributed_translate, likelihood


def test_the_likelihood_does_not_depend_on_the_mode_the_model_was_in(tiny, tmp_path, cpu):
    trainer = tiny.trainer(tmp_path, dropout=0.5)
    batches = trainer.validator.batches
    model = trainer.state.model.train()
    first = likelihood(model, batches, cpu, Distributed())
    assert model.training
    assert likelihood(model.eval(), batches, cpu, Distributed()) == first
    assert first.tokens == int(tiny.valid.tgt_lengths.sum())


@pytest.mark.parametrize("kind", DecoderKind)
def test_the_likelihood_of_lines_too_long_for_their_weights_is_the_same(tiny, tmp_path, cpu, monkeypatch, kind):
    trainer = tiny.trainer(tmp_path, model=tiny.model(kind=kind))
    batches = trainer.validator.batches
    expected = likelihood(trainer.state.model, batches, cpu, Distributed())
    monkeypatch.setattr("nmt.validation.translation.WINDOW_WEIGHTS", 0)
    monkeypatch.setattr(type(trainer.state.model), "features", None)  # which would make them
    found = likelihood(trainer.state.model, batches, cpu, Distributed())
    assert found.tokens == expected.tokens
    assert found.nll == pytest.approx(expected.nll, rel=1e-5)


def test_who_is_asked_to_stop_abandons_the_likelihood(tiny, tmp_path, cpu):
    trainer = tiny.trainer(tmp_path)
    with pytest.raises(ValidationInterrupted):
        likelihood(trainer.state.model, trainer.validator.batches, cpu, Distributed(), lambda: True)
    assert trainer.state.model.training


def test_who_is_asked_to_stop_abandons_the_translations(tiny, tmp_path, cpu):
    trainer = tiny.trainer(tmp_path)
    asked = iter([False] * 3 + [True] * 100)
    with pytest.raises(ValidationInterrupted):
        distributed_translate(
            trainer.state.model, trainer.validator.translator, tiny.src, cpu, Distributed(), lambda: next(asked)
        )
    assert trainer.state.model.training


def test_validating_draws_no_random_numbers(tiny, tmp_path, cpu):
    trainer = tiny.trainer(tmp_path)
    before = torch.get_rng_state()
    trainer.validator.validate(trainer.state.model, cpu, Distributed())
    assert torch.equal(torch.get_rng_state(), before)


def test_a_validation_finds_the_statistics_of_the_attention_of_its_translations(tiny, tmp_path, cpu):
    trainer = tiny.trainer(tmp_path, updates=2, validate_every=2)
    trainer.train()
    found = trainer.validator.validate(trainer.state.model, cpu, Distributed())
    translations = distributed_translate(
        trainer.state.model, trainer.validator.translator, tiny.src, cpu, Distributed()
    )
    expected = attention_stats(attention_sums(word_attention(each) for each in translations))
    assert found.attention_stats == pytest.approx(expected)
    line = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])
    assert line["attention_entropy"] == pytest.approx(expected.entropy)
    assert {f"attention_{name}" for name in expected._fields} <= line.keys()


def test_a_model_without_attention_has_no_attention_statistics(tiny, tmp_path, cpu):
    trainer = tiny.trainer(tmp_path, model=tiny.model(kind=DecoderKind.fixed_vector))
    assert trainer.validator.validate(trainer.state.model, cpu, Distributed()).attention_stats is None


@pytest.mark.parametrize("metric", [EarlyStoppingMetric.bleu, EarlyStoppingMetric.loss])
def test_how_hard_attention_predicts_is_a_setting_of_every_validation(tiny, tmp_path, metric):
    valid, validator = read_files([tiny.folder / "valid"], "de", "en"), tiny.trainer(tmp_path / "run").validator
    found = []
    for choice in AttentionChoice:
        for prediction in HardPrediction:
            config = TrainConfig(
                model=ModelConfig(attention=AttentionConfig(size=8, choice=choice)),
                decode=DecodeConfig(hard_attention=prediction),
                trainer=TrainerOptions(max_updates=1, early_stopping_metric=metric),
            )
            found.append(build.validation_settings(config, valid, validator)["decode.hard_attention"])
    assert found == [None, None, "marginal", "most_probable"]
