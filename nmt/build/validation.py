"""Validations from a configuration: of a translator, of an aligner, and of an alignment head."""

from collections.abc import Collection, Iterator
from pathlib import Path

from nmt.aligner import Aligner
from nmt.alignment_head import TranslatorWithHead
from nmt.analysis.alignment import Gold, gold_beside, read_gold
from nmt.attention.hard import AttentionChoice
from nmt.build.data import languages, metric_tokenizer
from nmt.build.search import build_translator
from nmt.build.training import build_batches
from nmt.config.schema import DataKind, ModelKind, TrainConfig
from nmt.corpus import Corpus, Pair
from nmt.data.batches import Batches
from nmt.data.binarized import BinarizedCorpus
from nmt.data.tokenizer import Tokenizer
from nmt.decoding.options import LengthPenalty, SearchOptions
from nmt.demo_corpus import DEMO_TGT
from nmt.model.seq2seq import Seq2Seq
from nmt.training.checkpointer import DATA_VALID, HARD_ATTENTION
from nmt.training.options import EarlyStoppingMetric
from nmt.validation.alignment import AlignmentValidator
from nmt.validation.alignment_head import HeadValidator
from nmt.validation.translation import Validator

AnyValidator = Validator | AlignmentValidator | HeadValidator


class SureLinks:
    """The sure ones of gold links, as a corpus is encoded with them."""

    def __init__(self, gold: Gold):
        self.gold, self.name = gold, gold.name

    weighted = False

    def __iter__(self) -> Iterator[Collection[tuple[int, int]]]:
        return (each.sure for each in self.gold.links)

    def digest(self) -> str:
        """A hash, in hexadecimal, that is equal only where the links are."""
        return self.gold.digest()


def read_validation_links(config: TrainConfig, valid: Corpus) -> SureLinks | None:
    """The links of the validation set, which an alignment head is validated with; None for other models. Raises
    ValueError where they are missing or misfit."""
    if config.model.kind is not ModelKind.alignment_head:
        return None
    return SureLinks(_gold(config, valid, list(valid), "model.kind=alignment_head"))


def build_validator(
    config: TrainConfig,
    model: Seq2Seq | Aligner | TranslatorWithHead,
    tokenizer: Tokenizer,
    valid: Corpus,
    encoded: BinarizedCorpus,
) -> AnyValidator:
    """encoded: the validation set, for an alignment head with `read_validation_links`. Raises ValueError where BLEU's
    tokenizer does not work here, and for gold links that are missing or misfit."""
    batches = build_batches(config, encoded, training=False)
    if isinstance(model, Aligner):
        return _alignment_validator(config, tokenizer, valid, batches)
    if isinstance(model, TranslatorWithHead):
        pairs = list(valid)
        return HeadValidator(batches, pairs, _gold(config, valid, pairs, "model.kind=alignment_head"), tokenizer)
    pairs = list(valid)[: config.trainer.valid_sentences]
    return Validator(
        batches,
        [pair.src for pair in pairs],
        [pair.tgt for pair in pairs],
        metric_tokenizer(config.data),
        build_translator(model, tokenizer, config.decode, beam=config.trainer.valid_beam),
    )


def validation_settings(
    config: TrainConfig, valid: Corpus, validator: AnyValidator
) -> dict[str, str | int | float | None]:
    """The settings, beside the model, on which the scores of a validation depend."""
    found: dict[str, str | int | float | None] = {DATA_VALID: valid.digest()}
    if config.model.kind is ModelKind.translator:
        hard = config.model.attention.choice is AttentionChoice.hard
        found[HARD_ATTENTION] = config.decode.hard_attention.value if hard else None
    match config.trainer.early_stopping_metric:
        case EarlyStoppingMetric.bleu:
            trainer, decode = config.trainer, config.decode
            found["data.bleu_tokenizer"] = metric_tokenizer(config.data)
            found["trainer.valid_sentences"] = trainer.valid_sentences
            found["trainer.valid_beam"] = trainer.valid_beam
            found["decode.max_length"] = decode.max_length
            found["decode.length_penalty"] = decode.length_penalty.value
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
            assert not isinstance(validator, Validator)
            assert validator.gold
            found["valid_alignment.links"] = validator.gold.digest()
        case EarlyStoppingMetric.loss:
            if isinstance(validator, HeadValidator):
                found["valid_alignment.links"] = validator.gold.digest()
    return found


def _alignment_validator(
    config: TrainConfig, tokenizer: Tokenizer, valid: Corpus, batches: Batches
) -> AlignmentValidator:
    asked = "valid_alignment.reversed=true" if config.valid_alignment.reversed else ""
    asked = asked or (
        "early_stopping_metric=aer" if config.trainer.early_stopping_metric is EarlyStoppingMetric.aer else ""
    )
    if not asked and not _gold_file(config):
        return AlignmentValidator(batches, [], None, tokenizer)
    pairs = list(valid)
    return AlignmentValidator(batches, pairs, _gold(config, valid, pairs, asked), tokenizer)


def _gold(config: TrainConfig, valid: Corpus, pairs: list[Pair], asked: str) -> Gold:
    """The gold links of the validation set. asked: the setting that needs them. Raises ValueError where there are
    none."""
    path = _gold_file(config)
    if not path:
        raise ValueError(
            f"{asked} needs gold links of the validation set, and there is no {config.data.valid}.links: give "
            "valid_alignment.links=FILE"
        )
    target_first = config.valid_alignment.reversed
    if config.data.kind is DataKind.demo and not config.valid_alignment.links:
        target_first = languages(config.data).src == DEMO_TGT
    return read_gold(path, pairs, f"the validation set {valid.name}", target_first=target_first)


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
