"""Reading a checkpoint that may be damaged, of another version, or malicious: correctly, or with a ValueError."""

import json
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TypeVar

from torch import Tensor

from nmt.checkpoint.snapshot import (
    CALIBRATION,
    CHECKSUMS,
    CONFIG,
    FORMAT,
    MAX_JSON_BYTES,
    MAX_TOKENIZER_BYTES,
    MODEL,
    STATE,
    TOKENIZER,
    TRAINING,
    Snapshot,
    files_in,
)
from nmt.checkpoint.tensors import read_shapes, read_tensors
from nmt.checkpoint.writing import resolve
from nmt.runtime.hashing import file_sha256

Result = TypeVar("Result")


def read(folder: Path, *, weights_only: bool) -> Snapshot:
    """The snapshot in checkpoint `folder`, with all checksums verified; tensors on the CPU.

    weights_only: for translation. `training` is empty, and its file is not read and may be missing. Memory: the
    tensors, and for a malicious JSON file at most about 25 times MAX_JSON_BYTES. Raises ValueError with the name of the
    file.
    """

    def attempt(place: Path) -> Snapshot:
        listed = _listed(place, without=(TRAINING,) if weights_only else ())
        for name in (MODEL,) if weights_only else (MODEL, TRAINING):
            read_shapes(place / name)  # a small header before a huge file: a sparse file of terabytes would take hours
        _check(place, listed)
        state = _json(place / STATE)
        _update(place, state)
        training = {} if weights_only else read_tensors(place / TRAINING)
        return Snapshot(read_tensors(place / MODEL), training, state, _json(place / CONFIG))

    return _read_stable(folder, attempt)


def verify(folder: Path) -> None:
    """Reads every file and compares it with its checksum. Raises ValueError with the name of the damaged file."""
    _read_stable(folder, lambda place: _check(place, _listed(place)))


def read_config(folder: Path) -> dict:
    """The configuration, verified, from which to build the model for check_fit. Raises ValueError."""

    def attempt(place: Path) -> dict:
        _check(place, _listed(place, without=(TRAINING,)), only=(CONFIG,))
        return _json(place / CONFIG)

    return _read_stable(folder, attempt)


def read_calibration(folder: Path) -> dict | None:
    """The calibration of the checkpoint, verified; None if it has none. Raises ValueError."""

    def attempt(place: Path) -> dict | None:
        listed = _listed(place, without=(TRAINING,))
        if CALIBRATION not in listed:
            return None
        _check(place, listed, only=(CALIBRATION,))
        return _json(place / CALIBRATION)

    return _read_stable(folder, attempt)


def read_update(folder: Path, *, weights_only: bool = False) -> int:
    """The number of updates done at the checkpoint. Raises ValueError. weights_only: see `read`."""

    def attempt(place: Path) -> int:
        _check(place, _listed(place, without=(TRAINING,) if weights_only else ()), only=(STATE,))
        return _update(place, _json(place / STATE))

    return _read_stable(folder, attempt)


def check_fit(folder: Path, expected: Mapping[str, Tensor]) -> None:
    """Raises ValueError, with the names, for weights that do not fit a model; reads only the file's header.

    expected: the model's state_dict(); only names, shapes and types are compared, so the model may be on torch's meta
    device.
    """

    def attempt(place: Path) -> None:
        listed = _listed(place, without=(TRAINING,))
        found = read_shapes(place / MODEL)
        problem = ""
        for name, tensor in expected.items():
            if name not in found:
                problem = f"has no {name}, which the model needs"
            elif found[name] != (tuple(tensor.shape), tensor.dtype):
                shape, dtype = found[name]
                problem = f"{name} is {shape} {dtype}, and the model's is {tuple(tensor.shape)} {tensor.dtype}"
            if problem:
                break
        for name in found:
            if name not in expected and not problem:
                problem = f"holds {name[:80]!r}, which the model has not"
        if problem:
            _check(place, listed, only=(MODEL,))  # a damaged file is reported as damaged
            raise ValueError(f"{place / MODEL}: {problem}; try a checkpoint of this very model")

    _read_stable(folder, attempt)


def _read_stable(folder: Path, attempt: Callable[[Path], Result]) -> Result:
    """Reads again if a running training replaced the folder during the read."""
    for attempts_left in reversed(range(10)):
        place = resolve(folder)
        before = _identity(place)
        try:
            result = attempt(place)
        except OSError as error:
            if not attempts_left or _identity(resolve(folder)) == before:
                raise ValueError(f"{error.filename or place}: cannot be read ({error.strerror})") from None
        except ValueError:
            if not attempts_left or _identity(resolve(folder)) == before:
                raise
        else:
            if not attempts_left or _identity(resolve(folder)) == before:
                return result
    raise AssertionError("the last attempt returns or raises")


def _identity(place: Path) -> tuple[Path, int, int]:
    try:
        status = place.stat()
    except OSError:
        return (place, 0, 0)
    return (place, status.st_ino, status.st_mtime_ns)


def _listed(place: Path, without: Collection[str] = ()) -> dict[str, str]:
    """The checksums by file name, after a check that the folder has exactly these files, in these sizes."""
    if not place.is_dir():
        raise ValueError(f"{place}: no such checkpoint folder")
    sizes = files_in(place)
    if CHECKSUMS not in sizes:
        raise ValueError(f"{place / CHECKSUMS}: missing, so {place} is no whole checkpoint; try another one of the run")
    contents = _json(place / CHECKSUMS)
    if contents.get("format") != FORMAT:
        version = str(contents.get("format"))[:20]
        raise ValueError(
            f"{place}: written in format {version!r}, and this program reads {FORMAT}; try the version that wrote it"
        )
    files = contents.get("files")
    if not isinstance(files, dict) or not all(isinstance(entry, dict) for entry in files.values()):
        raise ValueError(f"{place / CHECKSUMS}: damaged: no list of files")
    for name in {MODEL, TRAINING, STATE, CONFIG, *files} - set(without):
        if name not in sizes or name == CHECKSUMS:
            raise ValueError(
                f"{place}: {name[:80]!r} is missing, so this is no whole checkpoint; try another of the run"
            )
    for name in sizes.keys() - files.keys() - {CHECKSUMS}:
        raise ValueError(f"{place}: {name!r} does not belong to the checkpoint; move it elsewhere")
    for name, entry in files.items():
        if name in without:
            continue
        if sizes[name] != entry.get("bytes"):
            wanted = repr(entry.get("bytes"))[:20]
            raise ValueError(
                f"{place / name}: damaged: {sizes[name]} bytes instead of {wanted}; try another one of the run"
            )
        limit = MAX_TOKENIZER_BYTES if name.startswith(f"{TOKENIZER}/") else MAX_JSON_BYTES
        if name not in (MODEL, TRAINING) and sizes[name] > limit:
            raise ValueError(f"{place / name}: larger than {limit:,} bytes, so it is not ours")
    return {name: entry.get("sha256", "") for name, entry in files.items() if name not in without}


def _check(place: Path, checksums: Mapping[str, str], only: Collection[str] = ()) -> None:
    for name in only or checksums:
        if file_sha256(place / name) != checksums[name]:
            raise ValueError(f"{place / name}: damaged: its checksum does not match; try another checkpoint of the run")


def _json(path: Path) -> dict:
    """A JSON object from a file of limited size; raises ValueError for any other content."""
    with path.open("rb") as file:
        raw = file.read(MAX_JSON_BYTES + 1)
    if len(raw) > MAX_JSON_BYTES:
        raise ValueError(f"{path}: larger than {MAX_JSON_BYTES:,} bytes, so it is not ours")
    try:
        data = json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError):  # not UTF-8, not JSON, a number of 5,000 digits, nested too deeply
        raise ValueError(f"{path}: damaged: it is not JSON; try another checkpoint of the run") from None
    if not isinstance(data, dict):
        raise ValueError(f"{path}: damaged: it is not a JSON object; try another checkpoint of the run")
    return data


def _update(place: Path, state: dict) -> int:
    update = state.get("update")
    if not isinstance(update, int) or isinstance(update, bool) or update < 0:
        raise ValueError(f"{place / STATE}: damaged: `update` is no count; try another checkpoint of the run")
    return update
