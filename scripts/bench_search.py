"""Compares the speed of search with a textbook beam search: sentences per second, from text to text.

    python scripts/bench_search.py --checkpoint RUN --src test.de --ref test.en         one thread, fp32 and bf16
    python scripts/bench_search.py --checkpoint RUN --src test.de --ref test.en --lines 200 --precision bf16
    python scripts/bench_search.py --small        trains for half a minute on the demo corpus, then measures once

Variants, on the same weights:
  textbook  source and states copied for each of the K hypotheses, topk over all K * V continuations, histories copied
            at each step, sentences in the order of the file, all of a batch continued until the last one is finished
  nmt       the search of `python -m nmt.translate`
Repeats are interleaved; `x textbook` is the median of the ratios of all repeats, at the same batch size. With one CPU
thread, times are CPU times, on which other programs of the machine have less influence. With smaller batches, fewer
lines are translated; `other` counts those whose translation differs from the same variant's in the largest batches.
The time of nmt includes preparing the model. `scripts/bench_latency.py` measures single lines, without preparation.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch
from bench_training import DTYPES, processor, seconds
from torch import Tensor

from nmt import build
from nmt.analysis.metrics import corpus_score
from nmt.data.symbols import BOS, EOS, PAD
from nmt.decoding.search import SearchOptions
from nmt.decoding.translator import Translator
from nmt.demo_corpus import DEMO_SRC, DEMO_TGT
from nmt.model.seq2seq import Seq2Seq
from nmt.runtime.text_files import read_lines


class Run(NamedTuple):
    variant: str
    precision: str
    beam: int
    batch: int


def textbook_beam(model: Seq2Seq, src: Tensor, src_lengths: Tensor, *, beam: int, max_length: int) -> list[list[int]]:
    """The hypothesis of each sentence with the best mean log-probability: ids without BOS, up to EOS."""
    size, words = len(src), model.output.out_features
    copies = torch.arange(size).repeat_interleave(beam)
    source, state = model.encode(src, src_lengths)
    source, state = source.select(copies), state.select(copies)
    sequences = torch.full((size * beam, 1), BOS)
    scores = torch.full((size, beam), -torch.inf)
    scores[:, 0] = 0.0
    ended = torch.zeros(size * beam, dtype=torch.bool)
    lengths = torch.zeros(size * beam)
    for _ in range(max_length):
        logits, state, _ = model.step(sequences[:, -1], state, source)
        log_probs = logits.float().log_softmax(1)
        log_probs[:, [PAD, BOS]] = -torch.inf
        log_probs[ended] = -torch.inf
        log_probs[ended, PAD] = 0.0  # finished hypotheses are continued by PAD, with an unchanged score
        scores, best = (scores.unsqueeze(2) + log_probs.view(size, beam, words)).flatten(1).topk(beam)
        rows = (best // words + beam * torch.arange(size).unsqueeze(1)).flatten()
        tokens = (best % words).flatten()
        state, lengths = state.select(rows), lengths[rows] + (~ended[rows]).float()
        ended = ended[rows] | (tokens == EOS)
        sequences = torch.cat((sequences[rows], tokens.unsqueeze(1)), 1)
        if ended.all():
            break
    best = (scores / lengths.view(size, beam)).argmax(1) + beam * torch.arange(size)
    return [[token for token in row if token not in (PAD, BOS)] for row in sequences[best].tolist()]


@torch.inference_mode()
def textbook(loaded: build.Loaded, lines: list[str], run: Run) -> list[str]:
    found = []
    assert isinstance(loaded.model, Seq2Seq)
    for first in range(0, len(lines), run.batch):
        ids = [torch.tensor([*loaded.tokenizer.src.encode(line), EOS]) for line in lines[first : first + run.batch]]
        src = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=PAD)
        lengths = torch.tensor([len(each) for each in ids])
        hypotheses = textbook_beam(loaded.model, src, lengths, beam=run.beam, max_length=2 * src.shape[1] + 10)
        found += [loaded.tokenizer.tgt.decode(ids) for ids in hypotheses]
    return found


def ours(loaded: build.Loaded, lines: list[str], run: Run) -> list[str]:
    translator = Translator(
        loaded.model, loaded.tokenizer, SearchOptions(beam=run.beam), batch_size=run.batch, attention=False
    )
    return [best[0].text for best in translator.translate(lines)]


def translate(loaded: build.Loaded, lines: list[str], run: Run) -> list[str]:
    with torch.autocast("cpu", DTYPES[run.precision], enabled=run.precision != "fp32"):
        match run.variant:
            case "textbook":
                return textbook(loaded, lines, run)
            case "nmt":
                return ours(loaded, lines, run)
            case _:
                raise ValueError(f"{run.variant}: legal are textbook, nmt")


def measure(loaded: build.Loaded, lines: list[str], references: list[str], options: argparse.Namespace) -> None:
    runs = [
        Run(variant, precision, beam, batch)
        for beam in options.beam
        for precision in options.precision
        for batch in options.batch
        for variant in ("textbook", "nmt")
        if variant != "textbook" or precision == options.precision[0]
    ]
    amount = {
        batch: min(len(lines), max(20 if options.small else 60, len(lines) * batch // max(options.batch)))
        for batch in options.batch
    }
    times: dict[Run, list[float]] = {run: [] for run in runs}
    found: dict[Run, list[str]] = {}
    for run in runs:
        translate(loaded, lines[: min(run.batch, 8)], run)  # warm-up
    for _ in range(options.repeats):
        for run in runs:
            some = lines[: amount[run.batch]]

            def work(run: Run = run, some: list[str] = some) -> None:
                found[run] = translate(loaded, some, run)

            times[run].append(seconds(work, "cpu", options.threads) / len(some))
    print(f"{processor()}, {options.threads} threads, torch {torch.__version__}; {len(lines)} lines;", end=" ")
    print(f"medians of {options.repeats} interleaved repeats")
    print(
        f"{'beam':>4}{'batch':>6} {'variant':<10}{'precision':<10}"
        f"{'sent/s':>8}{'x textbook':>12}{'BLEU':>8}{'other':>7}"
    )
    for run in runs:
        plain = times[run._replace(variant="textbook", precision=options.precision[0])]
        ratio = statistics.median(a / b for a, b in zip(plain, times[run], strict=True))
        whole = found[run._replace(batch=max(options.batch))]
        score = (
            f"{corpus_score('bleu', found[run], references).score:8.2f}"
            if len(found[run]) == len(references)
            else f"{'-':>8}"
        )
        other = sum(a != b for a, b in zip(found[run], whole, strict=False))
        print(
            f"{run.beam:4}{run.batch:6} {run.variant:<10}{run.precision:<10}{1 / statistics.median(times[run]):8.0f}"
            f"{ratio:12.2f}{score}{other:7}"
        )
    preparing = [seconds(loaded.model.for_inference, "cpu", options.threads) for _ in range(3)]
    print(f"preparing the model, included once in each time of nmt: {1e3 * statistics.median(preparing):.0f} ms")


@contextmanager
def demo_model(minutes: float):
    """Trains a model on the demo corpus -> its run folder and the files of the test set."""
    with tempfile.TemporaryDirectory() as folder:
        run, cache = Path(folder) / "run", Path(folder) / "cache"
        command = [sys.executable, "-m", "nmt.train", "+experiment=bahdanau", f"run={run}", f"data.cache={cache}"]
        command += [f"trainer.max_minutes={minutes}", "trainer.tensorboard=false", "trainer.valid_sentences=20"]
        subprocess.run(command, check=True, capture_output=True)
        yield run, cache / "demo" / f"test.{DEMO_SRC}", cache / "demo" / f"test.{DEMO_TGT}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", help="a run folder")
    parser.add_argument("--src", help="file to translate")
    parser.add_argument("--ref", help="its references")
    parser.add_argument("--small", action="store_true", help="a small model of the demo corpus, in about a minute")
    parser.add_argument("--lines", type=int, help="maximum number of lines of the file")
    parser.add_argument("--beam", nargs="+", type=int, default=[1, 5])
    parser.add_argument("--batch", nargs="+", type=int, default=[1, 16, 64])
    parser.add_argument("--precision", nargs="+", choices=["fp32", "bf16"], default=["fp32", "bf16"])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.small:
        options.lines, options.repeats = options.lines or 64, 1
        with demo_model(minutes=0.5) as (checkpoint, src, ref):
            load_and_measure(checkpoint, src, ref, options)
    elif options.checkpoint and options.src and options.ref:
        load_and_measure(options.checkpoint, options.src, options.ref, options)
    else:
        parser.error("give --checkpoint, --src and --ref, or --small")


def load_and_measure(checkpoint: str | Path, src: str | Path, ref: str | Path, options: argparse.Namespace) -> None:
    loaded = build.load(str(checkpoint), torch.device("cpu"))
    lines, references = (list(read_lines(each)) for each in (src, ref))
    measure(loaded, lines[: options.lines], references[: options.lines], options)


if __name__ == "__main__":
    main()
