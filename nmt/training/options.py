"""The options of the training loop, and what "best" means."""

from dataclasses import dataclass
from enum import Enum

from nmt.training.optim import Normalization
from nmt.training.validation import ValidationResult


class EarlyStoppingMetric(Enum):
    """What is best, and what early stopping waits for; the words of ``trainer.early_stopping_metric``."""

    bleu = "bleu"
    loss = "loss"

    def score(self, result: ValidationResult) -> float:
        """BLEU in per cent, or the negative loss in nats a token: larger is better for either."""
        match self:
            case EarlyStoppingMetric.bleu:
                return result.bleu
            case EarlyStoppingMetric.loss:
                return -result.loss
            case _:
                legal = ", ".join(each.value for each in EarlyStoppingMetric)
                raise ValueError(f"trainer.early_stopping_metric={self}: legal are {legal}")


@dataclass(frozen=True)
class TrainerOptions:
    """How often the loop does what (in updates; 0: never) and when it gives up.

    grad_accumulation: batches an update, whatever the number of ranks; guidance: weight of the links in the objective,
    which each epoch multiplies by guidance_decay; patience: validations without a better one before the
    run ends (0: never); max_skipped_updates: updates in a row with a number that is not finite before it fails.
    """

    grad_accumulation: int = 1
    max_grad_norm: float = 1.0
    normalization: Normalization = Normalization.tokens
    label_smoothing: float = 0.0
    guidance: float = 0.0
    guidance_decay: float = 1.0
    log_every: int = 50
    validate_every: int = 500
    save_every: int = 500
    save_minutes: float = 0.0
    keep_checkpoints: int = 1
    early_stopping_metric: EarlyStoppingMetric = EarlyStoppingMetric.bleu
    patience: int = 0
    max_skipped_updates: int = 20
    tensorboard: bool = True
