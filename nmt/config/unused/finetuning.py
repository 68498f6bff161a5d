"""The settings that a run with finetune_from= has from that run. Other values of these are refused."""

from nmt.config.schema import ModelKind, TrainConfig
from nmt.config.unused.given import given
from nmt.config.unused.rule import shown, value_at
from nmt.config.unused.training import WITHOUT_SCORE


def refuse_other_model(own: TrainConfig, config: TrainConfig, overrides: list[str]) -> None:
    """For finetune_from=: raises ValueError if the command line sets a model or tokenizer that differs from `own`, the
    configuration of the checkpoint. Dropout may differ."""
    on_translator = (ModelKind.translator, ModelKind.alignment_head)
    if own.model.kind is not config.model.kind and (own.model.kind, config.model.kind) != on_translator:
        raise ValueError(
            f"finetune_from={config.finetune_from} has model.kind={own.model.kind.value}, and this run has "
            f"model.kind={config.model.kind.value}"
        )
    keys = given(overrides)
    if "experiment" in keys and config.model.kind is ModelKind.translator:  # an experiment determines the model
        keys += ["model.decoder.kind", "model.encoder.kind"]
        if config.model.decoder.kind not in WITHOUT_SCORE:
            keys += [f"model.attention.{key}" for key in ("score", "normalizer", "extent", "heads", "choice")]
    for key in keys:
        if not is_inherited(key, config.model.kind) or key == "model.kind":
            continue
        if own.model.kind is ModelKind.translator and key.startswith("model.alignment_head."):
            continue
        saved, wanted = value_at(own, key), value_at(config, key)
        if wanted != saved:
            raise ValueError(
                f"{key}={shown(wanted)} has no effect with finetune_from={config.finetune_from}, whose model and "
                "tokenizer are taken and "
                f"which has {key}={shown(saved)}; leave it out, choose what fits, or train without finetune_from="
            )


def is_inherited(name: str, kind: ModelKind) -> bool:
    """Whether a run with finetune_from= and this model.kind has the setting from that run."""
    of_model = name.startswith(("model.", "tokenizer."))
    match kind:
        case ModelKind.alignment_head:
            of_search = name.startswith("decode.") or name in ("trainer.valid_beam", "data.bleu_tokenizer")
            return of_search or (of_model and name != "model.alignment_head.dropout")
        case ModelKind.aligner:
            return of_model and name != "model.aligner.dropout"
        case ModelKind.translator:
            return of_model and not name.endswith("dropout")
