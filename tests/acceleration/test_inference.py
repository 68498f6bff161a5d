"""What search runs must be what the plain model computes."""

import pytest
import torch

from nmt.acceleration import inference
from nmt.acceleration.inference import InferenceModel
from nmt.acceleration.inference.linear import PackedLinear
from nmt.acceleration.inference.output import OutputLayer
from nmt.attention.scores import AdditiveAttention, ScoreFunction
from nmt.layers.cells import CellKind
from nmt.layers.loops import ReferenceLoops
from nmt.model.decoder import InitHidden
from tests.support.models import STACKS, reference_of

KINDS = [("bahdanau", {}), ("luong", {"input_feeding": True}), ("luong", {"input_feeding": False}), ("fixed", {})]


def state_tensors(state) -> list[torch.Tensor]:
    """Everything in a decoder's state but the layers."""
    return [part for field in state[1:] for part in (field if isinstance(field, tuple) else (field,))]


def three_steps(searched, sentences, beam=2):
    """The logits and weights of three steps with `beam` hypotheses a sentence, and the last state."""
    tokens = torch.tensor([[4, 9, 5], [6, 7, 22], [4, 4, 8], [11, 12, 13], [20, 4, 21], [4, 5, 6]])
    with torch.inference_mode():
        source, state = searched.encode(sentences.src, sentences.src_lengths)
        state = state.select(torch.arange(3).repeat_interleave(beam))
        found = []
        for column in tokens.unbind(1):
            logits, state, weights = searched.step(column, state, source)
            found += [logits, weights]
        return [*found, *(part for field in state for part in (field if isinstance(field, tuple) else [field]))]


def assert_equal_steps(model, sentences):
    plain = three_steps(model, sentences)
    for fold_memory in (True, False):
        for mine, other in zip(
            three_steps(model.for_inference(fold_memory=fold_memory), sentences), plain, strict=True
        ):
            torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("decoder", "options"), KINDS)
@pytest.mark.parametrize("cell", CellKind)
@pytest.mark.parametrize("layers", [1, 2])
def test_inference_steps_are_the_reference_ones(make, sentences, decoder, options, cell, layers):
    assert_equal_steps(make(decoder, cell=cell, layers=layers, **options), sentences)


@pytest.mark.parametrize(("decoder", "options"), STACKS)
def test_inference_steps_are_the_reference_ones_for_every_stack(make, sentences, decoder, options):
    assert_equal_steps(make(decoder, **options), sentences)


def test_inference_steps_are_the_reference_ones_of_a_transformer(make, sentences):
    assert_equal_steps(make("transformer", layers=2), sentences)


@pytest.mark.parametrize("cell", CellKind)
@pytest.mark.parametrize("layers", [1, 2])
def test_inference_steps_are_the_reference_ones_of_a_conditional_gru(make, sentences, cell, layers):
    model = make("conditional_gru", cell=cell, layers=layers)
    torch.nn.init.normal_(model.decoder.transition.project.bias)
    assert_equal_steps(model, sentences)


@pytest.mark.parametrize(("decoder", "options"), KINDS[:3])
@pytest.mark.parametrize("score", ScoreFunction)
def test_inference_steps_are_the_reference_ones_for_every_score(make, sentences, decoder, options, score):
    assert_equal_steps(make(decoder, score=score, **options), sentences)


@pytest.mark.parametrize(
    "init_hidden", [init_hidden for init_hidden in InitHidden if init_hidden is not InitHidden.backward_first]
)
def test_inference_steps_are_the_reference_ones_after_an_encoder_of_one_direction(make, sentences, init_hidden):
    assert_equal_steps(make(bidirectional=False, init_hidden=init_hidden), sentences)


@pytest.mark.parametrize("fold_memory", [True, False])
@pytest.mark.parametrize("cell", CellKind)
@pytest.mark.parametrize("score", [ScoreFunction.additive, ScoreFunction.concat, ScoreFunction.coverage])
def test_one_product_of_the_state_gives_the_numbers_of_several_to_the_last_bit(
    make, sentences, monkeypatch, score, cell, fold_memory
):
    model = make(score=score, cell=cell, dtype=torch.float32, hidden=96, readout=64, attention_size=32)
    together = three_steps(model.for_inference(fold_memory=fold_memory), sentences)
    monkeypatch.setattr(inference, "can_be_fused", lambda _decoder: False)
    apart = three_steps(model.for_inference(fold_memory=fold_memory), sentences)
    assert all(torch.equal(mine, other) for mine, other in zip(together, apart, strict=True))


@pytest.mark.parametrize("bidirectional", [True, False])
def test_directions_side_by_side_give_the_numbers_of_each_alone_to_the_last_bit(
    make, sentences, monkeypatch, bidirectional
):
    options = {} if bidirectional else {"init_hidden": InitHidden.last}
    model = make(bidirectional=bidirectional, layers=2, memory=64, dtype=torch.float32, **options)
    source, _ = model.for_inference().encode(sentences.src, sentences.src_lengths)
    monkeypatch.setattr(inference, "InferenceLoops", ReferenceLoops)
    apart, _ = model.for_inference().encode(sentences.src, sentences.src_lengths)
    assert torch.equal(source.memory, apart.memory)


@pytest.mark.parametrize(("decoder", "options"), KINDS)
def test_a_vocabulary_too_large_for_tables_is_multiplied(make, sentences, monkeypatch, decoder, options):
    model = make(decoder, **options)
    tabulated = three_steps(model.for_inference(), sentences)
    monkeypatch.setattr(inference, "MAX_TABLE_BYTES", 0)
    assert_equal_steps(model, sentences)
    for mine, other in zip(three_steps(model.for_inference(), sentences), tabulated, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-12)


def test_a_part_of_unknown_type_stays_as_it_is(make, sentences):
    class Doubled(AdditiveAttention):
        def energies(self, query, keys, state):
            return 2 * super().energies(query, keys, state)

    model = make()
    model.decoder.attention.__class__ = Doubled
    assert_equal_steps(model, sentences)


def test_preparing_leaves_the_model_as_it_was(make, sentences):
    model = make()
    parts = [(name, type(part)) for name, part in model.named_modules()]
    before = three_steps(model, sentences)
    model.for_inference()
    assert [(name, type(part)) for name, part in model.named_modules()] == parts
    for mine, then in zip(three_steps(model, sentences), before, strict=True):
        assert torch.equal(mine, then)


def test_on_the_reference_loops_the_model_itself_is_searched(make):
    model = make()
    assert isinstance(model.for_inference(), InferenceModel)
    plain = reference_of(model)
    assert plain.for_inference() is plain


def test_a_model_that_has_changed_is_made_for_inference_anew(make, sentences):
    model = make()
    model.for_inference()
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(0.5)
    assert_equal_steps(model, sentences)


def test_in_bfloat16_states_and_weights_stay_wide_and_logits_near(make, sentences):
    model = make(dtype=torch.float32)
    exact = three_steps(model, sentences)
    with torch.autocast("cpu", torch.bfloat16):
        half = model.for_inference()
        found = three_steps(half, sentences)
    for mine, plain in zip(found, exact, strict=True):
        assert mine.dtype is torch.float32
        torch.testing.assert_close(mine, plain, rtol=0, atol=0.05)
    assert not torch.equal(found[0], exact[0])
    # The precision is that of the time when it was made.
    for mine, then in zip(three_steps(half, sentences), found, strict=True):
        assert torch.equal(mine, then)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_row_of_a_product_does_not_depend_on_how_many_there_are(dtype):
    torch.manual_seed(0)
    product = PackedLinear(torch.randn(700, 96), torch.randn(700), dtype)
    if not product.packed:
        pytest.skip("this build of torch has no packed products")
    inputs = torch.randn(40, 96)
    together = product(inputs)
    for rows in (1, 2, 3, 7, 16, 33):
        assert torch.equal(product(inputs[:rows]), together[:rows])


def test_the_largest_logits_are_exact_in_bfloat16_and_alone_as_among_others():
    torch.manual_seed(0)
    output = torch.nn.Linear(96, 700)
    features = torch.randn(40, 96)
    exact, found = output(features).detach(), OutputLayer(output, torch.bfloat16, rescore_top_k=8)(features)
    largest = found.topk(4).indices  # at the edge of those sharpened another may come before
    torch.testing.assert_close(found.gather(1, largest), exact.gather(1, largest), rtol=0, atol=1e-5)
    assert (found - exact).abs().max() > 1e-4  # the others are bf16's
    assert torch.equal(found.argmax(1), exact.argmax(1))
    if PackedLinear(output.weight, output.bias, torch.bfloat16).packed:
        for rows in (1, 2, 3, 7, 16, 33):
            assert torch.equal(OutputLayer(output, torch.bfloat16, rescore_top_k=8)(features[:rows]), found[:rows])
