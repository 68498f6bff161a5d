"""The calibrate command: `python -m nmt.calibrate checkpoint=RUN` calibrates the confidence of its translations."""

import contextlib
import logging
from dataclasses import replace

from nmt import build
from nmt.checkpoint.run_folder import find_checkpoint, run_folder_of
from nmt.cli import run_command
from nmt.config.schema import CalibrateConfig, DataConfig, DataKind

log = logging.getLogger("nmt")


def main(config: CalibrateConfig, _overrides: list[str]) -> None:
    device = build.start(config)
    loaded = build.load_translator(config.checkpoint, device.device)
    corpus = build.read_corpus(_validation(config, loaded.config.data), "valid")
    pairs = list(corpus)[: config.sentences]
    log.info(f"checkpoint {loaded.folder}; {len(pairs)} sentences of {corpus.name}; precision {device.reason}")
    run = run_folder_of(loaded.folder)
    with run.lock() if run.exists() else contextlib.nullcontext(), device.autocast():
        calibration = build.calibrate(str(config.checkpoint), device.device, pairs)
    print(build.describe_calibration(calibration))
    print(f"written to {find_checkpoint(str(config.checkpoint))}")


def _validation(config: CalibrateConfig, data: DataConfig) -> DataConfig:
    """The settings of the run's validation set, or of the given files."""
    if not config.valid:
        return replace(data, cache=config.cache)
    pair = build.languages(data)
    files = {"train": None, "test": None, "name": None, "config": None}
    return replace(
        data, kind=DataKind.files, src=pair.src, tgt=pair.tgt, valid=config.valid, cache=config.cache, **files
    )


if __name__ == "__main__":
    run_command("calibrate", main, CalibrateConfig)
