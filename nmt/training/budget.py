"""How long a run may last, and how much of that is spent."""

from dataclasses import dataclass


@dataclass
class Budget:
    """Each of the three may end a run; None does not. `started` is time.monotonic() at the start of the process.

    reserve: seconds kept back for the last validation, so that the whole process ends within `max_minutes`; it is set
    to what the last validation took.
    """

    max_updates: int | None
    max_epochs: float | None
    max_minutes: float | None
    started: float
    reserve: float = 0.0

    def spent(self, update: int, epochs: float, now: float) -> float:
        """update: updates done; epochs: passes over the corpus done, with fraction; now: time.monotonic() -> 0 to 1."""
        shares = [0.0]
        if self.max_updates is not None:
            shares.append(update / self.max_updates)
        if self.max_epochs is not None:
            shares.append(epochs / self.max_epochs)
        if self.max_minutes is not None:
            shares.append((now - self.started) / max(1e-3, 60 * self.max_minutes - self.reserve))
        return min(1.0, max(shares))

    def ended_by(self, update: int, epochs: float) -> str:
        """The setting, of those that count, that ends the run now, or ""."""
        if self.max_updates is not None and update >= self.max_updates:
            return "trainer.max_updates"
        if self.max_epochs is not None and epochs >= self.max_epochs:
            return "trainer.max_epochs"
        return ""

    def time_is_up(self, now: float) -> bool:
        """Whether `max_minutes`, less what the last validation needs, have passed at `now`."""
        return self.max_minutes is not None and now - self.started >= 60 * self.max_minutes - self.reserve
