import random
import re
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest

from nmt.analysis.comparison import LEAST, SEED, compare, length_curves, over_seeds
from nmt.analysis.metrics import bleu

WORDS = ["the", "a", "cat", "dog", "house", "sees", "red", "old", "under", "on"]


def text(lines: int, dice: random.Random) -> list[str]:
    return [" ".join(dice.choices(WORDS, k=dice.randint(1, 30))) for _ in range(lines)]


def worsen(lines: list[str], share: float, dice: random.Random) -> list[str]:
    """The lines with that share of their words replaced."""
    return [" ".join(dice.choice(WORDS) if dice.random() < share else word for word in line.split()) for line in lines]


DICE = random.Random(7)
REFERENCES = text(150, DICE)
LENGTHS = [len(line.split()) for line in REFERENCES]
GOOD, BAD = worsen(REFERENCES, 0.2, DICE), worsen(REFERENCES, 0.5, DICE)


def test_each_point_is_the_bleu_of_its_own_sentences():
    (curve,) = length_curves([[GOOD]], REFERENCES, LENGTHS, width=6, samples=40)
    assert len(curve) > 2
    for point in curve:
        rows = [row for row, length in enumerate(LENGTHS) if point.low <= length <= point.high]
        assert point.sentences == len(rows)
        assert point.length == pytest.approx(np.mean([LENGTHS[row] for row in rows]))
        expected = bleu([GOOD[row] for row in rows], [REFERENCES[row] for row in rows]).score
        assert point.bleu == pytest.approx(expected)


def test_the_points_share_out_all_sentences_and_none_has_too_few():
    (curve,) = length_curves([[GOOD]], REFERENCES, LENGTHS, width=1, samples=40)
    assert sum(point.sentences for point in curve) == len(REFERENCES)
    assert min(point.sentences for point in curve) >= LEAST
    assert all(one.high < other.low for one, other in pairwise(curve))


def test_a_few_long_sentences_go_with_those_before():
    lengths = [5] * LEAST + [9] * LEAST + [40] * (LEAST - 1)
    lines = ["a b c d e"] * len(lengths)
    (curve,) = length_curves([[lines]], lines, lengths, width=1, samples=40)
    assert [(point.low, point.high, point.sentences) for point in curve] == [(5, 5, LEAST), (9, 40, 2 * LEAST - 1)]


def test_fewer_sentences_than_a_point_should_have_are_one_point():
    (curve,) = length_curves([[["a b c d"] * 3]], ["a b c d"] * 3, [1, 20, 40], samples=40)
    assert [(point.low, point.high, point.sentences) for point in curve] == [(1, 40, 3)]


def test_the_band_is_that_of_resampled_lines_scored_from_the_beginning():
    rows = list(range(30))
    hypotheses, references = [GOOD[row] for row in rows], [REFERENCES[row] for row in rows]
    (curve,) = length_curves([[hypotheses]], references, [4] * 30, samples=40)
    dice, found = np.random.default_rng(SEED), []
    for _ in range(40):
        drawn = np.repeat(rows, dice.multinomial(30, np.full(30, 1 / 30)))
        found.append(bleu([hypotheses[row] for row in drawn], [references[row] for row in drawn]).score)
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
        assert mean.bleu == pytest.approx((one.bleu + other.bleu) / 2)
        assert mean.upper - mean.lower < (one.upper - one.lower) + (other.upper - other.lower)


def test_the_target_language_chooses_the_tokenizer_of_a_curve():
    lines = ["我 爱 你们 大家"] * 3
    hypotheses = ["我 爱 你们 大人"] * 3
    (curve,) = length_curves([[hypotheses]], lines, [4] * 3, tgt="zh", samples=40)
    assert curve[0].bleu == pytest.approx(bleu(hypotheses, lines, tgt="zh").score)


@pytest.mark.process
def test_the_sacrebleu_command_gives_the_same_verdicts(tmp_path):
    for name, lines in (("ref", REFERENCES), ("good", GOOD), ("bad", BAD)):
        (tmp_path / name).write_text("".join(f"{line}\n" for line in lines))
    command = [sys.executable, "-m", "sacrebleu", "ref", "-i", "good", "bad", "-m", "bleu", "chrf"]
    command += ["--paired-bs", "--paired-bs-n", "100", "-w", "4", "-f", "text"]
    printed = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True, encoding="utf-8").stdout
    scores = [(float(score), float(half)) for score, half in re.findall(r"([\d.]+) \([\d.]+ ± ([\d.]+)\)", printed)]
    chances = [float(p) for p in re.findall(r"\(p = ([\d.]+)\)", printed)]
    ours = compare([GOOD, BAD], REFERENCES, samples=100)
    found = [ours.verdicts[metric][run] for run in range(2) for metric in ("BLEU", "chrF2")]
    assert [each.score for each in found] == pytest.approx([score for score, _ in scores], abs=1e-4)
    assert [each.interval for each in found] == pytest.approx([half for _, half in scores], abs=1e-4)
    assert [each.p for each in found[2:]] == pytest.approx(chances, abs=1e-4)
    assert ours.signatures["BLEU"].startswith("nrefs:1|bs:100|seed:12345|case:mixed|eff:no|tok:13a|")


def test_a_clear_difference_is_significant_and_a_small_one_is_not():
    other = [*GOOD[:-1], BAD[-1]]
    verdicts = compare([GOOD, BAD, other], REFERENCES, samples=200).verdicts["BLEU"]
    assert np.isnan(verdicts[0].p)
    assert verdicts[1].p < 0.01
    assert verdicts[2].p > 0.1
    assert verdicts[1].score == pytest.approx(bleu(BAD, REFERENCES).score)


def test_the_same_translations_do_not_differ():
    assert [each.p for each in compare([GOOD, list(GOOD)], REFERENCES, samples=40).verdicts["chrF2"]][1:] == [1.0]


def test_one_run_alone_is_scored_too():
    assert [len(verdicts) for verdicts in compare([GOOD], REFERENCES, samples=40).verdicts.values()] == [1, 1]


def test_mean_and_deviation_over_seeds_by_hand():
    assert over_seeds([30.0, 33.0, 36.0]) == (33.0, 3.0)
