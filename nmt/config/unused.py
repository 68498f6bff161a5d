"""Settings without effect: one that is given on the command line is refused, with what to do instead.

Rules of search are in nmt.config.unused_search, all others here. A default is never refused: a preset or an experiment
may set a key of one optimizer or decoder while another is chosen. A setting of null or false is not refused either.
"""

import fnmatch
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from hydra.core.override_parser.overrides_parser import OverridesParser

from nmt.config.schema import (
    AlignConfig,
    AlignmentDirection,
    DataKind,
    DecoderKind,
    EncoderKind,
    EvaluateConfig,
    ModelKind,
    SaliencyConfig,
    ServeConfig,
    TrainConfig,
    TranslateConfig,
)
from nmt.config.unused_regularizers import REGULARIZERS
from nmt.decoding.options import LengthPenalty
from nmt.model.attention import ScoreFunction
from nmt.model.hard_attention import AttentionChoice, HardTraining
from nmt.model.local_attention import GLOBAL, Extent
from nmt.training.optim import OptimizerName, ScheduleName

_BUDGET_SCHEDULES = (ScheduleName.halving, ScheduleName.linear, ScheduleName.cosine)
_ADAM = (OptimizerName.adam, OptimizerName.adamw)
_WITHOUT_READOUT = (DecoderKind.luong, DecoderKind.transformer)
_WITHOUT_SCORE = (DecoderKind.fixed_vector, DecoderKind.transformer)
_WIDE_SCORES = (ScoreFunction.additive, ScoreFunction.concat, ScoreFunction.coverage)


class Rule(NamedTuple):
    """keys: settings, separated by blanks, * for any text; acts: whether they can have an effect in a configuration;
    advice: why they cannot and what to do, printed after "KEY=VALUE has no effect: "."""

    keys: str
    acts: Callable[[Any], bool]
    advice: str


def _needs(keys: str, acts: Callable[[Any], bool], needed: str) -> Rule:
    return Rule(keys, acts, f"it needs {needed}; give that too, or leave {{key}} out")


_TRAIN = (
    Rule(
        "decode.* model.encoder.* model.decoder.* model.attention.* model.tied_embeddings model.initialization "
        "model.transformer.* loss.* guided_alignment.* data.bleu_tokenizer trainer.valid_beam trainer.valid_sentences "
        "fused_kernels cuda_graphs",
        lambda c: c.model.kind is ModelKind.translator,
        "model.kind=aligner has no encoder, decoder, attention or search; leave {key} out",
    ),
    _needs("model.aligner.* valid_alignment.*", lambda c: c.model.kind is ModelKind.aligner, "model.kind=aligner"),
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
    *(_needs(*rule) for rule in REGULARIZERS),
    _needs("guided_alignment.links", lambda c: c.guided_alignment.weight > 0, "a guided_alignment.weight above 0"),
    _needs(
        "model.encoder.cell model.encoder.hidden model.encoder.bidirectional",
        lambda c: c.model.encoder.kind is EncoderKind.rnn,
        "model.encoder.kind=rnn (a Transformer is as wide as model.encoder.embedding)",
    ),
    _needs(
        "model.decoder.cell model.decoder.hidden model.decoder.init_hidden",
        lambda c: c.model.decoder.kind is not DecoderKind.transformer,
        "a recurrent decoder, model.decoder.kind=bahdanau, luong or fixed_vector (a Transformer is as wide as "
        "model.decoder.embedding)",
    ),
    _needs(
        "model.transformer.heads model.transformer.feedforward",
        lambda c: c.model.encoder.kind is EncoderKind.transformer or c.model.decoder.kind is DecoderKind.transformer,
        "model.encoder.kind=transformer or model.decoder.kind=transformer",
    ),
    _needs(
        "model.transformer.attention_layer model.transformer.attention_head",
        lambda c: c.model.decoder.kind is DecoderKind.transformer,
        "model.decoder.kind=transformer",
    ),
    _needs(
        "model.decoder.readout",
        lambda c: c.model.decoder.kind not in _WITHOUT_READOUT,
        "model.decoder.kind=bahdanau or fixed_vector (luong's is as wide as model.decoder.hidden)",
    ),
    _needs(
        "model.decoder.input_feeding", lambda c: c.model.decoder.kind is DecoderKind.luong, "model.decoder.kind=luong"
    ),
    _needs(
        "model.attention.score model.attention.size model.attention.normalizer model.attention.extent "
        "model.attention.heads",
        lambda c: c.model.decoder.kind not in _WITHOUT_SCORE,
        "attention with a score, which model.decoder.kind=bahdanau or luong has",
    ),
    _needs(
        "model.attention.size",
        lambda c: c.model.attention.score in _WIDE_SCORES,
        "model.attention.score=additive, concat or coverage (the others are as wide as the decoder's state)",
    ),
    _needs(
        "model.attention.window",
        lambda c: c.model.attention.extent is not GLOBAL,
        "model.attention.extent=local_m or local_p",
    ),
    _needs(
        "model.attention.renormalize",
        lambda c: c.model.attention.extent is Extent.local_p,
        "model.attention.extent=local_p",
    ),
    _needs(
        "model.attention.gaussians",
        lambda c: c.model.attention.score is ScoreFunction.gaussian,
        "model.attention.score=gaussian",
    ),
    _needs(
        "model.attention.max_positions",
        lambda c: c.model.attention.score is ScoreFunction.location,
        "model.attention.score=location",
    ),
    _needs(
        "model.attention.choice",
        lambda c: c.model.decoder.kind is not DecoderKind.fixed_vector,
        "attention, which model.decoder.kind=fixed_vector does not have: model.decoder.kind=bahdanau or luong",
    ),
    _needs(
        "model.attention.hard.training decode.hard_attention",
        lambda c: c.model.attention.choice is AttentionChoice.hard,
        "model.attention.choice=hard",
    ),
    _needs(
        " ".join(f"model.attention.hard.{key}" for key in ("reward", "entropy", "baseline_decay", "expected")),
        lambda c: (
            c.model.attention.choice is AttentionChoice.hard
            and c.model.attention.hard.training is HardTraining.reinforce
        ),
        "model.attention.choice=hard and model.attention.hard.training=reinforce",
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
        "tokenizer.src_vocab_size and tokenizer.tgt_vocab_size give both sizes; leave {key} out",
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
    Rule(
        "decode.sampling decode.temperature decode.top_k decode.top_p decode.sampling_seed decode.diverse_beam_groups "
        "decode.diverse_beam_strength",
        lambda c: False,
        "validation searches for the best translation; leave {key} out, and give it to nmt.evaluate or nmt.translate",
    ),
    _needs(
        "decode.coverage_penalty",
        lambda c: c.model.decoder.kind is not DecoderKind.fixed_vector and c.trainer.valid_beam > 1,
        "attention, and translations to compare: trainer.valid_beam above 1",
    ),
    _needs(
        "decode.length_penalty_alpha",
        lambda c: c.decode.length_penalty is LengthPenalty.gnmt,
        "decode.length_penalty=gnmt",
    ),
)
_SAMPLED = Rule(
    "decode.beam",
    lambda c: not c.decode.sampling,
    "decode.sampling=true draws each translation, without a beam; leave {key} out",
)
_EVALUATE = (
    _SAMPLED,
    Rule(
        "decode.nbest",
        lambda c: c.decode.nbest == 1,
        "the best translation alone is scored; leave {key} out, nmt.translate writes the others",
    ),
    _needs("data.name data.config", lambda c: c.data.kind in (None, DataKind.hub), "data.kind=hub"),
)
_TRANSLATE = (_SAMPLED, _needs("heatmap_units", lambda c: c.heatmaps, "heatmaps=FOLDER"))
_ALIGN = (
    Rule(
        "device precision threads decode.batch_size",
        lambda c: not c.links,
        "the links of links= are scored as they are, without a model; leave {key} out",
    ),
    _needs("score", lambda c: c.out or not c.gold, "out=FILE, as with gold= links are written nowhere else"),
)
ALIGN_BY_ALIGNER = (
    Rule("reverse", lambda c: False, "an aligner has both directions; leave {key} out"),
    Rule("posterior", lambda c: False, "an aligner's links always come from its posteriors; leave {key} out"),
    _needs("symmetrize", lambda c: c.direction is AlignmentDirection.both, "direction=both"),
)
ALIGN_BY_TRANSLATOR = (
    _needs("direction", lambda c: False, "an aligner (+experiment=aligner); a translator has one direction"),
    _needs("symmetrize", lambda c: c.reverse, "reverse=RUN, a model of the other direction"),
)
_SALIENCY = (
    _SAMPLED,
    Rule(
        "decode.*",
        lambda c: not c.tgt,
        "tgt= gives the translations, so nothing is searched; leave {key} out",
    ),
    Rule("decode.nbest", lambda c: c.decode.nbest == 1, "only the best translation is explained; leave {key} out"),
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


def refuse_unused(config: Any, overrides: list[str], rules: Iterable[Rule] = ()) -> None:
    """Raises ValueError for the first setting of the command line `overrides` that can have no effect in `config`.

    rules: what to go by beside the rules of the configuration's kind, where a checkpoint decides what has an effect.
    """
    names = given(overrides)
    for rule in (*_RULES.get(type(config), ()), *rules):
        for key in rule.keys.split():
            for name in fnmatch.filter(names, key):
                if _is_set(value := _at(config, name)) and not rule.acts(config):
                    raise ValueError(f"{name}={shown(value)} has no effect: {rule.advice.format(key=name)}")
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
    """For finetune_from=: raises ValueError where the command line sets a model or tokenizer other than `own`, the
    checkpoint's. Dropout may differ.
    """
    if own.model.kind is not config.model.kind:
        raise ValueError(
            f"finetune_from={config.finetune_from} has model.kind={own.model.kind.value}, and this run has "
            f"model.kind={config.model.kind.value}"
        )
    keys = given(overrides)
    if "experiment" in keys and config.model.kind is ModelKind.translator:  # what an experiment is about
        keys += ["model.decoder.kind", "model.encoder.kind"]
        if config.model.decoder.kind not in _WITHOUT_SCORE:
            keys += [f"model.attention.{key}" for key in ("score", "normalizer", "extent", "heads", "choice")]
    for key in keys:
        if key.split(".")[0] not in ("model", "tokenizer") or key.endswith("dropout"):
            continue
        saved, wanted = _at(own, key), _at(config, key)
        if wanted != saved:
            raise ValueError(
                f"{key}={shown(wanted)} has no effect with finetune_from={config.finetune_from}, whose model and "
                "tokenizer are taken and "
                f"which has {key}={shown(saved)}; leave it out, choose what fits, or train without finetune_from="
            )


def _is_set(value: object) -> bool:
    return value is not None and value is not False


def _at(config: Any, key: str) -> Any:
    for part in key.split("."):
        config = getattr(config, part)
    return config


def shown(value: Any) -> str:
    value = getattr(value, "value", value)
    if isinstance(value, Iterable) and not isinstance(value, str):
        return f"[{','.join(map(str, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)
