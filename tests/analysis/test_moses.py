"""BLEU of lower-cased Moses tokens, a convention of its own."""

import sys

import pytest

from nmt.analysis.metrics import METRICS, corpus_score, measure, measure_all
from nmt.analysis.moses import moses_tokens, primary_language

pytest.importorskip("sacremoses")


@pytest.mark.parametrize(
    ("language", "line", "tokens"),
    [
        ("en", "The man\u2019s dog, well-fed.", "the man &apos;s dog , well-fed ."),
        ("fr", "L\u2019homme dit \u00ab oui \u00bb.", "l&apos; homme dit &quot; oui &quot; ."),
        ("deu", "Ein M\u00e4dchen, z.B. hier.", "ein m\u00e4dchen , z.b. hier ."),
    ],
)
def test_tokens_are_those_of_the_scripts(language, line, tokens):
    assert moses_tokens(language)(line) == tokens


def test_the_language_is_known_by_every_code():
    assert [primary_language(code) for code in ("de", "deu", "de_DE", "de-Latn", "??")] == ["de"] * 4 + ["??"]


def test_case_and_punctuation_marks_of_another_kind_do_not_count():
    found = measure("bleu_moses", ["THE MAN'S dog is here."], ["The man\u2019s dog is here."], language="en").score
    assert found.score == pytest.approx(100)
    assert "case:lc" in found.signature
    assert "tok:sacremoses-en" in found.signature


def test_it_is_computed_where_it_is_named_and_not_by_default():
    lines = ["a small dog runs here"]
    assert "bleu_moses" not in measure_all(lines, lines)[0]
    assert list(measure_all(lines, lines, names=["bleu", "bleu_moses"])[0]) == ["bleu", "bleu_moses"]
    assert METRICS["bleu_moses"].label != METRICS["bleu"].label


def test_the_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sacremoses", None)
    with pytest.raises(ValueError, match="metrics=bleu_moses needs the package sacremoses"):
        corpus_score("bleu_moses", ["a"], ["a"])


@pytest.mark.parametrize(("language", "other"), [("de", 1), ("en", 0), ("fr", 2)])
def test_the_references_of_the_literature_are_met(corpora, language, other):
    """Three of 6,042 lines differ: the published ones have a space more or less beside a quotation mark."""
    tokenize, differing = moses_tokens(language), 0
    for name in ("val", "test_2016_flickr"):
        raw, theirs = (
            (corpora / folder / f"{name}.{language}").read_text(encoding="utf-8").split("\n")
            for folder in ("multi30k", "multi30k-tok")
        )
        differing += sum(tokenize(line) != tokens for line, tokens in zip(raw, theirs, strict=True))
    assert differing == other
