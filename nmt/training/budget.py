"""How long a run may last, and how much of that is spent."""

import time
from dataclasses import dataclass

_process_started: float | None = time.monotonic()  # if this is imported before what is slow to import

# Of the minutes, the share after which a run that has not validated yet does so, to know how long it takes.
FIRST_VALIDATION = 0.25


def job_started() -> float:
    """time.monotonic() at the start of the job that begins now: of the process, but for the later jobs of a sweep."""
    global _process_started
    started, _process_started = _process_started, None
    return time.monotonic() if started is None else started


@dataclass
class Budget:
    """Each of the three may end a run; None does not. `started` is time.monotonic() at the start of the job.

    before: seconds that earlier processes of the same run were at it, up to the checkpoint: with them a run that was
    stopped has the minutes, and the schedule, of one that never was. reserve: seconds kept back for the last validation
    and the saving, so that the whole process ends within `max_minutes`.
    """

    max_updates: int | None
    max_epochs: float | None
    max_minutes: float | None
    started: float
    before: float = 0.0
    reserve: float = 0.0

    def seconds(self, now: float) -> float:
        """How long the run has been at it at `now`, time.monotonic()."""
        return self.before + now - self.started

    def spent(self, update: int, epochs: float, now: float) -> float:
        """update: updates done; epochs: passes over the corpus done, with fraction; now: time.monotonic() -> 0 to 1."""
        shares = [0.0]
        if self.max_updates:
            shares.append(update / self.max_updates)
        if self.max_epochs:
            shares.append(epochs / self.max_epochs)
        if self.max_minutes is not None:
            shares.append(self.seconds(now) / max(1e-3, 60 * self.max_minutes - self.reserve))
        return min(1.0, max(shares))

    def ended_by(self, update: int, epochs: float) -> str:
        """The setting, of those that count, that ends the run now, or ""."""
        if self.max_updates is not None and update >= self.max_updates:
            return "trainer.max_updates"
        if self.max_epochs is not None and epochs >= self.max_epochs:
            return "trainer.max_epochs"
        return ""

    def keep_back(self, seconds: float) -> float:
        """Keeps back the time of a validation that takes `seconds`, and one for saving and leaving -> the reserve."""
        self.reserve = 1.1 * seconds + 1.0
        return self.reserve

    def time_is_up(self, now: float) -> bool:
        """Whether `max_minutes`, less the reserve, have passed at `now`."""
        return self.max_minutes is not None and self.seconds(now) >= 60 * self.max_minutes - self.reserve

    def first_validation_due(self, now: float) -> bool:
        """Whether it is time for a validation, if there has been none, so that the reserve is known."""
        return self.max_minutes is not None and self.seconds(now) >= FIRST_VALIDATION * 60 * self.max_minutes
