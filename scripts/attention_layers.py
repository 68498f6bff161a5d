"""Prints a table of the alignment error rates, in percent, of all layers and heads of a Transformer.

    python scripts/attention_layers.py RUN valid.en valid.fr valid.links

The pairs are aligned by forced decoding, once for each layer and head. Use the validation set, as the error rate of the
best layer and head is too low on the text on which they are chosen. Select a layer and a head with the settings
attention_layer= and attention_head=.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import torch

from nmt import build
from nmt.analysis.alignment import Gold, read_gold, word_links
from nmt.build import Loaded
from nmt.corpus import Pair, read_pair
from nmt.decoding.forced import force_decode
from nmt.model.decoder import TransformerDecoder


def error_rates(loaded: Loaded, pairs: list[Pair], gold: Gold) -> list[list[float]]:
    """For each layer, the lowest first, the error rates of the mean of its heads and of each head, in percent.

    Raises ValueError if the decoder is not a Transformer.
    """
    decoder = loaded.model.decoder
    if not isinstance(decoder, TransformerDecoder):
        raise ValueError(f"this model ({loaded.config.name}) has one attention: give a run of a Transformer")

    def error_rate(layer: int, head: int | None) -> float:
        decoder.shown = replace(decoder.options, attention_layer=layer, attention_head=head)
        forced = force_decode(loaded.model, loaded.tokenizer, pairs, score=False)
        return 100 * gold.score([word_links(each) for each in forced]).aer

    heads = [None, *range(1, decoder.options.heads + 1)]
    return [[error_rate(layer, head) for head in heads] for layer in range(1, len(decoder.layers) + 1)]


def table(rates: list[list[float]]) -> str:
    """The error rates as a Markdown table with a row for each layer; the lowest rate is bold."""
    heads = range(1, len(rates[0]))
    lowest = min(map(min, rates))
    rows = [
        f"| layer | mean of heads | {' | '.join(f'head {head}' for head in heads)} |",
        "|---" * len(rates[0]) + "|---|",
    ]
    for layer, found in enumerate(rates, 1):
        cells = (f"**{rate:.1f}**" if rate == lowest else f"{rate:.1f}" for rate in found)
        rows.append(f"| {layer} | {' | '.join(cells)} |")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="run folder of a Transformer")
    parser.add_argument("src", help="the source sentences")
    parser.add_argument("tgt", help="their translations")
    parser.add_argument("gold", type=Path, help="their gold links, i-j sure and ipj possible")
    parser.add_argument("--reversed", action="store_true", help="the links have the target position first")
    given = parser.parse_args()
    try:
        pairs = list(read_pair(given.src, given.tgt))
        gold = read_gold(given.gold, pairs, given.src, target_first=given.reversed)
        print(table(error_rates(build.load(given.run, torch.device("cpu")), pairs, gold)))
    except (OSError, ValueError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
