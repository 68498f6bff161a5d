"""A translator with an alignment head, from a configuration or a checkpoint."""

from pathlib import Path

import torch
from torch import Tensor

from nmt import checkpoint
from nmt.alignment_head import TranslatorWithHead
from nmt.attention.hard import AttentionChoice
from nmt.build.data import languages
from nmt.build.model import build_model, new_model
from nmt.config.continued import inherit
from nmt.config.saved import from_dict
from nmt.config.schema import ModelConfig, ModelKind, TrainConfig
from nmt.config.unused import refuse_other_model
from nmt.data.tokenizer import Tokenizer

_TRANSLATOR = "translator."  # the prefix of the names of the translator's weights


def build_with_head(model: ModelConfig, src_size: int, tgt_size: int) -> TranslatorWithHead:
    """A translator with an alignment head for vocabularies of these sizes."""
    return TranslatorWithHead(build_model(model, src_size, tgt_size), model.alignment_head)


def new_with_head(config: TrainConfig, tokenizer: Tokenizer, device: torch.device) -> TranslatorWithHead:
    """A new model with the weights of the head initialized with `seed`."""
    return TranslatorWithHead(new_model(config, tokenizer, device), config.model.alignment_head).to(device)


def load_for_head(
    config: TrainConfig, folder: Path, overrides: list[str]
) -> tuple[TrainConfig, Tokenizer, dict[str, Tensor]]:
    """For a new head on the translator in `folder`, or for more training of a translator with a head: the
    configuration, with all settings of the translator; its tokenizer; the existing weights.

    Raises ValueError if the command line `overrides` specifies another translator, or if it has no attention.
    """
    own = from_dict(TrainConfig, checkpoint.read_config(folder))
    if own.model.kind is ModelKind.aligner:
        raise ValueError(f"finetune_from={config.finetune_from} is a word aligner: give the run of a translator")
    refuse_other_model(own, config, overrides)
    ways = languages(own.data), languages(config.data)
    if ways[0] != ways[1]:
        raise ValueError(
            f"finetune_from={config.finetune_from} translates {ways[0].src} to {ways[0].tgt}, and the training pairs "
            f"are {ways[1].src} to {ways[1].tgt}: give data.src={ways[0].src} data.tgt={ways[0].tgt}"
        )
    _refuse_other_attention(own, f"finetune_from={config.finetune_from}")
    config = inherit(config, own)
    tokenizer, prefix = Tokenizer.load(folder / "tokenizer"), ""
    with torch.device("meta"):
        fitting = build_with_head(config.model, len(tokenizer.src), len(tokenizer.tgt))
    if own.model.kind is ModelKind.translator:
        fitting, prefix = fitting.translator, _TRANSLATOR
    checkpoint.check_fit(folder, fitting.state_dict())
    weights = checkpoint.read(folder, weights_only=True).model
    return config, tokenizer, {f"{prefix}{name}": weight for name, weight in weights.items()}


def _refuse_other_attention(own: TrainConfig, setting: str) -> None:
    if own.model.attention.choice is AttentionChoice.hard:
        raise ValueError(
            f"{setting} has hard attention, which an alignment head cannot use: give a run of another kind"
        )
    with torch.device("meta"):
        if not build_model(own.model, 8, 8).has_attention:
            raise ValueError(f"{setting} ({own.name}) has no attention, which an alignment head uses")
