"""The average command: `python -m nmt.average checkpoint=RUN out=FOLDER` averages the last checkpoints of a run."""

import logging
import shutil

from nmt import checkpoint
from nmt.checkpoint.averaging import average
from nmt.checkpoint.run_folder import RunFolder
from nmt.cli import run_command
from nmt.config.saved import from_dict, to_dict, to_yaml
from nmt.config.schema import AverageConfig, TrainConfig
from nmt.data.tokenizer import Tokenizer
from nmt.runtime.logs import start_log

log = logging.getLogger("nmt")


def main(config: AverageConfig, _overrides: list[str]) -> None:
    start_log(None)
    out = RunFolder(config.out or "")
    if out.path.exists():
        raise ValueError(f"out={out.path}: is there already; try another name")
    steps = RunFolder(config.checkpoint or "").steps()
    if len(steps) < config.last:
        raise ValueError(
            f"checkpoint={config.checkpoint}: has {len(steps)} checkpoints step-N, and last={config.last} are to be "
            "averaged: train with trainer.save_every=500 and trainer.keep_checkpoints=0, or give a smaller last="
        )
    folders = steps[-config.last :]
    log.info(f"averaging {', '.join(folder.name for folder in folders)}")
    found = average(folders)
    plain = to_dict(from_dict(TrainConfig, found.config))
    plain["name"] = f"{plain['name']}, average of {config.last}"
    with out.lock():
        try:
            out.create(to_yaml(plain))
            checkpoint.write(out.best, found._replace(config=plain), Tokenizer.load(folders[-1] / "tokenizer"))
        except BaseException:
            shutil.rmtree(out.path, ignore_errors=True)  # an incomplete folder would be refused the next time
            raise
    print(f"written to {out.path}")


if __name__ == "__main__":
    run_command("average", main, AverageConfig)
