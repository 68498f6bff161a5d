"""The align command: `python -m nmt.align checkpoint=RUN src=FILE tgt=FILE > links` links the words of given pairs."""

import contextlib
import gc
import logging
import time
from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import torch

from nmt import build
from nmt.aligner.pairs import AlignedPair, PairAligner
from nmt.analysis.alignment import (
    Alignment,
    AttentionWriter,
    Gold,
    Link,
    Symmetrization,
    align,
    align_both,
    joint_links,
    pharaoh,
    pharaoh_with_weights,
    read_gold,
    read_gold_and_links,
    symmetrize,
    threshold_links,
)
from nmt.build import Loaded, LoadedAligner, load
from nmt.cli import run_command
from nmt.config.schema import AlignConfig, AlignmentDirection, LinksFrom
from nmt.config.unused import ALIGN_BY_ALIGNER, ALIGN_BY_HEAD, ALIGN_BY_TRANSLATOR, refuse_unused
from nmt.corpus import Corpus, Pair, read_pair
from nmt.decoding.output_files import OutputFile, common_sentences, truncate_to_common
from nmt.decoding.translator import Translation
from nmt.runtime.logs import start_log
from nmt.runtime.text_files import STREAM, open_output

MIN_POSTERIOR = 0.5  # default threshold for the links of one direction of an aligner: more probable than not

log = logging.getLogger("nmt")


def main(config: AlignConfig, overrides: list[str]) -> None:
    if config.links and config.gold:
        start_log(None)
        gold, found = read_gold_and_links(Path(config.gold), Path(config.links), target_first=config.gold_reversed)
        _print_scores(gold, found)
    else:
        _align(config, overrides)


class _Line(NamedTuple):
    """The output for a pair. score: the text after the links; too_long: the pair has no links, as it does not fit into
    memory."""

    pair: Pair
    alignment: Alignment
    score: str
    too_long: bool


def _align(config: AlignConfig, overrides: list[str]) -> None:
    device = build.start(config)
    aligner = build.load_aligner(config.checkpoint, device.device)
    models = [] if aligner else _load_translators(config, device.device)
    refuse_unused(config, overrides, ALIGN_BY_ALIGNER if aligner else ALIGN_BY_TRANSLATOR)
    if models and all(model.head for model in models):
        refuse_unused(config, overrides, ALIGN_BY_HEAD)
    corpus = read_pair(config.src or "", config.tgt or "")
    pairs = sum(1 for _ in corpus)  # the whole corpus is checked before anything is written
    gold = None
    if config.gold:
        gold = read_gold(Path(config.gold), corpus, config.src or "", target_first=config.gold_reversed)
    outputs = [OutputFile(Path(config.out))] if config.append and config.out else []
    done = common_sentences(outputs)
    if done > pairs:
        raise ValueError(f"out={config.out} has {done:,} lines, and {config.src} only {pairs:,}: give another out=")
    truncate_to_common(outputs)

    begun, found = time.monotonic(), []
    with contextlib.ExitStack() as stack:
        # The garbage collector then no longer searches what stays in memory: a third of the time of aligning.
        gc.freeze()
        stack.callback(gc.unfreeze)
        stack.enter_context(device.autocast())
        links_file = None
        if config.out or not config.gold:
            links_file = stack.enter_context(open_output(config.out or STREAM, append=config.append))
        soft = stack.enter_context(AttentionWriter(Path(config.soft_alignment))) if config.soft_alignment else None
        with_head = config.links_from in (None, LinksFrom.head) and any(model.head for model in models)
        measure = "probability of a link" if aligner or with_head else "attention weight"
        pictures = Path(config.heatmaps) if config.heatmaps else None
        if pictures:
            pictures.mkdir(parents=True, exist_ok=True)
        lines = _by_aligner(config, aligner, corpus, done) if aligner else _by_attention(config, models, corpus, done)
        for number, line in enumerate(lines, done):
            if line.too_long:
                log.warning(f"line {number + 1}: too long to be aligned, so it is left without links")
            if links_file:
                links_file.write(_text(config, line))
            if soft:
                soft.write(line.alignment.weights)
            if pictures and line.alignment.weights.size:
                _draw(line, pictures / f"{number}.png", measure)
            if gold:
                found.append(line.alignment.links)
    seconds = time.monotonic() - begun
    rate = (pairs - done) / max(seconds, 1e-9)
    log.info(f"{pairs - done:,} pairs in {seconds:.1f} s, {rate:.0f} a second; {device.reason}")
    if gold:
        _print_scores(gold, found)


def _by_attention(config: AlignConfig, models: list[Loaded], corpus: Corpus, done: int) -> Iterator[_Line]:
    """Aligns by the attention of one translator, or of two, one for each direction. done: number of pairs to skip."""

    def forced(loaded: Loaded, pairs: Iterator[Pair], *, score: bool = False) -> Iterator[Translation]:
        size = config.decode.batch_size
        return build.force_decode(loaded, pairs, links_from=config.links_from, batch_size=size, score=score, skip=done)

    there = forced(models[0], iter(corpus), score=config.score)
    if len(models) == 1:
        found = ((each, align(each, threshold=config.threshold)) for each in there)
    else:
        back = forced(models[1], (Pair(pair.tgt, pair.src) for pair in corpus))
        how = config.symmetrize or Symmetrization.grow_diag
        both = zip(there, back, strict=True)
        found = ((each, align_both(each, other, how, threshold=config.threshold)) for each, other in both)
    for pair, (each, alignment) in zip(islice(corpus, done, None), found, strict=True):
        too_long = bool(each.src_words and each.tgt_pieces and not alignment.weights.shape[1])
        yield _Line(pair, alignment, f" ||| {each.log_prob:.6f}", too_long)


def _by_aligner(config: AlignConfig, loaded: LoadedAligner, corpus: Corpus, done: int) -> Iterator[_Line]:
    """Aligns by the posteriors of an aligner. done: number of pairs to skip."""
    aligner = PairAligner(
        loaded.model, loaded.tokenizer, batch_size=config.decode.batch_size, threshold=config.threshold
    )
    for each in aligner.align(corpus, skip=done):
        score = " ||| " + " ".join(f"{per_word:.6f}" for per_word in each.per_word)
        yield _Line(each.pair, _alignment(config, each), score, each.too_long)


def _alignment(config: AlignConfig, aligned: AlignedPair) -> Alignment:
    """The links and weights of a pair, by the settings direction, symmetrize and threshold."""
    there, back = aligned.forward, aligned.backward
    if aligned.too_long:
        return Alignment([], there, None)
    threshold = config.threshold or MIN_POSTERIOR
    match config.direction:
        case AlignmentDirection.forward:
            return Alignment(threshold_links(threshold, there), there, 1 - there.sum(1))
        case AlignmentDirection.backward:
            return Alignment(threshold_links(threshold, back.T), back.T, None)
        case AlignmentDirection.both:
            pass
    weights = (there + back.T) / 2
    match config.symmetrize:
        case None | Symmetrization.mean:
            return Alignment(aligned.links, weights, None)
        case Symmetrization.joint:
            return Alignment(joint_links(there, back, threshold=config.threshold), weights, None)
        case how:
            sides = threshold_links(threshold, there), threshold_links(threshold, back.T)
            return Alignment(symmetrize(*sides, how), weights, None)


def _text(config: AlignConfig, line: _Line) -> bytes:
    alignment = line.alignment
    found = pharaoh_with_weights(alignment.links, alignment.weights) if config.confidence else pharaoh(alignment.links)
    return f"{found}{line.score if config.score else ''}\n".encode()


def _draw(line: _Line, path: Path, measure: str) -> None:
    from nmt.analysis.heatmap import draw  # matplotlib is slow to import, and only heatmaps need it

    alignment = line.alignment
    words = line.pair.src.split(), line.pair.tgt.split()
    draw(alignment.weights, *words, path, eos=alignment.eos, measure=measure)


def _load_translators(config: AlignConfig, device: torch.device) -> list[Loaded]:
    """One translator, or two, one for each direction. Raises ValueError if both translate in the same direction."""
    found = [load(config.checkpoint, device, config.ensemble)]
    found[0].require_attention(f"checkpoint={config.checkpoint}")
    if config.reverse:
        found.append(load(config.reverse, device))
        found[1].require_attention(f"reverse={config.reverse}")
    for loaded in found:
        loaded.require_links_from(config.links_from)
        loaded.model.show_attention(config.attention_layer, config.attention_head)
    if config.reverse:
        ways = [build.languages(loaded.config.data) for loaded in found]
        if ways[0] == ways[1] and ways[0].src != ways[0].tgt:
            raise ValueError(
                f"reverse={config.reverse} translates {ways[1].src} to {ways[1].tgt}, as checkpoint= does: give a run "
                f"with data.src={ways[0].tgt} data.tgt={ways[0].src}"
            )
        if set(ways[0]) != set(ways[1]):
            log.warning(
                f"reverse={config.reverse} translates {ways[1].src} to {ways[1].tgt}, and checkpoint= {ways[0].src} to "
                f"{ways[0].tgt}: unless these are names of the same two languages, the links mean nothing"
            )
    return found


def _print_scores(gold: Gold, found: Sequence[Collection[Link]]) -> None:
    if doubt := gold.misreading(found):
        log.warning(doubt)
    aer, precision, recall = gold.score(found)
    print(f"alignment error rate {100 * aer:.1f} %  (precision {100 * precision:.1f}, recall {100 * recall:.1f})")


if __name__ == "__main__":
    run_command("align", main, AlignConfig)
