import json
import subprocess
import sys

import pytest

from nmt.analysis.metrics import bleu, bleu_tokenizer, by_length, chrf, length_table, ter

HYPOTHESES = ["Two young men are outside, near many bushes.", "A man in a Blue shirt.", "", "It costs $5 — doesn't it?"]
REFERENCES = [
    "Two young, White males are outside near many bushes.",
    "A man in a blue shirt is standing on a ladder.",
    "Nothing.",
    "It costs $5, doesn't it?",
]


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    """What the sacrebleu command prints for the same lines, by metric."""
    folder = tmp_path_factory.mktemp("lines")
    for name, lines in (("hyp", HYPOTHESES), ("ref", REFERENCES)):
        (folder / name).write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    command = [sys.executable, "-m", "sacrebleu", "ref", "-i", "hyp", "-m", "bleu", "chrf", "ter", "-w", "6"]
    done = subprocess.run(command, cwd=folder, capture_output=True, check=True, text=True, encoding="utf-8")
    return {entry["name"]: entry for entry in json.loads(done.stdout)}


@pytest.mark.process
@pytest.mark.parametrize(("name", "metric"), [("BLEU", bleu), ("chrF2", chrf), ("TER", ter)])
def test_the_sacrebleu_command_gives_the_same_score(printed, name, metric):
    assert metric(HYPOTHESES, REFERENCES).score == pytest.approx(printed[name]["score"], abs=1e-5)


@pytest.mark.process
@pytest.mark.parametrize(("name", "metric"), [("BLEU", bleu), ("chrF2", chrf), ("TER", ter)])
def test_the_sacrebleu_command_gives_the_same_signature(printed, name, metric):
    assert metric(HYPOTHESES, REFERENCES).signature == printed[name]["signature"]


def test_the_references_themselves_are_perfect():
    assert bleu(REFERENCES, REFERENCES).score == pytest.approx(100)


@pytest.mark.parametrize(("metric", "worst"), [(bleu, 0), (chrf, 0), (ter, 100)])
def test_empty_translations_get_the_worst_score(metric, worst):
    assert metric(["", ""], REFERENCES[:2]).score == worst


@pytest.mark.parametrize("metric", [bleu, chrf, ter])
def test_unequal_numbers_of_lines_are_refused_with_both_numbers(metric):
    with pytest.raises(ValueError, match=r"1 translations.*2 references"):
        metric(["a"], ["a", "b"])


def test_scoring_no_line_at_all_is_refused():
    with pytest.raises(ValueError, match="nothing to score"):
        bleu([], [])


@pytest.mark.parametrize(("tgt", "name"), [("de", "13a"), ("", "13a"), ("zh", "zh"), ("zh_TW", "zh"), ("ja", "char")])
def test_the_target_language_chooses_the_tokenizer(tgt, name):
    assert bleu_tokenizer(tgt) == name


def test_the_signature_names_the_tokenizer():
    assert "|tok:zh|" in bleu(["我 爱 你"], ["我 爱 他"], tgt="zh").signature


@pytest.mark.parametrize("tgt", ["zh", "ja", "ko", "th"])
def test_every_tokenizer_runs_on_what_is_installed(tgt):
    assert bleu(["一二三四五六"], ["一二三四五六"], tgt=tgt).score == pytest.approx(100)


def test_each_length_falls_into_the_row_that_includes_it():
    rows = by_length(["a"] * 5, ["a"] * 5, [1, 10, 11, 20, 21], edges=(10, 20))
    assert [(row.low, row.high, row.sentences) for row in rows] == [(1, 10, 2), (11, 20, 2), (21, 21, 1)]


def test_rows_without_a_sentence_are_left_out():
    assert [row.low for row in by_length(["a"] * 2, ["a"] * 2, [5, 35])] == [1, 31]


def test_a_row_scores_its_own_sentences():
    rows = by_length(HYPOTHESES, REFERENCES, [30, 5, 5, 30], edges=(10,))
    assert rows[1].bleu == bleu([HYPOTHESES[0], HYPOTHESES[3]], [REFERENCES[0], REFERENCES[3]]).score


def test_edges_that_do_not_rise_are_refused():
    with pytest.raises(ValueError, match="must rise"):
        by_length(["a"], ["a"], [1], edges=(20, 10))


def test_the_table_by_length_has_a_line_for_each_row():
    assert length_table(by_length(["a"] * 2, ["a"] * 2, [5, 35])).splitlines()[1].split() == ["1-10", "1", "0.0"]
