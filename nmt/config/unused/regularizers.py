"""Rules for the settings of objectives and regularizers: loss.*, minimum_risk.*, subword_regularization.*, word
dropout."""

from collections.abc import Callable

from nmt.acceleration.selection import CudaGraphsMode
from nmt.attention.hard import AttentionChoice
from nmt.config.schema import DecoderKind, EncoderKind, TrainConfig
from nmt.data.tokenizer import ModelType
from nmt.training.consistency import Consistency, Objective


def _is_random(config: TrainConfig) -> bool:
    """Whether sentences of a batch have different dropout masks, unlike with dropout of recurrent weights."""
    return any(max(side.dropout, side.word_dropout) > 0 for side in (config.model.encoder, config.model.decoder))


def _own_models(config: TrainConfig) -> bool:
    return bool(config.tokenizer.model or config.tokenizer.src_model)


def _has_cross_entropy(config: TrainConfig) -> bool:
    return config.loss.objective is Objective.cross_entropy or config.minimum_risk.cross_entropy_weight > 0


def _asks_for_graphs(config: TrainConfig) -> bool:
    return config.cuda_graphs is CudaGraphsMode.on


# Settings, separated by spaces; whether they have an effect in a configuration; what they need.
REGULARIZERS: tuple[tuple[str, Callable[[TrainConfig], bool], str], ...] = (
    (
        "loss.consistency_weight",
        lambda c: c.loss.consistency is not Consistency.none,
        "loss.consistency=r_drop or simcut",
    ),
    ("loss.cut_rate", lambda c: c.loss.consistency is Consistency.simcut, "loss.consistency=simcut"),
    (
        "loss.consistency",
        lambda c: c.loss.consistency is not Consistency.r_drop or _is_random(c),
        "dropout, without which both passes are the same: model.encoder.dropout or model.decoder.dropout above 0",
    ),
    ("minimum_risk.*", lambda c: c.loss.objective is Objective.minimum_risk, "loss.objective=minimum_risk"),
    (
        "loss.label_smoothing optim.normalization",
        _has_cross_entropy,
        "cross-entropy, beside loss.objective=minimum_risk: minimum_risk.cross_entropy_weight above 0",
    ),
    (
        "cuda_graphs",
        lambda c: not _asks_for_graphs(c) or c.loss.objective is Objective.cross_entropy,
        "loss.objective=cross_entropy",
    ),
    (
        "cuda_graphs",
        lambda c: not _asks_for_graphs(c) or c.model.attention.choice is AttentionChoice.soft,
        "model.attention.choice=soft",
    ),
    (
        "cuda_graphs",
        lambda c: not _asks_for_graphs(c) or c.guided_alignment.weight_at(1) == 0,
        "training without guided_alignment.links",
    ),
    (
        "model.encoder.recurrent_dropout",
        lambda c: c.model.encoder.kind is EncoderKind.rnn,
        "model.encoder.kind=rnn",
    ),
    (
        "model.decoder.recurrent_dropout",
        lambda c: c.model.decoder.kind is not DecoderKind.transformer,
        "a recurrent decoder, model.decoder.kind=bahdanau, conditional_gru, luong or fixed_vector",
    ),
    (
        "subword_regularization.src_alpha subword_regularization.tgt_alpha",
        lambda c: _own_models(c) or c.tokenizer.model_type in (ModelType.unigram, ModelType.bpe),
        "tokenizer.model_type=unigram or bpe, as the others know one segmentation only",
    ),
    (
        "subword_regularization.nbest",
        lambda c: _own_models(c) or c.tokenizer.model_type is ModelType.unigram,
        "tokenizer.model_type=unigram, as bpe draws merges",
    ),
    (
        "subword_regularization.nbest",
        lambda c: c.subword_regularization.is_on,
        "subword_regularization.src_alpha or tgt_alpha",
    ),
)
