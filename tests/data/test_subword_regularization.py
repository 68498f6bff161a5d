"""Subword regularization: other pieces of the same text in every epoch, the same for everybody who asks."""

import random
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from sentencepiece import SentencePieceTrainer

from nmt import build
from nmt.analysis.alignment import LinkFiles
from nmt.corpus import read_files
from nmt.data.batches import Batches, BatchOptions
from nmt.data.binarized import binarize_corpus
from nmt.data.subword_regularization import SampledCorpus, SubwordRegularizationOptions
from nmt.data.symbols import UNK
from nmt.data.tokenizer import ModelType, Tokenizer
from nmt.runtime.device import Device
from nmt.runtime.distributed import Distributed
from nmt.training.consistency import LossOptions
from nmt.training.gradients import Gradients, SyncedFlags
from nmt.training.optim import OptimizerOptions
from tests.support.commands import compose_config
from tests.support.run_fixtures import write_pairs
from tests.support.tokenizers import train_tokenizer

ROWS = np.arange(40)
BOTH = SubwordRegularizationOptions(src_alpha=0.3, tgt_alpha=0.3)
CPU = Device(torch.device("cpu"), torch.float32, "for tests")


class Text:
    """A small corpus in pieces of a kind, and its word links."""

    def __init__(self, folder, kind: ModelType):
        write_pairs(folder / "train", 60, 0)
        lengths = [len(line.split()) for line in (folder / "train.de").read_text().splitlines()]
        links = [" ".join(f"{k}-{length - 1 - k}" for k in range(length)) for length in lengths]
        (folder / "links").write_text("".join(f"{line}\n" for line in links))
        self.folder, self.corpus = folder, read_files([folder / "train"], "de", "en")
        self.tokenizer = train_tokenizer(
            self.corpus,
            model_type=kind,
            joint=False,
            vocab_size=50 if kind is ModelType.bpe else 33,
            byte_fallback=False,
            input_sentence_size=1000,
            seed=1,
            cache=folder / "cache",
        )
        self.links = LinkFiles([folder / "links"], "guided_alignment.links")
        self.encoded = binarize_corpus(
            self.corpus, self.tokenizer, max_length=None, skip=True, cache=folder / "cache", links=self.links
        )

    def sampled(self, options: SubwordRegularizationOptions = BOTH, seed: int = 7) -> SampledCorpus:
        return SampledCorpus(self.encoded, self.tokenizer, options, seed)

    def texts(self, rows) -> list[tuple[str, str]]:
        return [
            (self.tokenizer.src.decode(src.tolist()), self.tokenizer.tgt.decode(tgt.tolist()))
            for src, tgt in zip(rows.src, rows.tgt, strict=True)
        ]


@pytest.fixture(scope="module", params=[ModelType.bpe, ModelType.unigram])
def text(request, tmp_path_factory) -> Text:
    return Text(tmp_path_factory.mktemp(request.param.value), request.param)


def test_every_epoch_has_the_same_text_in_other_pieces(text):
    sampled = text.sampled()
    first, second = (sampled.rows(ROWS, epoch) for epoch in (0, 1))
    assert text.texts(first) == text.texts(second) == text.texts(text.encoded.rows(ROWS))
    for side in ("src_lengths", "tgt_lengths"):
        assert (getattr(first, side) != getattr(second, side)).any()
        assert (getattr(first, side) != getattr(text.encoded, side)[ROWS]).any()


def test_pieces_depend_on_seed_epoch_and_pair_alone(text):
    whole = text.sampled().rows(ROWS, 3)
    other = text.sampled()
    other.rows(ROWS[::2], 0)
    for row in (17, 4):
        alone = other.rows(np.array([row]), 3)
        assert alone.src[0].tolist() == whole.src[row, : whole.src_lengths[row]].tolist()
        assert alone.tgt[0].tolist() == whole.tgt[row, : whole.tgt_lengths[row]].tolist()
    assert text.texts(text.sampled(seed=8).rows(ROWS, 3)) == text.texts(whole)
    assert (text.sampled(seed=8).rows(ROWS, 3).tgt_lengths != whole.tgt_lengths).any()


@pytest.mark.parametrize("side", ["src", "tgt"])
def test_each_side_has_its_own_rate(text, side):
    rows, best = (
        text.sampled(SubwordRegularizationOptions(*((0.3, None) if side == "src" else (None, 0.3)))).rows(ROWS, 0),
        text.encoded,
    )
    for name in ("src", "tgt"):
        changed = (getattr(rows, f"{name}_lengths") != getattr(best, f"{name}_lengths")[ROWS]).any()
        assert changed == (name == side)


def test_the_target_tokens_of_an_update_are_those_of_its_pieces(text):
    batches = Batches(text.encoded, BatchOptions(60), sampled=text.sampled())
    counts = set()
    for epoch in range(8):
        batch = batches.collate(ROWS, epoch)
        assert batches.tgt_tokens(ROWS, epoch) == batch.tokens == len(batch.token_positions)
        counts.add(batch.tokens)
    assert len(counts) > 1


def test_links_are_between_the_words_that_they_were_between(text):
    sampled = text.sampled()
    for epoch in (0, 1):
        rows, found = sampled.rows(ROWS, epoch), sampled.links(ROWS, epoch)
        for place, linked in zip(ROWS.tolist(), text.links, strict=False):
            src, tgt = (
                side.decode_words(ids.tolist()).words
                for side, ids in ((text.tokenizer.src, rows.src[place]), (text.tokenizer.tgt, rows.tgt[place]))
            )
            pieces = {(t, s) for t in range(len(tgt)) for s in range(len(src)) if (src[s], tgt[t]) in linked}
            assert {(t, s) for p, t, s in found.tolist() if p == place} == pieces
        assert len(found) == len({tuple(link) for link in found.tolist()})


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_a_word_that_a_piece_of_several_words_has_all_of_is_not_linked(tmp_path, kind):
    draw = random.Random(0)
    lines = [" ".join(draw.choice(["new york", "a cat", "the dog", "is big"]) for _ in range(3)) for _ in range(60)]
    for name in ("t.de", "t.en"):
        (tmp_path / name).write_text("".join(f"{line}\n" for line in lines))
    (tmp_path / "links").write_text("0-0 1-1 2-2 3-3 4-4 5-5\n" * 60)
    model = str(tmp_path / kind)
    SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_prefix=model,
        model_type=kind,
        vocab_size=40,
        split_by_whitespace=False,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    tokenizer = Tokenizer.from_files(f"{model}.model", f"{model}.model")
    encoded = binarize_corpus(
        read_files([tmp_path / "t"], "de", "en"),
        tokenizer,
        max_length=None,
        skip=True,
        cache=tmp_path / "cache",
        links=LinkFiles([tmp_path / "links"], "guided_alignment.links"),
    )
    sampled = SampledCorpus(encoded, tokenizer, BOTH, 1)
    linked = sampled.links(ROWS, 0)
    rows = sampled.rows(ROWS, 0)
    assert len(linked)
    for place, tgt, src in linked.tolist():
        words = [
            side.decode_words(ids[place].tolist()).words[piece]
            for side, ids, piece in ((tokenizer.tgt, rows.tgt, tgt), (tokenizer.src, rows.src, src))
        ]
        assert words[0] == words[1]


def test_a_sentence_with_an_unknown_piece_keeps_its_pieces(text, tmp_path):
    (tmp_path / "t.de").write_text("der hund\nder 犬 hund\n")
    (tmp_path / "t.en").write_text("dnuh red\ndnuh red\n")
    corpus = read_files([tmp_path / "t"], "de", "en")
    encoded = binarize_corpus(corpus, text.tokenizer, max_length=None, skip=True, cache=tmp_path / "cache")
    assert UNK in encoded.pair(1)[0]
    sampled = SampledCorpus(encoded, text.tokenizer, SubwordRegularizationOptions(src_alpha=0.5), 1)
    for epoch in range(5):
        rows = sampled.rows(np.array([0, 1]), epoch)
        assert rows.src[1, : rows.src_lengths[1]].tolist() == encoded.pair(1)[0].tolist()


def test_a_unigram_model_draws_among_the_best_segmentations(tmp_path):
    text = Text(tmp_path, ModelType.unigram)
    few, all_ = (
        {
            tuple(text.sampled(SubwordRegularizationOptions(src_alpha=0.1, nbest=nbest)).rows(ROWS[:1], epoch).src[0])
            for epoch in range(60)
        }
        for nbest in (2, -1)
    )
    assert len(few) == 2 < len(all_)


def test_a_model_that_cannot_draw_is_refused(tiny, text):
    with pytest.raises(
        ValueError, match=r"subword_regularization\.tgt_alpha=0\.1: SentencePiece draws segmentations of"
    ):
        SampledCorpus(tiny.encoded, tiny.tokenizer, SubwordRegularizationOptions(tgt_alpha=0.1), 1)
    options = SubwordRegularizationOptions(src_alpha=1.5)
    if text.tokenizer.src.has_nbest:
        text.sampled(options)
    else:
        with pytest.raises(ValueError, match=r"src_alpha=1\.5 is impossible: of a bpe model"):
            text.sampled(options)


@pytest.mark.parametrize("options", [{"src_alpha": 0.0}, {"tgt_alpha": -1.0}, {"nbest": 1}, {"nbest": 0}])
def test_impossible_numbers_are_refused(options):
    with pytest.raises(ValueError, match=r"subword_regularization\.\w+=\S+ is impossible"):
        SubwordRegularizationOptions(**options)


def test_validation_never_draws(text):
    config = compose_config(["+experiment=bahdanau", "subword_regularization.src_alpha=0.1"])
    train, valid = (
        build.build_batches(config, text.encoded, training=training, tokenizer=text.tokenizer)
        for training in (True, False)
    )
    assert valid.sampled is None
    assert train.sampled is not None


@dataclass(frozen=True)
class Unsummed(Distributed):
    """A rank whose part of a sum stays its own, except for the number of target tokens.

    tokens: that number over all ranks; counted: what this rank has counted.
    """

    tokens: int = 0
    counted: list[int] = field(default_factory=list)

    def sum(self, tensor):
        if tensor.is_floating_point():
            return tensor
        self.counted.append(int(tensor))
        return torch.tensor(self.tokens)


def test_drawn_pieces_accumulate_over_parts_and_ranks_to_the_whole(text):
    config = compose_config(["+experiment=bahdanau", "preset=demo", "model.encoder.hidden=8", "model.decoder.hidden=8"])
    torch.manual_seed(1)
    model = build.build_model(config.model, len(text.tokenizer.src), len(text.tokenizer.tgt)).double().eval()

    tokens = int(text.sampled().tgt_lengths(ROWS, 4).sum())

    def found(parts, distributed):
        fill = Gradients(
            model,
            Batches(text.encoded, BatchOptions(60), sampled=text.sampled()),
            loss=LossOptions(),
            optimizer=OptimizerOptions(),
            device=CPU,
            distributed=distributed,
        )
        update = fill.accumulate(parts, SyncedFlags(), epoch=4)
        return update, {
            name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None
        }

    whole, gradients = found([ROWS], Distributed())
    assert whole.tokens == tokens
    parts, same = found([ROWS[:7], ROWS[7:]], Distributed())
    both = [Unsummed(rank, 2, tokens=tokens) for rank in range(2)]
    ranks = [found([ROWS], rank) for rank in both]
    assert {each.tokens for each in (parts, *(rank[0] for rank in ranks))} == {tokens}
    assert sum(sum(rank.counted) for rank in both) == tokens
    for name, gradient in gradients.items():
        torch.testing.assert_close(same[name], gradient, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(ranks[0][1][name] + ranks[1][1][name], gradient, rtol=1e-9, atol=1e-12)


@pytest.mark.slow
def test_a_run_with_every_regularizer_is_resumed_bit_for_bit(tiny, tmp_path, everything, losses):
    from nmt import train

    run = lambda words: train.main(compose_config(words), words)  # noqa: E731
    drawn = {
        "tokenizer__model_type": "bpe",
        "tokenizer__vocab_size": 60,
        "subword_regularization__src_alpha": 0.1,
        "subword_regularization__tgt_alpha": 0.2,
        "loss__consistency": "simcut",
        "trainer__save_every": 0,
    }
    drawn |= {
        f"model__{side}__{kind}_dropout": 0.2 for side in ("encoder", "decoder") for kind in ("word", "recurrent")
    }
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    run(tiny.settings(whole, trainer__max_updates=12, **drawn))
    run(tiny.settings(stopped, trainer__max_updates=7, **drawn))
    run([f"resume={stopped}", "trainer.max_updates=12"])
    assert everything(whole)["state"]["epoch"] > 0
    assert losses(whole) == losses(stopped)
