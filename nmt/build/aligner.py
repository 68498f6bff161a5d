"""The word aligner of a configuration or a checkpoint."""

from pathlib import Path
from typing import NamedTuple

import torch

from nmt import checkpoint
from nmt.aligner import Aligner, untrained_vocabulary, vocabularies
from nmt.build.runs import load_weights, open_run
from nmt.config.continued import inherit
from nmt.config.saved import from_dict
from nmt.config.schema import ModelConfig, ModelKind, TrainConfig
from nmt.config.unused import refuse_other_model
from nmt.data.binarized import BinarizedCorpus
from nmt.data.tokenizer import Tokenizer


class LoadedAligner(NamedTuple):
    """The aligner of a checkpoint, for alignment."""

    model: Aligner
    tokenizer: Tokenizer
    config: TrainConfig
    folder: Path


def new_aligner(config: TrainConfig, tokenizer: Tokenizer, encoded: BinarizedCorpus, device: torch.device) -> Aligner:
    """A new aligner: weights initialized with `seed`, piece frequencies from the training corpus."""
    return Aligner(*vocabularies(tokenizer, encoded), config.model.aligner).to(device)


def load_aligner(place: str | list[str] | None, device: torch.device) -> LoadedAligner | None:
    """The aligner of `checkpoint=place`, or None if it is a translator. Raises ValueError as load does."""
    if isinstance(place, list):  # an ensemble: translators
        return None
    folder, config, tokenizer = open_run(place)
    if config.model.kind is not ModelKind.aligner:
        return None
    model = _untrained(config.model, tokenizer)
    load_weights(model, folder)
    return LoadedAligner(model.to(device).eval(), tokenizer, config, folder)


def load_aligner_for_finetuning(
    config: TrainConfig, folder: Path, overrides: list[str]
) -> tuple[TrainConfig, Tokenizer, dict[str, torch.Tensor]]:
    """Like runs.load_for_finetuning, for an aligner."""
    own = from_dict(TrainConfig, checkpoint.read_config(folder))
    refuse_other_model(own, config, overrides)
    config = inherit(config, own)
    tokenizer = Tokenizer.load(folder / "tokenizer")
    checkpoint.check_fit(folder, _untrained(config.model, tokenizer).state_dict())
    return config, tokenizer, checkpoint.read(folder, weights_only=True).model


def _untrained(model: ModelConfig, tokenizer: Tokenizer) -> Aligner:
    """An aligner with the right shapes, on torch's meta device."""
    with torch.device("meta"):
        return Aligner(untrained_vocabulary(tokenizer.src), untrained_vocabulary(tokenizer.tgt), model.aligner)
