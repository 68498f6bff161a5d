"""Training an aligner and aligning with it, from the command line."""

import math
import re
from pathlib import Path

import numpy as np
import pytest

from nmt import checkpoint
from nmt.analysis.alignment import pharaoh
from tests.support.commands import call, write_lines

pytestmark = pytest.mark.slow  # whole commands, each a second or so

TINY = [
    *("+experiment=aligner", "data=files", "data.src=de", "data.tgt=en", "data.train=text", "data.valid=text"),
    *("tokenizer.vocab_size=30", "tokenizer.byte_fallback=false", "trainer.tensorboard=false", "device=cpu"),
    *("model.aligner.embedding=8", "model.aligner.hidden=8", "batch.size=60", "optim.schedule.warmup=2"),
]
WORDS = ["ba", "do", "ki", "lu", "me"]
SRC = ["ba do ki", "lu me", "", "do", "ki ba", "me lu do ba"]
TGT = ["KI DO BA", "ME LU", "", "", "BA KI", "BA DO LU ME"]
PAIRS = ["src=pairs.de", "tgt=pairs.en", "device=cpu"]
ALIGN = ["checkpoint=RUN", *PAIRS]


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A folder with a RUN of an aligner, text.de and text.en with gold links, and pairs.de and pairs.en, some blank."""
    folder = tmp_path_factory.mktemp("trained")
    rng = np.random.default_rng(1)
    text = [rng.choice(WORDS, size=rng.integers(2, 6), replace=False).tolist() for _ in range(150)]
    write_lines(folder / "text.de", [" ".join(words) for words in text])
    write_lines(folder / "text.en", [" ".join(reversed(words)).upper() for words in text])
    write_lines(folder / "text.links", [pharaoh((i, len(words) - 1 - i) for i in range(len(words))) for words in text])
    write_lines(folder / "pairs.de", SRC)
    write_lines(folder / "pairs.en", TGT)
    write_lines(folder / "gold", ["0-2 1-1 2-0", "0-1 1p0", "", "", "0-1 1-0", "0-3"])
    train(folder, "run=RUN", "trainer.max_epochs=10", "optim.lr=2e-2")
    return folder


def train(folder: Path, *words: str) -> str:
    ended = call(folder, "train", *TINY, *words)
    assert ended.code == 0, ended.err
    return ended.err


def test_an_aligner_learns_the_links_of_a_small_language(trained):
    log = (trained / "RUN" / "train.log").read_text()
    rates = [float(rate) for rate in re.findall(r"alignment error rate (\d+\.\d) %", log)]
    assert rates[-1] < 10
    assert call(trained, "align", *ALIGN, "gold=gold").out.startswith("alignment error rate")


@pytest.mark.slow
def test_a_run_that_was_stopped_ends_as_one_that_was_not(trained, tmp_path):
    for name in ("text.de", "text.en", "text.links"):
        (tmp_path / name).symlink_to(trained / name)
    budget = ["trainer.max_updates=8", "optim.schedule.name=constant", "trainer.validate_every=2"]
    train(tmp_path, "run=whole", *budget)
    train(tmp_path, "run=parts", *budget[1:], "trainer.max_updates=3")
    ended = call(tmp_path, "train", "resume=parts", "trainer.max_updates=8")
    assert ended.code == 0, ended.err
    snapshots = [
        checkpoint.read(tmp_path / run / "checkpoints" / "last", weights_only=False) for run in ("whole", "parts")
    ]
    for part in ("model", "training"):
        one, other = (getattr(snapshot, part) for snapshot in snapshots)
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name].numpy(), other[name].numpy(), err_msg=name)


def test_each_pair_gets_a_line_and_blank_ones_an_empty_line(trained):
    lines = call(trained, "align", *ALIGN).out.split("\n")
    assert len(lines) == len(SRC) + 1
    assert lines[0] == "0-2 1-1 2-0"
    assert lines[2:4] == ["", ""]


def test_each_direction_has_links_of_its_own_and_settings_join_them(trained):
    found = {way: call(trained, "align", *ALIGN, f"direction={way}").out for way in ("forward", "backward")}
    joined = call(trained, "align", *ALIGN, "symmetrize=union").out.splitlines()
    for there, back, both in zip(*(found[way].splitlines() for way in found), joined, strict=True):
        assert set(both.split()) == set(there.split()) | set(back.split())
    assert call(trained, "align", *ALIGN, "symmetrize=mean").out == call(trained, "align", *ALIGN).out


def test_scores_are_of_both_directions_a_word_and_confidences_the_weights_of_the_matrix(trained, tmp_path):
    words = ["score=true", "confidence=true", f"soft_alignment={tmp_path}/soft.npz", f"heatmaps={tmp_path}/pictures"]
    lines = call(trained, "align", *ALIGN, *words).out.splitlines()
    with np.load(tmp_path / "soft.npz") as soft:
        for number, line in enumerate(lines):
            links, _, scores = line.partition(" ||| ")
            assert len(scores.split()) == 2
            # log p(target | source), log p(source | target): 0 only for an empty side, of probability 1
            assert [float(score) < 0 for score in scores.split()] == [bool(TGT[number]), bool(SRC[number])]
            assert all(math.isfinite(float(score)) for score in scores.split())
            for link in links.split():
                src, tgt, weight = map(float, re.split("[-:]", link))
                assert soft[str(number)][int(tgt), int(src)] == pytest.approx(weight, abs=1e-3)
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == ["0.png", "1.png", "4.png", "5.png"]


def test_pictures_are_labelled_as_probabilities(trained, tmp_path, monkeypatch):
    labels = []
    monkeypatch.setattr("nmt.analysis.heatmap.draw", lambda *_, measure, **__: labels.append(measure))
    assert call(trained, "align", *ALIGN, f"heatmaps={tmp_path}/pictures").code == 0
    assert set(labels) == {"probability of a link"}


def test_a_pair_that_was_cut_in_half_scores_lower(trained, tmp_path):
    write_lines(tmp_path / "a.de", [SRC[0], SRC[0]])
    write_lines(tmp_path / "a.en", [TGT[0], "ME LU ME"])
    words = [f"src={tmp_path}/a.de", f"tgt={tmp_path}/a.en", "checkpoint=RUN", "score=true", "device=cpu"]
    scores = [line.partition(" ||| ")[2].split() for line in call(trained, "align", *words).out.splitlines()]
    assert all(float(good) > float(bad) for good, bad in zip(*scores, strict=True))


@pytest.mark.parametrize("cut", [0, 1, 13, 20])
@pytest.mark.parametrize("end", ["", ".gz"])
def test_a_file_that_was_cut_off_goes_on_to_the_same_bytes(trained, tmp_path, cut, end):
    place = tmp_path / f"links{end}"
    words = [*ALIGN, f"out={place}", "score=true"]
    call(trained, "align", *words)
    whole = place.read_bytes()
    place.write_bytes(whole[:cut])
    assert call(trained, "align", *words, "append=true").code == 0
    if end:
        import gzip

        assert gzip.decompress(place.read_bytes()) == gzip.decompress(whole)
    else:
        assert place.read_bytes() == whole


@pytest.mark.parametrize(
    ("command", "words", "said"),
    [
        (
            "translate",
            ["checkpoint=RUN"],
            "RUN is a word aligner, which does not translate: give it to python -m nmt.align",
        ),
        ("evaluate", ["checkpoint=RUN"], "RUN is a word aligner"),
        ("saliency", ["checkpoint=RUN", "src=pairs.de"], "RUN is a word aligner"),
        ("align", [*ALIGN, "reverse=RUN"], "reverse=RUN has no effect: an aligner has both directions"),
        ("align", [*ALIGN, "links_from=posterior"], "links_from=posterior has no effect"),
        ("align", [*ALIGN, "direction=forward", "symmetrize=union"], "it needs direction=both"),
        ("align", [*ALIGN, "append=true"], "give out=FILE as well"),
        ("align", [*ALIGN, "append=true", "out=new", "gold=gold"], "gold= needs all pairs"),
        ("train", [*TINY, "decode.beam=3"], "decode.beam=3 has no effect: model.kind=aligner has no"),
        ("train", [*TINY, "model.decoder.hidden=3"], "model.decoder.hidden=3 has no effect"),
        ("train", [*TINY, "guided_alignment.links=text.links"], "has no effect"),
        ("train", [*TINY, "trainer.early_stopping_metric=bleu"], "give loss, or aer where"),
        ("train", [*TINY, "data.valid=pairs", "trainer.early_stopping_metric=aer"], "pairs.de"),
        ("train", [*TINY[1:], "model.aligner.hidden=8"], "it needs model.kind=aligner"),
        ("train", [*TINY[1:7], "trainer.early_stopping_metric=aer"], "aer needs model.kind=aligner"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(trained, command, words, said):
    words = [*words, "run=new"] if command == "train" else words
    assert said in call(trained, command, *words).mistake


@pytest.mark.slow
def test_the_error_rate_of_validation_chooses_the_best_and_gold_links_may_lie_elsewhere(trained):
    (trained / "turned").write_text("".join(f"{line}\n" for line in turned(trained / "text.links")))
    words = ["trainer.max_updates=4", "trainer.validate_every=2", "trainer.early_stopping_metric=aer", "run=chosen"]
    log = train(trained, *words, "valid_alignment.links=turned", "valid_alignment.reversed=true")
    rates = [float(rate) for rate in re.findall(r"alignment error rate (\d+\.\d) %", log)]
    (best,) = re.findall(r"best validation aer (\d+\.\d+)", log)
    assert float(best) == pytest.approx(min(rates), abs=0.06)


def turned(path: Path) -> list[str]:
    return [
        " ".join("-".join(reversed(link.split("-"))) for link in line.split()) for line in path.read_text().splitlines()
    ]
