"""Texts are split into sentences that joined are the text."""

from hypothesis import given
from hypothesis import strategies as st

from nmt.documents.sentences import split_text

TEXT = st.text(alphabet="aB1 .!?\n\r\t\"'()“”。\u2028é😀", max_size=60)


def sentences(text: str, language: str = "en", **options) -> list[str]:
    return [part.text for part in split_text(text, language, **options) if part.translatable]


@given(TEXT, st.booleans())
def test_the_parts_joined_are_the_text(text, lines):
    parts = split_text(text, "en", lines=lines)
    assert "".join(part.text for part in parts) == text


@given(TEXT)
def test_a_sentence_has_no_white_space_around_it_and_no_line_end_inside(text):
    for sentence in sentences(text):
        assert sentence == sentence.strip()
        assert len(sentence.splitlines()) == 1


def test_sentences_end_at_marks_and_not_at_abbreviations():
    assert sentences("Dr. Smith sleeps. Does he? Yes!") == ["Dr. Smith sleeps.", "Does he?", "Yes!"]
    assert sentences("你好。我好。", "zh") == ["你好。", "我好。"]


def test_a_line_end_ends_a_sentence_of_plain_text_and_not_of_html():
    assert sentences("the old\nhouse") == ["the old", "house"]
    assert sentences("the old\nhouse", lines=False) == ["the old\nhouse"]


def test_what_has_no_letter_and_no_digit_is_kept():
    assert sentences("😀 ... \n --- \n 3") == ["3"]


def test_any_word_may_stand_for_the_language():
    assert sentences("One. Two.", "tok.en") == ["One.", "Two."]
