"""What the tests of training share: a tiny corpus, trainers over it, and processes that run the program's commands."""

import contextlib
import importlib
import json
import os
import random
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from nmt import build, checkpoint
from nmt.attention.scores import ScoreFunction
from nmt.checkpoint.run_folder import RunFolder
from nmt.config.schema import (
    AttentionConfig,
    DecoderConfig,
    DecoderKind,
    EncoderConfig,
    EncoderKind,
    GuidedConfig,
    ModelConfig,
)
from nmt.corpus import read_files
from nmt.data.batches import Batches, BatchOptions
from nmt.data.binarized import BinarizedCorpus, binarize_corpus
from nmt.data.tokenizer import ModelType, Tokenizer
from nmt.decoding.search import SearchOptions
from nmt.decoding.translator import Translator
from nmt.model.decoder import InitHidden
from nmt.model.initialization import Initialization, initialize
from nmt.runtime import start_time
from nmt.runtime.device import Device
from nmt.runtime.distributed import Distributed
from nmt.training.budget import Budget
from nmt.training.checkpointer import Checkpointer, RunIdentity
from nmt.training.consistency import LossOptions
from nmt.training.gradients import Gradients
from nmt.training.metrics_logger import MetricsLogger
from nmt.training.optim import (
    EMA,
    OptimizerName,
    OptimizerOptions,
    Schedule,
    ScheduleName,
    ScheduleOptions,
    build_optimizer,
)
from nmt.training.options import TrainerOptions
from nmt.training.train_state import TrainState
from nmt.training.trainer import Trainer
from nmt.validation.translation import Validator
from tests.support.tokenizers import train_tokenizer

WORDS = ["der", "hund", "katze", "haus", "rot", "gross", "sieht", "ein", "eine", "mann", "frau", "kind"]
CPU = Device(torch.device("cpu"), torch.float32, "for tests")
QUIET = TrainerOptions(log_every=1, validate_every=0, save_every=0, keep_checkpoints=0, tensorboard=False)


def write_pairs(prefix: Path, count: int, seed: int) -> None:
    """PREFIX.de and PREFIX.en: words, and the same words spelt backwards in reversed order."""
    rng = random.Random(seed)
    with open(f"{prefix}.de", "w") as src, open(f"{prefix}.en", "w") as tgt:
        for _ in range(count):
            words = [rng.choice(WORDS) for _ in range(rng.randint(1, 6))]
            src.write(" ".join(words) + "\n")
            tgt.write(" ".join(word[::-1] for word in reversed(words)) + "\n")


@dataclass
class Tiny:
    """A tiny corpus on disk and what is made of it."""

    folder: Path
    tokenizer: Tokenizer
    encoded: BinarizedCorpus
    valid: BinarizedCorpus
    src: list[str]
    references: list[str]

    def model(self, *, dropout: float = 0.0, kind: DecoderKind = DecoderKind.bahdanau, seed: int = 1):
        torch.manual_seed(seed)
        init_hidden = InitHidden.backward_first if kind is DecoderKind.bahdanau else InitHidden.last
        encoder = EncoderKind.transformer if kind is DecoderKind.transformer else EncoderKind.rnn
        config = ModelConfig(
            EncoderConfig(encoder, embedding=8, hidden=8, dropout=dropout),
            DecoderConfig(kind=kind, embedding=8, hidden=12, readout=8, init_hidden=init_hidden, dropout=dropout),
            AttentionConfig(score=ScoreFunction.additive, size=8),
        )
        model = build.build_model(config, len(self.tokenizer.src), len(self.tokenizer.tgt))
        initialize(model, Initialization.xavier)
        return model

    def trainer(
        self,
        folder: Path,
        *,
        updates: int | None = 12,
        minutes: float | None = None,
        dropout: float = 0.3,
        options: TrainerOptions = QUIET,
        schedule: ScheduleName = ScheduleName.constant,
        ema: float = 0.0,
        optimizer: OptimizerName = OptimizerName.adam,
        lr: float = 0.01,
        max_grad_norm: float = 1.0,
        guidance: GuidedConfig | None = None,
        distributed: Distributed | None = None,
        model=None,
        validation: dict | None = None,
        **changes,
    ) -> Trainer:
        """A trainer in run folder `folder`, made if need be. changes: of the habits."""
        run = RunFolder(folder)
        if not run.config.exists():
            run.create("name: tiny\n")
        model = model or self.model(dropout=dropout)
        optim = OptimizerOptions(
            optimizer,
            lr=lr,
            beta2=0.98,
            momentum=0.5,
            max_grad_norm=max_grad_norm,
            schedule=ScheduleOptions(schedule, warmup=1, factor=0.5, patience=0),
        )
        translator = Translator(model, self.tokenizer, SearchOptions(beam=1, max_length=8), batch_size=8)
        torch.manual_seed(5)
        options, distributed = replace(options, **changes), distributed or Distributed()
        gradients = Gradients(
            model,
            Batches(self.encoded, BatchOptions(60), seed=3),
            loss=LossOptions(),
            optimizer=optim,
            device=CPU,
            distributed=distributed,
            guidance=guidance,
        )
        average = EMA(model, ema) if ema else None
        state = TrainState(model, build_optimizer(model, optim), Schedule(optim.schedule), gradients.scaler, average)
        config = {"trainer": {"max_updates": updates}}
        identity = RunIdentity(validation=validation or {})
        return Trainer(
            state,
            gradients,
            Validator(
                Batches(self.valid, BatchOptions(60), shuffle=False),
                self.src,
                self.references,
                "13a",
                translator,
            ),
            Checkpointer(state, run, distributed, options, self.tokenizer, config, identity),
            options,
            Budget(updates, None, minutes, time.monotonic()),
            MetricsLogger(run, tensorboard=False) if distributed.is_main else None,
        )

    def settings(self, run: Path, **changes: object) -> list[str]:
        """The command line of nmt.train on this corpus; `changes` as optim__lr=1, None to leave a setting out."""
        own = {
            "data": "files",
            "data.src": "de",
            "data.tgt": "en",
            "data.train": self.folder / "train",
            "data.valid": self.folder / "valid",
            "data.cache": self.folder / "cache",
            "run": run,
            "tokenizer.model_type": "char",
            "tokenizer.vocab_size": 40,
            "tokenizer.byte_fallback": "false",
            "model.encoder.embedding": 8,
            "model.encoder.hidden": 8,
            "model.decoder.embedding": 8,
            "model.decoder.hidden": 12,
            "model.decoder.readout": 8,
            "model.attention.size": 8,
            "model.encoder.dropout": 0.3,
            "model.decoder.dropout": 0.3,
            "optim.lr": 0.01,
            "optim.schedule.name": "constant",
            "optim.schedule.warmup": 0,
            "batch.size": 200,
            "precision": "fp32",
            "threads": 1,
            "trainer.max_epochs": "null",
            "trainer.max_updates": 40,
            "trainer.grad_accumulation": 2,
            "trainer.log_every": 1,
            "trainer.validate_every": 0,
            "trainer.valid_beam": 1,
            "trainer.valid_sentences": 4,
            "trainer.save_every": 10,
            "trainer.tensorboard": "false",
            "decode.max_length": 20,
        }
        own |= {key.replace("__", "."): value for key, value in changes.items()}
        own = {key: value for key, value in own.items() if value is not None}
        return ["+experiment=bahdanau", *(f"{key}={value}" for key, value in own.items())]


@pytest.fixture
def cpu() -> Device:
    return CPU


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> Tiny:
    folder = tmp_path_factory.mktemp("tiny")
    write_pairs(folder / "train", 120, 0)
    write_pairs(folder / "valid", 12, 1)
    train, valid = (read_files([folder / name], "de", "en") for name in ("train", "valid"))
    tokenizer = train_tokenizer(
        train,
        model_type=ModelType.char,
        joint=False,
        src_vocab_size=40,
        tgt_vocab_size=40,
        character_coverage=1.0,
        byte_fallback=False,
        input_sentence_size=1000,
        seed=1,
        cache=folder / "cache",
    )
    pairs = list(valid)
    return Tiny(
        folder,
        tokenizer,
        binarize_corpus(train, tokenizer, max_length=None, skip=True, cache=folder / "cache"),
        binarize_corpus(valid, tokenizer, max_length=None, skip=False, cache=folder / "cache"),
        [pair.src for pair in pairs],
        [pair.tgt for pair in pairs],
    )


# What two runs have in common


def losses(run: Path, kind: str = "train") -> list[tuple[int, float]]:
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [(line["update"], line["loss"]) for line in lines if line["kind"] == kind]


def everything(run: Path, name: str = "last") -> dict:
    """A checkpoint without what a clock says."""
    snapshot = checkpoint.read(run / "checkpoints" / name, weights_only=False)
    state = {key: value for key, value in snapshot.state.items() if key not in ("seconds", "validation_seconds")}
    state["window"] = {key: value for key, value in state["window"].items() if key != "seconds"}
    return {"model": snapshot.model, "training": snapshot.training, "state": state}


def assert_same(run: Path, other: Path, name: str = "last") -> None:
    """Bit for bit: weights, optimizer, random states, place, and every logged loss."""
    one, two = everything(run, name), everything(other, name)
    assert one["state"] == two["state"]
    for part in ("model", "training"):
        assert one[part].keys() == two[part].keys()
        for key, tensor in one[part].items():
            assert torch.equal(tensor, two[part][key]), key
    assert losses(run) == losses(other)
    assert losses(run, "valid") == losses(other, "valid")


@pytest.fixture(name="losses")
def losses_():
    """losses(run, kind="train") -> [(update, loss)] as logged."""
    return losses


@pytest.fixture(name="everything")
def everything_():
    """everything(run, name="last") -> the contents of a checkpoint but for what a clock says."""
    return everything


@pytest.fixture(name="assert_same")
def assert_same_():
    """assert_same(run, other, name="last"): bit for bit."""
    return assert_same


# Processes


class Child:
    """A forked process, its output in files."""

    def __init__(self, work: Callable[[], object], folder: Path, environment: dict[str, str]):
        self.out, self.err = folder / f"out-{time.monotonic_ns()}", folder / f"err-{time.monotonic_ns()}"
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid:
            self.code: int | None = None
            return
        code = 70
        try:
            os.environ.update(environment)
            for number, path in ((1, self.out), (2, self.err)):
                os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666), number)
            sys.stdout = open(1, "w", closefd=False, encoding="utf-8")  # noqa: SIM115
            sys.stderr = open(2, "w", buffering=1, closefd=False, encoding="utf-8")  # noqa: SIM115
            signal.signal(signal.SIGINT, signal.default_int_handler)
            work()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            with contextlib.suppress(OSError):
                if sys.stdout:  # None if the work closed it
                    sys.stdout.flush()
            os._exit(code)

    def wait(self, timeout: float = 300) -> int:
        """The exit code; -N for signal N, as subprocess has it. Kills it when time is up."""
        end = time.monotonic() + timeout
        while self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > end:
                os.kill(self.pid, signal.SIGKILL)
                self.code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
                raise AssertionError(f"still running after {timeout} s: {self.errors()}")
            else:
                time.sleep(0.005)
        return self.code

    def kill(self, number: int = signal.SIGKILL) -> None:
        os.kill(self.pid, number)

    def errors(self) -> str:
        return self.err.read_text(encoding="utf-8", errors="replace") if self.err.exists() else ""


@pytest.fixture
def fork(tmp_path):
    """fork(work, **environment) -> Child that does `work`; those still running at the end are killed."""
    folder = tmp_path / "output"
    folder.mkdir()
    children: list[Child] = []

    def start(work: Callable[[], object], **environment: str) -> Child:
        children.append(Child(work, folder, environment))
        return children[-1]

    yield start
    for child in children:
        if child.code is None:
            child.kill()
            os.waitpid(child.pid, 0)


@pytest.fixture
def start_command(fork):
    """start_command(name, arguments, prepare=...) -> Child: `python -m nmt.NAME ARGUMENTS`, forked to spare the
    imports, also those that training makes late."""
    import nmt.serve
    import nmt.train
    import nmt.translate
    from nmt.cli import run_command as enter
    from nmt.config.schema import ServeConfig, TrainConfig, TranslateConfig

    for late in ("torch._dynamo", "nmt.analysis.curves", "nmt.analysis.heatmap"):
        importlib.import_module(late)
    mains = {
        "train": (nmt.train, TrainConfig),
        "translate": (nmt.translate, TranslateConfig),
        "serve": (nmt.serve, ServeConfig),
    }

    def start(name: str, arguments: list[str], prepare: Callable[[], object] = lambda: None, **environment: str):
        def work() -> None:
            module, schema = mains[name]
            if name == "train":
                start_time.job_started()  # when pytest began; this job begins now
            sys.argv = [f"nmt.{name}", *map(str, arguments)]
            prepare()
            enter(name, module.main, schema)

        return fork(work, **environment)

    return start


def find_port() -> str:
    """A port that is free at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


@pytest.fixture
def free_port() -> str:
    return find_port()


@pytest.fixture
def two_ranks(start_command):
    """two_ranks(arguments) -> exit codes of `torchrun --nproc-per-node=2 -m nmt.train ARGUMENTS`, and the children."""

    def start(arguments: list[str]) -> list[Child]:
        common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": find_port()}
        return [start_command("train", arguments, RANK=str(rank), LOCAL_RANK=str(rank), **common) for rank in (0, 1)]

    return start
