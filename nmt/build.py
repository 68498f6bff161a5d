"""Builds objects from a configuration: the only module that imports both the configuration and everything else."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, Protocol

import torch

from nmt import checkpoint
from nmt.acceleration.fused import FusedLoops
from nmt.acceleration.selection import prepare_device
from nmt.analysis.alignment import LinkFiles
from nmt.analysis.segmentation import bleu_tokenizer
from nmt.checkpoint.run_folder import find_checkpoint
from nmt.config.saved import from_dict
from nmt.config.schema import (
    DataConfig,
    DataKind,
    DecodeConfig,
    DecodeOverrides,
    EncoderKind,
    GuidedConfig,
    ModelConfig,
    ModelKind,
    TestConfig,
    TokenizerConfig,
    TrainConfig,
)
from nmt.config.unused import refuse_other_model
from nmt.config.unused_search import refuse_unused_search
from nmt.corpus import Corpus, EmptyLines, read_files, read_hub
from nmt.data.batches import Batches
from nmt.data.binarized import BinarizedCorpus, binarize_corpus
from nmt.data.cache import writing_cache
from nmt.data.subword_regularization import SampledCorpus
from nmt.data.tokenizer import Tokenizer, train_tokenizer
from nmt.decoding.translator import Translator
from nmt.demo_corpus import DEMO_SRC, DEMO_TGT, write_demo
from nmt.model.composed_attention import compose_attention
from nmt.model.decoder import Bridge, Decoder, DecoderSizes, build_decoder
from nmt.model.encoder import Encoder
from nmt.model.ensemble import Ensemble
from nmt.model.hard_seq2seq import build_seq2seq
from nmt.model.initialization import initialize
from nmt.model.regularizers import set_dropout
from nmt.model.seq2seq import Seq2Seq, TiedEmbeddings
from nmt.model.transformer import TransformerEncoder
from nmt.runtime.device import Device, DeviceName, Precision
from nmt.runtime.distributed import Distributed
from nmt.runtime.logs import start_log
from nmt.training.gradients import Gradients
from nmt.training.optim import Schedule, build_optimizer

# Of the demo corpus, and of what a tokenizer is trained on, whatever the seed of the run: everybody's are the same.
DEMO_SEED = TOKENIZER_SEED = 1


class Languages(NamedTuple):
    """Of the two sides: the suffixes of files, the keys of rows."""

    src: str
    tgt: str


def languages(data: DataConfig | TestConfig) -> Languages:
    """Raises ValueError where they are not set."""
    if data.kind is DataKind.demo:
        other = {DEMO_SRC: DEMO_TGT, DEMO_TGT: DEMO_SRC}
        src = data.src or other.get(data.tgt or DEMO_TGT)
        if src not in other or data.tgt not in (None, other[src]):
            given = " ".join(f"data.{key}={word}" for key in ("src", "tgt") if (word := getattr(data, key)))
            raise ValueError(
                f"{given}: the demo corpus is in English and French; "
                f"try data.src={DEMO_TGT} data.tgt={DEMO_SRC}, or data=files"
            )
        return Languages(src, other[src])
    if not data.src or not data.tgt:
        raise ValueError("data.src and data.tgt name the two languages: try data.src=de data.tgt=en")
    return Languages(data.src, data.tgt)


def metric_tokenizer(data: DataConfig) -> str:
    """The tokenizer of BLEU: as set, or the one that fits the target language."""
    return data.bleu_tokenizer or bleu_tokenizer(languages(data).tgt)


def read_corpus(data: DataConfig, split: str) -> Corpus:
    """The corpus data.SPLIT: train, valid or test. Raises ValueError where it is not set or cannot be read."""
    src, tgt = languages(data)
    empty_lines = data.empty_lines if split != "test" else EmptyLines.keep
    if data.kind is DataKind.demo:
        for key in ("train", "valid", "test", "name", "config"):
            if given := getattr(data, key):
                raise ValueError(f"data.{key}={given}: the demo corpus brings its own; add data=files or data=hub")
        folder = Path(data.cache) / "demo"
        with writing_cache(Path(data.cache)):
            write_demo(folder, train=24_000, valid=600, test=600, seed=DEMO_SEED)
        return read_files([str(folder / split)], src, tgt, empty_lines=empty_lines, key=f"data.{split}")
    parts = data.train if split == "train" else getattr(data, split)
    if not parts:
        raise ValueError(f"data.{split} is not set: give the path of {src} and {tgt} files without their suffixes")
    if data.kind is DataKind.files:
        parts = [parts] if isinstance(parts, str) else parts
        return read_files(parts, src, tgt, empty_lines=empty_lines, key=f"data.{split}")
    if not data.name:
        raise ValueError("data.name is not set: give a corpus of the datasets library, or a local folder or file")
    parts = parts if isinstance(parts, str) else "+".join(parts)
    return read_hub(data.name, data.config, parts, src, tgt, empty_lines=empty_lines, key=f"data.{split}")


def build_tokenizer(tokenizer: TokenizerConfig, corpus: Corpus, cache: Path) -> Tokenizer:
    """One's own models where they are named, else trained on `corpus`."""
    src_model, tgt_model = tokenizer.src_model or tokenizer.model, tokenizer.tgt_model or tokenizer.model
    if src_model and tgt_model:
        return Tokenizer.from_files(src_model, tgt_model)
    with writing_cache(cache):
        return train_tokenizer(corpus, tokenizer, seed=TOKENIZER_SEED, cache=cache)


def read_guided_links(guided_alignment: GuidedConfig) -> LinkFiles | None:
    """The links that attention is to learn, or None."""
    if not guided_alignment.links:
        return None
    return LinkFiles(
        [Path(path) for path in guided_alignment.links],
        "guided_alignment.links",
        target_first=guided_alignment.reversed,
    )


def encode(
    corpus: Corpus, tokenizer: Tokenizer, data: DataConfig, *, skip: bool, links: LinkFiles | None = None
) -> BinarizedCorpus:
    """The corpus in ids, and links between them; skip: leave out blank and over-long pairs, as training does.

    Raises ValueError where no pair has text on both sides.
    """
    max_length, cache = data.max_length if skip else None, Path(data.cache)
    with writing_cache(cache):
        encoded = binarize_corpus(corpus, tokenizer, max_length=max_length, skip=skip, cache=cache, links=links)
    if not skip and not ((encoded.src_lengths > 1) & (encoded.tgt_lengths > 1)).any():
        raise ValueError(f"{corpus.name}: all {len(encoded):,} pairs are blank on a side, so there is nothing to score")
    return encoded


def build_model(model: ModelConfig, src_size: int, tgt_size: int) -> Seq2Seq:
    """A model for vocabularies of these sizes. Raises ValueError where its parts don't fit together."""
    encoder = _build_encoder(model, src_size)
    decoder = _build_decoder(model, encoder.size, tgt_size)
    for side, options in ((encoder, model.encoder), (decoder, model.decoder)):
        set_dropout(side, word=options.word_dropout, recurrent=options.recurrent_dropout)
    choice, hard, tied = model.attention.choice, model.attention.hard, model.tied_embeddings
    return build_seq2seq(choice, hard, encoder, decoder, tied_embeddings=tied, loops=FusedLoops())


def _build_encoder(model: ModelConfig, src_size: int) -> Encoder | TransformerEncoder:
    enc = model.encoder
    widths = {"embedding": enc.embedding, "layers": enc.layers, "dropout": enc.dropout}
    if enc.kind is EncoderKind.transformer:
        return TransformerEncoder(src_size, **widths, options=model.transformer)
    return Encoder(src_size, **widths, hidden=enc.hidden, cell=enc.cell, bidirectional=enc.bidirectional)


def _build_decoder(model: ModelConfig, memory: int, tgt_size: int) -> Decoder:
    enc, dec = model.encoder, model.decoder
    state_size = dec.hidden * (2 if dec.cell.value == "lstm" else 1)
    width = enc.hidden if enc.kind is EncoderKind.rnn else memory
    sizes = DecoderSizes(
        vocab_size=tgt_size,
        embedding=dec.embedding,
        hidden=dec.hidden,
        memory=memory,
        readout=dec.readout,
        layers=dec.layers,
        cell=dec.cell,
        dropout=dec.dropout,
    )
    return build_decoder(
        dec.kind,
        sizes,
        build_bridge=lambda: Bridge(dec.init_hidden, width, memory // width, [state_size] * dec.layers),
        build_attention=lambda: compose_attention(model.attention, dec.hidden, memory),
        input_feeding=dec.input_feeding,
        transformer=model.transformer,
    )


def new_model(config: TrainConfig, tokenizer: Tokenizer, device: torch.device) -> Seq2Seq:
    """With weights as configured: drawn by `seed`. Raises ValueError for one table of two vocabularies."""
    if config.model.tied_embeddings is TiedEmbeddings.all and not tokenizer.joint:
        raise ValueError(
            "model.tied_embeddings=all shares one table between the languages, but the source's and the target's "
            "SentencePiece models have different pieces: try one model for both (tokenizer.model=FILE), or "
            "model.tied_embeddings=target"
        )
    model = build_model(config.model, len(tokenizer.src), len(tokenizer.tgt))
    initialize(model, config.model.initialization)
    model.predict_by(config.decode.hard_attention)
    return model.to(device)


class DeviceSettings(Protocol):
    """The settings of every command that opens a run."""

    device: DeviceName
    precision: Precision
    threads: int | None


def start(settings: DeviceSettings, distributed: Distributed | None = None) -> Device:
    """Starts the log of a command that opens a run, limits its threads, and chooses its device."""
    start_log(None, quiet=distributed is not None and not distributed.is_main)
    if settings.threads:
        torch.set_num_threads(settings.threads)
    return prepare_device(settings.device, settings.precision, distributed)


class Loaded(NamedTuple):
    """A checkpoint, ready to translate; of an ensemble the configuration of the first, and all folders."""

    model: Seq2Seq | Ensemble
    tokenizer: Tokenizer
    config: TrainConfig
    folders: tuple[Path, ...]

    @property
    def folder(self) -> Path:
        return self.folders[0]

    def require_attention(self, setting: str) -> None:
        """Raises ValueError where a setting, KEY=VALUE, needs attention and the model has none."""
        if not self.model.has_attention:
            raise ValueError(f"{setting} needs attention, which this model ({self.config.name}) does not have")


def load(place: str | None, device: torch.device) -> Loaded:
    """The translator of `checkpoint=place`. Raises ValueError where there is none, it is damaged, or an aligner."""
    folder, config, tokenizer = open_run(place)
    if config.model.kind is ModelKind.aligner:
        raise ValueError(f"{place} is a word aligner, which does not translate: give it to python -m nmt.align")
    with torch.device("meta"):
        model = build_model(config.model, len(tokenizer.src), len(tokenizer.tgt))
    load_weights(model, folder)
    model.predict_by(config.decode.hard_attention)
    return Loaded(model.to(device).eval(), tokenizer, config, (folder,))


def open_run(place: str | None) -> tuple[Path, TrainConfig, Tokenizer]:
    """The folder, settings and tokenizer of `checkpoint=place`. Raises ValueError where there is none."""
    if not place:
        raise ValueError("checkpoint= is not set: give a run folder, such as checkpoint=runs/bahdanau/...")
    folder = find_checkpoint(place)
    return folder, from_dict(TrainConfig, checkpoint.read_config(folder)), Tokenizer.load(folder / "tokenizer")


def load_weights(model: torch.nn.Module, folder: Path) -> None:
    """Gives a model the weights of a checkpoint. Raises ValueError where they do not fit."""
    checkpoint.check_fit(folder, model.state_dict())
    model.load_state_dict(checkpoint.read(folder, weights_only=True).model, assign=True)


def load_for_finetuning(
    config: TrainConfig, folder: Path, overrides: list[str]
) -> tuple[TrainConfig, Tokenizer, dict[str, torch.Tensor]]:
    """`init=`: the configuration with the model and tokenizer settings of `folder`; that one's tokenizer and weights.

    Dropout stays as configured. Raises ValueError where the command line `overrides` asks for another model.
    """
    own = from_dict(TrainConfig, checkpoint.read_config(folder))
    refuse_other_model(own, config, overrides)
    config = replace(config, tokenizer=own.tokenizer, model=own.model.with_dropout_of(config.model))
    tokenizer = Tokenizer.load(folder / "tokenizer")
    with torch.device("meta"):
        checkpoint.check_fit(folder, build_model(config.model, len(tokenizer.src), len(tokenizer.tgt)).state_dict())
    return config, tokenizer, checkpoint.read(folder, weights_only=True).model


def translator_of(loaded: Loaded, overrides: DecodeOverrides) -> Translator:
    """The translator of an opened run; what `overrides` leaves null is as the run's validations have it.

    Raises ValueError for what can have no effect.
    """
    return build_translator(loaded.model, loaded.tokenizer, decoding_of(loaded, overrides))


def decoding_of(loaded: Loaded, overrides: DecodeOverrides) -> DecodeConfig:
    """How an opened run decodes; what `overrides` leaves null is as its validations have it.

    Raises ValueError for what can have no effect.
    """
    decode = overrides.over(loaded.config.decode)
    refuse_unused_search(overrides, decode, loaded.config.model)
    if decode.coverage_penalty:
        loaded.require_attention(f"decode.coverage_penalty={decode.coverage_penalty}")
    loaded.model.predict_by(decode.hard_attention)
    return decode


def build_translator(
    model: Seq2Seq | Ensemble, tokenizer: Tokenizer, decode: DecodeConfig, *, beam: int | None = None
) -> Translator:
    """beam: in place of decode.beam, for the best translation alone."""
    search = decode
    if beam is not None:
        search = replace(decode, beam=beam, nbest=1, sampling=False, diverse_beam_groups=1)
    return Translator(model, tokenizer, search, batch_size=decode.batch_size)


def build_optim(config: TrainConfig, model: torch.nn.Module) -> tuple[torch.optim.Optimizer, Schedule]:
    return build_optimizer(model, config.optim), Schedule(config.optim.schedule)


def build_batches(
    config: TrainConfig, encoded: BinarizedCorpus, *, training: bool, tokenizer: Tokenizer | None = None
) -> Batches:
    """tokenizer: of `encoded`; draws its pieces where the configuration asks for it, in training alone."""
    options, sampled = config.subword_regularization, None
    if training and tokenizer is not None and options.is_on:
        sampled = SampledCorpus(encoded, tokenizer, options, config.seed)
    return Batches(encoded, config.batch, seed=config.seed, shuffle=training, sort=True, sampled=sampled)


def build_gradients(
    config: TrainConfig, model: torch.nn.Module, batches: Batches, device: Device, distributed: Distributed
) -> Gradients:
    return Gradients(
        model,
        batches,
        loss=config.loss,
        optimizer=config.optim,
        device=device,
        distributed=distributed,
        guidance=config.guided_alignment,
    )
