"""The beam search that the benchmark compares with must find what ours finds."""

import importlib
from pathlib import Path

import pytest
import torch

from nmt.attention.scores import AdditiveAttention
from nmt.data.symbols import EOS
from nmt.decoding.search import SearchOptions, greedy_search
from nmt.model.decoder import BahdanauDecoder, Bridge, DecoderSizes, InitHidden
from nmt.model.encoder import Encoder
from nmt.model.seq2seq import Seq2Seq


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "scripts"))
    return importlib.import_module("bench_search")


def test_with_one_hypothesis_the_textbook_search_is_ours(bench):
    torch.manual_seed(0)
    decoder = BahdanauDecoder(
        DecoderSizes(9, embedding=6, hidden=7, memory=10, readout=6),
        attention=AdditiveAttention(7, 10, 4),
        bridge=Bridge(InitHidden.last, 5, 2, [7]),
    )
    model = Seq2Seq(Encoder(9, embedding=6, hidden=5), decoder).double().eval()
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.7)
    src, lengths = torch.tensor([[4, 5, 6, EOS], [7, 8, EOS, 0], [EOS, 0, 0, 0]]), torch.tensor([4, 3, 1])
    with torch.inference_mode():
        found = bench.textbook_beam(model, src, lengths, beam=1, max_length=12)
    expected = [each.ids for each in greedy_search(model, src, lengths, SearchOptions(max_length=12))]
    assert [ids[: ids.index(EOS) + 1] if EOS in ids else ids for ids in found] == expected
    assert len({len(ids) for ids in found}) > 1
