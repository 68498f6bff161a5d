import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmt.analysis.alignment import (
    MIN_MEAN_WEIGHT,
    AttentionWriter,
    GoldLinks,
    Link,
    Symmetrization,
    align,
    align_both,
    alignment_error_rate,
    links,
    merge,
    parse_pharaoh,
    pharaoh,
    read_links,
    word_attention,
)
from nmt.analysis.alignment.linking import threshold_links
from nmt.decoding.translator import Translation

# Two target words of two and one pieces, then the end; two source words of one and two pieces, then the end.
WEIGHTS = np.array([[0.5, 0.2, 0.1, 0.2], [0.1, 0.6, 0.3, 0.0], [0.0, 0.3, 0.3, 0.4], [0.0, 0.0, 0.0, 1.0]])
MERGED = merge(WEIGHTS, [0, 0, 1, -1], [0, 1, 1, -1], 2, 2)

a_link = st.tuples(st.integers(0, 200), st.integers(0, 200))
some_links = st.lists(st.sets(a_link, max_size=6), min_size=1, max_size=4)


@st.composite
def attentions(draw):
    n_tgt, n_src = draw(st.integers(0, 5)), draw(st.integers(0, 5))
    tgt = draw(st.lists(st.integers(-1, n_tgt - 1), max_size=8))
    src = [*draw(st.lists(st.integers(-1, n_src - 1), max_size=8)), -1]
    weights = np.random.default_rng(draw(st.integers(0, 99))).dirichlet(np.ones(len(src)), size=len(tgt))
    return weights.reshape(len(tgt), len(src)), tgt, src, n_tgt, n_src


def test_target_pieces_are_averaged_the_first_counting_twice_the_second_and_source_pieces_summed():
    np.testing.assert_allclose(MERGED.weights, [[1.1 / 3, 0.5], [0.0, 0.6]], atol=1e-7)


def test_pieces_count_by_their_place_in_the_word_wherever_the_word_is():
    merged = merge(np.eye(4)[[0, 1, 2, 3, 0]], [2, 0, -1, 0, 0], [0, 1, 2, -1], 3, 3)
    np.testing.assert_allclose(merged.weights, [[1 / 7, 4 / 7, 0], [0, 0, 0], [1, 0, 0]], atol=1e-7)
    np.testing.assert_allclose(merged.eos, [2 / 7, 1, 0], atol=1e-7)


def translated(tgt_pieces, tgt_word_of, attended):
    """A translation of a source of three words of one piece each, of which every target piece attends to one."""
    words = max(tgt_word_of) + 1
    empty = Translation(
        "", 0.0, 0.0, list("xyz"), ["w"] * words, [*"xyz", "</s>"], tgt_pieces, np.eye(4), [0, 1, 2, -1], []
    )
    return empty._replace(weights=np.eye(4)[attended], tgt_word_of=tgt_word_of)


def test_a_mark_attached_to_a_target_word_has_no_say():
    marked = translated(["▁a", ",", "▁b", "."], [0, 0, 1, 1], [0, 2, 1, 2])
    np.testing.assert_array_equal(word_attention(marked).weights, [[1, 0, 0], [0, 1, 0]])


def test_a_mark_alone_and_a_word_start_alone_have_a_say():
    pieces = translated(["▁", "b", "▁", "?"], [0, 0, 1, 1], [0, 1, 1, 2])
    np.testing.assert_allclose(word_attention(pieces).weights, [[2 / 3, 1 / 3, 0], [0, 2 / 3, 1 / 3]], rtol=1e-6)
    np.testing.assert_array_equal(word_attention(translated(["▁?"], [0], [2])).weights, [[0, 0, 1]])


def test_bytes_of_a_mark_have_no_say_beside_letters_and_vowel_signs_do():
    pieces = translated(["▁a", "<0xE2>", "▁क", "ी"], [0, 0, 1, 1], [0, 2, 1, 2])
    np.testing.assert_allclose(word_attention(pieces).weights, [[1, 0, 0], [0, 2 / 3, 1 / 3]], rtol=1e-6)
    np.testing.assert_array_equal(word_attention(translated(["<0xE2>", "<0x80>"], [0, 0], [2, 2])).weights, [[0, 0, 1]])


def too_long(n_tgt, n_src):
    """A translation of so many words, of one piece each, whose attention was not kept."""
    src, tgt = ["a"] * n_src, ["b"] * n_tgt
    weights = np.zeros((n_tgt + 1, 0), np.float32)
    return Translation("", 0.0, 0.0, src, tgt, [*src, "</s>"], [*tgt, "</s>"], weights, [], [])


def test_a_long_line_without_attention_gets_no_dense_matrix():
    attention = word_attention(too_long(10_000, 12_000))
    assert attention.weights.shape == (10_000, 0)
    assert (attention.weights.sum(1) + attention.eos == 1).all()
    assert align(too_long(10_000, 12_000)).links == []
    assert align(too_long(10_000, 12_000), threshold=0.1).links == []


@pytest.mark.parametrize("how", Symmetrization)
def test_where_one_direction_was_too_long_there_are_no_links_of_both(how):
    whole = Translation("", 0.0, 0.0, ["a"], ["b"], ["a", "</s>"], ["b", "</s>"], np.eye(2), [0, -1], [0, -1])
    for there, back in ((whole, too_long(1, 1)), (too_long(1, 1), whole), (too_long(1, 1), too_long(1, 1))):
        alignment = align_both(there, back, how)
        assert alignment.links == []
        assert alignment.weights.shape == (1, 0)
    assert align_both(whole, whole, how).links == [(0, 0)]


def test_the_weights_of_both_directions_are_those_that_the_links_come_from():
    there, back = np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([[0.5, 0.5], [0.3, 0.7]])
    pieces = ["a", "b", "</s>"]
    one, other = (
        Translation("", 0.0, 0.0, ["a", "b"], ["a", "b"], pieces, pieces, np.pad(each, (0, 1)), [0, 1, -1], [0, 1, -1])
        for each in (there, back)
    )
    mean = align_both(one, other, Symmetrization.mean)
    np.testing.assert_allclose(mean.weights, (there + back.T) / 2, rtol=1e-6)
    assert mean.links == threshold_links(MIN_MEAN_WEIGHT, mean.weights)
    for how in (Symmetrization.union, Symmetrization.joint):
        np.testing.assert_allclose(align_both(one, other, how).weights, np.sqrt(there * back.T), rtol=1e-6)


def test_mass_on_the_end_of_sentence_is_kept_apart():
    np.testing.assert_allclose(MERGED.eos, [0.4 / 3, 0.4], atol=1e-7)


@given(attentions())
def test_merged_rows_still_sum_to_one(attention):
    merged = merge(*attention)
    np.testing.assert_allclose(merged.weights.sum(1) + merged.eos, 1, atol=1e-5)


@given(attentions())
def test_merging_gives_one_row_and_one_column_a_word(attention):
    assert merge(*attention).weights.shape == attention[3:]


def test_a_target_word_without_a_piece_attends_to_no_word():
    merged = merge(np.array([[1.0, 0.0]]), [1], [0, -1], 2, 1)
    assert merged.weights.tolist() == [[0.0], [1.0]]
    assert merged.eos.tolist() == [1.0, 0.0]


def test_merging_gives_float32():
    assert MERGED.weights.dtype == MERGED.eos.dtype == np.float32


def test_words_of_one_piece_each_merge_to_themselves():
    weights = np.array([[0.25, 0.5, 0.25], [0.5, 0.25, 0.25]])
    np.testing.assert_array_equal(merge(weights, [0, 1], [0, 1, -1], 2, 2).weights, weights[:, :2])


def test_each_target_word_is_linked_to_the_source_word_it_attends_to_most():
    assert links(np.array([[0.1, 0.8], [0.7, 0.2]])) == [(0, 1), (1, 0)]


def test_a_target_word_that_attends_mostly_to_the_end_is_linked_only_to_what_nobody_attends_to_more():
    assert links(np.array([[0.3, 0.05], [0.35, 0.6]])) == [(0, 1), (1, 1)]
    assert links(np.array([[0.09, 0.05], [0.0, 1.0]])) == [(1, 1)]
    assert links(np.array([[0.3, 0.05], [0.0, 1.0]])) == [(0, 0), (1, 1)]


def test_a_target_word_that_attends_here_and_there_is_not_linked():
    # The last attends everywhere, and what it attended to most was claimed by others; all were noticed by them.
    weights = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8], [0.4, 0.3, 0.3]])
    assert links(weights) == [(0, 0), (1, 1), (2, 2)]
    assert links(weights, min_claim=0.0) == [(0, 0), (0, 3), (1, 1), (2, 2)]
    assert links(np.zeros((2, 3)), min_claim=0.0) == []


def test_a_word_that_attends_to_two_is_linked_to_the_one_that_nobody_else_claims():
    weights = np.array([[0.45, 0.55], [0.0, 0.9]])  # "une fleur" for "a flower"
    assert links(weights) == [(0, 0), (1, 1)]


def test_source_words_that_were_noticed_share_the_word_that_attends_to_them():
    assert links(np.array([[0.5, 0.3, 0.15, 0.05]])) == [(0, 0), (1, 0), (2, 0)]


def test_a_threshold_links_each_pair_that_reaches_it():
    assert links(np.array([[0.5, 0.4], [0.1, 0.2]]), threshold=0.4) == [(0, 0), (1, 0)]


@pytest.mark.parametrize("threshold", [0.0, -1.0, 1.5, float("nan")])
def test_a_threshold_outside_its_range_is_refused(threshold):
    with pytest.raises(ValueError, match="threshold"):
        links(np.eye(2), threshold=threshold)


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0)])
def test_an_empty_side_has_no_links(shape):
    assert links(np.zeros(shape)) == []


@given(st.sets(a_link))
def test_pharaoh_lines_read_back_as_they_were_written(some):
    assert parse_pharaoh(pharaoh(some)).sure == some


def test_pharaoh_lines_are_sorted_by_number():
    assert pharaoh([(10, 0), (2, 1), (2, 0)]) == "2-0 2-1 10-0"


def gold_links(sure: set[tuple[int, int]], possible: set[tuple[int, int]]) -> GoldLinks:
    return GoldLinks(*(frozenset(Link(*each) for each in links) for links in (sure, possible)))


def test_possible_links_are_told_from_sure_ones_which_count_as_possible_too():
    assert parse_pharaoh("0-0 1p2") == gold_links({(0, 0)}, {(0, 0), (1, 2)})


def test_a_link_file_may_have_crlf_and_a_byte_order_mark(tmp_path):
    (tmp_path / "gold").write_bytes(b"\xef\xbb\xbf0-0 1-1\r\n\r\n2-2")
    assert [sorted(line.sure) for line in read_links(tmp_path / "gold")] == [[(0, 0), (1, 1)], [], [(2, 2)]]


@pytest.mark.parametrize("bad", [b"1x2", b"1-", b"-1-2", b"1-2-3", "²-1".encode()])
def test_a_bad_link_is_reported_with_file_and_line(tmp_path, bad):
    (tmp_path / "gold").write_bytes(b"0-0\n0-0 " + bad + b"\n")
    with pytest.raises(ValueError, match=r"gold, line 2: .* is not a link"):
        list(read_links(tmp_path / "gold"))


def test_a_wa_file_may_have_blank_lines_and_confidences_with_an_exponent(tmp_path):
    (tmp_path / "gold.wa").write_text("1 1 1 S 1e-05\n\n1 2 2 P 2.5E+0\n\n")
    assert list(read_links(tmp_path / "gold.wa")) == [gold_links({(0, 0)}, {(0, 0), (1, 1)})]


def test_a_wa_file_counts_from_one_names_its_sentences_and_may_leave_some_out(tmp_path):
    (tmp_path / "gold.wa").write_text("0001 1 2 S\n0003 2 1 P 0.5\n1 3 3\n0003 0 2 S\n")
    first = gold_links({(0, 1), (2, 2)}, {(0, 1), (2, 2)})
    nothing, possible = gold_links(set(), set()), gold_links(set(), {(1, 0)})
    assert list(read_links(tmp_path / "gold.wa")) == [first, nothing, possible]
    assert list(read_links(tmp_path / "gold.wa", 4)) == [first, nothing, possible, nothing]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("1 1 1 S\n0-0\n", "line 2: '0-0' is not a link; write sentence"),
        ("1 1 1 S\n1 2\n", "line 2: '1 2' is not a link"),
        ("1 1 1 S\n0 2 2\n", "line 2: '0 2 2' is not a link"),
        ("1 1 1 S\n9 2 2\n", "line 2: sentence 9, and the text has only 3"),
    ],
)
def test_a_bad_line_of_a_wa_file_is_reported_with_file_and_line(tmp_path, lines, said):
    (tmp_path / "gold.wa").write_text(lines)
    with pytest.raises(ValueError, match=f"gold.wa, {said}"):
        list(read_links(tmp_path / "gold.wa", 3))


def test_reversed_links_have_their_sides_the_other_way_round():
    assert parse_pharaoh("0-2 1p0").reversed() == parse_pharaoh("2-0 0p1")


def test_alignment_error_rate_by_hand():
    # |A| = 3, |S| = 2, |A & S| = 1, |A & P| = 2
    agreement = alignment_error_rate([{(0, 0), (1, 1), (1, 0)}], [{(0, 0), (0, 1)}], [{(1, 1)}])
    assert agreement == pytest.approx((1 - 3 / 5, 2 / 3, 1 / 2))


def test_alignment_error_rate_counts_over_the_corpus():
    # Over both sentences |A| = 4, |S| = 2, |A & S| = |A & P| = 1; the mean over sentences would be another number.
    one, other = {(0, 0)}, {(1, 1), (2, 2), (3, 3)}
    assert alignment_error_rate([one, other], [one, {(9, 9)}], [[], []]).aer == pytest.approx(1 - 2 / 6)


@given(some_links)
def test_the_sure_links_themselves_have_no_error(sure):
    assert alignment_error_rate(sure, sure, sure) == (0, 1, 1)


@given(some_links)
def test_linking_nothing_where_something_is_sure_is_all_error(sure):
    if any(sure):
        assert alignment_error_rate([[]] * len(sure), sure, sure).aer == 1


def test_unequal_numbers_of_sentences_are_refused_with_both_numbers():
    with pytest.raises(ValueError, match=r"3 sentences.*2 \(sure\)"):
        alignment_error_rate([[]] * 3, [[]] * 2, [[]] * 2)


def test_gold_links_of_real_sentences_agree_with_themselves(corpora):
    gold = corpora / "gold-hansards-en-fr" / "test.en-fr.gold"
    if not gold.is_file():
        pytest.skip(f"{gold} is not there")
    lines = list(read_links(gold))
    sure, possible = [line.sure for line in lines], [line.possible for line in lines]
    assert alignment_error_rate(possible, sure, possible)[1:] == (1, 1)


def test_written_matrices_are_read_by_numpy_under_their_line_numbers(tmp_path):
    with AttentionWriter(tmp_path / "attention.npz") as writer:
        for matrix in (np.eye(2), np.zeros((0, 0)), np.full((1, 3), 0.5)):
            writer.write(matrix)
    with np.load(tmp_path / "attention.npz") as read:
        assert {name: read[name].tolist() for name in read} == {"0": [[1, 0], [0, 1]], "1": [], "2": [[0.5] * 3]}


def test_equal_matrices_make_equal_files(tmp_path, monkeypatch):
    for name, now in (("a", 1e9), ("b", 1.5e9)):
        monkeypatch.setattr("time.time", lambda now=now: now)
        with AttentionWriter(tmp_path / name) as writer:
            writer.write(np.eye(3))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def write_then_fail(path):
    with AttentionWriter(path) as writer:
        writer.write(np.eye(2))
        raise KeyboardInterrupt


def test_an_error_while_writing_leaves_only_what_was_there_before(tmp_path):
    (tmp_path / "attention.npz").write_text("before")
    with pytest.raises(KeyboardInterrupt):
        write_then_fail(tmp_path / "attention.npz")
    assert os.listdir(tmp_path) == ["attention.npz"]
    assert (tmp_path / "attention.npz").read_text() == "before"
