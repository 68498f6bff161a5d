"""Measures subword regularization: the processor time of sampling a sentence, and the number of pieces.

    python scripts/bench_sampling.py multi30k/train --src de --tgt en --vocab-size 6000

Trains a joint BPE and a joint unigram tokenizer of the corpus, samples both sides of every pair once per epoch, and
prints a table: the number of pieces relative to the best segmentation, and the time per sentence. The first epoch takes
longer, because words are remembered.
"""

import argparse
import time

from nmt.corpus import read_files
from nmt.data.tokenizer import ModelType, TokenizerOptions, train_tokenizer

ALPHAS = {ModelType.bpe: 0.1, ModelType.unigram: 0.2}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prefix", help="the corpus: the files PREFIX.SRC and PREFIX.TGT")
    parser.add_argument("--src", required=True)
    parser.add_argument("--tgt", required=True)
    parser.add_argument("--vocab-size", type=int, default=6000)
    parser.add_argument("--epochs", type=int, default=3)
    options = parser.parse_args()
    corpus = read_files([options.prefix], options.src, options.tgt)
    columns = ["model", "alpha", "ratio of pieces", *(f"ms, epoch {k + 1}" for k in range(options.epochs))]
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for kind, alpha in ALPHAS.items():
        wanted = TokenizerOptions(model_type=kind, joint=True, vocab_size=options.vocab_size)
        tokenizer = train_tokenizer(corpus, wanted, seed=1)
        sides = [
            (each, text) for pair in corpus for each, text in zip((tokenizer.src, tokenizer.tgt), pair, strict=True)
        ]
        best = sum(len(subwords.encode(text)) for subwords, text in sides)
        times, pieces = [], 0
        for epoch in range(options.epochs):
            begun = time.process_time()
            seeds = range(epoch * len(sides), (epoch + 1) * len(sides))
            pieces = sum(
                len(subwords.sample(text, alpha, seed=seed))
                for (subwords, text), seed in zip(sides, seeds, strict=True)
            )
            times.append((time.process_time() - begun) / len(sides) * 1e3)
        print(f"| {kind.value} | {alpha} | {pieces / best:.2f} | " + " | ".join(f"{each:.3f}" for each in times) + " |")


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError) as error:
        raise SystemExit(f"error: {error}") from None
