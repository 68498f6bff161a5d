"""Encoded corpora: the same ids as the tokenizer's, kept by content, whole or not at all, in bounded memory."""

import hashlib
import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest

from nmt.corpus import Corpus, EmptyLines, Pair, read_files
from nmt.data.binarized import BinarizedCorpus, Skipped, binarize_corpus
from nmt.data.symbols import EOS, PAD
from nmt.data.tokenizer import ModelType, Tokenizer
from tests.support.tokenizers import train_tokenizer

WORDS = ["house", "garden", "river", "mountain", "table", "window", "children", "morning", "letter", "question"]


class Made(Corpus):
    """Pairs made while they are read, so that the corpus itself takes no memory."""

    name = "made"

    def __init__(self, size: int, seed: int = 0):
        self.size, self.seed, self.reads = size, seed, 0

    def __iter__(self) -> Iterator[Pair]:
        self.reads += 1
        rng = np.random.default_rng(self.seed)
        for _ in range(self.size):
            src = [WORDS[i] for i in rng.integers(0, len(WORDS), rng.integers(1, 9))]
            yield Pair(" ".join(src), " ".join(word[::-1] for word in src[::-1]))

    def digest(self) -> str:
        return hashlib.sha256(repr((self.size, self.seed)).encode()).hexdigest()


class Given(Corpus):
    """Pairs as given."""

    name = "given"

    def __init__(self, *pairs: tuple[str, str], blank: EmptyLines = EmptyLines.skip):
        self.pairs, self.empty_lines = [Pair(*pair) for pair in pairs], blank

    def __iter__(self) -> Iterator[Pair]:
        return iter(self.pairs)

    def digest(self) -> str:
        return hashlib.sha256(repr(self.pairs).encode()).hexdigest()


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    options = {
        "joint": False,
        "src_vocab_size": 60,
        "tgt_vocab_size": 60,
        "byte_fallback": False,
        "input_sentence_size": 500,
        "seed": 1,
    }
    return train_tokenizer(Made(500), model_type=ModelType.bpe, character_coverage=1.0, **options)


def encode(corpus, tokenizer, cache, *, max_length=None, skip=True) -> BinarizedCorpus:
    return binarize_corpus(corpus, tokenizer, max_length=max_length, skip=skip, cache=cache)


def same(a: BinarizedCorpus, b: BinarizedCorpus) -> bool:
    return len(a) == len(b) and all(np.array_equal(x, y) for i in range(len(a)) for x, y in zip(a.pair(i), b.pair(i)))  # noqa: B905


def test_pairs_are_the_tokenizer_s_ids_and_the_end(tmp_path, tokenizer):
    encoded = encode(Made(50), tokenizer, tmp_path)
    for i, pair in enumerate(Made(50)):
        src, tgt = encoded.pair(i)
        assert src.tolist() == [*tokenizer.src.encode(pair.src), EOS]
        assert tgt.tolist() == [*tokenizer.tgt.encode(pair.tgt), EOS]
        assert src.dtype == tgt.dtype == np.int32


def test_lengths_count_the_end(tmp_path, tokenizer):
    encoded = encode(Made(50), tokenizer, tmp_path)
    assert encoded.src_lengths.tolist() == [len(encoded.pair(i)[0]) for i in range(50)]
    assert encoded.tgt_lengths.tolist() == [len(encoded.pair(i)[1]) for i in range(50)]
    assert encoded.src_lengths.dtype == encoded.tgt_lengths.dtype == np.int32


def test_many_rows_are_many_pairs(tmp_path, tokenizer, monkeypatch):
    monkeypatch.setattr("nmt.data.binarized._PAIRS", 7)  # so that rows come from several chunks
    encoded = encode(Made(50), tokenizer, tmp_path)
    rows = np.array([49, 0, 7, 6, 7, 20])
    src, src_lengths, tgt, tgt_lengths = encoded.rows(rows)
    for k, i in enumerate(rows):
        assert src[k, : src_lengths[k]].tolist() == encoded.pair(i)[0].tolist()
        assert tgt[k, : tgt_lengths[k]].tolist() == encoded.pair(i)[1].tolist()
        assert set(src[k, src_lengths[k] :]) | set(tgt[k, tgt_lengths[k] :]) <= {PAD}
    assert src.shape == (6, src_lengths.max())


@pytest.mark.parametrize("limit", ["_PAIRS", "_CHARACTERS"])
def test_the_size_of_chunks_changes_nothing(tmp_path, tokenizer, monkeypatch, limit):
    whole = encode(Made(50), tokenizer, tmp_path / "a")
    monkeypatch.setattr(f"nmt.data.binarized.{limit}", 3)
    assert same(whole, encode(Made(50), tokenizer, tmp_path / "b"))


def test_chunks_that_are_skipped_altogether_change_nothing(tmp_path, tokenizer, monkeypatch):
    monkeypatch.setattr("nmt.data.binarized._PAIRS", 1)
    pairs = [("", ""), ("house", "esuoh"), ("", ""), ("", ""), ("river table", "elbat revir"), ("", "")]
    encoded = encode(Given(*pairs), tokenizer, tmp_path)
    assert [tokenizer.src.decode(encoded.pair(i)[0]) for i in range(len(encoded))] == ["house", "river table"]


def test_blank_and_long_pairs_are_skipped_and_counted(tmp_path, tokenizer):
    long = " ".join(WORDS * 9)
    pairs = [("house", "x"), ("", ""), (long, "x"), ("x", long), ("\u200b", "x"), ("x", " "), ("river", "x")]
    encoded = encode(Given(*pairs), tokenizer, tmp_path, max_length=30)
    assert encoded.skipped == Skipped(blank=3, long=2)
    assert [tokenizer.src.decode(encoded.pair(i)[0]) for i in range(len(encoded))] == ["house", "river"]


def test_a_pair_as_long_as_the_limit_is_kept(tmp_path, tokenizer):
    pieces = len(tokenizer.src.encode("house garden"))
    corpus = Given(("house garden", "esuoh"))
    assert len(encode(corpus, tokenizer, tmp_path, max_length=pieces)) == 1
    with pytest.raises(ValueError, match="more than"):
        encode(corpus, tokenizer, tmp_path, max_length=pieces - 1)


def test_nothing_is_skipped_for_scoring(tmp_path, tokenizer):
    pairs = [("", ""), (" ".join(WORDS * 9), "x"), ("house", "")]
    encoded = encode(Given(*pairs), tokenizer, tmp_path, max_length=5, skip=False)
    assert len(encoded) == 3
    assert encoded.skipped == Skipped(0, 0)
    assert [side.tolist() for side in encoded.pair(0)] == [[EOS], [EOS]]


def test_pairs_blank_on_one_side_are_kept_on_request(tmp_path, tokenizer):
    corpus = Given(("", "esuoh"), ("house", ""), ("", ""), blank=EmptyLines.keep)
    encoded = encode(corpus, tokenizer, tmp_path)
    assert len(encoded) == 2
    assert encoded.skipped == Skipped(blank=1, long=0)


def test_a_corpus_of_which_nothing_is_left_is_an_error(tmp_path, tokenizer):
    with pytest.raises(
        ValueError, match=r"^no pair of given is left: 1 are blank and 1 have more than 1 pieces on a side"
    ):
        encode(Given(("", ""), ("house garden", "x")), tokenizer, tmp_path, max_length=1)
    assert list(tmp_path.iterdir()) == []


def test_a_corpus_that_is_blank_throughout_is_told_of_no_limit(tmp_path, tokenizer):
    with pytest.raises(ValueError, match=r"^no pair of given is left: 2 are blank$"):
        encode(Given(("", ""), ("house", "")), tokenizer, tmp_path)


def test_a_limit_below_one_is_an_error(tmp_path, tokenizer):
    with pytest.raises(ValueError, match=r"data.max_length=0: it must be at least 1"):
        encode(Made(5), tokenizer, tmp_path, max_length=0)


def test_a_second_call_reads_no_corpus(tmp_path, tokenizer):
    corpus = Made(50)
    first = encode(corpus, tokenizer, tmp_path)
    second = encode(corpus, tokenizer, tmp_path)
    assert corpus.reads == 1
    assert same(first, second)


def test_skipped_counts_outlive_the_first_call(tmp_path, tokenizer):
    corpus = Given(("house", "x"), ("", ""))
    assert encode(corpus, tokenizer, tmp_path).skipped == encode(corpus, tokenizer, tmp_path).skipped == Skipped(1, 0)


def test_other_content_options_or_tokenizer_are_encoded_apart(tmp_path, tokenizer):
    swapped = Tokenizer(tokenizer.tgt, tokenizer.src)
    paths = {
        encode(Made(50), tokenizer, tmp_path).path,
        encode(Made(51), tokenizer, tmp_path).path,
        encode(Made(50), tokenizer, tmp_path, max_length=9).path,
        encode(Made(50), tokenizer, tmp_path, skip=False).path,
        encode(Made(50), swapped, tmp_path).path,
    }
    assert len(paths) == 5


@pytest.mark.parametrize("keep", [0, 1, 100, -1, -8, -300])
def test_a_file_cut_short_is_made_anew(tmp_path, tokenizer, keep):
    path = encode(Made(50), tokenizer, tmp_path).path
    path.write_bytes(path.read_bytes()[:keep])
    assert same(encode(Made(50), tokenizer, tmp_path), encode(Made(50), tokenizer, tmp_path / "other"))


def test_a_file_of_something_else_is_made_anew(tmp_path, tokenizer):
    path = encode(Made(50), tokenizer, tmp_path).path
    path.write_bytes(b"\x00" * 5000)
    assert len(encode(Made(50), tokenizer, tmp_path)) == 50


def test_an_interrupted_encoding_leaves_nothing(tmp_path, tokenizer):
    class Broken(Made):
        def __iter__(self):
            yield from super().__iter__()
            raise ValueError("line 51 is broken")

    with pytest.raises(ValueError, match="line 51"):
        encode(Broken(50), tokenizer, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_memory_does_not_grow_with_the_corpus(tmp_path, tokenizer, monkeypatch):
    monkeypatch.setattr("nmt.data.binarized._PAIRS", 500)

    def peak(size: int) -> int:
        tracemalloc.start()
        encoded = encode(Made(size), tokenizer, tmp_path)
        taken = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return taken - encoded.src_lengths.nbytes - encoded.tgt_lengths.nbytes

    assert peak(12_000) < 1.3 * peak(1_500)


def test_multi30k_round_trips_through_the_file(corpora, tmp_path):
    corpus = read_files([corpora / "multi30k" / "val"], "de", "en")
    options = {
        "joint": True,
        "vocab_size": 2000,
        "byte_fallback": True,
        "input_sentence_size": 2000,
        "seed": 1,
    }
    tokenizer = train_tokenizer(corpus, model_type=ModelType.bpe, character_coverage=1.0, **options)
    encoded = encode(corpus, tokenizer, tmp_path)
    for i, pair in enumerate(corpus):
        assert tokenizer.tgt.decode(encoded.pair(i)[1].tolist()) == tokenizer.tgt.normalize(pair.tgt)


# Links between words


class Linked(list):
    """Links as given, one collection a pair."""

    name = "some.links"
    weighted = False

    def digest(self) -> str:
        return repr(list(self))


def encode_linked(pairs, links, tokenizer, cache, **options):
    return binarize_corpus(
        Given(*pairs), tokenizer, cache=cache, links=Linked(links), **{"max_length": None, "skip": True, **options}
    )


def pieces_of(side, text: str, word: int) -> set[int]:
    return {piece for piece, owner in enumerate(side.encode_words(text).words) if owner == word}


def test_linked_words_have_all_their_pieces_linked_whatever_was_skipped_before_them(tmp_path, tokenizer, monkeypatch):
    monkeypatch.setattr("nmt.data.binarized._PAIRS", 2)
    pairs = [("house river", "revir esuoh"), ("", ""), ("table", "elbat x"), (" ".join(WORDS * 9), "x"), ("a b", "b a")]
    links = [{(0, 1), (1, 0)}, set(), {(0, 0)}, {(3, 0)}, {(0, 1), (0, 0)}]
    encoded = encode_linked(pairs, links, tokenizer, tmp_path, max_length=40)
    rows = np.array([2, 0, 1])
    found = {tuple(link) for link in encoded.links(rows).tolist()}
    expected = set()
    for place, pair in enumerate((4, 0, 2)):
        for src, tgt in links[pair]:
            src_pieces = pieces_of(tokenizer.src, pairs[pair][0], src)
            tgt_pieces = pieces_of(tokenizer.tgt, pairs[pair][1], tgt)
            expected |= {(place, t, s) for t in tgt_pieces for s in src_pieces}
    assert found == expected
    assert encoded.links(rows).shape == (len(expected), 3)


def test_links_leave_the_pairs_as_they_are_and_have_a_file_of_their_own(tmp_path, tokenizer):
    pairs = [("house river", "revir esuoh"), ("table", "elbat")]
    plain = encode(Given(*pairs), tokenizer, tmp_path)
    linked = encode_linked(pairs, [{(0, 1)}, set()], tokenizer, tmp_path)
    other = encode_linked(pairs, [{(0, 0)}, set()], tokenizer, tmp_path)
    assert same(plain, linked)
    assert len({plain.path, linked.path, other.path}) == 3
    assert plain.links(np.array([0, 1])).shape == (0, 3)


@pytest.mark.parametrize(
    ("links", "said"),
    [
        ([{(0, 0)}], "some.links has 1 lines but given has 2 pairs"),
        ([{(0, 0)}] * 4, "some.links has 4 lines but given has 2 pairs"),
        (
            [{(0, 0)}, {(0, 1)}],
            "some.links, line 2: source word 0 and target word 1, counted from 0, of a pair with 1 and 1",
        ),
    ],
)
def test_links_of_another_corpus_are_refused(tmp_path, tokenizer, links, said):
    with pytest.raises(ValueError, match=said):
        encode_linked([("house river", "revir esuoh"), ("table", "elbat")], links, tokenizer, tmp_path)
    assert not list(tmp_path.iterdir())
