"""Running a command of the program, reading how it ended, and composing its configuration."""

import contextlib
import importlib
import io
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from nmt.cli import CONFIGS, run_command
from nmt.config import schema

ROOT = Path(__file__).parents[2]
SCHEMAS = {
    "train": schema.TrainConfig,
    "evaluate": schema.EvaluateConfig,
    "translate": schema.TranslateConfig,
    "align": schema.AlignConfig,
    "compare": schema.CompareConfig,
    "saliency": schema.SaliencyConfig,
    "serve": schema.ServeConfig,
    "average": schema.AverageConfig,
    "calibrate": schema.CalibrateConfig,
    "export": schema.ExportConfig,
}

# Of a model that trains in a second on a few lines.
TINY_TRAINING = [
    "tokenizer.byte_fallback=false",
    "batch.size=400",
    "model.encoder.hidden=12",
    "model.encoder.embedding=12",
    "model.decoder.hidden=24",
    "model.decoder.embedding=12",
    "model.decoder.readout=12",
    "model.attention.size=12",
    "optim.lr=1e-2",
    "optim.schedule.warmup=1",
]


class Ended(NamedTuple):
    """How a command ended: its exit status and what it printed."""

    code: int
    out: str
    err: str

    @property
    def mistake(self) -> str:
        """The one line with which it was refused, without "error: "; nothing else was printed."""
        lines = self.err.splitlines()
        assert (self.code, len(lines), self.out) == (2, 1, ""), self.err
        assert lines[0].startswith("error: ")
        return lines[0].removeprefix("error: ")


def call(
    folder: Path, verb: str, *words: str, stdin: bytes = b"", main: Callable[[Any, list[str]], None] | None = None
) -> Ended:
    """`python -m nmt.VERB WORDS` in `folder`, without the seconds that a new process takes to import torch.

    main: called with the configuration and the overrides in place of the command's own.
    """
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", newline="", write_through=True) for _ in range(2))
    code = 0
    with pytest.MonkeyPatch.context() as patch, contextlib.chdir(folder):
        patch.setattr(sys, "argv", [f"nmt.{verb}", *words])
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        try:
            run_command(verb, main or importlib.import_module(f"nmt.{verb}").main, SCHEMAS[verb])
        except SystemExit as end:
            code = int(end.code or 0)
    return Ended(code, *(stream.buffer.getvalue().decode("utf-8") for stream in (out, err)))  # type: ignore[attr-defined]


def compose_config(overrides: Sequence[object], name: str = "train") -> Any:
    """The configuration of a command line, as the command gets it."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return OmegaConf.to_object(compose(name, [str(override) for override in overrides]))


def environment() -> dict[str, str]:
    """The environment variables of a command in a process of its own."""
    return {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}


def process(folder: Path, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """`python -m WORDS` in `folder`, in a process of its own."""
    command = [sys.executable, "-m", *words]
    return subprocess.run(command, cwd=folder, input=stdin, capture_output=True, env=environment(), check=False)


def write_lines(path: Path, lines: Sequence[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
