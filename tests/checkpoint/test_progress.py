"""The place of a run in state.json: kept whole, and refused where it was tampered with."""

import json

import pytest

from nmt.checkpoint.progress import LogWindow, Progress


def test_progress_is_kept_whole():
    progress = Progress(
        update=7, epoch=1, batch=3, best=-1.25, best_update=4, window=LogWindow(nll=0.1 + 0.2, tokens=9)
    )
    assert Progress.from_state_dict(json.loads(json.dumps(progress.state_dict()))) == progress


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("update", -1),
        ("update", 1.5),
        ("epoch", True),
        ("batch", None),
        ("best", "x"),
        ("best", float("nan")),
        ("finished", 3),
        ("seconds", None),
        ("window", []),
        ("window", {}),
    ],
)
def test_progress_that_was_tampered_with_is_refused_by_name(key, value):
    with pytest.raises(ValueError, match=r"state.json: damaged: .*") as error:
        Progress.from_state_dict(Progress().state_dict() | {key: value})
    assert key in str(error.value) or key == "window"
