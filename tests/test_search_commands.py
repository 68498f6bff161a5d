"""The options of search in the commands: translate and evaluate with prefixes, sampling, groups and bounds."""

import json

import pytest

import nmt
from nmt.data.tokenizer import Tokenizer
from tests.support.commands import call
from tests.test_evaluate import SRC, TGT, trained, write  # noqa: F401 (a fixture)

pytestmark = pytest.mark.slow  # whole commands, each a second or so

OPTIONS = [
    ["decode.sampling=true", "decode.temperature=1.5", "decode.top_k=5", "decode.top_p=0.9", "decode.sampling_seed=3"],
    ["decode.beam=4", "decode.diverse_beam_groups=2", "decode.diverse_beam_strength=1"],
    ["decode.no_repeat_ngram_size=1", "decode.min_length=3", "decode.max_length_ratio=1.5"],
    ["decode.coverage_penalty=9", "decode.length_penalty=gnmt", "decode.beam=3"],
]


@pytest.fixture
def translate(trained):  # noqa: F811
    def call_translate(*words: str, lines=SRC, run="RUN"):
        asked = [f"checkpoint={run}", "device=cpu", "decode.max_length=12", *words]
        return call(trained, "translate", *asked, stdin="".join(f"{line}\n" for line in lines).encode())

    return call_translate


@pytest.mark.parametrize("words", OPTIONS, ids=" ".join)
def test_the_size_of_a_batch_changes_no_byte(translate, words):
    together, alone = (translate(*words, f"decode.batch_size={size}") for size in (64, 1))
    assert together.code == 0, together.err
    assert together.out == alone.out


def test_samples_do_not_depend_on_the_other_lines(translate):
    words = ["decode.sampling=true", "decode.nbest=2"]
    forwards = translate(*words).out.splitlines()
    backwards = translate(*words, lines=SRC[::-1]).out.splitlines()
    texts = [[line.split(" ||| ")[1:] for line in lines] for lines in (forwards, backwards)]
    assert [texts[0][row : row + 2] for row in (0, 2, 4, 6, 8)] == [texts[1][row : row + 2] for row in (8, 6, 4, 2, 0)]


def test_every_translation_begins_with_the_prefix(translate):
    assert all(line.startswith("KI BA") for line in translate("prefix=KI BA").out.splitlines())


def test_each_translation_begins_with_its_prefix(translate, tmp_path):
    prefixes = ["KI", "", "BA BA", "DO", "ME"]
    (tmp_path / "begun").write_text("".join(f"{each}\n" for each in prefixes))
    found = translate(f"prefixes={tmp_path / 'begun'}")
    lines = found.out.splitlines()
    assert all(line.startswith(prefix) for line, prefix in zip(lines, prefixes, strict=True))
    assert lines[1] == translate().out.splitlines()[1]


@pytest.mark.parametrize(
    ("lines", "said"),
    [(["KI"] * 4, "there are more lines than the 4 prefixes"), (["KI"] * 6, "has more lines than the 5 of")],
)
def test_there_is_one_prefix_for_each_line(translate, tmp_path, lines, said):
    (tmp_path / "begun").write_text("".join(f"{each}\n" for each in lines))
    found = translate(f"prefixes={tmp_path / 'begun'}")
    assert found.code == 2
    assert said in found.err.splitlines()[-1]


def test_one_prefix_and_many_exclude_each_other(translate):
    assert "give one of them" in translate("prefix=KI", "prefixes=begun").mistake


def test_a_model_without_attention_refuses_the_coverage_penalty(translate):
    found = translate("decode.coverage_penalty=0.2", run="PLAIN")
    assert "decode.coverage_penalty=0.2 needs attention" in found.err


def test_evaluation_takes_prefixes_and_samples(trained, tmp_path):  # noqa: F811
    write(tmp_path / "test", SRC, TGT)
    (tmp_path / "begun").write_text("".join(f"{line.split()[0]}\n" for line in TGT))
    words = [f"checkpoint={trained / 'RUN'}", f"data.test={tmp_path / 'test'}", "device=cpu", "heatmaps=0"]
    words += [f"out={tmp_path / 'out'}", f"prefixes={tmp_path / 'begun'}", "decode.sampling=true"]
    ended = call(tmp_path, "evaluate", *words)
    assert ended.code == 0, ended.err
    hypotheses = (tmp_path / "out" / "hypotheses.txt").read_text().splitlines()
    assert all(line.startswith(tgt.split()[0]) for line, tgt in zip(hypotheses, TGT, strict=True))
    assert "sampling, seed 1" in (tmp_path / "out" / "report.html").read_text()
    assert json.loads((tmp_path / "out" / "scores.json").read_text())["sentences"] == 5
    (tmp_path / "begun").write_text("KI\n")
    ended = call(tmp_path, "evaluate", *words)
    assert "begun has 1 lines, and the test set 5" in ended.err


ENSEMBLE = "checkpoint=[RUN,PLAIN]"


def test_an_ensemble_of_equal_models_translates_as_one(translate):
    assert translate("ensemble=log_probabilities", run="[RUN,RUN]").out == translate().out


def test_an_ensemble_is_evaluated_where_it_is_told(trained, tmp_path):  # noqa: F811
    write(tmp_path / "test", SRC, TGT, ["0-0"] * 5)
    words = [ENSEMBLE, f"data.test={tmp_path / 'test'}", "device=cpu", "heatmaps=1", "decode.max_length=9"]
    before = sorted(path for run in ("RUN", "PLAIN") for path in (trained / run).rglob("*"))
    ended = call(trained, "evaluate", *words, f"out={tmp_path / 'out'}")
    assert ended.code == 0, ended.err
    assert sorted(path for run in ("RUN", "PLAIN") for path in (trained / run).rglob("*")) == before
    assert "RUN + PLAIN" in (tmp_path / "out" / "report.html").read_text()
    assert "alignment error rate" in ended.out
    assert "give out=FOLDER as well" in call(trained, "evaluate", *words).mistake


def test_an_ensemble_aligns(trained, tmp_path):  # noqa: F811
    write(tmp_path / "test", SRC, TGT)
    words = [f"src={tmp_path / 'test.de'}", f"tgt={tmp_path / 'test.en'}", "device=cpu", "score=true"]
    equal, alone = (call(trained, "align", f"checkpoint={run}", *words) for run in ("[RUN,RUN]", "RUN"))
    assert equal.code == 0, equal.err
    both = [[line.split(" ||| ") for line in ended.out.splitlines()] for ended in (equal, alone)]
    assert [line[0] for line in both[0]] == [line[0] for line in both[1]]
    assert [float(line[1]) for line in both[0]] == pytest.approx([float(line[1]) for line in both[1]], abs=1e-4)
    assert call(trained, "align", ENSEMBLE, *words).code == 0
    posterior = call(trained, "align", ENSEMBLE, *words, "links_from=posterior")
    assert "links_from=posterior asks one model" in posterior.mistake


def test_models_of_other_vocabularies_are_no_ensemble(trained, monkeypatch):  # noqa: F811
    digests = iter("ab")
    monkeypatch.setattr(Tokenizer, "digest", lambda _self: next(digests))
    found = call(trained, "translate", ENSEMBLE, "device=cpu", stdin=b"")
    assert "names RUN and PLAIN, whose tokenizers differ" in found.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["checkpoint=RUN", "ensemble=log_probabilities"], "it needs several models; give checkpoint=[RUN,RUN]"),
        (["checkpoint={a: b}"], "give a run or checkpoint folder, or several"),
        (["checkpoint=[]"], "give a run or checkpoint folder, or several"),
    ],
)
def test_what_is_no_ensemble_is_refused(trained, words, said):  # noqa: F811
    assert said in call(trained, "translate", *words, stdin=b"").mistake


def test_python_loads_an_ensemble(trained):  # noqa: F811
    model = nmt.load([trained / "RUN", trained / "PLAIN"], device="cpu")
    (found,) = model.translate(["ba do ki"], no_repeat_ngram_size=1, prefixes=["KI"])
    assert found.text.startswith("KI")
