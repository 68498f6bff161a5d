"""HTML through the server and the command line: the model's own links place the tags."""

import pytest
from bs4 import BeautifulSoup

import nmt
from nmt import build
from nmt.documents.html import HtmlDocument, Translated
from tests.support.commands import call

pytestmark = [pytest.mark.slow, pytest.mark.process]

HTML = '<p>der <b class="x">hund</b> sieht <i>ein <u>haus</u></i><br>rot<!-- c --></p>\n<p translate="no">mann</p>\n'


@pytest.fixture(scope="module")
def expected(runs) -> str:
    """What the Python interface and the document make of it."""
    model = nmt.load(runs[0], device="cpu")
    document = HtmlDocument(HTML, "de")
    found = model.translate(document.sentences, max_length=20)
    return document.render([Translated(each.text, nmt.word_links(each)) for each in found])


def test_the_server_translates_html(served, expected):
    answer = served.post("/translate", q=HTML, source="de", target="en", format="html")
    assert answer == (200, {"translatedText": expected})
    assert expected.count("<br/>") == 1
    assert '<p translate="no">mann</p>' in expected


def test_alternatives_of_html_are_html(served):
    fields = {"q": ["<b>der hund sieht</b>", "<i>ein</i>"], "source": "de", "target": "en", "format": "html"}
    found = served.post("/translate", **fields, alternatives=3).content
    for texts, tag in zip(found["alternatives"], ("b", "i"), strict=True):
        assert all(BeautifulSoup(text, "html.parser").find(tag) for text in texts)
    assert found["translatedText"][0] not in found["alternatives"][0]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"attention": True}, "Invalid request: attention parameter: it is for text, and format is html"),
        ({"q": "<!-- >" * 30}, "Invalid request: more than 20 tags or comments have no end"),
        ({"q": "<b>" * 300}, "Invalid request: tags are nested more than 200 deep"),
    ],
)
def test_html_that_cannot_be_translated_is_refused(served, changes, said):
    fields = {"q": HTML, "source": "de", "target": "en", "format": "html"} | changes
    assert served.post("/translate", **fields) == (400, {"error": said})


def test_the_command_translates_a_document(runs, tmp_path, expected):
    (tmp_path / "page.html").write_text(HTML)
    words = [f"checkpoint={runs[0]}", "format=html", "device=cpu", "decode.max_length=20"]
    ended = call(tmp_path, "translate", *words, "in=page.html", "out=out.html")
    assert (ended.code, ended.err) == (0, "")
    assert (tmp_path / "out.html").read_text() == expected
    assert call(tmp_path, "translate", *words, stdin=HTML.encode()).out == expected


def test_the_command_keeps_line_ends(runs, tmp_path, expected):
    (tmp_path / "page.html").write_bytes(b"\xef\xbb\xbf<!-- a\r\nb --><script>x\r\n</script>" + HTML.rstrip().encode())
    words = [f"checkpoint={runs[0]}", "format=html", "device=cpu", "decode.max_length=20"]
    assert call(tmp_path, "translate", *words, "in=page.html", "out=out.html").code == 0
    written = (tmp_path / "out.html").read_bytes().decode()
    assert written == "<!-- a\r\nb --><script>x\r\n</script>" + expected.rstrip()


def test_the_command_puts_spaces_between_sentences_of_a_language_without_spaces(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(build, "languages", lambda data: build.Languages("zh", "en"))
    (tmp_path / "page.html").write_text("<p>天好。水大。</p>")
    words = [f"checkpoint={runs[0]}", "format=html", "device=cpu", "decode.max_length=20"]
    ended = call(tmp_path, "translate", *words, "in=page.html")
    translated = [each.text for each in nmt.load(runs[0], device="cpu").translate(["天好。", "水大。"], max_length=20)]
    assert ended.out == f"<p>{' '.join(translated)}</p>"


@pytest.mark.parametrize(
    "setting",
    ["append=true", "alignments=links", "heatmaps=pictures", "prefix=The", "prefixes=begun", "decode.nbest=2"],
)
def test_what_is_about_lines_is_refused(refusal, setting):
    said = refusal("translate", "checkpoint=RUN", "format=html", "out=out", setting)
    assert "is about lines, and format=html" in said
