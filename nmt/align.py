"""The align command: `python -m nmt.align checkpoint=RUN src=FILE tgt=FILE > links` writes word links of pairs."""

import contextlib
import logging
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import torch

from nmt import build
from nmt.analysis.alignment import (
    Alignment,
    AttentionWriter,
    Gold,
    Link,
    Symmetrization,
    align,
    align_both,
    pharaoh,
    read_gold,
    read_gold_and_links,
)
from nmt.build import Loaded
from nmt.cli import run_command
from nmt.config.schema import AlignConfig
from nmt.data.corpus import Corpus, Pair, read_pair
from nmt.decoding.forced import force_decode
from nmt.decoding.translator import Translation
from nmt.loading import load
from nmt.model.ensemble import EnsembleAverage
from nmt.runtime.logs import start_log
from nmt.runtime.text_files import STREAM, open_output

log = logging.getLogger("nmt")


def main(config: AlignConfig, _overrides: list[str]) -> None:
    if config.links and config.gold:
        start_log(None)
        gold, found = read_gold_and_links(Path(config.gold), Path(config.links), target_first=config.gold_reversed)
        _print_scores(gold, found)
    else:
        _align(config)


def _align(config: AlignConfig) -> None:
    device = build.start(config)
    corpus = read_pair(config.src or "", config.tgt or "")
    model = _load(config.checkpoint, "checkpoint", device.device, config.ensemble)
    reverse = _load(config.reverse, "reverse", device.device) if config.reverse else None
    _check_directions(config, model, reverse)
    pairs = sum(1 for _ in corpus)  # all of it is checked before anything is written
    gold = None
    if config.gold:
        gold = read_gold(Path(config.gold), corpus, config.src or "", target_first=config.gold_reversed)

    begun, found = time.monotonic(), []
    with contextlib.ExitStack() as stack:
        stack.enter_context(device.autocast())
        links = None
        if config.out or not config.gold:
            links = stack.enter_context(open_output(config.out or STREAM))
        soft = stack.enter_context(AttentionWriter(Path(config.soft_alignment))) if config.soft_alignment else None
        pictures = Path(config.heatmaps) if config.heatmaps else None
        if pictures:
            pictures.mkdir(parents=True, exist_ok=True)
        for number, (forced, alignment) in enumerate(_alignments(config, model, reverse, corpus)):
            if forced.src_words and forced.tgt_pieces and not alignment.weights.shape[1]:
                log.warning(f"line {number + 1}: too long to be aligned, so it is left without links")
            if links:
                scored = f" ||| {forced.log_prob:.6f}" if config.score else ""
                links.write(f"{pharaoh(alignment.links)}{scored}\n".encode())
            if soft:
                soft.write(alignment.weights)
            if pictures and alignment.weights.size:
                _draw(forced, alignment, pictures / f"{number}.png")
            if gold:
                found.append(alignment.links)
    seconds = time.monotonic() - begun
    log.info(f"{pairs:,} pairs in {seconds:.1f} s, {pairs / max(seconds, 1e-9):.0f} a second; {device.reason}")
    if gold:
        _print_scores(gold, found)


def _alignments(
    config: AlignConfig, model: Loaded, reverse: Loaded | None, corpus: Corpus
) -> Iterator[tuple[Translation, Alignment]]:
    def forced(loaded: Loaded, pairs: Iterator[Pair], *, score: bool = False) -> Iterator[Translation]:
        options = {"batch_size": config.decode.batch_size, "posterior": config.posterior}
        return force_decode(loaded.model, loaded.tokenizer, pairs, score=score, **options)

    there = forced(model, iter(corpus), score=config.score)
    if reverse is None:
        yield from ((each, align(each, threshold=config.threshold)) for each in there)
        return
    back = forced(reverse, (Pair(pair.tgt, pair.src) for pair in corpus))
    how = config.symmetrize or Symmetrization.grow_diag
    for each, other in zip(there, back, strict=True):
        yield each, align_both(each, other, how, threshold=config.threshold)


def _draw(forced: Translation, alignment: Alignment, path: Path) -> None:
    from nmt.analysis.heatmap import draw  # matplotlib is slow to import, and links can do without

    draw(alignment.weights, forced.src_words, forced.tgt_words, path, eos=alignment.eos)


def _load(
    place: str | list[str] | None, key: str, device: torch.device, average: EnsembleAverage | None = None
) -> Loaded:
    loaded = load(place, device, average)
    loaded.require_attention(f"{key}={place}")
    return loaded


def _check_directions(config: AlignConfig, model: Loaded, reverse: Loaded | None) -> None:
    """Raises ValueError where both runs translate the same way."""
    if reverse:
        ways = [build.languages(loaded.config.data) for loaded in (model, reverse)]
        if ways[0] == ways[1] and ways[0].src != ways[0].tgt:
            raise ValueError(
                f"reverse={config.reverse} translates {ways[1].src} to {ways[1].tgt}, as checkpoint= does: give a run "
                f"with data.src={ways[0].tgt} data.tgt={ways[0].src}"
            )


def _print_scores(gold: Gold, found: Sequence[Collection[Link]]) -> None:
    if doubt := gold.misreading(found):
        log.warning(doubt)
    aer, precision, recall = gold.score(found)
    print(f"alignment error rate {100 * aer:.1f} %  (precision {100 * precision:.1f}, recall {100 * recall:.1f})")


if __name__ == "__main__":
    run_command("align", main, AlignConfig)
