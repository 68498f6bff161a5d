"""Files and folders of the cache: written beside their place and renamed, so that nobody ever finds half of one."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def written_beside(path: Path, *, folder: bool = False) -> Iterator[Path]:
    """A temporary file (or folder) beside `path`, which takes its place at the end, and is removed if the body raises.

    Its name begins with a dot and the name of `path`. It is locked as long as its writer lives: see `remove_abandoned`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside, lock = _locked(path, folder)
    try:
        yield beside
        beside.chmod(0o755 if folder else 0o644)  # as any other, where a temporary one is for its owner only
        if not folder:
            os.replace(beside, path)  # whole or not at all; who else writes the same now loses nothing
        else:
            if path.exists():  # damaged, or someone else's who was quicker: equal content either way
                shutil.rmtree(path, ignore_errors=True)
            with suppress(OSError):
                os.rename(beside, path)
    finally:
        _remove(beside)
        os.close(lock)


def remove_abandoned(folder: Path, name: str) -> None:
    """Removes what writers of NAME... that were killed left in `folder`.

    A writer that lives, on whatever machine, holds a lock; where the file system has no locks, nothing is removed.
    """
    for place in folder.glob(f".{name}*"):
        with suppress(OSError):
            handle = os.open(place, os.O_RDONLY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(place)
            finally:
                os.close(handle)


def _locked(path: Path, folder: bool) -> tuple[Path, int]:
    """A new temporary place, and the open file that locks it."""
    make = tempfile.mkdtemp if folder else _make_file
    while True:
        beside = Path(make(prefix=f".{path.name}-", dir=path.parent))
        with suppress(FileNotFoundError):  # or it was removed before it was locked, and the next one is tried
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


@contextmanager
def writing_cache(cache: Path) -> Iterator[None]:
    """Names the folder and its setting where the block cannot write there: libraries name neither. Raises OSError."""
    try:
        yield
    except OSError as error:
        if error.filename is not None and cache not in Path(error.filename).parents:
            raise
        raise OSError(
            f"data.cache={cache}: could not be written ({error.strerror or error}); make room, or try data.cache=FOLDER"
        ) from None
