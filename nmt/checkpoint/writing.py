"""Atomic replacement of a checkpoint folder: a kill at any moment leaves a complete checkpoint.

A new folder is written beside the old one under a hidden name, synced, and renamed. An existing folder is first renamed
to NAME.old, and deleted last. So at any moment either NAME is complete, or NAME is absent and NAME.old is complete.
Readers fall back to NAME.old and change nothing; only the writer (which has the run's lock) recovers and deletes.
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from nmt.checkpoint.snapshot import (
    CALIBRATION,
    CHECKSUMS,
    CONFIG,
    FORMAT,
    MAX_JSON_BYTES,
    MODEL,
    STATE,
    TOKENIZER,
    TRAINING,
    Snapshot,
    files_in,
)
from nmt.checkpoint.tensors import save_tensors
from nmt.runtime.atomic import sync
from nmt.runtime.hashing import file_sha256


class SavableTokenizer(Protocol):
    """The interface of a tokenizer that is saved in checkpoints."""

    def save(self, folder: Path, /) -> object: ...


def write(folder: Path, snapshot: Snapshot, tokenizer: SavableTokenizer, previous: Path | None = None) -> None:
    """Writes the snapshot as checkpoint `folder`, and replaces an existing one; synced to disk on return.

    previous: the new name of the checkpoint that was at `folder`, or of a copy if there was none: there are then always
    two checkpoints with no file in common, and damage to one file loses only one of them. The tensors are written
    without copies in memory on a CPU, with one copy from a GPU. Raises OSError (disk full or over quota) with the name
    of the file; `folder` is then unchanged.
    """
    assert isinstance(snapshot.state["update"], int), "state needs `update`, the number of updates done"
    with _made_beside(folder, previous) as partial:
        with named(partial / MODEL):
            save_tensors(partial / MODEL, snapshot.model)
        with named(partial / TRAINING):
            save_tensors(partial / TRAINING, snapshot.training)
        for name, data in ((STATE, snapshot.state), (CONFIG, snapshot.config)):
            _write_json(partial / name, data)
        with named(partial / TOKENIZER):
            (partial / TOKENIZER).mkdir()
            tokenizer.save(partial / TOKENIZER)
        sizes = files_in(partial)
        # Read again from the page cache: 0.07 s per 100 MB, nearly all of it SHA-256 itself.
        files = {name: _entry(partial / name) for name in sizes}
        _write_json(partial / CHECKSUMS, {"format": FORMAT, "files": files})
        for name in (*sizes, CHECKSUMS, TOKENIZER):
            with named(partial / name):
                sync(partial / name)
    if previous and not previous.exists():
        hard_link(folder, previous, copy=True)


def hard_link(source: Path, folder: Path, *, copy: bool = False) -> None:
    """Makes checkpoint `folder` another name of the checkpoint `source`, and replaces an existing one.

    Hard links if the file system has them (no additional space; files are never changed in place, so each folder keeps
    its content), otherwise copies; with `copy` always copies, so that damage to a file does not affect both. Raises
    OSError; `folder` is then unchanged.
    """
    with _made_beside(folder) as partial:
        _link_files(source, partial, list(files_in(source)), copy=copy)


def write_calibration(folder: Path, calibration: dict) -> None:
    """Writes the calibration, plain JSON data, into the complete checkpoint `folder`; replaces an existing one.

    Other names of the checkpoint are unchanged. Only for the owner of the run's lock. Raises OSError; `folder` is then
    unchanged.
    """
    with _made_beside(folder) as partial:
        _link_files(folder, partial, [name for name in files_in(folder) if name not in (CALIBRATION, CHECKSUMS)])
        _write_json(partial / CALIBRATION, calibration)
        contents = json.loads((folder / CHECKSUMS).read_text(encoding="utf-8"))
        contents["files"][CALIBRATION] = _entry(partial / CALIBRATION)
        _write_json(partial / CHECKSUMS, contents)
        for name in (CALIBRATION, CHECKSUMS):
            with named(partial / name):
                sync(partial / name)


def _write_json(path: Path, data: dict) -> None:
    text = json.dumps(data, ensure_ascii=False, indent=1)
    assert len(text.encode()) <= MAX_JSON_BYTES, f"{path.name} is too large for a reader; keep arrays as tensors"
    with named(path):
        path.write_text(text, encoding="utf-8")


def _entry(path: Path) -> dict:
    """The entry of a file in the list of files."""
    return {"bytes": path.stat().st_size, "sha256": file_sha256(path)}


def _link_files(source: Path, partial: Path, names: list[str], *, copy: bool = False) -> None:
    (partial / TOKENIZER).mkdir()
    for name in names:
        with named(partial / name):
            if copy or not _linked(source / name, partial / name):
                shutil.copyfile(source / name, partial / name)
                sync(partial / name)
    sync(partial / TOKENIZER)


def _linked(source: Path, name: Path) -> bool:
    try:
        os.link(source, name)
    except OSError:
        return False
    return True


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Adds `path` to an OSError of the block: errors of writing to an open file have no name."""
    try:
        yield
    except OSError as error:
        if error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror or str(error), str(path)) from None


def resolve(folder: Path) -> Path:
    """The folder to read for checkpoint `folder`: itself, or the old version while it is being replaced."""
    if folder.is_dir():  # "." too, which has no name
        return folder
    return old if (old := _old(folder)).is_dir() else folder


def delete(folder: Path) -> None:
    """Deletes a checkpoint; a kill during it leaves nothing that looks like one."""
    hidden = _partial(folder)
    shutil.rmtree(hidden, ignore_errors=True)
    folder.rename(hidden)
    shutil.rmtree(hidden, ignore_errors=True)


def recover(parent: Path) -> None:
    """Removes or restores under `parent` what a killed writer left. Only for the owner of the run's lock."""
    for folder in parent.iterdir():
        if folder.name.startswith(".") and ".partial-" in folder.name:
            shutil.rmtree(folder, ignore_errors=True)
        elif folder.name.endswith(".old") and folder.is_dir():
            place = folder.with_name(folder.name.removesuffix(".old"))
            if place.is_dir():
                shutil.rmtree(folder, ignore_errors=True)
            else:
                folder.rename(place)


class NotWritten(OSError):
    """A checkpoint could not be written; the message is one line."""


@contextmanager
def _made_beside(folder: Path, previous: Path | None = None) -> Iterator[Path]:
    """A new hidden folder to fill; renamed to `folder` at the end, removed after an error. An existing `folder` is
    renamed to `previous`."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = _partial(folder)
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir()
        yield partial
        sync(partial)
        old = _old(folder)
        if folder.exists():
            if previous:
                hard_link(folder, previous)
            shutil.rmtree(old, ignore_errors=True)
            folder.rename(old)
        partial.rename(folder)
        sync(folder.parent)
        shutil.rmtree(old, ignore_errors=True)
    except NotWritten:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        place = Path(error.filename) if isinstance(error.filename, str) else folder
        if partial in place.parents:
            place = folder / place.relative_to(partial)
        others = folder.parent.is_dir() and any(not each.name.startswith(".") for each in folder.parent.iterdir())
        kept = "the checkpoints before it are kept; make room and try resume=" if others else "make room and try again"
        raise NotWritten(f"{place}: could not be written ({error.strerror or error}); {kept}") from None
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _partial(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.partial-{os.getpid()}")


def _old(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.old")
