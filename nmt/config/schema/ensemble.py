"""The setting checkpoint= of commands that take several runs."""

from typing import Any


def is_ensemble(checkpoint: Any) -> bool:
    """Whether the value is a list of several runs."""
    return isinstance(checkpoint, list) and len(checkpoint) > 1


def check_ensemble(config: Any) -> None:
    """Checks checkpoint=, a path or a list, and ensemble=, which needs a list of several."""
    place = config.checkpoint
    places = place if isinstance(place, list) else [place]
    if not places or not all(isinstance(each, str) for each in places if place is not None):
        raise ValueError(
            f"checkpoint={place!r}: give a run or checkpoint folder, or several: checkpoint=[runs/a,runs/b]"
        )
    if config.ensemble and not is_ensemble(place):
        raise ValueError(
            f"ensemble={config.ensemble.value} has no effect: it needs several models; give checkpoint=[RUN,RUN], or "
            "leave ensemble out"
        )
