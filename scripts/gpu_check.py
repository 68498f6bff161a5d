"""All checks that need a CUDA GPU, in one run of a few minutes: tests, kernels, speed, training, resume, search.

    python scripts/gpu_check.py OUT --corpus multi30k --minutes 7          a folder with train, val, test_2016_flickr
    python scripts/gpu_check.py OUT --corpus multi30k --device cpu --tiny  only tests that the script works

Parts, the most important first. Each is a process with a time limit, and prints a short table when it ends:
  tests      pytest -m gpu, with all failures
  kernels    compares every kernel with torch's operations, at every block size
  training   a recipe in bf16 (with and without CUDA graphs), fp16 and fp32: losses, and perplexity against --perplexity
  resume     two equal runs, and one that is killed and resumed: the largest differences of their weights
  quality    the whole recipe in bf16: its validation scores and training time, while other parts run
  speed      scripts/bench_gpu.py
  search     sentences per second of a trained model, and the number of translations that differ from the CPU's
  profile    the time of one update by kernel
The first five do not need an idle machine and run at the same time. Writes check.txt, with the output of all parts, the
numbers of the speed part and the table of the profile to OUT.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

SCRIPTS = Path(__file__).resolve().parent
ROOT = SCRIPTS.parent
TOGETHER = ("tests", "kernels", "training", "resume", "quality")
ALONE = ("speed", "search", "profile")
SPEEDS = ("rnnsearch", "luong", "recipes", "after", "kernels")
LENGTHS = (16, 32, 64, 128, 256, 512)  # one for each block of source positions that the kernels are compiled for


class Recipe(NamedTuple):
    """A run of the part `training`: its name and its arguments of nmt.train."""

    name: str
    words: tuple[str, ...]


RECIPES = (
    Recipe("bf16", ("precision=bf16",)),
    Recipe("bf16-no-graphs", ("precision=bf16", "cuda_graphs=off")),
    Recipe("fp16", ("precision=fp16",)),
    Recipe("fp32", ("precision=fp32",)),
)


class Check:
    """The options, the output folders and the time limit."""

    def __init__(self, options: argparse.Namespace):
        self.options = options
        self.out: Path = options.out
        self.end = time.monotonic() + 60 * options.minutes
        self.work = Path(options.work or tempfile.mkdtemp(prefix="gpu-check-"))  # for runs and logs; removed at the end

    def say(self, line: str) -> None:
        print(line, flush=True)
        with (self.out / "check.txt").open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def tell(self, lines: list[str]) -> None:
        """Writes all lines to check.txt, and prints the last ones, with the table."""
        with (self.out / "check.txt").open("a", encoding="utf-8") as file:
            file.writelines(f"  {line}\n" for line in lines)
        for line in lines[-self.options.lines :]:
            print("  " + line[:200], flush=True)

    @property
    def left(self) -> float:
        """Seconds that remain."""
        return self.end - time.monotonic()

    def train_words(self, run: str, *more: str) -> list[str]:
        """The command that trains the recipe in the folder `run` of `work`. more: further arguments."""
        prefix = Path(self.options.corpus).resolve()
        words = [sys.executable, "-m", "nmt.train", "+experiment=multi30k", "data=files", "data.src=de", "data.tgt=en"]
        words += [f"data.train={prefix}/train", f"data.valid={prefix}/val", f"data.cache={self.options.cache}"]
        words += [f"device={self.options.device}", "trainer.max_minutes=null", "trainer.tensorboard=false"]
        if self.options.tiny:
            words += ["tokenizer.vocab_size=400", "model.encoder.hidden=8", "model.decoder.hidden=16", "batch.size=200"]
            words += ["trainer.valid_sentences=4"]
        return [*words, f"run={self.work / run}", *more]


def unmet_requirements() -> list[str]:
    """The packages of pyproject.toml that are missing or too old, and those that this script needs."""
    try:
        from packaging.requirements import Requirement
    except ImportError:
        return ["packaging (installed: none)"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    unmet = []
    for requirement in map(Requirement, [*project["dependencies"], "pytest"]):
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            version = "none"
        if version == "none" or not requirement.specifier.contains(version, prereleases=True):
            unmet.append(f"{requirement} (installed: {version})")
    return unmet


def run_parts(check: Check, names: tuple[str, ...]) -> None:
    """Runs the parts as processes at the same time; reports the output of each when it ends, or at the time limit."""
    options = check.options
    running: dict[str, subprocess.Popen[str]] = {}
    for name in names:
        command = [sys.executable, __file__, str(check.out), "--part", name, "--corpus", options.corpus]
        command += ["--cache", options.cache, "--device", options.device, "--updates", str(options.updates)]
        command += ["--perplexity", str(options.perplexity), "--minutes", str(max(0.2, check.left / 60))]
        command += ["--speeds", *options.speeds, *(["--tiny"] if options.tiny else [])]
        command += ["--work", str(check.work)]
        log = (check.work / f"{name}.txt").open("w", encoding="utf-8")
        running[name] = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, text=True, cwd=ROOT, start_new_session=True
        )
    begun = time.monotonic()
    while running:
        for name, process in list(running.items()):
            late = check.left < 5
            if late:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)  # and its child processes
            if process.poll() is not None or late:
                del running[name]
                ending = "CUT OFF" if late else "ok" if process.returncode == 0 else f"FAILED ({process.returncode})"
                check.say(f"== {name}: {ending}, {time.monotonic() - begun:.0f} s")
                check.tell((check.work / f"{name}.txt").read_text(encoding="utf-8", errors="replace").splitlines())
        time.sleep(0.2)


# The parts


def tests(check: Check) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "tests", "--no-header", "-rs", "--tb=short"]
    command += ["-p", "no:cacheprovider", "--durations=5"]
    with contextlib.suppress(ImportError):
        import xdist  # noqa: F401  # pyright: ignore[reportMissingImports]

        command += ["-n", "6"]
    if check.options.tiny:
        command += ["-k", "test_cuda_graphs_give"]
    done = subprocess.run(command, cwd=ROOT, timeout=max(1, check.left), check=False)
    sys.exit(0 if done.returncode in (0, 5) else done.returncode)


def kernels(check: Check) -> None:
    import torch

    from nmt.acceleration.fused.selfcheck import check_kernel
    from nmt.acceleration.kernels import Kernel

    device = torch.device(check.options.device)
    faults = 0
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        for kernel in Kernel:
            for length in LENGTHS if kernel is Kernel.triton else LENGTHS[:1]:
                why = check_kernel(kernel, device, dtype, (length,))
                faults += bool(why)
                size = f" with {length} source positions" if kernel is Kernel.triton else ""
                print(f"{kernel.value} in {str(dtype).removeprefix('torch.')}{size}: {why or 'agrees with torch'}")
    sys.exit(bool(faults and check.options.device != "cpu"))


def training(check: Check) -> None:
    """Trains all recipes at the same time, so their speeds are those of a shared GPU."""
    updates = 6 if check.options.tiny else check.options.updates
    every = f"trainer.validate_every={updates // 2}"
    running = {}
    for recipe in RECIPES:
        if check.options.device == "cpu" and recipe.name == "fp16":
            continue
        words = check.train_words(f"training-{recipe.name}", f"trainer.max_updates={updates}", every, *recipe.words)
        with (check.work / f"{recipe.name}.log").open("w") as log:
            running[recipe.name] = subprocess.Popen(words, stdout=log, stderr=subprocess.STDOUT, cwd=ROOT)
    print(f"{'':<16}{'updates':>8}{'skipped':>8}{'loss':>8}{'perplexity':>11}{'to ref.':>9}{'BLEU':>7}{'tok/s':>8}")
    for name, process in running.items():
        code = process.wait(max(1, check.left))
        if code:
            log = (check.work / f"{name}.log").read_text(errors="replace").splitlines()
            print(f"{name}: exit {code}: " + " | ".join(log[-5:]))
            continue
        lines = list(map(json.loads, (check.work / f"training-{name}" / "metrics.jsonl").read_text().splitlines()))
        train = [line for line in lines if line["kind"] == "train"]
        valid = [line for line in lines if line["kind"] == "valid"]
        speed = sorted(line["tokens_per_second"] for line in train)[len(train) // 2] if train else 0
        ratio = valid[-1]["perplexity"] / check.options.perplexity - 1 if check.options.perplexity else float("nan")
        print(
            f"{name:<16}{valid[-1]['update']:>8}{train[-1]['skipped'] if train else '-':>8}"
            f"{train[-1]['loss'] if train else float('nan'):>8.3f}{valid[-1]['perplexity']:>11.3f}{ratio:>9.1%}"
            f"{valid[-1]['bleu']:>7.2f}{speed:>8.0f}"
        )
        log = (check.work / f"{name}.log").read_text(errors="replace").splitlines()
        print("   " + next((line for line in log if "precision" in line), "")[:200])
        for line in log:
            if ("graphs" in line and "precision" not in line) or "not finite" in line:
                print("   " + line[:200])


def quality(check: Check) -> None:
    updates, every = (6, 3) if check.options.tiny else (6000, 1000)
    words = check.train_words("quality", f"trainer.max_updates={updates}", f"trainer.validate_every={every}")
    with (check.work / "quality.log").open("w") as log:
        code = subprocess.run(words, stdout=log, stderr=subprocess.STDOUT, cwd=ROOT, check=False).returncode
    lines = (check.work / "quality.log").read_text(errors="replace").splitlines()
    print("\n".join(line for line in lines if "validation" in line or "precision" in line or code))
    seconds = json.loads((check.work / "quality" / "checkpoints" / "last" / "state.json").read_text())["seconds"]
    print(f"{updates} updates in {seconds:.0f} s, validations included")


def resume(check: Check) -> None:
    """Compares weights after the same updates: of a run, of an equal run, and of a run that is resumed after a kill.

    All runs are repeated with and without CUDA graphs.
    """
    updates, every = (6, 2) if check.options.tiny else (60, 20)
    common = [f"trainer.max_updates={updates}", f"trainer.save_every={every}", "trainer.keep_checkpoints=9"]
    common += ["trainer.validate_every=0", f"trainer.log_every={every}", "precision=bf16", "trainer.valid_sentences=4"]
    quiet = {"cwd": ROOT, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}

    def start(run: str, words: list[str]) -> subprocess.Popen:
        return subprocess.Popen(check.train_words(f"resume-{run}", *words), **quiet)

    for graphs in ("off", "on"):
        words = [*common, f"cuda_graphs={graphs}"]
        running = [start(f"{name}-{graphs}", words) for name in ("whole", "equal")]
        killed = check.work / f"resume-killed-{graphs}"
        victim = start(f"killed-{graphs}", words)
        while not (killed / "checkpoints" / f"step-{every}").exists() and victim.poll() is None:
            time.sleep(0.02)
        victim.kill()
        victim.wait()
        code = subprocess.run([sys.executable, "-m", "nmt.train", f"resume={killed}"], check=False, **quiet).returncode
        codes = [process.wait() for process in running]
        whole = check.work / f"resume-whole-{graphs}"
        equal, resumed = (_difference(whole, check.work / f"resume-{name}-{graphs}") for name in ("equal", "killed"))
        print(
            f"CUDA graphs {graphs}: exit codes {codes}, resumed {code}; largest difference of a weight after {updates}"
        )
        print(
            f"updates in bf16: to an equal run {equal:.3g}, to a run killed after update {every} {resumed:.3g}",
            flush=True,
        )


def _difference(one: Path, other: Path) -> float:
    from safetensors.torch import load_file

    a, b = (load_file(run / "checkpoints" / "last" / "model.safetensors") for run in (one, other))
    return max(float((a[name].float() - b[name].float()).abs().max()) for name in a)


def speed(check: Check) -> None:
    command = [sys.executable, str(SCRIPTS / "bench_gpu.py"), str(check.out), "--device", check.options.device]
    prefix = Path(check.options.corpus).resolve()
    command += ["--corpus", "data=files", "data.src=de", "data.tgt=en", f"data.train={prefix}/train"]
    command += [f"data.valid={prefix}/val", f"data.cache={check.options.cache}"]
    command += ["--parts", *check.options.speeds, "--seconds", str(check.left - 60)]
    command += ["--tiny"] if check.options.tiny else []
    sys.exit(subprocess.run(command, cwd=ROOT, timeout=max(1, check.left), check=False).returncode)


def search(check: Check) -> None:
    import torch

    from nmt import build
    from nmt.acceleration.selection import prepare_device
    from nmt.analysis.metrics import corpus_score
    from nmt.decoding.search import SearchOptions
    from nmt.decoding.translator import Translator
    from nmt.runtime.device import DeviceName, Precision
    from nmt.runtime.text_files import read_lines

    prefix = Path(check.options.corpus)
    lines, references = (list(read_lines(prefix / f"test_2016_flickr.{side}")) for side in ("de", "en"))
    lines, references = (each[: 8 if check.options.tiny else None] for each in (lines, references))
    run = next(str(each) for name in ("quality", "training-bf16") if (each := check.work / name).exists())
    expected: list[str] = []
    torch.set_num_threads(1 if check.options.tiny else 8)
    print(f"{'':<8}{'':<6}{'batch':>6}{'sentences/s':>13}{'BLEU':>8}{'differ from the CPU in fp32':>29}")
    for where in ("cpu", check.options.device):
        for precision in (Precision.fp32, Precision.bf16)[: 1 if where == "cpu" and not check.options.tiny else 2]:
            device = prepare_device(DeviceName(where), precision)
            loaded = build.load(run, device.device)
            for batch in (64,) if where == "cpu" else (64, 512):
                translator = Translator(
                    loaded.model, loaded.tokenizer, SearchOptions(beam=5), batch_size=batch, attention=False
                )
                found: list[str] = []
                seconds = float("inf")
                for _ in range(1 if where == "cpu" else 2):
                    begun = time.perf_counter()
                    with device.autocast():
                        found = [best[0].text for best in translator.translate(lines, window=4096)]
                    seconds = min(seconds, time.perf_counter() - begun)
                expected = expected or found
                differ = sum(a != b for a, b in zip(found, expected, strict=True))
                print(
                    f"{where:<8}{precision.value:<6}{batch:>6}{len(lines) / seconds:>13.0f}"
                    f"{corpus_score('bleu', found, references).score:>8.2f}{differ:>20} of {len(lines)}",
                    flush=True,
                )


def profile(check: Check) -> None:
    command = [sys.executable, str(SCRIPTS / "bench_gpu.py"), str(check.work / "profile"), "--parts", "profile"]
    command += ["--device", check.options.device, *(["--tiny"] if check.options.tiny else [])]
    code = subprocess.run(command, cwd=ROOT, timeout=max(1, check.left), check=False).returncode
    shutil.copy(check.work / "profile" / "profile.txt", check.out / "profile.txt")
    sys.exit(code)


PARTS = {
    function.__name__: function for function in (tests, kernels, training, resume, quality, speed, search, profile)
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, metavar="OUT", help="a folder")
    parser.add_argument("--corpus", required=True, help="folder of multi30k, raw: train, val, test_2016_flickr")
    parser.add_argument("--cache", help="data.cache of the runs; by default a temporary folder")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda")
    parser.add_argument("--tiny", action="store_true", help="very small models and batches, to test the script")
    parser.add_argument("--minutes", type=float, default=7, help="time limit for all parts together")
    parser.add_argument("--updates", type=int, default=1000, help="updates of each run of the part training")
    parser.add_argument("--perplexity", type=float, default=0, help="reference: on a CPU in float32, equal --updates")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--lines", type=int, default=40, help="printed lines of each part; check.txt has all")
    parser.add_argument("--speeds", nargs="+", default=SPEEDS, help="parts of bench_gpu.py")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if unmet := unmet_requirements():
        sys.exit(f"error: packages are missing or too old: install {', '.join(unmet)}")
    options.out = options.out.resolve()
    options.out.mkdir(parents=True, exist_ok=True)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    sys.path[:0] = [str(ROOT), str(SCRIPTS)]
    check = Check(options)
    options.cache = str(Path(options.cache or check.work / "cache").resolve())
    if options.part:
        PARTS[options.part](check)
        return
    begun = time.monotonic()
    try:
        run_parts(check, tuple(name for name in TOGETHER if name in options.parts))
        for name in ALONE:
            if name in options.parts:
                run_parts(check, (name,))
        check.say(f"== all: {time.monotonic() - begun:.0f} s")
    finally:
        shutil.rmtree(check.work, ignore_errors=True)


if __name__ == "__main__":
    main()
