import unicodedata
import warnings

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from nmt.analysis import fonts


@pytest.fixture
def only_dejavu(monkeypatch):
    monkeypatch.setattr(fonts, "_installed", lambda: ())
    fonts._family.cache_clear()
    yield
    fonts._family.cache_clear()


def test_no_font_is_searched_where_dejavu_has_every_letter(monkeypatch):
    monkeypatch.setattr(fonts, "_installed", lambda: pytest.fail("looked for fonts"))
    fonts._family.cache_clear()
    assert fonts.families(["Männer", "мужчин", "الرجال", "שלום", "⟨end⟩", "▁the"]) == [fonts.FIRST]


@pytest.mark.usefixtures("only_dejavu")
def test_characters_of_no_installed_font_are_written_as_code_points():
    assert fonts.drawable("a中文b") == "aU+4E2D+6587b"


@pytest.mark.parametrize(
    ("text", "written"), [("a\tb", "aU+0009b"), ("\u202e", "U+202E"), (" ", "U+0020"), ("\ud800", "U+D800")]
)
def test_what_has_no_picture_is_written_as_a_code_point(text, written):
    assert fonts.drawable(text) == written


@pytest.mark.usefixtures("only_dejavu")
def test_a_mark_that_its_letters_font_lacks_is_written_as_a_code_point():
    assert fonts.drawable("a\u0301a\u09bc") == "a\u0301aU+09BC"


def test_ordinary_words_stay_as_they_are():
    assert fonts.drawable("l'été d'$5") == "l'été d'$5"


def test_joiners_inside_words_stay():
    assert fonts.drawable("می\u200cشود") == "می\u200cشود"


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.text(min_size=1, max_size=8))
@example("👨‍👩‍👧 中文 हिन्दी")
def test_no_text_is_ever_drawn_with_a_box(text):
    shown = fonts.drawable(text)
    figure = Figure()
    figure.text(0, 0, shown, fontfamily=fonts.families([shown]), parse_math=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns of a missing glyph
        FigureCanvasAgg(figure).draw()


@given(st.text(max_size=8))
def test_drawable_text_holds_no_control_character(text):
    assert not any(unicodedata.category(character) == "Cc" for character in fonts.drawable(text))
