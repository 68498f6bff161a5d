"""Opens what `checkpoint=` names: one model, or several as an ensemble."""

import torch

from nmt import build
from nmt.build import Loaded
from nmt.model.ensemble import Ensemble, EnsembleAverage
from nmt.model.seq2seq import Seq2Seq


def load(checkpoint: str | list[str] | None, device: torch.device, average: EnsembleAverage | None = None) -> Loaded:
    """The model of a run or checkpoint folder, or the ensemble of several; average: see Ensemble, None: probabilities.

    Raises ValueError where one is missing or damaged, and where they do not read and write the same ids.
    """
    if not isinstance(checkpoint, list):
        return build.load(checkpoint, device)
    first, *others = (build.load(place, device) for place in checkpoint)
    for place, other in zip(checkpoint[1:], others, strict=True):
        _check_alike(checkpoint[0], first, place, other)
    if not others:
        return first
    models = [each.model for each in (first, *others)]
    assert all(isinstance(model, Seq2Seq) for model in models)
    ensemble = Ensemble(models, average or EnsembleAverage.probabilities).eval()  # pyright: ignore[reportArgumentType]
    return first._replace(model=ensemble, folders=tuple(each.folder for each in (first, *others)))


def _check_alike(name: str, first: Loaded, other_name: str, other: Loaded) -> None:
    if first.tokenizer.digest() != other.tokenizer.digest():
        raise ValueError(
            f"checkpoint= names {name} and {other_name}, whose tokenizers differ: an ensemble needs one vocabulary; "
            "train with the same tokenizer.model= (or tokenizer.src_model= and tokenizer.tgt_model=)"
        )
    ways = [build.languages(each.config.data) for each in (first, other)]
    if ways[0] != ways[1]:
        directions = " and ".join(f"{src} to {tgt}" for src, tgt in ways)
        raise ValueError(
            f"checkpoint= names {name} and {other_name}, which translate {directions}: give models of one direction"
        )
