"""Matrices of attention on disk, one per sentence."""

import zipfile
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from nmt.runtime.atomic import written_beside


class AttentionWriter:
    """Writes one matrix per sentence into an .npz for `np.load`, each immediately, under its line number from "0".

        with AttentionWriter(path) as writer:
            writer.write(weights)

    Memory has one matrix and a small directory entry for each earlier one. The file is written under another name and
    renamed at the end; after an error an existing file is unchanged. Equal matrices give equal bytes.
    """

    def __init__(self, path: Path):
        self.path = Path(path)
        self.lines = 0

    def __enter__(self) -> "AttentionWriter":
        with ExitStack() as stack:
            beside = stack.enter_context(written_beside(self.path))
            self._archive = stack.enter_context(zipfile.ZipFile(beside, "w", zipfile.ZIP_STORED))
            self._closing = stack.pop_all()
        return self

    def write(self, weights: np.ndarray) -> None:
        """Add the next line's matrix (Tw, Sw), stored as float32.

        An empty line has (0, 0), a line without attention (Tw, 0): every line has a matrix, so names are line numbers.
        """
        # The default date of ZipInfo, 1980, makes the file independent of the time.
        entry = zipfile.ZipInfo(f"{self.lines}.npy")
        with self._archive.open(entry, "w", force_zip64=True) as file:
            np.lib.format.write_array(file, np.asarray(weights, dtype=np.float32), allow_pickle=False)
        self.lines += 1

    def __exit__(self, *error) -> None:
        self._closing.__exit__(*error)
