"""The mean of the weights of several checkpoints of one run."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from nmt.checkpoint.reading import read
from nmt.checkpoint.snapshot import Snapshot


def average(folders: Sequence[Path]) -> Snapshot:
    """The average of checkpoints, for translation only: the weights are means, all else is from the last folder.

    At most two checkpoints are in memory; sums are in float64. Raises ValueError for a damaged checkpoint, and for
    weights that differ in name, shape or type.
    """
    last = read(folders[-1], weights_only=True)
    # Tied matrices are one tensor under several names, also in the result.
    tensors = {id(tensor): tensor for tensor in last.model.values()}
    names = {id(tensor): name for name, tensor in last.model.items()}
    sums = {key: tensor.double() for key, tensor in tensors.items() if tensor.is_floating_point()}
    for folder in folders[:-1]:
        weights = read(folder, weights_only=True).model
        if _shapes(weights) != _shapes(last.model):
            raise ValueError(f"{folder} and {folders[-1]} hold other weights: only checkpoints of one run are averaged")
        for key, total in sums.items():
            total += weights[names[key]]
    means = {key: (total / len(folders)).to(tensors[key].dtype) for key, total in sums.items()}
    model = {name: means.get(id(tensor), tensor) for name, tensor in last.model.items()}
    return Snapshot(model, {}, {"update": last.state["update"]}, last.config)


def _shapes(weights: dict[str, Tensor]) -> dict[str, tuple]:
    return {name: (tensor.shape, tensor.dtype) for name, tensor in weights.items()}
