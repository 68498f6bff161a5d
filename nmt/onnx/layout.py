"""The tensors of a model's `Source` and `State`: names, types and shapes, flattening into lists and rebuilding."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nmt.data.symbols import BOS, EOS
from nmt.model.seq2seq import Seq2Seq

Axis = int | str  # a fixed size, or the name of a dynamic one

BATCH, SRC_LENGTH, TGT_LENGTH = "batch", "src_length", "tgt_length"


@dataclass(frozen=True)
class Part:
    """One tensor. shape: fixed sizes, and the names of dynamic ones. A part with a size of 0 is empty; it is no input
    or output of a graph."""

    name: str
    dtype: torch.dtype
    shape: tuple[Axis, ...]

    @property
    def empty(self) -> bool:
        return 0 in self.shape

    def make_empty(self, batch: int, src_length: int) -> Tensor:
        """The tensor of an empty part."""
        sizes = {BATCH: batch, SRC_LENGTH: src_length}
        return torch.zeros([sizes[size] if isinstance(size, str) else size for size in self.shape], dtype=self.dtype)


@dataclass(frozen=True)
class Layout:
    """The parts of a nested named tuple, in the order of its fields. template: the tuple with each tensor replaced by
    the index of its part."""

    parts: tuple[Part, ...]
    template: Any

    @property
    def held(self) -> list[Part]:
        """The parts that are not empty."""
        return [part for part in self.parts if not part.empty]

    def hold(self, value: Any) -> list[Tensor]:
        """The tensors of a value of this layout that are not empty."""
        return [tensor for part, tensor in zip(self.parts, leaves(value), strict=True) if not part.empty]

    def build(self, held: Sequence[Tensor], batch: int, src_length: int) -> Any:
        """The value of this layout with the tensors `held`: the inverse of `hold`."""
        waiting = list(held)
        tensors = [part.make_empty(batch, src_length) if part.empty else waiting.pop(0) for part in self.parts]
        return _filled(self.template, tensors)


def leaves(value: Any) -> list[Tensor]:
    """The tensors of a nested tuple, in order."""
    return [value] if isinstance(value, Tensor) else [leaf for each in value for leaf in leaves(each)]


def names(value: Any, prefix: str) -> Iterator[str]:
    """The names of the tensors of a nested tuple, in order: prefix and field names, joined by underscores."""
    if isinstance(value, Tensor):
        yield prefix
    else:
        fields = getattr(value, "_fields", range(len(value)))
        for field, each in zip(fields, value, strict=True):
            yield from names(each, f"{prefix}_{field}" if prefix else str(field))


def layouts(model: Seq2Seq) -> tuple[Layout, Layout]:
    """The layouts of the Source and of the State of `model`. Sizes that differ between two batches are dynamic."""
    sizes = ((2, 5, 3), (4, 7, 6))  # sentences, source length, steps
    axes: dict[tuple[int, int], Axis] = dict(
        zip(zip(*sizes, strict=True), (BATCH, SRC_LENGTH, TGT_LENGTH), strict=True)
    )
    (source, state), (other_source, other_state) = (_run(model, *each) for each in sizes)
    return _layout("", source, other_source, axes), _layout("state", state, other_state, axes)


def _layout(prefix: str, one: Any, other: Any, axes: dict[tuple[int, int], Axis]) -> Layout:
    parts = [
        Part(
            name,
            first.dtype,
            tuple(a if a == b else axes[a, b] for a, b in zip(first.shape, second.shape, strict=True)),
        )
        for name, first, second in zip(names(one, prefix), leaves(one), leaves(other), strict=True)
    ]
    return Layout(tuple(parts), _filled(one, list(range(len(parts)))))


def _run(model: Seq2Seq, batch: int, length: int, steps: int) -> tuple[Any, Any]:
    """Source and State after the given number of steps."""
    source, state = model.encode(torch.full((batch, length), EOS), torch.full((batch,), length))
    for _ in range(steps):
        _, state, _ = model.step(torch.full((batch,), BOS), state, source)
    return source, state


def _filled(template: Any, found: list[Any]) -> Any:
    """A nested tuple like `template`, with the elements of `found` as leaves; removes them from the list."""
    if not isinstance(template, tuple):
        return found.pop(0)
    filled = [_filled(each, found) for each in template]
    return type(template)(*filled) if hasattr(template, "_fields") else tuple(filled)
