"""Creates more training text with trained models: each translates one side of a corpus and keeps the other side.

    python scripts/augment.py OUT TRAIN --runs runs/de-en-1 runs/de-en-2 runs/en-de -- decode.beam=5 threads=1

TRAIN.de and TRAIN.en are the corpus; OUT/RUN.de and OUT/RUN.en are written for each run RUN. A run from de to en
translates TRAIN.de, a run from en to de TRAIN.en. With runs of the direction that is to be trained this is
sequence-level distillation (Kim and Rush, 2016); with runs of both directions, together with the original corpus, it
is data diversification (Nguyen et al., 2020). Arguments after -- are passed to nmt.translate. If the command is
interrupted, the same command continues it. The last line of the output is the data.train= setting for all corpora.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from nmt import build
from nmt.checkpoint.run_folder import RunFolder
from nmt.config.saved import from_dict, read_saved
from nmt.config.schema import TrainConfig
from nmt.runtime.text_files import read_lines


def languages(run: Path) -> build.Languages:
    """The source and target language of a run. Raises SystemExit if the folder is no run."""
    config = RunFolder(run).config
    if not config.is_file():
        raise SystemExit(f"{run} is no run folder (no config.yaml)")
    try:
        return build.languages(from_dict(TrainConfig, read_saved(config)).data)
    except ValueError as error:
        raise SystemExit(str(error)) from None


def translate(run: Path, train: str, out: Path, overrides: list[str]) -> Path:
    """Writes OUT/RUN.src and OUT/RUN.tgt, or completes them -> OUT/RUN. Raises SystemExit if that fails."""
    src, tgt = languages(run)
    prefix, source = out / run.name, Path(f"{train}.{src}")
    if not source.is_file():
        raise SystemExit(f"{source}: no such file, and {run} translates from {src} to {tgt}")
    beside, hypotheses = Path(f"{prefix}.{src}"), Path(f"{prefix}.{tgt}")
    words = [f"checkpoint={run}", f"in={source}", f"out={hypotheses}", "append=true", *overrides]
    code = subprocess.run([sys.executable, "-m", "nmt.translate", *words], check=False).returncode
    if code:
        raise SystemExit(f"{run}: nmt.translate ended with {code}; give the same command again to go on")
    shutil.copyfile(source, beside)
    counts = [sum(1 for _ in read_lines(path)) for path in (hypotheses, source)]
    if counts[0] != counts[1]:
        raise SystemExit(f"{hypotheses} has {counts[0]:,} lines, and {source} {counts[1]:,}: is it of others?")
    return prefix


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        usage="%(prog)s OUT TRAIN --runs RUN ... [-- KEY=VALUE ...]",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("train", help="path of the corpus without the language suffix")
    parser.add_argument("--runs", nargs="+", type=Path, required=True)
    end = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    options, overrides = parser.parse_args(sys.argv[1:end]), sys.argv[end + 1 :]
    names = [run.name for run in options.runs]
    if twice := [name for name in names if names.count(name) > 1]:
        raise SystemExit(f"two runs are called {twice[0]}, and files are named after them: rename one")
    options.out.mkdir(parents=True, exist_ok=True)
    prefixes = [translate(run, options.train, options.out, overrides) for run in options.runs]
    print(f"data.train=[{','.join(map(str, (options.train, *prefixes)))}]")


if __name__ == "__main__":
    main()
