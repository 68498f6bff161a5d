"""Measures subword regularization: the processor time of sampling a sentence, and the number of pieces.

    python scripts/bench_sampling.py multi30k/train.de multi30k/train.en --vocab-size 6000

Trains a BPE and a unigram model of the text, samples every sentence once per epoch, and prints a table: the number
of pieces relative to the best segmentation, and the time per sentence. The first epoch takes longer, because words are
remembered.
"""

import argparse
import io
import time
from pathlib import Path

import sentencepiece

from nmt.data.tokenizer.subwords import Subwords

ALPHAS = {"bpe": 0.1, "unigram": 0.2}


def train(lines: list[str], kind: str, vocab_size: int) -> Subwords:
    """A model of a text, with byte fallback."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        model_type=kind,
        vocab_size=vocab_size,
        byte_fallback=True,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    return Subwords(model.getvalue())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", nargs="+", type=Path)
    parser.add_argument("--vocab-size", type=int, default=6000)
    parser.add_argument("--epochs", type=int, default=3)
    options = parser.parse_args()
    lines = [line for path in options.text for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    columns = ["model", "alpha", "ratio of pieces", *(f"ms, epoch {k + 1}" for k in range(options.epochs))]
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for kind, alpha in ALPHAS.items():
        subwords = train(lines, kind, options.vocab_size)
        best = sum(map(len, subwords.encode_batch(lines)))
        times, pieces = [], 0
        for epoch in range(options.epochs):
            begun = time.process_time()
            pieces = sum(
                len(subwords.sample(line, alpha, seed=epoch * len(lines) + row)) for row, line in enumerate(lines)
            )
            times.append((time.process_time() - begun) / len(lines) * 1e3)
        print(f"| {kind} | {alpha} | {pieces / best:.2f} | " + " | ".join(f"{each:.3f}" for each in times) + " |")


if __name__ == "__main__":
    main()
