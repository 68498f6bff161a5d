"""Sampled segmentations: with the probabilities of the papers, and the same in every process."""

import io
import math
import random
import subprocess
import sys
from collections import Counter
from itertools import pairwise

import pytest
from sentencepiece import SentencePieceTrainer

from nmt import subword_sampling
from nmt.data.symbols import UNK
from nmt.data.tokenizer.subwords import Subwords

WORDS = ["house", "houses", "mouse", "red", "reddish", "dog", "dogs", "a", "the", "horse"]
DRAW = random.Random(0)
LINES = [" ".join(DRAW.choice(WORDS) for _ in range(DRAW.randint(1, 8))) for _ in range(300)]
TEXTS = [*LINES[:40], "", "  ", "猫 house", "a<x>house dogs<x>"]
KINDS = ["bpe", "unigram"]


def train(kind: str, **options) -> Subwords:
    """A model with the user-defined pieces <x> and dog."""
    model = io.BytesIO()
    options = {"vocab_size": 300, "byte_fallback": True, "hard_vocab_limit": False, **options}
    SentencePieceTrainer.train(
        sentence_iterator=iter(LINES),
        model_writer=model,
        model_type=kind,
        user_defined_symbols=["<x>", "dog"],
        num_threads=1,
        minloglevel=3,
        **options,
    )
    return Subwords(model.getvalue())


@pytest.fixture(scope="module", params=KINDS)
def subwords(request) -> Subwords:
    return train(request.param)


def segmentations(subwords: Subwords, text: str) -> list[list[str]]:
    """All segmentations of a normalized text in pieces of the model."""
    if not text:
        return [[]]
    pieces = [piece for piece in subwords.vocabulary if text.startswith(piece)]
    return [[piece, *rest] for piece in pieces for rest in segmentations(subwords, text[len(piece) :])]


def test_the_text_is_unchanged(subwords):
    for seed in range(4):
        for text in TEXTS:
            assert subwords.decode(subwords.sample(text, 0.3, seed=seed)) == subwords.normalize(text)


def test_the_extremes_are_the_best_segmentation_and_characters(subwords):
    for text in TEXTS:
        best = 0.0 if not subwords.has_nbest else 1000.0
        assert subwords.sample(text, best, seed=1) == subwords.encode(text)
        if not subwords.has_nbest:
            pieces = subwords.pieces(subwords.sample(text, 1.0, seed=1))
            assert all(len(piece) == 1 or piece in ("<x>", "dog") or piece.startswith("<0x") for piece in pieces)


@pytest.mark.parametrize("nbest", [-1, 8])
def test_user_defined_pieces_are_never_divided(subwords, nbest):
    alpha = 0.01 if subwords.has_nbest else 0.5
    drawn = [subwords.pieces(subwords.sample("a<x>house dogs<x>", alpha, nbest, seed=seed)) for seed in range(50)]
    assert all(pieces.count("<x>") == 2 and pieces.count("dog") == 1 for pieces in drawn)
    assert len(set(map(tuple, drawn))) > 1


@pytest.mark.parametrize("nbest", [-1, 2])
def test_a_segmentation_of_a_unigram_model_has_its_probability_to_the_power_alpha(nbest):
    subwords, alpha, draws = train("unigram"), 0.4, 4000
    scores = {tuple(each): 0.0 for each in segmentations(subwords, "▁houses")}
    processor = subwords._processor
    for pieces in scores:
        scores[pieces] = sum(processor.get_score(processor.piece_to_id(piece)) for piece in pieces)
    kept = sorted(scores, key=lambda pieces: -scores[pieces])[: nbest if nbest > 0 else None]
    total = sum(math.exp(alpha * scores[pieces]) for pieces in kept)
    found = Counter(tuple(subwords.pieces(subwords.sample("houses", alpha, nbest, seed=seed))) for seed in range(draws))
    assert len(kept) >= 2
    assert set(found) <= set(kept)
    for pieces in kept:
        share = math.exp(alpha * scores[pieces]) / total
        assert found[pieces] / draws == pytest.approx(share, abs=5 * math.sqrt(share * (1 - share) / draws))


def test_each_merge_of_a_bpe_model_is_left_out_with_the_same_probability():
    subwords, draws = train("bpe"), 4000
    assert subwords.pieces(subwords.encode("a")) == ["▁a"]
    apart = sum(len(subwords.sample("a", 0.2, seed=seed)) == 2 for seed in range(draws)) / draws
    assert apart == pytest.approx(0.2, abs=5 * math.sqrt(0.2 * 0.8 / draws))


def bpe_dropout(subwords: Subwords, pieces: list[str], dropout: float, left_out: frozenset = frozenset()) -> Counter:
    """The probability of each segmentation, by trying both ends of every merge. left_out: the merges that are not tried
    again, each by its places in the text."""
    places, ends = [], 0
    for piece in pieces:
        places.append((ends, ends + len(piece)))
        ends += len(piece)
    processor, found = subwords._processor, []
    for k, pair in enumerate(pairwise(pieces)):
        merged, place = "".join(pair), (places[k][0], places[k + 1][0], places[k + 1][1])
        if merged in subwords.vocabulary and place not in left_out:
            found.append((-processor.get_score(processor.piece_to_id(merged)), k, place))
    if not found:
        return Counter({tuple(pieces): 1.0})
    _, k, place = min(found)
    total = Counter()
    merged = [*pieces[:k], pieces[k] + pieces[k + 1], *pieces[k + 2 :]]
    for share, ways in (
        (1 - dropout, bpe_dropout(subwords, merged, dropout, left_out)),
        (dropout, bpe_dropout(subwords, pieces, dropout, left_out | {place})),
    ):
        total.update({way: share * each for way, each in ways.items()})
    return total


@pytest.mark.parametrize("cached", [0, 32])
def test_segmentations_of_a_bpe_model_have_the_probabilities_of_bpe_dropout(cached, monkeypatch):
    monkeypatch.setattr(subword_sampling, "_CACHED_LENGTH", cached)
    subwords, draws = train("bpe"), 4000
    expected = bpe_dropout(subwords, list("▁houses"), 0.3)
    found = Counter(tuple(subwords.pieces(subwords.sample("houses", 0.3, seed=seed))) for seed in range(draws))
    assert sum(expected.values()) == pytest.approx(1)
    assert len(expected) > 10
    assert set(found) <= set(expected)
    for pieces, share in expected.items():
        assert found[pieces] / draws == pytest.approx(share, abs=5 * math.sqrt(share * (1 - share) / draws))


def test_words_of_a_text_are_sampled_independently():
    """Of two equal words, each has the same distribution, and both differ as often as independent words do."""
    subwords, draws = train("bpe"), 2000
    one = bpe_dropout(subwords, list("▁horse"), 0.3)
    texts = ["".join(subwords.pieces(subwords.sample("horse horse", 0.3, seed=seed))) for seed in range(draws)]
    assert set(texts) == {"▁horse▁horse"}
    same = 0
    for seed in range(draws):
        pieces = subwords.pieces(subwords.sample("horse horse", 0.3, seed=seed))
        second = next(k for k, piece in enumerate(pieces) if k and piece.startswith("▁"))
        same += pieces[:second] == pieces[second:]
    share = sum(each * each for each in one.values())
    assert same / draws == pytest.approx(share, abs=5 * math.sqrt(share * (1 - share) / draws))


@pytest.mark.parametrize("kind", KINDS)
def test_pieces_of_several_words_are_sampled(kind):
    subwords = train(kind, split_by_whitespace=False)
    whole = [piece for piece in subwords.vocabulary if "▁" in piece[1:]]
    assert whole
    text = whole[0].replace("▁", " ").strip()
    drawn = {tuple(subwords.pieces(subwords.sample(text, 0.2, seed=seed))) for seed in range(200)}
    assert any("▁" in piece[1:] for pieces in drawn for piece in pieces)
    assert any(all("▁" not in piece[1:] for piece in pieces) for pieces in drawn)
    assert {subwords.decode(subwords.sample(text, 0.2, seed=seed)) for seed in range(50)} == {subwords.normalize(text)}


def test_a_segmentation_that_would_lose_text_is_the_best_one():
    subwords = train("bpe", byte_fallback=False, vocab_size=60)
    assert UNK in subwords.encode("猫 house")
    assert subwords.sample("猫 house", 0.5, seed=1) == subwords.encode("猫 house")


@pytest.mark.process
@pytest.mark.parametrize(("kind", "nbest"), [("bpe", -1), ("unigram", -1), ("unigram", 5)])
def test_the_same_seed_gives_the_same_segmentation_in_every_process(kind, nbest):
    body = f"""
from tests.data.test_sampling import TEXTS, train
subwords = train({kind!r})
print([subwords.sample(text, 0.3, {nbest}, seed=seed) for seed, text in enumerate(TEXTS)])
"""
    printed = {
        subprocess.run([sys.executable, "-c", body], capture_output=True, text=True, check=True).stdout for _ in "ab"
    }
    subwords = train(kind)
    assert printed == {f"{[subwords.sample(text, 0.3, nbest, seed=seed) for seed, text in enumerate(TEXTS)]}\n"}
