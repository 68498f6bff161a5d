"""From links to a translator with an alignment head, and every command on it, from the command line."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from nmt import checkpoint
from nmt.analysis.alignment import pharaoh
from tests.support.commands import call, write_lines

pytestmark = pytest.mark.slow  # whole commands, each a second or so

DATA = ["data=files", "data.src=de", "data.tgt=en", "data.train=text", "data.valid=text", "trainer.tensorboard=false"]
TRANSLATOR = [
    *("+experiment=bahdanau", *DATA, "tokenizer.vocab_size=30", "tokenizer.byte_fallback=false", "device=cpu"),
    "tokenizer.model_type=bpe",
    *("model.encoder.embedding=16", "model.encoder.hidden=16", "model.decoder.embedding=16", "model.decoder.hidden=16"),
    *("model.decoder.readout=16", "model.attention.size=16", "model.decoder.dropout=0.3", "batch.size=100"),
    *("optim.lr=1e-2", "trainer.max_epochs=8", "trainer.valid_beam=1", "trainer.valid_sentences=4"),
]
HEAD = [
    *("+experiment=alignment_head", *DATA, "finetune_from=RUN", "guided_alignment.links=text.links", "device=cpu"),
    *("batch.size=100", "model.alignment_head.size=16", "optim.lr=1e-2", "optim.schedule.warmup=2", "precision=fp32"),
]
WORDS = ["ba", "do", "ki", "lu", "me"]
PAIRS = ["src=pairs.de", "tgt=pairs.en", "device=cpu"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A folder with a translator RUN, HEAD on top of it, text.de and text.en with links, and pairs, some blank."""
    folder = tmp_path_factory.mktemp("trained")
    rng = np.random.default_rng(1)
    text = [rng.choice(WORDS, size=rng.integers(2, 6), replace=False).tolist() for _ in range(150)]
    write_lines(folder / "text.de", [" ".join(words) for words in text])
    write_lines(folder / "text.en", [" ".join(reversed(words)).upper() for words in text])
    write_lines(folder / "text.links", [pharaoh((i, len(words) - 1 - i) for i in range(len(words))) for words in text])
    write_lines(folder / "pairs.de", ["ba do ki", "lu me", "", "do", "me lu do ba"])
    write_lines(folder / "pairs.en", ["KI DO BA", "ME LU", "", "", "BA DO LU ME"])
    write_lines(folder / "mixed", ["0-0:0.5 1-1"])
    write_lines(folder / "plain.de", ["ba do"])
    write_lines(folder / "plain.en", ["DO BA"])
    for words in ([*TRANSLATOR, "run=RUN"], [*HEAD, "run=HEAD", "trainer.max_epochs=20"]):
        ended = call(folder, "train", *words)
        assert ended.code == 0, ended.err
    return folder


def test_a_head_learns_the_links_of_a_small_language(trained):
    log = (trained / "HEAD" / "train.log").read_text()
    rates = [float(rate) for rate in re.findall(r"alignment error rate (\d+\.\d) %", log)]
    assert rates[-1] < 5
    lines = call(trained, "align", "checkpoint=HEAD", *PAIRS).out.split("\n")
    assert lines == ["0-2 1-1 2-0", "0-1 1-0", "", "", "0-3 1-2 2-1 3-0", ""]


def test_the_translator_stays_as_it_is(trained):
    before, after = (
        checkpoint.read(trained / run / "checkpoints" / "best", weights_only=True).model for run in ("RUN", "HEAD")
    )
    own = {name.removeprefix("translator."): weight for name, weight in after.items() if name.startswith("translator.")}
    assert own.keys() == before.keys()
    assert all(torch.equal(own[name], weight) for name, weight in before.items())
    words = ["in=text.de", "decode.nbest=2", "decode.beam=3", "device=cpu"]
    assert (
        call(trained, "translate", "checkpoint=RUN", *words).out
        == call(trained, "translate", "checkpoint=HEAD", *words).out
    )


def test_links_of_a_pair_alone_are_those_among_many(trained, tmp_path):
    many = call(trained, "align", "checkpoint=HEAD", "src=text.de", "tgt=text.en", "device=cpu").out.splitlines()
    alone = ["src=text.de", "tgt=text.en", "device=cpu", "decode.batch_size=1"]
    assert call(trained, "align", "checkpoint=HEAD", *alone).out.splitlines() == many


def test_links_from_names_what_links_are_made_of(trained):
    def align(run: str, *words: str) -> str:
        ended = call(trained, "align", f"checkpoint={run}", *PAIRS, "confidence=true", *words)
        assert ended.code == 0, ended.err
        return ended.out

    for source in ("attention", "posterior"):
        assert align("HEAD", f"links_from={source}") == align("RUN", f"links_from={source}")
    assert align("RUN") == align("RUN", "links_from=attention")
    assert align("HEAD") == align("HEAD", "links_from=head") != align("RUN")


def test_translate_and_evaluate_link_by_the_head_and_show_attention(trained, tmp_path):
    for run in ("RUN", "HEAD"):
        words = [f"checkpoint={run}", "data.test=text", f"out={tmp_path}/{run}", "heatmaps=0", "device=cpu"]
        ended = call(trained, "evaluate", *words)
        assert ended.code == 0, ended.err
    scores = {run: json.loads((tmp_path / run / "scores.json").read_text()) for run in ("RUN", "HEAD")}
    assert scores["RUN"]["bleu"] == scores["HEAD"]["bleu"]
    assert scores["RUN"]["perplexity"] == scores["HEAD"]["perplexity"]
    assert scores["HEAD"]["alignment"]["aer"] < 0.05 < scores["RUN"]["alignment"]["aer"]
    with np.load(tmp_path / "RUN" / "attention.npz") as one, np.load(tmp_path / "HEAD" / "attention.npz") as other:
        assert all(np.array_equal(one[name], other[name]) for name in one)
    links = tmp_path / "links"
    call(trained, "translate", "checkpoint=HEAD", "in=text.de", f"alignments={links}", "device=cpu")
    assert links.read_text() == (tmp_path / "HEAD" / "alignments.txt").read_text()


def test_a_run_that_was_stopped_ends_as_one_that_was_not(trained):
    budget = ["trainer.max_updates=8", "optim.schedule.name=constant", "trainer.validate_every=2"]
    assert call(trained, "train", *HEAD, "run=whole", *budget).code == 0
    assert call(trained, "train", *HEAD, "run=parts", *budget[1:], "trainer.max_updates=3").code == 0
    ended = call(trained, "train", "resume=parts", "trainer.max_updates=8")
    assert ended.code == 0, ended.err
    one, other = (
        checkpoint.read(trained / run / "checkpoints" / "last", weights_only=False) for run in ("whole", "parts")
    )
    for part in ("model", "training"):
        mine, theirs = getattr(one, part), getattr(other, part)
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_a_command_with_resume_auto_may_be_repeated(trained):
    """The settings of the translator, here dropout and the search of validations, are not those of this command."""
    own = ["data.bleu_tokenizer=char", "decode.length_penalty=gnmt", "trainer.valid_beam=2", "trainer.max_epochs=1"]
    assert call(trained, "train", *TRANSLATOR, *own, "run=OWN").code == 0
    words = [*HEAD, "finetune_from=OWN", "run=again", "resume=auto"]
    for updates in (1, 2):
        ended = call(trained, "train", *words, f"trainer.max_updates={updates}")
        assert ended.code == 0, ended.err
        config = checkpoint.read_config(trained / "again" / "checkpoints" / "last")
        assert config["decode"]["length_penalty"] == "gnmt"
        assert (config["trainer"]["valid_beam"], config["data"]["bleu_tokenizer"]) == (2, "char")
        assert config["trainer"]["max_updates"] == updates
    changed = call(trained, "train", *words, "trainer.max_updates=3", "model.alignment_head.dropout=0.4")
    assert "model.alignment_head.dropout is" in changed.mistake


def test_a_head_that_is_trained_already_is_trained_on(trained):
    words = [each for each in HEAD if not each.startswith(("finetune_from", "model.alignment_head"))]
    words += ["model.alignment_head.dropout=0.4"]
    ended = call(trained, "train", *words, "finetune_from=HEAD", "run=more", "trainer.max_updates=1", "optim.lr=1e-6")
    assert ended.code == 0, ended.err
    config = checkpoint.read_config(trained / "more" / "checkpoints" / "last")
    assert config["model"]["alignment_head"]["dropout"] == 0.4
    (rate,) = re.findall(r"alignment error rate (\d+\.\d) %", ended.err)
    assert float(rate) < 5


def test_a_head_learns_from_weights_of_links(trained):
    text = (trained / "text.links").read_text()
    (trained / "soft.links").write_text(re.sub(r"(\d+-\d+)", r"\1:0.5", text))
    ended = call(trained, "train", *HEAD, "guided_alignment.links=soft.links", "run=soft", "trainer.max_epochs=20")
    assert ended.code == 0, ended.err
    hard, soft = (
        call(trained, "align", f"checkpoint={run}", *PAIRS, "confidence=true", "threshold=0.2").out.splitlines()[0]
        for run in ("HEAD", "soft")
    )
    means = [np.mean([float(weight) for weight in re.findall(r":(\d\.\d+)", line)]) for line in (hard, soft)]
    assert means[1] < 0.75 * means[0]


@pytest.mark.parametrize(
    ("command", "words", "said"),
    [
        ("train", [*HEAD, "guided_alignment.links=mixed"], "mixed, line 1: '1-1' is not a link with a weight"),
        ("train", [*HEAD, "finetune_from=null"], "give finetune_from=RUN"),
        ("train", [*HEAD, "guided_alignment.links=null"], "give guided_alignment.links=FILE"),
        ("train", [*HEAD, "data.valid=plain"], "there is no plain.links: give valid_alignment.links=FILE"),
        (
            "train",
            [*HEAD, "data.src=en", "data.tgt=de"],
            "RUN translates de to en, and the training pairs are en to de",
        ),
        ("train", [*HEAD, "model.decoder.hidden=3"], "model.decoder.hidden=3 has no effect: model.kind=alignment_head"),
        ("train", [*HEAD, "loss.label_smoothing=0.1"], "has no effect: model.kind=alignment_head"),
        ("train", [*HEAD, "tokenizer.vocab_size=9"], "tokenizer.vocab_size=9 has no effect with finetune_from=RUN"),
        (
            "train",
            [*HEAD, "finetune_from=HEAD", "model.alignment_head.size=17"],
            "model.alignment_head.size=17 has no effect with finetune_from=HEAD",
        ),
        ("train", [*TRANSLATOR, "finetune_from=HEAD"], "has model.kind=alignment_head, and this run has model.kind=tr"),
        ("train", [*TRANSLATOR, "model.alignment_head.size=3"], "it needs model.kind=alignment_head"),
        ("align", ["checkpoint=RUN", *PAIRS, "links_from=head"], "RUN/checkpoints/best has no alignment head"),
        ("align", ["checkpoint=[RUN,HEAD]", *PAIRS, "links_from=head"], "give one checkpoint="),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(trained, command, words, said):
    words = [*words, "run=new"] if command == "train" else words
    assert said in call(trained, command, *words).mistake
