"""The evaluate command: `python -m nmt.evaluate checkpoint=RUN [data.test=PREFIX]` translates and scores a test set."""

import contextlib
import logging
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from nmt import build, checkpoint
from nmt.analysis.alignment import AlignmentScores, Gold, by_piece, gold_beside, read_gold, word_links
from nmt.analysis.by_length import length_table
from nmt.analysis.evaluation import EVALUATION_FILES, ParallelText, Report, Scoring, is_free, write_evaluation
from nmt.analysis.metrics import METRICS, Limits, build_scorer, default_metrics
from nmt.analysis.replacing import replacing
from nmt.analysis.report import ReportHeader, ReportSentences, Selection, write_page
from nmt.analysis.segmentation import unfit_tokenizer
from nmt.build import load
from nmt.checkpoint.run_folder import RunFolder, run_folder_of
from nmt.cli import run_command
from nmt.config.paths import check_paths, reads, writes
from nmt.config.schema import EVALUATION_OUTPUTS, DataConfig, DataKind, EvaluateConfig, TestConfig
from nmt.corpus import ConcatenatedCorpus, Corpus, Pair
from nmt.decoding.options import SearchOptions
from nmt.decoding.translator import ATTENTION_PIECES, Translator
from nmt.demo_corpus import DEMO_TGT
from nmt.runtime.device import Device
from nmt.runtime.distributed import Distributed, init_distributed
from nmt.runtime.text_files import read_lines
from nmt.validation.translation import distributed_translate, likelihood

log = logging.getLogger("nmt")


def main(config: EvaluateConfig, overrides: list[str]) -> None:
    with init_distributed() as distributed:
        _evaluate(config, distributed, pictures_asked_for=any(each.startswith("heatmaps=") for each in overrides))


def _evaluate(config: EvaluateConfig, distributed: Distributed, *, pictures_asked_for: bool) -> None:
    device = build.start(config, distributed)
    loaded = load(config.checkpoint, device.device, config.ensemble)
    _check_attention(config, loaded, pictures_asked_for)
    loaded.model.show_attention(config.attention_layer, config.attention_head)
    test = _read_test(config, loaded)
    run = run_folder_of(loaded.folder)
    name = test.corpus.name if config.out else distributed.broadcast(_free_name(run, test))
    folder = Path(config.out) if config.out else run.evaluation(name)
    page = folder / "report.html" if config.out else run.report
    own = [] if config.out else [writes("out", folder, EVALUATION_OUTPUTS), writes("out", page.parent, (page.name,))]
    check_paths(config, [reads("data.test", *test.paths, Path(f"{test.data.test}.links")), *own])
    opened = ", ".join(map(str, loaded.folders))
    log.info(f"checkpoint {opened}; {len(test.pairs)} sentences of {test.corpus.name}; precision {device.reason}")
    if test.text.synthetic_long:
        log.info(test.text.synthetic_long)
    limits = Limits(config.ter_max_tokens, config.ter_max_seconds)
    scoring = Scoring(build.metric_tokenizer(test.data), config.metrics, limits, build.languages(test.data).tgt)
    if unfit := unfit_tokenizer(scoring.tokenizer, test.text.references, "data.bleu_tokenizer"):
        log.warning(unfit)

    with distributed.main_process_first():
        encoded = build.encode(test.corpus, loaded.tokenizer, test.data, skip=False)
    batches = build.build_batches(loaded.config, encoded, training=False)
    translator = build.translator_of(loaded, config.decode)
    # The output folder is created before the slow parts, so that an error there is found early.
    place = replacing(folder, EVALUATION_FILES) if distributed.is_main else contextlib.nullcontext(folder)
    with place as partial:
        loss = likelihood(loaded.model, batches, device, distributed).loss
        found = _translations(loaded.model, translator, test, device, distributed)
        if not distributed.is_main:
            list(found)
            return
        selection = Selection(encode=loaded.tokenizer.tgt.encode if test.text.without_spaces else None)
        with device.autocast():
            report = write_evaluation(
                partial,
                selection.observe(found, test.text.references),
                test.text,
                scoring,
                perplexity=math.exp(min(loss, 700.0)),
                alignment=_agreement(loaded, test.pairs, test.gold) if test.gold else None,
                attention=loaded.model.has_attention,
                heatmaps=config.heatmaps,
            )
            shown = _shown(loaded, selection, test)
        header = _report_header(loaded, run, name, test.data, translator.search)
        own_curves = run.metrics if len(loaded.folders) == 1 else folder / run.metrics.name  # none for an ensemble
        write_page(page, header, report, shown, own_curves)
    _print(report, folder, page)


class _Test(NamedTuple):
    """The test set: its settings, corpus, files, pairs, text, gold links if there are any, and the prefix of the
    translation of each line."""

    data: DataConfig
    corpus: Corpus
    paths: Sequence[Path]
    pairs: list[Pair]
    text: ParallelText
    gold: Gold | None
    prefixes: list[str]


def _read_test(config: EvaluateConfig, loaded: build.Loaded) -> _Test:
    data = _test_of(loaded.config.data, config.data)
    for name in default_metrics() if config.metrics is None else config.metrics:
        # Raises ValueError, before anything is read, if a package is missing.
        build_scorer(name, build.metric_tokenizer(data), build.languages(data).tgt)
    corpus = build.read_corpus(data, "test")
    paths = corpus.paths
    if config.data.concat > 1:
        corpus = ConcatenatedCorpus(corpus, config.data.concat)
    pairs = list(corpus)
    synthetic_long = corpus.about if isinstance(corpus, ConcatenatedCorpus) else ""
    text = ParallelText([pair.src for pair in pairs], [pair.tgt for pair in pairs], synthetic_long)
    return _Test(data, corpus, paths, pairs, text, _gold(config, data, pairs, loaded), _prefixes(config, len(pairs)))


def _prefixes(config: EvaluateConfig, lines: int) -> list[str]:
    """The prefix of the translation of each line. Raises ValueError if a file has another number of lines."""
    if not config.prefixes:
        return [config.prefix or ""] * lines
    prefixes = list(read_lines(config.prefixes))
    if len(prefixes) != lines:
        raise ValueError(f"prefixes={config.prefixes} has {len(prefixes)} lines, and the test set {lines}")
    return prefixes


def _shown(loaded: build.Loaded, selection: Selection, test: _Test) -> ReportSentences:
    """The sentences of the report page; matrices are by piece for text without spaces."""
    pairs = (test.pairs[kept.number] for kept in selection.selected)
    forced, links = (
        list(build.force_decode(loaded, pairs)),
        test.gold.links if test.gold else None,
    )
    if selection.encode:
        forced, links = [by_piece(each) for each in forced], None  # gold links are between words
    return ReportSentences(selection, forced, links, loaded.model.has_attention)


def _check_attention(config: EvaluateConfig, loaded: build.Loaded, pictures_asked_for: bool) -> None:
    """Raises ValueError if a setting needs attention and the model has none."""
    asked = [f"heatmaps={config.heatmaps}"] if pictures_asked_for and config.heatmaps else []
    asked += [f"gold={config.gold}"] if config.gold else []
    asked += ["gold_reversed=true"] if config.gold_reversed else []
    if asked:
        loaded.require_attention(asked[0])


def _translations(model, translator: Translator, test: _Test, device: Device, distributed: Distributed):
    """The best translation of each line, one by one; the work is divided among the ranks, if there are several."""
    lines, prefixes = test.text.sources, test.prefixes
    if distributed.size == 1:
        yield from (nbest[0] for nbest in translator.translate(lines, prefixes=prefixes))
    else:
        yield from distributed_translate(
            model, translator, lines, device, distributed, attention=True, prefixes=prefixes
        )


def _test_of(own: DataConfig, asked: TestConfig) -> DataConfig:
    """The settings of the run's test set, with those of the command line in their place. Raises ValueError for
    settings that have no effect."""
    kind = asked.kind or own.kind
    if asked.kind is None and own.kind is DataKind.demo and asked.test:
        kind = DataKind.files
    for key in ("name", "config"):
        if (value := getattr(asked, key)) and kind is not DataKind.hub:
            raise ValueError(
                f"data.{key}={value} has no effect: it needs data.kind=hub; give that too, or leave it out"
            )
    pair = build.languages(own)
    files = DataConfig() if kind is DataKind.demo else own  # the demo corpus has its own test set
    return replace(
        own,
        kind=kind,
        src=asked.src or pair.src,
        tgt=asked.tgt or pair.tgt,
        test=asked.test or files.test,
        name=asked.name or files.name,
        config=asked.config or files.config,
        bleu_tokenizer=asked.bleu_tokenizer or own.bleu_tokenizer,
        cache=asked.cache,
        train=None,
        valid=None,
    )


def _free_name(run: RunFolder, test: _Test) -> str:
    """The name of the evaluation: that of the test set; with its folder, or else with its digest, if the run has an
    evaluation of another test set under that name."""
    corpus = test.corpus
    folder = Path(str(test.data.test)).absolute().parent.name if test.data.kind is DataKind.files else ""
    names = [corpus.name]
    if folder.strip("."):
        names.append(f"{folder.strip('.')}-{corpus.name}")
    for name in names:
        if is_free(run.evaluation(name), test.text):
            break
    else:
        name = f"{corpus.name}-{corpus.digest()[:8]}"
    if name != corpus.name:
        log.info(f"{run.evaluation(corpus.name)} is of another text called {corpus.name}; this one is called {name}")
    return name


def _gold(config: EvaluateConfig, data: DataConfig, pairs: list[Pair], loaded: build.Loaded) -> Gold | None:
    """The gold links of `gold=`, or those beside the test set, PREFIX.links or PREFIX.links.gz; None if there are none.

    Raises ValueError if they do not fit the test set, and if a setting requires them and they cannot be used.
    """
    asked = f"gold={config.gold}" if config.gold else "gold_reversed=true"
    if config.data.concat > 1 and (config.gold or config.gold_reversed):
        raise ValueError(f"{asked} is about the sentences of the test set as they are: leave data.concat= away")
    if not loaded.model.has_attention or config.data.concat > 1:
        return None
    target_first, path = config.gold_reversed, Path(config.gold) if config.gold else None
    if path is None and data.kind is DataKind.demo:
        if config.gold_reversed:
            raise ValueError(f"{asked} is about a file of links, and the demo corpus knows its own: leave it away")
        path = Path(data.cache) / "demo" / "test.links"
        target_first = build.languages(data).src == DEMO_TGT
    elif path is None and data.kind is DataKind.files:
        path = gold_beside(str(data.test))
    if path is None:
        if config.gold_reversed:
            raise ValueError(f"{asked} is about gold links, and {data.test}.links is not there: give gold=FILE as well")
        return None
    gold = read_gold(path, pairs, f"the test set {data.test or ''}".strip(), target_first=target_first)
    log.info(f"gold links of {path}, read {'target' if target_first else 'source'} first")
    return gold


def _agreement(loaded: build.Loaded, pairs: list[Pair], gold: Gold) -> AlignmentScores:
    """The scores, against the gold links, of the links from forced decoding of the references."""
    forced = build.force_decode(loaded, pairs, score=False)
    found = [word_links(each) for each in forced]
    if doubt := gold.misreading(found):
        log.warning(doubt)
    return gold.score(found)


def _report_header(
    loaded: build.Loaded, run: RunFolder, test: str, data: DataConfig, search: SearchOptions
) -> ReportHeader:
    """The heading of the report page."""
    facts = {
        "experiment": loaded.config.name,
        "checkpoint": "; ".join(
            f"{folder.name}, after {checkpoint.read_update(folder, weights_only=True):,} updates"
            for folder in loaded.folders
        ),
        "decoding": f"sampling, seed {search.sampling_seed}" if search.sampling else f"beam {search.beam}",
    }
    if loaded.head:
        facts["links"] = "of the alignment head; the matrices are attention"
    title = " + ".join(run_folder_of(folder).path.name for folder in loaded.folders)
    return ReportHeader(title, test, *build.languages(data), facts)


def _print(report: Report, folder: Path, page: Path) -> None:
    for name, score in report.scores.items():
        print(f"{METRICS[name].label} {score.score:.2f}  {score.signature}")
    for remark in report.remarks:
        print(remark)
    print(f"perplexity of the references {report.perplexity:.3f}")
    print(f"{report.sentences} sentences in {report.seconds:.1f} s")
    if report.without_attention:
        print(
            f"{report.without_attention} of them, of more than {ATTENTION_PIECES:,} source pieces, are without links "
            "and matrix"
        )
    if report.alignment:
        aer, precision, recall = report.alignment
        print(f"alignment error rate {100 * aer:.1f} %  (precision {100 * precision:.1f}, recall {100 * recall:.1f})")
    print(length_table(report.rows, report.unit))
    for name in report.heatmaps:
        print(folder / name)
    print(f"written to {folder}")
    print(f"report: {page}")


if __name__ == "__main__":
    run_command("evaluate", main, EvaluateConfig)
