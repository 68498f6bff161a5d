"""Validations from a configuration: of a translator, and of an aligner."""

from pathlib import Path

from nmt.aligner import Aligner
from nmt.analysis.alignment import gold_beside, read_gold
from nmt.attention.hard import AttentionChoice
from nmt.build.data import languages, metric_tokenizer
from nmt.build.search import build_translator
from nmt.build.training import build_batches
from nmt.config.schema import DataKind, TrainConfig
from nmt.corpus import Corpus
from nmt.data.batches import Batches
from nmt.data.binarized import BinarizedCorpus
from nmt.data.tokenizer import Tokenizer
from nmt.decoding.options import LengthPenalty, SearchOptions
from nmt.demo_corpus import DEMO_TGT
from nmt.model.seq2seq import Seq2Seq
from nmt.training.checkpointer import DATA_VALID
from nmt.training.options import EarlyStoppingMetric
from nmt.validation.alignment import AlignmentValidator
from nmt.validation.translation import Validator


def build_validator(
    config: TrainConfig, model: Seq2Seq | Aligner, tokenizer: Tokenizer, valid: Corpus, encoded: BinarizedCorpus
) -> Validator | AlignmentValidator:
    """Raises ValueError where BLEU's tokenizer does not work here, and for gold links that are missing or misfit."""
    batches = build_batches(config, encoded, training=False)
    if isinstance(model, Aligner):
        return _alignment_validator(config, tokenizer, valid, batches)
    pairs = list(valid)[: config.trainer.valid_sentences]
    return Validator(
        batches,
        [pair.src for pair in pairs],
        [pair.tgt for pair in pairs],
        metric_tokenizer(config.data),
        build_translator(model, tokenizer, config.decode, beam=config.trainer.valid_beam),
    )


def validation_settings(
    config: TrainConfig, valid: Corpus, validator: Validator | AlignmentValidator
) -> dict[str, str | int | float | None]:
    """The settings, beside the model, on which the scores of a validation depend."""
    found: dict[str, str | int | float | None] = {DATA_VALID: valid.digest()}
    match config.trainer.early_stopping_metric:
        case EarlyStoppingMetric.bleu:
            trainer, decode = config.trainer, config.decode
            found["data.bleu_tokenizer"] = metric_tokenizer(config.data)
            found["trainer.valid_sentences"] = trainer.valid_sentences
            found["trainer.valid_beam"] = trainer.valid_beam
            found["decode.max_length"] = decode.max_length
            found["decode.length_penalty"] = decode.length_penalty.value
            hard = config.model.attention.choice is AttentionChoice.hard
            found["decode.hard_attention"] = decode.hard_attention.value if hard else None
            found["decode.length_penalty_alpha"] = (
                decode.length_penalty_alpha if decode.length_penalty is LengthPenalty.gnmt else None
            )
            # None where they change nothing, as in a checkpoint that does not know them.
            for key in (
                *("max_length_ratio", "min_length", "min_length_ratio"),
                *("coverage_penalty", "no_repeat_ngram_size"),
            ):
                value, default = (getattr(options, key) for options in (decode, SearchOptions()))
                found[f"decode.{key}"] = None if value == default else value
        case EarlyStoppingMetric.aer:
            assert isinstance(validator, AlignmentValidator)
            assert validator.gold
            found["valid_alignment.links"] = validator.gold.digest()
        case EarlyStoppingMetric.loss:
            pass
    return found


def _alignment_validator(
    config: TrainConfig, tokenizer: Tokenizer, valid: Corpus, batches: Batches
) -> AlignmentValidator:
    path = _gold_file(config)
    if path:
        pairs, target_first = list(valid), config.valid_alignment.reversed
        if config.data.kind is DataKind.demo and not config.valid_alignment.links:
            target_first = languages(config.data).src == DEMO_TGT
        gold = read_gold(path, pairs, f"the validation set {valid.name}", target_first=target_first)
        return AlignmentValidator(batches, pairs, gold, tokenizer)
    if config.trainer.early_stopping_metric is EarlyStoppingMetric.aer or config.valid_alignment.reversed:
        asked = "valid_alignment.reversed=true" if config.valid_alignment.reversed else "early_stopping_metric=aer"
        raise ValueError(
            f"{asked} needs gold links of the validation set, and there is no {config.data.valid}.links: give "
            "valid_alignment.links=FILE"
        )
    return AlignmentValidator(batches, [], None, tokenizer)


def _gold_file(config: TrainConfig) -> Path | None:
    """The gold links that are named, or that lie beside the validation set."""
    if config.valid_alignment.links:
        return Path(config.valid_alignment.links)
    match config.data.kind:
        case DataKind.demo:
            return Path(config.data.cache) / "demo" / "valid.links"
        case DataKind.files:
            return gold_beside(str(config.data.valid))
        case DataKind.hub:
            return None
