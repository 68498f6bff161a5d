"""The program as a person meets it: train, evaluate and translate tiny files, and be told in one line what is wrong."""

import json
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.commands import TINY_TRAINING, Ended, call, environment, process

FILES = ["data=files", "data.src=de", "data.tgt=en", "data.train=train", "data.valid=valid", "device=cpu"]
TINY = [
    "tokenizer.model_type=bpe",
    "tokenizer.vocab_size=40",
    *TINY_TRAINING,
]
SYLLABLES = ["ba", "do", "ki", "lu", "me"]
LINES = 12

pytestmark = pytest.mark.slow  # whole commands, on a model that is trained first


def write_pairs(prefix: Path, count: int, seed: int) -> None:
    """PREFIX.de, and PREFIX.en with the same words in capitals and in reversed order."""
    rng = random.Random(seed)
    pairs = []
    for _ in range(count):
        words = ["".join(rng.choices(SYLLABLES, k=rng.randint(1, 3))) for _ in range(rng.randint(1, 7))]
        pairs.append((" ".join(words), " ".join(reversed(words)).upper()))
    Path(f"{prefix}.de").write_text("".join(f"{src}\n" for src, _ in pairs))
    Path(f"{prefix}.en").write_text("".join(f"{tgt}\n" for _, tgt in pairs))


def write_corpus(folder: Path) -> None:
    for name, count, seed in (("train", 150, 1), ("valid", 6, 2), ("test", LINES, 3)):
        write_pairs(folder / name, count, seed)


@pytest.fixture
def corpus(tmp_path) -> Path:
    """A folder with train, valid and test, and nothing else."""
    write_corpus(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A folder with a corpus, RUN with attention and PLAIN without, both trained for a few updates."""
    folder = tmp_path_factory.mktemp("trained")
    write_corpus(folder)
    few = [
        *FILES,
        "data.test=test",
        "trainer.max_updates=60",
        "trainer.validate_every=30",
        "trainer.save_every=30",
        *TINY,
    ]
    ended = call(folder, "train", *few, "run=RUN", "trainer.log_every=20")
    assert ended.code == 0, ended.err
    few.remove("model.attention.size=12")
    plain = [*few, "+experiment=rnnencdec", "trainer.tensorboard=false", "model.decoder.init_hidden=last"]
    assert call(folder, "train", *plain, "run=PLAIN").code == 0
    return folder


@pytest.fixture(scope="module")
def evaluated(trained) -> tuple[Path, Ended]:
    ended = call(trained, "evaluate", "checkpoint=RUN", "heatmaps=2", "device=cpu")
    assert ended.code == 0, ended.err
    return trained / "RUN" / "evaluation" / "test", ended


def tree(folder: Path) -> dict[str, bytes]:
    """Every file under `folder`, to see that nothing was lost."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# What a run leaves


def test_a_run_folder_holds_what_was_promised(trained):
    run = trained / "RUN"
    for name in ("config.yaml", "train.log", "metrics.jsonl", "curves.png"):
        assert (run / name).stat().st_size > 0
    assert list((run / "tensorboard").glob("events.*"))
    for name in ("best", "last", "step-60"):
        assert (run / "checkpoints" / name / "model.safetensors").is_file()
        assert not (run / "checkpoints" / name).is_symlink()
    assert (run / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_hydra_leaves_no_folders_of_its_own(trained):
    assert sorted(path.name for path in trained.iterdir() if path.is_dir()) == ["PLAIN", "RUN", "data"]
    assert not list(trained.rglob(".hydra"))


def test_evaluation_prints_scores_with_their_signatures_and_where_the_pictures_are(evaluated):
    folder, ended = evaluated
    assert re.search(r"^BLEU \d+\.\d\d  nrefs:1\|case:mixed\|.*tok:13a", ended.out, re.M)
    for word in ("chrF ", "TER ", "perplexity of the references", "heatmaps/0.png", "heatmaps/1.png"):
        assert word in ended.out
    assert f"written to {folder}" in ended.out


def test_scores_hold_what_was_promised(evaluated):
    scores = json.loads((evaluated[0] / "scores.json").read_text())
    for name in ("bleu", "chrf", "ter"):
        assert set(scores[name]) == {"score", "signature"}
    assert scores["perplexity"] > 1
    assert scores["sentences"] == LINES
    assert scores["seconds"] > 0


@pytest.mark.process
def test_the_sacrebleu_command_gives_the_same_score(evaluated, trained):
    folder, _ = evaluated
    words = [str(trained / "test.en"), "-i", str(folder / "hypotheses.txt"), "-m", "bleu", "chrf", "ter", "-w", "6"]
    found = json.loads(process(trained, "sacrebleu", *words).stdout)
    scores = json.loads((folder / "scores.json").read_text())
    for theirs in found:
        assert scores[{"chrF2": "chrf"}.get(theirs["name"], theirs["name"].lower())]["score"] == pytest.approx(
            theirs["score"], abs=1e-6
        )


def test_the_evaluation_has_one_of_each_for_every_line(evaluated, trained):
    folder, _ = evaluated
    sources = (trained / "test.de").read_text().splitlines()
    hypotheses = (folder / "hypotheses.txt").read_text().splitlines()
    alignments = (folder / "alignments.txt").read_text().splitlines()
    assert len(hypotheses) == len(alignments) == LINES
    with np.load(folder / "attention.npz") as matrices:
        assert list(matrices) == [str(number) for number in range(LINES)]
        for number, (src, tgt) in enumerate(zip(sources, hypotheses, strict=True)):
            words = len(tgt.split()), len(src.split())
            assert matrices[str(number)].shape == words or not words[0]
            links = [tuple(map(int, link.split("-"))) for link in alignments[number].split()]
            assert all(i < words[1] and j < words[0] for i, j in links)


def test_heatmaps_are_pictures(evaluated):
    pictures = sorted((evaluated[0] / "heatmaps").iterdir())
    assert [picture.name for picture in pictures] == ["0.png", "1.png"]
    assert all(picture.read_bytes().startswith(b"\x89PNG") for picture in pictures)


def test_the_run_has_a_page_of_its_latest_evaluation(trained):
    ended = call(trained, "evaluate", "checkpoint=RUN", "heatmaps=2", "device=cpu")
    page, folder = trained / "RUN" / "report.html", trained / "RUN" / "evaluation" / "test"
    assert ended.out.endswith(f"report: {page}\n")
    text = page.read_text("utf-8")
    assert "<h1>RUN <span>on test, de → en</span></h1>" in text
    bleu = json.loads((folder / "scores.json").read_text())["bleu"]["score"]
    assert f">{bleu:.2f}<" in text
    assert "Validation BLEU" in text  # the curves of the run's own training
    data = json.loads(text.split('id="data">')[1].split("</script>")[0])
    shown = [" ".join(each["hypothesis"]["words"]) for each in data["sentences"]]
    assert shown == [" ".join(line.split()) for line in (folder / "hypotheses.txt").read_text().splitlines()]
    references = [" ".join(each["reference"]["words"]) for each in data["sentences"]]
    assert references == (trained / "test.en").read_text().splitlines()


def test_what_is_evaluated_into_a_folder_has_its_page_there(trained, tmp_path):
    before = tree(trained / "RUN")
    words = ["checkpoint=RUN", f"out={tmp_path}/new", "heatmaps=0", "device=cpu"]
    assert call(trained, "evaluate", *words).code == 0
    assert (tmp_path / "new" / "report.html").stat().st_size > 0
    assert tree(trained / "RUN") == before


def test_another_test_set_gets_a_folder_of_its_own(trained):
    write_pairs(trained / "other", 3, 9)
    ended = call(trained, "evaluate", "checkpoint=RUN", "data.test=other", "heatmaps=0", "device=cpu")
    assert ended.code == 0
    assert len((trained / "RUN" / "evaluation" / "other" / "hypotheses.txt").read_text().splitlines()) == 3


def test_a_checkpoint_is_enough(trained, evaluated, tmp_path):
    shutil.copytree(trained / "RUN" / "checkpoints" / "best", tmp_path / "mine")
    for name in ("test.de", "test.en"):
        shutil.copy(trained / name, tmp_path)
    ended = call(tmp_path, "evaluate", "checkpoint=mine", "data.test=test", "heatmaps=0", "device=cpu")
    assert ended.code == 0, ended.err
    here = tmp_path / "evaluation" / "test"
    assert (here / "hypotheses.txt").read_bytes() == (evaluated[0] / "hypotheses.txt").read_bytes()
    lines = (tmp_path / "test.de").read_bytes()
    translated = call(tmp_path, "translate", "checkpoint=mine", "device=cpu", stdin=lines).out
    assert translated == (here / "hypotheses.txt").read_text()


def test_a_model_without_attention_is_evaluated_without_pictures(trained):
    ended = call(trained, "evaluate", "checkpoint=PLAIN", "device=cpu")
    assert ended.code == 0, ended.err
    assert sorted(path.name for path in (trained / "PLAIN" / "evaluation" / "test").iterdir()) == [
        "hypotheses.txt",
        "references.txt",
        "scores.json",
        "sources.txt",
    ]
    assert "This model has no attention" in (trained / "PLAIN" / "report.html").read_text()


def test_an_evaluation_keeps_the_text_that_it_was_made_on(trained, evaluated):
    for kept, name in (("sources.txt", "test.de"), ("references.txt", "test.en")):
        assert (evaluated[0] / kept).read_bytes() == (trained / name).read_bytes()


def test_joined_neighbors_are_a_synthetic_set_of_their_own_and_say_so(trained):
    ended = call(trained, "evaluate", "checkpoint=RUN", "data.concat=3", "heatmaps=0", "device=cpu")
    assert ended.code == 0, ended.err
    about = "synthetic set, 1 to 3 neighboring sentences joined into one"
    folder = trained / "RUN" / "evaluation" / "test-concat-3"
    assert about in ended.err
    assert json.loads((folder / "scores.json").read_text())["synthetic_long"] == about
    lines = (trained / "test.de").read_text().splitlines()
    joined = (folder / "sources.txt").read_text().splitlines()
    assert len(joined) == LINES + LINES // 2 + LINES // 3
    assert joined[-1] == " ".join(lines[-3:])


# What a translation is


@pytest.mark.parametrize("size", [1, 7, 64])
def test_the_size_of_a_batch_changes_no_byte(trained, evaluated, size):
    lines = (trained / "test.de").read_bytes()
    words = ["checkpoint=RUN", f"decode.batch_size={size}", "precision=fp32", "device=cpu"]
    ended = call(trained, "translate", *words, stdin=lines)
    assert ended.out == (evaluated[0] / "hypotheses.txt").read_text()


def test_an_empty_line_gives_an_empty_line(trained):
    ended = call(trained, "translate", "checkpoint=RUN", "device=cpu", stdin=b"\nba do\n\n \nki\n")
    lines = ended.out.split("\n")
    assert len(lines) == 6
    assert [bool(line) for line in lines] == [False, True, False, False, True, False]


def test_several_translations_of_a_line_are_numbered_and_scored_best_first(trained):
    words = ["checkpoint=RUN", "decode.nbest=3", "decode.beam=4", "device=cpu"]
    lines = call(trained, "translate", *words, stdin=b"ba do\nki lu me\n").out.splitlines()
    fields = [line.split(" ||| ") for line in lines]
    assert [field[0] for field in fields] == ["0"] * 3 + ["1"] * 3
    scores = [float(field[2]) for field in fields]
    assert scores[:3] == sorted(scores[:3], reverse=True)
    assert scores[3:] == sorted(scores[3:], reverse=True)


def test_alignments_and_pictures_lie_beside_the_text(trained, tmp_path):
    words = ["checkpoint=RUN", f"alignments={tmp_path}/links", f"heatmaps={tmp_path}/pictures", "device=cpu"]
    ended = call(trained, "translate", *words, stdin=b"ba do ki\n\nlu\n")
    assert len((tmp_path / "links").read_text().split("\n")) == len(ended.out.split("\n")) == 4
    assert {path.name for path in (tmp_path / "pictures").iterdir()} <= {"0.png", "2.png"}


@pytest.mark.slow
def test_line_ends_marks_and_odd_spaces_do_not_shift_the_pairing(trained, tmp_path):
    """A byte order mark, CRLF, and inside a line tabs and what Unicode calls a line separator."""
    for suffix in ("de", "en"):
        lines = (trained / f"test.{suffix}").read_text().splitlines()
        (tmp_path / f"plain.{suffix}").write_text("".join(f"{line}\n" for line in lines))
        odd = [line.replace(" ", space, 1) for line, space in zip(lines, "\u2028\t\x85\x0b\u2029\x0c" * 2, strict=True)]
        (tmp_path / f"odd.{suffix}").write_bytes(b"\xef\xbb\xbf" + "".join(f"{line}\r\n" for line in odd).encode())
    sentences = []
    for name in ("plain", "odd"):
        out = tmp_path / name
        words = ["checkpoint=RUN", f"data.test={out}", f"out={out}", "heatmaps=0", "device=cpu"]
        assert call(trained, "evaluate", *words).code == 0
        sentences.append((out / "hypotheses.txt").read_bytes().split(b"\n"))
        assert json.loads((out / "scores.json").read_text())["sentences"] == LINES
    assert sentences[0] == sentences[1]
    words = [*FILES, *TINY, "trainer.max_updates=1", "trainer.tensorboard=false", f"data.train={tmp_path}/odd"]
    ended = call(trained, "train", *words, f"run={tmp_path}/run", "tokenizer.vocab_size=30")
    assert f"{LINES} training pairs, left out: 0 blank, 0 over-long" in ended.err


# What is refused: texts


def shorten(path: Path, lines: int) -> None:
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:lines]))


def put(path: Path, number: int, line: bytes) -> None:
    lines = path.read_bytes().split(b"\n")
    lines[number - 1] = line
    path.write_bytes(b"\n".join(lines))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda at: (at / "train.de").unlink(), ["train.de", "data.train"]),
        (lambda at: (at / "valid.en").unlink(), ["valid.en", "data.valid"]),
        (lambda at: (at / "test.en").unlink(), ["test.en", "data.test"]),
        (lambda at: (at / "train.de").write_bytes(b""), ["train.de", "empty"]),
        (lambda at: shorten(at / "train.en", 149), ["train.de", "150", "train.en", "149"]),
        (lambda at: shorten(at / "valid.de", 5), ["valid.de", "5", "valid.en", "6"]),
        (lambda at: put(at / "train.en", 7, b" "), ["train.en", "line 7", "blank"]),
        (lambda at: put(at / "train.de", 8, b"caf\xe9"), ["train.de", "line 8", "UTF-8"]),
        (lambda at: put(at / "valid.en", 3, b"\xff\xfe"), ["valid.en", "line 3", "UTF-8"]),
    ],
)
def test_a_text_that_cannot_be_trained_on_is_refused_before_there_is_a_run(corpus, spoil, said):
    spoil(corpus)
    mistake = call(corpus, "train", *FILES, *TINY, "data.test=test", "trainer.max_updates=1", "run=new").mistake
    for words in said:
        assert words in mistake
    assert not (corpus / "new").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["tokenizer.vocab_size=90000"],
            r"size=90000 is more than the text allows .*; try tokenizer\.src_vocab_size=\d+ or less",
        ),
        (["tokenizer.vocab_size=2"], r"size=2 is too small .*; try tokenizer\.\w+=\d+ or more"),
        (["data.train=[train,nowhere]"], r"nowhere\.de"),
        (["data.src=null"], r"data\.src and data\.tgt name the two languages: try"),
        (["data.valid=null"], r"data\.valid is not set"),
        (["model.encoder.bidirectional=false"], r"init_hidden=backward_first needs an encoder that reads backwards"),
        (
            ["model/attention=dot", "model.attention.size=null", "model.decoder.hidden=30"],
            r"score=dot multiplies decoder states \(30\) with .* \(24\)",
        ),
        (
            ["model.attention.score=scaled_dot", "model.attention.size=null", "model.decoder.hidden=30"],
            r"score=scaled_dot multiplies decoder states",
        ),
        (
            ["model.tied_embeddings=target", "model.decoder.readout=9"],
            r"model\.tied_embeddings=target .* \(width 12\) .* \(width 9\)",
        ),
        (["model.encoder.hidden=1000000"], r"not enough memory for this: try smaller sizes"),
        (["finetune_from=nowhere"], r"nowhere: no such folder"),
        (["resume=nowhere", "run=null"], r"resume=nowhere: holds no run"),
        (["resume=auto", "run=null"], r"resume=auto continues the run that run= names"),
        (["precision=fp16"], r"precision=fp16 is ten times slower than fp32 on a CPU: try"),
    ],
)
def test_settings_that_do_not_go_together_are_refused_before_there_is_a_run(corpus, words, said):
    mistake = call(corpus, "train", *FILES, *TINY, "trainer.max_updates=1", "run=new", *words).mistake
    assert re.search(said, mistake), mistake
    assert not (corpus / "new").exists()
    assert not (corpus / "nowhere").exists()


def test_a_file_that_is_no_tokenizer_is_refused_before_there_is_a_run(corpus):
    words = [word for word in TINY if not word.startswith("tokenizer.")]
    words += ["tokenizer.model=train.de", "trainer.max_updates=1", "run=new"]
    assert "train.de is not a SentencePiece model" in call(corpus, "train", *FILES, *words).mistake
    assert not (corpus / "new").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has the CUDA GPU that is asked for")
def test_a_gpu_that_is_not_there_is_refused(corpus):
    mistake = call(corpus, "train", *FILES, *TINY, "device=cuda", "run=new").mistake
    assert mistake == "device=cuda, but torch sees no CUDA GPU here: try device=cpu or device=auto"
    assert not (corpus / "new").exists()


# What is refused: folders and checkpoints


def test_a_folder_that_holds_a_run_is_left_as_it_is(trained):
    before = tree(trained / "RUN")
    mistake = call(trained, "train", *FILES, *TINY, "run=RUN", "trainer.max_updates=1").mistake
    assert mistake == "run=RUN: already holds a run; try resume=RUN, or another run="
    assert tree(trained / "RUN") == before


def test_a_file_is_no_run_folder(trained):
    mistake = call(trained, "train", *FILES, *TINY, "run=test.de", "trainer.max_updates=1").mistake
    assert mistake.startswith("run=test.de: is a file")


@pytest.mark.parametrize("verb", ["evaluate", "translate"])
@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("", "checkpoint= is not set: give a run folder"),
        ("nowhere", "checkpoint=nowhere: no such folder"),
        ("test.de", "checkpoint=test.de: is a file"),
        ("data", "checkpoint=data: neither a run folder nor a checkpoint"),
    ],
)
def test_a_checkpoint_that_is_none_is_refused(trained, verb, place, said):
    assert said in call(trained, verb, *([f"checkpoint={place}"] if place else [])).mistake


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def other_version(path: Path) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99}))


@pytest.mark.parametrize("verb", ["evaluate", "translate"])
@pytest.mark.parametrize(
    ("name", "spoil", "said"),
    [
        ("model.safetensors", truncate, "damaged"),
        ("model.safetensors", flip, "damaged"),
        ("model.safetensors", Path.unlink, "missing"),
        ("config.json", flip, "damaged"),
        ("config.json", truncate, "damaged"),
        ("tokenizer", flip, "damaged"),
        ("checksums.json", Path.unlink, "missing"),
        ("checksums.json", truncate, "damaged"),
        ("checksums.json", other_version, "written in format '99', and this program reads"),
    ],
)
def test_a_damaged_checkpoint_is_refused_by_name(trained, tmp_path, verb, name, spoil, said):
    place = tmp_path / "run" / "checkpoints" / "best"
    shutil.copytree(trained / "RUN" / "checkpoints" / "best", place)
    target = place / name
    spoil(next(target.iterdir()) if target.is_dir() else target)
    mistake = call(trained, verb, f"checkpoint={tmp_path}/run", "device=cpu", stdin=b"ba\n").mistake
    assert str(place) in mistake
    assert said in mistake
    assert not (tmp_path / "run" / "evaluation").exists()


@pytest.mark.parametrize(
    ("verb", "word"),
    [("translate", "alignments=links"), ("translate", "heatmaps=pictures"), ("evaluate", "heatmaps=3")],
)
def test_what_needs_attention_is_refused_by_name_without_it(trained, verb, word):
    mistake = call(trained, verb, "checkpoint=PLAIN", "device=cpu", word).mistake
    assert mistake.startswith(f"{word} needs attention, which this model (rnnencdec) does not have")
    assert not (trained / word.partition("=")[2]).exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["data.test=nowhere"], "nowhere.de"),
        (["data.kind=hub", "data.test=test"], "data.name is not set"),
        (["decode.nbest=9"], "decode.nbest=9 is more than the 5 of decode.beam: try decode.beam=9"),
    ],
)
def test_an_evaluation_that_cannot_be_is_refused_before_there_is_a_folder(trained, words, said, tmp_path):
    mistake = call(trained, "evaluate", "checkpoint=RUN", "device=cpu", f"out={tmp_path}/new", *words).mistake
    assert said in mistake
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("spoil", [lambda at: put(at / "bad.en", 2, b"\xff"), lambda at: shorten(at / "bad.en", 2)])
def test_a_test_set_that_cannot_be_paired_is_refused_before_there_is_a_folder(trained, tmp_path, spoil):
    write_pairs(tmp_path / "bad", 3, 4)
    spoil(tmp_path)
    words = ["checkpoint=RUN", "device=cpu", f"data.test={tmp_path}/bad", f"out={tmp_path}/new"]
    assert "bad.en" in call(trained, "evaluate", *words).mistake
    assert not (tmp_path / "new").exists()


def test_a_line_that_is_not_utf8_is_named(trained):
    ended = call(trained, "translate", "checkpoint=RUN", "device=cpu", stdin=b"ba\ncaf\xe9\n")
    assert ended.code == 2
    assert ended.err.splitlines()[-1].startswith("error: standard input, line 2: not UTF-8")


# For real


@pytest.mark.process
def test_a_mistake_is_one_line_and_status_2_for_real(tmp_path):
    ended = process(tmp_path, "nmt.train", "model.encoder.hiden=3")
    assert ended.returncode == 2
    assert ended.stdout == b""
    assert ended.stderr.decode().splitlines() == [
        "error: model.encoder.hiden: no such key, did you mean hidden; legal under model.encoder are "
        "layer_norm, residual, transition_depth, kind, cell, embedding, hidden, layers, bidirectional, dropout, "
        "word_dropout, recurrent_dropout"
    ]


@pytest.mark.process
def test_a_translation_is_the_same_bytes_for_real(trained, evaluated):
    ended = process(trained, "nmt.translate", "checkpoint=RUN", "device=cpu", stdin=(trained / "test.de").read_bytes())
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert ended.stdout == (evaluated[0] / "hypotheses.txt").read_bytes()


@pytest.mark.process
def test_a_reader_that_has_had_enough_is_no_mistake(trained):
    script = f"{sys.executable} -m nmt.translate checkpoint=RUN device=cpu decode.batch_size=1 | head -n 1"
    lines = (trained / "test.de").read_bytes() * 20
    ended = subprocess.run(
        ["bash", "-o", "pipefail", "-c", script],
        cwd=trained,
        input=lines,
        capture_output=True,
        env=environment(),
        check=False,
    )
    assert ended.stderr == b""
    assert ended.stdout.count(b"\n") == 1
