"""Whatever a person or a stranger hands in gives an answer or one line: NMT_FUZZ=10000 tries so many checkpoints."""

import contextlib
import os
import random
import resource
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from nmt import build, checkpoint
from nmt.checkpoint.run_folder import find_checkpoint
from nmt.cli import explain
from nmt.config.saved import from_dict, to_dict
from nmt.config.schema import TrainConfig, TranslateConfig
from nmt.corpus import EmptyLines, read_files
from nmt.data.binarized import binarize_corpus
from nmt.decoding.search import SearchOptions
from nmt.decoding.translator import Translator
from tests.support.commands import compose_config
from tests.support.mutations import mutate, odd_json

COUNT = int(os.environ.get("NMT_FUZZ", "120"))
MOST_MEMORY = 300 << 20
MOST_SECONDS = 20


def examples(count: int) -> settings:
    return settings(
        max_examples=count,
        deadline=None,
        suppress_health_check=list(HealthCheck),  # type: ignore[arg-type]
        database=None,
        derandomize=True,
    )


def one_line(error: Exception) -> str:
    message = explain(error, TrainConfig)
    assert isinstance(error, ValueError | OSError) or type(error).__module__.startswith(("hydra", "omegaconf")), repr(
        error
    )
    assert len(message.splitlines()) == 1, message
    assert 0 < len(message.encode("utf-8", "replace")) < 3000, message
    return message


@contextlib.contextmanager
def no_hang():
    def late(*_):
        raise AssertionError(f"still at it after {MOST_SECONDS} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(MOST_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


@pytest.fixture(scope="module")
def run(tiny, tmp_path_factory) -> Path:
    """A run with the settings that its model has."""
    folder = tmp_path_factory.mktemp("fuzz") / "run"
    config = compose_config(tiny.settings(folder))
    torch.manual_seed(1)
    model = build.new_model(config, tiny.tokenizer, torch.device("cpu"))
    trainer = tiny.trainer(folder, updates=2, model=model, ema=0.9)
    trainer.checkpointer.config = to_dict(config)
    trainer.train()
    return folder


@pytest.mark.slow
def test_a_mutated_checkpoint_translates_and_trains_on_or_is_refused_in_one_line(tiny, run, tmp_path):
    before, refused = None, 0
    for seed in range(COUNT):
        mutant = tmp_path / "mutant"
        shutil.copytree(run / "checkpoints" / "last", mutant)
        mutate(mutant, random.Random(seed))
        for what in (translate, go_on):
            try:
                with no_hang():
                    what(tiny, mutant, tmp_path)
            except (ValueError, OSError) as error:
                one_line(error)
                refused += 1
            except Exception as error:
                raise AssertionError(f"seed {seed}, {what.__name__}: {error!r}") from error
        shutil.rmtree(mutant)
        shutil.rmtree(tmp_path / "other", ignore_errors=True)
        before = before or peak()
    assert refused > COUNT / 2
    assert before
    assert peak() - before < MOST_MEMORY


def translate(tiny, mutant: Path, _: Path) -> None:
    loaded = build.load(str(find_checkpoint(mutant)), torch.device("cpu"))
    translator = Translator(loaded.model, loaded.tokenizer, SearchOptions(beam=1, max_length=3))
    assert len(list(translator.translate(["der hund", ""]))) == 2


def go_on(tiny, mutant: Path, folder: Path) -> None:
    snapshot = checkpoint.read(mutant, weights_only=False)
    config = from_dict(TrainConfig, snapshot.config)
    with torch.device("meta"):
        checkpoint.check_fit(
            mutant, build.build_model(config.model, len(tiny.tokenizer.src), len(tiny.tokenizer.tgt)).state_dict()
        )
    model = build.new_model(config, tiny.tokenizer, torch.device("cpu"))
    trainer = tiny.trainer(folder / "other", updates=3, model=model, ema=0.9)
    trainer.restore(snapshot)
    trainer.order = trainer.batches.epoch(trainer.progress.epoch)
    trainer._update()


@pytest.mark.slow
def test_a_mutated_configuration_is_one_or_is_refused_in_one_line(tiny, tmp_path):
    plain = to_dict(compose_config(tiny.settings(tmp_path)))
    for seed in range(COUNT):
        rng = random.Random(seed)
        mutant: object = plain
        for _ in range(rng.randint(1, 3)):
            mutant = odd_json(mutant, rng)
        if not isinstance(mutant, dict):
            continue
        try:
            with no_hang():
                assert isinstance(from_dict(TrainConfig, mutant), TrainConfig)
        except ValueError as error:
            one_line(error)


def keys(schema: type) -> list[str]:
    def leaves(plain: Any, prefix: str = ""):
        for key, value in plain.items():
            yield from leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else [f"{prefix}{key}"]

    return list(leaves(OmegaConf.to_container(OmegaConf.structured(schema))))


WORDS = st.sampled_from(
    ["1e-3", "gruu", "-1", "0", "nan", "inf", "null", "", "[1,2]", "{a: 1}", "true", "x", "1e999", "???"]
)
ANY = WORDS | st.integers().map(str) | st.text(st.characters(codec="utf-8"), max_size=12)
KEYS = st.sampled_from(keys(TrainConfig)) | st.sampled_from(
    ["+experiment", "data", "preset", "hiden_size", "~data", "a.b"]
)


@pytest.mark.slow
@examples(COUNT // 5)  # composing takes a fifth of a second
@given(st.lists(st.tuples(KEYS, ANY), min_size=1, max_size=2))
def test_an_odd_command_line_composes_or_is_refused_in_one_line(pairs):
    overrides = [f"{key}={value}" for key, value in pairs]
    try:
        with no_hang():
            compose_config(overrides)
    except Exception as error:
        one_line(error)


BYTES = st.binary(max_size=60)
LINE = st.text(st.characters(), max_size=30) | st.text("ab .,!?\t\r\u2028\u0085\x00\x1b\U0001f600é日", max_size=40)


@pytest.mark.slow
@examples(COUNT)
@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\n"), max_size=40), max_size=12))
def test_one_line_comes_out_for_one_that_goes_in(tiny, lines):
    torch.manual_seed(0)
    translator = Translator(
        tiny.model().eval(), tiny.tokenizer, SearchOptions(beam=2, nbest=2, max_length=6), batch_size=3
    )
    found = list(translator.translate(lines))
    assert len(found) == len(lines)
    assert all(len(each.text.splitlines()) <= 1 and "\n" not in each.text for nbest in found for each in nbest)


@pytest.mark.slow
@examples(COUNT)
@given(
    st.binary(max_size=60) | LINE.map(lambda text: text.encode("utf-8", "replace")),
    st.binary(max_size=60),
    st.sampled_from(EmptyLines),
)
def test_an_odd_corpus_is_read_or_refused_in_one_line(tiny, tmp_path_factory, src, tgt, blank):
    folder = tmp_path_factory.mktemp("odd")
    (folder / "c.de").write_bytes(src)
    (folder / "c.en").write_bytes(tgt)
    try:
        with no_hang():
            corpus = read_files([folder / "c"], "de", "en", empty_lines=blank)
            encoded = binarize_corpus(corpus, tiny.tokenizer, max_length=5, skip=True, cache=folder / "cache")
            assert len(encoded) + sum(encoded.skipped) == len(list(corpus))
    except ValueError as error:
        one_line(error)
    finally:
        shutil.rmtree(folder)


def test_the_schema_of_translating_has_its_keys():
    assert compose_config(["in=a", "out=b", "append=true"], "translate").source == "a"
    assert isinstance(compose_config([], "translate"), TranslateConfig)
