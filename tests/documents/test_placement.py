"""Tags go around the words that their words are linked to; by hand, on a few words."""

import pytest

from nmt.documents.placement import HasMarks, WordTags, place_atom, place_tags, targets_of

PLAIN = WordTags(frozenset())
B, ITALIC, BI = WordTags(frozenset({0})), WordTags(frozenset({1})), WordTags(frozenset({0, 1}))


def cores(source: list[WordTags], target: int, links: list[tuple[int, int]]) -> list[set[int]]:
    return [set(word.core) for word in place_tags(source, [HasMarks()] * target, links)]


def test_a_tag_follows_its_word():
    assert cores([PLAIN, B, PLAIN], 3, [(0, 0), (1, 2), (2, 1)]) == [set(), set(), {0}]


def test_a_word_of_several_stands_in_the_tags_of_all():
    assert cores([B, ITALIC], 1, [(0, 0), (1, 0)]) == [{0, 1}]


def test_one_word_for_two_puts_both_into_the_tag():
    assert cores([B, PLAIN], 3, [(0, 0), (0, 2), (1, 1)]) == [{0}, set(), {0}]


def test_a_word_without_a_link_stands_in_what_its_neighbors_share():
    assert cores([BI, B], 3, [(0, 0), (1, 2)]) == [{0, 1}, {0}, {0}]
    assert cores([B, PLAIN], 3, [(0, 0), (1, 2)]) == [{0}, set(), set()]


def test_at_an_end_it_stands_in_what_is_around_the_whole_source():
    assert cores([B, BI], 4, [(0, 1), (1, 2)]) == [{0}, {0}, {0, 1}, {0}]
    assert cores([B], 2, []) == [{0}, {0}]


def test_a_tag_whose_words_have_no_link_goes_to_the_word_at_its_place():
    assert cores([PLAIN, PLAIN, BI], 3, [(0, 0), (1, 1)]) == [set(), set(), {0, 1}]
    assert cores([B, PLAIN], 2, [(1, 1)]) == [{0}, set()]


def test_marks_follow_the_marks_of_the_source_word():
    bold_word = WordTags(frozenset({0}), after=frozenset())
    (placed,) = place_tags([bold_word], [HasMarks(after=True)], [(0, 0)])
    assert placed == WordTags(frozenset({0}), None, frozenset())
    (placed,) = place_tags([B], [HasMarks(before=True, after=True)], [(0, 0)])
    assert placed == WordTags(frozenset({0}), frozenset({0}), frozenset({0}))


def test_marks_at_the_ends_of_a_sentence_follow_the_marks_at_the_ends_of_the_source():
    first, last = WordTags(frozenset(), before=frozenset()), WordTags(frozenset(), after=frozenset())
    placed = place_tags([first, B, last], [HasMarks(before=True), HasMarks(after=True)], [(1, 0), (1, 1)])
    assert placed == [WordTags(frozenset({0}), before=frozenset()), WordTags(frozenset({0}), after=frozenset())]
    (placed,) = place_tags([B, WordTags(frozenset())], [HasMarks(after=True)], [(0, 0)])
    assert placed == WordTags(frozenset({0}), after=frozenset({0}))


def test_a_tag_of_marks_alone_goes_to_a_word_where_the_translation_has_no_marks():
    bold_mark = WordTags(frozenset(), after=frozenset({0}))
    assert [set(word.core) for word in place_tags([bold_mark], [HasMarks()], [(0, 0)])] == [{0}]


def test_without_words_there_is_nothing_to_place():
    assert place_tags([B], [], []) == []


@pytest.mark.parametrize(("word", "place"), [(0, 1), (1, 0), (2, 1), (3, 3)])
def test_an_atom_stands_before_the_word_that_follows_or_behind_the_one_before(word, place):
    assert place_atom(word, 3, 3, targets_of([(0, 1), (1, 0)])) == place


def test_an_atom_among_words_without_links_keeps_its_place():
    assert [place_atom(k, 4, 2, {}) for k in range(5)] == [0, 0, 1, 2, 2]
