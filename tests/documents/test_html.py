"""HTML is translated between its tags, and the tags follow the words."""

import importlib
import random
import time
import warnings
from collections import Counter
from html.parser import HTMLParser

import pytest
from bs4 import BeautifulSoup
from bs4.element import Comment, Tag

import nmt.documents.html
from nmt.documents.html import MAX_DEPTH, HtmlDocument, Translated


def shout(sentence: str) -> Translated:
    """Word for word, in capitals, in the same order."""
    return Translated(sentence.upper(), [(i, i) for i in range(len(sentence.split()))])


TABLE = {
    "The red house sleeps.": Translated("La maison rouge dort.", [(0, 0), (1, 2), (2, 1), (3, 3)]),
    "not here": Translated("ne ici pas", [(0, 0), (0, 2), (1, 1)]),
    "gone": Translated("", []),
    "I drink water.": Translated("मैं पीता पानी।", [(0, 0), (1, 1), (2, 2)]),
    "It is hot.": Translated("c'est cafe\u0301", [(2, 1)]),
    "Give five percent, C sharp.": Translated("Gib 5%, C#.", [(0, 0), (1, 1), (2, 1), (3, 2), (4, 2)]),
    "Who is there?": Translated("Qui\u2009est là\u00a0?", [(0, 0), (1, 1), (2, 2)]),
}


def translate(html: str) -> str:
    document = HtmlDocument(html, "en")
    return document.render([TABLE.get(sentence) or shout(sentence) for sentence in document.sentences])


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("The <b>red</b> house sleeps.", "La maison <b>rouge</b> dort."),
        ("The <b>red house</b> <i>sleeps</i>.", "La <b>maison rouge</b> <i>dort</i>."),
        ("The <b>red <i>house</i></b> sleeps.", "La <b><i>maison</i> rouge</b> dort."),
        ("<b>The red house sleeps.</b>", "<b>La maison rouge dort.</b>"),
        ("<b>not</b> here", "<b>ne</b> ici <b>pas</b>"),
        ('<b id="x" class="y z">not</b> here', '<b id="x" class="y z">ne</b> ici <b class="y z">pas</b>'),
        ("un<b>believ</b>able", "<b>UNBELIEVABLE</b>"),
        ("<b>one</b><i>two</i>", "<b><i>ONETWO</i></b>"),
        ("<b>one</b>, two<i>!</i>", "<b>ONE</b>, TWO<i>!</i>"),
        ("<b>gone</b>", "<b></b>"),
        ("hi <b></b> there", "HI <b></b> THERE"),
        ("one<img src='x'> two <img src='y'>three", 'ONE<img src="x"/> TWO <img src="y"/>THREE'),
        ("one <!-- c --> <img src='x'> two", 'ONE <!-- c --> <img src="x"/> TWO'),
        ("press <kbd translate='no'>Enter</kbd> now", 'PRESS <kbd translate="no">Enter</kbd> NOW'),
        ("one<i> <b translate='no'>x</b> </i>two", 'ONE<i> <b translate="no">x</b> </i> TWO'),
        ("<p>one<!-- c -->two</p>", "<p>ONETWO<!-- c --></p>"),
        ("<p>one<wbr>two. Three</p>", "<p>ONETWO.<wbr/> THREE</p>"),
        ("<![if !mso]>one<![endif]> two", "<![if !mso]>ONE<![endif]> TWO"),
        ("<b>one<br>two</b>", "<b>ONE<br/>TWO</b>"),
        ("I drink <b>water</b>.", "मैं पीता <b>पानी</b>।"),
        ("It is <b>hot</b>.", "c'est <b>cafe\u0301</b>"),
        ("Give <b>five percent</b>, <i>C sharp</i>.", "Gib <b>5%</b>, <i>C#</i>."),
        ("Who is <b>there</b>?", "Qui\u2009est <b>là</b>\u00a0?"),
        ("one&nbsp;<img src='x'>two", 'ONE\u00a0<img src="x"/>TWO'),
        ("one. Two.<br><br> three", "ONE. TWO.<br/><br/> THREE"),
        ("a &lt;b&gt; &amp; c&nbsp;d", "A &lt;B&gt; &amp; C\u00a0D"),
        ("<a href='x?a=1&amp;b=\"2\"'>y</a>", "<a href='x?a=1&amp;b=\"2\"'>Y</a>"),
        ("<p>one\n  <b>two</b></p>\n<p>three</p>", "<p>ONE <b>TWO</b></p>\n<p>THREE</p>"),
        ("<pre>one\n  two</pre>", "<pre>ONE\n  TWO</pre>"),
        ("<a><div>x <b>y</b></div></a> z", "<a><div>X <b>Y</b></div></a> Z"),
        ("<b>one", "<b>ONE</b>"),
        ("one</b> two", "ONE TWO"),
        ("<b>...</b> <i>1</i>", "<b>...</b> <i>1</i>"),
        ("<p>&foo; bar &notit; &lt", "<p>&amp;FOO; BAR ¬IT; &lt;</p>"),
        ("<a href=x/>y</a><br></br>z", '<a href="x/">Y</a><br/>Z'),
        ("<p>a</p><![ if IE]>b<![endif]>", "<p>A</p><![ if IE]>B<![endif]>"),
        ("<!DOCTYPE html>a<![foo[y]]></ x><!-->b", "<!DOCTYPE html>AB<![foo[y]]></ x><!-->"),
        ("a <![ b", "A &lt;![ B"),
        ("a <!-- b <b>c</b> <i", "A &lt;!-- B <b>C</b> &lt;I"),
        ("<title>a <b> &amp;</title>b", "<title>A &lt;B&gt; &amp;</title>B"),
        ("<svg><title><b>x</b></title></svg>y", "<svg><title><b>x</b></title></svg>Y"),
    ],
)
def test_tags_are_put_around_the_words_that_their_words_are_linked_to(html, expected):
    assert translate(html) == expected


@pytest.mark.parametrize(
    "html",
    [
        '<span translate="no">Enter</span>',
        '<code class="a notranslate">x y</code>',
        '<div translate="no"><p>one</p></div>',
        "<script>if (a<b && c) go()</script>",
        "<style>a>b{}</style>",
        "<textarea>text</textarea>",
        "<textarea> <p>one<p>two <b>&amp; &</textarea>",
        "<xmp><p>one</xmp><iframe><p>one</b></iframe><noembed></p>one</noembed><noframes>one<br></noframes>",
        "<!-- one two -->",
        "<b> </b>",
        "",
        "&lt;3 ...",
    ],
)
def test_what_is_not_to_be_translated_stays(html):
    document = HtmlDocument(html, "en")
    assert set(document.sentences) <= {"<3 ..."}
    assert document.render([shout(each) for each in document.sentences]) == html


def test_within_what_is_not_translated_a_block_may_be():
    assert translate('<div translate="no">x<p translate="yes">y</p></div>') == (
        '<div translate="no">x<p translate="yes">Y</p></div>'
    )


def test_a_document_is_translated_as_a_whole():
    html = '<html lang="en"><head><title>t</title></head><body><ul><li>one</li><li>two</li></ul></body></html>'
    assert translate(html) == html.replace("<title>t", "<title>T").replace("one", "ONE").replace("two", "TWO")


def test_attributes_keep_their_order_and_the_first_of_two_counts():
    assert translate('<a onclick="x()" href="y" HREF="z" class="b  a">w</a>') == (
        '<a onclick="x()" href="y" class="b  a">W</a>'
    )


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("/x?id=1&section=5&copy=2&lt=4&ltx", "/x?id=1&section=5&copy=2&lt=4&ltx"),
        ("&copy;=&copy &#65 &#x42;&notit;&foo;&amp;lt;", "©=© A B&notit;&foo;&lt;"),
    ],
)
def test_in_an_attribute_only_what_html_reads_as_a_reference_is_one(written, value):
    for quote in ('"', "'"):
        found = translate(f"<a href={quote}{written}{quote}>y</a>")
        assert found == f'<a href="{value.replace("&", "&amp;")}">Y</a>'


@pytest.mark.parametrize("begin", ["<a ", "<a b=", "<a b='", '<a b="', "</a", "<!--", "<![CDATA[", "<!", "<?"])
def test_text_with_tags_that_never_end_is_read_in_linear_time(begin):
    begun = time.process_time()
    HtmlDocument(begin * (20_000 // len(begin)), "en")
    assert time.process_time() - begun < 3  # a search to the end from each of the tags takes 10


@pytest.mark.parametrize("begin", ["<!-- > ", "<![CDATA[> ", "<a "])
def test_too_many_tags_and_comments_without_an_end_are_refused(begin):
    HtmlDocument(begin * 10 + "b='>", "en")
    with pytest.raises(ValueError, match="more than 20 tags or comments have no end"):
        HtmlDocument(begin * 30 + "b='>", "en")


def test_text_never_becomes_markup():
    document = HtmlDocument("<b>hello</b>", "en")
    found = document.render([Translated("<script>alert(1)</script> &amp;", [(0, 0)])])
    assert found == "<b>&lt;script&gt;alert(1)&lt;/script&gt; &amp;amp;</b>"


def test_tags_that_are_nested_too_deep_are_refused():
    HtmlDocument("<b>" * MAX_DEPTH + "x", "en")
    with pytest.raises(ValueError, match="nested more than 200 deep"):
        HtmlDocument("<b>" * (MAX_DEPTH + 1) + "x", "en")


def test_sentences_of_a_language_without_spaces_get_one():
    document = HtmlDocument("<b>你好。</b>我好。", "zh")
    assert document.sentences == ["你好。", "我好。"]
    found = document.render([Translated("Hello.", [(0, 0)]), Translated("Fine.", [(0, 0)])], spaced=True)
    assert found == "<b>Hello.</b> Fine."


# Random documents

WORDS = ["one", "two.", "three", "(four)", "&amp;", "&lt;b&gt;", "«", "5", "…", "x.y", "Dr."]
INLINE = ["b", "i", "a href='q?a=1&amp;b=2'", "span class='c  d'", "em data-x='<>\"'", "u", "x-unknown"]
ATOMS = ["<br>", "<img src=p alt='one two'>", "<!-- one <b> -->", "<b></b>", "<i> </i>", "<wbr>", "<input disabled>"]
KEPT = ["<span translate='no'>one <b>two</b></span>", "<script>1<2</script>", "<svg><text>one</text></svg>"]


def random_html(chance: random.Random, depth: int = 0, gap: str = "") -> str:
    """gap: what stands around a part that is not translated."""
    pieces = []
    for _ in range(chance.randrange(1, 6)):
        kind = chance.random()
        if kind < 0.45 or depth > 5:
            pieces.append(chance.choice(WORDS))
        elif kind < 0.75:
            tag = chance.choice(INLINE)
            pieces.append(f"<{tag}>{random_html(chance, depth + 1, gap)}</{tag.split()[0]}>")
        elif kind < 0.85:
            block = chance.choice(["div", "p", "li", "td", "h1"])
            inner = 6 if block in ("p", "li", "td") else depth + 1  # a block in one of these may end it
            pieces.append(f"<{block}>{random_html(chance, inner, gap)}</{block}>")
        else:
            pieces.append(gap + chance.choice(ATOMS + KEPT) + gap)
        pieces.append(chance.choice(["", " ", " ", "\n", "  "]))
    return "".join(pieces)


def random_translation(chance: random.Random, sentence: str) -> Translated:
    words, length = sentence.split(), chance.randrange(0, 7)
    links = (
        {(chance.randrange(len(words)), chance.randrange(length)) for _ in range(chance.randrange(8))} if length else ()
    )
    return Translated(" ".join(f"w{k}" + chance.choice(["", ".", "<", "»"]) for k in range(length)), sorted(links))


def tags(html: str) -> Counter:
    """Tags with their attributes, and comments, how often each."""
    soup = BeautifulSoup(html, "html.parser", multi_valued_attributes=None)
    found = Counter((tag.name, tuple(tag.attrs.items())) for tag in soup.find_all(True))
    return found + Counter(
        ("comment", str(text)) for text in soup.find_all(string=lambda each: isinstance(each, Comment))
    )


class Nesting(HTMLParser):
    """Raises AssertionError for a tag that is not closed in order."""

    def __init__(self):
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.mark.parametrize("seed", range(40))
def test_random_documents_keep_their_tags_and_their_kept_text(seed):
    chance = random.Random(seed)
    for _ in range(10):
        html = random_html(chance)
        document = HtmlDocument(html, "en")
        found = document.render([random_translation(chance, each) for each in document.sentences])
        before, after = tags(html), tags(found)
        assert before.keys() == after.keys(), html
        assert all(after[tag] >= count for tag, count in before.items()), html
        # What was not translated is there as often as before.
        for each in KEPT:
            kept = str(BeautifulSoup(each, "html.parser"))
            assert found.count(kept) == str(BeautifulSoup(html, "html.parser")).count(kept)
        nesting = Nesting()
        nesting.feed(found)
        nesting.close()
        assert not nesting.open, html


def test_the_work_in_the_tree_grows_with_the_document_and_not_with_its_square(monkeypatch):
    html = "word <b>two</b><br>\n" * 300
    document = HtmlDocument(html, "en")
    looked_at, index = [], Tag.index
    monkeypatch.setattr(Tag, "index", lambda tag, child: looked_at.append(index(tag, child)) or looked_at[-1])
    assert document.render([shout(each) for each in document.sentences]).count("WORD <b>TWO</b><br/>") == 300
    assert sum(looked_at) < 10 * len(html)


@pytest.mark.parametrize("text", ["<?xml version='1.0'?><p>x</p>", "https://example.org/x", "a.html"])
def test_no_warning_is_given_of_a_text(text):
    with warnings.catch_warnings(record=True) as given:
        importlib.reload(nmt.documents.html)
        HtmlDocument(text, "en")
    assert not given


@pytest.mark.parametrize("seed", range(20))
def test_random_documents_translated_by_themselves_say_the_same(seed):
    chance = random.Random(seed)
    for _ in range(10):
        html = random_html(chance, gap=" ")
        document = HtmlDocument(html, "en")
        same = [Translated(each, [(i, i) for i in range(len(each.split()))]) for each in document.sentences]
        text = BeautifulSoup(document.render(same), "html.parser").get_text().split()
        assert text == BeautifulSoup(html, "html.parser").get_text().split(), html
