"""A setting of the command line that can have no effect is refused with what to do; a default is not."""

import itertools
from dataclasses import fields, replace

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from nmt.cli import CONFIGS
from nmt.config.schema import (
    DecodeConfig,
    DecodeOverrides,
    DecoderConfig,
    DecoderKind,
    ModelConfig,
    TokenizerConfig,
    TrainConfig,
)
from nmt.config.unused import given, refuse_other_model, refuse_unused, refuse_unused_search
from nmt.decoding.search import LengthPenalty, SearchOptions
from nmt.training.options import TrainerOptions

EXPERIMENTS = sorted(path.stem for path in (CONFIGS / "experiment").glob("*.yaml"))
PRESETS = sorted(path.stem for path in (CONFIGS / "preset").glob("*.yaml"))
PATIENCE_ALONE = ["trainer.max_epochs=null", "trainer.patience=3"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["optim.momentum=0.9"], "optim.momentum=0.9 has no effect: it needs optim.name=sgd; give that too, or leave"),
        (["optim.name=adadelta", "optim.momentum=0.9"], "it needs optim.name=sgd"),
        (["optim.rho=0.9"], "it needs optim.name=adadelta"),
        (["optim.name=sgd", "optim.beta1=0.8"], "it needs optim.name=adam or adamw"),
        (["optim.name=adadelta", "optim.beta2=0.8"], "it needs optim.name=adam or adamw"),
        (["optim.name=sgd", "optim.eps=1e-6"], "it needs optim.name=adam, adamw or adadelta"),
        (
            ["optim.schedule.name=constant", "optim.schedule.constant_fraction=0.5"],
            "optim.schedule.name=halving, linear or cosine",
        ),
        (["optim.schedule.halvings=3"], "it needs optim.schedule.name=halving"),
        (
            ["optim.schedule.name=halving", "optim.schedule.min_factor=0.1"],
            "it needs optim.schedule.name=linear or cosine",
        ),
        (["optim.schedule.factor=0.1"], "it needs optim.schedule.name=plateau"),
        (["optim.schedule.patience=2"], "it needs optim.schedule.name=plateau"),
        (["optim.schedule={name: cosine, patience: 2}"], "it needs optim.schedule.name=plateau"),
        (
            ["guided_alignment.weight=0.5"],
            "guided_alignment.weight=0.5 has no effect: it needs guided_alignment.links=FILE",
        ),
        (["guided_alignment.decay=0.5"], "it needs guided_alignment.links=FILE"),
        (
            ["guided_alignment.links=x", "guided_alignment.weight=0"],
            "guided_alignment.links=[x] has no effect: it needs a guided_alignment.weight above 0",
        ),
        (["+experiment=luong_dot", "model.decoder.readout=9"], "it needs model.decoder.kind=bahdanau or fixed_vector"),
        (["model.decoder.input_feeding=true"], "it needs model.decoder.kind=luong"),
        (
            ["+experiment=rnnencdec", "model.attention.size=9"],
            "attention, which model.decoder.kind=fixed_vector does not",
        ),
        (["+experiment=rnnencdec", "model/attention=dot"], "model.attention.score=dot has no effect"),
        (["+experiment=luong_general", "model.attention.size=9"], "model.attention.score=additive, concat or coverage"),
        (
            ["tokenizer.model=x", "tokenizer.vocab_size=9"],
            "tokenizer.vocab_size=9 has no effect: the models that tokenizer.model=",
        ),
        (["tokenizer.model=x", "tokenizer.joint=true"], "tokenizer.joint=true has no effect: the models"),
        (
            ["tokenizer={model: x, src_model: y, tgt_model: z}"],
            "tokenizer.model=x has no effect: tokenizer.src_model and",
        ),
        (["tokenizer.joint=true", "tokenizer.src_vocab_size=300"], "it needs tokenizer.joint=false"),
        (
            ["tokenizer={vocab_size: 300, src_vocab_size: 300, tgt_vocab_size: 300}"],
            "tokenizer.vocab_size=300 has no effect: tokenizer.src_vocab_size",
        ),
        (["data=files", "data.name=x"], "data.name=x has no effect: it needs data=hub"),
        (["data.config=x"], "data.config=x has no effect: it needs data=hub"),
        (
            ["trainer.save_every=0", "trainer.keep_checkpoints=3"],
            "it needs trainer.save_every or trainer.save_minutes above 0",
        ),
        (
            ["decode.beam=3"],
            "validation searches with trainer.valid_beam; set that, and give decode.beam to nmt.evaluate",
        ),
        (["decode.nbest=3"], "validation scores the best translation alone; give decode.nbest to nmt.translate"),
        (["decode.length_penalty_alpha=0.9"], "it needs decode.length_penalty=gnmt"),
        (
            ["trainer.patience=1", "trainer.validate_every=0"],
            "it counts validations, and trainer.validate_every=0 makes",
        ),
        (
            ["optim.schedule.name=plateau", "trainer.validate_every=0"],
            "it follows validations, and trainer.validate_every",
        ),
        (PATIENCE_ALONE, "optim.schedule.name=linear has no effect: it follows trainer.max_updates, max_epochs or"),
        ([*PATIENCE_ALONE, "optim.schedule.name=halving"], "and trainer.patience alone ends this run; set one of them"),
    ],
)
def test_a_setting_of_training_that_can_have_no_effect_is_refused_with_what_to_do(refusal, words, said):
    assert said in refusal("train", *words)


@pytest.mark.parametrize(
    ("verb", "words", "said"),
    [
        ("evaluate", ["decode.nbest=3"], "decode.nbest=3 has no effect: the best translation alone is scored"),
        ("evaluate", ["data.kind=files", "data.name=x"], "data.name=x has no effect: it needs data.kind=hub"),
        ("translate", ["heatmap_units=subwords"], "heatmap_units=subwords has no effect: it needs heatmaps=FOLDER"),
        (
            "align",
            ["links=x", "gold=y", "device=cpu"],
            "device=cpu has no effect: the links of links= are scored as they",
        ),
        (
            "align",
            ["links=x", "gold=y", "decode.batch_size=2"],
            "decode.batch_size=2 has no effect: the links of links=",
        ),
        ("align", ["src=x", "tgt=y", "gold=z", "score=true"], "score=true has no effect: it needs out=FILE"),
        ("saliency", ["src=x", "tgt=y", "decode.beam=2"], "decode.beam=2 has no effect: tgt= gives the translations"),
        (
            "saliency",
            ["src=x", "decode.nbest=2"],
            "decode.nbest=2 has no effect: only the best translation is explained",
        ),
    ],
)
def test_a_setting_of_another_command_that_can_have_no_effect_is_refused(refusal, verb, words, said):
    assert said in refusal(verb, *words)


@pytest.mark.parametrize(
    "words",
    [
        ["optim.name=sgd", "optim.momentum=0.9"],
        ["optim.name=adadelta", "optim.rho=0.9", "optim.eps=1e-6"],
        ["optim.schedule.name=plateau", "optim.schedule.factor=0.1"],
        [
            "guided_alignment.links=x",
            "guided_alignment.weight=0.5",
            "guided_alignment.decay=0.5",
            "guided_alignment.reversed=true",
        ],
        ["+experiment=luong_dot", "model.decoder.input_feeding=false"],
        ["tokenizer.src_vocab_size=300"],
        ["tokenizer.model=x", "model.tied_embeddings=all"],
        ["data=hub", "data.name=x", "data.config=y"],
        ["decode.length_penalty=gnmt", "decode.length_penalty_alpha=0.9"],
        ["trainer.save_every=0", "trainer.save_minutes=3", "trainer.keep_checkpoints=3"],
        [*PATIENCE_ALONE, "optim.schedule.name=plateau"],
        [*PATIENCE_ALONE, "trainer.max_minutes=3"],
        # What is null or false asks for nothing.
        ["model.decoder.input_feeding=false", "guided_alignment.links=null"],
        ["tokenizer={joint: true, src_vocab_size: null}"],
    ],
)
def test_a_setting_that_acts_is_taken(ask, words):
    heard = ask("train", *words)
    assert (heard.code, heard.err) == (0, "")


@pytest.mark.slow
@pytest.mark.parametrize(("experiment", "preset"), itertools.product(EXPERIMENTS, PRESETS))
def test_what_an_experiment_and_a_preset_set_is_never_refused(experiment, preset):
    words = [f"+experiment={experiment}", f"preset={preset}", "tokenizer.joint=true"]
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = OmegaConf.to_object(compose("train", overrides=words))
    refuse_unused(config, words)


def test_what_a_command_line_names_is_found_however_it_is_written():
    words = [
        "+experiment=bahdanau",
        "++optim.lr=1",
        "~trainer.keep_checkpoints",
        "optim.schedule={name: x, a: {b: 1}}",
        "data=files",
    ]
    found = ["experiment", "optim.lr", "trainer.keep_checkpoints", "optim.schedule.name", "optim.schedule.a.b", "data"]
    assert given([*words, "model/attention=dot"]) == [*found, "model.attention.score"]


OWN = TrainConfig(trainer=TrainerOptions(max_updates=1))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["model.decoder.kind=luong"],
            "model.decoder.kind=luong has no effect with finetune_from=RUN, .* has .*kind=bahdanau",
        ),
        (["+experiment=luong_dot"], "model.decoder.kind=luong has no effect with finetune_from=RUN"),
        (
            ["tokenizer.vocab_size=300"],
            "tokenizer.vocab_size=300 has no effect with finetune_from=RUN, .* has tokenizer.vocab_size=8000",
        ),
    ],
)
def test_another_model_than_that_of_init_is_refused_with_both_values(words, said):
    model, tokenizer = ModelConfig(decoder=DecoderConfig(kind=DecoderKind.luong)), TokenizerConfig(vocab_size=300)
    config = TrainConfig(model=model, tokenizer=tokenizer, finetune_from="RUN", trainer=TrainerOptions(max_updates=1))
    with pytest.raises(ValueError, match=said):
        refuse_other_model(OWN, config, words)


def test_the_same_model_as_that_of_init_is_taken_and_so_is_another_dropout():
    model = ModelConfig(decoder=DecoderConfig(dropout=0.5))
    config = TrainConfig(model=model, finetune_from="RUN", trainer=TrainerOptions(max_updates=1))
    words = ["+experiment=bahdanau", "model.decoder.hidden=512", "model.decoder.dropout=0.5", "preset=base"]
    refuse_other_model(OWN, config, words)


def test_a_command_decodes_as_the_run_validated_but_for_what_it_is_given():
    own = DecodeConfig(beam=1, batch_size=3, max_length=20, length_penalty=LengthPenalty.gnmt, length_penalty_alpha=0.9)
    assert DecodeOverrides().over(own) == replace(own, beam=5)
    overrides = DecodeOverrides(beam=2, max_length=30, length_penalty=LengthPenalty.none)
    assert overrides.over(own) == replace(own, beam=2, max_length=30, length_penalty=LengthPenalty.none)


def test_every_option_of_search_can_be_overridden():
    names = {each.name for each in fields(SearchOptions)}
    assert names < {each.name for each in fields(DecodeConfig)} == {each.name for each in fields(DecodeOverrides)}


@pytest.mark.parametrize(
    ("given", "own", "said"),
    [
        (
            {"length_penalty_alpha": 0.9},
            LengthPenalty.average,
            "decode.length_penalty_alpha=0.9 has no effect: it needs decode.length_penalty=gnmt",
        ),
        (
            {"length_penalty_alpha": 0.9, "beam": 1},
            LengthPenalty.gnmt,
            "decode.length_penalty_alpha=0.9 has no effect: decode.beam=1 has one hypo",
        ),
        (
            {"length_penalty": LengthPenalty.none, "beam": 1},
            LengthPenalty.gnmt,
            "decode.length_penalty=none has no effect",
        ),
        ({"length_penalty_alpha": 0.9}, LengthPenalty.gnmt, ""),
    ],
)
def test_an_option_of_search_that_can_have_no_effect_is_refused(given, own, said):
    overrides = DecodeOverrides(**given)
    decode = overrides.over(DecodeConfig(length_penalty=own))
    if said:
        with pytest.raises(ValueError, match=said):
            refuse_unused_search(overrides, decode)
    else:
        refuse_unused_search(overrides, decode)
