"""What the commands read and write: no output over an input, gzip and standard streams, full disks, odd paths."""

import contextlib
import gzip
import importlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nmt.cli import run_command
from tests.support.commands import SCHEMAS, Ended, call, environment

pytestmark = pytest.mark.slow  # whole commands, each a second or so

TINY = [
    *(
        "tokenizer.model_type=bpe",
        "tokenizer.vocab_size=30",
        "tokenizer.byte_fallback=false",
        "trainer.tensorboard=false",
    ),
    *("model.encoder.hidden=6", "model.encoder.embedding=6", "model.decoder.hidden=12", "model.decoder.embedding=6"),
    *("model.decoder.readout=6", "model.attention.size=6", "trainer.max_updates=1", "trainer.valid_beam=1"),
    *("data=files", "data.src=de", "data.tgt=en", "device=cpu"),
]
SRC = ["ba do ki", "lu me", "do", "ki ba", "me lu do ba"]
TGT = ["KI DO BA", "ME LU", "DO", "BA KI", "BA DO LU ME"]
RUN = ["checkpoint=RUN", "device=cpu"]


def shell(folder: Path, command: str) -> Ended:
    """A line for the shell, in which `nmt.VERB` stands for the real command."""
    line = command.replace("nmt.", f"{sys.executable} -m nmt.")
    ended = subprocess.run(["bash", "-c", line], cwd=folder, capture_output=True, env=environment(), check=False)
    return Ended(ended.returncode, ended.stdout.decode(), ended.stderr.decode())


REDIRECTION = re.compile(r"(?P<stream>\d?)(?P<how>>>|>|<)(?P<to>&-|.*)")
FLAGS = {"<": os.O_RDONLY, ">": os.O_WRONLY | os.O_CREAT | os.O_TRUNC, ">>": os.O_WRONLY | os.O_CREAT | os.O_APPEND}


def redirect(word: str) -> None:
    """Does to this process what a word such as `2>&-` or `>FILE` does to a command."""
    found = REDIRECTION.fullmatch(word)
    assert found, word
    number = int(found["stream"] or found["how"] != "<")
    if found["to"] == "&-":
        os.close(number)
    else:
        os.dup2(os.open(found["to"], FLAGS[found["how"]], 0o666), number)


def open_streams() -> None:
    """The standard streams as a new interpreter opens them: None if the descriptor is closed."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            setattr(sys, name, None)
        else:
            setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8", closefd=False))  # noqa: SIM115


@pytest.fixture
def forked(fork):
    """`shell` in a fork of this process, without the seconds that a new one takes to import torch."""

    def start(folder: Path, command: str) -> Ended:
        first, *words = re.sub(r"([<>]) ", r"\1", command).split()
        verb = first.removeprefix("nmt.")

        def work() -> None:
            os.chdir(folder)
            for word in words:
                if REDIRECTION.fullmatch(word):
                    redirect(word)
            open_streams()
            sys.argv = [first, *(word for word in words if not REDIRECTION.fullmatch(word))]
            try:
                run_command(verb, importlib.import_module(first).main, SCHEMAS[verb])
            finally:
                if sys.stdout:
                    sys.stdout.flush()  # if this fails here, it also fails at the end of an interpreter

        child = fork(work)
        return Ended(child.wait(), child.out.read_text(), child.errors())

    return start


def write(path: Path, lines: list[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines))


def fill(folder: Path) -> None:
    for name, count in (("train", 6), ("text", 1)):
        write(folder / f"{name}.de", SRC * count)
        write(folder / f"{name}.en", TGT * count)
    write(folder / "gold", ["0-2 1-1 2-0", "0-1 1-0", "0-0", "0-1 1-0", "0-3"])


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A folder with train, text and gold, and RUN, evaluated on text."""
    folder = tmp_path_factory.mktemp("trained")
    fill(folder)
    assert call(folder, "train", *TINY, "data.train=train", "data.valid=text", "data.test=text", "run=RUN").code == 0
    assert call(folder, "evaluate", *RUN, "heatmaps=0").code == 0
    return folder


@pytest.fixture
def folder(trained, tmp_path) -> Path:
    """A copy of it."""
    shutil.copytree(trained, tmp_path / "copy")
    return tmp_path / "copy"


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# Outputs over inputs


@pytest.mark.parametrize(
    ("verb", "words"),
    [
        ("translate", ["in=text.de", "out=text.de"]),
        ("translate", ["in=text.de", "out=new", "alignments=./text.de"]),
        ("translate", ["in=text.de", "out=new", "alignments=RUN/../new"]),
        ("translate", ["in=text.de", "out=new/3.png", "heatmaps=new"]),
        ("translate", ["in=text.de", "out=RUN/checkpoints/best/config.json"]),
        ("translate", ["in=text.de", "append=true", "out=text.de"]),
        ("align", ["src=text.de", "tgt=text.en", "out=text.en"]),
        ("align", ["src=text.de", "tgt=text.en", "soft_alignment=text.de"]),
        ("align", ["src=text.de", "tgt=text.en", "gold=gold", "soft_alignment=gold"]),
        ("align", ["src=text.de", "tgt=text.en", "out=new", "soft_alignment=new"]),
        ("saliency", ["src=text.de", "tgt=found/hypotheses.txt", "out=found"]),
        ("evaluate", ["data.test=link", "out=found"]),
        ("evaluate", ["data.test=link"]),
        ("evaluate", ["out=RUN/checkpoints/best"]),
    ],
)
def test_an_output_over_an_input_or_another_output_is_refused_and_nothing_is_lost(folder, verb, words):
    (folder / "found").mkdir()
    for place in (folder / "found" / "hypotheses.txt", folder / "RUN" / "evaluation" / "link" / "references.txt"):
        place.parent.mkdir(exist_ok=True)
        write(place, TGT)
    for name in ("hypotheses.txt", "references.txt"):
        with contextlib.suppress(FileExistsError):
            os.link(folder / "RUN" / "evaluation" / "link" / "references.txt", folder / "found" / name)
    os.link(folder / "RUN" / "evaluation" / "link" / "references.txt", folder / "link.en")
    write(folder / "link.de", SRC)
    before = tree(folder)
    mistake = call(folder, verb, *RUN, *words).mistake
    assert "another" in mistake
    assert tree(folder) == before


@pytest.mark.process
@pytest.mark.parametrize("redirections", ["in=text.de out=o <&- >&- 2>&-", "in=text.de > /dev/full"])
def test_a_fork_ends_as_a_real_command(folder, forked, redirections):
    command = f"nmt.translate checkpoint=RUN device=cpu {redirections}"
    assert forked(folder, command) == shell(folder, command)


@pytest.mark.process
@pytest.mark.parametrize("words", ["out=text.de < text.de", "in=text.de >> text.de", "alignments=text.de < text.de"])
def test_a_redirected_stream_is_an_input_or_output_too(folder, forked, words):
    ended = forked(folder, f"nmt.translate checkpoint=RUN device=cpu {words}")
    assert ended.code == 2
    assert "is the file that" in ended.err
    assert (folder / "text.de").read_text().splitlines() == SRC


# Gzip and standard streams


@pytest.mark.slow
@pytest.mark.parametrize("name", ["packed.gz", "packed"])
def test_gzip_is_read_wherever_text_is(folder, name):
    for each in ("text.de", "text.en", "gold"):
        (folder / f"{each}.{name}").write_bytes(gzip.compress((folder / each).read_bytes()))
    plain = call(folder, "translate", *RUN, "in=text.de")
    assert plain.out
    assert call(folder, "translate", *RUN, f"in=text.de.{name}").out == plain.out
    assert call(folder, "translate", *RUN, stdin=(folder / f"text.de.{name}").read_bytes()).out == plain.out
    pair = ["src=text.de", "tgt=text.en", "gold=gold"]
    packed = [f"{word}.{name}" for word in pair]
    scored = call(folder, "align", *RUN, *pair)
    assert "alignment error rate" in scored.out
    assert call(folder, "align", *RUN, *packed).out == scored.out
    assert call(folder, "align", f"links=gold.{name}", f"gold=gold.{name}").out.startswith("alignment error rate 0.0")
    assert call(folder, "saliency", *RUN, *packed, "heatmaps=0").code == 0


def test_a_corpus_of_gzip_under_plain_names_is_trained_on_and_evaluated(folder):
    for each in ("train.de", "train.en", "text.de", "text.en"):
        (folder / each).write_bytes(gzip.compress((folder / each).read_bytes()))
    write(folder / "links", ["0-0"] * len(SRC) * 6)
    (folder / "links").write_bytes(gzip.compress((folder / "links").read_bytes()))
    words = [*TINY, "data.train=train", "data.valid=text", "guided_alignment.links=links", "run=NEW"]
    ended = call(folder, "train", *words)
    assert ended.code == 0, ended.err
    assert f"{len(SRC) * 6} training pairs" in ended.err
    assert call(folder, "evaluate", "checkpoint=NEW", "data.test=text", "device=cpu", "heatmaps=0").code == 0


def test_what_is_written_under_a_name_of_gzip_is_gzip_and_is_read_again(folder):
    plain = call(folder, "translate", *RUN, "in=text.de", "out=out", "alignments=links")
    assert plain.code == 0
    assert call(folder, "translate", *RUN, "in=text.de", "out=out.gz", "alignments=links.gz").code == 0
    for name in ("out", "links"):
        assert gzip.decompress((folder / f"{name}.gz").read_bytes()) == (folder / name).read_bytes()
    pair = [*RUN, "src=text.de", "tgt=out.gz"]
    assert call(folder, "align", *pair, "out=again.gz").code == 0
    assert gzip.decompress((folder / "again.gz").read_bytes()).decode() == call(folder, "align", *pair).out


@pytest.mark.parametrize("cut", [1, 20, 60])
def test_a_gzip_output_that_was_cut_off_is_continued(folder, cut):
    words = [*RUN, "in=text.de", "alignments=links.gz", "out=out.gz", "decode.batch_size=1"]
    assert call(folder, "translate", *words).code == 0
    whole = {name: gzip.decompress((folder / name).read_bytes()) for name in ("out.gz", "links.gz")}
    (folder / "out.gz").write_bytes((folder / "out.gz").read_bytes()[:-cut])
    assert call(folder, "translate", *words, "append=true").code == 0
    assert {name: gzip.decompress((folder / name).read_bytes()) for name in whole} == whole


@pytest.mark.parametrize("words", [["prefixes=gone"], ["prefixes=gone", "append=true"], ["confidence=sure"]])
def test_a_refused_translation_leaves_its_output_as_it_is(folder, monkeypatch, words):
    def damaged(_):
        raise ValueError("damaged")

    if "confidence=sure" in words:
        monkeypatch.setattr("nmt.build.calibration_of", damaged)
    (folder / "out").write_text("kept")
    assert call(folder, "translate", *RUN, "in=text.de", "out=out", *words).code == 2
    assert (folder / "out").read_text() == "kept"
    assert not (folder / "sure").exists()


@pytest.mark.slow
def test_a_dash_is_standard_input_and_output(folder):
    text = (folder / "text.de").read_bytes()
    plain = call(folder, "translate", *RUN, stdin=text)
    assert plain.out.count("\n") == len(SRC)
    assert call(folder, "translate", *RUN, "in=-", "out=-", stdin=text).out == plain.out
    links = call(folder, "translate", *RUN, "in=-", "out=out", "alignments=-", stdin=text)
    assert (folder / "out").read_text() == plain.out
    assert links.out.count("\n") == len(SRC)
    pair = [*RUN, "src=text.de", "tgt=text.en"]
    assert call(folder, "align", *pair, "out=-").out == call(folder, "align", *pair).out
    assert not (folder / "-").exists()


@pytest.mark.process
def test_lines_typed_at_a_terminal_are_appended(folder, forked):
    keyboard, terminal = os.openpty()
    (folder / "out").write_text("kept\nkept\n")
    os.write(keyboard, b"do\nlu me\n\x04")
    words = "device=cpu decode.max_length=5 out=out append=true"
    ended = forked(folder, f"nmt.translate checkpoint=RUN {words} < {os.ttyname(terminal)}")
    assert ended.code == 0, ended.err
    lines = (folder / "out").read_text().split("\n")
    assert (len(lines), lines[:2]) == (5, ["kept", "kept"])


@pytest.mark.process
def test_the_prompt_of_a_terminal_is_not_in_the_translations(folder, forked):
    keyboard, terminal = os.openpty()
    os.write(keyboard, b"do\nlu me\n\x04")
    ended = forked(folder, f"nmt.translate checkpoint=RUN device=cpu decode.max_length=5 < {os.ttyname(terminal)}")
    assert ended.code == 0, ended.err
    assert ended.out == call(folder, "translate", *RUN, "decode.max_length=5", stdin=b"do\nlu me\n").out
    assert ended.err.count("> ") == 3


@pytest.mark.process
@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("nmt.translate checkpoint=RUN device=cpu <&-", "standard input is closed"),
        ("nmt.translate checkpoint=RUN device=cpu in=text.de >&-", "standard output is closed: give out=FILE"),
        ("nmt.align checkpoint=RUN device=cpu src=text.de tgt=text.en >&-", "standard output is closed: give out=FILE"),
    ],
)
def test_a_closed_stream_that_is_needed_is_one_line(folder, forked, command, said):
    ended = forked(folder, command)
    assert said in ended.mistake


@pytest.mark.process
@pytest.mark.parametrize(
    ("command", "written"),
    [
        ("nmt.translate checkpoint=RUN device=cpu in=text.de out=o <&- >&- 2>&-", "o"),
        ("nmt.align checkpoint=RUN device=cpu src=text.de tgt=text.en out=o >&-", "o"),
        ("nmt.align checkpoint=RUN device=cpu src=text.de tgt=text.en gold=gold out=o >&- 2>&-", "o"),
        ("nmt.evaluate checkpoint=RUN device=cpu heatmaps=0 out=o <&- >&- 2>&-", "o/scores.json"),
        ("nmt.compare runs=[RUN] out=o samples=40 >&-", "o/comparison.json"),
        ("nmt.saliency checkpoint=RUN device=cpu src=text.de heatmaps=0 out=o >&-", "o/saliency.json"),
        (f"nmt.train {' '.join(TINY)} data.train=train data.valid=text run=o <&- >&- 2>&-", "o/checkpoints/last"),
    ],
)
def test_a_closed_stream_that_is_not_needed_is_no_mistake(folder, forked, command, written):
    ended = forked(folder, command)
    assert ended.code == 0, ended.err
    assert "Traceback" not in ended.err
    assert (folder / written).exists()
    if (folder / "o").is_file():
        assert len((folder / "o").read_bytes().splitlines()) == len(SRC)


# Full disks, places that cannot be written, odd paths


@pytest.mark.process
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("nmt.translate in=text.de out=/dev/full", "out=/dev/full: No space left on device"),
        ("nmt.translate in=text.de out=o alignments=/dev/full", "alignments=/dev/full: No space left on device"),
        ("nmt.translate in=text.de > /dev/full", "standard output: No space left on device"),
        ("nmt.align src=text.de tgt=text.en > /dev/full", "standard output: No space left on device"),
        ("nmt.align src=text.de tgt=text.en gold=gold > /dev/full", "standard output: No space left on device"),
        ("nmt.evaluate heatmaps=0 out=o > /dev/full", "standard output: No space left on device"),
    ],
)
def test_a_full_disk_is_one_line_with_file_and_key(folder, forked, command, said):
    ended = forked(folder, f"{command} checkpoint=RUN device=cpu")
    assert ended.code == 2
    assert ended.err.splitlines()[-1] == f"error: {said}"
    assert "Traceback" not in ended.err
    assert "Exception ignored" not in ended.err


@pytest.mark.parametrize(
    ("verb", "words", "said"),
    [
        ("translate", ["in=text.de", "out=nowhere/o"], "out=nowhere/o: there is no folder nowhere: make it first"),
        ("translate", ["in=text.de", "out=RUN"], "out=RUN: is a folder, and a file is to be written"),
        ("translate", ["in=text.de", "heatmaps=gold"], "heatmaps=gold: is a file, and a folder is needed"),
        ("translate", ["in=nowhere"], "in=nowhere: No such file or directory"),
        ("translate", ["in=RUN/checkpoints"], "in=RUN/checkpoints: Is a directory"),
        (
            "align",
            ["src=text.de", "tgt=text.en", "soft_alignment=nowhere/o"],
            "soft_alignment=nowhere/o: there is no folder nowhere",
        ),
        ("evaluate", ["out=gold/o"], "out=gold/o: gold is a file, and a folder is needed"),
        ("saliency", ["src=text.de", "out=gold"], "out=gold: is a file, and a folder is needed"),
    ],
)
def test_a_place_that_cannot_be_used_is_one_line_with_its_key_before_any_work(folder, verb, words, said):
    before = tree(folder)
    assert call(folder, verb, *RUN, *words).mistake.startswith(said)
    assert tree(folder) == before


def test_a_disk_that_fills_while_a_checkpoint_is_written_is_met_before_the_first_update(folder, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("nmt.checkpoint.writing.save_tensors", full)
    words = [*TINY, "data.train=train", "data.valid=text", "run=NEW", "trainer.log_every=1"]
    ended = call(folder, "train", *words)
    assert ended.code == 2
    assert "could not be written (No space left on device)" in ended.err
    assert "update 1 " not in ended.err
    assert not list((folder / "NEW").rglob("*.safetensors"))
    monkeypatch.undo()
    assert call(folder, "train", *words).code == 0


@pytest.mark.parametrize(
    "key", ["run", "data.train", "data.valid", "data.test", "data.cache", "guided_alignment.links", "name"]
)
@pytest.mark.parametrize("text", ["d\udce9/x", "\\${x}/x"])
def test_a_path_that_a_run_could_not_keep_is_refused_before_training(folder, key, text):
    words = ["data.train=train", "data.valid=text", "run=NEW"]
    words = [word for word in words if not word.startswith(f"{key}=")] + [f"{key}='{text}'"]
    before = tree(folder)
    mistake = call(folder, "train", *TINY, *words).mistake
    assert mistake.startswith(f"{key}=")
    assert "UTF-8" in mistake or "cannot hold ${" in mistake
    assert tree(folder) == before


@pytest.mark.parametrize("name", ["d\udce9", "${x}", "caf\u00e9", "a b", "~", "x~"])
def test_a_file_of_an_odd_name_is_read_and_written(folder, name):
    (folder / name).mkdir()
    shutil.copy(folder / "text.de", folder / name / "in")
    value = f"./{name}".replace("${", "\\${")
    words = [f"in={value}/in", f"out={value}/out", f"alignments={value}/links"]
    words = [word if "$" not in word else word.replace("=", "='", 1) + "'" for word in words]
    ended = call(folder, "translate", *RUN, *words)
    assert ended.code == 0, ended.err
    assert (folder / name / "out").read_text() == call(folder, "translate", *RUN, "in=text.de").out


@pytest.mark.parametrize("quote", ["", "'"])
def test_a_tilde_leads_home_quoted_or_not(folder, monkeypatch, quote):
    monkeypatch.setenv("HOME", str(folder / "home"))
    (folder / "home").mkdir()
    for name in ("train.de", "train.en", "text.de", "text.en"):
        shutil.copy(folder / name, folder / "home" / name)
    home = f"{quote}~/"
    words = [f"data.train=[{home}train{quote},train]", f"data.valid={home}text{quote}", f"run={home}NEW{quote}"]
    ended = call(folder, "train", *TINY, *words)
    assert ended.code == 0, ended.err
    assert (folder / "home" / "NEW" / "checkpoints" / "last").is_dir()
    assert not (folder / "~").exists()
    assert (
        call(folder, "evaluate", f"checkpoint={home}NEW{quote}", f"data.test={home}text{quote}", "heatmaps=0").code == 0
    )
    words = [f"checkpoint={home}NEW{quote}", f"in={home}text.de{quote}", f"out={home}out{quote}"]
    assert call(folder, "translate", *words, "device=cpu").code == 0
    assert (folder / "home" / "out").exists()
