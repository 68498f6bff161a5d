"""Runs with every kind of attention: stopped and resumed, and on two ranks."""

import pytest
import torch

from nmt import train
from tests.support.commands import compose_config

EXPERIMENTS = {
    "entmax": {"normalizer": "entmax"},
    "gaussian": {"score": "gaussian", "size": None},
    "local_m": {"extent": "local_m", "window": 1},
    "local_p": {"extent": "local_p", "window": 1},
    "multihead": {"heads": 2},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_resumed_run_is_one_never_stopped_and_two_ranks_are_one(tiny, two_ranks, tmp_path, losses, everything, name):
    """The first bit for bit, the second up to rounding."""
    own = {f"model__attention__{key}": value for key, value in EXPERIMENTS[name].items()}
    own |= {"model__encoder__dropout": 0, "model__decoder__dropout": 0, "trainer__grad_accumulation": 1}
    own |= {"trainer__save_every": 0, "trainer__valid_sentences": 1, "decode__max_length": 3}
    whole, stopped, ranks = (tmp_path / run for run in ("whole", "stopped", "ranks"))
    children = two_ranks(tiny.settings(ranks, **own, trainer__max_updates=4))
    for words in (
        tiny.settings(whole, **own, trainer__max_updates=4),
        tiny.settings(stopped, **own, trainer__max_updates=2),
        [f"resume={stopped}", "trainer.max_updates=4"],
    ):
        train.main(compose_config(words), words)
    assert [child.wait() for child in children] == [0, 0], children[0].errors()
    assert losses(stopped) == losses(whole)
    weights, same = everything(whole)["model"], everything(stopped)["model"]
    assert all(torch.equal(weight, same[key]) for key, weight in weights.items())
    assert losses(ranks) == [(update, pytest.approx(loss, rel=1e-5)) for update, loss in losses(whole)]
