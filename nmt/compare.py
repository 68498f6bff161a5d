"""The compare command: `python -m nmt.compare runs=[RUN,RUN]` compares evaluated runs, with significance tests."""

import json
import logging
import math
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

from nmt import build
from nmt.analysis.comparison import (
    Comparison,
    CurvePoint,
    SeedStats,
    SystemScore,
    compare,
    compare_systems,
    length_curves,
)
from nmt.analysis.evaluation import Evaluation, read_evaluation
from nmt.analysis.length_plot import draw_length_curves
from nmt.analysis.metrics import MAIN_METRIC, METRICS
from nmt.analysis.segmentation import length_unit, lengths, unfit_tokenizer
from nmt.checkpoint.run_folder import RunFolder
from nmt.cli import run_command
from nmt.config.saved import comparable, from_dict, read_saved
from nmt.config.schema import COMPARISON_FILES, CompareConfig, TrainConfig
from nmt.runtime.atomic import written_beside
from nmt.runtime.logs import start_log

log = logging.getLogger("nmt")

SIGNIFICANT = 0.05
TEST = "two-sided paired approximate randomization"
SEEDS_TEST = "two-sided approximate randomization, within sentences, over systems and seeds"


class Run(NamedTuple):
    """A run: its folder as given on the command line, its configuration, and its evaluation on the test set."""

    name: str
    config: dict
    evaluation: Evaluation


def main(config: CompareConfig, _overrides: list[str]) -> None:
    start_log(None)
    tests = config.tests or [_common_test(config.runs)]
    # The baseline is first; the others keep their order.
    names = sorted(config.runs, key=lambda run: run != config.baseline) if config.baseline else config.runs
    by_test = {test: [_read(run, test) for run in names] for test in tests}
    for test, runs in by_test.items():
        for other in runs[1:]:
            _check_same_text(runs[0], other, test)
    for number, (test, runs) in enumerate(by_test.items()):
        if number:
            print()
        _compare(config, test, runs, Path(config.out) / test if len(tests) > 1 else Path(config.out))


def _compare(config: CompareConfig, test: str, runs: list[Run], out: Path) -> None:
    """Compares runs on one test set; the first run is the baseline."""
    text = runs[0].evaluation
    tokenizer = config.bleu_tokenizer or text.tokenizer
    tokenizer = tokenizer or build.metric_tokenizer(from_dict(TrainConfig, runs[0].config).data)
    if unfit := unfit_tokenizer(tokenizer, text.references, "bleu_tokenizer"):
        log.warning(unfit)
    hypotheses = [run.evaluation.hypotheses for run in runs]
    comparison = compare(hypotheses, text.references, tokenizer=tokenizer, samples=config.samples)
    unit = length_unit(text.sources)
    systems = _systems(runs)
    translations = [[hypotheses[row] for row in rows] for rows in systems.values()]
    drawn = length_curves(
        translations,
        text.references,
        lengths(text.sources, unit),
        tokenizer=tokenizer,
        width=config.width,
        samples=config.samples,
    )
    curves = dict(zip(systems, drawn, strict=True))
    seeds: dict[str, dict[str, SeedStats]] = {}
    if len(systems) < len(runs):
        found = compare_systems(translations, text.references, tokenizer=tokenizer, samples=config.samples)
        seeds = {
            name: dict(zip(found, each, strict=True)) for name, *each in zip(systems, *found.values(), strict=True)
        }
    out.mkdir(parents=True, exist_ok=True)
    draw_length_curves(
        curves,
        out / COMPARISON_FILES[0],
        title=f"{METRICS[MAIN_METRIC].label} by length, {test}",
        unit=unit,
        synthetic_long=text.synthetic_long,
        samples=config.samples,
    )
    _save(out / "comparison.json", test, runs, comparison, seeds, curves, unit)
    print(f"{test}, {len(text.sources)} sentences{text.synthetic_long and f': {text.synthetic_long}'}")
    _print_scores(runs, comparison, config.samples)
    _print_seeds(seeds, config.samples)
    _print_curves(curves, unit)
    print(f"written to {out}: {' and '.join(COMPARISON_FILES)}")


def _save(
    path: Path,
    test: str,
    runs: list[Run],
    comparison: Comparison,
    seeds: dict[str, dict[str, SeedStats]],
    curves: dict[str, list[CurvePoint]],
    unit: str,
) -> None:
    """Saves the printed results as JSON; the p of the baseline and the deviation of a single run are null."""
    found = {
        "test": test,
        "sentences": len(runs[0].evaluation.sources),
        "synthetic_long": runs[0].evaluation.synthetic_long,
        "runs": {
            run.name: {
                metric: _without_nan(score._asdict()) for metric, score in zip(comparison.scores, scores, strict=True)
            }
            for run, *scores in zip(runs, *comparison.scores.values(), strict=True)
        },
        "p": TEST,
        "signatures": comparison.signatures,
        "seeds": {
            name: {metric: _without_nan(each._asdict()) for metric, each in found.items()}
            for name, found in seeds.items()
        },
        "seeds_p": SEEDS_TEST,
        "length_unit": unit,
        f"{MAIN_METRIC}_by_length": {name: [_plain(point) for point in points] for name, points in curves.items()},
    }
    with written_beside(path) as beside:
        beside.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n", "utf-8")


def _without_nan(numbers: dict[str, float]) -> dict[str, float | None]:
    return {key: None if math.isnan(number) else number for key, number in numbers.items()}


def _plain(point: CurvePoint) -> dict[str, float]:
    """The point as plain data, with its score under the name of the metric."""
    return {MAIN_METRIC if key == "score" else key: value for key, value in point._asdict().items()}


def _common_test(runs: list[str]) -> str:
    """The test set that all runs were evaluated on. Raises ValueError if there is none, or more than one."""
    found = []
    for run in runs:
        places = (_folder(run).path / "evaluation").glob("*/scores.json")
        found.append({place.parent.name for place in places})
        if not found[-1]:
            raise ValueError(f"{run} has no evaluation: make it with python -m nmt.evaluate checkpoint={run}")
    common = set.intersection(*found)
    if not common:
        theirs = "; ".join(f"{run}: {', '.join(sorted(names))}" for run, names in zip(runs, found, strict=True))
        raise ValueError(f"no test set on which all runs were evaluated ({theirs}): try nmt.evaluate data.test=PREFIX")
    if len(common) > 1:
        raise ValueError(f"all runs were evaluated on {', '.join(sorted(common))}: choose one by test=NAME")
    return common.pop()


def _folder(run: str) -> RunFolder:
    folder = RunFolder(run)
    if not folder.config.is_file():
        raise ValueError(f"runs= names {run}, which is no run folder (no config.yaml)")
    return folder


def _read(name: str, test: str) -> Run:
    folder = _folder(name)
    try:
        evaluation = read_evaluation(folder.evaluation(test))
    except ValueError as error:
        raise ValueError(
            f"{error}: make it with python -m nmt.evaluate checkpoint={name} (and data.test=PREFIX where it is not the "
            "run's own test set)"
        ) from None
    return Run(name, read_saved(folder.config), evaluation)


def _check_same_text(first: Run, other: Run, test: str) -> None:
    for side in ("sources", "references"):
        one, two = getattr(first.evaluation, side), getattr(other.evaluation, side)
        if one != two:
            line = next(number for number, pair in enumerate(zip_longest(one, two), 1) if pair[0] != pair[1])
            raise ValueError(
                f"{first.name} and {other.name} were evaluated on different texts called {test}: line {line} of "
                f"{side}.txt is the first that differs; evaluate both on one text"
            )


def _systems(runs: list[Run]) -> dict[str, list[int]]:
    """Groups the runs with equal configurations by `comparable` -> the indices of each group's runs, by its name.

    The name is that of the experiment, with the first run's folder if another group has the same.
    """
    recipes = [comparable(run.config) for run in runs]
    groups = [[other for other, each in enumerate(recipes) if each == one] for one in recipes]
    groups = [rows for row, rows in enumerate(groups) if rows[0] == row]
    experiments = [runs[rows[0]].config["name"] for rows in groups]
    named = {}
    for rows, experiment in zip(groups, experiments, strict=True):
        name = experiment if experiments.count(experiment) == 1 else f"{experiment} ({runs[rows[0]].name})"
        named[name + (f", {len(rows)} seeds" if len(rows) > 1 else "")] = rows
    return named


def _print_scores(runs: list[Run], comparison: Comparison, samples: int) -> None:
    width = max(len(run.name) for run in runs)
    labels = {metric: METRICS[metric].label for metric in comparison.scores}
    print(f"{'':{width}}" + "".join(f"  {metric:>20}" for metric in labels.values()))
    for run, *scores in zip(runs, *comparison.scores.values(), strict=True):
        print(f"{run.name:{width}}" + "".join(f"  {_format_score(score):>20}" for score in scores))
    for metric, signature in comparison.signatures.items():
        print(f"{labels[metric]}|{signature}")
    if len(runs) > 1:
        print(f"p: {TEST} against {runs[0].name}, {samples:,} shuffles; * where p < {SIGNIFICANT}")


def _format_score(score: SystemScore) -> str:
    return f"{score.score:.2f} ±{score.interval:.2f} {_format_p(score.p):>6}"


def _format_p(p: float) -> str:
    """p with three digits, and * if it is significant; "" for the baseline."""
    return "" if math.isnan(p) else f"{p:.3f}{'*' if p < SIGNIFICANT else ' '}"


def _print_seeds(seeds: dict[str, dict[str, SeedStats]], samples: int) -> None:
    """Prints a line for each system, the baseline first; nothing if there are no seeds."""
    if not seeds:
        return
    print("mean and standard deviation over seeds")
    for name, metrics in seeds.items():
        scores = []
        for metric, each in metrics.items():
            deviation = "" if math.isnan(each.deviation) else f" ±{each.deviation:.2f}"
            chance = "" if math.isnan(each.p) else f" (p {_format_p(each.p).rstrip()})"
            scores.append(f"{METRICS[metric].label} {each.mean:.2f}{deviation}{chance}")
        print(f"{name}: {', '.join(scores)}")
    if len(seeds) > 1:
        print(f"p: {SEEDS_TEST}, against {next(iter(seeds))}, {samples:,} shuffles; * where p < {SIGNIFICANT}")


def _print_curves(curves: dict[str, list[CurvePoint]], unit: str) -> None:
    heading = f"source {unit}"
    print(
        f"{METRICS[MAIN_METRIC].label} by length, and where 95 % of the resamples lie\n{heading:>12}  {'sentences':>9}",
        end="",
    )
    widths = {name: max(len(name), 18) for name in curves}
    print("".join(f"  {name:>{width}}" for name, width in widths.items()))
    for points in zip(*curves.values(), strict=True):
        print(f"{f'{points[0].low}-{points[0].high}':>{len(heading)}}  {points[0].sentences:>9}", end="")
        cells = (f"{point.score:.1f} ({point.lower:.1f}-{point.upper:.1f})" for point in points)
        print("".join(f"  {cell:>{width}}" for cell, width in zip(cells, widths.values(), strict=True)))


if __name__ == "__main__":
    run_command("compare", main, CompareConfig)
