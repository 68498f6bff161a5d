"""The translate command: one line out for one in, whatever comes, and what was cut off is continued exactly."""

import os
import random
import signal

import pytest
import torch

from nmt import build
from nmt.config.saved import to_dict
from nmt.decoding.search import SearchOptions
from nmt.decoding.translator import ATTENTION_PIECES, Translator
from tests.support.commands import compose_config
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def run(tiny, tmp_path_factory):
    """A run of a few updates, with the settings of its model."""
    folder = tmp_path_factory.mktemp("translate") / "run"
    config = compose_config(tiny.settings(folder))
    torch.manual_seed(1)
    trainer = tiny.trainer(folder, updates=30, model=build.new_model(config, tiny.tokenizer, torch.device("cpu")))
    trainer.checkpointer.config = to_dict(config)
    trainer.train()
    return folder


@pytest.fixture
def lines(tiny) -> list[str]:
    rng = random.Random(0)
    return [" ".join(rng.choices(tiny.src, k=rng.randint(0, 3))) for _ in range(300)]


@pytest.mark.slow
@pytest.mark.parametrize("nbest", [1, 3])
def test_what_was_cut_off_at_any_byte_is_continued_exactly(start_command, run, lines, tmp_path, nbest):
    (tmp_path / "in").write_text("\n".join(lines) + "\n")
    settings = [f"checkpoint={run}", f"in={tmp_path / 'in'}", "decode.max_length=6", "decode.batch_size=2"]
    settings += ["decode.beam=3", f"decode.nbest={nbest}"]
    whole = [f"out={tmp_path / 'out'}", f"alignments={tmp_path / 'links'}"]
    assert start_command("translate", settings + whole).wait() == 0
    out, links = ((tmp_path / name).read_bytes() for name in ("out", "links"))
    assert links.count(b"\n") == 300
    rng = random.Random(nbest)
    for cut in range(3):
        (tmp_path / "cut").write_bytes(out[: rng.randrange(len(out))] if cut else out)
        (tmp_path / "cut.links").write_bytes(links[: rng.randrange(len(links))])
        again = [f"out={tmp_path / 'cut'}", f"alignments={tmp_path / 'cut.links'}", "append=true"]
        assert start_command("translate", settings + again).wait() == 0
        assert (tmp_path / "cut").read_bytes() == out
        assert (tmp_path / "cut.links").read_bytes() == links


def test_killed_in_the_middle_it_goes_on(start_command, run, lines, tmp_path):
    (tmp_path / "in").write_text("\n".join(lines) + "\n")
    settings = [f"checkpoint={run}", f"in={tmp_path / 'in'}", "decode.max_length=6", "decode.batch_size=1"]
    assert start_command("translate", [*settings, f"out={tmp_path / 'whole'}"]).wait() == 0
    out = tmp_path / "out"
    child = start_command("translate", [*settings, f"out={out}", "append=true"])
    wait_until(lambda: out.exists() and out.stat().st_size)
    child.kill()
    child.wait()
    assert start_command("translate", [*settings, f"out={out}", "append=true"]).wait() == 0
    assert out.read_bytes() == (tmp_path / "whole").read_bytes()


def test_skipped_lines_leave_the_others_as_they_are(tiny, lines):
    translator = Translator(tiny.model().eval(), tiny.tokenizer, SearchOptions(beam=2, max_length=6), batch_size=3)
    whole = list(translator.translate(lines[:60], window=9))
    for skip in (0, 1, 9, 31, 59, 60, 70):
        rest = list(translator.translate(lines[:60], window=9, skip=skip))
        assert [(each[0].text, each[0].score) for each in rest] == [(w[0].text, w[0].score) for w in whole[skip:]]


ODD = [
    b"",
    b" ",
    b"\t\x0b\x0c",
    b"... !!! ???",
    "\U0001f600 \U0001f468\u200d\U0001f469\u200d\U0001f467 \ufe0f".encode(),
    "日本語 עברית العربية".encode(),
    b"\x00\x01\x1b[31m\x7f",
    "a\u2028b\u2029c\u0085d\x1ee".encode(),
    b"der\rhund\r",
    "\ufeffhund".encode(),
    ("e\u0301" * 200).encode(),
    b"haus",
]


def test_one_line_comes_out_for_each_whatever_it_is(start_command, run, tmp_path):
    odd = list(ODD)
    odd.append(b" ".join([b"e"] * 10_000))
    (tmp_path / "in").write_bytes(b"\n".join(odd))  # the last without its end
    out, links = tmp_path / "out", tmp_path / "links"
    settings = [f"checkpoint={run}", f"in={tmp_path / 'in'}", f"out={out}", f"alignments={links}"]
    child = start_command("translate", [*settings, "decode.max_length=5", "decode.beam=2"])
    assert child.wait() == 0, child.errors()
    for path in (out, links):
        data = path.read_bytes()
        assert data.count(b"\n") == len(odd)
        assert data.endswith(b"\n")
    texts = out.read_bytes().decode().split("\n")
    assert texts[0] == texts[1] == texts[2] == ""
    assert all(len(text.splitlines()) <= 1 for text in texts)


def test_a_line_too_long_for_its_attention_is_translated_without_and_disturbs_no_other(tiny):
    translator = Translator(tiny.model().eval(), tiny.tokenizer, SearchOptions(beam=2, max_length=4), batch_size=4)
    long = " ".join(["hund"] * (ATTENTION_PIECES // 4))
    (first,), (endless,), (last,) = translator.translate(["der hund", long, "haus"])
    assert first.weights.size
    assert last.weights.size
    assert endless.weights.shape[1] == 0
    assert len(endless.src_pieces) > ATTENTION_PIECES


def test_bytes_that_are_no_text_are_named_by_line(start_command, run, tmp_path):
    (tmp_path / "in").write_bytes(b"haus\n\xff\xfe\n")
    child = start_command("translate", [f"checkpoint={run}", f"in={tmp_path / 'in'}"])
    assert child.wait() == 2
    assert f"{tmp_path / 'in'}, line 2: not UTF-8" in child.errors()
    assert len(child.errors().splitlines()) == 1


def test_an_output_that_is_no_beginning_is_refused(start_command, run, tmp_path):
    (tmp_path / "in").write_text("haus\n")
    (tmp_path / "out").write_text("a\nb\n")
    settings = [f"checkpoint={run}", f"in={tmp_path / 'in'}"]
    child = start_command("translate", [*settings, f"out={tmp_path / 'out'}", "append=true"])
    assert child.wait() == 2
    assert "has 2 translations" in child.errors()
    assert (tmp_path / "out").read_text() == "a\nb\n"
    child = start_command("translate", [*settings, f"out={tmp_path / 'in'}"])
    assert child.wait() == 2
    assert "is the file that in= names" in child.errors()
    assert (tmp_path / "in").read_text() == "haus\n"
    child = start_command("translate", [*settings, "append=true"])
    assert child.wait() == 2
    assert "give out=FILE as well" in child.errors()


def test_a_reader_that_leaves_ends_it_quietly(start_command, run, lines, tmp_path):
    (tmp_path / "in").write_text("\n".join(lines) * 5)
    reading, writing = os.pipe()

    def to_pipe() -> None:
        os.dup2(writing, 1)
        os.close(reading)
        os.close(writing)

    child = start_command(
        "translate", [f"checkpoint={run}", f"in={tmp_path / 'in'}", "decode.batch_size=1"], prepare=to_pipe
    )
    os.close(writing)
    assert os.read(reading, 1)
    os.close(reading)
    assert child.wait() == 0
    assert child.errors() == ""


def test_ctrl_c_ends_it_with_whole_lines_and_no_traceback(start_command, run, lines, tmp_path):
    (tmp_path / "in").write_text("\n".join(lines * 20) + "\n")
    out = tmp_path / "out"
    child = start_command(
        "translate", [f"checkpoint={run}", f"in={tmp_path / 'in'}", f"out={out}", "decode.batch_size=1"]
    )
    wait_until(lambda: out.exists() and out.stat().st_size)
    child.kill(signal.SIGINT)
    assert child.wait() == 130
    assert child.errors() == ""
    assert out.read_bytes().endswith(b"\n")
