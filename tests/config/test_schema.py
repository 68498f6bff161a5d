"""Impossible numbers, and settings that do not fit together, are refused by name."""

import math

import pytest

from nmt.attention.hard import AttentionChoice
from nmt.attention.local import Extent
from nmt.attention.scores import ScoreFunction
from nmt.config.schema import (
    AttentionConfig,
    DataConfig,
    DecodeConfig,
    DecoderConfig,
    DecoderKind,
    EncoderConfig,
    EncoderKind,
    EvaluateConfig,
    ModelConfig,
    TokenizerConfig,
    TrainConfig,
    TranslateConfig,
)
from nmt.data.batches import BatchOptions
from nmt.layers.transformer import TransformerOptions
from nmt.model.decoder import InitHidden
from nmt.model.seq2seq import TiedEmbeddings
from nmt.training.consistency import LossOptions
from nmt.training.optim import OptimizerOptions, ScheduleName, ScheduleOptions
from nmt.training.options import TrainerOptions

LIMIT = TrainerOptions(max_updates=1)


@pytest.mark.parametrize("value", [0, -1, 10**12])
@pytest.mark.parametrize(
    ("section", "prefix", "names"),
    [
        (EncoderConfig, "model.encoder", ["embedding", "hidden", "layers"]),
        (DecoderConfig, "model.decoder", ["embedding", "hidden", "layers", "readout"]),
        (AttentionConfig, "model.attention", ["size"]),
        (TokenizerConfig, "tokenizer", ["vocab_size", "src_vocab_size", "tgt_vocab_size"]),
        (DecodeConfig, "decode", ["beam", "batch_size", "max_length"]),
    ],
)
def test_a_size_is_at_least_one_and_no_slip_of_the_finger(section, prefix, names, value):
    for name in names:
        with pytest.raises(ValueError, match=rf"{prefix}\.{name}={value} is impossible: the (least|most) is"):
            section(**{name: value})


@pytest.mark.parametrize("section", [EncoderConfig, DecoderConfig])
@pytest.mark.parametrize("value", [1.0, 1.5, -0.1, math.nan])
def test_dropout_is_a_share(section, value):
    with pytest.raises(ValueError, match=r"dropout=.* is impossible: give a share of at least 0 and below 1"):
        section(dropout=value)


@pytest.mark.parametrize("name", ["beta1", "beta2", "rho", "momentum", "ema_decay"])
@pytest.mark.parametrize("value", [1.0, -0.1, math.nan])
def test_decays_and_smoothing_are_shares(name, value):
    with pytest.raises(ValueError, match=rf"optim\.{name}=.* is impossible"):
        OptimizerOptions(**{name: value})


@pytest.mark.parametrize("value", [1.0, -0.1, math.nan])
def test_label_smoothing_is_a_share(value):
    with pytest.raises(ValueError, match=r"loss\.label_smoothing=.* is impossible"):
        LossOptions(label_smoothing=value)


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_a_learning_rate_is_above_zero_and_finite(value):
    with pytest.raises(ValueError, match=r"optim\.lr=.* is impossible: give a number above 0"):
        OptimizerOptions(lr=value)


@pytest.mark.parametrize("name", ["eps", "weight_decay", "max_grad_norm"])
@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_other_numbers_of_the_optimizer_are_at_least_zero_and_finite(name, value):
    with pytest.raises(ValueError, match=rf"optim\.{name}=.* is impossible"):
        OptimizerOptions(**{name: value})


@pytest.mark.parametrize(("name", "value"), [("max_updates", 0), ("max_epochs", 0.0), ("max_minutes", -1.0)])
def test_a_budget_allows_something(name, value):
    with pytest.raises(ValueError, match=rf"trainer\.{name}={value} is impossible"):
        TrainerOptions(**{name: value})


@pytest.mark.parametrize("name", ["max_epochs", "max_minutes"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_budget_ends(name, value):
    with pytest.raises(ValueError, match="is impossible"):
        TrainerOptions(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"), [("grad_accumulation", 0), ("validate_every", -1), ("save_every", -1), ("keep_checkpoints", -1)]
)
def test_intervals_and_counts_are_possible(name, value):
    with pytest.raises(ValueError, match=rf"trainer\.{name}={value} is impossible"):
        TrainerOptions(**{name: value})


def test_a_run_without_an_end_is_refused():
    with pytest.raises(ValueError, match=r"nothing would end this run: set trainer\.max_updates, max_epochs"):
        TrainConfig(trainer=TrainerOptions())


@pytest.mark.parametrize("limit", [{"max_updates": 1}, {"max_epochs": 0.5}, {"max_minutes": 1.0}, {"patience": 2}])
def test_one_limit_is_enough(limit):
    assert TrainConfig(trainer=TrainerOptions(**limit)).trainer.max_updates == limit.get("max_updates")


def test_more_hypotheses_than_the_beam_holds_are_refused():
    with pytest.raises(ValueError, match=r"decode\.nbest=6 is more than the 5 of decode\.beam: try decode\.beam=6"):
        DecodeConfig(nbest=6)


@pytest.mark.parametrize("score", [ScoreFunction.additive, ScoreFunction.concat, ScoreFunction.coverage])
def test_a_score_with_a_width_of_its_own_asks_for_it(score):
    with pytest.raises(ValueError, match=rf"model\.attention\.size is needed by {score.value} attention; try model"):
        AttentionConfig(score)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"heads": 2}, r"model\.attention\.heads=2 read 2 positions .* set model\.attention\.heads=1"),
        ({"extent": Extent["local_p"]}, r"weights that sum to one, .* set model\.attention\.renormalize=true"),
    ],
)
def test_hard_attention_refuses_weights_that_are_no_distribution_over_positions(given, message):
    with pytest.raises(ValueError, match=message):
        AttentionConfig(size=4, choice=AttentionChoice.hard, **given)


@pytest.mark.parametrize("score", [ScoreFunction.location, ScoreFunction.gaussian])
@pytest.mark.parametrize("given", [{"heads": 2}, {"extent": Extent["local_m"]}, {"extent": Extent["local_p"]}])
def test_a_score_of_positions_has_neither_window_nor_heads(score, given):
    (key,) = given
    with pytest.raises(ValueError, match=rf"model\.attention\.{key}=.*{score.value} does not: try model") as error:
        AttentionConfig(score, **given)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("key", ["window", "heads", "gaussians", "max_positions"])
def test_the_counts_of_attention_are_positive(key):
    with pytest.raises(ValueError, match=rf"model\.attention\.{key}"):
        AttentionConfig(size=4, **{key: 0})  # type: ignore[arg-type]


@pytest.mark.parametrize("score", [ScoreFunction.dot, ScoreFunction.scaled_dot, ScoreFunction.general])
def test_a_score_without_a_width_does_not(score):
    assert AttentionConfig(score).size is None


def test_three_ties_need_one_vocabulary():
    with pytest.raises(
        ValueError, match=r"model\.tied_embeddings=all .* try tokenizer\.joint=true, or model\.tied_embeddings=target"
    ):
        TrainConfig(model=ModelConfig(tied_embeddings=TiedEmbeddings.all), trainer=LIMIT)
    assert TrainConfig(
        model=ModelConfig(tied_embeddings=TiedEmbeddings.all), tokenizer=TokenizerConfig(joint=True), trainer=LIMIT
    )


@pytest.mark.parametrize("value", [0.0, 0.9, 1.1, math.nan])
def test_character_coverage_is_what_sentencepiece_takes(value):
    with pytest.raises(ValueError, match=r"tokenizer\.character_coverage"):
        TokenizerConfig(character_coverage=value)


def test_two_models_of_ones_own_go_together():
    own = TokenizerConfig(src_model="a.model")
    with pytest.raises(ValueError, match=r"tokenizer\.src_model and tokenizer\.tgt_model go together"):
        TrainConfig(tokenizer=own, trainer=LIMIT)
    TrainConfig(tokenizer=own, resume="run")  # the run has the other one, and a limit


def test_a_batch_holds_something():
    with pytest.raises(ValueError, match=r"batch\.size=0 is impossible: the least is 1"):
        BatchOptions(size=0)


@pytest.mark.parametrize("name", ["constant_fraction", "min_factor", "factor"])
@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan])
def test_shares_of_a_schedule_are_shares(name, value):
    with pytest.raises(ValueError, match=rf"optim\.schedule\.{name}=.* is impossible"):
        ScheduleOptions(**{name: value})


def test_an_inverse_root_falls_from_somewhere():
    with pytest.raises(ValueError, match=r"try optim\.schedule\.warmup=1000"):
        ScheduleOptions(name=ScheduleName.inverse_sqrt)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_is_one_that_every_generator_takes(seed):
    with pytest.raises(ValueError, match=rf"seed={seed} is impossible"):
        TrainConfig(seed=seed, trainer=LIMIT)


@pytest.mark.parametrize("config", [EvaluateConfig, TranslateConfig])
def test_some_thread_has_to_work(config):
    with pytest.raises(ValueError, match="threads=0 is impossible: the least is 1"):
        config(threads=0)


@pytest.mark.parametrize("train", [3, [1], {"a": "b"}, ["a", None]])
def test_training_texts_are_paths(train):
    with pytest.raises(ValueError, match=r"data\.train=.*: give a path without its language suffix"):
        DataConfig(train=train)


def test_one_training_text_is_a_list_of_one():
    assert DataConfig(train="a").train == ["a"]


@pytest.mark.parametrize(
    ("decoder", "advice"),
    [
        (
            DecoderConfig(),
            r"init_hidden=backward_first is a state of a recurrent .* try model\.decoder\.init_hidden=mean",
        ),
        (DecoderConfig(init_hidden=InitHidden.last), r"init_hidden=last is .* try model\.decoder\.init_hidden=mean"),
        (
            DecoderConfig(kind=DecoderKind.fixed_vector, init_hidden=InitHidden.zero),
            r"kind=fixed_vector reads the last state of a recurrent encoder, .* try model\.encoder\.kind=rnn",
        ),
    ],
)
def test_a_transformers_encoder_has_no_last_state_to_start_from(decoder, advice):
    with pytest.raises(ValueError, match=advice) as error:
        ModelConfig(EncoderConfig(kind=EncoderKind.transformer), decoder)
    assert "\n" not in str(error.value)


def test_a_recurrent_decoder_may_start_from_the_mean_of_a_transformers_encoder():
    encoder = EncoderConfig(kind=EncoderKind.transformer)
    assert ModelConfig(encoder, DecoderConfig(init_hidden=InitHidden.mean)).decoder.kind is DecoderKind.bahdanau


@pytest.mark.parametrize("value", [0, 10**12])
def test_the_width_inside_a_transformer_is_at_least_one_and_no_slip_of_the_finger(value):
    with pytest.raises(ValueError, match=rf"model\.transformer\.feedforward={value} is impossible"):
        ModelConfig(transformer=TransformerOptions(feedforward=value))
