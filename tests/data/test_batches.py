"""Batches: every pair once, within the budget, in an order that seed and epoch decide alone, and little padding."""

import hashlib

import numpy as np
import pytest
import torch

from nmt.corpus import Corpus, Pair, read_files
from nmt.data.batches import Batches, BatchOptions, BatchType
from nmt.data.binarized import BinarizedCorpus, binarize_corpus
from nmt.data.symbols import BOS, EOS, PAD
from nmt.data.tokenizer import ModelType
from tests.support.tokenizers import train_tokenizer


class Lengths:
    """Stands in for an encoded corpus where only its lengths matter."""

    def __init__(self, src: np.ndarray, tgt: np.ndarray):
        self.src_lengths, self.tgt_lengths = src.astype(np.int32), tgt.astype(np.int32)

    def __len__(self) -> int:
        return len(self.src_lengths)


def captions(size: int = 29_000, seed: int = 0) -> Lengths:
    """Lengths like those of multi30k: about 15 on a side, a long tail, sides that go together."""
    rng = np.random.default_rng(seed)
    tgt = np.clip(np.round(rng.lognormal(2.65, 0.32, size)), 4, 60)
    return Lengths(np.clip(np.round(tgt * rng.normal(1.03, 0.16, size)), 3, 70), tgt)


def batches(lengths, size=4096, type=BatchType.tokens, bucket_batches=0, **order) -> Batches:
    return Batches(lengths, BatchOptions(size, type, bucket_batches), **order)


def rows_of(epoch) -> list[list[int]]:
    return [batch.tolist() for batch in epoch]


CASES = [
    {"size": 4096},
    {"size": 4096, "bucket_batches": 10},
    {"size": 10},
    {"size": 80, "type": BatchType.sentences},
    {"size": 80, "type": BatchType.sentences, "bucket_batches": 20},
    {"size": 1, "type": BatchType.sentences, "bucket_batches": 3},
    {"size": 10**9, "bucket_batches": 7},
    {"size": 500, "shuffle": False},
    {"size": 500, "shuffle": False, "sort": True},
    {"size": 500, "sort": False},
]
every_case = pytest.mark.parametrize("case", CASES, ids=[" ".join(map(str, case.values())) for case in CASES])


@every_case
def test_each_row_comes_once_an_epoch(case):
    rows = np.concatenate(batches(captions(1234), **case).epoch(3))
    assert np.array_equal(np.sort(rows), np.arange(1234))


@every_case
def test_an_epoch_is_the_same_whenever_asked_for(case):
    once = batches(captions(1234), **case, seed=5)
    again = batches(captions(1234), **case, seed=5)
    first = rows_of(once.epoch(2))
    once.epoch(0)
    assert rows_of(once.epoch(2)) == first == rows_of(again.epoch(2))


@every_case
def test_no_batch_is_empty(case):
    assert all(len(batch) for batch in batches(captions(1234), **case).epoch(0))


@pytest.mark.parametrize("pool", [0, 10])
@pytest.mark.parametrize("budget", [10, 64, 4096])
def test_no_batch_of_several_pairs_passes_the_budget(budget, pool):
    lengths = captions(1234)
    for batch in batches(lengths, budget, bucket_batches=pool).epoch(0):
        longest = max(lengths.src_lengths[batch].max(), lengths.tgt_lengths[batch].max())
        assert len(batch) == 1 or len(batch) * longest <= budget


def test_a_pair_longer_than_the_budget_makes_a_batch_of_its_own():
    lengths = Lengths(np.array([3, 50, 3, 3]), np.array([3, 4, 3, 3]))
    assert sorted(map(sorted, rows_of(batches(lengths, 12).epoch(0)))) == [[0, 2, 3], [1]]


def test_batches_are_as_large_as_the_budget_allows():
    lengths = Lengths(np.full(100, 10), np.full(100, 8))
    assert [len(batch) for batch in batches(lengths, 250, shuffle=False).epoch(0)] == [25] * 4


def test_epochs_differ():
    made = batches(captions(1234))
    assert rows_of(made.epoch(0)) != rows_of(made.epoch(1))


def test_seeds_differ():
    assert rows_of(batches(captions(1234), seed=0).epoch(1)) != rows_of(batches(captions(1234), seed=1).epoch(0))


def test_batches_do_not_come_by_length():
    lengths = captions(5000)
    means = [lengths.tgt_lengths[batch].mean() for batch in batches(lengths, 1000).epoch(0)]
    assert abs(np.corrcoef(np.arange(len(means)), means)[0, 1]) < 0.3


def test_pairs_of_equal_length_meet_different_neighbors():
    made = batches(Lengths(np.full(100, 5), np.full(100, 5)), 50)
    assert sorted(map(sorted, rows_of(made.epoch(0)))) != sorted(map(sorted, rows_of(made.epoch(1))))


def test_without_shuffling_pairs_come_as_they_are():
    epoch = batches(captions(1234), 500, shuffle=False).epoch(7)
    assert np.array_equal(np.concatenate(epoch), np.arange(1234))


def test_sorting_without_shuffling_pads_less():
    plain = batches(captions(), shuffle=False).fill(0).both
    assert batches(captions(), shuffle=False, sort=True).fill(0).both > plain + 0.2


def test_the_recipe_of_bahdanau_sorts_1600_pairs_into_20_batches():
    lengths = captions(3200)
    made = batches(lengths, 80, BatchType.sentences, bucket_batches=20, seed=4)
    epoch = made.epoch(0)
    assert [len(batch) for batch in epoch] == [80] * 40
    order = np.random.default_rng([4, 0]).permutation(3200)
    pools = [set(order[:1600]), set(order[1600:])]
    assert sorted(sum(set(batch) <= pool for batch in epoch) for pool in pools) == [20, 20]
    assert made.fill(0).both > batches(lengths, 80, BatchType.sentences, sort=False).fill(0).both + 0.15


def test_captions_are_padded_by_less_than_five_percent_on_either_side():
    fill = batches(captions()).fill(0)
    assert min(fill.src, fill.tgt) >= 0.95


def test_fill_is_real_over_padded_tokens():
    lengths = Lengths(np.array([2, 4, 3]), np.array([5, 5, 1]))
    fill = batches(lengths, 2, BatchType.sentences, shuffle=False).fill(0)
    assert fill == (9 / 11, 11 / 11, 20 / 22)


@pytest.mark.parametrize(
    ("option", "message"), [({"size": 0}, r"batch\.size=0"), ({"bucket_batches": -1}, r"batch\.bucket_batches=-1")]
)
def test_impossible_sizes_are_refused(option, message):
    with pytest.raises(ValueError, match=message):
        batches(captions(10), **option)


def test_an_empty_epoch_needs_no_special_case():
    assert np.concatenate(batches(captions(1)).epoch(0)).tolist() == [0]


class Letters(Corpus):
    """A few short pairs of unequal length."""

    name = "letters"
    pairs = [Pair("a b c d", "d"), Pair("b", "b b b a"), Pair("c d", "d c")]  # noqa: RUF012

    def __iter__(self):
        return iter(self.pairs)

    def digest(self):
        return hashlib.sha256(b"letters").hexdigest()


@pytest.fixture(scope="module")
def letters(tmp_path_factory) -> BinarizedCorpus:
    options = {
        "joint": True,
        "vocab_size": 30,
        "byte_fallback": False,
        "input_sentence_size": 9,
        "seed": 1,
    }
    tokenizer = train_tokenizer(Letters(), model_type=ModelType.char, character_coverage=1.0, **options)
    return binarize_corpus(Letters(), tokenizer, max_length=None, skip=True, cache=tmp_path_factory.mktemp("cache"))


def test_targets_go_in_behind_bos_and_come_out_before_eos(letters):
    batch = batches(letters).collate(np.array([1, 0, 2]))
    for k, row in enumerate([1, 0, 2]):
        tgt, length = letters.pair(row)[1].tolist(), batch.tgt_lengths[k]
        assert batch.tgt_out[k, :length].tolist() == tgt
        assert batch.tgt_in[k, :length].tolist() == [BOS, *tgt[:-1]]
        assert tgt[-1] == EOS


def test_what_is_beyond_the_lengths_is_padding(letters):
    batch = batches(letters).collate(np.array([1, 0, 2]))
    src_beyond = torch.arange(batch.src.shape[1]) >= batch.src_lengths[:, None]
    tgt_beyond = torch.arange(batch.tgt_in.shape[1]) >= batch.tgt_lengths[:, None]
    assert torch.equal(batch.src == PAD, src_beyond)
    assert torch.equal(batch.tgt_in == PAD, tgt_beyond)
    assert torch.equal(batch.tgt_out == PAD, tgt_beyond)


def test_a_batch_knows_its_rows_and_its_tokens(letters):
    batch = batches(letters).collate(np.array([2, 0]))
    assert batch.rows.tolist() == [2, 0]
    assert batch.tokens == int(batch.tgt_lengths.sum()) == int((batch.tgt_out != PAD).sum())
    assert isinstance(batch.tokens, int)


def test_every_tensor_of_a_batch_is_int64(letters):
    batch = batches(letters).collate(np.array([2, 0])).to("cpu")
    assert {tensor.dtype for tensor in batch[:-1]} == {torch.int64}


def test_multi30k_is_padded_by_less_than_five_percent_on_either_side(corpora, tmp_path):
    corpus = read_files([corpora / "multi30k" / "train"], "de", "en")
    options = {
        "joint": True,
        "vocab_size": 8000,
        "byte_fallback": True,
        "input_sentence_size": 5000,
        "seed": 1,
    }
    tokenizer = train_tokenizer(corpus, model_type=ModelType.bpe, character_coverage=1.0, **options)
    encoded = binarize_corpus(corpus, tokenizer, max_length=None, skip=True, cache=tmp_path)
    fill = Batches(encoded, BatchOptions(4096), seed=0, shuffle=True).fill(0)
    assert min(fill.src, fill.tgt) >= 0.95
