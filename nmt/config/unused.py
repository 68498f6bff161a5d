"""Settings without effect: one that is given on the command line is refused, with what to do instead.

All rules are here. A default is never refused: a preset or an experiment may set a key of one optimizer or decoder
while another is chosen. A setting of null or false is not refused either.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields
from typing import Any, NamedTuple

from hydra.core.override_parser.overrides_parser import OverridesParser

from nmt.config.schema import (
    AlignConfig,
    DataKind,
    DecodeConfig,
    DecodeOverrides,
    DecoderKind,
    EvaluateConfig,
    SaliencyConfig,
    ServeConfig,
    TrainConfig,
    TranslateConfig,
)
from nmt.decoding.search import LengthPenalty
from nmt.model.attention import ScoreFunction
from nmt.training.optim import OptimizerName, ScheduleName

_BUDGET_SCHEDULES = (ScheduleName.halving, ScheduleName.linear, ScheduleName.cosine)
_ADAM = (OptimizerName.adam, OptimizerName.adamw)
_WIDE_SCORES = (ScoreFunction.additive, ScoreFunction.concat, ScoreFunction.coverage)


class Rule(NamedTuple):
    """keys: settings, separated by blanks; acts: whether they can have an effect in a configuration; advice: why they
    cannot and what to do, printed after "KEY=VALUE has no effect: "."""

    keys: str
    acts: Callable[[Any], bool]
    advice: str


def _needs(keys: str, acts: Callable[[Any], bool], needed: str) -> Rule:
    return Rule(keys, acts, f"it needs {needed}; give that too, or leave {{key}} out")


_TRAIN = (
    _needs("optim.momentum", lambda c: c.optim.name is OptimizerName.sgd, "optim.name=sgd"),
    _needs("optim.rho", lambda c: c.optim.name is OptimizerName.adadelta, "optim.name=adadelta"),
    _needs("optim.beta1 optim.beta2", lambda c: c.optim.name in _ADAM, "optim.name=adam or adamw"),
    _needs("optim.eps", lambda c: c.optim.name is not OptimizerName.sgd, "optim.name=adam, adamw or adadelta"),
    _needs(
        "optim.schedule.constant_fraction",
        lambda c: c.optim.schedule.name in _BUDGET_SCHEDULES,
        "optim.schedule.name=halving, linear or cosine",
    ),
    _needs(
        "optim.schedule.halvings",
        lambda c: c.optim.schedule.name is ScheduleName.halving,
        "optim.schedule.name=halving",
    ),
    _needs(
        "optim.schedule.min_factor",
        lambda c: c.optim.schedule.name in (ScheduleName.linear, ScheduleName.cosine),
        "optim.schedule.name=linear or cosine",
    ),
    _needs(
        "optim.schedule.factor optim.schedule.patience",
        lambda c: c.optim.schedule.name is ScheduleName.plateau,
        "optim.schedule.name=plateau",
    ),
    _needs(
        "guided_alignment.weight guided_alignment.decay guided_alignment.reversed",
        lambda c: c.guided_alignment.links,
        "guided_alignment.links=FILE",
    ),
    _needs("guided_alignment.links", lambda c: c.guided_alignment.weight > 0, "a guided_alignment.weight above 0"),
    _needs(
        "model.decoder.readout",
        lambda c: c.model.decoder.kind is not DecoderKind.luong,
        "model.decoder.kind=bahdanau or fixed_vector (luong's is as wide as model.decoder.hidden)",
    ),
    _needs(
        "model.decoder.input_feeding", lambda c: c.model.decoder.kind is DecoderKind.luong, "model.decoder.kind=luong"
    ),
    _needs(
        "model.attention.score model.attention.size",
        lambda c: c.model.decoder.kind is not DecoderKind.fixed_vector,
        "attention, which model.decoder.kind=fixed_vector does not have: model.decoder.kind=bahdanau or luong",
    ),
    _needs(
        "model.attention.size",
        lambda c: c.model.attention.score in _WIDE_SCORES,
        "model.attention.score=additive, concat or coverage (the others are as wide as the decoder's state)",
    ),
    Rule(
        "tokenizer.model_type tokenizer.joint tokenizer.vocab_size tokenizer.src_vocab_size tokenizer.tgt_vocab_size "
        "tokenizer.character_coverage tokenizer.byte_fallback tokenizer.input_sentence_size "
        "tokenizer.src_normalization tokenizer.tgt_normalization",
        lambda c: not (c.tokenizer.model or c.tokenizer.src_model),
        "the models that tokenizer.model= or src_model= and tgt_model= name are used as they are; leave {key} out",
    ),
    Rule(
        "tokenizer.model",
        lambda c: not c.tokenizer.src_model,
        "tokenizer.src_model and tokenizer.tgt_model are used; give those two, or this one",
    ),
    _needs(
        "tokenizer.src_vocab_size tokenizer.tgt_vocab_size", lambda c: not c.tokenizer.joint, "tokenizer.joint=false"
    ),
    Rule(
        "tokenizer.vocab_size",
        lambda c: c.tokenizer.joint or not (c.tokenizer.src_vocab_size and c.tokenizer.tgt_vocab_size),
        "tokenizer.src_vocab_size and tokenizer.tgt_vocab_size say all; leave {key} out",
    ),
    _needs("data.name data.config", lambda c: c.data.kind is DataKind.hub, "data=hub"),
    _needs(
        "trainer.keep_checkpoints",
        lambda c: c.trainer.save_every or c.trainer.save_minutes,
        "trainer.save_every or trainer.save_minutes above 0",
    ),
    Rule(
        "decode.beam",
        lambda c: False,
        "validation searches with trainer.valid_beam; set that, and give decode.beam to nmt.evaluate or nmt.translate",
    ),
    Rule(
        "decode.nbest",
        lambda c: c.decode.nbest == 1,
        "validation scores the best translation alone; give decode.nbest to nmt.translate",
    ),
    _needs(
        "decode.length_penalty_alpha",
        lambda c: c.decode.length_penalty is LengthPenalty.gnmt,
        "decode.length_penalty=gnmt",
    ),
)
_EVALUATE = (
    Rule(
        "decode.nbest",
        lambda c: c.decode.nbest == 1,
        "the best translation alone is scored; leave {key} out, nmt.translate writes the others",
    ),
    _needs("data.name data.config", lambda c: c.data.kind in (None, DataKind.hub), "data.kind=hub"),
)
_TRANSLATE = (_needs("heatmap_units", lambda c: c.heatmaps, "heatmaps=FOLDER"),)
_ALIGN = (
    Rule(
        "device precision threads decode.batch_size",
        lambda c: not c.links,
        "the links of links= are scored as they are, without a model; leave {key} out",
    ),
    _needs("score", lambda c: c.out or not c.gold, "out=FILE, as with gold= links are written nowhere else"),
)
_SALIENCY = (
    Rule(
        " ".join(f"decode.{each.name}" for each in fields(DecodeConfig)),
        lambda c: not c.tgt,
        "tgt= gives the translations, so nothing is searched; leave {key} out",
    ),
    Rule("decode.nbest", lambda c: c.decode.nbest == 1, "the best translation alone is looked at; leave {key} out"),
)
_SERVE = (
    Rule(
        "decode.nbest",
        lambda c: c.decode.nbest == 1,
        "each request says how many alternatives it wants; leave {key} out",
    ),
)
_RULES = {
    TrainConfig: _TRAIN,
    EvaluateConfig: _EVALUATE,
    TranslateConfig: _TRANSLATE,
    AlignConfig: _ALIGN,
    SaliencyConfig: _SALIENCY,
    ServeConfig: _SERVE,
}


def given(overrides: list[str]) -> list[str]:
    """The dotted keys that a command line names: the score for model/attention=..., other groups by their names."""
    found: list[str] = []
    for override in OverridesParser.create().parse_overrides(overrides):
        name = override.key_or_group
        found += ["model.attention.score"] if name == "model/attention" else _leaves(name, override.value())
    return found


def _leaves(name: str, value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, child in value.items():
            yield from _leaves(f"{name}.{key}", child)
    else:
        yield name


def refuse_unused(config: Any, overrides: list[str]) -> None:
    """Raises ValueError for the first setting of the command line `overrides` that can have no effect in `config`."""
    names = given(overrides)
    for rule in _RULES.get(type(config), ()):
        for key in rule.keys.split():
            if key in names and _asks(value := _at(config, key)) and not rule.acts(config):
                raise ValueError(f"{key}={_told(value)} has no effect: {rule.advice.format(key=key)}")
    if isinstance(config, TrainConfig):
        _refuse_idle_trainer(config)


def _refuse_idle_trainer(config: TrainConfig) -> None:
    """Refuses settings that follow another one which was switched off; they cannot be defaults."""
    trainer, schedule = config.trainer, config.optim.schedule.name
    if trainer.patience and not trainer.validate_every:
        raise ValueError(
            f"trainer.patience={trainer.patience} has no effect: it counts validations, and trainer.validate_every=0 "
            "makes none; try trainer.validate_every=500, or trainer.patience=0 and trainer.max_updates"
        )
    if schedule is ScheduleName.plateau and not trainer.validate_every:
        raise ValueError(
            "optim.schedule.name=plateau has no effect: it follows validations, and trainer.validate_every=0 makes "
            "none; try trainer.validate_every=500, or optim.schedule.name=constant"
        )
    limits = (trainer.max_updates, trainer.max_epochs, trainer.max_minutes)
    if schedule in _BUDGET_SCHEDULES and limits == (None, None, None):
        raise ValueError(
            f"optim.schedule.name={schedule.value} has no effect: it follows trainer.max_updates, max_epochs or "
            "max_minutes, and trainer.patience alone ends this run; set one of them too, or try "
            "optim.schedule.name=plateau or constant"
        )


def refuse_other_model(own: TrainConfig, config: TrainConfig, overrides: list[str]) -> None:
    """For init=: raises ValueError where the command line asks for another model or tokenizer than the `own` of the
    checkpoint that the run starts from. Dropout may differ.
    """
    keys = given(overrides)
    if "experiment" in keys:  # what an experiment is about
        keys += ["model.decoder.kind"]
        keys += ["model.attention.score"] if config.model.decoder.kind is not DecoderKind.fixed_vector else []
    for key in keys:
        if key.split(".")[0] not in ("model", "tokenizer") or key.endswith(".dropout"):
            continue
        theirs, asked = _at(own, key), _at(config, key)
        if asked != theirs:
            raise ValueError(
                f"{key}={_told(asked)} has no effect with finetune_from={config.finetune_from}, whose model and "
                "tokenizer are taken and "
                f"which has {key}={_told(theirs)}; leave it out, choose what fits, or train without finetune_from="
            )


def refuse_unused_search(overrides: DecodeOverrides, decode: DecodeConfig) -> None:
    """Raises ValueError for what `overrides` asks for and can have no effect in the search that `decode` describes."""
    asked = overrides.given()
    if "length_penalty_alpha" in asked and decode.length_penalty is not LengthPenalty.gnmt:
        raise ValueError(
            f"decode.length_penalty_alpha={decode.length_penalty_alpha} has no effect: it needs "
            f"decode.length_penalty=gnmt, and this is {decode.length_penalty.value}; give that too, or leave "
            "decode.length_penalty_alpha out"
        )
    for key in ("length_penalty", "length_penalty_alpha"):
        if key in asked and decode.beam == 1:
            raise ValueError(
                f"decode.{key}={_told(asked[key])} has no effect: decode.beam=1 has one hypothesis and nothing to "
                f"compare; try a wider beam, or leave decode.{key} out"
            )


def _asks(value: object) -> bool:
    return value is not None and value is not False


def _at(config: Any, key: str) -> Any:
    for part in key.split("."):
        config = getattr(config, part)
    return config


def _told(value: Any) -> str:
    value = getattr(value, "value", value)
    if isinstance(value, Iterable) and not isinstance(value, str):
        return f"[{','.join(map(str, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)
