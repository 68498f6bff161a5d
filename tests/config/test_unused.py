"""A setting of the command line that can have no effect is refused with what to do; a default is not."""

import contextlib
import copy
import functools
from dataclasses import fields, replace

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from nmt.attention.hard import AttentionChoice, HardPrediction
from nmt.cli import CONFIGS
from nmt.config.schema import (
    AttentionConfig,
    DecodeConfig,
    DecodeOverrides,
    DecoderConfig,
    DecoderKind,
    ModelConfig,
    TokenizerConfig,
    TrainConfig,
)
from nmt.config.unused import (
    ALIGN_BY_HEAD,
    TRANSLATE_WITH_HEAD,
    TRANSLATE_WITHOUT_PENALTY,
    given,
    refuse_other_model,
    refuse_unused,
    refuse_unused_search,
)
from nmt.decoding.options import LengthPenalty, SearchOptions
from nmt.training.options import TrainerOptions
from tests.support.commands import compose_config

EXPERIMENTS = sorted(path.stem for path in (CONFIGS / "experiment").glob("*.yaml"))
PRESETS = sorted(path.stem for path in (CONFIGS / "preset").glob("*.yaml"))
GROUPS = ("+experiment=", "preset=", "data=", "model/attention=")
MINIMUM_RISK = ["loss.objective=minimum_risk", "finetune_from=RUN"]
PATIENCE_ALONE = ["trainer.max_epochs=null", "trainer.patience=3"]


@functools.cache
def choose(*groups: str) -> DictConfig:
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return compose("train", overrides=list(groups))


def refuse(*words: str) -> None:
    """Refuses as nmt.train does, where each choice of groups is composed once for all tests."""
    config = copy.deepcopy(choose(*(word for word in words if word.startswith(GROUPS))))
    for override in OverridesParser.create().parse_overrides([word for word in words if not word.startswith(GROUPS)]):
        OmegaConf.update(config, override.key_or_group, override.value())
    refuse_unused(OmegaConf.to_object(config), list(words))


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
        (
            ["loss.consistency_weight=2"],
            "loss.consistency_weight=2.0 has no effect: it needs loss.consistency=r_drop or",
        ),
        (["loss.cut_rate=0.1"], "it needs loss.consistency=simcut"),
        (
            ["+experiment=hard_marginal", "cuda_graphs=on"],
            "cuda_graphs=on has no effect: it needs model.attention.ch",
        ),
        (["minimum_risk.samples=50"], "minimum_risk.samples=50 has no effect: it needs loss.objective=minimum_risk"),
        ([*MINIMUM_RISK, "loss.label_smoothing=0.1"], "it needs cross-entropy, beside loss.objective=minimum_risk: "),
        ([*MINIMUM_RISK, "optim.normalization=sentences"], "minimum_risk.cross_entropy_weight above 0"),
        ([*MINIMUM_RISK, "cuda_graphs=on"], "it needs loss.objective=cross_entropy"),
        (["guided_alignment.links=a", "cuda_graphs=on"], "it needs training without guided_alignment.links"),
        (["loss.consistency=r_drop", "loss.cut_rate=0.1"], "it needs loss.consistency=simcut"),
        (
            ["loss.consistency=r_drop", "model.encoder.dropout=0", "model.decoder.dropout=0"],
            "loss.consistency=r_drop has no effect: it needs dropout, without which both passes are the same",
        ),
        (
            ["tokenizer.model_type=char", "subword_regularization.src_alpha=0.1"],
            "subword_regularization.src_alpha=0.1 has no effect: it needs tokenizer.model_type=unigram or bpe",
        ),
        (
            ["tokenizer.model_type=bpe", "subword_regularization={src_alpha: 0.1, nbest: 5}"],
            "subword_regularization.nbest=5 has no effect: it needs tokenizer.model_type=unigram",
        ),
        (["subword_regularization.nbest=5"], "it needs subword_regularization.src_alpha or tgt_alpha"),
        (["+experiment=transformer", "model.encoder.layer_norm=true"], "it needs model.encoder.kind=rnn"),
        (["+experiment=transformer", "model.decoder.transition_depth=2"], "it needs a recurrent decoder"),
        (
            ["model.encoder.residual=true"],
            "model.encoder.residual=true has no effect: it needs layers to connect: model.encoder.layers=2 or more",
        ),
        (["model.decoder.residual=true"], "it needs upper layers: model.decoder.layers=2 or more"),
        (["model.decoder.context_to_layers=true"], "it needs upper layers: model.decoder.layers=2 or more"),
        (
            ["+experiment=luong_dot", "model.decoder.layers=2", "model.decoder.context_to_layers=true"],
            "it needs model.decoder.kind=bahdanau or conditional_gru, whose bottom layer attends",
        ),
        (["guided_alignment.decay=0.5"], "it needs guided_alignment.links=FILE"),
        (
            ["guided_alignment.links=x", "guided_alignment.weight=0"],
            "guided_alignment.links=[x] has no effect: it needs a guided_alignment.weight above 0",
        ),
        (
            ["+experiment=luong_dot", "model.decoder.readout=9"],
            "it needs model.decoder.kind=bahdanau, conditional_gru or fixed_vector",
        ),
        (["model.decoder.input_feeding=true"], "it needs model.decoder.kind=luong"),
        (
            ["+experiment=rnnencdec", "model.attention.size=9"],
            "it needs attention with a score, which model.decoder.kind=bahdanau, conditional_gru or luong has",
        ),
        (["model.attention.hard.training=reinforce"], "it needs model.attention.choice=hard"),
        (["+experiment=hard_marginal", "model.attention.hard.entropy=1"], "model.attention.hard.training=reinforce"),
        (["decode.hard_attention=most_probable"], "it needs model.attention.choice=hard"),
        (["+experiment=rnnencdec", "model/attention=dot"], "model.attention.score=dot has no effect"),
        (["+experiment=transformer", "model/attention=dot"], "model.attention.score=dot has no effect"),
        (["+experiment=transformer", "model.encoder.hidden=9"], "it needs model.encoder.kind=rnn"),
        (["+experiment=transformer", "model.encoder.cell=lstm"], "it needs model.encoder.kind=rnn"),
        (["+experiment=transformer", "model.encoder.bidirectional=true"], "it needs model.encoder.kind=rnn"),
        (["+experiment=transformer", "model.decoder.hidden=9"], "it needs a recurrent decoder, model.decoder.kind=bah"),
        (["+experiment=transformer", "model.decoder.cell=lstm"], "it needs a recurrent decoder"),
        (["+experiment=transformer", "model.decoder.init_hidden=zero"], "it needs a recurrent decoder"),
        (
            ["+experiment=transformer", "model.decoder.readout=9"],
            "it needs model.decoder.kind=bahdanau, conditional_gru or fixed_vector",
        ),
        (["+experiment=transformer", "model.decoder.input_feeding=true"], "it needs model.decoder.kind=luong"),
        (["model.transformer.heads=2"], "it needs model.encoder.kind=transformer or model.decoder.kind=transformer"),
        (["model.transformer.feedforward=9"], "it needs model.encoder.kind=transformer or model.decoder.kind"),
        (["model.transformer.attention_layer=1"], "it needs model.decoder.kind=transformer"),
        (["model.transformer.attention_head=1"], "it needs model.decoder.kind=transformer"),
        (["+experiment=luong_general", "model.attention.size=9"], "model.attention.score=additive, concat or coverage"),
        (["+experiment=bahdanau", "model.attention.window=3"], "it needs model.attention.extent=local_m or local_p"),
        (["+experiment=local_m", "model.attention.renormalize=true"], "it needs model.attention.extent=local_p"),
        (["model.attention.gaussians=3"], "it needs model.attention.score=gaussian"),
        (["+experiment=gaussian", "model.attention.max_positions=3"], "it needs model.attention.score=location"),
        (["+experiment=rnnencdec", "model.attention.heads=2"], "model.attention.heads=2 has no effect: it needs att"),
        (["+experiment=rnnencdec", "model.attention.normalizer=entmax"], "model.attention.normalizer=entmax has no"),
        (["+experiment=rnnencdec", "model.attention.extent=local_m"], "model.attention.extent=local_m has no effect"),
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
        (["decode.sampling=true"], "validation searches for the best translation; leave decode.sampling out"),
        (["decode.coverage_penalty=0.2", "trainer.valid_beam=1"], "it needs attention, and translations to compare"),
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
def test_a_setting_of_training_that_can_have_no_effect_is_refused_with_what_to_do(words, said):
    with pytest.raises(ValueError, match="has no effect") as refused:
        refuse(*words)
    assert said in str(refused.value)


def test_training_refuses_what_can_have_no_effect(refusal):
    assert "optim.momentum=0.9 has no effect" in refusal("train", "optim.momentum=0.9")


@pytest.mark.parametrize(
    ("verb", "words", "said"),
    [
        (
            "evaluate",
            ["decode.sampling=true", "decode.beam=3"],
            "decode.beam=3 has no effect: decode.sampling=true draws each translation",
        ),
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
        ("align", ["links=x", "gold=y", "direction=forward"], "direction=forward has no effect: the links of links="),
        ("align", ["links=x", "gold=y", "symmetrize=union"], "without a model: leave symmetrize= away"),
        ("align", ["src=x", "tgt=y", "gold=z", "score=true"], "score=true has no effect: it needs out=FILE"),
        ("align", ["src=x", "tgt=y", "gold=z", "confidence=true"], "confidence=true has no effect: it needs out=FILE"),
        ("evaluate", ["metrics=[bleu]", "ter_max_tokens=9"], "ter_max_tokens=9 has no effect: it needs metrics= with"),
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
def test_a_setting_that_acts_is_taken(words):
    refuse(*words)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("experiment", "preset"),
    [*((name, "multi30k") for name in EXPERIMENTS), *(("luong_dot", name) for name in PRESETS)],
)
def test_what_an_experiment_and_a_preset_set_is_never_refused(experiment, preset):
    refuse(f"+experiment={experiment}", f"preset={preset}", "tokenizer.joint=true")


@pytest.mark.parametrize("preset", PRESETS)
def test_an_aligner_takes_every_preset(preset):
    refuse("+experiment=aligner", f"preset={preset}")


@pytest.mark.parametrize("shown", ["alignments=a", "confidence=c", "heatmaps=h", "format=html"])
def test_a_layer_of_attention_is_taken_by_whatever_shows_attention(shown):
    words = ["checkpoint=x", "attention_layer=1"]
    with pytest.raises(ValueError, match="attention_layer=1 has no effect"):
        refuse_unused(compose_config(words, "translate"), words, TRANSLATE_WITHOUT_PENALTY)
    refuse_unused(compose_config([*words, shown], "translate"), words, TRANSLATE_WITHOUT_PENALTY)


@pytest.mark.parametrize(
    ("command", "rules", "without", "shown"),
    [
        ("align", ALIGN_BY_HEAD, ["src=s", "tgt=t"], ["src=s", "tgt=t", "links_from=attention"]),
        ("translate", TRANSLATE_WITH_HEAD, ["alignments=a"], ["alignments=a", "heatmaps=h"]),
        ("translate", TRANSLATE_WITH_HEAD, ["format=html"], ["confidence=c"]),
    ],
)
def test_a_layer_of_attention_does_not_change_the_links_of_an_alignment_head(command, rules, without, shown):
    words = ["checkpoint=x", "attention_layer=1"]
    with pytest.raises(ValueError, match="attention_layer=1 has no effect"):
        refuse_unused(compose_config([*words, *without], command), words, rules)
    refuse_unused(compose_config([*words, *shown], command), words, rules)


@pytest.mark.parametrize(("word", "fits"), [("decode.beam=3", False), ("decode.hard_attention=most_probable", True)])
def test_given_translations_are_not_searched_but_predicted(word, fits):
    words = ["checkpoint=x", "src=s", "tgt=t", word]
    with contextlib.nullcontext() if fits else pytest.raises(ValueError, match=r"decode\.beam=3 has no effect"):
        refuse_unused(compose_config(words, "saliency"), words)


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
        ({"coverage_penalty": 0.2, "beam": 1}, LengthPenalty.average, "decode.coverage_penalty=0.2 has no effect"),
        ({"temperature": 0.5}, LengthPenalty.average, "decode.temperature=0.5 .*: it needs decode.sampling=true"),
        ({"sampling_seed": 2}, LengthPenalty.average, "decode.sampling_seed=2 .*: it needs decode.sampling=true"),
        (
            {"sampling": True, "coverage_penalty": 0.2},
            LengthPenalty.average,
            "decode.coverage_penalty=0.2 has no effect: it is part of a score",
        ),
        ({"sampling": True, "coverage_penalty": 0.2, "nbest": 7}, LengthPenalty.average, ""),
        ({"diverse_beam_strength": 0.2}, LengthPenalty.average, "it needs decode.diverse_beam_groups above 1"),
        ({"diverse_beam_strength": 0.2, "diverse_beam_groups": 5}, LengthPenalty.average, ""),
    ],
)
def test_an_option_of_search_that_can_have_no_effect_is_refused(given, own, said):
    overrides = DecodeOverrides(**given)
    decode = overrides.over(DecodeConfig(length_penalty=own))
    if said:
        with pytest.raises(ValueError, match=said):
            refuse_unused_search(overrides, decode, ModelConfig())
    else:
        refuse_unused_search(overrides, decode, ModelConfig())


def test_how_hard_attention_predicts_is_refused_for_soft_attention():
    overrides = DecodeOverrides(hard_attention=HardPrediction.most_probable)  # pyright: ignore[reportCallIssue]
    decode, hard = overrides.over(DecodeConfig()), AttentionConfig(size=8, choice=AttentionChoice.hard)
    refuse_unused_search(overrides, decode, ModelConfig(attention=hard))
    with pytest.raises(ValueError, match=r"decode\.hard_attention=most_probable has no effect: this model"):
        refuse_unused_search(overrides, decode, ModelConfig())
