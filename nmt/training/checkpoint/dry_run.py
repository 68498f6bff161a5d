"""Writing a checkpoint once before the first update, so that what could not be saved is not trained."""

import tempfile
from pathlib import Path

from nmt.training.checkpoint.placing import Saves, write
from nmt.training.checkpoint.snapshot import Snapshot


def try_writing(checkpoints: Path, snapshot: Snapshot, tokenizer: Saves) -> None:
    """Writes the snapshot in a hidden folder under `checkpoints`, which goes again. Raises OSError.

    Imports what draws the curves too: a library that is missing or broken would be met at the first validation only.
    """
    import nmt.analysis.curves  # noqa: F401

    # recover() clears up a folder of such a name after a kill.
    with tempfile.TemporaryDirectory(prefix=".dry-run.partial-", dir=checkpoints) as folder:
        write(Path(folder) / "checkpoint", snapshot, tokenizer)
