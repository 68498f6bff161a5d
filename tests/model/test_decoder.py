import pytest
import torch

from nmt.acceleration.fused import FusedLoops
from nmt.attention.scores import AttentionState, ScoreFunction, Source
from nmt.layers.cells import CellKind
from nmt.layers.loops import ReferenceLoops
from nmt.layers.readout import MaxoutReadout
from nmt.model.decoder import BahdanauState, Bridge, FixedVectorState, InitHidden, LuongState
from nmt.model.encoder import EncoderOutput
from tests.support.models import STACKS

KINDS = [
    ("bahdanau", {}),
    ("luong", {"input_feeding": True}),
    ("luong", {"input_feeding": False}),
    ("fixed", {}),
    ("conditional_gru", {}),
]


def step_by_step(model, sentences):
    """logits (B, T, V) and weights (B, T, S) from T calls of `step`."""
    source, state = model.encode(sentences.src, sentences.src_lengths)
    logits, weights = [], []
    for tokens in sentences.tgt_in.unbind(1):
        step_logits, state, step_weights = model.step(tokens, state, source)
        logits.append(step_logits)
        weights.append(step_weights)
    return torch.stack(logits, 1), torch.stack(weights, 1)


def assert_steps_are_teacher_forcing(model, sentences):
    logits, weights = model(sentences.src, sentences.src_lengths, sentences.tgt_in)
    expected, expected_weights = step_by_step(model, sentences)
    torch.testing.assert_close(logits, expected, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(weights, expected_weights, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("loops", [FusedLoops(), ReferenceLoops()], ids=["fused", "reference"])
@pytest.mark.parametrize(("decoder", "options"), KINDS)
@pytest.mark.parametrize("cell", CellKind)
@pytest.mark.parametrize("layers", [1, 3])
def test_step_by_step_is_teacher_forcing(make, sentences, loops, decoder, options, cell, layers):
    model = make(decoder, cell=cell, layers=layers, **options)
    assert_steps_are_teacher_forcing(model.with_loops(loops), sentences)


@pytest.mark.parametrize("loops", [FusedLoops(), ReferenceLoops()], ids=["fused", "reference"])
@pytest.mark.parametrize(("decoder", "options"), STACKS)
def test_step_by_step_is_teacher_forcing_for_every_stack(make, sentences, loops, decoder, options):
    assert_steps_are_teacher_forcing(make(decoder, **options).with_loops(loops), sentences)


@pytest.mark.parametrize("loops", [FusedLoops(), ReferenceLoops()], ids=["fused", "reference"])
@pytest.mark.parametrize(("decoder", "options"), KINDS[:3])
@pytest.mark.parametrize("score", ScoreFunction)
def test_step_by_step_is_teacher_forcing_for_every_score(make, sentences, loops, decoder, options, score):
    model = make(decoder, score=score, **options)
    assert_steps_are_teacher_forcing(model.with_loops(loops), sentences)


@pytest.mark.parametrize(("decoder", "options"), KINDS)
@pytest.mark.parametrize("init_hidden", InitHidden)
def test_step_by_step_is_teacher_forcing_from_every_start(make, sentences, decoder, options, init_hidden):
    assert_steps_are_teacher_forcing(make(decoder, init_hidden=init_hidden, **options), sentences)


@pytest.mark.parametrize(("decoder", "options"), KINDS)
def test_hypotheses_of_one_source_never_copy_it(make, sentences, decoder, options):
    model = make(decoder, **options)
    source, state = model.encode(sentences.src, sentences.src_lengths)
    rows = torch.arange(3).repeat_interleave(2)
    tokens = torch.tensor([4, 5, 6, 7, 8, 9])
    logits, _, weights = model.step(tokens, state.select(rows), source)
    tiled, _, tiled_weights = model.step(tokens, state.select(rows), source.select(rows))
    torch.testing.assert_close(logits, tiled)
    torch.testing.assert_close(weights, tiled_weights)


@pytest.mark.parametrize("loops", [FusedLoops(), ReferenceLoops()], ids=["fused", "reference"])
@pytest.mark.parametrize(("decoder", "options"), KINDS[:3])
def test_weights_sum_to_one_and_padding_gets_exactly_zero(make, sentences, loops, decoder, options):
    model = make(decoder, **options).with_loops(loops)
    _, weights = model(sentences.src, sentences.src_lengths, sentences.tgt_in)
    torch.testing.assert_close(weights.sum(2), torch.ones(3, 6, dtype=torch.float64))
    for row, length in enumerate(sentences.src_lengths):
        assert (weights[row, :, length:] == 0).all()
        assert (weights[row, :, :length] > 0).all()


def test_the_first_weights_of_bahdanau_do_not_know_the_first_word(make, sentences):
    """It attends before it updates; Luong's attends after."""
    other = sentences.tgt_in.clone()
    other[:, 0] = 4 + (other[:, 0] - 3) % 19
    for decoder, same in (("bahdanau", True), ("luong", False), ("conditional_gru", False)):
        model = make(decoder)
        first, second = (model(sentences.src, sentences.src_lengths, tgt)[1] for tgt in (sentences.tgt_in, other))
        assert torch.equal(first[:, 0], second[:, 0]) == same


def test_a_step_of_the_conditional_gru_is_two_transitions_with_attention_between(make, sentences):
    model = make("conditional_gru")
    decoder = model.decoder
    source, state = model.encode(sentences.src, sentences.src_lengths)
    tokens = torch.tensor([4, 5, 6])
    word = decoder.embedding(tokens)
    query = decoder.cell(decoder.cell.project(word), state.layers[0])
    attended = decoder.attention.step(query, source, state.attention)
    new = decoder.transition(decoder.transition.project(attended.context), query)
    readout = decoder.readout
    features = torch.tanh(readout.state(new) + readout.word(word) + readout.context(attended.context))
    logits, after, weights = model.step(tokens, state, source)
    torch.testing.assert_close(logits, model.output(features))
    torch.testing.assert_close(after.layers[0], new)
    torch.testing.assert_close(weights, attended.weights)


def test_without_input_feeding_the_attention_leaves_no_trace_in_the_state(make, sentences):
    model = make("luong", input_feeding=False)
    source, state = model.encode(sentences.src, sentences.src_lengths)
    blind = source._replace(memory=torch.randn_like(source.memory))
    tokens = torch.tensor([4, 5, 6])
    for seen, unseen in zip(model.step(tokens, state, source)[1], model.step(tokens, state, blind)[1], strict=True):
        assert str(seen) == str(unseen)


def test_maxout_takes_the_larger_of_each_pair():
    readout = MaxoutReadout(1, 1, 1, 2)
    with torch.no_grad():
        readout.state.weight.copy_(torch.tensor([[1.0], [-2.0], [3.0], [4.0]]))
        readout.state.bias.copy_(torch.tensor([0.5, 0.0, 0.0, 0.0]))
        readout.word.weight.copy_(torch.tensor([[5.0], [0.0], [0.0], [-9.0]]))
        readout.context.weight.copy_(torch.tensor([[0.0], [1.0], [2.0], [0.0]]))
    one = torch.ones(1, 1)
    # Pairs (1 + 0.5 + 5, 3 + 2) and (-2 + 1, 4 - 9): unit j with unit j + 2.
    torch.testing.assert_close(readout(one, readout.word(one), one), torch.tensor([[6.5, -1.0]]))


def test_maxout_has_the_gradient_of_its_winner():
    readout = MaxoutReadout(2, 2, 2, 3).double()
    inputs = [torch.randn(4, width, dtype=torch.float64, requires_grad=True) for width in (2, 6, 2)]
    assert torch.autograd.gradcheck(readout, inputs)


@pytest.mark.parametrize(
    ("init_hidden", "expected"),
    [
        (InitHidden.last, [3.0, 4.0, 5.0, 6.0]),
        (InitHidden.mean, [2.0, 3.0, 4.0, 5.0]),
        (InitHidden.backward_first, [5.0, 6.0]),
    ],
)
def test_a_bridge_starts_from_what_its_word_says(init_hidden, expected):
    memory = torch.tensor([[[1.0, 2.0, 5.0, 6.0], [3.0, 4.0, 3.0, 4.0], [0.0, 0.0, 0.0, 0.0]]])
    encoded = EncoderOutput(
        memory, torch.tensor([[True, True, False]]), torch.tensor([[3.0, 4.0]]), torch.tensor([[5.0, 6.0]])
    )
    bridge = Bridge(init_hidden, 2, 2, [3, 2])
    assert bridge.project is not None
    summary = torch.tensor([expected])
    states = bridge(encoded)
    torch.testing.assert_close(torch.cat(states, 1), torch.tanh(bridge.project(summary)))
    assert [state.shape for state in states] == [(1, 3), (1, 2)]


def test_starting_from_a_backward_state_without_one_says_what_to_set():
    with pytest.raises(
        ValueError, match=r"model\.encoder\.bidirectional=true, or try model\.decoder\.init_hidden=last"
    ):
        Bridge(InitHidden.backward_first, 4, 1, [4])


LAYERS = (torch.arange(3.0).unsqueeze(1), torch.arange(6.0).view(3, 2))
ATTENTIONAL = -torch.arange(12.0).view(3, 4)
ATTENTION = AttentionState(torch.arange(9.0).view(3, 3), torch.arange(3.0).view(3, 1))
STATES = [FixedVectorState(LAYERS), BahdanauState(LAYERS, ATTENTION), LuongState(LAYERS, ATTENTIONAL, ATTENTION)]


@pytest.mark.parametrize("state", STATES)
def test_selecting_rows_keeps_their_order(state):
    rows = torch.tensor([2, 0, 2])
    picked = state.select(rows)
    assert type(picked) is type(state)
    assert picked.layers[0].flatten().tolist() == [2.0, 0.0, 2.0]
    assert picked.layers[1].tolist() == [[4.0, 5.0], [0.0, 1.0], [4.0, 5.0]]
    for field, whole in zip(flattened(picked[1:]), flattened(state[1:]), strict=True):
        assert torch.equal(field, whole[rows])


def flattened(fields) -> list[torch.Tensor]:
    return [part for field in fields for part in (field if isinstance(field, tuple) else (field,))]


@pytest.mark.parametrize(("decoder", "options"), KINDS)
@pytest.mark.parametrize("score", [ScoreFunction.additive, ScoreFunction.coverage])
def test_a_state_can_be_that_of_sources_of_one_position(make, sentences, decoder, options, score):
    model = make(decoder, score=score, **options)
    source, state = model.encode(sentences.src, sentences.src_lengths)
    tokens = torch.tensor([4, 5, 6])
    _, state, _ = model.step(tokens, state, source)
    alone = Source(source.memory[:, :1], source.keys[:, :1], source.mask[:, :1])
    _, _, weights = model.step(tokens, state.for_single_position(), alone)
    assert (weights == 1).all()
