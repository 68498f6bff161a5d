"""The training length of a run, and the share of it that is used."""

import math
import time
from dataclasses import dataclass

_process_started: float | None = time.monotonic()  # if this module is imported before slow ones

FIRST_VALIDATION = 0.25  # the share of the minutes after which a first validation measures how long one takes
LONGEST_CALIBRATION = 0.1  # the largest share of the minutes that is reserved for calibrating


def job_started() -> float:
    """time.monotonic() at the start of the current job: the start of the process, or of a later job of a sweep."""
    global _process_started
    started, _process_started = _process_started, None
    return time.monotonic() if started is None else started


@dataclass
class Budget:
    """The limits of a run: the first that is reached ends the run; None is no limit.

    started: time.monotonic() at the start of the job. before: seconds that earlier processes of the run trained, up to
    the checkpoint, so that a resumed run has the minutes and the schedule of an uninterrupted one. calibration_cost:
    the estimated time of calibrating, as a multiple of that of a validation; 0: the run does not calibrate. reserve:
    seconds for the last validation, saving and calibrating, so that the process ends within `max_minutes`.
    """

    max_updates: int | None
    max_epochs: float | None
    max_minutes: float | None
    started: float
    before: float = 0.0
    calibration_cost: float = 0.0
    reserve: float = 0.0
    calibration: float = 0.0

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

    def keep_back(self, seconds: float) -> float:
        """Reserves the time of a validation that takes `seconds`, of saving, and of calibrating unless that is more
        than LONGEST_CALIBRATION of `max_minutes` -> the reserve."""
        self.calibration = self.calibration_cost * seconds
        reserved = self.max_minutes is not None and self.calibration <= LONGEST_CALIBRATION * 60 * self.max_minutes
        self.reserve = 1.1 * seconds + 1.0 + reserved * self.calibration
        return self.reserve

    def can_calibrate(self, now: float) -> bool:
        """Whether calibrating, begun at `now`, is expected to end within `max_minutes`."""
        return self.max_minutes is None or self.seconds(now) + self.calibration < 60 * self.max_minutes

    def time_is_up(self, now: float) -> bool:
        """Whether `max_minutes`, less the reserve, have passed at `now`."""
        return self.max_minutes is not None and self.seconds(now) >= 60 * self.max_minutes - self.reserve

    def first_validation_due(self, now: float) -> bool:
        """Whether the first validation is due, which determines the reserve."""
        return self.max_minutes is not None and self.seconds(now) >= FIRST_VALIDATION * 60 * self.max_minutes
