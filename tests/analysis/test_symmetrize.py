"""Two directions made one: by hand, by their laws, and as the published program reads."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmt.analysis.alignment import Symmetrization, combine, joint_links, mean_links, symmetrize

some_links = st.sets(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=14)
of_links = [how for how in Symmetrization if how not in (Symmetrization.joint, Symmetrization.mean)]


def joined(forward, backward):
    return {how: set(symmetrize(forward, backward, how)) for how in of_links}


def published(forward, backward):
    """GROW-DIAG-FINAL-AND as the Moses manual writes it: loops over all words, over and over."""
    size = range(6)
    union, found = forward | backward, forward & backward

    def free(src=None, tgt=None):
        return not any(link[0] == src or link[1] == tgt for link in found)

    changed = True
    while changed:
        changed = False
        for tgt in size:
            for src in size:
                if (src, tgt) in found:
                    for across, down in [(-1, 0), (0, -1), (1, 0), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1)]:
                        new = (src + across, tgt + down)
                        if new in union - found and (free(src=new[0]) or free(tgt=new[1])):
                            found = found | {new}
                            changed = True
    grown = found
    for links in (forward, backward):
        for tgt in size:
            for src in size:
                if (src, tgt) in links and free(src=src) and free(tgt=tgt):
                    found = found | {(src, tgt)}
    return grown, found


def test_growing_takes_neighbors_with_a_free_word_and_finishing_what_is_free_on_both_sides():
    forward = {(0, 0), (1, 0), (4, 4)}
    backward = {(0, 0), (1, 1), (0, 1), (5, 3)}
    found = joined(forward, backward)
    assert found[Symmetrization.intersection] == {(0, 0)}
    assert found[Symmetrization.union] == forward | backward
    assert found[Symmetrization.grow_diag] == {(0, 0), (1, 0), (0, 1)}
    assert found[Symmetrization.grow_diag_final_and] == {(0, 0), (1, 0), (0, 1), (4, 4), (5, 3)}


@given(some_links, some_links)
def test_growing_and_finishing_are_the_published_ones(forward, backward):
    found = joined(forward, backward)
    assert (found[Symmetrization.grow_diag], found[Symmetrization.grow_diag_final_and]) == published(forward, backward)


@given(some_links, some_links)
def test_each_way_holds_the_links_of_the_stricter_ones(forward, backward):
    found = joined(forward, backward)
    strict, *rest = (found[how] for how in (Symmetrization.intersection, Symmetrization.grow_diag))
    assert strict <= rest[0] <= found[Symmetrization.grow_diag_final_and] <= found[Symmetrization.union]


@given(some_links)
@pytest.mark.parametrize("how", of_links)
def test_two_directions_that_agree_change_nothing(how, links):
    assert symmetrize(links, links, how) == sorted(links)


def test_matrices_of_both_directions_are_joined_by_the_geometric_mean():
    forward, backward = np.array([[0.5, 0.5, 0.0]]), np.array([[0.32], [0.5], [1.0]])
    np.testing.assert_allclose(combine(forward, backward), [[0.4, 0.5, 0.0]])


def test_matrices_agree_where_both_claim_a_pair():
    forward = np.array([[0.9, 0.1, 0.0], [0.6, 0.4, 0.0]])  # both target words look at the first source word
    backward = np.array([[1.0, 0.0], [0.1, 0.9], [0.5, 0.5]])
    claims = forward**2 / [[1.5, 0.5, 1.0]]
    others = (backward**2 / [[1.6, 1.4]]).T
    assert joint_links(forward, backward) == [(0, 0), (1, 1)]
    weakest = np.sqrt(claims[1, 1] * others[1, 1])
    assert joint_links(forward, backward, threshold=weakest - 1e-9) == [(0, 0), (1, 1)]
    assert joint_links(forward, backward, threshold=weakest + 1e-9) == [(0, 0)]


@given(st.integers(0, 2**32 - 1))
def test_joint_linking_is_the_same_from_either_side(seed):
    draw = np.random.default_rng(seed)
    forward, backward = draw.dirichlet(np.ones(4) / 4, size=3), draw.dirichlet(np.ones(3) / 4, size=4)
    assert [(tgt, src) for src, tgt in joint_links(forward, backward)] == sorted(
        joint_links(backward, forward), key=lambda link: (link[1], link[0])
    )


def test_joint_linking_is_made_of_matrices():
    with pytest.raises(ValueError, match="made of matrices"):
        symmetrize([(0, 0)], [(0, 0)], Symmetrization.joint)
    with pytest.raises(ValueError, match=r"threshold of 2 makes no sense"):
        joint_links(np.ones((1, 1)), np.ones((1, 1)), threshold=2)


def test_a_mean_weight_that_reaches_the_threshold_is_a_link():
    forward = np.array([[0.9, 0.1], [0.2, 0.5]])
    backward = np.array([[0.0, 0.8], [0.3, 0.4]])
    assert mean_links(forward, backward) == [(0, 0), (0, 1), (1, 1)]
    assert mean_links(forward, backward, threshold=0.46) == [(0, 1)]
    with pytest.raises(ValueError, match="threshold"):
        mean_links(forward, backward, threshold=0)
