"""Signals: the first is noted and the work goes on, the second ends the process, and afterwards all is as before."""

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from nmt.runtime import signals
from nmt.runtime.signals import SIGNALS, StopRequest

ROOT = str(Path(signals.__file__).parents[2])
LOOP = """
import sys, time
sys.path.insert(0, sys.argv[1])
from nmt.runtime.signals import StopRequest
with StopRequest(grace_seconds=float(sys.argv[2])) as stop:
    print("ready", flush=True)
    while not stop.requested:
        time.sleep(0.005)
    print(stop.requested, flush=True)
    time.sleep(float(sys.argv[3]))  # saving
print("saved", flush=True)
"""


def started(settle: float, saving: float) -> subprocess.Popen:
    process = subprocess.Popen(
        [sys.executable, "-c", LOOP, ROOT, str(settle), str(saving)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.process
@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_lets_the_run_save_and_end_well(number):
    process = started(settle=0, saving=0.05)
    process.send_signal(number)
    out, _ = process.communicate(timeout=120)
    assert out == f"{number.name}\nsaved\n"
    assert process.returncode == 0


@pytest.mark.process
@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_the_second_signal_ends_the_process_at_once(second):
    process = started(settle=0, saving=30)
    assert process.stdout is not None
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == "SIGTERM\n"
    began = time.monotonic()
    process.send_signal(second)
    assert process.communicate(timeout=120)[0] == ""
    assert time.monotonic() - began < 20
    assert process.returncode == -second


@pytest.mark.process
def test_a_signal_that_comes_twice_together_is_one_request():
    process = started(settle=10, saving=0.3)
    assert process.stdout is not None
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "SIGINT\n"
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=120)[0] == "saved\n"
    assert process.returncode == 0


@pytest.mark.process
def test_a_signal_after_the_settling_time_ends_the_process():
    process = started(settle=0.05, saving=30)
    assert process.stdout is not None
    process.send_signal(signal.SIGINT)
    process.stdout.readline()
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGTERM


def test_the_handlers_from_before_are_back_afterwards():
    before = [signal.getsignal(number) for number in SIGNALS]
    with StopRequest() as stop:
        signal.raise_signal(signal.SIGUSR1)
        assert stop.requested == "SIGUSR1"
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_in_another_thread_nothing_is_installed():
    before = [signal.getsignal(number) for number in SIGNALS]
    seen = []

    def work():
        with StopRequest() as stop:
            seen.append((stop.requested, [signal.getsignal(number) for number in SIGNALS]))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [("", before)]
