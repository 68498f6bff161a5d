"""The translator's promises: order, bounded memory, one line out for one line in, whatever the lines."""

import random
from itertools import count, islice

import numpy as np
import pytest

from nmt.corpus import Pair
from nmt.data.symbols import EOS
from nmt.data.tokenizer import ModelType
from nmt.decoding.batching import BATCH_PIECES
from nmt.decoding.options import LengthPenalty, SearchOptions
from nmt.decoding.translator import Translator
from tests.support.tokenizers import train_tokenizer

SURFACES = ["a\nb", "é\u2028é", "\r\n中", "c\x1ed", "e\x85\vf"]


class FakeSide:
    """Pieces of two characters; four ids of text. On the way out each id prints a word, some with line ends inside."""

    def encode(self, text):
        return self.encode_words(text)[0]

    def decode(self, ids):
        return self.decode_words(ids)[0]

    def encode_words(self, text):
        pieces = [
            (word[at : at + 2], number) for number, word in enumerate(text.split()) for at in range(0, len(word), 2)
        ]
        return [4 + sum(map(ord, piece)) % 5 for piece, _ in pieces], [number for _, number in pieces]

    def decode_words(self, ids):
        words = [SURFACES[token % len(SURFACES)] for token in ids if token != EOS]
        return " ".join(words), [*range(len(words)), *[-1] * (len(ids) - len(words))]

    def pieces(self, ids):
        return ["</s>" if token == EOS else f"p{token}" for token in ids]


class FakeTokenizer:
    src = tgt = FakeSide()


def translator(model, **options):
    own = {name: options.pop(name) for name in ("batch_size", "attention") if name in options}
    search = SearchOptions(**{"beam": 3, "max_length": 8, **options})
    return Translator(model, FakeTokenizer(), search, **{"batch_size": 7, **own})


def some_lines(number=60, seed=0):
    draw = random.Random(seed)
    return [
        " ".join(draw.choices(["aa", "bcd", "e", "fghij", "中文"], k=draw.choice([0, 1, 2, 5, 9])))
        for _ in range(number)
    ]


def assert_same(these, those):
    assert [[t.text for t in best] for best in these] == [[t.text for t in best] for best in those]
    for mine, yours in zip(these, those, strict=True):
        for one, other in zip(mine, yours, strict=True):
            assert one.score == pytest.approx(other.score, abs=1e-10)
            assert one.tgt_pieces == other.tgt_pieces
            np.testing.assert_allclose(one.weights, other.weights, atol=1e-6)


def test_order_is_kept_whatever_the_lengths(toy):
    lines = some_lines()
    found = list(translator(toy(end=1.0)).translate(lines))
    assert [best[0].src_words for best in found] == [line.split() for line in lines]


@pytest.mark.parametrize("options", [{"batch_size": 1}, {"batch_size": 64}, {"batch_size": 1000}])
def test_batch_size_changes_nothing(toy, options):
    lines = some_lines()
    assert_same(
        list(translator(toy(end=1.0), nbest=2, **options).translate(lines)),
        list(translator(toy(end=1.0), nbest=2).translate(lines)),
    )


@pytest.mark.parametrize("window", [1, 2, 13])
def test_the_window_changes_nothing(toy, window):
    lines = some_lines()
    subject = translator(toy(end=1.0))
    assert_same(list(subject.translate(lines, window=window)), list(subject.translate(lines)))


def test_no_more_lines_are_read_than_the_window_holds(toy):
    read = []
    endless = (read.append(number) or f"line {number}" for number in count())
    answers = translator(toy(end=1.0)).translate(endless, window=4)
    assert read == []
    next(answers)
    assert len(read) == 4
    assert len(list(islice(answers, 4))) == 4
    assert len(read) == 8


def test_with_a_window_of_one_each_line_is_answered_before_the_next_is_read(toy):
    read = []
    typed = (read.append(line) or line for line in ["one", "", "three"])
    for number, _ in enumerate(translator(toy(end=1.0)).translate(typed, window=1), start=1):
        assert len(read) == number


def test_long_lines_shorten_the_window(toy, monkeypatch):
    monkeypatch.setattr("nmt.decoding.batching.WINDOW_WEIGHTS", 300)
    read = []
    lines = (read.append(line) or line for line in ["aa " * 20] * 9)
    next(translator(toy(end=1.0)).translate(lines))
    assert len(read) == 1


def test_a_blank_line_gives_an_empty_translation_without_the_model(toy):
    model = toy(end=1.0)
    for [blank] in translator(model, nbest=2).translate(["", "   ", "\t\u2028 \u3000"]):
        assert (blank.text, blank.score, blank.src_words, blank.tgt_words) == ("", 0.0, [], [])
        assert blank.weights.shape == (0, 0)
    assert model.encoded == []
    mixed = list(translator(model).translate(["aa", "", "bb cc"]))
    assert [bool(best[0].tgt_pieces) for best in mixed] == [True, False, True]


def test_a_line_of_5000_pieces_goes_alone(toy):
    model = toy(end=3.0)
    lines = [*some_lines(40), "aa " * 5000, *some_lines(40, seed=1), "bb " * 300, "cc " * 10000]
    found = list(translator(model, batch_size=64, max_length=3).translate(lines))
    assert len(found) == len(lines)
    assert (1, 5001) in model.encoded
    assert (1, 10001) in model.encoded
    assert all(size == 1 or size * longest <= BATCH_PIECES for size, longest in model.encoded)
    assert max(size for size, _ in model.encoded) > 20


def test_a_translation_is_one_line(toy):
    found = [best[0] for best in translator(toy(9, seed=3, end=-1.0)).translate(some_lines())]
    for translation in found:
        assert len(translation.text.splitlines()) <= 1
        assert translation.tgt_words == translation.text.split()
    assert any(len(translation.tgt_words) > len(translation.tgt_pieces) for translation in found)


def test_weights_are_pieces_by_pieces_and_pieces_know_their_words(toy):
    lines = ["aabb c", "fghij aa fghij"]
    for line, best in zip(lines, translator(toy(end=1.0), nbest=3).translate(lines), strict=True):
        for translation in best:
            assert translation.weights.shape == (len(translation.tgt_pieces), len(translation.src_pieces))
            assert len(translation.src_word_of) == len(translation.src_pieces)
            assert len(translation.tgt_word_of) == len(translation.tgt_pieces)
            assert translation.src_pieces[-1] == "</s>"
            assert translation.src_word_of[-1] == -1
            assert set(translation.src_word_of[:-1]) == set(range(len(line.split())))


def test_a_model_without_attention_has_no_columns(toy):
    for [translation] in translator(toy(end=1.0, attention=False)).translate(["aa bb", "cc"]):
        assert translation.weights.shape == (len(translation.tgt_pieces), 0)


def test_weights_can_be_left_behind(toy):
    lines = some_lines()
    without = list(translator(toy(end=1.0), attention=False).translate(lines))
    kept = list(translator(toy(end=1.0)).translate(lines))
    assert [best[0].text for best in without] == [best[0].text for best in kept]
    assert all(best[0].weights.shape[1] == 0 for best in without)
    assert all(best[0].src_word_of == best[0].tgt_word_of == [] for best in without)
    assert [best[0].tgt_words for best in without] == [best[0].tgt_words for best in kept]


@pytest.mark.parametrize(
    ("beam", "asked", "fold_memory", "rescore_top_k"), [(1, None, False, 4), (5, None, True, 8), (1, True, True, 4)]
)
def test_the_model_is_made_for_inference_for_the_beam(toy, beam, asked, fold_memory, rescore_top_k):
    model = toy(end=1.0)
    translating = translator(model, beam=beam)
    translating.fold_memory = asked
    list(translating.translate(["aa bb"]))
    assert model.options == {"fold_memory": fold_memory, "rescore_top_k": rescore_top_k}


def test_nbest_translations_come_best_first(toy):
    for best in translator(toy(end=2.0), beam=5, nbest=3).translate(["aa bb", "cc dd ee"]):
        assert 1 < len(best) <= 3
        assert [t.score for t in best] == sorted((t.score for t in best), reverse=True)


def test_max_length_is_absolute_or_twice_the_source_and_ten(toy):
    never = toy(end=-1e9)
    [[short]] = translator(never, max_length=5).translate(["aa bb cc"])
    [[long]] = translator(never, max_length=None).translate(["aa bb cc"])
    assert len(short.tgt_pieces) == 5
    assert len(long.tgt_pieces) == 2 * 4 + 10


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"beam": 2, "nbest": 3}, "decode.nbest=3 .*decode.beam"),
        ({"beam": 0}, "decode.beam"),
        ({"batch_size": 0}, "decode.batch_size"),
        ({"max_length": 0}, "decode.max_length"),
        ({"length_penalty_alpha": -0.5, "length_penalty": LengthPenalty.gnmt}, "decode.length_penalty_alpha"),
    ],
)
def test_options_that_make_no_sense_are_refused_by_name(toy, options, named):
    with pytest.raises(ValueError, match=named):
        translator(toy(), **options)


def test_a_model_that_is_training_is_refused(toy):
    model = toy()
    model.training = True
    with pytest.raises(AssertionError, match="eval"):
        list(translator(model).translate(["aa"]))


@pytest.fixture(scope="module")
def tokenizer():
    words = ["ein", "mann", "geht", "mit", "dem", "hund", "über", "straße", "und", "sieht", "kinder", "im", "park"]
    draw = random.Random(1)
    pairs = [Pair(*(" ".join(draw.choices(words, k=6)) for _ in range(2))) for _ in range(200)]
    return train_tokenizer(
        pairs,  # type: ignore[arg-type]  (a list is iterated as a corpus is)
        model_type=ModelType.unigram,
        joint=True,
        vocab_size=290,
        character_coverage=1.0,
        byte_fallback=True,
        input_sentence_size=1000,
        seed=1,
    )


def test_any_line_goes_through_the_real_tokenizer(toy, tokenizer):
    lines = [
        "ein mann geht",
        "",
        "zeile\u2028trenner \x85 und\x00 \x1b[31m rot",
        "\u200b\u200d\ufeff",
        "\ufeffein \ud800 hund",
        "中文 עברית 👩‍👩‍👧 \t tab",
        "a\u0301\u0302" * 20,
    ]
    for seed in range(3):
        model = toy(len(tokenizer.tgt), seed=seed, end=1.0)
        found = list(Translator(model, tokenizer, SearchOptions(beam=3, max_length=30)).translate(lines))
        assert len(found) == len(lines)
        for line, [translation] in zip(lines, found, strict=True):
            assert len(translation.text.splitlines()) <= 1
            assert translation.src_words == line.split()
            assert translation.weights.shape == (len(translation.tgt_pieces), len(translation.src_pieces))
            assert max(translation.src_word_of, default=-1) < len(translation.src_words)
            assert max(translation.tgt_word_of, default=-1) < len(translation.tgt_words)
            assert len(translation.tgt_word_of) == len(translation.tgt_pieces)
