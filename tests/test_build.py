"""Objects of a configuration that only its parts together can refuse."""

import io
from pathlib import Path

import pytest
import sentencepiece
import torch

from nmt import build
from nmt.attention.hard import AttentionChoice, HardPrediction
from nmt.config.continued import inherit
from nmt.config.schema import (
    AttentionConfig,
    DecodeConfig,
    DecodeOverrides,
    DecoderConfig,
    EncoderConfig,
    ModelConfig,
    TokenizerConfig,
    TrainConfig,
)
from nmt.corpus import read_files
from nmt.data.tokenizer import ModelType
from nmt.decoding.ensemble import Ensemble
from nmt.layers.cells import Cell
from nmt.model.hard_seq2seq import HardSeq2Seq
from nmt.model.seq2seq import TiedEmbeddings
from nmt.training.options import TrainerOptions
from tests.support.commands import compose_config


def sentencepiece_model(path: Path, text: str, size: int = 30) -> str:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([text] * 20), model_writer=model, vocab_size=size, model_type="bpe", minloglevel=3
    )
    path.write_bytes(model.getvalue())
    return str(path)


def new_model(tokenizer: TokenizerConfig, folder: Path):
    (folder / "text.de").write_text("ein kleiner hund und vier katzen\n")
    (folder / "text.en").write_text("a small dog and four cats\n")
    parts = (
        EncoderConfig(embedding=8, hidden=8),
        DecoderConfig(embedding=8, hidden=8, readout=8),
        AttentionConfig(size=8),
    )
    config = TrainConfig(
        model=ModelConfig(*parts, tied_embeddings=TiedEmbeddings.all),
        tokenizer=tokenizer,
        trainer=TrainerOptions(max_updates=1),
    )
    made = build.build_tokenizer(tokenizer, read_files([folder / "text"], "de", "en"), folder / "cache")
    return build.new_model(config, made, torch.device("cpu"))


@pytest.mark.parametrize("joint", [True, False])
def test_two_models_of_equal_size_are_not_tied(tmp_path, joint):
    one = sentencepiece_model(tmp_path / "one.model", "a small dog and four cats on a big red mat")
    two = sentencepiece_model(tmp_path / "two.model", "ein kleiner hund und vier katzen auf der matte")
    with pytest.raises(
        ValueError,
        match=r"^model\.tied_embeddings=all .* different pieces: try .*=FILE.*model\.tied_embeddings=target",
    ):
        new_model(TokenizerConfig(joint=joint, src_model=one, tgt_model=two), tmp_path)


@pytest.mark.parametrize("keys", [["model"], ["src_model", "tgt_model"]])
def test_one_model_for_both_sides_is_tied(tmp_path, keys):
    one = sentencepiece_model(tmp_path / "one.model", "a small dog and four cats on a big red mat")
    model = new_model(TokenizerConfig(**dict.fromkeys(keys, one)), tmp_path)  # type: ignore[arg-type]
    assert model.encoder.embedding.weight is model.output.weight


def test_one_vocabulary_with_a_normalization_for_each_side_is_tied(tmp_path):
    model = new_model(
        TokenizerConfig(joint=True, vocab_size=40, byte_fallback=False, model_type=ModelType.bpe), tmp_path
    )
    assert model.encoder.embedding.weight is model.output.weight


def test_each_side_has_the_word_and_recurrent_dropout_that_is_set():
    words = [
        *("model.encoder.word_dropout=0.1", "model.encoder.recurrent_dropout=0.2"),
        *("model.decoder.word_dropout=0.3", "model.decoder.recurrent_dropout=0.4", "model.decoder.layers=2"),
    ]
    model = build.build_model(compose_config(["+experiment=bahdanau", *words]).model, 9, 9)
    found = (model.encoder.embedding.word_dropout, model.decoder.embedding.word_dropout)
    assert found == (0.1, 0.3)
    for side, rate in ((model.encoder, 0.2), (model.decoder, 0.4)):
        assert {cell.recurrent_dropout for cell in side.modules() if isinstance(cell, Cell)} == {rate}


def test_a_run_from_other_weights_has_every_dropout_as_it_is_configured():
    own, other = (
        compose_config(["+experiment=bahdanau", f"model.encoder.word_dropout={rate}", f"model.decoder.hidden={size}"])
        for rate, size in ((0.1, 64), (0.2, 32))
    )
    model = inherit(other, own).model
    assert model.encoder.word_dropout == 0.2
    assert model.decoder.hidden == 64


def test_each_model_of_an_ensemble_predicts_as_its_own_run_does(tiny):
    configs = [
        TrainConfig(
            model=ModelConfig(attention=AttentionConfig(size=8, choice=choice)),
            decode=DecodeConfig(hard_attention=prediction),
            trainer=TrainerOptions(max_updates=1),
        )
        for choice, prediction in (
            (AttentionChoice.soft, HardPrediction.marginal),
            (AttentionChoice.hard, HardPrediction.most_probable),
            (AttentionChoice.hard, HardPrediction.marginal),
        )
    ]
    models = [build.build_model(each.model, 8, 8) for each in configs]
    loaded = build.Loaded(Ensemble(models), tiny.tokenizer, configs[0], (), others=tuple(configs[1:]))
    for asked in (None, HardPrediction.marginal, None):
        build.decoding_of(loaded, DecodeOverrides(hard_attention=asked))  # pyright: ignore[reportCallIssue]
        found = [each.prediction for each in models if isinstance(each, HardSeq2Seq)]
        assert found == [asked or each.decode.hard_attention for each in configs[1:]]
