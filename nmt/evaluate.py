"""Translates and scores a test set: `python -m nmt.evaluate checkpoint=RUN [data.test=PREFIX]`; --help says more."""

import logging
import math
from dataclasses import replace
from pathlib import Path

import torch

from nmt import build
from nmt.analysis.alignment import read_links
from nmt.analysis.evaluation import Report, agreement, write_evaluation
from nmt.analysis.metrics import length_table
from nmt.analysis.report import Selection, Shown, Subject, write_page
from nmt.config.door import door
from nmt.config.paths import check_paths, reads, writes
from nmt.config.schema import EVALUATION_FILES, DataConfig, DataKind, EvaluateConfig, TestConfig
from nmt.data.corpus import Joined
from nmt.data.demo import DEMO_TGT
from nmt.decoding.forced import force
from nmt.decoding.translator import Translator
from nmt.training import checkpoint
from nmt.training.device import Device, choose_device
from nmt.training.journal import start_log
from nmt.training.ranks import Ranks, join_ranks
from nmt.training.run_folder import RunFolder, run_of
from nmt.training.validation import likelihood, translate_together

log = logging.getLogger("nmt")


def main(config: EvaluateConfig, overrides: list[str]) -> None:
    with join_ranks() as ranks:
        _evaluate(config, ranks, pictures_asked_for=any(each.startswith("heatmaps=") for each in overrides))


def _evaluate(config: EvaluateConfig, ranks: Ranks, *, pictures_asked_for: bool) -> None:
    start_log(None, quiet=not ranks.first)
    if config.threads:
        torch.set_num_threads(config.threads)
    device = choose_device(config.device, config.precision, ranks)
    loaded = build.load(config.checkpoint, device.device)
    if pictures_asked_for and config.heatmaps and not loaded.model.has_attention:
        raise ValueError(
            f"heatmaps={config.heatmaps} needs attention, which this model ({loaded.config.name}) does not have"
        )
    data = _test_of(loaded.config.data, config.data)
    corpus = build.read_corpus(data, "test")
    stress, paths = "", corpus.paths
    if config.data.join > 1:
        corpus = Joined(corpus, config.data.join)
        stress = corpus.about
    pairs = list(corpus)
    run = run_of(loaded.folder)
    folder = Path(config.out) if config.out else run.evaluation(corpus.name)
    page = folder / "report.html" if config.out else run.report
    own = [] if config.out else [writes("out", folder, EVALUATION_FILES), writes("out", page.parent, (page.name,))]
    check_paths(config, [reads("data.test", *paths, Path(f"{data.test}.links")), *own])
    log.info(f"checkpoint {loaded.folder}; {len(pairs)} sentences of {corpus.name}; precision {device.reason}")
    if stress:
        log.info(stress)

    with ranks.first_alone():
        encoded = build.encode(corpus, loaded.tokenizer, data, skip=False)
    batches = build.build_batches(loaded.config, encoded, training=False)
    loss = likelihood(loaded.model, batches, device, ranks).loss
    translator = build.build_translator(loaded.model, loaded.tokenizer, config.decode)
    found = _translations(loaded.model, translator, [pair.src for pair in pairs], device, ranks)
    if not ranks.first:
        list(found)
        return
    references = [pair.tgt for pair in pairs]
    gold = _gold(data) if loaded.model.has_attention and not stress else None
    selection = Selection()
    with device.autocast():
        alignment = agreement(force(loaded.model, loaded.tokenizer, pairs, score=False), gold) if gold else None
        report = write_evaluation(
            folder,
            selection.watch(found, references),
            [pair.src for pair in pairs],
            references,
            tgt=build.languages(data).tgt,
            perplexity=math.exp(min(loss, 700.0)),
            attention=loaded.model.has_attention,
            heatmaps=config.heatmaps,
            alignment=alignment,
            stress=stress,
        )
        forced = list(force(loaded.model, loaded.tokenizer, (pairs[kept.number] for kept in selection.kept)))
    shown = Shown(selection, forced, gold, loaded.model.has_attention)
    write_page(page, _subject(loaded, run, corpus.name, data, config.decode.beam), report, shown, run.metrics)
    _print(report, folder, page)


def _translations(model, translator: Translator, lines: list[str], device: Device, ranks: Ranks):
    """The best translation of each line, as they are made; by several ranks, together."""
    if ranks.size == 1:
        yield from (nbest[0] for nbest in translator.translate(lines))
    else:
        yield from translate_together(model, translator, lines, device, ranks, attention=True)


def _test_of(own: DataConfig, asked: TestConfig) -> DataConfig:
    """The run's test set with what the command line says instead."""
    kind = asked.kind or own.kind
    if asked.kind is None and own.kind is DataKind.demo and asked.test:
        kind = DataKind.files
    pair = build.languages(own)
    files = DataConfig() if kind is DataKind.demo else own  # the demo corpus brings its own
    return replace(
        own,
        kind=kind,
        src=asked.src or pair.src,
        tgt=asked.tgt or pair.tgt,
        test=asked.test or files.test,
        name=asked.name or files.name,
        config=asked.config or files.config,
        cache=asked.cache,
        train=None,
        valid=None,
    )


def _gold(data: DataConfig):
    """The gold links that lie beside a test set, PREFIX.links, a line a pair, or None."""
    if data.kind is DataKind.demo:
        links = read_links(Path(data.cache) / "demo" / "test.links")
        return [each.reversed() for each in links] if build.languages(data).src == DEMO_TGT else list(links)
    if data.kind is DataKind.files:
        path = Path(f"{data.test}.links")
        return list(read_links(path)) if path.is_file() else None
    return None


def _subject(loaded: build.Loaded, run: RunFolder, test: str, data: DataConfig, beam: int) -> Subject:
    """What the page says it is about."""
    facts = {
        "experiment": loaded.config.name,
        "checkpoint": f"{loaded.folder.name}, after {checkpoint.read_update(loaded.folder):,} updates",
        "decoding": f"beam {beam}",
    }
    return Subject(run.path.name, test, *build.languages(data), facts)


def _print(report: Report, folder: Path, page: Path) -> None:
    for name, score in (("BLEU", report.bleu), ("chrF", report.chrf), ("TER", report.ter)):
        print(f"{name} {score.score:.2f}  {score.signature}")
    print(f"perplexity of the references {report.perplexity:.3f}")
    print(f"{report.sentences} sentences in {report.seconds:.1f} s")
    if report.alignment:
        aer, precision, recall = report.alignment
        print(f"alignment error rate {100 * aer:.1f} %  (precision {100 * precision:.1f}, recall {100 * recall:.1f})")
    print(length_table(report.rows))
    for path in report.heatmaps:
        print(path)
    print(f"written to {folder}")
    print(f"to look at: {page}")


if __name__ == "__main__":
    door("evaluate", main, EvaluateConfig)
