"""Named tensors to and from one safetensors file; tied tensors are stored once."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from nmt.checkpoint.snapshot import MAX_JSON_BYTES, one_line

DTYPES = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "I16": torch.int16,
    "I32": torch.int32,
    "I64": torch.int64,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
}


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Writes the tensors to `path`.

    A tensor with several names (tied embeddings) is written once, its other names in the file's metadata, as in
    safetensors' save_model. Raises OSError (full disk).
    """
    kept: dict[str, Tensor] = {}
    names: dict[tuple, str] = {}
    storages: set[tuple] = set()
    also = {"format": "pt"}
    for name, tensor in tensors.items():
        assert tensor.dtype in DTYPES.values(), f"{name} is {tensor.dtype}"
        assert name != "format", "a tensor cannot be called format: the file's metadata has that word"
        storage = (tensor.device, tensor.untyped_storage().data_ptr())
        same = (*storage, tensor.storage_offset(), tensor.shape, tensor.stride(), tensor.dtype)
        if tensor.numel() and same in names:
            also[name] = names[same]
            continue
        names[same] = name
        own = tensor.detach().contiguous()
        # safetensors refuses views of one storage (cuDNN's flattened GRU weights): each is copied.
        kept[name] = own.clone() if storage in storages and own.data_ptr() == tensor.data_ptr() else own
        storages.add(storage)
    try:
        save_file(kept, path, metadata=also)
    except SafetensorError as error:  # wraps the error of the operating system
        raise OSError(one_line(error)) from None


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, copied to CPU memory (the file may be deleted). Raises ValueError."""
    with _opened(path) as file:
        tensors: dict[str, Tensor] = {}
        ties = _ties(path, file)
        for name in file.keys():  # noqa: SIM118 (not a dict)
            _dtype(path, name, file)
            try:
                tensors[name] = file.get_tensor(name).clone()
            except (SafetensorError, RuntimeError, ValueError, TypeError, OverflowError) as error:
                raise ValueError(f"{path}: tensor {name[:80]!r} cannot be read: {one_line(error)}") from None
        return tensors | {name: tensors[kept] for name, kept in ties.items()}


def read_shapes(path: Path) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
    """The shape and type of each tensor, from the header of the file only. Raises ValueError."""
    with _opened(path) as file:
        found = {
            name: (tuple(file.get_slice(name).get_shape()), _dtype(path, name, file))
            for name in file.keys()  # noqa: SIM118 (not a dict)
        }
        return found | {name: found[kept] for name, kept in _ties(path, file).items()}


@contextmanager
def _opened(path: Path) -> Iterator:
    """The open file, after safetensors has checked that the header describes exactly the bytes that follow."""
    try:
        with path.open("rb") as plain:
            length = int.from_bytes(plain.read(8), "little")
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from None
    if length > MAX_JSON_BYTES:
        raise ValueError(f"{path}: damaged: its header claims {length:,} bytes, and {MAX_JSON_BYTES:,} is the most")
    try:
        file = safe_open(path, framework="pt")
    except (SafetensorError, OSError, RuntimeError) as error:
        raise ValueError(f"{path}: damaged: {one_line(error)}") from None
    with file:
        yield file


def _ties(path: Path, file) -> dict[str, str]:
    """Additional names of tensors: {name: the name it is stored under}."""
    held = set(file.keys())
    ties = {name: kept for name, kept in (file.metadata() or {}).items() if name != "format"}
    for name, kept in ties.items():
        if name in held or kept not in held:
            raise ValueError(
                f"{path}: its metadata ties {name[:80]!r} to {kept[:80]!r}, which does not fit its tensors"
            )
    return ties


def _dtype(path: Path, name: str, file) -> torch.dtype:
    word = file.get_slice(name).get_dtype()
    if word not in DTYPES:
        raise ValueError(f"{path}: tensor {name[:80]!r} is of type {word}; known are {', '.join(DTYPES)}")
    return DTYPES[word]
