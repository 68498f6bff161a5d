"""The dry run: writes every output of a run once before the first update, so that writing does not fail hours later."""

import shutil

import numpy as np

from nmt import checkpoint
from nmt.checkpoint.progress import Progress
from nmt.checkpoint.run_folder import RunFolder
from nmt.decoding.translator import Translation
from nmt.runtime.device import random_states
from nmt.training.checkpointer import Checkpointer
from nmt.training.metrics_logger import MetricsLogger
from nmt.validation.translation import ValidationResult

_TRAIN = {"loss": 1.0, "lr": 1.0, "grad_norm": 1.0, "tokens_per_second": 1.0, "epoch": 0.0}
_VALID = {"loss": 1.0, "perplexity": 1.0, "bleu": 0.0, "seconds": 0.0}


def dry_run(checkpointer: Checkpointer, config: str, *, tensorboard: bool) -> None:
    """Writes settings (the YAML text `config`), metrics, curves, TensorBoard's events and a checkpoint into a hidden
    folder of the run folder, reads the checkpoint, and deletes it all. No random number is drawn.

    The run folder is created if it does not exist. Raises OSError with the file name if a file cannot be written;
    ValueError if a file cannot be read again.
    """
    run = checkpointer.run.dry_run
    shutil.rmtree(run.path, ignore_errors=True)
    try:
        run.create(config)
        _write_metrics(run, tensorboard=tensorboard)
        checkpoint.write(run.last, checkpointer.snapshot([random_states()]), checkpointer.tokenizer, run.previous)
        checkpoint.hard_link(run.last, run.best)
        checkpoint.read(run.best, weights_only=False)
    except OSError as error:
        if error.filename is None:  # it says all of it
            raise
        raise OSError(f"{error.filename}: could not be written ({error.strerror}); make room and try again") from None
    finally:
        shutil.rmtree(run.path, ignore_errors=True)


def _write_metrics(run: RunFolder, *, tensorboard: bool) -> None:
    weights = np.ones((1, 1), np.float32)
    sample = Translation("a", 0.0, 0.0, ["a"], ["a"], ["a"], ["a"], weights, [0], [0])
    logger = MetricsLogger(run, tensorboard=tensorboard, quiet=True)
    with logger.opened(Progress()):
        logger.train(1, 0.0, _TRAIN)
        logger.valid(1, ValidationResult(1.0, {}, [("a", "a", sample)]), _VALID, best=True)
        logger.flush()
