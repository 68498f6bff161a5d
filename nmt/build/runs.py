"""Opens runs: the values of `checkpoint=` and `finetune_from=`."""

from pathlib import Path
from typing import NamedTuple, Protocol

import torch

from nmt import checkpoint
from nmt.acceleration.selection import prepare_device
from nmt.alignment_head import TranslatorWithHead
from nmt.build.alignment_head import build_with_head
from nmt.build.data import languages
from nmt.build.model import build_model
from nmt.checkpoint.run_folder import find_checkpoint
from nmt.config.continued import inherit
from nmt.config.saved import from_dict
from nmt.config.schema import LinksFrom, ModelKind, TrainConfig
from nmt.config.unused import refuse_other_model
from nmt.data.tokenizer import Tokenizer
from nmt.decoding.ensemble import Ensemble, EnsembleAverage
from nmt.model.seq2seq import Seq2Seq
from nmt.runtime.device import Device, DeviceName, Precision
from nmt.runtime.distributed import Distributed
from nmt.runtime.logs import start_log


class DeviceSettings(Protocol):
    """The settings of every command that opens a run."""

    device: DeviceName
    precision: Precision
    threads: int | None


def start(settings: DeviceSettings, distributed: Distributed | None = None) -> Device:
    """Starts the log of a command that opens a run, limits its threads, and selects its device."""
    start_log(None, quiet=distributed is not None and not distributed.is_main)
    if settings.threads:
        torch.set_num_threads(settings.threads)
    return prepare_device(settings.device, settings.precision, distributed)


class Loaded(NamedTuple):
    """The model of a checkpoint, for translation. For an ensemble: the configuration of the first, and all folders.
    head: `model` with its alignment head, if it has one; others: the configurations of the other models."""

    model: Seq2Seq | Ensemble
    tokenizer: Tokenizer
    config: TrainConfig
    folders: tuple[Path, ...]
    head: TranslatorWithHead | None = None
    others: tuple[TrainConfig, ...] = ()

    @property
    def folder(self) -> Path:
        return self.folders[0]

    def require_attention(self, setting: str) -> None:
        """Raises ValueError if a setting, KEY=VALUE, needs attention and the model has none."""
        if not self.model.has_attention:
            raise ValueError(f"{setting} needs attention, which this model ({self.config.name}) does not have")

    def require_links_from(self, links_from: LinksFrom | None) -> None:
        """Raises ValueError if the run lacks what links should come from: an alignment head, or one attention."""
        if links_from in (LinksFrom.posterior, LinksFrom.head) and isinstance(self.model, Ensemble):
            raise ValueError(f"links_from={links_from.value} needs one model, and this is an ensemble: load one run")
        if links_from is LinksFrom.posterior:
            self.require_attention("links_from=posterior")
        if links_from is LinksFrom.head and not self.head:
            raise ValueError(
                f"links_from=head: {self.folder} has no alignment head; train one with +experiment=alignment_head "
                f"finetune_from={self.folder}, or leave links_from= out"
            )


def load_translator(place: str | None, device: torch.device) -> Loaded:
    """The translator of `checkpoint=place`. Raises ValueError if it is missing, damaged, or an aligner."""
    folder, config, tokenizer = open_run(place)
    if config.model.kind is ModelKind.aligner:
        raise ValueError(f"{place} is a word aligner, which does not translate: give it to python -m nmt.align")
    sizes, with_head = (len(tokenizer.src), len(tokenizer.tgt)), config.model.kind is ModelKind.alignment_head
    with torch.device("meta"):
        whole = build_with_head(config.model, *sizes) if with_head else build_model(config.model, *sizes)
    load_weights(whole, folder)
    whole.to(device).eval()
    model, head = (whole.translator, whole) if isinstance(whole, TranslatorWithHead) else (whole, None)
    model.predict_by(config.decode.hard_attention)
    return Loaded(model, tokenizer, config, (folder,), head)


def open_run(place: str | None) -> tuple[Path, TrainConfig, Tokenizer]:
    """The folder, settings and tokenizer of `checkpoint=place`. Raises ValueError if there is no checkpoint."""
    if not place:
        raise ValueError("checkpoint= is not set: give a run folder, such as checkpoint=runs/bahdanau/...")
    folder = find_checkpoint(place)
    return folder, from_dict(TrainConfig, checkpoint.read_config(folder)), Tokenizer.load(folder / "tokenizer")


def load_weights(model: torch.nn.Module, folder: Path) -> None:
    """Loads the weights of a checkpoint into a model. Raises ValueError if they do not fit."""
    checkpoint.check_fit(folder, model.state_dict())
    model.load_state_dict(checkpoint.read(folder, weights_only=True).model, assign=True)


def load_for_finetuning(
    config: TrainConfig, folder: Path, overrides: list[str]
) -> tuple[TrainConfig, Tokenizer, dict[str, torch.Tensor]]:
    """For `finetune_from=`: the configuration, with the model and tokenizer of `folder`; that tokenizer; the weights.

    Dropout is that of `config`. Raises ValueError if the command line `overrides` specifies another model.
    """
    own = from_dict(TrainConfig, checkpoint.read_config(folder))
    refuse_other_model(own, config, overrides)
    config = inherit(config, own)
    tokenizer = Tokenizer.load(folder / "tokenizer")
    with torch.device("meta"):
        checkpoint.check_fit(folder, build_model(config.model, len(tokenizer.src), len(tokenizer.tgt)).state_dict())
    return config, tokenizer, checkpoint.read(folder, weights_only=True).model


def load(checkpoint: str | list[str] | None, device: torch.device, average: EnsembleAverage | None = None) -> Loaded:
    """The model of a run or checkpoint folder, or the ensemble of several; average: see Ensemble, None: probabilities.

    Raises ValueError if one is missing or damaged, or if their tokenizers or languages differ.
    """
    if not isinstance(checkpoint, list):
        return load_translator(checkpoint, device)
    first, *others = (load_translator(place, device) for place in checkpoint)
    for place, other in zip(checkpoint[1:], others, strict=True):
        _check_alike(checkpoint[0], first, place, other)
    if not others:
        return first
    models = [each.model for each in (first, *others)]
    assert all(isinstance(model, Seq2Seq) for model in models)
    ensemble = Ensemble(models, average or EnsembleAverage.probabilities).eval()  # pyright: ignore[reportArgumentType]
    folders, configs = tuple(each.folder for each in (first, *others)), tuple(each.config for each in others)
    return first._replace(model=ensemble, head=None, folders=folders, others=configs)


def _check_alike(name: str, first: Loaded, other_name: str, other: Loaded) -> None:
    if first.tokenizer.digest() != other.tokenizer.digest():
        raise ValueError(
            f"checkpoint= names {name} and {other_name}, whose tokenizers differ: an ensemble needs one vocabulary; "
            "train with the same tokenizer.model= (or tokenizer.src_model= and tokenizer.tgt_model=)"
        )
    ways = [languages(each.config.data) for each in (first, other)]
    if ways[0] != ways[1]:
        directions = " and ".join(f"{src} to {tgt}" for src, tgt in ways)
        raise ValueError(
            f"checkpoint= names {name} and {other_name}, which translate {directions}: give models of one direction"
        )
