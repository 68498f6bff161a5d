"""The time to a BLEU score: plain training has the reference loops."""

import runpy
import sys

from nmt import build
from scripts.time_to_bleu import train_plainly
from tests.support.commands import compose_config


def test_plain_training_has_the_reference_loops(monkeypatch):
    loops = []

    def run_module(*_, **__):
        loops.append(type(build.build_model(compose_config(sys.argv[1:]).model, 9, 9).loops).__name__)

    monkeypatch.setattr(runpy, "run_module", run_module)
    monkeypatch.setattr(sys, "argv", ["time_to_bleu.py", "--plainly"])
    train_plainly(["+experiment=bahdanau"])
    assert loops == ["PlainLoops"]
    assert type(build.build_model(compose_config([]).model, 9, 9).loops).__name__ == "FusedLoops"
