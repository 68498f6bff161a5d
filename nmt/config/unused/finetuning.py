"""A run that starts from another run has its model and tokenizer: settings of other ones are refused."""

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
        if key.split(".")[0] not in ("model", "tokenizer") or key.endswith("dropout") or key == "model.kind":
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
