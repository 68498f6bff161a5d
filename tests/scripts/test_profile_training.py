"""The profile of an update takes apart what training does."""

import importlib
from pathlib import Path

import pytest

from nmt.acceleration.fused.attention import FusedAttention
from tests.support.commands import compose_config


@pytest.fixture
def profiling(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "scripts"))
    return importlib.import_module("profile_training")


@pytest.mark.slow
def test_every_part_of_an_update_is_timed_and_nothing_stays_timed(profiling, tmp_path):
    for language, words in (("de", "ein mann geht mit dem hund"), ("en", "a man walks with the dog")):
        (tmp_path / f"train.{language}").write_text(f"{words}\n" * 60)
    overrides = ["+experiment=multi30k", "data=files", "data.src=de", "data.tgt=en", f"data.train={tmp_path / 'train'}"]
    overrides += [f"data.cache={tmp_path / 'cache'}", "tokenizer.model_type=char", "device=cpu", "batch.size=60"]
    config = compose_config(overrides)
    before = FusedAttention.forward_step
    laps = profiling.profile(config, 2)
    assert len(laps) == 2
    for lap in laps:
        assert set(lap) == {*profiling.PARTS, "tokens"}
        assert lap["  its attention"] < lap["decoder"]
        assert lap["  its attention back"] < lap["backward"]
    assert FusedAttention.forward_step is before
