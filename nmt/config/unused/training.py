"""Rules for the settings of training."""

from nmt.attention.hard import AttentionChoice, HardTraining
from nmt.attention.local import GLOBAL, Extent
from nmt.attention.scores import ScoreFunction
from nmt.config.schema import DataKind, DecoderKind, EncoderKind, ModelKind, TrainConfig
from nmt.config.unused.regularizers import REGULARIZERS
from nmt.config.unused.rule import Rule, needs
from nmt.config.unused.stacks import STACKS
from nmt.decoding.options import LengthPenalty
from nmt.training.optim import OptimizerName, ScheduleName

_BUDGET_SCHEDULES = (ScheduleName.halving, ScheduleName.linear, ScheduleName.cosine)
_ADAM = (OptimizerName.adam, OptimizerName.adamw)
_WITHOUT_READOUT = (DecoderKind.luong, DecoderKind.transformer)
WITHOUT_SCORE = (DecoderKind.fixed_vector, DecoderKind.transformer)
_WIDE_SCORES = (ScoreFunction.additive, ScoreFunction.concat, ScoreFunction.coverage)


TRAIN_RULES = (
    Rule(
        "decode.* model.encoder.* model.decoder.* model.attention.* model.tied_embeddings model.initialization "
        "model.transformer.* loss.* guided_alignment.* data.bleu_tokenizer trainer.valid_beam trainer.valid_sentences "
        "trainer.calibrate fused_kernels cuda_graphs",
        lambda c: c.model.kind is not ModelKind.aligner,
        "model.kind=aligner has no encoder, decoder, attention or search; leave {key} out",
    ),
    Rule(
        "decode.* model.encoder.* model.decoder.* model.attention.* model.tied_embeddings model.initialization "
        "model.transformer.* loss.* data.bleu_tokenizer trainer.valid_beam trainer.valid_sentences trainer.calibrate "
        "cuda_graphs "
        "guided_alignment.weight guided_alignment.decay",
        lambda c: c.model.kind is not ModelKind.alignment_head,
        "model.kind=alignment_head learns from links alone, and the translator of finetune_from= stays as it is; leave "
        "{key} out",
    ),
    needs("model.aligner.*", lambda c: c.model.kind is ModelKind.aligner, "model.kind=aligner"),
    needs(
        "valid_alignment.*", lambda c: c.model.kind is not ModelKind.translator, "model.kind=aligner or alignment_head"
    ),
    needs("model.alignment_head.*", lambda c: c.model.kind is ModelKind.alignment_head, "model.kind=alignment_head"),
    needs("optim.momentum", lambda c: c.optim.name is OptimizerName.sgd, "optim.name=sgd"),
    needs("optim.rho", lambda c: c.optim.name is OptimizerName.adadelta, "optim.name=adadelta"),
    needs("optim.beta1 optim.beta2", lambda c: c.optim.name in _ADAM, "optim.name=adam or adamw"),
    needs("optim.eps", lambda c: c.optim.name is not OptimizerName.sgd, "optim.name=adam, adamw or adadelta"),
    needs(
        "optim.schedule.constant_fraction",
        lambda c: c.optim.schedule.name in _BUDGET_SCHEDULES,
        "optim.schedule.name=halving, linear or cosine",
    ),
    needs(
        "optim.schedule.halvings",
        lambda c: c.optim.schedule.name is ScheduleName.halving,
        "optim.schedule.name=halving",
    ),
    needs(
        "optim.schedule.min_factor",
        lambda c: c.optim.schedule.name in (ScheduleName.linear, ScheduleName.cosine),
        "optim.schedule.name=linear or cosine",
    ),
    needs(
        "optim.schedule.factor optim.schedule.patience",
        lambda c: c.optim.schedule.name is ScheduleName.plateau,
        "optim.schedule.name=plateau",
    ),
    needs(
        "guided_alignment.weight guided_alignment.decay guided_alignment.reversed",
        lambda c: c.guided_alignment.links,
        "guided_alignment.links=FILE",
    ),
    *(needs(*rule) for rule in REGULARIZERS),
    *(needs(*rule) for rule in STACKS),
    needs("guided_alignment.links", lambda c: c.guided_alignment.weight > 0, "a guided_alignment.weight above 0"),
    needs(
        "model.encoder.cell model.encoder.hidden model.encoder.bidirectional",
        lambda c: c.model.encoder.kind is EncoderKind.rnn,
        "model.encoder.kind=rnn (a Transformer is as wide as model.encoder.embedding)",
    ),
    needs(
        "model.decoder.cell model.decoder.hidden model.decoder.init_hidden",
        lambda c: c.model.decoder.kind is not DecoderKind.transformer,
        "a recurrent decoder, model.decoder.kind=bahdanau, conditional_gru, luong or fixed_vector (a Transformer is as "
        "wide as model.decoder.embedding)",
    ),
    needs(
        "model.transformer.heads model.transformer.feedforward",
        lambda c: c.model.encoder.kind is EncoderKind.transformer or c.model.decoder.kind is DecoderKind.transformer,
        "model.encoder.kind=transformer or model.decoder.kind=transformer",
    ),
    needs(
        "model.transformer.attention_layer model.transformer.attention_head",
        lambda c: c.model.decoder.kind is DecoderKind.transformer,
        "model.decoder.kind=transformer",
    ),
    needs(
        "model.decoder.readout",
        lambda c: c.model.decoder.kind not in _WITHOUT_READOUT,
        "model.decoder.kind=bahdanau, conditional_gru or fixed_vector (luong's is as wide as model.decoder.hidden)",
    ),
    needs(
        "model.decoder.input_feeding", lambda c: c.model.decoder.kind is DecoderKind.luong, "model.decoder.kind=luong"
    ),
    needs(
        "model.attention.score model.attention.size model.attention.normalizer model.attention.extent "
        "model.attention.heads",
        lambda c: c.model.decoder.kind not in WITHOUT_SCORE,
        "attention with a score, which model.decoder.kind=bahdanau, conditional_gru or luong has",
    ),
    needs(
        "model.attention.size",
        lambda c: c.model.attention.score in _WIDE_SCORES,
        "model.attention.score=additive, concat or coverage (the others are as wide as the decoder's state)",
    ),
    needs(
        "model.attention.window",
        lambda c: c.model.attention.extent is not GLOBAL,
        "model.attention.extent=local_m or local_p",
    ),
    needs(
        "model.attention.renormalize",
        lambda c: c.model.attention.extent is Extent.local_p,
        "model.attention.extent=local_p",
    ),
    needs(
        "model.attention.gaussians",
        lambda c: c.model.attention.score is ScoreFunction.gaussian,
        "model.attention.score=gaussian",
    ),
    needs(
        "model.attention.max_positions",
        lambda c: c.model.attention.score is ScoreFunction.location,
        "model.attention.score=location",
    ),
    needs(
        "model.attention.choice",
        lambda c: c.model.decoder.kind is not DecoderKind.fixed_vector,
        "attention, which model.decoder.kind=fixed_vector does not have: try model.decoder.kind=bahdanau",
    ),
    needs(
        "model.attention.hard.training decode.hard_attention",
        lambda c: c.model.attention.choice is AttentionChoice.hard,
        "model.attention.choice=hard",
    ),
    needs(
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
    needs(
        "tokenizer.src_vocab_size tokenizer.tgt_vocab_size", lambda c: not c.tokenizer.joint, "tokenizer.joint=false"
    ),
    Rule(
        "tokenizer.vocab_size",
        lambda c: c.tokenizer.joint or not (c.tokenizer.src_vocab_size and c.tokenizer.tgt_vocab_size),
        "tokenizer.src_vocab_size and tokenizer.tgt_vocab_size give both sizes; leave {key} out",
    ),
    needs("data.name data.config", lambda c: c.data.kind is DataKind.hub, "data=hub"),
    needs(
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
    needs(
        "decode.coverage_penalty",
        lambda c: c.model.decoder.kind is not DecoderKind.fixed_vector and c.trainer.valid_beam > 1,
        "attention, and translations to compare: trainer.valid_beam above 1",
    ),
    needs(
        "decode.length_penalty_alpha",
        lambda c: c.decode.length_penalty is LengthPenalty.gnmt,
        "decode.length_penalty=gnmt",
    ),
)


def refuse_idle_trainer(config: TrainConfig) -> None:
    """Raises ValueError for settings that depend on another one that is off; they cannot be defaults."""
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
