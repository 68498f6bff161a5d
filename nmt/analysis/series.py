"""What a run's metrics.jsonl holds: each number as a series over updates."""

import json
import math
from pathlib import Path

Series = list[tuple[int, float]]
"""(update, value), updates rising."""


def read_series(metrics_jsonl: Path) -> dict[tuple[str, str], Series]:
    """Collect each finite number under the kind of its line ("train", "valid") and its name; nothing without a file.

    A line that was cut off is passed over, and what a resumed run wrote again replaces what it repeats.
    """
    series: dict[tuple[str, str], Series] = {}
    if not metrics_jsonl.is_file():
        return series
    for line in metrics_jsonl.read_bytes().splitlines():
        try:
            entry = json.loads(line)
            update, kind = int(entry["update"]), str(entry["kind"])
        except (ValueError, TypeError, KeyError):
            continue  # the line that was being written when the run was stopped
        for name, value in entry.items():
            if (
                name == "update"
                or isinstance(value, bool)
                or not isinstance(value, int | float)
                or not math.isfinite(value)
            ):
                continue
            points = series.setdefault((kind, name), [])
            # A run resumed from an earlier update goes that stretch again; the old numbers are not its own.
            while points and points[-1][0] >= update:
                points.pop()
            points.append((update, float(value)))
    return series
