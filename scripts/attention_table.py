"""Compares attention mechanisms: trains experiments on the same corpus with the same sizes, and prints test scores.

    python scripts/attention_table.py OUT                                    the demo corpus, one seed, one thread
    python scripts/attention_table.py OUT --seeds 1 2 3 --experiments bahdanau local_p hard
    python scripts/attention_table.py OUT --experiments bahdanau luong_general -- data=files data.src=de data.tgt=en \\
        data.train=multi30k/train data.valid=multi30k/val data.test=multi30k/test preset=multi30k trainer.max_minutes=30

Trains in OUT/EXPERIMENT-SEED, --jobs runs at a time, with the output in OUT/EXPERIMENT-SEED.log. A stopped run is
resumed and a finished run is read, so OUT may be used by several calls. Runs that fail are reported and left out.
Arguments after `--` are passed to nmt.train; the training length is that of the preset unless they set another. The
table has BLEU, the perplexity of the references, the alignment error rate of attention if the test set has gold links,
the number of weights, and the speed of training relative to the first row.
"""

import argparse
import re
import statistics
import sys
from pathlib import Path
from typing import NamedTuple

from training_jobs import mean_and_deviation, read_scores, run_jobs, train_and_evaluate, training_speed

EXPERIMENTS = (
    *("bahdanau", "luong_general", "luong_dot", "luong_concat", "coverage"),
    *("local_m", "local_p", "gaussian", "hard", "hard_marginal", "entmax", "multihead"),
    *("conditional_gru", "transformer", "rnnencdec"),
)


class Result(NamedTuple):
    """The result of an evaluated run. aer: in percent, None without gold links or attention; weights: the number of
    parameters; pace: target tokens per second in training."""

    bleu: float
    perplexity: float
    aer: float | None
    weights: int
    pace: float


def read(run: Path) -> Result:
    """The result of an evaluated run, from its folder."""
    scores = read_scores(run)
    found = re.search(r"([\d,]+) weights", (run / "train.log").read_text(encoding="utf-8"))
    assert scores is not None, run
    assert found, run
    aer = 100 * scores["alignment"]["aer"] if scores.get("alignment") else None
    weights = int(found[1].replace(",", ""))
    return Result(scores["bleu"]["score"], scores["perplexity"], aer, weights, training_speed(run))


def table(results: dict[str, list[Result]]) -> str:
    """The results as a Markdown table with a row for each experiment: means over its seeds, and the standard deviation
    of BLEU if there are several."""
    rows = [
        "| experiment | seeds | BLEU | perplexity | AER % | weights | speed |",
        "|---|---|---|---|---|---|---|",
    ]
    first = 0.0
    for experiment, found in results.items():
        perplexity, pace = (statistics.fmean(getattr(each, name) for each in found) for name in ("perplexity", "pace"))
        first = first or pace
        aers = [each.aer for each in found if each.aer is not None]
        rows.append(
            f"| `{experiment}` | {len(found)} | {mean_and_deviation([each.bleu for each in found])} | {perplexity:.3f} "
            f"| {f'{statistics.fmean(aers):.1f}' if aers else '-'} | {found[0].weights:,} "
            f"| {pace / first if first else 0:.2f} |"
        )
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        usage="%(prog)s OUT [options] [-- KEY=VALUE ...]",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--experiments", nargs="+", default=list(EXPERIMENTS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[1])
    parser.add_argument("--jobs", type=int, default=1, help="number of runs at a time")
    end = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    options, words = parser.parse_args(sys.argv[1:end]), sys.argv[end + 1 :]
    options.out.mkdir(parents=True, exist_ok=True)

    def train(experiment: str, seed: int) -> Result:
        run = options.out / f"{experiment}-{seed}"
        train_and_evaluate(run, [f"+experiment={experiment}", "threads=1", f"seed={seed}", *words], evaluate=True)
        return read(run)

    run_jobs(train, options.experiments, options.seeds, jobs=options.jobs, table=table)


if __name__ == "__main__":
    main()
