"""The compare command, on evaluations that were written by hand."""

import json

import pytest
from omegaconf import OmegaConf

from nmt.config.saved import to_dict
from nmt.config.schema import DataConfig, DataKind, TrainConfig
from nmt.training.options import TrainerOptions
from tests.support import commands
from tests.support.commands import write_lines

pytestmark = pytest.mark.slow  # whole commands, each a second or so

WORDS = ["the", "old", "dog", "sees", "a", "red", "house", "and"]
SOURCES = [" ".join(WORDS[: 1 + n % 8]) for n in range(80)]
REFERENCES = [line.upper() for line in SOURCES]
GOOD = [line if n % 5 else "NO" for n, line in enumerate(REFERENCES)]
BAD = [line if n % 2 else "NO" for n, line in enumerate(REFERENCES)]


def write_run(
    folder,
    hypotheses,
    *,
    test="test",
    seed=1,
    lr=1e-3,
    synthetic_long="",
    name="bahdanau",
    sources=SOURCES,
    references=REFERENCES,
    scores=None,
    **data,
):
    """A run folder with its configuration and one evaluation. data: settings of the corpus."""
    config = TrainConfig(name=name, trainer=TrainerOptions(max_updates=1), seed=seed, run=str(folder))
    config.data = DataConfig(**data)
    config.optim.lr = lr
    place = folder / "evaluation" / test
    place.mkdir(parents=True)
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(to_dict(config))))
    for side, lines in (("sources", sources), ("references", references), ("hypotheses", hypotheses)):
        write_lines(place / f"{side}.txt", lines)
    (place / "scores.json").write_text(
        json.dumps((scores or {}) | ({"synthetic_long": synthetic_long} if synthetic_long else {}))
    )


@pytest.fixture
def call(tmp_path):
    """`python -m nmt.compare WORDS` in the test's folder -> (exit status, output, errors)."""
    return lambda *words: commands.call(tmp_path, "compare", *words)


@pytest.fixture
def refused(call):
    """The same for a mistake -> the one line that is said about it."""
    return lambda *words: call(*words).mistake


@pytest.mark.slow
def test_two_runs_are_scored_tested_and_drawn(tmp_path, call):
    write_run(tmp_path / "one", GOOD)
    write_run(tmp_path / "two", BAD, name="rnnencdec")
    code, out, err = call("runs=[one,two]", "samples=100")
    assert (code, err) == (0, "")
    found = json.loads((tmp_path / "comparison" / "comparison.json").read_text())
    assert found["runs"]["one"]["bleu"]["p"] is None
    assert found["runs"]["two"]["bleu"]["p"] < 0.05
    assert found["runs"]["one"]["bleu"]["score"] > found["runs"]["two"]["bleu"]["score"]
    assert list(found["bleu_by_length"]) == ["bahdanau", "rnnencdec"]
    assert sum(point["sentences"] for point in found["bleu_by_length"]["bahdanau"]) == len(SOURCES)
    assert (tmp_path / "comparison" / "bleu_by_length.png").read_bytes().startswith(b"\x89PNG")
    assert f"{found['runs']['two']['bleu']['score']:.2f}" in out
    assert "p: two-sided paired approximate randomization against one, 100 shuffles; * where p < 0.05" in out


def test_runs_that_differ_by_their_seed_are_one_line_with_mean_and_deviation(tmp_path, call):
    write_run(tmp_path / "one", GOOD, seed=1)
    write_run(tmp_path / "two", BAD, seed=2)
    code, out, _ = call("runs=[one,two]", "samples=40")
    assert code == 0
    found = json.loads((tmp_path / "comparison" / "comparison.json").read_text())
    scores = [found["runs"][run]["bleu"]["score"] for run in ("one", "two")]
    assert found["seeds"]["bahdanau, 2 seeds"]["bleu"]["mean"] == pytest.approx(sum(scores) / 2)
    assert found["seeds"]["bahdanau, 2 seeds"]["bleu"]["deviation"] == pytest.approx(
        abs(scores[0] - scores[1]) / 2**0.5
    )
    assert list(found["bleu_by_length"]) == ["bahdanau, 2 seeds"]
    assert "bahdanau, 2 seeds: BLEU" in out


def test_a_baseline_is_the_system_that_the_others_are_tested_against(tmp_path, call):
    write_run(tmp_path / "one", BAD, name="rnnencdec")
    write_run(tmp_path / "two", GOOD, seed=1)
    write_run(tmp_path / "three", GOOD, seed=2)
    code, out, _ = call("runs=[one,two,three]", "baseline=two", "samples=100")
    assert code == 0
    found = json.loads((tmp_path / "comparison" / "comparison.json").read_text())
    assert list(found["runs"]) == ["two", "one", "three"]
    assert found["runs"]["two"]["bleu"]["p"] is None
    baseline, other = found["seeds"]["bahdanau, 2 seeds"]["bleu"], found["seeds"]["rnnencdec"]["bleu"]
    assert (baseline["p"], baseline["deviation"], other["deviation"]) == (None, 0.0, None)
    assert other["p"] < 0.05
    assert f"rnnencdec: BLEU {other['mean']:.2f} (p {other['p']:.3f}*), chrF " in out
    assert "over systems and seeds, against bahdanau, 2 seeds, 100 shuffles" in out


def test_a_baseline_in_the_home_folder_is_found(tmp_path, call, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write_run(tmp_path / "one", BAD, name="rnnencdec")
    write_run(tmp_path / "two", GOOD)
    assert call("runs=[~/one,~/two]", "baseline=~/two", "samples=40").code == 0
    found = json.loads((tmp_path / "comparison" / "comparison.json").read_text())
    assert list(found["runs"]) == [str(tmp_path / "two"), str(tmp_path / "one")]


def test_two_test_sets_are_compared_one_after_the_other(tmp_path, call):
    for name, lines in (("one", GOOD), ("two", BAD)):
        write_run(tmp_path / name, lines, test="2016", lr=1e-3 if name == "one" else 1e-4)
        other = tmp_path / "other" / name
        write_run(other, GOOD, test="talks")
        (other / "evaluation" / "talks").rename(tmp_path / name / "evaluation" / "talks")
    code, out, _ = call("runs=[one,two]", "test=[2016,talks]", "samples=40")
    assert code == 0
    found = {
        test: json.loads((tmp_path / "comparison" / test / "comparison.json").read_text()) for test in ("2016", "talks")
    }
    assert [found[test]["test"] for test in found] == list(found)
    assert found["2016"]["runs"]["two"]["bleu"]["p"] < 0.05 < found["talks"]["runs"]["two"]["bleu"]["p"] == 1
    assert out.index("2016, 80 sentences") < out.index("talks, 80 sentences")
    assert call("runs=[one,two]", "test=2016", "samples=40")[1].startswith("2016, 80 sentences")


def test_runs_of_one_experiment_with_other_settings_are_told_apart_by_their_folders(tmp_path, call):
    write_run(tmp_path / "one", GOOD)
    write_run(tmp_path / "two", BAD, lr=1e-4)
    call("runs=[one,two]", "samples=40")
    found = json.loads((tmp_path / "comparison" / "comparison.json").read_text())
    assert list(found["bleu_by_length"]) == ["bahdanau (one)", "bahdanau (two)"]
    assert found["seeds"] == {}


def test_a_synthetic_set_is_called_so(tmp_path, call):
    write_run(tmp_path / "one", GOOD, synthetic_long="synthetic set, joined")
    assert "test, 80 sentences: synthetic set, joined" in call("runs=[one]", "samples=40")[1]


def test_of_several_test_sets_the_one_that_all_runs_have_is_taken(tmp_path, call):
    write_run(tmp_path / "one", GOOD, test="news")
    write_run(tmp_path / "two", GOOD, test="news")
    (tmp_path / "one" / "evaluation" / "other").mkdir()
    (tmp_path / "one" / "evaluation" / "other" / "scores.json").write_text("{}")
    assert call("runs=[one,two]", "samples=40")[1].startswith("news, 80 sentences\n")


def test_lines_end_at_line_feeds_only(tmp_path, call):
    write_run(tmp_path / "one", ["\u2028\x0b\x85 odd", *GOOD[1:]])
    assert call("runs=[one]", "samples=40")[0] == 0


# Languages without spaces


CHINESE = ["他们昨天去了北京大学。", "我们爱你们。", "今天天气很好。", "这本书很有意思。"] * 20
CORPUS = {"kind": DataKind.files, "src": "en", "train": ["a"], "valid": "b"}


def compared(folder, call, *words):
    code, _, err = call("runs=[one]", "samples=40", *words)
    assert code == 0
    found = json.loads((folder / "comparison" / "comparison.json").read_text(encoding="utf-8"))
    return found["signatures"]["bleu"].split("tok:")[1].split("|")[0], err


def test_the_tokenizer_is_that_of_the_evaluation_or_of_the_language_or_as_set(tmp_path, call):
    write_run(tmp_path / "one", CHINESE, references=CHINESE, tgt="zho_Hans", **CORPUS)
    assert compared(tmp_path, call) == ("zh", "")
    assert compared(tmp_path, call, "bleu_tokenizer=char") == ("char", "")
    place = tmp_path / "one" / "evaluation" / "test" / "scores.json"
    place.write_text('{"bleu_tokenizer": "intl"}')
    assert compared(tmp_path, call)[0] == "intl"


def test_text_without_spaces_under_an_unknown_code_is_warned_of(tmp_path, call):
    write_run(tmp_path / "one", CHINESE, references=CHINESE, tgt="cn", **CORPUS)
    tokenizer, err = compared(tmp_path, call)
    assert tokenizer == "13a"
    assert "no spaces between words" in err
    assert err.endswith("try bleu_tokenizer=zh\n")


def test_the_lengths_of_sources_without_spaces_are_characters(tmp_path, call):
    write_run(tmp_path / "one", GOOD, sources=CHINESE)
    code, out, _ = call("runs=[one]", "samples=40")
    assert code == 0
    assert "source characters" in out
    found = json.loads((tmp_path / "comparison" / "comparison.json").read_text())
    assert found["length_unit"] == "characters"
    assert max(point["high"] for point in found["bleu_by_length"]["bahdanau"]) == 11


def test_an_unknown_tokenizer_is_refused_with_the_known_ones(refused):
    assert refused("runs=[one]", "bleu_tokenizer=moses").startswith(
        "bleu_tokenizer=moses is not known: give one of 13a, intl, zh, char,"
    )


# What is refused


def test_nothing_to_compare_is_refused(refused):
    assert refused() == "runs= is not set: give the run folders to compare, such as runs=[runs/one,runs/another]"


def test_a_run_named_twice_is_refused(refused):
    assert refused("runs=[one,one]") == "runs= names one twice"


def test_a_baseline_that_is_none_of_the_runs_is_refused(refused):
    assert refused("runs=[one]", "baseline=two") == "baseline=two is none of the runs: give one of one"


@pytest.mark.parametrize("test", ["{a: b}", "[{a: b}]"])
def test_what_is_no_name_of_a_test_set_is_refused(refused, test):
    assert "give the name of a test set, or a list of such" in refused("runs=[one]", f"test={test}")


def test_a_test_set_named_twice_is_refused(refused):
    assert refused("runs=[one]", "test=[a,a]") == "test= names a twice"


def test_a_folder_without_a_run_is_refused(refused):
    assert refused("runs=[nowhere]") == "runs= names nowhere, which is no run folder (no config.yaml)"


def test_a_run_without_an_evaluation_is_told_the_command_that_makes_it(tmp_path, refused):
    write_run(tmp_path / "one", GOOD)
    (tmp_path / "one" / "evaluation" / "test" / "scores.json").unlink()
    assert refused("runs=[one]") == "one has no evaluation: make it with python -m nmt.evaluate checkpoint=one"


@pytest.mark.parametrize("name", ["sources.txt", "references.txt", "hypotheses.txt"])
def test_an_evaluation_that_misses_a_file_is_told_the_command_that_makes_it(tmp_path, refused, name):
    write_run(tmp_path / "one", GOOD)
    (tmp_path / "one" / "evaluation" / "test" / name).unlink()
    said = refused("runs=[one]")
    assert said.startswith(f"one/evaluation/test/{name} is missing: make it with python -m nmt.evaluate checkpoint=one")


def test_an_evaluation_of_unequal_files_is_refused_with_their_numbers(tmp_path, refused):
    write_run(tmp_path / "one", GOOD[:-1])
    said = refused("runs=[one]")
    assert "one/evaluation/test is not one whole evaluation (80 sources, 80 references, 79 hypotheses)" in said


@pytest.mark.parametrize("text", ["[", "[]", '{"bleu_tokenizer": 5}', '{"bleu_tokenizer": "moses"}'])
def test_a_damaged_scores_file_is_refused(tmp_path, refused, text):
    write_run(tmp_path / "one", GOOD)
    (tmp_path / "one" / "evaluation" / "test" / "scores.json").write_text(text)
    assert "scores.json is damaged" in refused("runs=[one]")


def test_runs_without_a_test_set_in_common_are_refused_with_what_they_have(tmp_path, refused):
    write_run(tmp_path / "one", GOOD, test="news")
    write_run(tmp_path / "two", GOOD, test="talks")
    assert "no test set on which all runs were evaluated (one: news; two: talks)" in refused("runs=[one,two]")


def test_where_there_are_several_test_sets_one_must_be_chosen(tmp_path, refused):
    write_run(tmp_path / "one", GOOD)
    (tmp_path / "one" / "evaluation" / "news").mkdir()
    (tmp_path / "one" / "evaluation" / "news" / "scores.json").write_text("{}")
    assert refused("runs=[one]") == "all runs were evaluated on news, test: choose one by test=NAME"


def test_a_name_that_would_lead_elsewhere_is_refused(tmp_path, refused):
    write_run(tmp_path / "one", GOOD)
    assert "no name for a folder" in refused("runs=[one]", "test=../x")


def test_different_texts_of_one_name_are_refused_with_the_first_line_that_differs(tmp_path, refused):
    write_run(tmp_path / "one", GOOD)
    write_run(tmp_path / "two", GOOD)
    write_lines(tmp_path / "two" / "evaluation" / "test" / "references.txt", [*REFERENCES[:6], "x", *REFERENCES[7:]])
    assert "called test: line 7 of references.txt is the first that differs" in refused("runs=[one,two]")


@pytest.mark.parametrize("word", ["samples=10", "width=0"])
def test_impossible_numbers_are_refused(refused, word):
    assert refused("runs=[one]", word).startswith(f"{word} is impossible: the least is")
