"""Text as a person meets it: raw in and raw out, and one clear line for what is no text."""

import subprocess
import sys
from pathlib import Path

import pytest

import nmt
from tests.support.commands import call

ODD = [
    "你好，世界！（全角）：ＡＢＣ１２３",  # noqa: RUF001
    "Qui\u00a0? «\u202foui\u00a0» … ½ ¼ № ™ ﬁn oﬃce ²³ Å Ω ℃",
    "e\u0301 \u1100\u1161\u11a8 ｶﾞ カ\u3099 ㍍ ㈱ Ⅷ ①",
    "zero\u200bwidth so\u00adft jo\u200din \ufeffmark",
    "\u2581\u2582\u2585\u2588 \ufffd ⁇ <unk> </s>",
    "全角\u3000空白\u3000\u3000二つ\ttab  two  spaces ",
    " \u00a0before 1\u00a0000\u2009000 and after\u00a0",
    "\x07bell \x1bescape \x7fdelete",
]
SMALL = (
    "data=files data.src=xx data.tgt=yy data.cache=cache device=cpu threads=1 tokenizer.model_type=char "
    "tokenizer.vocab_size=999 "
    "model.encoder.hidden=48 model.encoder.embedding=48 model.decoder.hidden=96 model.decoder.embedding=48 "
    "model.decoder.readout=48 model.attention.size=48 model.encoder.dropout=0 model.decoder.dropout=0 optim.lr=5e-3 "
    "loss.label_smoothing=0 optim.schedule.warmup=10 trainer.max_epochs=null trainer.validate_every=10000 "
    "trainer.save_every=0 trainer.tensorboard=false data.train=train data.valid=train"
)


WHOLE = "data.test=train decode.max_length=200 threads=1 out=out heatmaps=0".split()  # noqa: SIM905


def run(folder: Path, *words: str) -> subprocess.CompletedProcess:
    environment = {
        "PYTHONPATH": str(Path(nmt.__file__).parents[1]),
        "PATH": "/usr/bin:/bin",
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(folder / "hub"),
        "LC_ALL": "C.UTF-8",
    }
    command = [sys.executable, "-m", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, env=environment, check=False, encoding="utf-8")


@pytest.mark.slow
def test_a_set_to_score_that_is_blank_throughout_is_refused(tmp_path):
    for name, lines in (("train", "one two three\n" * 30), ("blank", "\n" * 5)):
        for side in ("xx", "yy"):
            (tmp_path / f"{name}.{side}").write_text(lines)
    words = ["+experiment=bahdanau", *SMALL.split(), "trainer.max_updates=1", "run=run"]
    said = "blank: all 5 pairs are blank on a side, so there is nothing to score"
    assert said in call(tmp_path, "train", *words, "data.valid=blank").err.splitlines()[-1]
    assert not (tmp_path / "run").exists()
    assert call(tmp_path, "train", *words).code == 0
    ended = call(tmp_path, "evaluate", "checkpoint=run", "data.test=blank", "threads=1")
    assert (ended.code, ended.err.splitlines()[-1]) == (2, f"error: {said}")


@pytest.mark.slow
def test_a_memorized_test_set_of_odd_characters_comes_back_byte_for_byte(tmp_path):
    sources = "".join(f"{word}\n" for word in "one two three four five six seven eight".split())  # noqa: SIM905
    (tmp_path / "train.xx").write_text(sources)
    targets = "".join(f"{line}\n" for line in ODD).encode()
    (tmp_path / "train.yy").write_bytes(targets)
    ended = run(tmp_path, "nmt.train", "+experiment=bahdanau", *SMALL.split(), "trainer.max_updates=200", "run=run")
    assert ended.returncode == 0, ended.stderr
    ended = run(tmp_path, "nmt.evaluate", "checkpoint=run", *WHOLE)
    assert "BLEU 100.00" in ended.stdout, ended
    assert (tmp_path / "out" / "hypotheses.txt").read_bytes() == targets
