"""Every command on a tiny Transformer; and how it trains: stopped and resumed, guided, beside a recurrent part."""

import json
import random

import numpy as np
import pytest
import torch

import nmt
from nmt import build
from nmt.analysis.alignment import read_gold
from nmt.corpus import read_pair
from scripts import attention_layers
from tests.support.commands import call, write_lines

pytestmark = pytest.mark.slow  # whole commands, each a second or so

WORDS = ["ba", "do", "kilu", "me"]
SMALL = [
    *("data=files", "data.src=de", "data.tgt=en", "data.train=train", "data.valid=valid", "data.test=test"),
    *("device=cpu", "precision=fp32", "threads=1", "tokenizer.model_type=char", "tokenizer.vocab_size=20"),
    *("tokenizer.byte_fallback=false", "batch.size=300", "trainer.max_epochs=null", "trainer.tensorboard=false"),
    *("trainer.valid_beam=1", "decode.max_length=20", "trainer.log_every=1"),
    *("optim.schedule.name=constant", "optim.schedule.warmup=0", "model.decoder.embedding=8"),
]
OPTIONS = ["+experiment=transformer", "model.encoder.embedding=8", "model.encoder.layers=2", "model.decoder.layers=2"]


def train(folder, *words):
    return call(folder, "train", *SMALL, *words)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a corpus, its links, and RUN."""
    folder = tmp_path_factory.mktemp("trained")
    rng = random.Random(1)
    for name, count in (("train", 60), ("valid", 4), ("test", 5)):
        lines = [" ".join(rng.choices(WORDS, k=rng.randint(1, 5))) for _ in range(count)]
        write_lines(folder / f"{name}.de", lines)
        write_lines(folder / f"{name}.en", [line.upper() for line in lines])
        write_lines(folder / f"{name}.links", [" ".join(f"{n}-{n}" for n in range(len(ln.split()))) for ln in lines])
    ended = train(folder, *OPTIONS, "run=RUN", "trainer.max_updates=8", "trainer.save_every=4")
    assert ended.code == 0, ended.err
    return folder


def test_it_is_evaluated_with_links_and_a_report(trained):
    ended = call(trained, "evaluate", "checkpoint=RUN", "heatmaps=1", "gold=test.links", "device=cpu")
    assert ended.code == 0, ended.err
    assert "alignment error rate" in ended.out + ended.err
    assert "alignments.txt" in {path.name for path in (trained / "RUN" / "evaluation" / "test").iterdir()}
    assert (trained / "RUN" / "report.html").is_file()


@pytest.mark.slow
def test_it_translates_the_same_text_alone_as_among_others(trained):
    words = ["checkpoint=RUN", "device=cpu", "decode.beam=3"]
    together = call(trained, "translate", *words, "in=test.de", "alignments=links", "heatmaps=maps").out.splitlines()
    assert len(together) == len((trained / "links").read_text().splitlines()) == 5
    assert list((trained / "maps").iterdir())
    for line, expected in zip((trained / "test.de").read_text().splitlines(), together, strict=True):
        assert call(trained, "translate", *words, stdin=f"{line}\n".encode()).out.splitlines() == [expected]


@pytest.mark.parametrize("links_from", ["attention", "posterior"])
def test_it_aligns_and_scores_given_pairs(trained, links_from):
    words = ["checkpoint=RUN", "src=test.de", "tgt=test.en", "score=true", "soft_alignment=soft.npz", "device=cpu"]
    ended = call(trained, "align", *words, f"links_from={links_from}")
    assert ended.code == 0, ended.err
    assert len(ended.out.splitlines()) == 5
    with np.load(trained / "soft.npz") as soft:
        assert all(matrix.min() >= 0 and matrix.sum(1).max() <= 1.0001 for matrix in soft.values())


def test_its_attention_is_compared_with_gradients(trained):
    words = ["checkpoint=RUN", "src=test.de", "tgt=test.en", "gold=test.links", "heatmaps=1", "device=cpu", "out=sal"]
    ended = call(trained, "saliency", *words)
    assert ended.code == 0, ended.err
    assert set(json.loads((trained / "sal" / "saliency.json").read_text())["alignment"]) >= {"attention", "jacobian"}


@pytest.mark.slow
def test_stopped_and_resumed_it_has_the_weights_of_one_that_never_stopped(trained, everything, losses):
    assert train(trained, *OPTIONS, "run=HALVES", "trainer.max_updates=4").code == 0
    assert call(trained, "train", "resume=HALVES", "trainer.max_updates=8").code == 0
    assert losses(trained / "HALVES") == losses(trained / "RUN")
    for part in ("model", "training"):
        one, two = everything(trained / "RUN")[part], everything(trained / "HALVES")[part]
        assert one.keys() == two.keys()
        assert all(torch.equal(one[key], two[key]) for key in one)


@pytest.mark.slow
def test_links_guide_its_attention(trained):
    words = [*OPTIONS, "trainer.max_updates=25", "optim.lr=0.02", "model.transformer.attention_head=1"]
    links = ["guided_alignment.links=train.links", "guided_alignment.weight=5"]
    errors = []
    for run, more in (("GUIDED", links), ("FREE", [])):
        assert train(trained, *words, *more, f"run={run}").code == 0
        ended = call(trained, "align", f"checkpoint={run}", "src=test.de", "tgt=test.en", "gold=test.links", "out=o")
        errors.append(float(ended.out.split("alignment error rate")[1].split()[0]))
    assert errors[0] < errors[1] - 20


@pytest.mark.parametrize(
    "words",
    [
        ["+experiment=bahdanau", "model.encoder.kind=transformer", "model.decoder.init_hidden=mean"],
        ["+experiment=luong_general", "model.encoder.kind=transformer", "model.decoder.init_hidden=zero"],
        ["+experiment=rnnencdec", "model.decoder.kind=transformer"],
    ],
)
def test_either_side_can_be_recurrent(trained, words):
    ended = train(trained, *words, "model.encoder.embedding=8", "trainer.max_updates=2", f"run=MIXED{len(words[0])}")
    assert ended.code == 0, ended.err


def test_every_command_shows_the_layer_and_the_head_that_are_asked_for(trained):
    """The matrices of forced decoding, of a test set and of explained pairs are those of one attention."""
    pairs = ["src=test.de", "tgt=test.en", "heatmaps=0", "device=cpu"]
    shown = {}
    for layer, head in ((1, 1), (1, 2), (2, 2)):
        words = ["checkpoint=RUN", f"attention_layer={layer}", f"attention_head={head}"]
        for verb, more, out in (
            ("align", ["soft_alignment=FORCED/attention.npz", *pairs[:2], "device=cpu"], "FORCED"),
            ("saliency", ["out=EXPLAINED", *pairs], "EXPLAINED"),
        ):
            (trained / out).mkdir(exist_ok=True)
            ended = call(trained, verb, *words, *more)
            assert ended.code == 0, ended.err
            with np.load(trained / out / "attention.npz") as soft:
                shown[layer, head, verb] = soft["0"]
        np.testing.assert_allclose(shown[layer, head, "align"], shown[layer, head, "saliency"], atol=1e-6)
    assert not np.allclose(shown[1, 1, "align"], shown[1, 2, "align"])
    assert not np.allclose(shown[1, 2, "align"], shown[2, 2, "align"])


def test_another_head_changes_the_links_and_not_the_translations(trained):
    found = []
    for head in (1, 2):
        words = ["checkpoint=RUN", f"attention_head={head}", "metrics=[bleu]", f"out=HEAD{head}", "device=cpu"]
        ended = call(trained, "evaluate", *words)
        assert ended.code == 0, ended.err
        ended = call(trained, "translate", *words[:2], "device=cpu", "in=test.de", "alignments=links")
        assert ended.code == 0, ended.err
        assert (trained / "links").read_text() == (trained / f"HEAD{head}" / "alignments.txt").read_text()
        found.append((ended.out, (trained / f"HEAD{head}" / "attention.npz").read_bytes()))
    assert found[0][0] == found[1][0]
    assert found[0][1] != found[1][1]


@pytest.mark.parametrize(
    ("verb", "words", "said"),
    [
        ("evaluate", ["attention_layer=3"], "attention_layer=3: this model has 2 layers; give 1 to 2"),
        ("align", ["src=test.de", "tgt=test.en", "attention_head=9"], "attention_head=9: this model has 4 heads"),
        ("translate", ["in=test.de", "attention_head=0"], "attention_head=0 is impossible"),
        ("translate", ["in=test.de", "attention_head=1"], "attention_head=1 has no effect: it needs alignments=FILE"),
    ],
)
def test_an_attention_that_is_not_there_or_not_shown_is_refused(trained, verb, words, said):
    ended = call(trained, verb, "checkpoint=RUN", "device=cpu", *words)
    assert ended.code != 0
    assert said in ended.err


def test_the_table_of_layers_has_the_error_rates_of_the_align_command(trained, monkeypatch):
    monkeypatch.chdir(trained)
    pairs = list(read_pair("test.de", "test.en"))
    loaded = build.load("RUN", torch.device("cpu"))
    rates = attention_layers.error_rates(loaded, pairs, read_gold(trained / "test.links", pairs, "test"))
    assert [len(row) for row in rates] == [5, 5]
    words = ["checkpoint=RUN", "src=test.de", "tgt=test.en", "gold=test.links", "device=cpu"]
    for layer, head in ((1, None), (2, 4)):
        chosen = [f"attention_layer={layer}"] + ([f"attention_head={head}"] if head else [])
        ended = call(trained, "align", *words, *chosen)
        assert f"alignment error rate {rates[layer - 1][head or 0]:.1f} %" in ended.out


def test_the_lowest_error_rate_of_the_table_is_bold():
    assert attention_layers.table([[30.0, 20.0, 25.0], [12.34, 18.0, 15.0]]).splitlines() == [
        "| layer | mean of heads | head 1 | head 2 |",
        "|---|---|---|---|",
        "| 1 | 30.0 | 20.0 | 25.0 |",
        "| 2 | **12.3** | 18.0 | 15.0 |",
    ]


def test_a_penalty_of_coverage_reads_the_attention_that_is_shown(trained):
    words = ["checkpoint=RUN", "device=cpu", "in=test.de", "attention_head=1", "decode.coverage_penalty=0.1"]
    assert call(trained, "translate", *words).code == 0


def test_from_python_the_head_that_is_shown_may_change(trained):
    opened = nmt.load(str(trained / "RUN"), device="cpu")
    (first,) = opened.translate(["ba do me"])
    opened.model.show_attention(head=1)
    (other,) = opened.translate(["ba do me"])
    assert other.text == first.text
    assert not np.allclose(other.weights, first.weights)
