"""Guided alignment: attention learns given links, in bits that add up, for as long as its weight lasts."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from nmt.analysis.alignment import LinkFiles
from nmt.config.schema import GuidedConfig
from nmt.corpus import read_files
from nmt.data.batches import Batches, BatchOptions
from nmt.data.binarized import binarize_corpus
from nmt.layers.loss import guided_cross_entropy
from nmt.runtime.device import Device
from nmt.runtime.distributed import Distributed
from nmt.training.consistency import LossOptions
from nmt.training.gradients import Gradients, SyncedFlags, Update
from nmt.training.optim import OptimizerOptions
from tests.support.commands import compose_config


def write_links(folder, name="train.links") -> None:
    """The words of a target stand in the reversed order of the source's."""
    lengths = [len(line.split()) for line in (folder / "train.de").read_text().splitlines()]
    lines = [" ".join(f"{k}-{length - 1 - k}" for k in range(length)) for length in lengths]
    (folder / name).write_text("".join(f"{line}\n" for line in lines))


@pytest.fixture(scope="module")
def linked(tiny):
    """The tiny corpus with the links between its words."""
    write_links(tiny.folder)
    links = LinkFiles([tiny.folder / "train.links"], "guided_alignment.links")
    train = read_files([tiny.folder / "train"], "de", "en")
    encoded = binarize_corpus(
        train, tiny.tokenizer, max_length=None, skip=True, cache=tiny.folder / "cache", links=links
    )
    return replace(tiny, encoded=encoded)


def test_links_written_target_first_are_turned(tmp_path):
    (tmp_path / "there").write_text("0-1 2-0 1p1\n\n3-3\n")
    (tmp_path / "back").write_text("1-0 0-2 1p1\n\n3-3\n")
    there = LinkFiles([tmp_path / "there"], "guided_alignment.links")
    back = LinkFiles([tmp_path / "back"], "guided_alignment.links", target_first=True)
    assert list(back) == list(there) == [{(0, 1), (2, 0)}, set(), {(3, 3)}]
    assert back.digest() != LinkFiles([tmp_path / "back"], "guided_alignment.links").digest()


@pytest.mark.slow
def test_guidance_draws_attention_to_the_links(linked):
    batch = Batches(linked.encoded, BatchOptions(60)).collate(np.arange(4))
    distances = {}
    for guidance in (0.0, 3.0):
        model = linked.model()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
        for _ in range(40):
            loss = model.loss(batch, 0.0, guidance)
            optimizer.zero_grad()
            (loss.objective / loss.tokens).backward()
            optimizer.step()
        weights = model.features(batch.src, batch.src_lengths, batch.tgt_in).weights
        distances[guidance] = float(guided_cross_entropy(weights, batch.links).detach())
    assert distances[3.0] < 0.8 * distances[0.0]


def test_guided_halves_accumulate_to_the_whole(linked):
    model = linked.model().double()
    device = Device(torch.device("cpu"), torch.float32, "for tests")
    batches = Batches(linked.encoded, BatchOptions(60))
    fill = Gradients(
        model, batches, loss=LossOptions(), optimizer=OptimizerOptions(), device=device, distributed=Distributed()
    )
    rows = np.arange(20)
    found = []
    for group, guidance in (([rows], 0.7), ([rows[:3], rows[3:]], 0.7), ([rows], 0.0)):
        fill.accumulate(group, SyncedFlags(), guidance)
        found.append({name: parameter.grad.clone() for name, parameter in model.named_parameters()})
    for name, gradient in found[1].items():
        torch.testing.assert_close(gradient, found[0][name], rtol=1e-9, atol=1e-12, msg=name)
    assert not torch.allclose(found[0]["decoder.attention.v"], found[2]["decoder.attention.v"])


@pytest.mark.slow
def test_guidance_fades_from_epoch_to_epoch(linked, tmp_path, monkeypatch):
    trainer = linked.trainer(tmp_path / "run", updates=120, guidance=GuidedConfig(links="a", weight=2.0, decay=0.5))
    seen = []

    def note(group, word, guidance, epoch):
        seen.append((trainer.progress.epoch, guidance))
        return Update(torch.ones(()), torch.zeros(()), 1, word)

    monkeypatch.setattr(trainer.gradients, "accumulate", note)
    trainer.train()
    assert seen[0] == (0, 2.0)
    assert len({epoch for epoch, _ in seen}) > 1
    assert all(guidance == 2.0 * 0.5**epoch for epoch, guidance in seen)
    assert all(one >= other for (_, one), (_, other) in pairwise(seen))


@pytest.mark.slow
def test_a_guided_run_is_stopped_and_resumed_bit_for_bit(linked, tmp_path, door_of, everything, losses):
    run, other = tmp_path / "run", tmp_path / "other"
    guided = {
        "guided_alignment__links": linked.folder / "train.links",
        "guided_alignment__decay": 0.9,
        "trainer__save_every": 0,
    }
    door_of(linked.settings(run, trainer__max_updates=8, **guided))
    door_of(linked.settings(other, trainer__max_updates=4, **guided))
    door_of([f"resume={other}", "trainer.max_updates=8"])
    assert losses(run) == losses(other)
    one, two = everything(run)["model"], everything(other)["model"]
    assert all(torch.equal(weight, two[name]) for name, weight in one.items())


@pytest.mark.slow
def test_a_run_is_not_resumed_with_other_links(linked, tmp_path, door_of):
    write_links(linked.folder, "mine.links")
    settings = linked.settings(
        tmp_path / "run", trainer__max_updates=2, guided_alignment__links=linked.folder / "mine.links"
    )
    door_of(settings)
    lines = (linked.folder / "mine.links").read_text().split("\n")
    (linked.folder / "mine.links").write_text("\n".join(["", *lines[1:]]))
    with pytest.raises(ValueError, match="the training corpus is not the one that this run has its place in"):
        door_of([f"resume={tmp_path}/run", "trainer.max_updates=3"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"guided_alignment.links": "nowhere"}, r"no such file: nowhere \(guided_alignment\.links\)"),
        ({"guided_alignment.links": "[nowhere,too]"}, r"no such file: nowhere"),
        ({"guided_alignment.links": "3"}, r"guided_alignment\.links=3: give a file of links"),
        (
            {"guided_alignment.reversed": True},
            r"guided_alignment\.reversed=true is about the links of guided_alignment\.links",
        ),
        (
            {"guided_alignment.links": "x", "guided_alignment.weight": -1},
            r"guided_alignment\.weight=-1\.0 is impossible",
        ),
        ({"guided_alignment.links": "x", "guided_alignment.decay": 2}, r"guided_alignment\.decay=2\.0 is impossible"),
        (
            {"guided_alignment.links": "x", "model.decoder.kind": "fixed_vector"},
            r"guided_alignment\.links teach attention",
        ),
        ({"guided_alignment.links": "FOLDER/valid.de"}, r"valid\.de, line 1: '\w+' is not a link"),
        (
            {"guided_alignment.links": "FOLDER/few"},
            r"guided_alignment\.links=.*few has 1 lines but train has 120 pairs",
        ),
    ],
)
def test_what_cannot_guide_is_refused_before_there_is_a_run(linked, tmp_path, door_of, changes, said):
    (linked.folder / "few").write_text("0-0\n")
    words = [f"{key}={value}".replace("FOLDER", str(linked.folder)) for key, value in changes.items()]
    with pytest.raises(Exception, match=said):
        door_of([*linked.settings(tmp_path / "run"), *words])
    assert not (tmp_path / "run").exists()


@pytest.fixture
def door_of():
    """door_of(words): `nmt.train WORDS` in this process; a mistake is raised."""
    from nmt import train

    return lambda words: train.main(compose_config(words), words)
