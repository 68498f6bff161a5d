"""The numbers in a run's metrics.jsonl as series over updates."""

import json
import math
from pathlib import Path

Series = list[tuple[int, float]]
"""(update, value) with increasing updates."""


def read_series(metrics_jsonl: Path) -> dict[tuple[str, str], Series]:
    """Each finite number by the kind of its line ("train", "valid") and its name; empty if there is no file.

    Incomplete lines are skipped, and later lines of a resumed run replace earlier ones with the same updates.
    """
    series: dict[tuple[str, str], Series] = {}
    if not metrics_jsonl.is_file():
        return series
    for line in metrics_jsonl.read_bytes().splitlines():
        try:
            entry = json.loads(line)
            update, kind = int(entry["update"]), str(entry["kind"])
        except (ValueError, TypeError, KeyError):
            continue  # the incomplete last line of a run that was stopped
        for name, value in entry.items():
            if (
                name == "update"
                or isinstance(value, bool)
                or not isinstance(value, int | float)
                or not math.isfinite(value)
            ):
                continue
            points = series.setdefault((kind, name), [])
            # A run resumed from an earlier update repeats updates; the numbers of the first time are removed.
            while points and points[-1][0] >= update:
                points.pop()
            points.append((update, float(value)))
    return series
