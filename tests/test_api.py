"""The Python interface, and the page that documents it."""

import contextlib
import re
import textwrap
from itertools import repeat
from pathlib import Path

import numpy as np
import pytest

import nmt
from nmt.analysis.alignment import pharaoh
from nmt.decoding.options import LengthPenalty
from tests.support.commands import call, write_lines

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "python.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
README = (ROOT / "README.md").read_text(encoding="utf-8")
SAMPLE = ROOT / "data" / "sample"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A folder with runs/sample, which knows the sentences of the page, and runs/plain without attention."""
    folder = tmp_path_factory.mktemp("api")
    write_lines(folder / "few.en", ["The old house is red.", "She sees a dog."] * 20)
    write_lines(folder / "few.fr", ["La vieille maison est rouge.", "Elle voit un chien."] * 20)
    words = [
        "data=files",
        "preset=demo",
        "data.src=en",
        "data.tgt=fr",
        "data.train=few",
        "data.valid=few",
        "device=cpu",
    ]
    words += ["tokenizer.model_type=char", "tokenizer.vocab_size=40", "tokenizer.byte_fallback=false", "threads=1"]
    words += ["trainer.max_epochs=null", "trainer.max_updates=30", "trainer.valid_sentences=2", "decode.max_length=40"]
    words += ["trainer.tensorboard=false", "optim.schedule.warmup=1", "optim.lr=1e-2", "batch.size=400"]
    for experiment, run in (("bahdanau", "runs/sample"), ("rnnencdec", "runs/plain")):
        ended = call(folder, "train", f"+experiment={experiment}", *words, f"run={run}")
        assert ended.code == 0, ended.err
    return folder


@pytest.fixture
def model(trained) -> nmt.TrainedModel:
    return nmt.load(trained / "runs" / "sample", device="cpu")


def test_the_page_runs_as_it_stands(trained, capsys):
    assert len(BLOCKS) == 5
    names: dict[str, object] = {}
    with contextlib.chdir(trained):
        for block in BLOCKS:
            exec(compile(block, str(PAGE), "exec"), names)
    assert (trained / "heatmap.png").read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out


def test_the_example_of_the_readme_runs_as_it_stands(trained, capsys):
    (example,) = re.findall(r"^ {4}import nmt\n(?: {4}.*\n)+", README, re.M)
    with contextlib.chdir(trained):
        exec(compile(textwrap.dedent(example), "README.md", "exec"), {})
    assert capsys.readouterr().out


def test_lines_are_translated_as_by_the_command(trained, model):
    lines = (SAMPLE / "test.en").read_text(encoding="utf-8").splitlines()[:5]
    write_lines(trained / "some.en", lines)
    words = [
        "checkpoint=runs/sample",
        "in=some.en",
        "out=some.fr",
        "alignments=some.links",
        "decode.beam=2",
        "device=cpu",
    ]
    ended = call(trained, "translate", *words)
    assert ended.code == 0, ended.err
    found = model.translate(lines, beam=2)
    assert [each.text for each in found] == (trained / "some.fr").read_text(encoding="utf-8").splitlines()
    links = [pharaoh(nmt.word_links(each)) for each in found]
    assert links == (trained / "some.links").read_text(encoding="utf-8").splitlines()


def test_given_pairs_are_scored_and_aligned_as_by_the_command(trained, model):
    pairs = [("a house .", "une maison ."), ("two dogs .", "deux chiens .")]
    for side, suffix in enumerate(("en", "fr")):
        write_lines(trained / f"given.{suffix}", [pair[side] for pair in pairs])
    words = ["checkpoint=runs/sample", "src=given.en", "tgt=given.fr", "out=given.links", "score=true", "device=cpu"]
    ended = call(trained, "align", *words)
    assert ended.code == 0, ended.err
    found = model.force_decode(pairs)
    lines = [f"{pharaoh(nmt.word_links(each))} ||| {each.log_prob:.6f}" for each in found]
    assert lines == (trained / "given.links").read_text(encoding="utf-8").splitlines()


def test_attention_is_a_distribution_over_words_and_the_end(model):
    (found,) = model.translate(["the old house ."], beam=1)
    weights, eos = nmt.word_attention(found)
    assert weights.shape == (len(found.tgt_words), 4)
    np.testing.assert_allclose(weights.sum(1) + eos, 1, atol=1e-5)


def test_the_posterior_needs_no_other_call(model):
    pairs = [("a house", "une maison")]
    prior, posterior = (model.force_decode(pairs, links_from=each)[0] for each in ("attention", "posterior"))
    assert prior.weights.shape == posterior.weights.shape
    assert not np.allclose(prior.weights, posterior.weights)


def test_a_search_option_may_be_a_word(model):
    (word,), (member,) = (model.translate(["a house"], length_penalty=each) for each in ("gnmt", LengthPenalty.gnmt))
    assert (word.text, word.score) == (member.text, member.score)
    with pytest.raises(ValueError, match=r"length_penalty='x' is not known: give one of none, average, gnmt"):
        model.translate(["a house"], length_penalty="x")
    with pytest.raises(ValueError, match=r"decode\.hard_attention=most_probable has no effect"):
        model.translate(["a house"], hard_attention="most_probable")


def test_mistakes_are_refused_with_what_to_try(trained, model, tmp_path):
    with pytest.raises(ValueError, match=r"a list of lines, not one string"):
        model.translate("a house")
    with pytest.raises(ValueError, match=r"prefixes takes a list, .* not one string"):
        model.translate(["a house"], prefixes="La")
    with pytest.raises(ValueError, match=r"there are more prefixes than lines"):
        model.translate(["a house"], prefixes=repeat("La"))
    with pytest.raises(ValueError, match=r"there are fewer prefixes than lines"):
        model.translate(["a house", "a dog"], prefixes=["La"])
    with pytest.raises(ValueError, match=r"nbest=3: translate returns the best translation"):
        model.translate(["a"], nbest=3)
    with pytest.raises(ValueError, match="batch_size"):
        model.force_decode([("a", "b")], batch_size=0)
    with pytest.raises(ValueError, match="batch_size"):
        model.confidence([], batch_size=0)
    with pytest.raises(ValueError, match=r"decode\.beam"):
        model.translate(["a house"], beam=0)
    with pytest.raises(ValueError, match="nowhere"):
        nmt.load(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="no run is given"):
        nmt.load([])
    with pytest.raises(ValueError, match=r"device='gpu' is not known: give one of auto, cpu, cuda"):
        nmt.load(trained / "runs" / "sample", device="gpu")
    with pytest.raises(ValueError, match=r"links_from='x' is not known: give one of attention, posterior, head"):
        model.force_decode([("a house", "une maison")], links_from="x")
    with pytest.raises(ValueError, match=r"links_from=head: .* has no alignment head"):
        model.force_decode([("a house", "une maison")], links_from="head")
    plain = nmt.load(trained / "runs" / "plain", device="cpu")
    (found,) = plain.translate(["a house"])
    with pytest.raises(ValueError, match="no attention to draw"):
        nmt.draw_heatmap(found, tmp_path / "none.png")


def test_the_posterior_of_what_has_no_single_attention_is_refused(trained):
    run, pairs = trained / "runs" / "sample", [("a house", "une maison")]
    ensemble, plain = (nmt.load(places, device="cpu") for places in ([run, run], trained / "runs" / "plain"))
    for links_from in ("posterior", "head"):
        with pytest.raises(ValueError, match=rf"links_from={links_from} needs one model, and this is an ensemble"):
            ensemble.force_decode(pairs, links_from=links_from)
    with pytest.raises(ValueError, match=r"links_from=posterior needs attention, which this model .* does not have"):
        plain.force_decode(pairs, links_from="posterior")


def test_what_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        nmt.lode  # noqa: B018
