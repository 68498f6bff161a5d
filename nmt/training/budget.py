"""The training length of a run, and the share of it that is used."""

import math
from dataclasses import dataclass

FIRST_VALIDATION = 0.25  # the share of the minutes after which a first validation measures how long one takes
LONGEST_CALIBRATION = 0.1  # the largest share of the minutes that is reserved for calibrating


@dataclass
class Budget:
    """The limits of a run: the first that is reached ends the run; None is no limit.

    started: time.monotonic() at the start of the job. before: seconds that earlier processes of the run trained, up to
    the checkpoint, so that a resumed run has the minutes and the schedule of an uninterrupted one. calibration_cost:
    the estimated time of calibrating as a multiple of a validation's; 0: none. validation: seconds of the last, or 0.
    """

    max_updates: int | None
    max_epochs: float | None
    max_minutes: float | None
    started: float
    before: float = 0.0
    calibration_cost: float = 0.0
    validation: float = 0.0

    @property
    def calibration(self) -> float:
        """The estimated seconds of calibrating."""
        return self.calibration_cost * self.validation

    @property
    def reserve(self) -> float:
        """Seconds for a last validation, for saving, and for calibrating unless that exceeds LONGEST_CALIBRATION."""
        if self.max_minutes is None or not self.validation:
            return 0.0
        calibrates = self.calibration <= LONGEST_CALIBRATION * 60 * self.max_minutes
        return 1.1 * self.validation + 1.0 + calibrates * self.calibration

    def seconds(self, now: float) -> float:
        """The seconds that the run has trained until `now`, time.monotonic()."""
        return self.before + now - self.started

    def spent(self, update: int, epochs: float, now: float) -> float:
        """update: updates done; epochs: passes over the corpus done, with fraction; now: time.monotonic() -> 0 to 1."""
        updates = update / self.max_updates if self.max_updates else 0.0
        passes = epochs / self.max_epochs if self.max_epochs else 0.0
        seconds = math.inf if self.max_minutes is None else max(1e-3, 60 * self.max_minutes - self.reserve)
        return min(1.0, max(updates, passes, self.seconds(now) / seconds))

    def ended_by(self, update: int, epochs: float) -> str:
        """The setting whose limit is reached, or ""."""
        if self.max_updates is not None and update >= self.max_updates:
            return "trainer.max_updates"
        if self.max_epochs is not None and epochs >= self.max_epochs:
            return "trainer.max_epochs"
        return ""

    def can_calibrate(self, now: float) -> bool:
        """Whether calibrating, begun at `now`, is expected to end within `max_minutes`."""
        return self.max_minutes is None or self.seconds(now) + self.calibration < 60 * self.max_minutes

    def time_is_up(self, now: float) -> bool:
        """Whether `max_minutes`, less the reserve, have passed at `now`."""
        return self.max_minutes is not None and self.seconds(now) >= 60 * self.max_minutes - self.reserve

    def first_validation_due(self, now: float) -> bool:
        """Whether the first validation is due, which determines the reserve."""
        return self.max_minutes is not None and self.seconds(now) >= FIRST_VALIDATION * 60 * self.max_minutes
