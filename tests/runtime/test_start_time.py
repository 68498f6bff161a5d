"""The start of the process, from which trainer.max_minutes count."""

import time

from nmt.runtime import start_time


def test_the_first_job_of_a_process_counts_from_its_start_and_later_ones_from_their_own(monkeypatch):
    monkeypatch.setattr(start_time, "_process_started", 5.0)
    assert start_time.job_started() == 5.0
    before = time.monotonic()
    assert before <= start_time.job_started() <= time.monotonic()
