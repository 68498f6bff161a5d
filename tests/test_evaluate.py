"""The evaluate command: gold links, what becomes of earlier results, names, and very long lines."""

import gzip
import json
import re
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from nmt import evaluate
from nmt.config.schema import DataConfig, DataKind, EvaluateConfig
from nmt.corpus import Pair
from nmt.decoding import translator
from tests.support.commands import Ended, call

pytestmark = pytest.mark.slow  # whole commands, each a second or so

TINY = [
    *(
        "tokenizer.model_type=char",
        "tokenizer.vocab_size=20",
        "tokenizer.byte_fallback=false",
        "trainer.tensorboard=false",
    ),
    *("model.encoder.hidden=6", "model.encoder.embedding=6", "model.decoder.hidden=12", "model.decoder.embedding=6"),
    *("model.decoder.readout=6", "model.attention.size=6", "trainer.max_updates=1", "trainer.valid_beam=1"),
    *("data=files", "data.train=text", "data.valid=text", "device=cpu"),
]
SRC = ["ba do ki", "lu me", "do", "ki ba", "me lu do ba"]
TGT = ["KI DO BA", "ME", "DO", "BA KI", "BA DO LU ME KI"]
LINKS = ["0-2 1-1 2-0", "0-0 1p0", "0-0", "0-1 1-0", "0-3 1-4"]
BACK = ["2-0 1-1 0-2", "0-0 0p1", "0-0", "1-0 0-1", "3-0 4-1"]
FROM_ONE = ["1-3 2-2 3-1", "1-1 2p1", "1-1", "1-2 2-1", "1-4 2-5"]
WA = ["1 1 3", "1 2 2", "1 3 1", "2 1 1 S", "2 2 1 P", "3 1 1", "4 1 2", "4 2 1", "5 1 4", "5 2 5"]


def rates(ended: Ended) -> str:
    """The line with the alignment error rate of an evaluation that went through."""
    assert ended.code == 0, ended.err
    return next(line for line in ended.out.splitlines() if line.startswith("alignment error rate"))


def write(prefix: Path, src: list[str], tgt: list[str], links: list[str] | None = None) -> None:
    """PREFIX.de, PREFIX.en and, where there are links, PREFIX.links."""
    prefix.parent.mkdir(exist_ok=True)
    for suffix, lines in (("de", src), ("en", tgt), ("links", links)):
        if lines is not None:
            Path(f"{prefix}.{suffix}").write_text("".join(f"{line}\n" for line in lines))


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A folder with RUN of de to en, and PLAIN without attention."""
    folder = tmp_path_factory.mktemp("trained")
    write(folder / "text", SRC * 4, TGT * 4)
    for name, words in (("RUN", []), ("PLAIN", ["+experiment=rnnencdec"])):
        tiny = [word for word in TINY if name != "PLAIN" or not word.startswith("model.attention.")]
        ended = call(folder, "train", *tiny, *words, "data.src=de", "data.tgt=en", f"run={name}")
        assert ended.code == 0, ended.err
    return folder


@pytest.fixture
def run(trained, tmp_path):
    """run(words, checkpoint="RUN") -> how evaluation ended in an empty folder that has test.de, test.en, test.links."""
    write(tmp_path / "test", SRC, TGT, LINKS)

    def call_evaluate(*words: str, checkpoint: str = "RUN") -> Ended:
        own = [f"checkpoint={trained / checkpoint}", "device=cpu", "decode.beam=1", "decode.max_length=9"]
        own += [] if any(word.startswith("heatmaps=") for word in words) else ["heatmaps=0"]
        own += [] if any(word.startswith("data.test=") for word in words) else ["data.test=test"]
        return call(tmp_path, "evaluate", *own, *words)

    return call_evaluate


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# Gold links


@pytest.mark.slow
def test_gold_links_of_every_format_and_direction_give_the_same_error_rate(run, tmp_path):
    expected = rates(run("out=out"))
    write(tmp_path / "back", SRC, TGT, BACK)
    assert rates(run("out=out", "data.test=back", "gold_reversed=true")) == expected
    write(tmp_path / "wa", SRC, TGT, WA)
    assert rates(run("out=out", "data.test=wa")) == expected
    write(tmp_path / "zipped", SRC, TGT)
    (tmp_path / "zipped.links.gz").write_bytes(gzip.compress((tmp_path / "test.links").read_bytes()))
    assert rates(run("out=out", "data.test=zipped")) == expected
    assert rates(run("out=out", "data.test=zipped", "gold=back.links", "gold_reversed=true")) == expected


def test_gold_links_of_a_table_lie_beside_it(run, tmp_path):
    (tmp_path / "table.tsv").write_text("".join(f"{s}\t{t}\n" for s, t in zip(SRC, TGT, strict=True)))
    (tmp_path / "table.links").write_text((tmp_path / "test.links").read_text())
    assert rates(run("out=out", "data.test=table.tsv")) == rates(run("out=out"))


def test_the_gold_links_that_were_used_and_their_direction_are_said(run):
    assert "gold links of test.links, read source first" in run("out=out").err


@pytest.mark.parametrize(
    ("links", "words", "said"),
    [
        ([], [], "test.links has links for 0 sentences but the test set test has 5 lines"),
        (LINKS[:4], [], "test.links has links for 4 sentences but the test set test has 5 lines"),
        (BACK, [], "of 2 and 1; all links fit with gold_reversed=true"),
        (LINKS, ["gold_reversed=true"], "of 2 and 1; all links fit with gold_reversed=false"),
        (FROM_ONE, [], "of 3 and 3; all links fit with 1 subtracted from each number"),
        (["0-0", "0:0", "", "", ""], [], "test.links, line 2: '0:0' is not a link"),
        ([*WA, "6 1 1"], [], "test.links, line 11: sentence 6, and the text has only 5"),
        (LINKS, ["gold=nowhere"], "nowhere: No such file"),
        (LINKS, ["gold=test.links", "data.concat=2"], "gold=test.links is about the sentences of the test set as they"),
        (LINKS, ["data.test=bare", "gold_reversed=true"], "bare.links is not there: give gold=FILE as well"),
    ],
)
def test_gold_links_that_are_not_the_test_sets_are_refused_before_anything_is_done(
    run, tmp_path, monkeypatch, links, words, said
):
    write(tmp_path / "test", SRC, TGT, links)
    write(tmp_path / "bare", SRC, TGT)
    monkeypatch.setattr(evaluate, "likelihood", None)
    assert said in run("out=out", *words).mistake
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("src", "link"), [("en", (0, 1)), ("fr", (1, 0))])
def test_the_links_of_the_demo_corpus_are_read_in_the_direction_of_the_run(tmp_path, src, link):
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "test.links").write_text("0-1\n")  # English first
    pair = {"en": "one", "fr": "un autre"}
    pairs = [Pair(pair[src], pair["fr" if src == "en" else "en"])]
    data = DataConfig(kind=DataKind.demo, src=src, cache=str(tmp_path))
    loaded = SimpleNamespace(model=SimpleNamespace(has_attention=True))
    gold = evaluate._gold(EvaluateConfig(), data, pairs, loaded)  # pyright: ignore[reportArgumentType]
    assert gold is not None
    assert gold.links[0].sure == {link}


@pytest.mark.parametrize("word", ["gold=test.links", "gold_reversed=true"])
def test_gold_links_of_a_model_without_attention_are_refused(run, word):
    assert (
        f"{word} needs attention, which this model (rnnencdec) does not have" in run(word, checkpoint="PLAIN").mistake
    )


# What evaluation needs


def test_the_optimizer_of_a_checkpoint_is_not_needed(trained, run, tmp_path):
    shutil.copytree(trained / "RUN", tmp_path / "RUN")
    for file in (tmp_path / "RUN").rglob("training.safetensors"):
        file.unlink()
    assert run("out=out", checkpoint=str(tmp_path / "RUN")).code == 0


@pytest.mark.parametrize("words", [["metrics=[ter]"], ["metrics=[chrf,bleu]"]])
def test_a_tokenizer_that_is_not_installed_is_refused_before_the_test_set_is_read(run, monkeypatch, words):
    monkeypatch.setitem(sys.modules, "MeCab", None)
    monkeypatch.setattr(evaluate.build, "read_corpus", None)
    mistake = run(*words, "data.bleu_tokenizer=ja-mecab").mistake
    assert mistake.startswith("sacreBLEU's tokenizer ja-mecab does not work here")


# What becomes of earlier results


class Interrupting(translator.Translator):
    """Is interrupted after two lines."""

    error: type[BaseException] = KeyboardInterrupt

    def translate(self, lines, **options):
        for number, nbest in enumerate(super().translate(lines, **options)):
            if number == 2:
                raise self.error("on purpose")
            yield nbest


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt, 130), (OSError, 2)])
def test_an_error_or_ctrl_c_leaves_the_old_results_and_nothing_else(run, tmp_path, monkeypatch, error, code):
    assert run("out=out", "heatmaps=2").code == 0
    before = tree(tmp_path)
    monkeypatch.setattr("nmt.build.search.Translator", Interrupting)
    monkeypatch.setattr(Interrupting, "error", error)
    assert run("out=out", "heatmaps=2").code == code
    assert tree(tmp_path) == before


def test_ctrl_c_in_the_first_evaluation_leaves_nothing(run, tmp_path, monkeypatch):
    monkeypatch.setattr("nmt.build.search.Translator", Interrupting)
    monkeypatch.setattr(Interrupting, "error", KeyboardInterrupt)
    assert run("out=new/out").code == 130
    assert not (tmp_path / "new").exists()


def test_of_another_model_in_the_same_folder_nothing_of_the_first_is_left(run, tmp_path):
    assert run("out=out", "heatmaps=2").code == 0
    (tmp_path / "out" / "notes").write_text("mine")
    assert run("out=out", checkpoint="PLAIN").code == 0
    names = {"notes", "sources.txt", "references.txt", "hypotheses.txt", "scores.json", "report.html"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names


@pytest.mark.slow
def test_two_test_sets_of_one_name_have_two_evaluations(run, trained, tmp_path):
    write(tmp_path / "one" / "same", SRC, TGT)
    write(tmp_path / "other" / "same", SRC[::-1], TGT[::-1])
    folder = trained / "RUN" / "evaluation"
    assert "evaluation/same\n" in run("data.test=one/same").out
    first = tree(folder / "same")
    ended = run("data.test=other/same")
    assert "evaluation/other-same\n" in ended.out
    assert "evaluation/same is of another text called same; this one is called other-same" in ended.err
    assert tree(folder / "same") == first
    assert (folder / "other-same" / "sources.txt").read_text().splitlines() == SRC[::-1]
    # The same texts go to the same places, and a third one of the same name to a place of its own.
    for prefix, name in (("one/same", "same"), ("other/same", "other-same")):
        assert f"evaluation/{name}\n" in run(f"data.test={prefix}").out
    write(tmp_path / "other" / "same", SRC[:2], TGT[:2])
    assert re.search("evaluation/same-[0-9a-f]{8}\n", run("data.test=other/same").out)


# Pictures and long lines


def test_every_picture_that_is_named_was_drawn(run, tmp_path):
    write(tmp_path / "odd", ["ba", "", " ".join(["ba"] * 40), "do"], ["BA", "", "BA", "DO"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(translator, "ATTENTION_PIECES", 30)
        ended = run("data.test=odd", "out=out", "heatmaps=9")
    named = [line for line in ended.out.splitlines() if line.endswith(".png")]
    assert named
    assert sorted(named) == sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.png"))
    assert "1 of them" in ended.out


@pytest.mark.slow
def test_a_line_of_ten_thousand_words_gets_no_dense_matrix(run, tmp_path):
    write(tmp_path / "long", ["ba", " ".join(["do"] * 10_000), "ki"], ["BA", "DO", "KI"], ["0-0", "9999-0", "0-0"])
    ended = run("data.test=long", "out=out", "heatmaps=3")
    assert ended.code == 0, ended.err
    assert (tmp_path / "out" / "attention.npz").stat().st_size < 10_000
    with np.load(tmp_path / "out" / "attention.npz") as matrices:
        assert matrices["1"].shape[1] == 0
    assert (tmp_path / "out" / "alignments.txt").read_text().split("\n")[1] == ""
    assert json.loads((tmp_path / "out" / "scores.json").read_text())["sentences"] == 3
