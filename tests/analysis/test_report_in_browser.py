"""The report as a person meets it, in a real browser: what lights up, by mouse and by keyboard."""

import pytest

from tests.support.browser import Browser, find_browser
from tests.support.pages import FORCED, FOUND, HARMFUL, without_attention

PROGRAM = find_browser()
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(PROGRAM is None, reason="needs a browser: install Debian's chromium"),
]


@pytest.fixture(scope="module")
def browser():
    assert PROGRAM
    with Browser(PROGRAM) as browser:
        yield browser


@pytest.fixture(scope="module")
def page(render):
    return render()


@pytest.fixture
def opened(browser, page):
    """The page, fresh, and the complaints that it makes from here on."""
    browser.errors.clear()
    browser.requests.clear()
    browser.open(page)
    return browser


def word(side: str, i: int) -> str:
    return f"document.querySelectorAll('#{side} .word')[{i}]"


def lit(browser: Browser, side: str) -> dict[str, int]:
    """The words of a side that are lit up, with their percentages."""
    found = f"[...document.querySelectorAll('#{side} .lit')].map(it => [it.textContent, +it.dataset.percent])"
    return dict(browser.run(found))


def classed(browser: Browser, side: str, name: str) -> list[str]:
    return browser.run(f"[...document.querySelectorAll('#{side} .{name}')].map(it => it.textContent)")


def color(browser: Browser, side: str, i: int) -> str:
    return browser.run(f"getComputedStyle({word(side, i)}).backgroundColor")


def active(browser: Browser) -> list[str]:
    return browser.run("[document.activeElement.parentNode.id, document.activeElement.textContent]")


def numbers(browser: Browser) -> list[str]:
    return browser.run("[...document.querySelectorAll('#list [role=option]')].map(it => it.firstChild.textContent)")


def said(browser: Browser) -> str:
    return browser.run("document.getElementById('readout').textContent")


# By mouse


def test_a_hypothesis_word_lights_up_the_source_words_that_it_attends_to(opened):
    dull = color(opened, "src", 2)
    opened.point(word("hypothesis", 1))
    assert classed(opened, "hypothesis", "active") == ["maison"]
    assert lit(opened, "src") == {"house": 75, "red": 20}
    assert classed(opened, "src", "link") == ["house"]
    assert color(opened, "src", 2) != dull
    assert said(opened) == "“maison” attends to house 75 %, red 20 %."


def test_a_source_word_lights_up_what_attends_to_it(opened):
    opened.point(word("src", 2))
    assert lit(opened, "hypothesis") == {"la": 10, "maison": 75}
    assert lit(opened, "reference") == {"cette": 40, "maison": 80}
    assert lit(opened, "src") == {}
    assert "hypothesis: maison 75 %, la 10 %; reference: maison 80 %, cette 40 %" in said(opened)


def test_a_reference_word_shows_its_gold_links_beside_what_the_model_attends_to(opened):
    opened.point(word("reference", 2))
    assert lit(opened, "src") == {"red": 90, "⟨end⟩": 10}
    assert classed(opened, "src", "gold.possible") == ["red"]
    opened.point(word("reference", 0))
    assert lit(opened, "src") == {"the": 50, "house": 40, "red": 10}
    assert classed(opened, "src", "gold") == ["the"]
    assert classed(opened, "src", "possible") == []
    assert said(opened).endswith("Gold: the.")


def test_a_word_shows_which_words_of_the_other_translation_attends_to_the_same(opened):
    opened.point(word("hypothesis", 2))  # rouge: 0.8 on red, and the end of sentence is no word
    assert lit(opened, "reference") == {"rouge": 72, "maison": 8, "cette": 8}
    assert set(classed(opened, "reference", "same")) == {"rouge", "maison", "cette"}


def test_the_end_of_the_sentence_can_be_attended_to(opened):
    opened.point(word("src", 3))
    assert lit(opened, "hypothesis") == {"rouge": 20}
    assert lit(opened, "reference") == {"rouge": 10}
    assert said(opened).startswith("The end of the sentence is attended to by, in the hypothesis: rouge 20 %;")


def test_nothing_stays_lit_when_the_mouse_is_gone(opened):
    opened.point(word("hypothesis", 1))
    opened.point("document.querySelector('h1')")
    assert lit(opened, "src") == {}
    assert classed(opened, "hypothesis", "active") == []


def test_the_matrix_shows_what_is_pointed_at_and_lights_up_its_words(opened):
    opened.point(word("reference", 1))
    assert opened.run("document.querySelector('input[name=matrix]:checked').value") == "reference"
    assert opened.run("document.querySelector('#matrix text.active').textContent") == "maison"
    assert opened.run("document.querySelectorAll('#matrix .gold').length") == 3
    opened.point("document.querySelectorAll('#matrix text[data-row]')[2]")
    assert lit(opened, "src") == {"red": 90, "⟨end⟩": 10}
    opened.click("document.querySelector('input[value=hypothesis]').parentNode")
    opened.point("document.querySelectorAll('#matrix text[data-row]')[2]")
    assert lit(opened, "src") == {"red": 80, "⟨end⟩": 20}


def test_the_cells_of_the_matrix_are_as_strong_as_the_weights(opened):
    cells = "[...document.querySelectorAll('#matrix .cell')].map(it => +it.getAttribute('fill-opacity'))"
    # Those below a percent are left out; the smallest that is drawn is the 0.01 on the end.
    assert sorted(opened.run(cells)) == pytest.approx([0.01, 0.04, 0.1, 0.2, 0.2, 0.75, 0.8, 0.9], abs=0.003)


# By keyboard


def test_tab_leads_from_the_list_through_the_three_lines_to_the_matrix(opened):
    opened.run("document.querySelector('#list [aria-selected=true]').focus()")
    places = []
    for _ in range(4):
        opened.press("Tab")
        places.append(opened.run("document.activeElement.parentNode.id || document.activeElement.name"))
    assert places == ["src", "hypothesis", "reference", "matrix"]


def test_arrows_move_along_the_words_and_light_up_the_same_as_the_mouse(opened):
    opened.run(f"{word('hypothesis', 0)}.focus()")
    assert lit(opened, "src") == {"the": 90, "house": 10}
    opened.press("ArrowRight")
    assert active(opened) == ["hypothesis", "maison"]
    assert lit(opened, "src") == {"house": 75, "red": 20}
    assert opened.run("document.activeElement.getAttribute('aria-selected')") == "true"
    opened.press("End")
    assert active(opened) == ["hypothesis", "rouge"]
    opened.press("ArrowRight")
    assert active(opened) == ["hypothesis", "rouge"]
    opened.press("Home")
    assert active(opened) == ["hypothesis", "la"]


def test_arrows_up_and_down_lead_to_the_word_that_belongs_to_it(opened):
    opened.run(f"{word('hypothesis', 1)}.focus()")
    opened.press("ArrowUp")
    assert active(opened) == ["src", "house"]
    opened.press("ArrowUp")
    assert active(opened) == ["src", "house"]
    opened.press("ArrowDown")
    assert active(opened) == ["hypothesis", "maison"]
    opened.press("ArrowDown")
    assert active(opened) == ["reference", "maison"]
    opened.press("Escape")
    assert lit(opened, "src") == {}


def test_a_word_that_was_clicked_stays_lit_and_the_keyboard_goes_on_from_there(opened):
    opened.click(word("hypothesis", 0))
    opened.point("document.querySelector('h1')")
    assert lit(opened, "src") == {"the": 90, "house": 10}
    opened.press("ArrowRight")
    assert lit(opened, "src") == {"house": 75, "red": 20}


def test_the_list_goes_by_arrows_and_shows_the_sentence_it_stands_on(opened):
    opened.run("document.querySelector('#list [aria-selected=true]').focus()")
    opened.press("End")
    assert opened.run("document.getElementById('heading').textContent") == "Sentence 3"
    opened.press("ArrowUp")
    assert opened.run("document.getElementById('heading').textContent") == "Sentence 2"
    assert opened.run("document.querySelectorAll('#list [aria-selected=true]').length") == 1
    assert opened.run("document.querySelectorAll('#list [tabindex=\"0\"]').length") == 1


# The rest


@pytest.mark.parametrize(
    ("order", "first"),
    [
        ("number", ["1", "2", "3"]),
        ("chrf", ["3", "2", "1"]),
        ("length", ["2", "1", "3"]),
        ("disagreement", ["3", "2", "1"]),
    ],
)
def test_sentences_are_sorted_and_turned_round(opened, order, first):
    opened.run(
        f"(o => {{ o.value = '{order}'; o.dispatchEvent(new Event('change')); }})(document.getElementById('order'))"
    )
    assert numbers(opened) == first
    assert opened.run("document.getElementById('heading').textContent") == f"Sentence {first[0]}"
    opened.click("document.getElementById('turn')")
    assert numbers(opened) == first[::-1]


def test_a_harmful_hypothesis_is_shown_and_does_nothing(opened):
    opened.click("document.querySelectorAll('#list [role=option]')[1]")
    opened.point(word("hypothesis", 1))
    shown = opened.run("[...document.querySelectorAll('#hypothesis .word')].map(it => it.textContent)")
    assert shown == HARMFUL.split()
    assert opened.run("typeof hurt") == "undefined"
    assert opened.errors == []


def test_an_empty_hypothesis_is_shown(opened):
    opened.click("document.querySelectorAll('#list [role=option]')[2]")
    assert opened.run("document.querySelectorAll('#hypothesis .word').length") == 0
    opened.point(word("src", 0))
    assert lit(opened, "reference") == {"rien": 100}
    opened.press("Tab")
    assert opened.errors == []


def test_the_page_asks_for_nothing_and_complains_of_nothing(opened, page):
    for name in ("hypothesis", "reference", "src"):
        opened.point(word(name, 0))
    assert opened.requests == [page.resolve().as_uri()]
    assert opened.errors == []


def test_roles_tell_what_is_what(opened):
    lists = opened.run("[...document.querySelectorAll('[role=listbox]')].map(it => [...it.children].map(x => x.role))")
    assert len(lists) == 4
    assert all(set(roles) == {"option"} for roles in lists)
    assert opened.run("document.getElementById('readout').role") == "status"
    named = "[...document.querySelectorAll('svg')].every(it => it.role == 'img' && it.ariaLabel.length > 9)"
    assert opened.run(named)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 820, 1280])
def test_no_width_makes_the_page_scroll_sideways(browser, page, width, dark):
    browser.open(page, width=width, dark=dark)
    for i in range(3):
        browser.click(f"document.querySelectorAll('#list [role=option]')[{i}]")
        inner, outer = browser.run("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        assert inner <= outer


def test_light_and_dark_are_what_the_reader_asked_for(browser, page):
    grounds = []
    for dark in (False, True):
        browser.open(page, dark=dark)
        grounds.append(browser.run("getComputedStyle(document.body).backgroundColor"))
    assert grounds == ["rgb(250, 250, 248)", "rgb(19, 22, 27)"]


def test_a_model_without_attention_has_a_page_too(browser, render):
    browser.errors.clear()
    browser.open(render(without_attention(FOUND), without_attention(FORCED), None, attention=False))
    browser.point(word("hypothesis", 1))
    assert classed(browser, "hypothesis", "active") == ["maison"]
    assert browser.errors == []
