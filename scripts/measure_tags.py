"""Compares the placement of tags by a model's links with the placement by gold links, in reference translations.

    python scripts/measure_tags.py RUN --prefix data/cache/demo/test --src en --tgt fr

Each source sentence gets a tag around one to three random adjacent words. The tag is placed in the reference by the
links of forced decoding, and by the gold links PREFIX.links. F1 is over the target words inside the tags.
"""

import argparse
import random
from collections.abc import Iterable, Sequence

import nmt
from nmt.analysis.alignment import parse_pharaoh
from nmt.documents.placement import HasMarks, WordTags, place_tags
from nmt.runtime.text_files import read_lines


def tagged_words(words: range, source: int, target: int, links: Iterable[tuple[int, int]]) -> set[int]:
    """The indices of the target words inside a tag around the source words `words`. source, target: word counts."""
    tags = [WordTags(frozenset({0} if word in words else ())) for word in range(source)]
    placed = place_tags(tags, [HasMarks()] * target, links)
    return {t for t, word in enumerate(placed) if word.core}


def f1(found: Sequence[set], expected: Sequence[set]) -> float:
    """F1 of the words of all sentences together."""
    common = sum(len(one & other) for one, other in zip(found, expected, strict=True))
    return 2 * common / (sum(map(len, found)) + sum(map(len, expected)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--prefix", required=True)
    parser.add_argument("--src", required=True)
    parser.add_argument("--tgt", required=True)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    src, tgt, links = (list(read_lines(f"{options.prefix}.{suffix}")) for suffix in (options.src, options.tgt, "links"))
    model = nmt.load(options.run, device="cpu")
    chance = random.Random(options.seed)
    by_model, by_gold = [], []
    for forced, line in zip(model.force_decode(zip(src, tgt, strict=True)), links, strict=True):
        source, target = len(forced.src_words), len(forced.tgt_words)
        length = chance.randint(1, min(3, source))
        begin = chance.randrange(source - length + 1)
        words = range(begin, begin + length)
        by_model.append(tagged_words(words, source, target, nmt.word_links(forced)))
        by_gold.append(tagged_words(words, source, target, parse_pharaoh(line).sure))
    print(f"{len(src):,} sentences, F1 {f1(by_model, by_gold):.3f} of the placement by gold links")


if __name__ == "__main__":
    main()
