"""The run folder: its files, the choice of a checkpoint, and the lock for one writer at a time."""

import datetime
import errno
import fcntl
import itertools
import logging
import os
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from nmt import checkpoint
from nmt.runtime.atomic import written_beside

log = logging.getLogger(__name__)

_STEP = re.compile(r"step-([0-9]{1,15})")
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)
_locks: set[int] = set()  # file descriptors of the locks of this process


class RunFolder:
    """RUN/ with config.yaml, train.log, metrics.jsonl, curves.png, tensorboard/, checkpoints/, evaluation/NAME/ and
    report.html, which shows the latest evaluation."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.config = self.path / "config.yaml"
        self.log = self.path / "train.log"
        self.metrics = self.path / "metrics.jsonl"
        self.curves = self.path / "curves.png"
        self.report = self.path / "report.html"
        self.tensorboard = self.path / "tensorboard"
        self.checkpoints = self.path / "checkpoints"
        self.best = self.checkpoints / "best"
        self.last = self.checkpoints / "last"
        self.previous = self.checkpoints / "previous"  # the previous `last`, in case a file of last is damaged

    @property
    def dry_run(self) -> "RunFolder":
        """A run folder inside this one, to test writing."""
        return RunFolder(self.path / ".dry-run")

    def step(self, update: int) -> Path:
        """The checkpoint of an update, kept besides best and last."""
        return self.checkpoints / f"step-{update}"

    def evaluation(self, name: str) -> Path:
        """The folder of the evaluation on test set `name`. Raises ValueError for a name with a path outside of the run
        folder."""
        if not name or name.startswith(".") or "/" in name or "\0" in name:
            raise ValueError(f"{name[:80]!r}: no name for a folder under {self.path / 'evaluation'}")
        return self.path / "evaluation" / name

    def exists(self) -> bool:
        """Whether the folder has a run, finished or not."""
        return any(place.exists() for place in (self.config, self.log, self.metrics, self.checkpoints))

    def check_free(self) -> None:
        """Raises ValueError if a new run cannot be written."""
        self._refuse_file()
        if self.exists():
            raise ValueError(f"run={self.path}: already holds a run; try resume={self.path}, or another run=")

    def create(self, config: str) -> None:
        """Creates a new run with the YAML text `config`; call it under lock(). Raises ValueError if a run exists.

        The configuration is written first: a run can be resumed as soon as it exists, and not before.
        """
        self.check_free()
        self.write_config(config)
        self.checkpoints.mkdir(exist_ok=True)
        self.tensorboard.mkdir(exist_ok=True)

    def write_config(self, config: str) -> None:
        """Replaces the configuration by the YAML text, atomically."""
        self.path.mkdir(parents=True, exist_ok=True)
        with written_beside(self.config) as beside:
            beside.write_text(config, encoding="utf-8")

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Locks the folder (created if missing) for this process, and cleans up after a writer that was killed.

        The kernel releases the lock when the process ends. Raises ValueError with the process that has the lock.
        """
        self._refuse_file()
        self.path.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
        _locks.add(handle)
        try:
            self._hold(handle)
            shutil.rmtree(self.dry_run.path, ignore_errors=True)
            if self.checkpoints.is_dir():
                checkpoint.recover(self.checkpoints)
            yield
        finally:
            if handle in _locks:  # not in a forked child, which has closed the file
                _locks.discard(handle)
                os.close(handle)

    def _refuse_file(self) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise ValueError(f"run={self.path}: is a file, and a run needs a folder; try another run=")

    def _hold(self, handle: int) -> None:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(handle, 200, 0).decode("ascii", "replace").split()
            who = f"process {holder[0]} on {holder[1]}" if len(holder) == 2 else "another process"
            raise ValueError(
                f"run={self.path}: {who} is training in it; try another run=, or wait for its end"
            ) from None
        except OSError as error:  # some network file systems have no locks
            log.warning(
                "%s: cannot be locked (%s): take care that one run at a time uses it", self.path, error.strerror
            )
            return
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()} {socket.gethostname()}\n".encode("ascii", "replace"), 0)

    def steps(self) -> list[Path]:
        """The checkpoints step-N, oldest first."""
        if not self.checkpoints.is_dir():
            return []
        found = ((_STEP.fullmatch(place.name), place) for place in self.checkpoints.iterdir())
        return [place for _, place in sorted((int(match[1]), place) for match, place in found if match)]

    def prune(self, keep: int | None) -> None:
        """Deletes all but the `keep` newest step-N checkpoints; 0 or None keeps all. The others always stay."""
        for place in self.steps()[: -keep if keep else 0]:
            checkpoint.delete(place)

    def has_checkpoint(self) -> bool:
        """Whether there is a checkpoint to resume from, damaged or not."""
        return any(checkpoint.resolve(place).is_dir() for place in (self.last, self.previous))

    @contextmanager
    def explaining_unwritable(self) -> Iterator[None]:
        """Adds to an OSError of the block, if a file could not be written, that checkpoints are kept, and what to
        do."""
        try:
            yield
        except OSError as error:
            if error.errno not in UNWRITABLE:
                raise
            kept = " its checkpoints are kept;" if self.has_checkpoint() else ""
            raise OSError(
                f"{error.filename or self.path}: could not be written ({error.strerror});{kept} make room and "
                f"try resume={self.path}"
            ) from None

    def latest_valid(self) -> Path | None:
        """The undamaged checkpoint of the most updates; None if none was written.

        Skips damaged ones with a warning. Raises ValueError if there are checkpoints and all are damaged.
        """
        # Of equal updates, the first in this order is returned.
        names = (self.last, *reversed(self.steps()), self.best, self.previous)
        places = [place for place in names if checkpoint.resolve(place).is_dir()]
        updates: dict[Path, int] = {}
        damaged = False
        for place in places:
            try:
                updates[place] = checkpoint.read_update(place)
            except ValueError as error:
                damaged = True
                log.warning("passed over: %s", error)
        for place in sorted(updates, key=lambda each: -updates[each]):
            try:
                checkpoint.verify(place)
            except ValueError as error:
                damaged = True
                log.warning("passed over: %s", error)
            else:
                if damaged:
                    log.warning("going on from %s, update %d", place, updates[place])
                return checkpoint.resolve(place)
        if places:
            raise ValueError(
                f"{self.checkpoints}: every checkpoint is damaged; try finetune_from= with another run, or a new run"
            )
        return None


@contextmanager
def new_run_folder(parent: Path) -> Iterator[RunFolder]:
    """A new folder of this process, `parent`/DATE-TIME or, in the same second, DATE-TIME-2, -3 and so on.

    It is deleted at the end if it is empty, so that an error on the command line leaves no folder.
    """
    moment = datetime.datetime.now().strftime("%Y-%m-%d-%H%M%S")
    for number in itertools.count(1):
        path = parent / (moment if number == 1 else f"{moment}-{number}")
        with suppress(FileExistsError):
            path.mkdir(parents=True)
            break
    try:
        yield RunFolder(path)
    finally:
        with suppress(OSError):
            if os.listdir(path) == [".lock"]:  # no other process uses this folder
                path.joinpath(".lock").unlink()
            path.rmdir()
            parent.rmdir()


def find_checkpoint(path: Path | str) -> Path:
    """The checkpoint folder for the setting `checkpoint=`: itself, or the best (else the last) of a run folder.

    Raises ValueError with what is missing.
    """
    given = Path(path)
    place = checkpoint.resolve(given if given.name else given.absolute())
    if not place.exists():
        raise ValueError(f"checkpoint={given}: no such folder; try a run folder or one of its checkpoints/")
    if not place.is_dir():
        raise ValueError(f"checkpoint={given}: is a file; try the folder it is in")
    if (place / "model.safetensors").exists() or (place / "checksums.json").exists():
        return place
    run = RunFolder(place)
    for choice in (run.best, run.last):
        if checkpoint.resolve(choice).is_dir():
            return checkpoint.resolve(choice)
    if run.steps():
        return run.steps()[-1]
    if checkpoint.resolve(run.previous).is_dir():
        return checkpoint.resolve(run.previous)
    if run.exists():
        raise ValueError(f"checkpoint={given}: this run has written no checkpoint yet; try resume={given} to train on")
    raise ValueError(f"checkpoint={given}: neither a run folder nor a checkpoint; try a folder with checkpoints/ in it")


def run_folder_of(place: Path) -> RunFolder:
    """The run folder of a checkpoint, for its evaluation; for a single checkpoint, its parent folder."""
    parent = place.absolute().parent
    return RunFolder(parent.parent if parent.name == "checkpoints" else parent)


def _close_inherited_locks() -> None:
    """In a forked child (a worker that may outlive a killed run): closes the locks, which it would otherwise keep."""
    while _locks:
        os.close(_locks.pop())


os.register_at_fork(after_in_child=_close_inherited_locks)
