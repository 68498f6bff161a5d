"""The server's page as a person meets it, in a real browser: typing, pointing, the keyboard, words left out."""

import pytest

from tests.support.browser import Browser, find_browser
from tests.support.pages import HARMFUL
from tests.support.waiting import wait_until

PROGRAM = find_browser()
pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.process,
    pytest.mark.skipif(PROGRAM is None, reason="needs a browser: install Debian's chromium"),
]
WORDS = ["der", "hund", "katze", "haus", "rot", "gross", "sieht", "ein", "eine", "mann", "frau", "kind"]


@pytest.fixture(scope="module")
def browser():
    assert PROGRAM
    with Browser(PROGRAM) as browser:
        yield browser


@pytest.fixture(scope="module")
def sentence(served) -> dict:
    """What the server says of a sentence that the tiny model translates with several words."""
    lines = [" ".join(WORDS[k : k + 4]) for k in range(8)]
    found = served.post("/translate", q="\n".join(lines), source="de", target="en", attention=True).content["attention"]
    return max(found, key=lambda each: len(each["targetWords"]))


@pytest.fixture
def page(browser, served):
    """The page, fresh."""
    browser.errors.clear()
    browser.requests.clear()
    browser.open(f"{served.url}/")
    wait_until(lambda: browser.run("document.querySelectorAll('#pair option').length"), 60)
    yield browser
    assert not browser.errors
    assert all(address.startswith((f"{served.url}/", "data:,")) for address in browser.requests)


@pytest.fixture
def shown(page, sentence):
    """The page with the words of the sentence."""
    write(page, sentence["source"])
    wait_until(lambda: texts(page, "#hypothesis .word") == sentence["targetWords"], 60)
    return page


def write(browser: Browser, text: str) -> None:
    browser.run("document.getElementById('text').focus(); document.getElementById('text').select()")
    browser.ask("Input.insertText", text=text)


def texts(browser: Browser, selector: str) -> list[str]:
    return browser.run(f"[...document.querySelectorAll({selector!r})].map(it => it.textContent)")


def word(side: str, i: int) -> str:
    return f"document.querySelectorAll('#{side} .word')[{i}]"


def is_hidden(browser: Browser, element: str) -> bool:
    return browser.run(f"document.getElementById('{element}').hidden")


def said(browser: Browser, element: str = "readout") -> str:
    return browser.run(f"document.getElementById('{element}').textContent")


def test_one_can_type_at_once(page):
    assert page.run("document.activeElement.id") == "text"


def test_what_is_typed_is_translated(shown, sentence):
    assert said(shown, "translation") == sentence["translation"]
    assert texts(shown, "#src .word") == [*sentence["sourceWords"], "⟨end⟩"]
    assert texts(shown, "#pair option") == ["German to English", "English to German"]


def test_keys_in_quick_succession_are_one_request(page, sentence):
    for end in range(1, len(sentence["source"]) + 1):
        write(page, sentence["source"][:end])
    wait_until(lambda: said(page, "translation") == sentence["translation"], 60)
    wait_until(lambda: page.run("document.getElementById('others').hidden === false"), 60)
    assert sum(address.endswith("/translate") for address in page.requests) < len(sentence["source"])


def test_no_text_is_no_translation(shown):
    write(shown, " ")
    wait_until(lambda: is_hidden(shown, "view"), 60)
    assert said(shown, "translation") == ""


def test_a_word_lights_up_the_source_words_that_it_attends_to(shown, sentence):
    shown.point(word("hypothesis", 1))
    weights = [*sentence["weights"][1], sentence["endWeights"][1]]
    words = [*sentence["sourceWords"], "⟨end⟩"]
    expected = [each for each, weight in zip(words, weights, strict=True) if weight >= 0.05]
    assert texts(shown, "#src .lit") == expected
    linked = [sentence["sourceWords"][j] for j, t in sentence["links"] if t == 1]
    assert texts(shown, "#src .link") == linked
    assert said(shown).startswith(f"“{sentence['targetWords'][1]}” attends to ")
    assert "Its probability is " in said(shown)
    assert len(texts(shown, "#matrix circle")) == len(sentence["links"])


@pytest.fixture(scope="module")
def doubtful(served) -> dict:
    """What the server says of the confidence of the sentence that it is least sure of."""
    lines = [" ".join(WORDS[k : k + 4]) for k in range(8)]
    found = served.post("/translate", q="\n".join(lines), source="de", target="en", confidence=True).content[
        "confidence"
    ]
    return min((each for each in found if each["words"]), key=lambda each: min(each["words"]))


def test_words_that_are_not_sure_are_marked_and_named(page, doubtful):
    write(page, doubtful["source"])
    wait_until(lambda: texts(page, "#hypothesis .word") == doubtful["targetWords"], 60)
    pairs = list(zip(doubtful["targetWords"], doubtful["words"], strict=True))
    unsure = [each for each, share in pairs if share < 0.5]
    assert unsure
    assert texts(page, "#hypothesis .unsure") == unsure
    assert texts(page, "#hypothesis .alone") == [doubtful["targetWords"][t] for t in doubtful["unsupported"]]
    assert texts(page, "#src .alone") == [doubtful["sourceWords"][j] for j in doubtful["omitted"]]
    told = said(page, "confidence")
    assert told.startswith(f"Confidence {round(100 * doubtful['sentence'])} %. Unsure: “{unsure[0]}” ")
    assert ("Perhaps left out: " in told) == bool(doubtful["omitted"])
    assert ("Perhaps made up: " in told) == bool(doubtful["unsupported"])
    assert is_hidden(page, "calibrated")
    assert not is_hidden(page, "key-unsure")
    page.point(word("hypothesis", doubtful["words"].index(min(doubtful["words"]))))
    assert f"Its confidence is {round(100 * min(doubtful['words']))} %." in said(page)


def test_marks_of_confidence_stay_while_another_translation_is_shown(page, doubtful):
    write(page, doubtful["source"])
    wait_until(lambda: not is_hidden(page, "others"), 60)
    before = texts(page, "#hypothesis .unsure")
    page.click("document.querySelector('#alternatives button')")
    wait_until(lambda: not is_hidden(page, "reference-line"), 60)
    assert texts(page, "#hypothesis .unsure") == before
    assert texts(page, "#reference .unsure") == []


def test_words_without_counterpart_are_marked_and_named(page, doubtful):
    write(page, doubtful["source"])
    wait_until(lambda: texts(page, "#hypothesis .word") == doubtful["targetWords"], 60)
    page.run("shown.confidence.omitted = [1]; shown.confidence.unsupported = [0]; drawWords(); markConfidence()")
    assert texts(page, "#src .alone") == [doubtful["sourceWords"][1]]
    assert texts(page, "#hypothesis .alone") == [doubtful["targetWords"][0]]
    assert f"Perhaps left out: “{doubtful['sourceWords'][1]}”." in said(page, "confidence")
    assert f"Perhaps made up: “{doubtful['targetWords'][0]}”." in said(page, "confidence")
    page.point(word("src", 1))
    assert said(page).endswith("Perhaps it is left out.")


def test_a_source_word_that_is_left_out_shows_what_changes(shown, sentence, served):
    rest = " ".join(each for i, each in enumerate(sentence["sourceWords"]) if i != 1)
    without = served.post("/translate", q=rest, source="de", target="en").content["translatedText"]
    shown.click(word("src", 1))
    wait_until(lambda: not is_hidden(shown, "changes"), 60)
    assert texts(shown, "#src .masked") == [sentence["sourceWords"][1]]
    assert said(shown, "reference-name") == f"Without “{sentence['sourceWords'][1]}”"
    assert texts(shown, "#reference .word") == without.split()
    assert texts(shown, "#changes-rows th") == sentence["targetWords"]
    assert said(shown, "status").endswith(without)
    shown.click(word("src", 1))
    wait_until(lambda: is_hidden(shown, "changes"), 60)
    assert is_hidden(shown, "reference-line")
    assert texts(shown, "#src .masked") == []


def test_the_keyboard_does_the_same(shown, sentence):
    shown.run("document.getElementById('text').focus()")
    shown.press("Tab")
    assert shown.run("document.activeElement.parentNode.id") == "src"
    shown.press("ArrowRight")
    shown.press("ArrowDown")
    assert shown.run("document.activeElement.parentNode.id") == "hypothesis"
    shown.press("ArrowUp")
    shown.press("Home")
    shown.press("Enter")
    wait_until(lambda: not is_hidden(shown, "changes"), 60)
    assert texts(shown, "#src .masked") == [sentence["sourceWords"][0]]
    assert shown.run("document.activeElement.textContent") == sentence["sourceWords"][0]


def test_another_translation_is_shown_word_by_word(shown):
    wait_until(lambda: not is_hidden(shown, "others"), 60)
    button = "document.querySelector('#alternatives button')"
    other = shown.run(f"{button}.textContent")
    shown.click(button)
    wait_until(lambda: not is_hidden(shown, "reference-line"), 60)
    assert texts(shown, "#reference .word") == other.split()
    assert shown.run(f"{button}.getAttribute('aria-pressed')") == "true"
    shown.click(button)
    wait_until(lambda: is_hidden(shown, "reference-line"), 60)


def test_sentences_are_chosen_from_a_list(page):
    write(page, "der hund\nein haus")
    wait_until(lambda: texts(page, "#sentences option") == ["1. der hund", "2. ein haus"], 60)
    page.run(
        "(it => { it.selectedIndex = 1; it.dispatchEvent(new Event('change')); })(document.getElementById('sentences'))"
    )
    wait_until(lambda: texts(page, "#src .word") == ["ein", "haus", "⟨end⟩"], 60)


def test_a_comparison_is_not_drawn_against_a_sentence_chosen_later(page):
    write(page, "der hund\nein haus")
    wait_until(lambda: texts(page, "#src .word") == ["der", "hund", "⟨end⟩"], 60)
    page.run("Promise.all([showAlternative(shown.translation), choose(1)])")
    assert texts(page, "#src .word") == ["ein", "haus", "⟨end⟩"]
    assert is_hidden(page, "reference-line")


def test_what_looks_like_markup_is_shown_as_text(page):
    write(page, HARMFUL)
    wait_until(lambda: not is_hidden(page, "view"), 60)
    assert page.run("[typeof hurt, document.querySelectorAll('#view script, #view img').length]") == ["undefined", 0]


def test_a_refusal_is_shown_in_the_servers_words(page):
    write(page, "rot " * 600)
    wait_until(lambda: "exceeds text limit" in said(page, "status"), 60)
    # The browser's own note of a refused request.
    assert all("400" in error for error in page.errors)
    page.errors.clear()


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_window(browser, served, sentence, width):
    browser.open(f"{served.url}/", width=width, dark=True)
    write(browser, sentence["source"])
    wait_until(lambda: not is_hidden(browser, "view"), 60)
    assert browser.run("document.documentElement.scrollWidth <= innerWidth")


def test_every_control_has_a_name(shown):
    controls = "document.querySelectorAll('select, textarea, button, input, [role=listbox]')"
    named = "it.labels?.length || it.getAttribute('aria-labelledby') || it.textContent.trim()"
    assert shown.run(f"[...{controls}].filter(it => !({named})).map(it => it.outerHTML)") == []
