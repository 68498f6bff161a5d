import random
import re
import subprocess
import sys
from itertools import pairwise, permutations, product

import numpy as np
import pytest

from nmt.analysis.comparison import (
    MIN_SENTENCES,
    SEED,
    compare,
    compare_systems,
    length_curves,
    over_seeds,
    randomization_test,
    seeds_randomization_test,
)
from nmt.analysis.metrics import METRICS, corpus_score

WORDS = ["the", "a", "cat", "dog", "house", "sees", "red", "old", "under", "on"]


def text(lines: int, rng: random.Random) -> list[str]:
    return [" ".join(rng.choices(WORDS, k=rng.randint(1, 30))) for _ in range(lines)]


def worsen(lines: list[str], share: float, rng: random.Random) -> list[str]:
    """The lines with that share of their words replaced."""
    return [" ".join(rng.choice(WORDS) if rng.random() < share else word for word in line.split()) for line in lines]


DICE = random.Random(7)
REFERENCES = text(150, DICE)
LENGTHS = [len(line.split()) for line in REFERENCES]
GOOD, BAD = worsen(REFERENCES, 0.2, DICE), worsen(REFERENCES, 0.5, DICE)
OTHER = worsen(REFERENCES, 0.2, random.Random(6))  # not very different from GOOD


def test_each_point_is_the_bleu_of_its_own_sentences():
    (curve,) = length_curves([[GOOD]], REFERENCES, LENGTHS, width=6, samples=40)
    assert len(curve) > 2
    for point in curve:
        rows = [row for row, length in enumerate(LENGTHS) if point.low <= length <= point.high]
        assert point.sentences == len(rows)
        assert point.length == pytest.approx(np.mean([LENGTHS[row] for row in rows]))
        expected = corpus_score("bleu", [GOOD[row] for row in rows], [REFERENCES[row] for row in rows]).score
        assert point.score == pytest.approx(expected)


def test_the_points_share_out_all_sentences_and_none_has_too_few():
    (curve,) = length_curves([[GOOD]], REFERENCES, LENGTHS, width=1, samples=40)
    assert sum(point.sentences for point in curve) == len(REFERENCES)
    assert min(point.sentences for point in curve) >= MIN_SENTENCES
    assert all(one.high < other.low for one, other in pairwise(curve))


def test_a_few_long_sentences_go_with_those_before():
    lengths = [5] * MIN_SENTENCES + [9] * MIN_SENTENCES + [40] * (MIN_SENTENCES - 1)
    lines = ["a b c d e"] * len(lengths)
    (curve,) = length_curves([[lines]], lines, lengths, width=1, samples=40)
    assert [(point.low, point.high, point.sentences) for point in curve] == [
        (5, 5, MIN_SENTENCES),
        (9, 40, 2 * MIN_SENTENCES - 1),
    ]


def test_fewer_sentences_than_a_point_should_have_are_one_point():
    (curve,) = length_curves([[["a b c d"] * 3]], ["a b c d"] * 3, [1, 20, 40], samples=40)
    assert [(point.low, point.high, point.sentences) for point in curve] == [(1, 40, 3)]


def test_the_band_is_that_of_resampled_lines_scored_from_the_beginning():
    rows = list(range(30))
    hypotheses, references = [GOOD[row] for row in rows], [REFERENCES[row] for row in rows]
    (curve,) = length_curves([[hypotheses]], references, [4] * 30, samples=40)
    rng, found = np.random.default_rng(SEED), []
    for _ in range(40):
        drawn = np.repeat(rows, rng.multinomial(30, np.full(30, 1 / 30)))
        found.append(corpus_score("bleu", [hypotheses[row] for row in drawn], [references[row] for row in drawn]).score)
    assert (curve[0].lower, curve[0].upper) == pytest.approx(tuple(np.percentile(found, (2.5, 97.5))))


def test_perfect_translations_have_no_band():
    lines = [line for line in REFERENCES if len(line.split()) >= 4]
    (curve,) = length_curves([[lines]], lines, [9] * len(lines), samples=40)
    assert curve[0][4:] == pytest.approx((100, 100, 100))


def test_equal_translations_of_two_systems_have_equal_curves():
    one, other = length_curves([[GOOD], [GOOD]], REFERENCES, LENGTHS, samples=40)
    assert one == other


def test_seeds_are_averaged_point_by_point():
    both, good, bad = length_curves([[GOOD, BAD], [GOOD], [BAD]], REFERENCES, LENGTHS, samples=40)
    for mean, one, other in zip(both, good, bad, strict=True):
        assert mean.score == pytest.approx((one.score + other.score) / 2)
        assert mean.upper - mean.lower < (one.upper - one.lower) + (other.upper - other.lower)


def test_a_curve_keeps_to_the_tokenizer():
    lines = ["我 爱 你们 大家"] * 3
    hypotheses = ["我 爱 你们 大人"] * 3
    (curve,) = length_curves([[hypotheses]], lines, [4] * 3, tokenizer="zh", samples=40)
    assert curve[0].score == pytest.approx(corpus_score("bleu", hypotheses, lines, tokenizer="zh").score)


def printed_by_sacrebleu(folder, *words):
    """What the sacrebleu command says of GOOD and BAD."""
    for name, lines in (("ref", REFERENCES), ("good", GOOD), ("bad", OTHER)):
        (folder / name).write_text("".join(f"{line}\n" for line in lines))
    command = [sys.executable, "-m", "sacrebleu", "ref", "-i", "good", "bad", "-m", "bleu", "chrf", "-w", "4"]
    return subprocess.run(
        [*command, "-f", "text", *words], cwd=folder, capture_output=True, check=True, encoding="utf-8"
    ).stdout


@pytest.mark.process
def test_the_sacrebleu_command_gives_the_same_chances(tmp_path):
    printed = printed_by_sacrebleu(tmp_path, "--paired-ar", "--paired-ar-n", "100")
    chances = [float(p) for p in re.findall(r"\(p = ([\d.]+)\)", printed)]
    ours = compare([GOOD, OTHER], REFERENCES, samples=100)
    assert [ours.scores[metric][1].p for metric in ("bleu", "chrf")] == pytest.approx(chances, abs=1e-4)
    assert 0.05 < chances[0] < 0.95  # no end of the range, which would prove little
    assert ours.signatures["bleu"].startswith("nrefs:1|case:mixed|eff:no|tok:13a|")
    assert ours.signatures["bleu"].endswith("|ar:100|bs:100|seed:12345")


@pytest.mark.process
def test_the_sacrebleu_command_gives_the_same_intervals(tmp_path):
    printed = printed_by_sacrebleu(tmp_path, "--paired-bs", "--paired-bs-n", "100")
    scores = [(float(score), float(half)) for score, half in re.findall(r"([\d.]+) \([\d.]+ ± ([\d.]+)\)", printed)]
    ours = compare([GOOD, OTHER], REFERENCES, samples=100)
    found = [ours.scores[metric][run] for run in range(2) for metric in ("bleu", "chrf")]
    assert [each.score for each in found] == pytest.approx([score for score, _ in scores], abs=1e-4)
    assert [each.interval for each in found] == pytest.approx([half for _, half in scores], abs=1e-4)


@pytest.mark.slow
def test_without_a_difference_p_is_below_five_percent_in_five_percent_of_the_comparisons():
    """1,000 pairs of systems that differ by chance alone: each translation of either is drawn from the same ten."""
    scorer = METRICS["bleu"].build("13a")
    references = REFERENCES[:40]
    rng = random.Random(3)
    pool = np.array([scorer.statistics(worsen(references, 0.3, rng), references) for _ in range(10)])
    rng = np.random.default_rng(5)
    everyone = np.arange(len(references))
    found = []
    for _ in range(1000):
        one, other = (pool[rng.integers(10, size=len(references)), everyone] for _ in range(2))
        found.append(randomization_test(one, other, scorer.score, samples=99, seed=int(rng.integers(2**31))))
    for level in (0.05, 0.2, 0.5):
        share = np.mean(np.array(found) <= level)
        assert share == pytest.approx(level, abs=3 * (level * (1 - level) / 1000) ** 0.5), level


def test_p_is_the_share_of_all_exchanges_with_so_large_a_difference():
    """Of ten sentences each exchange is tried, all 1,024; the test draws from them."""
    scorer = METRICS["bleu"].build("13a")
    one, other = (scorer.statistics(lines[:10], REFERENCES[:10]) for lines in (GOOD, OTHER))
    differences = []
    for exchanged in product([False, True], repeat=10):
        swap = np.array(exchanged)[:, None]
        ours, theirs = np.where(swap, other, one).sum(0), np.where(swap, one, other).sum(0)
        differences.append(abs(scorer.score(ours) - scorer.score(theirs)))
    exact = np.mean(np.array(differences) >= differences[0] - 1e-9)
    assert randomization_test(one, other, scorer.score, samples=4000) == pytest.approx(exact, abs=0.025)


def test_p_does_not_depend_on_which_system_is_better():
    scorer = METRICS["chrf"].build("13a")
    one, other = (scorer.statistics(lines, REFERENCES) for lines in (GOOD, OTHER))
    assert randomization_test(one, other, scorer.score) == pytest.approx(randomization_test(other, one, scorer.score))


def test_systems_that_differ_in_one_sentence_do_not_differ_significantly():
    """Exchanged or not, the difference is as large, whatever it is: p is 1."""
    other = [BAD[0], *GOOD[1:]]
    assert other != GOOD
    assert [each[1].p for each in compare([GOOD, other], REFERENCES, samples=200).scores.values()] == [1.0, 1.0]


def test_a_clear_difference_is_significant_and_a_small_one_is_not():
    other = [*GOOD[:-1], BAD[-1]]
    scores = compare([GOOD, BAD, other], REFERENCES, samples=200).scores["bleu"]
    assert np.isnan(scores[0].p)
    assert scores[1].p < 0.01
    assert scores[2].p > 0.1
    assert scores[1].score == pytest.approx(corpus_score("bleu", BAD, REFERENCES).score)


def test_the_same_translations_do_not_differ():
    assert [each.p for each in compare([GOOD, list(GOOD)], REFERENCES, samples=40).scores["chrf"]][1:] == [1.0]


def test_one_run_alone_is_scored_too():
    assert [len(scores) for scores in compare([GOOD], REFERENCES, samples=40).scores.values()] == [1, 1]


def test_mean_and_deviation_over_seeds_by_hand():
    assert over_seeds([30.0, 33.0, 36.0])[:2] == (33.0, 3.0)


def test_one_run_has_no_deviation():
    assert over_seeds([30.0]).mean == 30.0
    assert np.isnan(over_seeds([30.0]).deviation)


def test_between_single_runs_the_test_over_seeds_is_the_test_of_runs():
    scorer = METRICS["bleu"].build("13a")
    one, other = (scorer.statistics(lines, REFERENCES) for lines in (GOOD, OTHER))
    chance = randomization_test(one, other, scorer.score, samples=2000)
    found = seeds_randomization_test(one[None], other[None], scorer.score, samples=2000)
    assert found == pytest.approx(chance, abs=0.04)
    assert 0.05 < chance < 0.95


def test_p_over_seeds_is_the_share_of_all_ways_to_deal_translations_out():
    """Of three sentences, two seeds of one system and one of the other: each deals its three translations in six."""
    scorer = METRICS["chrf"].build("13a")
    score = scorer.score
    pool = np.array([scorer.statistics(lines[:3], REFERENCES[:3]) for lines in (GOOD, OTHER, BAD)])
    differences = []
    for orders in product(list(permutations(range(3))), repeat=3):
        scores = [score(np.sum([pool[orders[n][place], n] for n in range(3)], axis=0)) for place in range(3)]
        differences.append(abs((scores[0] + scores[1]) / 2 - scores[2]))
    exact = np.mean(np.array(differences) >= differences[0] - 1e-9)
    assert seeds_randomization_test(pool[:2], pool[2:], score, samples=4000) == pytest.approx(exact, abs=0.03)
    assert 0.02 < exact < 0.98


def test_seeds_of_one_system_do_not_differ_and_those_of_a_worse_one_do():
    first, second = (worsen(REFERENCES, 0.2, random.Random(seed)) for seed in (11, 12))
    stats = compare_systems([[GOOD, OTHER], [first, second], [BAD]], REFERENCES, samples=200)["bleu"]
    assert np.isnan(stats[0].p)
    assert stats[1].p > 0.05
    assert stats[2].p < 0.01
    scores = [corpus_score("bleu", lines, REFERENCES).score for lines in (first, second)]
    assert stats[1].mean == pytest.approx(sum(scores) / 2)
    assert stats[1].deviation == pytest.approx(abs(scores[0] - scores[1]) / 2**0.5)
