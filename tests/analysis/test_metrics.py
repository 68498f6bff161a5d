import json
import subprocess
import sys
import time

import pytest

from nmt.analysis import metrics
from nmt.analysis.by_length import by_length, length_table
from nmt.analysis.metrics import METRICS, Limits, corpus_score, measure_all

HYPOTHESES = ["Two young men are outside, near many bushes.", "A man in a Blue shirt.", "", "It costs $5 — doesn't it?"]
REFERENCES = [
    "Two young, White males are outside near many bushes.",
    "A man in a blue shirt is standing on a ladder.",
    "Nothing.",
    "It costs $5, doesn't it?",
]

DEFAULT = [name for name, metric in METRICS.items() if metric.default]


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    """What the sacrebleu command prints for the same lines, by metric."""
    folder = tmp_path_factory.mktemp("lines")
    for name, lines in (("hyp", HYPOTHESES), ("ref", REFERENCES)):
        (folder / name).write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    command = [sys.executable, "-m", "sacrebleu", "ref", "-i", "hyp", "-m", "bleu", "chrf", "ter", "-w", "6"]
    done = subprocess.run(command, cwd=folder, capture_output=True, check=True, text=True, encoding="utf-8")
    return {entry["name"].removesuffix("2").lower(): entry for entry in json.loads(done.stdout)}


@pytest.mark.process
@pytest.mark.parametrize("name", DEFAULT)
def test_the_sacrebleu_command_gives_the_same_score(printed, name):
    assert corpus_score(name, HYPOTHESES, REFERENCES).score == pytest.approx(printed[name]["score"], abs=1e-5)


@pytest.mark.process
@pytest.mark.parametrize("name", DEFAULT)
def test_the_sacrebleu_command_gives_the_same_signature(printed, name):
    assert corpus_score(name, HYPOTHESES, REFERENCES).signature == printed[name]["signature"]


@pytest.mark.parametrize("name", DEFAULT)
def test_the_statistics_of_the_sentences_sum_up_to_the_score(name):
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF
    from sacrebleu.metrics.ter import TER

    whole = {"bleu": BLEU, "chrf": CHRF, "ter": TER}[name]().corpus_score(HYPOTHESES, [REFERENCES]).score
    scorer = METRICS[name].build("13a")
    statistics = scorer.statistics(HYPOTHESES, REFERENCES)
    assert len(statistics) == len(HYPOTHESES)
    assert scorer.score(statistics.sum(axis=0)) == whole


def test_the_references_themselves_are_perfect():
    assert corpus_score("bleu", REFERENCES, REFERENCES).score == pytest.approx(100)


@pytest.mark.parametrize(("name", "worst"), [("bleu", 0), ("chrf", 0), ("ter", 100)])
def test_empty_translations_get_the_worst_score(name, worst):
    assert corpus_score(name, ["", ""], REFERENCES[:2]).score == worst


@pytest.mark.parametrize("name", DEFAULT)
def test_unequal_numbers_of_lines_are_refused_with_both_numbers(name):
    with pytest.raises(ValueError, match=r"1 translations.*2 references"):
        corpus_score(name, ["a"], ["a", "b"])


def test_scoring_no_line_at_all_is_refused():
    with pytest.raises(ValueError, match="nothing to score"):
        corpus_score("bleu", [], [])


def test_the_signature_names_the_tokenizer():
    assert "|tok:zh|" in corpus_score("bleu", ["我 爱 你"], ["我 爱 他"], tokenizer="zh").signature
    assert "|tok:zh+tercom|" in corpus_score("ter", ["我 爱 你"], ["我 爱 他"], tokenizer="zh").signature


@pytest.mark.parametrize("tokenizer", ["zh", "char", "intl", "none"])
def test_every_tokenizer_runs_on_what_is_installed(tokenizer):
    assert corpus_score(
        "bleu", ["一 二 三 四 五 六"], ["一 二 三 四 五 六"], tokenizer=tokenizer
    ).score == pytest.approx(100)


def test_a_tokenizer_that_is_not_installed_is_refused_with_what_to_try(monkeypatch):
    def fail(tokenize, **_options):
        raise RuntimeError("\nJapanese tokenization requires extra dependencies\n\n    pip install sacrebleu[ja]\n")

    monkeypatch.setattr("sacrebleu.metrics.bleu.BLEU", fail)
    with pytest.raises(ValueError, match=r"^sacreBLEU's tokenizer ja-mecab .*\[ja\]\): try data.bleu_tokenizer=char$"):
        METRICS["bleu"].build("ja-mecab")


@pytest.mark.parametrize(
    ("tokenizer", "reference", "hypothesis"),
    [("zh", "他们昨天去了北京大学。", "他们今天去了北京大学。"), ("char", "วันนี้อากาศดีมาก", "วันนี้อากาศดีจัง")],
)
def test_nearly_right_text_without_spaces_has_a_small_translation_edit_rate(tokenizer, reference, hypothesis):
    assert corpus_score("ter", [hypothesis], [reference]).score == 100
    assert 0 < corpus_score("ter", [hypothesis], [reference], tokenizer=tokenizer).score < 30


# Slow metrics


LONG = " ".join(f"w{k % 50}" for k in range(1000))


def test_a_very_long_sentence_is_left_out_of_the_translation_edit_rate_and_said_so():
    begun = time.process_time()
    measured, remarks = measure_all([*HYPOTHESES, LONG], [*REFERENCES, LONG[::-1]], limits=Limits(tokens=100))
    assert time.process_time() - begun < 5
    without = corpus_score("ter", HYPOTHESES, REFERENCES)
    assert measured["ter"].score == (without.score, without.signature + "|longest:100", 1)
    assert remarks == ["TER leaves out 1 of 5 sentences, those of more than 100 tokens (ter_max_tokens)"]
    assert measured["bleu"].score.left_out == measured["chrf"].score.left_out == 0


def test_a_translation_edit_rate_that_takes_too_long_is_given_up_and_said_so(monkeypatch):
    clock = iter(range(100))
    monkeypatch.setattr(metrics.time, "monotonic", lambda: float(next(clock)))
    measured, remarks = measure_all(HYPOTHESES, REFERENCES, limits=Limits(seconds=2.5))
    assert list(measured) == ["bleu", "chrf"]
    assert remarks == ["TER is not computed: 2.5 s were over after 2 of 4 sentences (ter_max_seconds)"]


def test_sentences_that_are_all_too_long_have_no_translation_edit_rate():
    measured, remarks = measure_all(HYPOTHESES[:1], REFERENCES[:1], limits=Limits(tokens=3))
    assert list(measured) == ["bleu", "chrf"]
    assert remarks == ["TER is not computed: every sentence has more than 3 tokens (ter_max_tokens)"]


def test_the_metrics_that_are_asked_for_are_computed_and_no_others():
    assert list(measure_all(HYPOTHESES, REFERENCES, names=["chrf"])[0]) == ["chrf"]


# Scores by length


def table(hypotheses, references, lengths, **options):
    return by_length(measure_all(hypotheses, references)[0], lengths, **options)


def test_each_length_falls_into_the_row_that_includes_it():
    rows = table(["a"] * 5, ["a"] * 5, [1, 10, 11, 20, 21], edges=(10, 20))
    assert [(row.low, row.high, row.sentences) for row in rows] == [(1, 10, 2), (11, 20, 2), (21, 21, 1)]


def test_rows_without_a_sentence_are_left_out():
    assert [row.low for row in table(["a"] * 2, ["a"] * 2, [5, 35])] == [1, 31]


def test_a_row_scores_its_own_sentences():
    rows = table(HYPOTHESES, REFERENCES, [30, 5, 5, 30], edges=(10,))
    own = [HYPOTHESES[0], HYPOTHESES[3]], [REFERENCES[0], REFERENCES[3]]
    assert rows[1].scores == {name: corpus_score(name, *own).score for name in DEFAULT}


def test_a_row_of_sentences_that_a_metric_leaves_out_has_no_score_of_it():
    measured, _ = measure_all([LONG, "a b"], [LONG, "a b"], limits=Limits(tokens=100))
    rows = by_length(measured, [30, 2], edges=(10,))
    assert [row.scores["ter"] for row in rows] == [0.0, None]
    assert length_table(rows, "words").splitlines()[2].split()[-1] == "-"


def test_another_number_of_lengths_than_of_sentences_is_refused():
    with pytest.raises(ValueError, match="1 translations and 2 source lengths"):
        table(["a"], ["a"], [1, 2])


def test_edges_that_do_not_rise_are_refused():
    with pytest.raises(ValueError, match="must rise"):
        table(["a"], ["a"], [1], edges=(20, 10))


def test_the_table_by_length_has_a_line_for_each_row_and_a_column_for_each_metric():
    heading, *lines = length_table(table(["a b c d"] * 2, ["a b c d"] * 2, [5, 35]), "characters").splitlines()
    assert heading.split() == ["source", "characters", "sentences", "BLEU", "chrF", "TER"]
    assert [line.split() for line in lines] == [
        ["1-10", "1", "100.0", "100.0", "0.0"],
        ["31-35", "1", "100.0", "100.0", "0.0"],
    ]
    assert len({len(line) for line in (heading, *lines)}) == 1
