"""Measures the time to translate a single line, by greedy and beam search, on one thread.

    python scripts/bench_latency.py --checkpoint RUN --src test.de
    python scripts/bench_latency.py --checkpoint RUN --src test.de --against CHECKOUT     against another version of nmt

Times are CPU times, medians over all lines and repeats. `of minima` is the median over lines of the shortest time of
each line, on which other programs of the machine have less influence. Each version runs in its own process, with the
model prepared before the first line, as in the server. The versions translate each line in turn. `ratio` is the median
over lines and repeats of this version's time divided by the other's; `equal` counts the lines whose translation and
score are identical to the last bit.
"""

import argparse
import inspect
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch

from nmt import build
from nmt.decoding.options import SearchOptions
from nmt.decoding.translator import Translator
from nmt.runtime.text_files import read_lines


def serve_lines(checkpoint: str, beam: int) -> None:
    """Translates each line of stdin, a JSON string, and prints a line [CPU milliseconds, translation, score]."""
    torch.set_num_threads(1)
    loaded = build.load(checkpoint, torch.device("cpu"))
    options = {"batch_size": 1, "attention": False}
    if "fold_memory" in inspect.signature(Translator).parameters:  # not in every version that is compared
        options["fold_memory"] = True
    translator = Translator(loaded.model, loaded.tokenizer, SearchOptions(beam=beam), **options)
    begun = 0.0

    def typed():
        nonlocal begun
        for line in sys.stdin:
            begun = time.process_time()
            yield json.loads(line)

    for best, *_ in translator.translate(typed(), window=1):
        print(json.dumps([1e3 * (time.process_time() - begun), best.text, best.score]), flush=True)


class Version:
    """A process that translates with the nmt of one checkout."""

    def __init__(self, checkout: Path, checkpoint: str, beam: int):
        command = [sys.executable, __file__, "--checkpoint", checkpoint, "--beam", str(beam), "--serve"]
        environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def translate(self, line: str) -> tuple[float, list]:
        """Translates a line -> CPU milliseconds, and the translation with its score."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(line) + "\n")
        self._process.stdin.flush()
        milliseconds, *found = json.loads(self._process.stdout.readline())
        return milliseconds, found

    def close(self) -> None:
        self._process.communicate()


def measure(versions: dict[str, Version], lines: list[str], beam: int, repeats: int) -> None:
    times = {name: [[0.0] * repeats for _ in lines] for name in versions}
    found: dict[str, list] = {name: [[]] * len(lines) for name in versions}
    for version in versions.values():
        version.translate(lines[0])  # warm-up
    for repeat in range(repeats):
        for number, line in enumerate(lines):
            for name in sorted(versions, reverse=bool((repeat + number) % 2)):
                times[name][number][repeat], found[name][number] = versions[name].translate(line)
    for name in versions:
        middle = statistics.median(one for of_line in times[name] for one in of_line)
        least = statistics.median(min(of_line) for of_line in times[name])
        print(f"beam {beam}, {name}: {middle:.2f} ms a line, {least:.2f} of minima")
    if len(versions) == 2:
        this, other = versions
        pairs = zip(times[this], times[other], strict=True)
        ratio = statistics.median(a / b for mine, its in pairs for a, b in zip(mine, its, strict=True))
        equal = sum(a == b for a, b in zip(found[this], found[other], strict=True))
        print(f"beam {beam}: ratio {ratio:.2f}; {equal} of {len(lines)} equal")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", required=True, help="a run folder")
    parser.add_argument("--src", type=Path, help="file of lines to translate")
    parser.add_argument("--lines", type=int, default=50, help="maximum number of lines of the file")
    parser.add_argument("--beam", nargs="+", type=int, default=[1, 5])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="a folder with another version of nmt")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve_lines(options.checkpoint, options.beam[0])
        return
    if not options.src:
        parser.error("give --src, a file of lines to translate")
    checkpoint = str(Path(options.checkpoint).resolve())
    lines = list(read_lines(options.src))[: options.lines]
    checkouts = {"this version": Path(build.__file__).parents[2]}
    if options.against:
        checkouts["the other"] = options.against.resolve()
    for beam in options.beam:
        versions = {name: Version(checkout, checkpoint, beam) for name, checkout in checkouts.items()}
        try:
            measure(versions, lines, beam, options.repeats)
        finally:
            for version in versions.values():
                version.close()


if __name__ == "__main__":
    main()
