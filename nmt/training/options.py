"""The options of the training loop, and what "best" means."""

from dataclasses import dataclass
from enum import Enum

from nmt.bounds import at_least, greater_than
from nmt.validation.translation import ValidationResult


class EarlyStoppingMetric(Enum):
    """What is best, and what early stopping waits for; the words of ``trainer.early_stopping_metric``."""

    bleu = "bleu"
    loss = "loss"
    aer = "aer"

    def score(self, result: ValidationResult) -> float:
        """BLEU in per cent, the negative loss in nats a token, or the negative alignment error rate in per cent, which
        an aligner's validation has: larger is better for each."""
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
    """The settings trainer.*: how long a run lasts, and how often (in updates; 0: never) the loop does what.

    max_updates, max_epochs, max_minutes: the budget, which ends by the first that is spent; grad_accumulation: batches
    an update, whatever the number of ranks; keep_checkpoints: of those that save_every and save_minutes ask for (0:
    all); patience: validations without a better one before the run ends (0: never); max_skipped_updates: updates in a
    row with a number that is not finite before it fails; valid_sentences: of the validation set, translated; calibrate:
    fit the confidence of translations on the validation set when the run ends.
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
