"""The benchmark of single lines compares two versions line by line."""

import importlib
from pathlib import Path

import pytest


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "scripts"))
    return importlib.import_module("bench_latency")


class Version:
    """Takes so many milliseconds for each character."""

    def __init__(self, milliseconds, translate):
        self.milliseconds, self.text_of = milliseconds, translate

    def translate(self, line):
        return self.milliseconds * len(line), [self.text_of(line), 0.0]


def test_a_ratio_is_that_of_the_times_of_one_line_and_what_differs_is_counted(bench, capsys):
    versions = {
        "this version": Version(1.0, str.upper),
        "the other": Version(4.0, lambda line: "other" if len(line) == 9 else line.upper()),
    }
    bench.measure(versions, ["a" * 3, "b" * 9, "c" * 7], beam=5, repeats=2)
    assert capsys.readouterr().out.splitlines() == [
        "beam 5, this version: 7.00 ms a line, 7.00 of minima",
        "beam 5, the other: 28.00 ms a line, 28.00 of minima",
        "beam 5: ratio 0.25; 2 of 3 equal",
    ]


def test_a_version_alone_has_no_ratio(bench, capsys):
    bench.measure({"this version": Version(2.0, str.upper)}, ["ab"], beam=1, repeats=3)
    assert capsys.readouterr().out == "beam 1, this version: 4.00 ms a line, 4.00 of minima\n"
