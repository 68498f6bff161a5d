"""The align command: links, scores, matrices and pictures of given pairs, and mistakes."""

import contextlib
import os
import re
import threading
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from nmt import build
from nmt.analysis.alignment import pharaoh, read_links
from tests.support.commands import call, write_lines

TINY = [
    *(
        "tokenizer.model_type=bpe",
        "tokenizer.vocab_size=30",
        "tokenizer.byte_fallback=false",
        "trainer.tensorboard=false",
    ),
    *("model.encoder.hidden=6", "model.encoder.embedding=6", "model.decoder.hidden=12", "model.decoder.embedding=6"),
    *("model.decoder.readout=6", "model.attention.size=6", "trainer.max_updates=1", "trainer.valid_beam=1"),
    *("data=files", "data.train=text", "data.valid=text", "device=cpu"),
]
SRC = ["ba do ki", "lu me", "", "do", "ki ba", "me lu do ba"]
TGT = ["KI DO BA", "ME LU", "", "", "BA KI", "BA DO LU ME"]
PAIRS = ["src=text.de", "tgt=text.en", "device=cpu"]
RUN = ["checkpoint=RUN", *PAIRS]

pytestmark = pytest.mark.slow  # whole commands, on a model that is trained first


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A folder with text.de, text.en, a RUN of de to en, a BACK of en to de and a PLAIN without attention."""
    folder = tmp_path_factory.mktemp("trained")
    write_lines(folder / "text.de", [line for line in SRC if line] * 5)
    write_lines(folder / "text.en", [line for line in TGT if line] * 5 + TGT[:1] * 5)
    for name, words in {
        "RUN": ["data.src=de", "data.tgt=en"],
        "BACK": ["data.src=en", "data.tgt=de"],
        "PLAIN": ["data.src=de", "data.tgt=en", "+experiment=rnnencdec"],
    }.items():
        tiny = [word for word in TINY if name != "PLAIN" or not word.startswith("model.attention.")]
        ended = call(folder, "train", *tiny, *words, f"run={name}")
        assert ended.code == 0, ended.err
    write_lines(folder / "text.de", SRC)
    write_lines(folder / "text.en", TGT)
    write_lines(folder / "gold", ["0-2 1-1 2-0", "0-1 1p0", "", "", "0-1 1-0", "0-3"])
    return folder


def batched(items, size: int):
    """itertools.batched of Python 3.12, as lists."""
    items = iter(items)
    while batch := list(islice(items, size)):
        yield batch


def in_bounds(links: str, src: str, tgt: str) -> bool:
    pairs = [tuple(map(int, link.split("-"))) for link in links.split()]
    return all(i < len(src.split()) and j < len(tgt.split()) for i, j in pairs)


def test_each_pair_gets_a_line_of_links_between_its_words_and_blank_ones_an_empty_line(trained):
    lines = call(trained, "align", *RUN).out.split("\n")
    assert len(lines) == len(SRC) + 1
    assert all(map(in_bounds, lines[:-1], SRC, TGT))
    assert lines[2:4] == ["", ""]
    assert any(lines)


@pytest.mark.parametrize("words", [["decode.batch_size=1"], ["out=links"]])
def test_neither_the_size_of_a_batch_nor_the_place_changes_a_byte(trained, words):
    ended = call(trained, "align", *RUN, *words)
    found = (trained / "links").read_text() if "out=links" in words else ended.out
    assert found == call(trained, "align", *RUN).out


def test_continued_pairs_are_in_the_same_batches_as_in_one_go(trained, monkeypatch):
    """With batches of two, in windows of four pairs: the last bits of a score can depend on the batch."""
    from nmt.decoding import forced

    batches, whole = [], forced._force_batch

    def noting(by, tokenizer, batch, score):
        batches.append(batch)
        return whole(by, tokenizer, batch, score)

    monkeypatch.setattr(forced, "_force_batch", noting)
    monkeypatch.setattr(forced, "windows", lambda items, limit, size: batched(items, 4))
    words = [*RUN, "out=continued", "score=true", "decode.batch_size=2"]
    assert call(trained, "align", *words).code == 0
    lines, (*_, last), size = (trained / "continued").read_bytes().splitlines(keepends=True), batches, len(batches)
    (trained / "continued").write_bytes(b"".join(lines[:5]) + b"0-")
    assert call(trained, "align", *words, "append=true").code == 0
    assert (trained / "continued").read_bytes() == b"".join(lines)
    assert batches[size:] == [last]


def test_a_longer_file_is_not_continued_and_not_changed(trained):
    (trained / "longer").write_text("0-0\n" * 7 + "precious")
    mistake = call(trained, "align", *RUN, "out=longer", "append=true").mistake
    assert "out=longer has 7 lines, and text.de only 6" in mistake
    assert (trained / "longer").read_text() == "0-0\n" * 7 + "precious"


def test_scores_stand_behind_the_links(trained):
    plain = call(trained, "align", *RUN).out.splitlines()
    scored = call(trained, "align", *RUN, "score=true").out.splitlines()
    assert [line.rpartition(" ||| ")[0] for line in scored] == plain
    scores = [float(line.rpartition(" ||| ")[2]) for line in scored]
    assert [score == 0 for score in scores] == [not (src or tgt) for src, tgt in zip(SRC, TGT, strict=True)]
    assert max(scores) <= 0


def test_matrices_and_pictures_are_made_for_each_pair_that_has_words(trained, tmp_path):
    ended = call(trained, "align", *RUN, f"soft_alignment={tmp_path}/soft.npz", f"heatmaps={tmp_path}/pictures")
    assert ended.code == 0, ended.err
    with np.load(tmp_path / "soft.npz") as soft:
        shapes = [soft[str(n)].shape for n in range(len(SRC))]
        assert shapes == [(len(tgt.split()), len(src.split())) for src, tgt in zip(SRC, TGT, strict=True)]
        assert (soft["0"].sum(1) <= 1.0001).all()
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == ["0.png", "1.png", "4.png", "5.png"]


def test_a_low_threshold_links_every_word_with_every_other(trained):
    lines = call(trained, "align", *RUN, "threshold=1e-9").out.splitlines()
    assert lines[1] == "0-0 0-1 1-0 1-1"


def test_the_posterior_has_matrices_of_its_own_and_the_same_scores(trained, tmp_path):
    plain = call(trained, "align", *RUN, "score=true", f"soft_alignment={tmp_path}/plain.npz").out.splitlines()
    ended = call(trained, "align", *RUN, "score=true", f"soft_alignment={tmp_path}/known.npz", "links_from=posterior")
    scores = [[line.rpartition(" ||| ")[2] for line in lines] for lines in (plain, ended.out.splitlines())]
    assert scores[0] == scores[1]
    with np.load(tmp_path / "plain.npz") as a, np.load(tmp_path / "known.npz") as b:
        assert a["0"].shape == b["0"].shape
        assert not np.allclose(a["0"], b["0"])


@pytest.mark.slow
def test_two_directions_make_one_set_of_links_and_one_matrix(trained, tmp_path):
    both = [*RUN, "reverse=BACK"]
    forward = call(trained, "align", *RUN, f"soft_alignment={tmp_path}/there.npz").out.splitlines()
    words = ["checkpoint=BACK", "src=text.en", "tgt=text.de", "device=cpu", f"soft_alignment={tmp_path}/back.npz"]
    backward = call(trained, "align", *words).out.splitlines()
    union = call(trained, "align", *both, "symmetrize=union", f"soft_alignment={tmp_path}/both.npz").out.splitlines()
    grown = call(trained, "align", *both).out.splitlines()
    assert grown == call(trained, "align", *both, "symmetrize=grow_diag").out.splitlines()
    for there, back, joined, some in zip(forward, backward, union, grown, strict=True):
        turned = {"-".join(reversed(link.split("-"))) for link in back.split()}
        assert set(joined.split()) == set(there.split()) | turned
        assert set(there.split()) & turned <= set(some.split()) <= set(joined.split())
    with np.load(tmp_path / "there.npz") as a, np.load(tmp_path / "back.npz") as b, np.load(tmp_path / "both.npz") as c:
        np.testing.assert_allclose(c["5"], np.sqrt(a["5"] * b["5"].T), rtol=1e-5)
        one, other = a["5"], b["5"]
    # Claims by hand, and a threshold that half of the pairs reach.
    claims = np.sqrt(one**2 / one.sum(0) * (other**2 / other.sum(0)).T)
    middle = float(np.median(claims))
    agreement = call(trained, "align", *both, "symmetrize=joint", f"threshold={middle}").out.splitlines()
    assert agreement[5] == pharaoh((src, tgt) for tgt, src in np.argwhere(claims >= middle).tolist())
    assert 0 < len(agreement[5].split()) < claims.size


def test_the_error_rate_of_a_run_is_that_of_its_links_scored_as_another_programs(trained):
    rates = call(trained, "align", *RUN, "gold=gold", "out=mine").out
    assert re.fullmatch(r"alignment error rate \d+\.\d %  \(precision \d+\.\d, recall \d+\.\d\)\n", rates)
    assert call(trained, "align", "links=mine", "gold=gold").out == rates
    assert len(list(read_links(trained / "mine"))) == len(SRC)


def test_gold_links_of_either_direction_and_format_are_the_same_links(trained):
    (trained / "turned").write_text("2-0 1-1 0-2\n1-0 0p1\n\n\n1-0 0-1\n3-0\n")
    wa = ["1 1 3 S", "1 2 2 S", "1 3 1 S", "2 1 2 S", "2 2 1 P", "5 1 2", "5 2 1", "6 1 4 S"]
    write_lines(trained / "gold.wa", wa)
    rates = call(trained, "align", *RUN, "gold=gold").out
    assert call(trained, "align", *RUN, "gold=turned", "gold_reversed=true").out == rates
    assert call(trained, "align", *RUN, "gold=gold.wa").out == rates


@pytest.mark.slow
def test_every_input_may_be_a_pipe(trained, tmp_path):
    """A named pipe, and /dev/fd/N as the shell's <(command) gives it, hold their content once."""

    def named(name):
        path = tmp_path / name
        os.mkfifo(path)
        content = (trained / name).read_bytes()
        threading.Thread(target=path.write_bytes, args=(content,), daemon=True).start()
        return path

    def unnamed(name, stack):
        ends = os.pipe()
        stack.callback(os.close, ends[0])
        with os.fdopen(ends[1], "wb") as file:
            file.write((trained / name).read_bytes())
        return f"/dev/fd/{ends[0]}"

    plain = call(trained, "align", *RUN).out
    both = call(trained, "align", *RUN, "reverse=BACK").out
    rates = call(trained, "align", *RUN, "gold=gold").out
    (trained / "links").write_text(plain)
    with contextlib.ExitStack() as stack:
        words = ["checkpoint=RUN", "device=cpu", f"tgt={unnamed('text.en', stack)}"]
        assert call(trained, "align", *words, f"src={unnamed('text.de', stack)}").out == plain
        words = ["checkpoint=RUN", "device=cpu", f"src={named('text.de')}", f"tgt={named('text.en')}"]
        assert call(trained, "align", *words, "reverse=BACK").out == both
        assert call(trained, "align", *RUN, f"gold={named('gold')}").out == rates
        words = [f"links={unnamed('links', stack)}", f"gold={unnamed('gold', stack)}"]
        assert call(trained, "align", *words).out == rates


def test_gold_links_that_were_read_the_wrong_way_and_fit_are_doubted(trained):
    write_lines(trained / "one", ["0-1 1-2 2-0"])
    write_lines(trained / "other", ["1-0 2-1 0-2"])
    ended = call(trained, "align", "links=one", "gold=other")
    assert ended.out.startswith("alignment error rate 100.0 %")
    assert "other may have been read in a wrong way: with gold_reversed=true" in ended.err
    assert call(trained, "align", "links=one", "gold=other", "gold_reversed=true").err == ""


def test_the_gold_links_themselves_have_no_error(trained):
    assert call(trained, "align", "links=gold", "gold=gold").out.startswith(
        "alignment error rate 0.0 %  (precision 100"
    )


def test_a_pair_too_long_for_the_memory_is_named_and_left_without_links(trained, monkeypatch):
    monkeypatch.setattr("nmt.decoding.batching.WINDOW_WEIGHTS", 24)
    ended = call(trained, "align", *RUN, "threshold=1e-9")
    assert ended.err.splitlines()[-2].startswith("line 6: too long to be aligned")
    assert ended.out.split("\n")[5] == ""
    assert ended.out.split("\n")[4] != ""


@pytest.mark.parametrize("how", ["union", "joint"])
def test_a_pair_too_long_in_one_direction_is_left_without_links_and_matrix(trained, tmp_path, monkeypatch, how):
    pairs, lead = list(zip(SRC, TGT, strict=True)), build.force_decode

    def forced(loaded, given, **options):
        for number, each in enumerate(lead(loaded, given, **options)):
            back = each.text == SRC[5] and number == 5
            yield each._replace(weights=each.weights[:, :0]) if back else each

    monkeypatch.setattr(build, "force_decode", forced)
    words = ["reverse=BACK", f"symmetrize={how}", "threshold=1e-9", f"soft_alignment={tmp_path}/soft.npz"]
    ended = call(trained, "align", *RUN, *words)
    assert ended.code == 0, ended.err
    assert "line 6: too long to be aligned" in ended.err
    assert [bool(line) for line in ended.out.splitlines()] == [bool(s and t) for s, t in pairs[:5]] + [False]
    with np.load(tmp_path / "soft.npz") as soft:
        assert soft["5"].shape == (4, 0)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (PAIRS, "checkpoint= is not set: give a run folder"),
        (["checkpoint=RUN"], "src= and tgt= not set: src=FILE and tgt=FILE hold the pairs"),
        (["checkpoint=RUN", "src=text.de"], "tgt= not set"),
        (["checkpoint=PLAIN", *PAIRS], "checkpoint=PLAIN needs attention, which this model (rnnencdec) does not have"),
        ([*RUN, "tgt=nowhere"], "nowhere: No such file"),
        ([*RUN, "tgt=short"], "text.de has 6 lines but short has 2"),
        ([*RUN, "src=latin1"], "latin1, line 2: not UTF-8"),
        ([*RUN, "out=text.de"], "out=text.de is the file that src= names"),
        ([*RUN, "threshold=2"], "threshold=2.0 makes no sense"),
        ([*RUN, "threshold=0"], "threshold=0.0 makes no sense"),
        ([*RUN, "decode.batch_size=0"], "decode.batch_size=0 is impossible"),
        ([*RUN, "decode.beam=3"], "decode.beam: no such key"),
        ([*RUN, "symmetrize=union"], "symmetrize=union has no effect: it needs reverse=RUN"),
        ([*RUN, "reverse=BACK", "symmetrize=average"], "symmetrize=average: no such word"),
        ([*RUN, "reverse=RUN"], "reverse=RUN translates de to en, as checkpoint= does"),
        ([*RUN, "reverse=PLAIN"], "reverse=PLAIN needs attention"),
        ([*RUN, "gold_reversed=true"], "give gold=FILE as well"),
        ([*RUN, "gold=nowhere"], "nowhere: No such file"),
        ([*RUN, "gold=short"], "short, line 1: 'ba' is not a link"),
        ([*RUN, "gold=few"], "few has links for 2 sentences but text.de has 6 lines"),
        ([*RUN, "gold=far"], "far, sentence 2: a link to source word 2 and target word 0, counted from 0, of 2 and 2"),
        ([*RUN, "gold=far.wa"], "far.wa, line 2: sentence 7, and the text has only 6"),
        (["links=gold"], "links=gold are scored against hand-made ones: give gold=FILE"),
        (["links=gold", "gold=gold", "checkpoint=RUN"], "leave checkpoint= away"),
        (["links=gold", "gold=gold", "links_from=posterior"], "leave links_from= away"),
        (["links=gold", "gold=few"], "few has links for 2 sentences but gold has 6 lines"),
    ],
)
def test_what_cannot_be_aligned_is_refused_in_one_line_before_anything_is_written(trained, words, said):
    write_lines(trained / "short", ["ba", "do"])
    write_lines(trained / "few", ["0-0", "0-0"])
    write_lines(trained / "far", ["0-0", "2-0", "", "", "", ""])
    write_lines(trained / "far.wa", ["1 1 1 S", "7 1 1 S"])
    (trained / "latin1").write_bytes(b"ba\ncaf\xe9\nba\nba\nba\nba\n")
    if not any(word.startswith(("out=", "links=")) for word in words):
        words = [*words, "out=new", "soft_alignment=new.npz"]
    assert said in call(trained, "align", *words).mistake
    assert not list(trained.glob("new*"))
    assert (trained / "text.de").read_text().split("\n")[:-1] == SRC
