"""An aligner that learns and aligns odd text: one line out for one pair in, and every score a number."""

import math

import pytest

from tests.support.commands import call, write_lines

pytestmark = pytest.mark.slow  # whole commands, each a second or so

TRAIN = [
    *("+experiment=aligner", "data=files", "data.src=a", "data.tgt=b", "data.train=text", "data.valid=text"),
    *("trainer.tensorboard=false", "trainer.max_updates=8", "device=cpu", "run=RUN"),
    *("model.aligner.embedding=8", "model.aligner.hidden=8", "batch.size=300", "optim.schedule.warmup=2"),
]
WITHOUT_SPACES = ["这是一个句子", "我们喜欢词", "句子里没有空格", "词"]
TEXTS = {  # pieces, lines of both sides
    "text without spaces": (300, WITHOUT_SPACES, ["文には空白がない", "単語が好きだ", "これは文だ", "語"]),
    "identical sides": (269, ["ba do ki", "ki ba", "do"], ["ba do ki", "ki ba", "do"]),
    "one-word vocabularies": (263, ["ba", "ba ba ba", "ba ba"], ["KI", "KI KI", "KI KI KI KI"]),
    "one character without end": (264, ["a" * 400, "a"], ["b" * 300, "b b"]),
    "marks alone": (266, ["! ?", "...", "\u0301"], ["?", "! !", "\u0301 \u2028 ."]),
}
ODD = [
    *(("", ""), ("ba", ""), ("", "KI"), ("   ", "\t"), ("ba ki", "ba ki"), ("\ufffd \u200b", "\U0001f600")),
    *(("ba " * 10_000, "KI " * 10_000), ("ba " * 10_000, "KI"), ("ba", "KI " * 10_000), ("词" * 3000, "語" * 10)),
    *((text, text) for text in ("\u00a0", "a\u3000b", "<s> </s>", "\u2581", "1", "\u202eba")),
]


@pytest.mark.parametrize("name", TEXTS)
def test_odd_text_is_learned_and_odd_pairs_get_a_line_and_finite_scores(name, tmp_path):
    size, *sides = TEXTS[name]
    for language, lines in zip("ab", sides, strict=True):
        write_lines(tmp_path / f"text.{language}", lines * 10)
    ended = call(tmp_path, "train", *TRAIN, f"tokenizer.vocab_size={size}")
    assert ended.code == 0, ended.err
    assert "nan" not in ended.err
    pairs = [*zip(*sides, strict=True), *ODD]
    write_lines(tmp_path / "odd.a", [src for src, _ in pairs])
    write_lines(tmp_path / "odd.b", [tgt for _, tgt in pairs])
    words = ["checkpoint=RUN", "src=odd.a", "tgt=odd.b", "score=true", "confidence=true", "device=cpu"]
    ended = call(tmp_path, "align", *words)
    assert ended.code == 0, ended.err
    lines = ended.out.removesuffix("\n").split("\n")
    assert len(lines) == len(pairs)
    for line, (src, tgt) in zip(lines, pairs, strict=True):
        links, _, scores = line.partition(" ||| ")
        too_long = max(len(src), len(tgt)) > 2048
        assert all(math.isfinite(float(score)) or too_long for score in scores.split())
        for link in links.split():
            places, _, weight = link.partition(":")
            src_word, tgt_word = map(int, places.split("-"))
            assert src_word < len(src.split())
            assert tgt_word < len(tgt.split())
            assert 0 < float(weight) <= 1
