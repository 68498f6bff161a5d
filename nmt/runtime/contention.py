"""Whether the threads of this process wait for cores that other programs keep busy."""

from pathlib import Path

import torch

# A thread that waits for the others at the end of each product makes them all wait with it: on two cores with one other
# busy program two threads trained at a third of the speed of one. Of a quiet machine the share is below a hundredth.
NOTICED = 0.1


class CoreWait:
    """Measures the share of their time that threads were ready to run and had no core (Linux; elsewhere always 0)."""

    def __init__(self, tasks: Path = Path("/proc/self/task")):
        self.tasks = tasks
        self.before = self._times()

    def share(self) -> float:
        """Since the last call: time without a core, over the time in which threads ran or wanted to."""
        now = self._times()
        ran, waited = (a - b for a, b in zip(now, self.before, strict=True))
        self.before = now
        return waited / (ran + waited) if ran + waited > 0 and waited >= 0 else 0.0

    def advice(self) -> str:
        """What to say where threads wait for cores and fewer of them would be faster; else ""."""
        threads = torch.get_num_threads()
        if threads == 1 or (share := self.share()) <= NOTICED:
            return ""
        return (
            f"other programs keep cores busy: for {share:.0%} of their time the {threads} threads had to wait for one, "
            "and each waits for the slowest; if this goes on, threads=1 is faster here"
        )

    def _times(self) -> tuple[int, int]:
        """Nanoseconds of all threads together: on a core, and waiting for one."""
        ran = waited = 0
        for schedule in self.tasks.glob("*/schedstat"):
            try:
                fields = schedule.read_text(encoding="ascii").split()
                ran, waited = ran + int(fields[0]), waited + int(fields[1])
            except (OSError, ValueError, IndexError):  # a thread that has just ended, or a system without these numbers
                continue
        return ran, waited
