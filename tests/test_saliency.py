"""The saliency command, on a model that was trained for a moment."""

import json
import math
import os
import random
import threading

import numpy as np
import pytest

from nmt import saliency
from nmt.analysis.saliency import RankCorrelation
from scripts import draw_pair
from tests.support import commands
from tests.support.commands import write_lines

pytestmark = pytest.mark.slow  # whole commands, each a second or so

PAIRS = ["ba do", "ki lu me ba", "do", "me me ki"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with RUN, which has attention, and PLAIN, which has none; and pairs with links, text.*."""
    folder = tmp_path_factory.mktemp("trained")
    rng = random.Random(1)
    for name, count in (("train", 60), ("valid", 4)):
        lines = [" ".join(rng.choices(["ba", "do", "ki", "lu", "me"], k=rng.randint(1, 5))) for _ in range(count)]
        write_lines(folder / f"{name}.de", lines)
        write_lines(folder / f"{name}.en", [line.upper() for line in lines])
    write_lines(folder / "text.de", PAIRS)
    write_lines(folder / "text.en", [line.upper() for line in PAIRS])
    write_lines(folder / "far.links", ["2-1", "", "", ""])
    write_lines(folder / "text.links", [" ".join(f"{n}-{n}" for n in range(len(line.split()))) for line in PAIRS])
    words = ["data=files", "data.src=de", "data.tgt=en", "data.train=train", "data.valid=valid", "device=cpu"]
    words += [
        "tokenizer.model_type=char",
        "tokenizer.vocab_size=20",
        "tokenizer.byte_fallback=false",
        "trainer.max_updates=2",
    ]
    words += ["model.encoder.hidden=6", "model.decoder.hidden=6", "model.attention.size=6", "trainer.tensorboard=false"]
    for run, experiment in (("RUN", "bahdanau"), ("PLAIN", "rnnencdec")):
        own = [word for word in words if run != "PLAIN" or not word.startswith("model.attention.")]
        ended = commands.call(folder, "train", *own, f"+experiment={experiment}", f"run={run}")
        assert ended.code == 0, ended.err
    return folder


@pytest.fixture
def call(trained, tmp_path):
    """`python -m nmt.saliency WORDS device=cpu` beside the run -> (exit status, output, errors)."""
    return lambda *words: commands.call(trained, "saliency", *words, "device=cpu", f"out={tmp_path}/out")


@pytest.fixture
def refused(call, tmp_path):
    """The same for a mistake -> the one line that is said about it; nothing is written."""

    def run(*words):
        mistake = call(*words).mistake
        assert not (tmp_path / "out").exists()
        return mistake

    return run


def test_given_pairs_give_matrices_pictures_and_numbers(call, tmp_path):
    code, out, err = call("checkpoint=RUN", "src=text.de", "tgt=text.en", "heatmaps=2")
    assert (code, err) == (0, "")
    for name in ("attention", "jacobian", "input_gradient"):
        with np.load(tmp_path / "out" / f"{name}.npz") as matrices:
            assert [matrices[key].shape for key in matrices] == [(len(line.split()),) * 2 for line in PAIRS]
    assert sorted(path.name for path in (tmp_path / "out" / "heatmaps").iterdir()) == ["0.png", "1.png"]
    found = json.loads((tmp_path / "out" / "saliency.json").read_text())
    assert found["pairs"] == 4
    pair = found["rank_correlation"]["attention ~ jacobian"]
    assert pair["words"] == 9  # all but the line of one word, which ranks nothing
    assert f"{pair['tau']:.3f}" in out
    assert found["alignment"] == {}
    assert not (tmp_path / "out" / "hypotheses.txt").exists()


def test_what_it_means_is_said_in_a_sentence(call, tmp_path):
    out = call("checkpoint=RUN", "src=text.de", "tgt=text.en")[1]
    tau = json.loads((tmp_path / "out" / "saliency.json").read_text())["rank_correlation"]["attention ~ jacobian"][
        "tau"
    ]
    assert f"by the Jacobian, in {50 * (1 + tau):.0f} % of cases" in out


def test_without_translations_the_models_own_are_taken_and_kept(call, tmp_path):
    assert call("checkpoint=RUN", "src=text.de", "decode.beam=2", "heatmaps=0")[0] == 0
    hypotheses = (tmp_path / "out" / "hypotheses.txt").read_text().splitlines()
    with np.load(tmp_path / "out" / "jacobian.npz") as matrices:
        assert [len(matrices[key]) for key in matrices] == [len(line.split()) for line in hypotheses]


def test_gold_links_give_each_matrix_an_error_rate(call, tmp_path):
    out = call("checkpoint=RUN", "src=text.de", "tgt=text.en", "gold=text.links", "heatmaps=0")[1]
    found = json.loads((tmp_path / "out" / "saliency.json").read_text())["alignment"]
    assert list(found) == ["attention", "jacobian", "input_gradient"]
    assert f"alignment error rate of Jacobian {100 * found['jacobian']['aer']:.1f} %" in out


def test_reversed_gold_links_are_turned(call, tmp_path, trained):
    write_lines(trained / "turned.links", ["0-1", "0-2 1-3", "0-0", "2-0"])
    write_lines(trained / "straight.links", ["1-0", "2-0 3-1", "0-0", "0-2"])
    rates = []
    for words in (["gold=turned.links", "gold_reversed=true"], ["gold=straight.links"]):
        call("checkpoint=RUN", "src=text.de", "tgt=text.en", "heatmaps=0", *words)
        rates.append(json.loads((tmp_path / "out" / "saliency.json").read_text())["alignment"])
    assert rates[0] == rates[1]


def test_a_model_without_attention_has_its_gradients_compared(call, tmp_path):
    code, out, _ = call("checkpoint=PLAIN", "src=text.de", "tgt=text.en", "heatmaps=1")
    assert code == 0
    assert list(json.loads((tmp_path / "out" / "saliency.json").read_text())["rank_correlation"]) == [
        "jacobian ~ input_gradient"
    ]
    assert not (tmp_path / "out" / "attention.npz").exists()
    assert "Is attention explanation?" not in out


def test_without_a_word_that_both_rank_there_is_no_answer(capsys):
    one, none = RankCorrelation(0.5, 0.6, 0.3, 4), RankCorrelation(math.nan, math.nan, math.nan, 0)
    pairs = ("attention", "jacobian"), ("jacobian", "input_gradient")
    for found, answers in ((one, one), True), ((none, one), False), ((one, none), False):
        saliency._print(4, [], dict(zip(pairs, found, strict=True)), {})
        assert ("Is attention explanation?" in capsys.readouterr().out) == answers


def test_a_blank_line_keeps_the_numbering(call, tmp_path, trained):
    write_lines(trained / "blank.de", ["ba do", "", "ki"])
    write_lines(trained / "blank.en", ["BA DO", "", "KI"])
    assert call("checkpoint=RUN", "src=blank.de", "tgt=blank.en")[0] == 0
    with np.load(tmp_path / "out" / "attention.npz") as matrices:
        assert [matrices[key].shape for key in ("0", "1", "2")] == [(2, 2), (0, 0), (1, 1)]
    assert sorted(path.name for path in (tmp_path / "out" / "heatmaps").iterdir()) == ["0.png", "2.png"]


def test_a_line_that_is_too_long_is_named_and_left_without_matrices(call, tmp_path, trained, monkeypatch):
    monkeypatch.setattr(saliency, "ATTENTION_PIECES", 12)
    write_lines(trained / "long.de", ["ba do", "ki", "do", "ba do ki lu me"])
    write_lines(trained / "long.en", ["BA DO", "KI " * 6, "DO", "BA"])
    write_lines(trained / "none.links", [""] * 4)
    code, out, err = call("checkpoint=RUN", "src=long.de", "tgt=long.en", "gold=none.links")
    assert code == 0
    assert [line.partition(":")[0] for line in err.splitlines()] == ["line 2", "line 4"]
    for name in ("attention", "jacobian", "input_gradient"):
        with np.load(tmp_path / "out" / f"{name}.npz") as matrices:
            assert [matrices[key].shape for key in matrices] == [(2, 2), (6, 0), (1, 1), (1, 0)]
    assert sorted(path.name for path in (tmp_path / "out" / "heatmaps").iterdir()) == ["0.png", "2.png"]
    assert "4 pairs, 2 target words" in out


def test_progress_is_shown(call, monkeypatch):
    monkeypatch.setattr(saliency, "SAID_EVERY", 0)
    monkeypatch.setattr("nmt.analysis.saliency._COPIED_PIECES", 24)
    code, _, err = call("checkpoint=RUN", "src=text.de", "tgt=text.en", "heatmaps=0")
    assert code == 0
    assert err.startswith("pair 1 of 4, target piece 1 of 7\npair 1 of 4, target piece 2 of 7\n")
    assert err.endswith("pair 4 of 4, target piece 10 of 10\n")


@pytest.mark.parametrize("given", ["both", "source"])
def test_pairs_from_pipes_are_those_of_files(call, tmp_path, trained, given):
    def pipe(name):
        os.mkfifo(tmp_path / name)
        content = (trained / name).read_bytes()
        threading.Thread(target=(tmp_path / name).write_bytes, args=(content,), daemon=True).start()
        return tmp_path / name

    files, pipes = ["src=text.de"], [f"src={pipe('text.de')}"]
    if given == "both":
        files, pipes = [*files, "tgt=text.en"], [*pipes, f"tgt={pipe('text.en')}", f"gold={pipe('text.links')}"]
        files.append("gold=text.links")
    expected = call("checkpoint=RUN", *files)
    assert expected[0] == 0
    assert call("checkpoint=RUN", *pipes) == expected


def test_an_error_leaves_the_old_results_and_nothing_else(call, tmp_path, monkeypatch):
    assert call("checkpoint=RUN", "src=text.de")[0] == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    calls = []

    def interrupted(*given):
        calls.append(given)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return saliency_of(*given)

    saliency_of = saliency.saliency
    monkeypatch.setattr(saliency, "saliency", interrupted)
    assert call("checkpoint=RUN", "src=text.de")[0] == 130
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_given_translations_leave_nothing_of_the_models_own(call, tmp_path):
    assert call("checkpoint=RUN", "src=text.de")[0] == 0
    assert call("checkpoint=PLAIN", "src=text.de", "tgt=text.en")[0] == 0
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"jacobian.npz", "input_gradient.npz", "heatmaps", "saliency.json"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["checkpoint=RUN"], "src= is not set: src=FILE holds the source sentences, line by line"),
        (["src=text.de"], "checkpoint= is not set: give a run folder"),
        (["checkpoint=RUN", "src=nowhere"], "nowhere: No such file or directory"),
        (["checkpoint=RUN", "src=text.de", "tgt=valid.en", "gold=train.de"], "train.de, line 1:"),
        (["checkpoint=RUN", "src=text.de", "gold=text.links"], "gold=text.links holds the links of given pairs"),
        (["checkpoint=RUN", "src=text.de", "tgt=text.en", "gold_reversed=true"], "gold_reversed=true is about"),
        (["checkpoint=RUN", "src=train.de", "tgt=train.en", "gold=text.links"], "text.links has links for 4 sentences"),
        (["checkpoint=RUN", "src=text.de", "tgt=text.en", "gold=far.links"], "far.links, sentence 1: a link to source"),
        (["checkpoint=RUN", "src=text.de", "tgt=train.en"], "text.de has 4 lines but train.en has 60"),
        (["checkpoint=RUN", "src=text.de", "heatmaps=-1"], "heatmaps=-1 is impossible"),
        (["checkpoint=RUN", "src=text.de", "model.tied_embeddings=target"], "cannot be set here"),
    ],
)
def test_mistakes_are_refused_before_anything_is_written(refused, words, said):
    assert said in refused(*words)


def test_no_pairs_have_no_numbers(call, trained):
    write_lines(trained / "nothing", [])
    code, out, err = call("checkpoint=RUN", "src=nothing", "tgt=nothing", "gold=nothing")
    assert (code, err) == (0, "")
    assert out.startswith("0 pairs, 0 target words")


def test_translations_that_are_empty_are_said_in_words(call, tmp_path, trained):
    write_lines(trained / "some.en", ["BA DO", "", "", "ME ME KI"])
    out = call("checkpoint=PLAIN", "src=text.de", "tgt=some.en", "heatmaps=0")[1]
    assert "2 of 4 translations are empty and have no words to explain: line 2, 3\n" in out
    write_lines(trained / "none.en", [""] * 4)
    write_lines(trained / "empty.links", [""] * 4)
    for run in ("PLAIN", "RUN"):
        code, out, err = call(f"checkpoint={run}", "src=text.de", "tgt=none.en", "gold=empty.links", "heatmaps=0")
        assert (code, err) == (0, "")
        assert "no target word whose source words they rank" in out
        assert "4 of 4 translations are empty and have no words to explain: line 1, 2, 3, 4\n" in out
        assert "nan" not in out
    assert json.loads((tmp_path / "out" / "saliency.json").read_text())["rank_correlation"]["attention ~ jacobian"] == {
        "tau": None,
        "top": None,
        "chance": None,
        "words": 0,
    }


def test_the_picture_of_two_models_has_a_panel_for_each_matrix(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(trained)
    drawn = []
    monkeypatch.setattr(draw_pair, "draw_panels", lambda panels, *given, **more: drawn.append((panels, given)))
    draw_pair.draw(["RUN", "PLAIN"], "ki lu me", "KI LU", tmp_path / "picture.png", jacobian=True)
    draw_pair.draw(["RUN", "PLAIN"], "ki lu me", "KI LU", tmp_path / "picture.png")
    captions = [[panel.caption.split("\n")[0] for panel in panels] for panels, _ in drawn]
    assert captions == [
        ["bahdanau: attention", "bahdanau: Jacobian", "rnnencdec: Jacobian"],
        ["bahdanau", "rnnencdec: Jacobian"],
    ]
    for panels, labels in drawn:
        assert labels[:2] == (["ki", "lu", "me"], ["KI", "LU"])
        for panel in panels:
            assert panel.eos is not None
            np.testing.assert_allclose(panel.weights.sum(1) + panel.eos, 1, rtol=1e-5)


@pytest.mark.parametrize(
    ("run", "tgt", "said"),
    [
        ("RUN", " ", "an empty sentence has no words"),
        ("RUN:1", "KI", "attention_layer=1 has no effect"),
        ("RUN:last", "KI", "last is no number of a layer or a head"),
    ],
)
def test_what_cannot_be_drawn_is_refused(trained, tmp_path, monkeypatch, run, tgt, said):
    monkeypatch.chdir(trained)
    with pytest.raises(ValueError, match=said):
        draw_pair.draw([run], "ki", tgt, tmp_path / "picture.png")
