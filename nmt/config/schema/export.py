"""Options of the export command."""

from dataclasses import dataclass
from typing import Any

from nmt.config.paths import RUN_FILES, Use, path_key

EXPORT_FILES = ("model.json", "encoder.onnx", "decoder.onnx", "*.onnx.data", "tokenizer/*")


@dataclass
class ExportConfig:
    """What `python -m nmt.export` takes."""

    checkpoint: Any = path_key(Use.run, contents=RUN_FILES)  # a list is refused with a reason, below
    out: str | None = path_key(Use.folder, contents=EXPORT_FILES)

    def __post_init__(self):
        for key in ("checkpoint", "out"):
            if not getattr(self, key):
                raise ValueError(f"{key}= is not set: python -m nmt.export checkpoint=RUN out=FOLDER")
        if not isinstance(self.checkpoint, str | list):
            raise ValueError(f"checkpoint={self.checkpoint!r}: give a run or checkpoint folder")
        if isinstance(self.checkpoint, list):
            raise ValueError(
                "checkpoint= names several runs, and an ensemble cannot be exported: export each, and average their "
                "probabilities at every step"
            )
