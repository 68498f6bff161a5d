"""The translate command: `python -m nmt.translate checkpoint=RUN < in.txt > out.txt` translates lines."""

import contextlib
import json
import logging
import sys
from collections.abc import Iterator
from itertools import islice, repeat
from pathlib import Path
from typing import BinaryIO

from nmt import build
from nmt.analysis.alignment import pharaoh
from nmt.analysis.confidence import Calibration, assess
from nmt.analysis.evaluation import draw_translation, word_links
from nmt.analysis.segmentation import needs_space
from nmt.build import load
from nmt.cli import run_command
from nmt.config.schema import HeatmapUnits, TextFormat, TranslateConfig
from nmt.config.unused import TRANSLATE_WITH_HEAD, TRANSLATE_WITHOUT_PENALTY, refuse_unused
from nmt.decoding.output_files import OutputFile, truncate_to_common
from nmt.decoding.translator import Translation, Translator
from nmt.decoding.word_scores import word_log_probs
from nmt.runtime.text_files import STREAM, decode_lines, name_of, open_input, open_output, read_text

log = logging.getLogger("nmt")


def main(config: TranslateConfig, overrides: list[str]) -> None:
    device = build.start(config)
    loaded = load(config.checkpoint, device.device, config.ensemble)
    loaded.model.show_attention(config.attention_layer, config.attention_head)
    for key, wanted in (("alignments", config.alignments), ("heatmaps", config.heatmaps)):
        if wanted:
            loaded.require_attention(f"{key}={wanted}")
    translator = build.translator_of(loaded, config.decode)
    if not translator.search.coverage_penalty:  # which uses the attention of attention_layer and attention_head
        refuse_unused(config, overrides, TRANSLATE_WITH_HEAD if loaded.head else TRANSLATE_WITHOUT_PENALTY)
    if config.format is TextFormat.html:
        loaded.require_attention("format=html")
        with device.autocast():
            _translate_html(config, translator, build.languages(loaded.config.data))
        return
    translator.attention = bool(config.alignments or config.confidence or config.heatmaps)
    terminal = sys.stdin if config.source is None and sys.stdin is not None and sys.stdin.isatty() else None
    with contextlib.ExitStack() as stack:
        stack.enter_context(device.autocast())
        source = config.source or STREAM
        lines = Lines(terminal.buffer if terminal else stack.enter_context(open_input(source)), source)
        prefixes = stack.enter_context(_prefixes(config))
        calibration = build.calibration_of(loaded) if config.confidence else None
        done = _keep(config)  # from here on files are changed
        out = stack.enter_context(open_output(config.out or STREAM, append=config.append))
        aligned = config.alignments and stack.enter_context(open_output(config.alignments, append=config.append))
        pictures = Path(config.heatmaps) if config.heatmaps else None
        if pictures:
            pictures.mkdir(parents=True, exist_ok=True)
        if terminal:  # all lines are new ones
            found = translator.translate(_prompted(), prefixes=prefixes, window=1)
        else:
            found = translator.translate(lines, prefixes=prefixes, skip=done)
        if config.confidence:
            confidence = stack.enter_context(open_output(config.confidence, append=config.append))
            ahead = 1 if terminal else translator.batch_size
            found = _write_confidence(found, confidence, loaded, calibration, ahead=ahead)
        for number, nbest in enumerate(found, done):
            out.write(_text(nbest, number, config.decode.nbest).encode("utf-8"))
            out.flush()  # so that every finished line is in the file, for readers and for append=true after a kill
            if aligned:
                aligned.write((pharaoh(word_links(nbest[0])) + "\n").encode("utf-8"))
                aligned.flush()
            if pictures and nbest[0].weights.size:
                draw_translation(
                    nbest[0],
                    pictures / f"{number}.png",
                    pieces=config.heatmap_units and config.heatmap_units is HeatmapUnits.subwords,
                )
        if not terminal and lines.number < done:
            raise ValueError(
                f"out={config.out} has {done} translations, and {name_of(source)} only {lines.number} lines: it is not "
                "a translation of that; try append=false"
            )
        if config.prefixes and not terminal and next(prefixes, None) is not None:
            raise ValueError(f"prefixes={config.prefixes} has more lines than the {lines.number} of {name_of(source)}")


@contextlib.contextmanager
def _prefixes(config: TranslateConfig) -> Iterator[Iterator[str]]:
    """The prefix of the translation of each line; an endless iterator if it is the same for all lines. The file is
    opened at once."""
    if not config.prefixes:
        yield repeat(config.prefix or "")
        return
    with open_input(config.prefixes) as file:
        yield decode_lines(file, config.prefixes)


def _write_confidence(
    found: Iterator[list[Translation]],
    file: BinaryIO,
    loaded: build.Loaded,
    calibration: Calibration | None,
    *,
    ahead: int,
) -> Iterator[list[Translation]]:
    """Writes the confidence of the best translation of each line, and yields the translations unchanged.

    ahead: the number of lines that are scored together.
    """
    if calibration is None:
        log.warning(build.why_uncalibrated(loaded))
    temperature = calibration.temperature if calibration else 1.0
    while lines := list(islice(found, ahead)):
        best = [nbest[0] for nbest in lines]
        scores = word_log_probs(loaded.model, loaded.tokenizer, best, batch_size=ahead, temperature=temperature)
        for nbest, log_probs in zip(lines, scores, strict=True):
            line = json.dumps(assess(nbest[0], log_probs, calibration).to_dict())
            file.write(f"{line}\n".encode())
            file.flush()
            yield nbest


def _translate_html(config: TranslateConfig, translator: Translator, languages: build.Languages) -> None:
    """Translates an HTML document. Raises ValueError if it cannot be parsed."""
    try:
        from nmt.documents.html import HtmlDocument, Translated
    except ImportError as error:
        raise ValueError(f"format=html needs {error.name}: pip install 'attention-nmt[serve]'") from None
    source = config.source or STREAM
    html = read_text(source)
    try:
        document = HtmlDocument(html, languages.src)
    except ValueError as error:
        raise ValueError(f"{name_of(source)}: {error}") from None
    found = (nbest[0] for nbest in translator.translate(document.sentences))
    spaced = needs_space(languages.src, languages.tgt)
    translated = document.render([Translated(each.text, word_links(each)) for each in found], spaced=spaced)
    with open_output(config.out or STREAM) as out:
        out.write(translated.encode("utf-8"))


def _keep(config: TranslateConfig) -> int:
    """Truncates the output files to the lines that are complete in all -> their number; 0 without append=true."""
    if not (config.append and config.out):
        return 0
    outputs = [OutputFile(Path(config.out), numbered=config.decode.nbest > 1)]
    return truncate_to_common(
        outputs + [OutputFile(Path(path)) for path in (config.alignments, config.confidence) if path]
    )


class Lines:
    """The lines of an open file, which end at line feeds only. number: the number of lines read so far.

    Raises ValueError, which names `path`, for a line that is not UTF-8.
    """

    def __init__(self, file: BinaryIO, path: str):
        self.file, self.path, self.number = file, path, 0

    def __iter__(self) -> Iterator[str]:
        for line in decode_lines(self.file, self.path):
            self.number += 1
            yield line


def _prompted() -> Iterator[str]:
    """The lines typed at a terminal. The prompt does not get into translations that are written to a file or pipe."""
    terminal = sys.stdout if sys.stdout is not None and sys.stdout.isatty() else sys.stderr
    while True:
        with contextlib.redirect_stdout(terminal):
            try:
                line = input("> ")
            except EOFError:
                print()
                return
        yield line


def _text(nbest: list[Translation], number: int, wanted: int) -> str:
    """The translation as a line, or with decode.nbest above 1 lines `number ||| text ||| score`, numbers from 0."""
    if wanted == 1:
        return nbest[0].text + "\n"
    return "".join(f"{number} ||| {each.text} ||| {each.score:.6f}\n" for each in nbest)


if __name__ == "__main__":
    run_command("translate", main, TranslateConfig)
