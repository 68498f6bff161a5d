"""The objects that training needs for each kind of model."""

from pathlib import Path

import torch
from torch import Tensor

from nmt.aligner import Aligner
from nmt.alignment_head import TranslatorWithHead
from nmt.build.aligner import load_aligner_for_finetuning, new_aligner
from nmt.build.alignment_head import load_for_head, new_with_head
from nmt.build.model import new_model
from nmt.build.runs import load_for_finetuning
from nmt.checkpoint.run_folder import find_checkpoint
from nmt.config.schema import ModelKind, TrainConfig
from nmt.data.binarized import BinarizedCorpus
from nmt.data.tokenizer import Tokenizer
from nmt.model.seq2seq import Seq2Seq


def new_of_kind(
    config: TrainConfig, tokenizer: Tokenizer, encoded: BinarizedCorpus, device: torch.device
) -> Seq2Seq | Aligner | TranslatorWithHead:
    """A new model with weights initialized with `seed`; encoded: the training corpus."""
    match config.model.kind:
        case ModelKind.translator:
            return new_model(config, tokenizer, device)
        case ModelKind.aligner:
            return new_aligner(config, tokenizer, encoded, device)
        case ModelKind.alignment_head:
            return new_with_head(config, tokenizer, device)


def load_of_kind(config: TrainConfig, overrides: list[str]) -> tuple[TrainConfig, Tokenizer, dict[str, Tensor]]:
    """For a new run from `finetune_from=`: the configuration, with the model and tokenizer of that run; its tokenizer;
    its weights, which for an alignment head may be those of the translator only.

    Raises ValueError if the command line `overrides` specifies another model.
    """
    assert config.finetune_from
    folder: Path = find_checkpoint(config.finetune_from)
    match config.model.kind:
        case ModelKind.translator:
            return load_for_finetuning(config, folder, overrides)
        case ModelKind.aligner:
            return load_aligner_for_finetuning(config, folder, overrides)
        case ModelKind.alignment_head:
            return load_for_head(config, folder, overrides)


def check_alignment_head(config: TrainConfig) -> None:
    """Raises ValueError if an alignment head has no translator or no links."""
    if config.model.kind is not ModelKind.alignment_head:
        return
    if not config.finetune_from:
        raise ValueError(
            "model.kind=alignment_head is trained on a translator that is trained already: give finetune_from=RUN"
        )
    if not config.guided_alignment.links:
        raise ValueError(
            "model.kind=alignment_head learns from links of the training pairs: give guided_alignment.links=FILE, such "
            "as python -m nmt.align checkpoint=ALIGNER writes"
        )
