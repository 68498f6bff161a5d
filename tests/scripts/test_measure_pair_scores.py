"""Bad pairs that are planted, and how well scores tell them from good ones."""

import random

import numpy as np
import pytest

from nmt.corpus import Pair
from scripts.measure_pair_scores import area_under_roc, halved, shuffled


def test_a_shuffled_source_never_keeps_its_own_target_and_no_target_is_lost():
    pairs = [Pair(f"s{number}", f"t{number}") for number in range(7)]
    found = shuffled(pairs, random.Random(1))
    assert [each.src for each in found] == [each.src for each in pairs]
    assert sorted(each.tgt for each in found) == [each.tgt for each in pairs]
    assert all(each.src[1:] != each.tgt[1:] for each in found)


def test_half_of_one_side_is_left_out():
    assert halved(Pair("a b c d e", "A B C D"), 0) == Pair("a b", "A B C D")
    assert halved(Pair("a b c d e", "A B C D"), 1) == Pair("a b c d e", "A B")


@pytest.mark.parametrize(
    ("good", "bad", "area"), [([3, 4], [1, 2], 1.0), ([1, 2], [3], 0.0), ([1, 3], [2, 0], 0.75), ([1, 1], [1], 0.5)]
)
def test_the_area_is_the_share_of_comparisons_that_the_good_pair_wins(good, bad, area):
    assert area_under_roc(np.array(good), np.array(bad)) == area
