"""A model as ONNX: the same numbers by onnxruntime, for every decoder, over several steps of a padded batch."""

import pytest
import torch

from nmt.attention.hard import HardAttentionOptions
from nmt.attention.local import Extent
from nmt.attention.normalizers import Normalizer
from nmt.attention.scores import ScoreFunction
from nmt.layers.cells import CellKind
from nmt.model.decoder import BahdanauState
from nmt.model.hard_seq2seq import HardSeq2Seq
from nmt.model.seq2seq import Seq2Seq
from nmt.onnx.graphs import decoder_graph, encoder_graph
from nmt.onnx.layout import layouts
from nmt.onnx.loops import ScanLoops
from tests.support.model_fixtures import make_sentences
from tests.support.models import make_model

KINDS = {
    "bahdanau": {},
    "luong": {"score": ScoreFunction.general, "cell": CellKind.lstm},
    "luong of two layers": {"score": ScoreFunction.general, "cell": CellKind.lstm, "layers": 2},
    "luong without input feeding": {"score": ScoreFunction.dot, "input_feeding": False},
    "conditional_gru": {"score": ScoreFunction.coverage, "cell": CellKind.gru_reset_after},
    "conditional_gru in a predicted window": {
        "score": ScoreFunction.coverage,
        "extent": Extent.local_p,
        "window": 1,
        "normalizer": Normalizer.sparsemax,
    },
    "fixed": {},
    "transformer": {},
    "bahdanau by location": {"score": ScoreFunction.location},
    "luong with gaussians": {"score": ScoreFunction.gaussian},
    "luong in a window": {"score": ScoreFunction.scaled_dot, "extent": Extent.local_m, "window": 2},
    "luong by concat": {"score": ScoreFunction.concat},
    "bahdanau of two heads": {"heads": 2, "attention_size": 6, "normalizer": Normalizer.entmax},
}
# With hard attention of Luong's and the run of tests/test_export.py, one for each decoder: an export takes seconds.
EXPORTED = ("conditional_gru in a predicted window", "fixed", "transformer")


def build(kind: str, dtype: torch.dtype = torch.float64) -> Seq2Seq:
    return make_model(kind.split()[0], dtype=dtype, **KINDS[kind]).eval()


def hard(kind: str) -> HardSeq2Seq:
    """With its exact prediction, the sum over all positions."""
    soft = build(kind, torch.float32)
    return HardSeq2Seq(soft.encoder, soft.decoder, HardAttentionOptions()).eval()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_the_graphs_compute_encode_and_step(kind):
    model = build(kind)
    source, state = layouts(model)
    scanned = model.with_loops(ScanLoops())
    encoder, decoder = encoder_graph(scanned, source, state), decoder_graph(scanned, source, state)
    src, src_lengths, tgt_in, _ = make_sentences((7, 5, 2))
    wanted_source, wanted = model.encode(src, src_lengths)
    found = encoder.module(src, src_lengths)
    for tokens in tgt_in.t():
        assert len(found) == len(source.held) + len(state.held)
        held = found[: len(source.held)]
        torch.testing.assert_close(found, [*source.hold(wanted_source), *state.hold(wanted)])
        outputs = decoder.module(tokens, held, found[len(source.held) :])
        logits, wanted, weights = model.step(tokens, wanted, wanted_source)
        torch.testing.assert_close(outputs[0], logits.log_softmax(1))
        if model.has_attention:
            torch.testing.assert_close(outputs[1], weights)
        found = [*held, *outputs[1 + model.has_attention :]]


@torch.no_grad()
def test_parts_are_named_by_their_fields_and_axes_by_what_varies():
    source, state = layouts(make_model("transformer").eval())
    assert [(part.name, part.shape) for part in source.held] == [
        ("memory", ("batch", "src_length", 8)),
        ("keys", ("batch", "src_length", 8)),
        ("mask", ("batch", "src_length")),
    ]
    assert [(part.name, part.shape) for part in state.held] == [
        ("state_keys_0", ("batch", 2, "tgt_length", 4)),
        ("state_values_0", ("batch", 2, "tgt_length", 4)),
    ]


@torch.no_grad()
def test_a_part_that_holds_nothing_is_left_out_and_made_again():
    model = build("bahdanau")
    _, layout = layouts(model)
    _, state = model.encode(torch.full((2, 3), 4), torch.tensor([3, 2]))
    assert [part.name for part in layout.held] == ["state_layers_0"]
    again = layout.build(layout.hold(state), 2, 3)
    assert isinstance(again, BahdanauState)
    assert again.attention.coverage.shape == (2, 0)


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    """export(model) -> the largest difference of what onnxruntime computes."""
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name, reason="needs the optional extra `export`")
    from nmt.onnx.checking import largest_difference
    from nmt.onnx.writing import write_graphs

    def run(model: Seq2Seq) -> float:
        folder = tmp_path_factory.mktemp("onnx")
        write_graphs(folder, model)
        return largest_difference(folder, model)

    return run


@pytest.mark.slow
@pytest.mark.parametrize("kind", EXPORTED)
def test_onnxruntime_computes_the_same(export, kind):
    assert export(build(kind, torch.float32)) < 1e-5


@pytest.mark.slow
def test_onnxruntime_computes_the_same_of_hard_attention(export):
    assert export(hard("luong")) < 1e-5
