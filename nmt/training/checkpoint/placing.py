"""Putting a checkpoint folder in its place so that a kill, at any moment, leaves a whole one there.

A folder is made beside its place under a hidden name, synced, and renamed. Where one stands already, that one is first
renamed to NAME.old, and deleted last. So at any moment either NAME is whole, or NAME is absent and NAME.old is whole.
Readers fall back to NAME.old and change nothing; only the one writer (who holds the run's lock) recovers and deletes.
"""

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from nmt.training.checkpoint.snapshot import (
    CHECKSUMS,
    CONFIG,
    FORMAT,
    MODEL,
    MOST_JSON,
    STATE,
    TOKENIZER,
    TRAINING,
    Snapshot,
    digest,
    files_in,
)
from nmt.training.checkpoint.tensors import save_tensors


class Saves(Protocol):
    """A tokenizer, as far as a checkpoint cares."""

    def save(self, folder: Path, /) -> object: ...


def write(folder: Path, snapshot: Snapshot, tokenizer: Saves) -> None:
    """Writes the snapshot as checkpoint `folder`, in place of what stands there; on disk for good when it returns.

    The tensors are written from where they are: about no memory beyond them on a CPU, one copy of them from a GPU.
    Raises OSError (disk full or over quota); what stood at `folder` is then still there.
    """
    assert isinstance(snapshot.state["update"], int), "state needs `update`, the number of updates done"
    with _made_beside(folder) as partial:
        save_tensors(partial / MODEL, snapshot.model)
        save_tensors(partial / TRAINING, snapshot.training)
        for name, data in ((STATE, snapshot.state), (CONFIG, snapshot.config)):
            text = json.dumps(data, ensure_ascii=False, indent=1)
            assert len(text.encode()) <= MOST_JSON, f"{name} is too large for a reader; keep arrays as tensors"
            (partial / name).write_text(text, encoding="utf-8")
        (partial / TOKENIZER).mkdir()
        tokenizer.save(partial / TOKENIZER)
        sizes = files_in(partial)
        # Re-read from the page cache: 0.07 s per 100 MB, nearly all of it SHA-256 itself.
        files = {name: {"bytes": size, "sha256": digest(partial / name)} for name, size in sizes.items()}
        (partial / CHECKSUMS).write_text(json.dumps({"format": FORMAT, "files": files}, indent=1), encoding="utf-8")
        for name in (*sizes, CHECKSUMS, TOKENIZER):
            _sync(partial / name)


def link(source: Path, folder: Path) -> None:
    """Makes checkpoint `folder` another name of the checkpoint `source`, in place of what stands there.

    Hard links where the file system has them (no further space; files are never changed in place, so each folder stays
    what it is), copies elsewhere. Raises OSError; what stood at `folder` is then still there.
    """
    with _made_beside(folder) as partial:
        (partial / TOKENIZER).mkdir()
        for name in files_in(source):
            try:
                os.link(source / name, partial / name)
            except OSError:
                shutil.copyfile(source / name, partial / name)
                _sync(partial / name)
        _sync(partial / TOKENIZER)


def standing(folder: Path) -> Path:
    """Where checkpoint `folder` is to be read: itself, or the one set aside while it is being replaced."""
    old = _old(folder)
    return old if not folder.is_dir() and old.is_dir() else folder


def discard(folder: Path) -> None:
    """Deletes a checkpoint so that a kill half-way leaves nothing that looks like one."""
    hidden = _partial(folder)
    shutil.rmtree(hidden, ignore_errors=True)
    folder.rename(hidden)
    shutil.rmtree(hidden, ignore_errors=True)


def recover(parent: Path) -> None:
    """Clears up under `parent` after a writer that died. Only for the holder of the run's lock."""
    for folder in parent.iterdir():
        if folder.name.startswith(".") and ".partial-" in folder.name:
            shutil.rmtree(folder, ignore_errors=True)
        elif folder.name.endswith(".old") and folder.is_dir():
            place = folder.with_name(folder.name.removesuffix(".old"))
            if place.is_dir():
                shutil.rmtree(folder, ignore_errors=True)
            else:
                folder.rename(place)


@contextmanager
def _made_beside(folder: Path) -> Iterator[Path]:
    """A new hidden folder to fill; renamed to `folder` at the end, removed after an error."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = _partial(folder)
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir()
        yield partial
        _sync(partial)
        old = _old(folder)
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)
            folder.rename(old)
        partial.rename(folder)
        _sync(folder.parent)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        reason = error.strerror or str(error)
        raise OSError(
            f"{folder}: could not be written ({reason}); the checkpoints before it are kept; make room and try resume="
        ) from None
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _partial(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.partial-{os.getpid()}")


def _old(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.old")


def _sync(path: Path) -> None:
    """Waits until a file, or the names in a folder, are on the disk and not only in memory."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems cannot sync a folder
            raise
    finally:
        os.close(handle)
