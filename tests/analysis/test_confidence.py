"""Confidence: which words are right, temperature, isotonic regression, calibration error, words without counterpart."""

import itertools
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from nmt.analysis.confidence import (
    Calibration,
    assess,
    attention_received,
    expected_calibration_error,
    fit_isotonic,
    fit_temperature,
    low_quantile,
    right_words,
    support,
)
from nmt.decoding.translator import Translation

WEIGHTS = np.array([[0.8, 0.1, 0.0], [0.7, 0.2, 0.05]], np.float32)


@pytest.mark.parametrize(
    ("words", "reference", "kept"),
    [
        ("the red house", "the red house", "111"),
        ("the blue house", "the red house", "101"),
        ("the the house", "the house", "011"),  # one edit either way
        ("house the", "the house", "10"),  # two edits, as if both were replaced, and one word is kept
        ("The house", "the house", "01"),
        ("a b c", "", "000"),
        ("", "a b", ""),
        ("a x b", "a b c", "101"),  # the same
    ],
)
def test_a_word_is_right_where_the_cheapest_edit_keeps_it(words, reference, kept):
    assert right_words(words.split(), reference.split()) == [each == "1" for each in kept]


def test_the_words_that_are_kept_leave_as_few_edits_as_there_can_be():
    rng = np.random.default_rng(1)
    for _ in range(50):
        one, other = ([*rng.choice(list("abc"), rng.integers(0, 5))] for _ in range(2))
        best = min((_edits(one, other, kept), -len(kept)) for kept in _matchings(one, other))
        assert sum(right_words(one, other)) == -best[1]


def _matchings(one, other):
    """Every way to keep words of one in order, as pairs of places."""
    places = [(i, j) for i in range(len(one)) for j in range(len(other)) if one[i] == other[j]]
    for size in range(min(len(one), len(other)) + 1):
        for chosen in itertools.combinations(places, size):
            if all(a[0] < b[0] and a[1] < b[1] for a, b in itertools.pairwise(chosen)):
                yield chosen


def _edits(one, other, kept):
    """Between two words that are kept, the longer of the two stretches is edited."""
    edges = [(-1, -1), *kept, (len(one), len(other))]
    return sum(max(b[0] - a[0] - 1, b[1] - a[1] - 1) for a, b in itertools.pairwise(edges))


@pytest.mark.parametrize("temperature", [0.6, 1.0, 1.7, 3.0])
def test_a_known_temperature_is_found(temperature):
    torch.manual_seed(1)
    logits = 3 * torch.randn(20_000, 8, dtype=torch.float64)
    targets = torch.distributions.Categorical(logits=logits / temperature).sample()
    nll = lambda t: float(torch.nn.functional.cross_entropy(logits / t, targets))  # noqa: E731
    assert fit_temperature(nll) == pytest.approx(temperature, rel=0.04)


def test_a_temperature_stays_within_its_bounds():
    assert fit_temperature(lambda t: t) == pytest.approx(0.25, rel=0.01)
    assert fit_temperature(lambda t: -t) == pytest.approx(4, rel=0.01)


def test_isotonic_regression_by_hand():
    probabilities = np.array([0.1, 0.2, 0.3, 0.4])
    right = np.array([False, True, False, True])
    points, shares = fit_isotonic(probabilities, right)
    # Targets 1/4 and 3/4; the second and the third word fall, so they are one pool.
    np.testing.assert_allclose(points, [0.1, 0.25, 0.4])
    np.testing.assert_allclose(shares, [0.25, 0.5, 0.75])


def test_isotonic_regression_recovers_a_rising_curve():
    rng = np.random.default_rng(2)
    probabilities = rng.random(50_000)
    right = rng.random(50_000) < probabilities**2  # overconfident
    points, shares = fit_isotonic(probabilities, right)
    assert (np.diff(shares) >= 0).all()
    calibration = Calibration(probabilities=tuple(points), confidences=tuple(shares))
    fresh = rng.random(50_000)
    found = calibration.confidence(np.log(fresh))
    assert np.abs(found - fresh**2).mean() < 0.02
    hits = rng.random(50_000) < fresh**2
    assert expected_calibration_error(found, hits) < 0.02 < 0.1 < expected_calibration_error(fresh, hits)


def test_isotonic_regression_does_not_depend_on_the_order_of_equal_probabilities():
    one = fit_isotonic(np.array([0.5, 0.5, 0.5]), np.array([True, False, True]))
    other = fit_isotonic(np.array([0.5, 0.5, 0.5]), np.array([False, True, True]))
    np.testing.assert_allclose(one, other)
    with pytest.raises(ValueError, match="nothing to calibrate on"):
        fit_isotonic(np.zeros(0), np.zeros(0, bool))


def test_expected_calibration_error_by_hand():
    confidences = np.array([0.1, 0.2, 0.9, 1.0])
    right = np.array([False, True, True, True])
    # Two bins: |0.15 - 0.5| and |0.95 - 1|, two words each.
    assert expected_calibration_error(confidences, right, bins=2) == pytest.approx((0.35 + 0.05) / 2)
    assert expected_calibration_error(np.zeros(0), np.zeros(0, bool)) == 0


def test_words_without_counterpart_by_hand():
    np.testing.assert_allclose(attention_received(WEIGHTS), [0.8, 0.2, 0.05])
    np.testing.assert_allclose(support(WEIGHTS), [0.64 / 1.5, 0.49 / 1.5], rtol=1e-6)
    assert attention_received(np.zeros((0, 2))).tolist() == [0, 0]
    assert support(np.zeros((2, 0))).tolist() == [0, 0]
    assert low_quantile([np.array([0.0, 1.0]), np.array([2.0])], 0.5) == 1.0
    assert low_quantile([], 0.5) == 0.0


def translation(weights: np.ndarray) -> Translation:
    pieces = (["\u2581a", "\u2581b", "</s>"], ["\u2581x", "\u2581y"])
    return Translation("x y", 0.0, 0.0, ["a", "b"], ["x", "y"], *pieces, weights, [0, 1, -1], [0, 1])


def test_a_sentence_is_as_sure_as_its_words_on_average():
    calibration = Calibration(
        probabilities=(0.0, 1.0), confidences=(0.2, 0.8), min_received=0.3, min_support=0.4, words=9
    )
    found = assess(translation(WEIGHTS), np.log([1.0, 0.5]), calibration)
    np.testing.assert_allclose(found.words, [0.8, 0.5])
    assert found.sentence == pytest.approx(0.65)
    assert (found.omitted, found.unsupported, found.calibrated) == ([1], [1], True)


def test_without_a_calibration_confidence_is_the_probability():
    found = assess(translation(WEIGHTS), np.log([1.0, 0.5]), None)
    np.testing.assert_allclose(found.words, [1.0, 0.5])
    assert not found.calibrated


def test_without_attention_there_are_no_flags_and_without_words_no_confidence():
    found = assess(translation(np.zeros((2, 0), np.float32)), np.array([0.0, math.nan]), None)
    assert (found.omitted, found.unsupported) == (None, None)
    assert found.to_dict()["words"] == [1.0, None]
    empty = Translation("", 0.0, 0.0, [], [], [], [], np.zeros((0, 0), np.float32), [], [])
    assert assess(empty, np.zeros(0), None).to_dict()["sentence"] is None


def test_a_calibration_survives_json():
    calibration = Calibration(1.5, (0.1, 0.9), (0.2, 0.7), 0.05, 0.2, 1234)
    assert Calibration.from_dict(json.loads(json.dumps(calibration.to_dict()))) == calibration


@pytest.mark.parametrize(
    "changes",
    [
        {"temperature": 0},
        {"temperature": "hot"},
        {"temperature": None},
        {"confidences": [0.7, 0.2]},
        {"confidences": [0.1]},
        {"probabilities": [], "confidences": []},
        {"probabilities": [0.1, 2]},
        {"probabilities": 3},
        {"min_support": math.nan},
        {"words": "many"},
    ],
)
def test_a_damaged_calibration_is_refused(changes):
    data = Calibration().to_dict() | changes
    with pytest.raises(ValueError, match="it is no calibration"):
        Calibration.from_dict(data)


def test_impossible_numbers_are_no_calibration():
    with pytest.raises(ValueError, match="temperature above 0"):
        replace(Calibration(), temperature=-1.0)
