"""Corpus, tokenizer, binarized corpus and links from a configuration."""

from pathlib import Path
from typing import NamedTuple

from nmt.analysis.alignment import LinkFiles
from nmt.analysis.segmentation import bleu_tokenizer
from nmt.config.schema import DataConfig, DataKind, GuidedConfig, TestConfig, TokenizerConfig
from nmt.corpus import Corpus, EmptyLines, read_files, read_hub
from nmt.data.binarized import BinarizedCorpus, WordLinks, binarize_corpus
from nmt.data.cache import writing_cache
from nmt.data.tokenizer import Tokenizer, train_tokenizer
from nmt.demo_corpus import DEMO_SRC, DEMO_TGT, write_demo

# The seeds of the demo corpus and of the tokenizer's training sample, which do not depend on the seed of the run.
DEMO_SEED = TOKENIZER_SEED = 1


class Languages(NamedTuple):
    """The two languages: suffixes of files, or keys of rows."""

    src: str
    tgt: str


def languages(data: DataConfig | TestConfig) -> Languages:
    """The languages of the data. Raises ValueError if they are not set."""
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
    """The tokenizer of BLEU: as configured, or the default for the target language."""
    return data.bleu_tokenizer or bleu_tokenizer(languages(data).tgt)


def read_corpus(data: DataConfig, split: str) -> Corpus:
    """The corpus data.SPLIT: train, valid or test. Raises ValueError if it is not set or cannot be read."""
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
    """The user's models if they are configured, otherwise trained on `corpus`."""
    src_model, tgt_model = tokenizer.src_model or tokenizer.model, tokenizer.tgt_model or tokenizer.model
    if src_model and tgt_model:
        return Tokenizer.from_files(src_model, tgt_model)
    with writing_cache(cache):
        return train_tokenizer(corpus, tokenizer, seed=TOKENIZER_SEED, cache=cache)


def read_guided_links(guided_alignment: GuidedConfig) -> LinkFiles | None:
    """The links for guided alignment, or None."""
    if not guided_alignment.links:
        return None
    return LinkFiles(
        [Path(path) for path in guided_alignment.links],
        "guided_alignment.links",
        target_first=guided_alignment.reversed,
    )


def encode(
    corpus: Corpus, tokenizer: Tokenizer, data: DataConfig, *, skip: bool, links: WordLinks | None = None
) -> BinarizedCorpus:
    """The corpus as ids, and links between them; skip: leave out blank and too long pairs, for training.

    Raises ValueError if no pair has text on both sides.
    """
    max_length, cache = data.max_length if skip else None, Path(data.cache)
    with writing_cache(cache):
        encoded = binarize_corpus(corpus, tokenizer, max_length=max_length, skip=skip, cache=cache, links=links)
    if not skip and not ((encoded.src_lengths > 1) & (encoded.tgt_lengths > 1)).any():
        raise ValueError(f"{corpus.name}: all {len(encoded):,} pairs are blank on a side, so there is nothing to score")
    return encoded
