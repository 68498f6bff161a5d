"""Measures how long the threads of this process wait for cores that other programs use."""

from pathlib import Path

import torch

# The share above which advice is given. At the end of each matrix product all threads wait for the slowest: on two
# cores with one other busy program, two threads trained at a third of the speed of one. On an idle machine the share
# is below 0.01.
NOTICED = 0.1


class CoreWait:
    """Measures the share of time that threads were ready to run but had no core (Linux; on other systems always 0)."""

    def __init__(self, tasks: Path = Path("/proc/self/task")):
        self.tasks = tasks
        self.before = self._times()

    def share(self) -> float:
        """The time spent waiting for a core, divided by the time running or waiting, since the last call."""
        now = self._times()
        ran, waited = (a - b for a, b in zip(now, self.before, strict=True))
        self.before = now
        return waited / (ran + waited) if ran + waited > 0 and waited >= 0 else 0.0

    def advice(self) -> str:
        """A message if threads wait for cores, so that fewer threads would be faster; else ""."""
        threads = torch.get_num_threads()
        if threads == 1 or (share := self.share()) <= NOTICED:
            return ""
        return (
            f"other programs keep cores busy: for {share:.0%} of their time the {threads} threads had to wait for one, "
            "and each waits for the slowest; if this goes on, threads=1 is faster here"
        )

    def _times(self) -> tuple[int, int]:
        """The nanoseconds that all threads together ran on a core, and waited for one."""
        ran = waited = 0
        for schedule in self.tasks.glob("*/schedstat"):
            try:
                fields = schedule.read_text(encoding="ascii").split()
                ran, waited = ran + int(fields[0]), waited + int(fields[1])
            except (OSError, ValueError, IndexError):  # a thread that has just ended, or a system without these numbers
                continue
        return ran, waited
