"""Sets attention beside gradients: `python -m nmt.saliency checkpoint=RUN src=FILE [tgt=FILE]`; --help says more."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from nmt import build
from nmt.analysis.alignment import (
    Agreement,
    AttentionWriter,
    GoldLinks,
    Link,
    WordAttention,
    alignment_error_rate,
    links,
    read_links,
    without_marks,
)
from nmt.analysis.heatmap import Panel, draw_panels
from nmt.analysis.saliency import Likeness, by_words, likeness, saliency, shares
from nmt.build import Loaded
from nmt.config.door import door
from nmt.config.schema import SaliencyConfig
from nmt.data.corpus import Corpus, Pair, read_pair
from nmt.data.symbols import EOS
from nmt.training.device import choose_device
from nmt.training.journal import start_log

SPOKEN = {"attention": "attention", "jacobian": "Jacobian", "input_gradient": "input times gradient"}


def main(config: SaliencyConfig, _overrides: list[str]) -> None:
    start_log(None)
    if config.threads:
        torch.set_num_threads(config.threads)
    corpus = read_pair(config.src or "", config.tgt or config.src or "")
    lines = sum(1 for _ in corpus)  # all of it is read before anything is written
    gold = _gold(config, lines) if config.gold else []
    device = choose_device(config.device, config.precision)
    loaded = build.load(config.checkpoint, device.device)
    out = Path(config.out)
    pictures = out / "heatmaps"
    pictures.mkdir(parents=True, exist_ok=True)
    for old in pictures.glob("*.png"):
        old.unlink()
    linked: dict[str, list[list[Link]]] = {}

    def sizes() -> Iterator[dict[str, np.ndarray]]:
        """Of each pair the sizes of its matrices, which are written, drawn and linked on the way."""
        for number, pair in enumerate(_pairs(config, loaded, corpus, out)):
            matrices = _matrices(loaded, pair)
            for name, words in matrices.items():
                writers[name].write(words.weights)
            parts = {name: shares(words) for name, words in matrices.items()}
            for name, words in parts.items():
                # Every word is linked: gradients are spread wider than attention, and are not to lose by that alone.
                linked.setdefault(name, []).append(links(words.weights, claimed=0.0))
            if number < config.heatmaps and all(matrix.weights.size for matrix in parts.values()):
                _draw(pair, parts, pictures / f"{number}.png")
            yield {name: np.abs(words.weights) for name, words in matrices.items()}

    with contextlib.ExitStack() as stack:
        stack.enter_context(device.autocast())
        names = [name for name in SPOKEN if name != "attention" or loaded.model.has_attention]
        writers = {name: stack.enter_context(AttentionWriter(out / f"{name}.npz")) for name in names}
        found = likeness(sizes())
    errors = {name: _agreement(each, gold) for name, each in linked.items()} if gold else {}
    _save(out / "saliency.json", lines, found, errors)
    _print(lines, found, errors)
    print(f"written to {out}")


def _pairs(config: SaliencyConfig, loaded: Loaded, corpus: Corpus, out: Path) -> Iterator[Pair]:
    """The given pairs, or the sources with the model's own translations, which are written down as they are made."""
    kept = out / "hypotheses.txt"
    kept.unlink(missing_ok=True)
    if config.tgt:
        yield from corpus
        return
    translator = build.translator_of(loaded, config.decode)
    translator.attention = False
    with kept.open("w", encoding="utf-8", newline="\n") as text:
        for pair, nbest in zip(corpus, translator.translate(pair.src for pair in corpus), strict=True):
            text.write(nbest[0].text + "\n")
            yield Pair(pair.src, nbest[0].text)


def _matrices(loaded: Loaded, pair: Pair) -> dict[str, WordAttention]:
    src, src_word_of = loaded.tokenizer.src.encode_words(pair.src)
    tgt, tgt_word_of = loaded.tokenizer.tgt.encode_words(pair.tgt)
    found = saliency(loaded.model, [*src, EOS], [*tgt, EOS])
    tgt_word_of = without_marks(loaded.tokenizer.tgt.pieces(tgt), tgt_word_of)
    return by_words(found, [*tgt_word_of, -1], [*src_word_of, -1], len(pair.tgt.split()), len(pair.src.split()))


def _draw(pair: Pair, parts: dict[str, WordAttention], path: Path) -> None:
    panels = []
    for name, (weights, eos) in parts.items():
        largest = float(max(weights.max(), eos.max()))
        panels.append(Panel(weights, eos, largest, f"{SPOKEN[name]}\ndarkest: {largest:.2f}"))
    measure = "share of the row, as part of the darkest"
    draw_panels(panels, pair.src.split(), pair.tgt.split(), path, measure=measure)


def _gold(config: SaliencyConfig, sentences: int) -> list[GoldLinks]:
    gold = list(read_links(Path(config.gold or ""), sentences))
    if len(gold) != sentences:
        raise ValueError(
            f"{config.gold} has links for {len(gold):,} sentences but {config.src} has {sentences:,} lines: line n of "
            "one must be about line n of the other"
        )
    return [each.reversed() for each in gold] if config.gold_reversed else gold


def _agreement(found: list[list[Link]], gold: list[GoldLinks]) -> Agreement:
    return alignment_error_rate(found, [each.sure for each in gold], [each.possible for each in gold])


def _save(path: Path, pairs: int, found: dict[tuple[str, str], Likeness], errors: dict[str, Agreement]) -> None:
    """What is printed, as JSON; null where there is no number."""

    def plain(numbers) -> dict:
        return {key: None if value != value else value for key, value in numbers._asdict().items()}

    agreement = {" ~ ".join(pair): plain(each) for pair, each in found.items()}
    alignment = {name: plain(each) for name, each in errors.items()}
    content = {"pairs": pairs, "agreement": agreement, "alignment": alignment}
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _print(pairs: int, found: dict[tuple[str, str], Likeness], errors: dict[str, Agreement]) -> None:
    words = max((each.words for each in found.values()), default=0)
    print(f"{pairs:,} pairs, {words:,} target words; for each, how two rankings of the source words agree")
    print(f"{'':32}  {'Kendall tau':>11}  {'same on top':>11}  {'by chance':>9}")
    for (one, other), each in found.items():
        shown = f"{each.tau:>11.3f}  {100 * each.top:>9.1f} %  {100 * each.chance:>7.1f} %"
        print(f"{f'{SPOKEN[one]}, {SPOKEN[other]}':32}  {shown}")
    for name, (aer, precision, recall) in errors.items():
        rates = f"(precision {100 * precision:.1f}, recall {100 * recall:.1f})"
        print(f"alignment error rate of {SPOKEN[name]} {100 * aer:.1f} %  {rates}")
    if words and ("attention", "jacobian") in found:
        print(_answer(found))


def _answer(found: dict[tuple[str, str], Likeness]) -> str:
    """What the numbers say, in a sentence. Without ties (1 + tau) / 2 of all couples of words are in like order."""
    looks, scale = (50 * (1 + found[pair].tau) for pair in (("attention", "jacobian"), ("jacobian", "input_gradient")))
    nearer, further = "what the gradients agree on", "chance"
    if looks - 50 < scale - looks:
        nearer, further = further, nearer
    return (
        f"Is attention explanation? Of two source words, attention puts that first on which the target word depends "
        f"more, by the Jacobian, in {looks:.0f} % of cases; chance would in 50 %, and the two gradients agree in "
        f"{scale:.0f} %: it is nearer to {nearer} than to {further}."
    )


if __name__ == "__main__":
    door("saliency", main, SaliencyConfig)
