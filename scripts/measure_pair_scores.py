"""Measures how well the pair scores of an aligner distinguish correct pairs from artificial incorrect ones: areas under
the ROC curve.

    python scripts/measure_pair_scores.py RUN [--prefix data/cache/demo/test] [--src en] [--tgt fr]

The correct pairs are those of PREFIX with at least four words on both sides. "shuffled" has the same sources, each with
the target of another pair. "half" has the same pairs, with only the first half of the words on one random side. The
columns are the scores of `nmt.align score=true`, log p(target given source) and log p(source given target), both per
word, their mean, and the lower of the two. The area is the probability, in percent, that a correct pair has a higher
score than an incorrect one: 50 is chance.
"""

import argparse
import random
from collections.abc import Sequence

import numpy as np
import torch

from nmt.aligner.pairs import PairAligner
from nmt.build import load_aligner
from nmt.corpus import Pair, read_pair

SHORTEST = 4  # minimum number of words on a side


def shuffled(pairs: Sequence[Pair], chance: random.Random) -> list[Pair]:
    """Each source with the target of another pair: the next one in a random cyclic order."""
    circle = list(range(len(pairs)))
    chance.shuffle(circle)
    found = list(pairs)
    for here, other in zip(circle, [*circle[1:], circle[0]], strict=True):
        found[here] = Pair(pairs[here].src, pairs[other].tgt)
    return found


def halved(pair: Pair, side: int) -> Pair:
    """The pair with only the first half of the words of the source (side=0) or the target (side=1)."""
    sides = list(pair)
    words = sides[side].split()
    sides[side] = " ".join(words[: len(words) // 2])
    return Pair(*sides)


def area_under_roc(good: np.ndarray, bad: np.ndarray) -> float:
    """The probability that a value of `good` (N,) is above one of `bad` (M,), 0 to 1; ties count half."""
    ordered = np.sort(bad)
    below = np.searchsorted(ordered, good) + np.searchsorted(ordered, good, side="right")
    return float(below.mean() / (2 * len(bad)))


def columns(aligner: PairAligner, pairs: Sequence[Pair]) -> dict[str, np.ndarray]:
    """The scores (N,) of the pairs, by the names of the columns."""
    there, back = np.array([each.per_word for each in aligner.align(pairs)]).T
    lower = np.minimum(there, back)
    return {"target|source": there, "source|target": back, "mean": (there + back) / 2, "lower": lower}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--prefix", default="data/cache/demo/test")
    parser.add_argument("--src", default="en")
    parser.add_argument("--tgt", default="fr")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    loaded = load_aligner(options.run, torch.device("cpu"))
    if loaded is None:
        parser.error(f"{options.run} is a translator: give a run of +experiment=aligner")
    try:
        pairs = list(read_pair(f"{options.prefix}.{options.src}", f"{options.prefix}.{options.tgt}"))
    except (OSError, ValueError) as error:
        parser.error(f"{error}; --prefix, --src and --tgt name the files")
    pairs = [pair for pair in pairs if min(len(side.split()) for side in pair) >= SHORTEST]
    if len(pairs) < 2:
        parser.error(f"{options.prefix}: fewer than two pairs of at least {SHORTEST} words on both sides")
    chance = random.Random(options.seed)
    aligner = PairAligner(loaded.model, loaded.tokenizer)
    good = columns(aligner, pairs)
    planted = {"shuffled": shuffled(pairs, chance), "half": [halved(pair, chance.randrange(2)) for pair in pairs]}
    print(f"{len(pairs):,} pairs, area under the ROC curve in percent")
    print(f"{'':<10}" + "".join(f"{name:>15}" for name in good))
    for name, bad_pairs in planted.items():
        bad = columns(aligner, bad_pairs)
        print(f"{name:<10}" + "".join(f"{100 * area_under_roc(good[each], bad[each]):>15.1f}" for each in good))


if __name__ == "__main__":
    main()
