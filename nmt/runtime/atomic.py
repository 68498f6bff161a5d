"""Writes files and folders atomically: to a temporary place in the same folder, synced, and renamed."""

import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def written_beside(path: Path, *, folder: bool = False) -> Iterator[Path]:
    """A temporary file or folder beside `path`, which replaces `path` at the end; it is removed if the body raises.

    It is synced to disk before it replaces `path`. What was at `path` is unchanged until then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with temporary(path, folder=folder) as beside:
        yield beside
        beside.chmod(0o755 if folder else 0o644)  # a temporary one is readable by its owner only
        for each in (*beside.rglob("*"), beside):
            sync(each)
        if not folder:
            os.replace(beside, path)  # atomic, also if another process writes the same file now
        else:
            if path.exists():  # damaged, or just written by another process with the same content
                shutil.rmtree(path, ignore_errors=True)
            with suppress(OSError):
                os.rename(beside, path)


@contextmanager
def temporary(path: Path, *, folder: bool = False) -> Iterator[Path]:
    """A hidden temporary file or folder beside `path`, which is removed at the end unless it has been renamed.

    Its name begins with a dot and the name of `path`. It is locked while its writer lives: see `remove_abandoned`.
    Raises OSError, which names `path`, if it cannot be created.
    """
    try:
        beside, lock = _locked(path, folder)
    except OSError as error:
        error.filename = str(path)
        raise
    try:
        yield beside
    finally:
        _remove(beside)
        os.close(lock)


def remove_abandoned(folder: Path, name: str) -> None:
    """Removes the temporary files and folders of NAME... in `folder` that killed processes left behind.

    A living writer, on any machine, holds a lock. If the file system has no locks, nothing is removed.
    """
    for place in folder.glob(f".{name}*"):
        with suppress(OSError):
            handle = os.open(place, os.O_RDONLY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(place)
            finally:
                os.close(handle)


def sync(path: Path) -> None:
    """Waits until a file, or the entries of a folder, are written to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems cannot sync a folder
            raise
    finally:
        os.close(handle)


def _locked(path: Path, folder: bool) -> tuple[Path, int]:
    """A new temporary file or folder, and the file descriptor that holds its lock."""
    make = tempfile.mkdtemp if folder else _make_file
    while True:
        beside = Path(make(prefix=f".{path.name}-", dir=path.parent))
        with suppress(FileNotFoundError):  # it was removed before it was locked: try another one
            handle = os.open(beside, os.O_RDONLY)
            with suppress(OSError):  # some network file systems have no locks
                fcntl.flock(handle, fcntl.LOCK_EX)
            if beside.exists():
                return beside, handle
            os.close(handle)


def _make_file(prefix: str, dir: Path) -> str:
    handle, name = tempfile.mkstemp(prefix=prefix, dir=dir)
    os.close(handle)
    return name


def _remove(place: Path) -> None:
    if place.is_dir():
        shutil.rmtree(place, ignore_errors=True)
    else:
        place.unlink(missing_ok=True)
