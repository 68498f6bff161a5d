"""The state of a torch optimizer as named tensors and plain JSON, and back, bit for bit."""

from collections.abc import Mapping

import torch
from torch import Tensor

PREFIX = "optimizer."


def pack_optimizer(state_dict: Mapping) -> tuple[dict[str, Tensor], dict]:
    """Splits optimizer.state_dict() into its tensors, with names that start with "optimizer.", and JSON for the rest.

    The tensors are those of the optimizer, not copies.
    """
    tensors: dict[str, Tensor] = {}

    def put(value, name: str):
        match value:
            case Tensor():
                tensors[name] = value
                return {"tensor": name}
            case tuple():
                return {"tuple": [put(item, f"{name}.{i}") for i, item in enumerate(value)]}
            case list():
                return [put(item, f"{name}.{i}") for i, item in enumerate(value)]
            case None | bool() | int() | float() | str():
                return value
            case _:
                raise AssertionError(f"{name}: cannot keep a {type(value).__name__}")

    state = {
        str(index): {key: put(value, f"{PREFIX}{index}.{key}") for key, value in entry.items()}
        for index, entry in state_dict["state"].items()
    }
    groups = [
        {key: put(value, f"{PREFIX}group{number}.{key}") for key, value in group.items()}
        for number, group in enumerate(state_dict["param_groups"])
    ]
    return tensors, {"state": state, "param_groups": groups}


def unpack_optimizer(tensors: Mapping[str, Tensor], packed: object, optimizer: torch.optim.Optimizer) -> dict:
    """The state_dict for `optimizer`.load_state_dict, after a check that it fits the optimizer.

    Raises ValueError if it is not a result of pack_optimizer, or of another kind of optimizer or other parameters.
    """

    def get(value):
        match value:
            case {"tensor": str(name)} if name in tensors:
                return tensors[name]
            case {"tuple": list(items)}:
                return tuple(get(item) for item in items)
            case list():
                return [get(item) for item in value]
            case None | bool() | int() | float() | str():
                return value
            case _:
                raise ValueError("optimizer state: damaged: it refers to a tensor that is not there")

    match packed:
        case {"state": dict(state), "param_groups": list(groups)}:
            pass
        case _:
            raise ValueError("optimizer state: damaged: it needs state and param_groups")
    try:
        found = {
            "state": {_index(key): {key: get(value) for key, value in entry.items()} for key, entry in state.items()},
            "param_groups": [{key: get(value) for key, value in group.items()} for group in groups],
        }
    except (AttributeError, RecursionError):
        raise ValueError("optimizer state: damaged: an entry is not an object, or is nested without end") from None
    _refuse_other(found, optimizer)
    return found


def _index(key: str) -> int:
    if not (key.isascii() and key.isdecimal() and len(key) < 10):
        raise ValueError(f"optimizer state: damaged: {key[:40]!r} is no parameter's number")
    return int(key)


def _refuse_other(found: dict, optimizer: torch.optim.Optimizer) -> None:
    """Raises ValueError for another optimizer: torch compares only the sizes of the groups, and would fail later."""
    name = type(optimizer).__name__
    own = optimizer.state_dict()["param_groups"]
    if len(found["param_groups"]) != len(own):
        raise ValueError(
            f"optimizer state: {len(found['param_groups'])} groups of parameters, and {name} has {len(own)}"
        )
    for theirs, ours in zip(found["param_groups"], own, strict=True):
        if theirs.keys() != ours.keys():
            words = ", ".join(sorted(str(key)[:40] for key in theirs.keys() ^ ours.keys())[:5])
            raise ValueError(f"optimizer state: of another optimizer than {name}: they differ in {words!r}")
        if theirs["params"] != ours["params"]:
            raise ValueError(f"optimizer state: not for the parameters that {name} has here")
        for key in ours:
            if _kind(theirs[key]) != _kind(ours[key]):
                raise ValueError(f"optimizer state: {key} of {name} cannot be {str(theirs[key])[:40]!r}")
    parameters = [(parameter, group) for group in optimizer.param_groups for parameter in group["params"]]
    for index, entry in found["state"].items():
        if index >= len(parameters):
            raise ValueError(f"optimizer state: has parameter {index}, and {name} has {len(parameters)} here")
        parameter, group = parameters[index]
        for key in _needed(optimizer, group):
            if not isinstance(entry.get(key), Tensor) or not entry[key].is_floating_point():
                raise ValueError(f"optimizer state: damaged: no {key} of parameter {index}, which {name} needs")
        for key, value in entry.items():
            if isinstance(value, Tensor) and value.dim() and value.shape != parameter.shape:
                found_shape, shape = tuple(value.shape), tuple(parameter.shape)
                raise ValueError(f"optimizer state: {key[:40]!r} of parameter {index} is {found_shape}, not {shape}")


def _needed(optimizer: torch.optim.Optimizer, group: Mapping) -> set[str]:
    """The names of the tensors that torch needs for loading and for the next step; SGD recreates its momentum."""
    match optimizer:
        case torch.optim.Adam() | torch.optim.AdamW():
            return {"step", "exp_avg", "exp_avg_sq", *(["max_exp_avg_sq"] if group["amsgrad"] else [])}
        case torch.optim.Adadelta():
            return {"step", "square_avg", "acc_delta"}
        case _:
            return set()


def _kind(value: object) -> object:
    """The kind of a value: values of one kind may replace each other, such as any two numbers or any two booleans."""
    match value:
        case None | bool():
            return "switch"
        case int() | float() | Tensor():
            return "number"
        case tuple() | list():
            return [_kind(item) for item in value]
        case _:
            return type(value)
