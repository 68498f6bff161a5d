"""The examples of CONTRIBUTING.md: each is applied to a copy of the source, which then has what it adds."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.commands import environment, write_lines
from tests.support.recipes import apply_edits, read_edits

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^### A (.+?)\n(.*?)(?=^##)", TEXT, re.M | re.S))
DIFFS = {name: "".join(re.findall(r"^```diff\n(.*?)^```", text, re.M | re.S)) for name, text in SECTIONS.items()}

pytestmark = [pytest.mark.slow, pytest.mark.process]

FILES = {
    "score function": {"nmt/attention/scores.py", "configs/model/attention/cosine.yaml"},
    "decoder": {
        "nmt/model/decoder/mean.py",
        "nmt/model/decoder/__init__.py",
        "configs/experiment/mean.yaml",
    },
    "cell": {"nmt/layers/cells.py", "configs/experiment/minimal_gated.yaml"},
    "search option": {"nmt/decoding/options.py", "configs/overrides/search.yaml"},
    "metric": {"nmt/analysis/metrics.py"},
}

COMMAND = """
import runpy, sys
sys.argv = ["", *{words}]
runpy.run_module("nmt.{verb}", run_name="__main__", alter_sys=True)
"""
CHECK_STEPS = """
import torch, nmt
model = nmt.load("run", device="cpu").model.double()
src, lengths = torch.tensor([[5, 6, 7, 3], [6, 3, 0, 0]]), torch.tensor([4, 2])
tgt = torch.tensor([[2, 5, 6], [2, 7, 5]])
logits, weights = model(src, lengths, tgt)
source, state = model.encode(src, lengths)
for step in range(3):
    by_step, state, of_step = model.step(tgt[:, step], state, source)
    torch.testing.assert_close(by_step, logits[:, step])
    torch.testing.assert_close(of_step, weights[:, step])
(translation,) = nmt.load("run", device="cpu").translate(["a b c"])
print(type(model.decoder).__name__, type(getattr(model.decoder, "attention", None)).__name__)
print(type(model.decoder.cell).__name__, type(model.encoder.cells[0][0]).__name__)
"""


def tree(folder: Path) -> dict[str, bytes]:
    """Every file of the copy, by its path."""
    paths = (path for name in ("nmt", "configs") for path in (folder / name).rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths if "__pycache__" not in path.parts}


@pytest.fixture
def copied(tmp_path) -> Path:
    for name in ("nmt", "configs"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def apply(copied: Path, name: str) -> None:
    """Applies an example. Only the files that its section names may change."""
    before = tree(copied)
    apply_edits(copied, DIFFS[name])
    after = tree(copied)
    assert {path for path in after if after[path] != before.get(path)} == FILES[name]
    assert before.keys() <= after.keys()


def python(folder: Path, *codes: str) -> str:
    """What a Python process prints that imports the copy and runs the codes one after another."""
    command = [sys.executable, "-c", "".join(codes)]
    variables = environment() | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=variables, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def run(verb: str, *words: str) -> str:
    """The code that runs a command."""
    return COMMAND.format(verb=verb, words=list(words))


def training(folder: Path, *words: str) -> str:
    """The code of two updates of a small model, and a validation with search, on the CPU."""
    for suffix in ("xx", "yy"):
        write_lines(folder / f"few.{suffix}", ["a b c", "b c a d", "d d"] * 4)
    small = (
        "data=files data.src=xx data.tgt=yy data.train=few data.valid=few device=cpu threads=1 run=run precision=fp32 "
    )
    small += "tokenizer.model_type=char tokenizer.vocab_size=12 tokenizer.byte_fallback=false trainer.max_epochs=null "
    small += "trainer.max_updates=2 trainer.tensorboard=false optim.schedule.warmup=1 decode.max_length=8 "
    small += "model.encoder.hidden=8 model.encoder.embedding=8 model.decoder.hidden=16 model.decoder.embedding=8"
    return run("train", *small.split(), *words)


def test_the_examples_are_these():
    assert DIFFS.keys() == FILES.keys()
    assert all(list(read_edits(diff)) for diff in DIFFS.values())


def test_each_section_names_its_files():
    for name, files in FILES.items():
        for path in files:
            assert f"`{path}`" in SECTIONS[name] or path.startswith("configs/") or f"--- {path} (new)" in DIFFS[name]


def test_a_score_function_is_added(copied):
    apply(copied, "score function")
    trained = training(copied, "+experiment=luong_general", "model/attention=cosine")
    assert "LuongDecoder CosineAttention" in python(copied, trained, CHECK_STEPS)


def test_a_decoder_is_added(copied):
    apply(copied, "decoder")
    trained = training(copied, "+experiment=mean", "model.decoder.readout=8")
    assert "MeanDecoder" in python(copied, trained, CHECK_STEPS)


def test_a_cell_is_added(copied):
    apply(copied, "cell")
    trained = training(copied, "+experiment=minimal_gated", "model.attention.size=8")
    assert "MinimalGatedCell MinimalGatedCell" in python(copied, trained, CHECK_STEPS)


def test_a_search_option_is_added(copied):
    apply(copied, "search option")
    trained = training(copied, "+experiment=rnnencdec")
    words = ["checkpoint=run", "in=few.xx", "out=out", "decode.length_penalty=none", "decode.length_reward=0.5"]
    code = """
import torch
from nmt.decoding.options import LengthPenalty, SearchOptions, length_normalize
options = SearchOptions(length_penalty=LengthPenalty.none, length_reward=0.5)
print(length_normalize(torch.tensor([[-1.0]]), 3, options).item())
"""
    printed = python(copied, trained, run("translate", *words, "device=cpu"), code)
    assert float(printed.splitlines()[-1]) == 0.5
    assert len((copied / "out").read_text(encoding="utf-8").splitlines()) == 12


def test_a_metric_is_added(copied):
    apply(copied, "metric")
    code = """
from nmt.analysis.metrics import corpus_score, measure_all
from nmt.config.schema import EvaluateConfig
print(corpus_score("chrf_words", ["a good house"], ["a good house"]).score)
print(*measure_all(["a good house"], ["a house"])[0])
EvaluateConfig(metrics=["chrf_words"])
"""
    assert python(copied, code).split() == ["100.0", "bleu", "chrf", "chrf_words", "ter"]
