"""The demo corpus: an English-to-French grammar that generates sentence pairs with their gold word links.

Words are separated by whitespace: "house." is one word, and so is "l'homme", linked to both "the" and "man". The French
question mark is a separate word, linked to the last English word, which includes the English one. A French word without
English source (the article of "likes music", the de of "drinks water") has no link, and neither has an English word
without French ("does"). Each English sentence has one French translation: you is vous, they is ils, each word has one
sense.

    lexicon, verbs   the words        inflection   their regular forms
    phrases, verbals, usage, clauses, sentences           the grammar, from small to large
    surface          elision, contraction, links   corpus of files: this module
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from nmt.demo_corpus.phrases import Choices
from nmt.demo_corpus.sentences import sentence
from nmt.demo_corpus.surface import Example
from nmt.runtime.atomic import remove_abandoned, written_beside
from nmt.runtime.hashing import file_sha256

DEMO_SRC = "en"
DEMO_TGT = "fr"
# Increase it when the grammar generates other sentences: folders of older versions are then written again.
VERSION = 1
SHORTEST, LONGEST = 3, 50
MANIFEST = "manifest.json"

__all__ = ["DEMO_SRC", "DEMO_TGT", "Example", "Splits", "generate", "splits", "write_demo"]


class Splits(NamedTuple):
    """Three sets that have no sentence in common, in either language."""

    train: list[Example]
    valid: list[Example]
    test: list[Example]


def _stream(seed: int) -> Iterator[Example]:
    """Pairs of 3 to 50 words on each side, without repeated sentences in either language."""
    choices = Choices(seed)
    seen_src: set[str] = set()
    seen_tgt: set[str] = set()
    while True:
        example = sentence(choices)
        lengths = len(example.src.split()), len(example.tgt.split())
        if min(lengths) < SHORTEST or max(lengths) > LONGEST or example.src in seen_src or example.tgt in seen_tgt:
            continue
        seen_src.add(example.src)
        seen_tgt.add(example.tgt)
        yield example


def generate(count: int, seed: int) -> list[Example]:
    """The first `count` pairs for this seed, deterministic on all machines and versions of Python."""
    if count < 0:
        raise ValueError(f"the demo corpus cannot have {count} pairs; try 0 or more")
    stream = _stream(seed)
    return [next(stream) for _ in range(count)]


def splits(*, train: int, valid: int, test: int, seed: int) -> Splits:
    """Test, valid and train, in this order from one stream, so that the test set does not depend on the size of
    train."""
    examples = generate(test + valid + train, seed)
    return Splits(examples[test + valid :], examples[test : test + valid], examples[:test])


def write_demo(folder: Path, *, train: int, valid: int, test: int, seed: int) -> None:
    """Writes {train,valid,test}.{en,fr,links} into `folder`, unless it already has these files.

    A .links line has "i-j" pairs (Pharaoh): English word i, French word j, from 0. Every file is written under another
    name and renamed; the manifest, with each file's SHA-256, is written last; a folder without a valid one is written
    again. Raises ValueError for negative counts, OSError if the folder cannot be written.
    """
    wanted = {"version": VERSION, "train": train, "valid": valid, "test": test, "seed": seed}
    for name, count in (("train", train), ("valid", valid), ("test", test)):
        if count < 0:
            raise ValueError(f"the demo corpus cannot have {count} {name} pairs; try 0 or more")
    for name in (*Splits._fields, MANIFEST):
        remove_abandoned(folder, name)
    if _complete(folder, wanted):
        return
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)  # until the end the folder is marked as incomplete
    sums: dict[str, str] = {}
    for name, examples in zip(Splits._fields, splits(train=train, valid=valid, test=test, seed=seed), strict=True):
        for suffix, lines in (
            (DEMO_SRC, [example.src for example in examples]),
            (DEMO_TGT, [example.tgt for example in examples]),
            ("links", [_pharaoh(example.links) for example in examples]),
        ):
            content = "".join(line + "\n" for line in lines).encode("utf-8")
            sums[f"{name}.{suffix}"] = hashlib.sha256(content).hexdigest()
            _write(folder / f"{name}.{suffix}", content)
    _write(folder / MANIFEST, (json.dumps({**wanted, "sha256": sums}, indent=2) + "\n").encode("utf-8"))


def _pharaoh(links: Sequence[tuple[int, int]]) -> str:
    return " ".join(f"{i}-{j}" for i, j in links)


def _write(path: Path, content: bytes) -> None:
    """Writes under another name and renames; removes the file after an error."""
    with written_beside(path) as beside:
        beside.write_bytes(content)


def _complete(folder: Path, wanted: dict[str, int]) -> bool:
    """Whether the manifest is of this corpus and every file has its checksum."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        sums = manifest.pop("sha256")
        files = {name: file_sha256(folder / name) for name in sums}
    except (OSError, ValueError, KeyError, AttributeError):
        return False
    return manifest == wanted and files == sums and len(sums) == 9
