"""End tags that HTML allows to be left out are written where a browser sees them."""

import random

import pytest
from bs4 import BeautifulSoup

from nmt.documents import optional_ends
from nmt.documents.html import HtmlDocument
from nmt.documents.optional_ends import MAX_DEPTH, write_optional_ends


@pytest.mark.parametrize(
    ("html", "written"),
    [
        ("<p>one<p>two", "<p>one</p><p>two"),
        ("<p>one\n<b>two\n<ul><li>three<li>four</ul>five", "<p>one\n<b>two\n</p><ul><li>three</li><li>four</ul>five"),
        ("<ul><li>one<ul><li>two<li>three</ul><li>four</ul>", None),
        ("<dl><dt>one<dd>two<dt>three</dl>", "<dl><dt>one</dt><dd>two</dd><dt>three</dl>"),
        ("<select><option>one<option>two<optgroup><option>three<option>four<optgroup><option>five</select>", None),
        ("<table><thead><tr><th>one<th>two<tbody><tr><td>three<td>four<tr><td>five</table>", None),
        ("<table><tr><td><p>one<table><tr><td>two<td>three</table>four<td>five</table>", None),
        ("<p>one<hr>two<p>three<br>four<p/>five", "<p>one</p><hr>two<p>three<br>four</p><p/>five"),
        ("<p>one</p><p>two</p>", "<p>one</p><p>two</p>"),
        ("<p><button><p>one</button>two", "<p><button><p>one</button>two"),
        (
            "<script>'<p><p>'</script><!-- <p><p> --><p title='<p>'>one",
            "<script>'<p><p>'</script><!-- <p><p> --><p title='<p>'>one",
        ),
        ("</p></li>one", "</p></li>one"),
        ("", ""),
    ],
)
def test_ends_are_written_where_a_start_tag_implies_them(html, written):
    found = write_optional_ends(html)
    if written is not None:
        assert found == written
    assert write_optional_ends(found) == found
    for inside, outside in (("p", "p"), ("li", "li"), ("td", "tr > td > td"), ("option", "option")):
        soup = BeautifulSoup(found, "html.parser")
        assert not soup.select(f"{outside} > {inside}" if outside == inside else outside), found


def test_lists_in_lists_stay_in_them():
    soup = BeautifulSoup(write_optional_ends("<ul><li>one<ul><li>two<li>three</ul><li>four</ul>"), "html.parser")
    assert [item.find(string=True) for item in soup.select("ul > li > ul > li")] == ["two", "three"]
    assert [item.find(string=True) for item in soup.select(":not(li) > ul > li, :root > li")] == ["one", "four"]


def test_rows_and_cells_are_beside_each_other():
    html = "<table><thead><tr><th>one<th>two<tbody><tr><td>three<td>four<tr><td>five</table>"
    soup = BeautifulSoup(write_optional_ends(html), "html.parser")
    assert [[cell.text for cell in row.find_all(["td", "th"])] for row in soup.find_all("tr")] == [
        ["one", "two"],
        ["three", "four"],
        ["five"],
    ]


def test_a_long_document_without_end_tags_is_not_deep():
    document = HtmlDocument("<p>one" * (2 * MAX_DEPTH), "en")
    assert document.sentences == ["one"] * (2 * MAX_DEPTH)


@pytest.mark.parametrize("seed", range(20))
def test_the_depth_that_is_counted_is_that_of_the_tree(monkeypatch, seed):
    rng = random.Random(seed)
    names = ["p", "b", "li", "ul", "td", "tr", "table", "option", "select", "dd"]
    html = "".join(rng.choice(["<{}>", "</{}>", "x{}"]).format(rng.choice(names)) for _ in range(200))
    tree = BeautifulSoup(write_optional_ends(html), "html.parser")
    depth = max(len(list(tag.parents)) for tag in tree.find_all(True))
    monkeypatch.setattr(optional_ends, "MAX_DEPTH", depth)
    write_optional_ends(html)
    monkeypatch.setattr(optional_ends, "MAX_DEPTH", depth - 1)
    with pytest.raises(ValueError, match="nested more than"):
        write_optional_ends(html)
