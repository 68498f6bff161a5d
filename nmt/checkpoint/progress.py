"""The progress of a run: its state that is neither a tensor nor a setting."""

from dataclasses import asdict, dataclass, field, fields


@dataclass
class LogWindow:
    """Sums since the last line of the log."""

    nll: float = 0.0
    tokens: int = 0
    norm: float = 0.0
    updates: int = 0
    seconds: float = 0.0
    kl: float = 0.0
    cost: float = 0.0
    sentences: int = 0

    def add(self, nll: float, tokens: int, norm: float, kl: float = 0.0, cost: float = 0.0, sentences: int = 0) -> None:
        """Adds the values of an update. nll, kl: summed, in nats; cost: summed over sentences; norm: of the
        gradient."""
        self.nll, self.tokens, self.norm = self.nll + nll, self.tokens + tokens, self.norm + norm
        self.kl, self.cost, self.sentences = self.kl + kl, self.cost + cost, self.sentences + sentences
        self.updates += 1


@dataclass
class Progress:
    """The counters and the best validations of a run.

    update: updates done; epoch, batch: the position in the data (batch: batches of this epoch that are used); skipped:
    updates skipped because a number was not finite, skipped_in_row: the last consecutive ones; split: batches split
    because they did not fit into memory; best: the best score of a validation, best_loss, best_update: its loss and
    update; best_scheduled, best_scheduled_loss: the best of the validations due by `validate_every`, waited: the number
    of these since then; validated: the update of the last validation; finished: the setting that ended the run, or "";
    seconds: the time trained; validation_seconds: of the last validation, 0 if there was none.
    """

    update: int = 0
    epoch: int = 0
    batch: int = 0
    skipped: int = 0
    skipped_in_row: int = 0
    split: int = 0
    best: float | None = None
    best_loss: float = 0.0
    best_update: int = 0
    best_scheduled: float | None = None
    best_scheduled_loss: float = 0.0
    waited: int = 0
    validated: int = 0
    finished: str = ""
    seconds: float = 0.0
    validation_seconds: float = 0.0
    window: LogWindow = field(default_factory=LogWindow)

    def record_validation(self, score: float, loss: float, *, counts: bool) -> bool:
        """Records the validation of this update -> whether it is the best. score: larger is better; loss: in nats per
        token. counts: whether it counts for early stopping, which has a separate best score."""
        self.validated = self.update
        # BLEU can stay at 0 while the loss falls: of equal scores the smaller loss is better.
        rank = score, -loss
        better = self.best is None or rank > (self.best, -self.best_loss)
        if better:
            self.best, self.best_loss, self.best_update = score, loss, self.update
        if counts:
            if self.best_scheduled is None or rank > (self.best_scheduled, -self.best_scheduled_loss):
                self.best_scheduled, self.best_scheduled_loss, self.waited = score, loss, 0
            else:
                self.waited += 1
        return better

    def state_dict(self) -> dict:
        """The state as plain data, for a checkpoint."""
        return asdict(self)

    @classmethod
    def from_state_dict(cls, state: dict) -> "Progress":
        """The inverse of `state_dict`; other keys are ignored. Raises ValueError for invalid values."""
        window = state.get("window")
        if not isinstance(window, dict):
            raise ValueError("state.json: damaged: no `window`")
        window = {"kl": 0.0, "cost": 0.0, "sentences": 0, **window}  # missing in older checkpoints
        state = {"validation_seconds": 0.0, **state}
        return cls(**_checked(cls, state, without="window"), window=LogWindow(**_checked(LogWindow, window)))


def _checked(schema: type, found: dict, without: str = "") -> dict:
    values = {}
    for name, kind in ((each.name, each.type) for each in fields(schema) if each.name != without):
        value = found.get(name)
        if kind is str:
            good = isinstance(value, str) and len(value) < 100 and value.isprintable()
        elif kind is int:
            good = type(value) is int and 0 <= value < 2**53
        else:
            number = type(value) in (int, float) and abs(value) < 1e300  # pyright: ignore[reportArgumentType]
            good = number or (value is None and kind is not float)
        if name not in found or not good:
            raise ValueError(f"state.json: damaged: `{name}` is {str(value)[:40]!r}")
        values[name] = value
    return values
