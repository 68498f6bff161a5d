"""The saliency command: `python -m nmt.saliency checkpoint=RUN src=FILE` compares attention with gradients."""

import contextlib
import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from nmt import build
from nmt.analysis.alignment import (
    AlignmentScores,
    AttentionWriter,
    Link,
    WordAttention,
    drop_punctuation,
    links,
    no_attention,
    read_gold,
)
from nmt.analysis.heatmap import Panel, draw_panels
from nmt.analysis.replacing import replacing
from nmt.analysis.saliency import RankCorrelation, by_words, rank_correlation, saliency, shares
from nmt.build import Loaded
from nmt.cli import run_command
from nmt.config.schema import DecodeConfig, SaliencyConfig
from nmt.corpus import Pair, read_pair
from nmt.data.symbols import EOS
from nmt.decoding.translator import ATTENTION_PIECES
from nmt.runtime.text_files import read_lines

log = logging.getLogger("nmt")

SAID_EVERY = 10  # seconds between two lines of progress
# The content of the output folder; see `replacing`.
FILES = ("hypotheses.txt", "attention.npz", "jacobian.npz", "input_gradient.npz", "heatmaps", "saliency.json")
DISPLAY_NAMES = {"attention": "attention", "jacobian": "Jacobian", "input_gradient": "input times gradient"}


def main(config: SaliencyConfig, _overrides: list[str]) -> None:
    device = build.start(config)
    pairs = _read(config)  # everything is read before anything is written
    gold = None
    if config.gold:
        gold = read_gold(Path(config.gold), pairs, config.src or "", target_first=config.gold_reversed)
    loaded = build.load(config.checkpoint, device.device)
    loaded.model.show_attention(config.attention_layer, config.attention_head)
    decode = build.decoding_of(loaded, config.decode)  # with hard attention, also for given translations
    linked: dict[str, list[list[Link]]] = {}
    empty: list[int] = []  # the numbers of the lines with a source and no translation, from 1

    def sizes(out: Path) -> Iterator[dict[str, np.ndarray]]:
        """Writes, draws and links the matrices of each pair -> their absolute values."""
        progress = Progress(len(pairs))
        for number, pair in enumerate(_translated(config, loaded, decode, pairs, out)):
            if pair.src.strip() and not pair.tgt.strip():
                empty.append(number + 1)
            matrices = _matrices(loaded, pair, progress)
            for name, words in matrices.items():
                writers[name].write(words.weights)
            parts = {name: shares(words) for name, words in matrices.items()}
            for name, words in parts.items() if gold else ():
                # Without a minimum weight, as gradients are spread over more words than attention.
                linked.setdefault(name, []).append(links(words.weights, min_claim=0.0))
            if number < config.heatmaps and all(matrix.weights.size for matrix in parts.values()):
                _draw(pair, parts, out / "heatmaps" / f"{number}.png")
            yield {name: np.abs(words.weights) for name, words in matrices.items()}

    with replacing(Path(config.out), FILES) as out, contextlib.ExitStack() as stack:
        (out / "heatmaps").mkdir()
        stack.enter_context(device.autocast())
        names = [name for name in DISPLAY_NAMES if name != "attention" or loaded.model.has_attention]
        writers = {name: stack.enter_context(AttentionWriter(out / f"{name}.npz")) for name in names}
        found = rank_correlation(sizes(out))
        errors = {name: gold.score(each) for name, each in linked.items()} if gold else {}
        _save(out / "saliency.json", len(pairs), found, errors)
    if gold and linked and (doubt := gold.misreading(next(iter(linked.values())))):
        log.warning(doubt)
    _print(len(pairs), empty, found, errors)
    print(f"written to {config.out}")


def _read(config: SaliencyConfig) -> list[Pair]:
    """The pairs; without tgt= their targets are empty. Each file is read once, so it may be a pipe."""
    if config.tgt:
        return list(read_pair(config.src or "", config.tgt))
    return [Pair(line, "") for line in read_lines(Path(config.src or ""))]


class Progress:
    """Logs the progress every `SAID_EVERY` seconds."""

    def __init__(self, pairs: int):
        self._pairs, self._number = pairs, 0
        self._said = time.monotonic()

    def next_pair(self) -> None:
        self._number += 1

    def rows(self, ready: int, of: int) -> None:
        """Logs the progress if it is due. ready: the rows of the current pair computed so far, of `of`."""
        if time.monotonic() - self._said >= SAID_EVERY:
            self._said = time.monotonic()
            log.info(f"pair {self._number:,} of {self._pairs:,}, target piece {ready:,} of {of:,}")

    def too_long(self) -> None:
        log.warning(
            f"line {self._number}: more than {ATTENTION_PIECES:,} pieces on a side, so it is left without matrices"
        )


def _translated(
    config: SaliencyConfig, loaded: Loaded, decode: DecodeConfig, pairs: list[Pair], out: Path
) -> Iterator[Pair]:
    """The given pairs; without tgt= the sources with the model's translations, which are also written to a file."""
    if config.tgt:
        yield from pairs
        return
    translator = build.build_translator(loaded.model, loaded.tokenizer, decode)
    translator.attention = False
    with (out / "hypotheses.txt").open("w", encoding="utf-8", newline="\n") as text:
        for pair, nbest in zip(pairs, translator.translate(pair.src for pair in pairs), strict=True):
            text.write(nbest[0].text + "\n")
            yield Pair(pair.src, nbest[0].text)


def _matrices(loaded: Loaded, pair: Pair, progress: Progress) -> dict[str, WordAttention]:
    """The matrices of a pair, by name; (Tw, 0) if the pair is too long."""
    progress.next_pair()
    src, src_word_of = loaded.tokenizer.src.encode_words(pair.src)
    tgt, tgt_word_of = loaded.tokenizer.tgt.encode_words(pair.tgt)
    if max(len(src), len(tgt)) >= ATTENTION_PIECES:
        progress.too_long()
        names = [name for name in DISPLAY_NAMES if name != "attention" or loaded.model.has_attention]
        return dict.fromkeys(names, no_attention(len(pair.tgt.split())))
    found = saliency(loaded.model, [*src, EOS], [*tgt, EOS], lambda ready: progress.rows(ready, len(tgt) + 1))
    tgt_word_of = drop_punctuation(loaded.tokenizer.tgt.pieces(tgt), tgt_word_of)
    return by_words(found, [*tgt_word_of, -1], [*src_word_of, -1], len(pair.tgt.split()), len(pair.src.split()))


def _draw(pair: Pair, parts: dict[str, WordAttention], path: Path) -> None:
    panels = []
    for name, (weights, eos) in parts.items():
        largest = float(max(weights.max(), eos.max()))
        panels.append(Panel(weights, eos, largest, f"{DISPLAY_NAMES[name]}\ndarkest: {largest:.2f}"))
    measure = "share of the row, as part of the darkest"
    draw_panels(panels, pair.src.split(), pair.tgt.split(), path, measure=measure)


def _save(
    path: Path, pairs: int, found: dict[tuple[str, str], RankCorrelation], errors: dict[str, AlignmentScores]
) -> None:
    """Saves the printed results as JSON; NaN is null."""

    def plain(numbers) -> dict:
        return {key: None if value != value else value for key, value in numbers._asdict().items()}

    agreement = {" ~ ".join(pair): plain(each) for pair, each in found.items()}
    alignment = {name: plain(each) for name, each in errors.items()}
    content = {"pairs": pairs, "rank_correlation": agreement, "alignment": alignment}
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _print(
    pairs: int,
    empty: list[int],
    found: dict[tuple[str, str], RankCorrelation],
    errors: dict[str, AlignmentScores],
) -> None:
    words = max((each.words for each in found.values()), default=0)
    print(f"{pairs:,} pairs, {words:,} target words; for each, how two rankings of the source words agree")
    print(f"{'':32}  {'Kendall tau':>11}  {'same on top':>11}  {'by chance':>9}")
    for (one, other), each in found.items():
        shown = f"{each.tau:>11.3f}  {100 * each.top:>9.1f} %  {100 * each.chance:>7.1f} %"
        if not each.words:
            shown = "no target word whose source words they rank"
        print(f"{f'{DISPLAY_NAMES[one]}, {DISPLAY_NAMES[other]}':32}  {shown}")
    for name, (aer, precision, recall) in errors.items():
        rates = f"(precision {100 * precision:.1f}, recall {100 * recall:.1f})"
        print(f"alignment error rate of {DISPLAY_NAMES[name]} {100 * aer:.1f} %  {rates}")
    if empty:
        first = ", ".join(map(str, empty[:5])) + (", ..." if len(empty) > 5 else "")
        print(f"{len(empty):,} of {pairs:,} translations are empty and have no words to explain: line {first}")
    compared = ("attention", "jacobian"), ("jacobian", "input_gradient")
    if all(pair in found and found[pair].words for pair in compared):
        print(_answer(found))


def _answer(found: dict[tuple[str, str], RankCorrelation]) -> str:
    """A sentence that states the result. Without ties, two rankings order a share (1 + tau) / 2 of all pairs of words
    alike."""
    attended, scale = (
        50 * (1 + found[pair].tau) for pair in (("attention", "jacobian"), ("jacobian", "input_gradient"))
    )
    nearer, further = "what the gradients agree on", "chance"
    if attended - 50 < scale - attended:
        nearer, further = further, nearer
    return (
        f"Is attention explanation? Of two source words, attention puts that first on which the target word depends "
        f"more, by the Jacobian, in {attended:.0f} % of cases; chance would in 50 %, and the two gradients agree in "
        f"{scale:.0f} %: it is nearer to {nearer} than to {further}."
    )


if __name__ == "__main__":
    run_command("saliency", main, SaliencyConfig)
