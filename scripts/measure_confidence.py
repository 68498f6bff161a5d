"""Measures the calibration of a run's confidence on a test set, and the detection of inserted omissions and additions.

    python scripts/measure_confidence.py RUN --prefix data/cache/demo/test --src en --tgt fr

The expected calibration error is over the words of the best translations, before and after calibration. For an
omission, another sentence of the test set is appended to the source and the translation is kept; for an addition, the
translation of another sentence is appended to the translation. AUROC of words is the probability that an inserted word
has a lower score than an original word; AUROC of sentences is the probability that the lowest score of a changed
sentence is below that of an original one.
"""

import argparse
from collections.abc import Callable, Sequence

import numpy as np

import nmt
from nmt.analysis.confidence import (
    Calibration,
    assess,
    attention_received,
    expected_calibration_error,
    right_words,
    support,
)
from nmt.build import Loaded, calibration_of, describe_calibration, why_uncalibrated
from nmt.decoding.word_scores import word_log_probs
from nmt.runtime.text_files import read_lines


def auroc(planted: np.ndarray, others: np.ndarray) -> float:
    """The probability that a value of `planted` is below one of `others`; ties count half."""
    others = np.sort(others)
    below = len(others) - (np.searchsorted(others, planted, "left") + np.searchsorted(others, planted, "right")) / 2
    return float(below.mean() / len(others))


def report(
    name: str, score: Callable[[np.ndarray], np.ndarray], found: Sequence, before: Sequence, lengths: Sequence[int]
) -> None:
    """Prints the AUROC of words and sentences. lengths: the number of original words of each text of `found`."""
    scores = [score(nmt.word_attention(each).weights) for each in found]
    own = [score(nmt.word_attention(each).weights) for each in before]
    planted = np.concatenate([each[length:] for each, length in zip(scores, lengths, strict=True)])
    others = np.concatenate([each[:length] for each, length in zip(scores, lengths, strict=True)])
    words, sentences = (
        auroc(planted, others),
        auroc(*(np.array([each.min() for each in both]) for both in (scores, own))),
    )
    print(f"planted {name}: AUROC {words:.3f} of words, {sentences:.3f} of sentences")


def print_calibration(loaded: Loaded, calibration: Calibration, found: Sequence, references: Sequence[str]) -> None:
    right = np.concatenate(
        [right_words(each.tgt_words, line.split()) for each, line in zip(found, references, strict=True)]
    ).astype(bool)
    for name, used in (("probability", Calibration()), ("confidence", calibration)):
        scores = word_log_probs(loaded.model, loaded.tokenizer, found, temperature=used.temperature)
        words = np.concatenate([assess(*each, used).words for each in zip(found, scores, strict=True)])
        error = expected_calibration_error(words, right)
        print(
            f"{name}: expected calibration error {error:.4f} over {len(right):,} words; mean {words.mean():.3f}, and "
            f"{right.mean():.3f} are right; AUROC of wrong words {auroc(words[~right], words[right]):.3f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--prefix", required=True)
    parser.add_argument("--src", required=True)
    parser.add_argument("--tgt", required=True)
    options = parser.parse_args()
    src, tgt = (list(read_lines(f"{options.prefix}.{suffix}")) for suffix in (options.src, options.tgt))
    model = nmt.load(options.run, device="cpu")
    loaded = Loaded(model.model, model.tokenizer, model.config, (model.checkpoint,))
    calibration = calibration_of(loaded)
    print(describe_calibration(calibration) if calibration else why_uncalibrated(loaded))
    best = model.translate(src)
    print_calibration(loaded, calibration or Calibration(), best, tgt)

    kept = [each for each in best if each.src_words and each.tgt_words]
    sources = [" ".join(each.src_words) for each in kept]
    half = len(kept) // 2
    other = [*kept[half:], *kept[:half]]  # sentences far away, as adjacent ones may have similar content
    before = model.force_decode([(source, each.text) for source, each in zip(sources, kept, strict=True)])
    longer = [f"{source} {' '.join(each.src_words)}" for source, each in zip(sources, other, strict=True)]
    omitted = model.force_decode([(source, each.text) for source, each in zip(longer, kept, strict=True)])
    report("omissions", attention_received, omitted, before, [len(each.src_words) for each in kept])
    texts = [f"{each.text} {added.text}" for each, added in zip(kept, other, strict=True)]
    added = model.force_decode(list(zip(sources, texts, strict=True)))
    report("additions", support, added, before, [len(each.tgt_words) for each in kept])
    if calibration:
        flagged = [assess(each, np.zeros(len(each.tgt_words)), calibration) for each in (*before, *omitted, *added)]
        as_they_were, with_omissions, with_additions = (flagged[k * len(kept) : (k + 1) * len(kept)] for k in range(3))
        print(
            f"sentences with a flagged source word: {share(as_they_were, 'omitted'):.3f} as they were, "
            f"{share(with_omissions, 'omitted'):.3f} with an omission; with a flagged target word: "
            f"{share(as_they_were, 'unsupported'):.3f} as they were, {share(with_additions, 'unsupported'):.3f} with "
            "an addition"
        )


def share(sentences: Sequence, flag: str) -> float:
    return float(np.mean([bool(getattr(each, flag)) for each in sentences]))


if __name__ == "__main__":
    main()
