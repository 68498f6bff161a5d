"""The content of a checkpoint, in memory and as files: names, limits and the version of the format."""

import os
import stat
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

FORMAT = 2  # increase it if readers of the old format would misread the new one

MODEL = "model.safetensors"
TRAINING = "training.safetensors"
STATE = "state.json"
CONFIG = "config.json"
TOKENIZER = "tokenizer"
CHECKSUMS = "checksums.json"
CALIBRATION = "calibration.json"  # the calibration of confidence; not in every checkpoint

# Parsed JSON takes about 25 times its bytes: a malicious file costs at most about 100 MB. Valid ones have a few 100 kB.
MAX_JSON_BYTES = 4 << 20
# A SentencePiece model of 250,000 pieces is about 5 MB.
MAX_TOKENIZER_BYTES = 64 << 20
MAX_FILES = 64


class Snapshot(NamedTuple):
    """The state of a run.

    model: the weights and buffers of the model by name; tied tensors are one tensor after reading.
    training: every other tensor (optimizer moments, random states) by name.
    state: plain JSON data, with `update` (int, updates done so far).
    config: plain JSON data, the resolved configuration.
    """

    model: dict[str, Tensor]
    training: dict[str, Tensor]
    state: dict
    config: dict


def one_line(error: object) -> str:
    """The message of another library's error, on one line of limited length."""
    return "".join(letter if letter.isprintable() else " " for letter in str(error)[:300]).strip()


def files_in(folder: Path) -> dict[str, int]:
    """The sizes in bytes of the files of a checkpoint folder by name, the tokenizer's as "tokenizer/NAME".

    Hidden files (.DS_Store, .nfs0001) are ignored. Raises ValueError for files that cannot be part of a checkpoint:
    links, which could lead anywhere; pipes, which would never end; nested folders.
    """
    sizes: dict[str, int] = {}
    for place, prefix in ((folder, ""), (folder / TOKENIZER, f"{TOKENIZER}/")):
        try:
            entries = sorted(os.scandir(place), key=lambda entry: entry.name)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise ValueError(f"{place}: cannot be read ({error.strerror})") from None
        for entry in entries:
            name = prefix + entry.name
            if entry.name.startswith(".") or (name == TOKENIZER and entry.is_dir(follow_symlinks=False)):
                continue
            if not (entry.name.isascii() and entry.name.isprintable()):
                raise ValueError(f"{folder}: {entry.name[:80]!r} is no name of a file of ours")
            status = entry.stat(follow_symlinks=False)
            if not stat.S_ISREG(status.st_mode):
                raise ValueError(f"{folder}: {name!r} is not a plain file, and a checkpoint holds only those")
            sizes[name] = status.st_size
            if len(sizes) > MAX_FILES:
                raise ValueError(f"{folder}: holds more than {MAX_FILES} files; this is no checkpoint")
    return sizes
