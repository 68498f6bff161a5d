"""The options of the training loop, and the metric of the best checkpoint."""

from dataclasses import dataclass
from enum import Enum

from nmt.bounds import at_least, greater_than
from nmt.validation.translation import ValidationResult


class EarlyStoppingMetric(Enum):
    """The metric of the best checkpoint and of early stopping: the values of ``trainer.early_stopping_metric``."""

    bleu = "bleu"
    loss = "loss"
    aer = "aer"

    def score(self, result: ValidationResult) -> float:
        """BLEU in per cent, the negative loss in nats per token, or the negative alignment error rate in per cent (of
        an aligner); a larger score is better for each."""
        match self:
            case EarlyStoppingMetric.bleu:
                return result.bleu
            case EarlyStoppingMetric.loss:
                return -result.loss
            case EarlyStoppingMetric.aer:
                return -result.aer
            case _:
                legal = ", ".join(each.value for each in EarlyStoppingMetric)
                raise ValueError(f"trainer.early_stopping_metric={self}: legal are {legal}")


@dataclass
class TrainerOptions:
    """The settings trainer.*: the training length, and the intervals of the loop (in updates; 0: never).

    max_updates, max_epochs, max_minutes: the limits; the first that is reached ends the run; grad_accumulation: batches
    per update, for any number of ranks; keep_checkpoints: the number of checkpoints of save_every and save_minutes that
    are kept (0: all); patience: the number of validations without improvement that ends the run (0: no early stopping);
    max_skipped_updates: the number of successive updates that are not finite before the run fails; valid_sentences: the
    number of validation sentences to translate; calibrate: calibrate the confidence of translations on the validation
    set at the end of the run.
    """

    max_updates: int | None = None
    max_epochs: float | None = None
    max_minutes: float | None = None
    grad_accumulation: int = 1
    log_every: int = 50
    validate_every: int = 500
    save_every: int = 500
    save_minutes: float = 0.0
    keep_checkpoints: int = 1
    early_stopping_metric: EarlyStoppingMetric = EarlyStoppingMetric.bleu
    patience: int = 0
    max_skipped_updates: int = 20
    valid_beam: int = 5
    valid_sentences: int | None = None
    tensorboard: bool = True
    calibrate: bool = True

    def __post_init__(self):
        at_least(1, trainer__grad_accumulation=self.grad_accumulation, trainer__max_updates=self.max_updates)
        at_least(1, trainer__max_skipped_updates=self.max_skipped_updates, trainer__valid_beam=self.valid_beam)
        at_least(1, trainer__valid_sentences=self.valid_sentences)
        greater_than(0, trainer__max_epochs=self.max_epochs, trainer__max_minutes=self.max_minutes)
        at_least(
            0,
            trainer__log_every=self.log_every,
            trainer__validate_every=self.validate_every,
            trainer__save_every=self.save_every,
            trainer__save_minutes=self.save_minutes,
            trainer__keep_checkpoints=self.keep_checkpoints,
            trainer__patience=self.patience,
        )
