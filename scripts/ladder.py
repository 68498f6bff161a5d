"""Measures what each regularizer or kind of layer adds to a recipe: trains with and without it, for the same number of
updates or minutes.

    python scripts/ladder.py OUT --updates 3500 -- +experiment=multi30k data=files data.src=de data.tgt=en \\
        data.train=multi30k/train data.valid=multi30k/val threads=1
    python scripts/ladder.py OUT --minutes 30 --steps baseline simcut --seeds 1 2 3 -- +experiment=multi30k ...

Trains in OUT/STEP-SEED, --jobs runs at a time, with the output in OUT/STEP-SEED.log. A stopped run is resumed, a
finished run is read. Runs that fail are reported and left out. The table has the best validation of each run; the
perplexity is that of the cross-entropy without regularization in every row. With data.test=, each run also translates
that test set with beam search, into OUT/STEP-SEED.scores. Choose by the validation, not by the test set. Speeds are
comparable if runs do not share the machine.
"""

import argparse
import statistics
import sys
from pathlib import Path
from typing import NamedTuple

from training_jobs import (
    mean_and_deviation,
    read_metrics,
    read_scores,
    run_jobs,
    train_and_evaluate,
    training_speed,
)

STEPS = {
    "baseline": [],
    "simcut": ["loss.consistency=simcut"],
    "r_drop": ["loss.consistency=r_drop"],
    "subwords": ["subword_regularization.src_alpha=0.1", "subword_regularization.tgt_alpha=0.1"],
    "word_dropout": ["model.encoder.word_dropout=0.1", "model.decoder.word_dropout=0.1"],
    "recurrent_dropout": ["model.encoder.recurrent_dropout=0.2", "model.decoder.recurrent_dropout=0.2"],
}
for decoder in ("bahdanau", "conditional_gru"):  # the recipe's own decoder changes nothing
    STEPS[decoder] = [f"model.decoder.kind={decoder}"]
STEPS["wide"] = [f"model.{width}=512" for width in ("encoder.embedding", "encoder.hidden", "attention.size")]
STEPS["wide"] += ["model.decoder.embedding=512", "model.decoder.hidden=1024", "model.decoder.readout=512"]
STEPS["layer_norm"] = [f"model.{side}.layer_norm=true" for side in ("encoder", "decoder")]
STEPS["transitions"] = [f"model.{side}.transition_depth=2" for side in ("encoder", "decoder")]
STEPS["layers"] = [f"model.{side}.layers=2" for side in ("encoder", "decoder")]
STEPS["residual"] = STEPS["layers"] + [f"model.{side}.residual=true" for side in ("encoder", "decoder")]
STEPS["context_to_layers"] = STEPS["layers"] + ["model.decoder.context_to_layers=true"]
STEPS["simcut+subwords"] = STEPS["simcut"] + STEPS["subwords"]
STEPS["simcut+wide"] = STEPS["simcut"] + STEPS["wide"]
STEPS["word_dropout+recurrent_dropout"] = STEPS["word_dropout"] + STEPS["recurrent_dropout"]
STEPS["all"] = [word for step in ("simcut", "subwords", "word_dropout", "recurrent_dropout") for word in STEPS[step]]


class Result(NamedTuple):
    """The result of a run: its updates, the perplexity and BLEU of the validation with the best BLEU, BLEU of the test
    set if that was evaluated, and pace, the target tokens per second in training."""

    updates: float
    perplexity: float
    bleu: float
    test_bleu: float | None
    pace: float


def read(run: Path) -> Result:
    """The result of a run, from its folder. Raises SystemExit if it has no validation."""
    valid = read_metrics(run, "valid")
    if not valid:
        raise SystemExit(f"{run}: has no validation; give it more updates or minutes")
    best = max(valid, key=lambda line: line["bleu"])
    scores = read_scores(run)
    test_bleu = scores["bleu"]["score"] if scores else None
    return Result(valid[-1]["update"], best["perplexity"], best["bleu"], test_bleu, training_speed(run))


def table(results: dict[str, list[Result]]) -> str:
    """The results as a Markdown table with a row for each step: means over seeds, the standard deviation of BLEU if
    there are several, and the speed relative to the first step."""
    rows = ["| step | seeds | updates | perplexity | BLEU | test BLEU | speed |", "|---|---|---|---|---|---|---|"]
    first = 0.0
    for step, found in results.items():
        updates, perplexity, pace = (
            statistics.fmean(getattr(each, name) for each in found) for name in ("updates", "perplexity", "pace")
        )
        first = first or pace
        bleu = mean_and_deviation([each.bleu for each in found])
        tests = [each.test_bleu for each in found if each.test_bleu is not None]
        rows.append(
            f"| {step} | {len(found)} | {updates:.0f} | {perplexity:.2f} | {bleu} "
            f"| {mean_and_deviation(tests) if tests else '-'} | {pace / first if first else 0:.2f} |"
        )
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        usage="%(prog)s OUT [options] -- KEY=VALUE ...",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("out", type=Path)
    budget = parser.add_mutually_exclusive_group(required=True)
    budget.add_argument("--updates", type=int)
    budget.add_argument("--minutes", type=float)
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=list(STEPS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[1])
    parser.add_argument("--jobs", type=int, default=1, help="number of runs at a time")
    end = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    options, overrides = parser.parse_args(sys.argv[1:end]), sys.argv[end + 1 :]
    limits = {"max_updates": options.updates, "max_minutes": options.minutes, "max_epochs": None}
    words = [f"trainer.{key}={'null' if limit is None else limit}" for key, limit in limits.items()]
    options.out.mkdir(parents=True, exist_ok=True)

    def train(step: str, seed: int) -> Result:
        run = options.out / f"{step}-{seed}"
        evaluate = any(word.startswith("data.test=") for word in overrides)
        train_and_evaluate(run, [*overrides, *words, *STEPS[step], f"seed={seed}"], evaluate=evaluate)
        return read(run)

    run_jobs(train, options.steps, options.seeds, jobs=options.jobs, table=table)


if __name__ == "__main__":
    main()
