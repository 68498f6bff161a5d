"""Translates standard input: `python -m nmt.translate checkpoint=RUN < in.txt > out.txt`; --help says more."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

from nmt import build
from nmt.analysis.alignment import pharaoh
from nmt.analysis.evaluation import draw_translation, word_links
from nmt.config.door import door
from nmt.config.schema import TranslateConfig
from nmt.decoding.translator import Translation
from nmt.training.device import choose_device
from nmt.training.journal import start_log


def main(config: TranslateConfig, _overrides: list[str]) -> None:
    start_log(None)
    if config.threads:
        torch.set_num_threads(config.threads)
    device = choose_device(config.device, config.precision)
    loaded = build.load(config.checkpoint, device.device)
    for key, wanted in (("alignments", config.alignments), ("heatmaps", config.heatmaps)):
        if wanted and not loaded.model.has_attention:
            raise ValueError(f"{key}={wanted} needs attention, which this model ({loaded.config.name}) does not have")
    translator = build.build_translator(loaded.model, loaded.tokenizer, config.decode)
    translator.attention = bool(config.alignments or config.heatmaps)
    prompt = sys.stdin.isatty()
    with contextlib.ExitStack() as stack:
        stack.enter_context(device.autocast())
        aligned = None
        if config.alignments:
            aligned = stack.enter_context(open(config.alignments, "w", encoding="utf-8", newline="\n"))
        pictures = Path(config.heatmaps) if config.heatmaps else None
        if pictures:
            pictures.mkdir(parents=True, exist_ok=True)
        lines = _prompted() if prompt else _lines()
        for number, nbest in enumerate(translator.translate(lines, window=1 if prompt else None)):
            _write(nbest, number, config.decode.nbest)
            if aligned:
                aligned.write(pharaoh(word_links(nbest[0])) + "\n")
            if pictures:
                draw_translation(nbest[0], pictures / f"{number}.png", pieces=config.pieces)
            if prompt:
                sys.stdout.flush()
        sys.stdout.flush()


def _lines() -> Iterator[str]:
    """The lines of standard input, which end at line feeds only. Raises ValueError naming a line that is not UTF-8."""
    for number, line in enumerate(sys.stdin.buffer, 1):
        try:
            yield line.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(
                f"standard input, line {number}: not UTF-8 ({error.reason}); convert it, say with iconv"
            ) from None


def _prompted() -> Iterator[str]:
    while True:
        try:
            yield input("> ")
        except EOFError:
            print()
            return


def _write(nbest: list[Translation], number: int, wanted: int) -> None:
    """The translation, or with decode.nbest above 1 lines `line ||| text ||| score`, lines counted from 0."""
    if wanted == 1:
        text = nbest[0].text + "\n"
    else:
        text = "".join(f"{number} ||| {each.text} ||| {each.score:.6f}\n" for each in nbest)
    sys.stdout.buffer.write(text.encode("utf-8"))


if __name__ == "__main__":
    door("translate", main, TranslateConfig)
