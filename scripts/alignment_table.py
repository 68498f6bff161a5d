"""Alignment error rates of trained aligners and of eflomal: for each direction and for both, over several seeds.

    python scripts/alignment_table.py PREPARED OUT [--seeds 1 2 3] [--pairs 50000] [--epochs 3] [-- KEY=VALUE ...]

PREPARED is the output of scripts/prepare_hansards.py: {train,valid,dev,test}.{en,fr} and {dev,test}.links. For each
seed, an aligner is trained on the first --pairs pairs of `train`, in OUT/seed-N. A stopped training is resumed, and its
time is that of the rest; a finished one is used as it is. The aligner aligns these pairs and `test`. If the eflomal
command is found, eflomal aligns the same pairs and `test` together; its links of both directions are the intersection.
Prints the error rates in percent, the CPU seconds of training and of aligning all pairs in both directions, with one
thread (eflomal does both in one step), and the memory of aligning in MB. Arguments after -- are passed to nmt.train.
"""

import argparse
import itertools
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from training_jobs import check_finished, is_finished

from nmt.runtime.text_files import read_lines

ENGLISH, FRENCH = "en", "fr"
DIRECTIONS = ("forward", "backward", "both")


class Ended(NamedTuple):
    """The standard output of a command, its CPU seconds, and the peak memory of one of its processes in MB."""

    printed: str
    seconds: float
    memory: float


def run(*words: str) -> Ended:
    """Runs a command. Exits if the command fails."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(words, stdout=out, stderr=errors, env=environment)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        for file in (out, errors):
            file.seek(0)
        printed, said = out.read().decode(), errors.read().decode()
    if process.returncode:
        sys.exit(f"error: {' '.join(words)}\n{said}")
    return Ended(printed, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def nmt(command: str, *words: str) -> Ended:
    return run(sys.executable, "-m", f"nmt.{command}", *words, "threads=1")


def error_rate(printed: str) -> float:
    found = re.search(r"alignment error rate ([\d.]+) %", printed)
    assert found, printed
    return float(found[1])


def cut(prepared: Path, out: Path, pairs: int, repeat: int) -> Path:
    """Writes the first pairs of `train`, and these repeated `repeat` times, followed by `test` -> the prefix of the
    first file."""
    for language in (ENGLISH, FRENCH):
        with (prepared / f"train.{language}").open(encoding="utf-8") as lines:
            text = "".join(itertools.islice(lines, pairs))
        (out / f"train.{language}").write_text(text, encoding="utf-8")
        test = (prepared / f"test.{language}").read_text(encoding="utf-8")
        (out / f"all.{language}").write_text(text * repeat + test, encoding="utf-8")
    return out / "train"


class Row(NamedTuple):
    """rates: alignment error rates in percent, by DIRECTIONS. learning, aligning: CPU seconds of training, and of
    aligning all pairs. The memory is that of aligning, in MB."""

    rates: list[float]
    learning: float
    aligning: float
    memory: float


def aligner(prepared: Path, out: Path, seed: int, settings: list[str]) -> Row:
    folder, learning = out / f"seed-{seed}", 0.0
    if not is_finished(folder):
        data = ["data=files", f"data.src={ENGLISH}", f"data.tgt={FRENCH}", f"data.valid={prepared / 'dev'}"]
        data += [f"data.train={out / 'train'}", f"data.cache={out / 'cache'}", f"run={folder}", f"seed={seed}"]
        data += ["resume=auto"]
        learning = nmt("train", "+experiment=aligner", *data, *settings).seconds
        check_finished(folder)
    checkpoint = f"checkpoint={folder}"
    aligned = nmt("align", checkpoint, *both_sides(out / "all"), f"out={out / f'seed-{seed}.links'}")
    words = [checkpoint, *both_sides(prepared / "test"), f"gold={prepared / 'test.links'}"]
    rates = [error_rate(nmt("align", *words, f"direction={direction}").printed) for direction in DIRECTIONS]
    return Row(rates, learning, aligned.seconds, aligned.memory)


def both_sides(prefix: Path) -> list[str]:
    return [f"src={prefix}.{ENGLISH}", f"tgt={prefix}.{FRENCH}"]


def eflomal(command: str, prepared: Path, out: Path) -> Row:
    """The row of eflomal; its time for learning is included in that for aligning."""
    files = [out / "eflomal.forward", out / "eflomal.backward"]
    texts = "-s", str(out / f"all.{ENGLISH}"), "-t", str(out / f"all.{FRENCH}")
    aligned = run(command, *texts, "-f", str(files[0]), "-r", str(files[1]), "--overwrite")
    size = len(list(read_lines(prepared / f"test.{ENGLISH}")))
    found = [list(read_lines(file))[-size:] for file in files]
    both = [" ".join(sorted(set(one.split()) & set(other.split()))) for one, other in zip(*found, strict=True)]
    rates = []
    for direction, lines in zip(DIRECTIONS, (*found, both), strict=True):
        place = out / f"eflomal.test.{direction}"
        place.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        scored = run(sys.executable, "-m", "nmt.align", f"links={place}", f"gold={prepared}/test.links")
        rates.append(error_rate(scored.printed))
    return Row(rates, 0, aligned.seconds, aligned.memory)


def show(name: str, row: Row) -> None:
    rates = "".join(f"{rate:>10.1f}" for rate in row.rates)
    print(f"{name:<10}{rates}{row.learning:>10.0f}{row.aligning:>10.0f}{row.memory:>10.0f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        usage="%(prog)s PREPARED OUT [options] [-- KEY=VALUE ...]",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("prepared", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--pairs", type=int, default=50_000)
    parser.add_argument("--epochs", type=float, default=3)
    parser.add_argument("--repeat", type=int, default=1, help="number of times that the aligned pairs are repeated")
    parser.add_argument("--eflomal", default="eflomal-align")
    end = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    options, overrides = parser.parse_args(sys.argv[1:end]), sys.argv[end + 1 :]
    options.out.mkdir(parents=True, exist_ok=True)
    cut(options.prepared, options.out, options.pairs, options.repeat)
    print(f"{'':<10}" + "".join(f"{column:>10}" for column in (*DIRECTIONS, "learning", "aligning", "MB")))
    if shutil.which(options.eflomal):
        show("eflomal", eflomal(options.eflomal, options.prepared, options.out))
    found = []
    for seed in options.seeds:
        settings = [f"trainer.max_epochs={options.epochs}", *overrides]
        found.append(aligner(options.prepared, options.out, seed, settings))
        show(f"seed {seed}", found[-1])
    rates = [statistics.fmean(rates) for rates in zip(*(row.rates for row in found), strict=True)]
    learning, aligning, memory = (statistics.fmean(each) for each in zip(*(row[1:] for row in found), strict=True))
    show("mean", Row(rates, learning, aligning, memory))


if __name__ == "__main__":
    main()
