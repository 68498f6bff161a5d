"""The Transformer: its equations on small numbers, and the laws that every decoder keeps."""

import math

import pytest
import torch
from torch.nn import functional

from nmt.acceleration.fused import FusedLoops
from nmt.attention.scores import Source
from nmt.data.symbols import BOS, PAD
from nmt.layers.loops import ReferenceLoops
from nmt.layers.transformer import (
    StackedLinear,
    TransformerOptions,
    attend_with_weights,
    positional_encoding,
)
from nmt.model.decoder import DecoderSizes, TransformerDecoder
from nmt.model.encoder import EncoderOutput
from nmt.model.initialization import Initialization, initialize
from nmt.model.transformer_encoder import TransformerEncoder

LIKE = torch.zeros((), dtype=torch.float64)


def step_by_step(model, sentences):
    """logits (B, T, V), weights (B, T, S) of T calls of `step`, and the last state."""
    source, state = model.encode(sentences.src, sentences.src_lengths)
    logits, weights = [], []
    for tokens in sentences.tgt_in.unbind(1):
        step_logits, state, step_weights = model.step(tokens, state, source)
        logits.append(step_logits)
        weights.append(step_weights)
    return torch.stack(logits, 1), torch.stack(weights, 1), state


def test_the_encoding_of_a_position_has_sines_and_cosines_of_falling_frequency():
    encoded = positional_encoding(0, 4, 4, LIKE)
    assert encoded[0].tolist() == [0, 1, 0, 1]
    expected = [math.sin(3), math.cos(3), math.sin(3 / 100), math.cos(3 / 100)]
    torch.testing.assert_close(encoded[3], torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("width", [1, 5, 8])
def test_a_position_has_one_encoding_wherever_the_count_starts(width):
    whole = positional_encoding(0, 30_000, width, LIKE)
    assert whole.shape == (30_000, width)
    assert torch.equal(positional_encoding(29_999, 30_000, width, LIKE)[0], whole[-1])


def test_attention_is_the_mean_of_values_by_the_softmax_of_scaled_products():
    query, keys = torch.tensor([[[[2.0, 0.0]]]]), torch.tensor([[[[1.0, 5.0], [3.0, -1.0], [9.0, 9.0]]]])
    values = torch.tensor([[[[1.0, 0.0], [0.0, 1.0], [7.0, 7.0]]]])
    context, weights = attend_with_weights(query, keys, values, torch.tensor([[True, True, False]]))
    first = 1 / (1 + math.exp(4 / math.sqrt(2)))  # of energies 2 and 6, over sqrt(2)
    torch.testing.assert_close(weights, torch.tensor([[[[first, 1 - first, 0.0]]]]))
    torch.testing.assert_close(context, torch.tensor([[[[first, 1 - first]]]]))


@pytest.mark.parametrize("loops", [FusedLoops(), ReferenceLoops()], ids=["fused", "reference"])
def test_attention_without_weights_has_the_numbers_of_attention_with_them(loops):
    torch.manual_seed(1)
    shapes = ((3, 2, 4, 5), (3, 2, 6, 5), (3, 2, 6, 5))
    query, keys, values = (torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes)
    mask = torch.arange(6) < torch.tensor([[6], [3], [1]])
    plain = loops.attend_heads(query, keys, values, mask[:, None, None])
    explicit = attend_with_weights(query, keys, values, mask).context
    torch.testing.assert_close(plain, explicit, rtol=1e-12, atol=1e-12)
    for one, other in zip(
        *(torch.autograd.grad(out.square().sum(), (query, keys, values)) for out in (plain, explicit)), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("causal", [False, True])
def test_in_half_precision_attention_on_a_cpu_stays_near_the_reference(causal):
    torch.manual_seed(1)
    query, keys, values = (torch.randn(3, 2, 6, 5, requires_grad=True) for _ in range(3))
    mask = None if causal else (torch.arange(6) < torch.tensor([[6], [3], [1]]))[:, None, None]

    def run(loops, dtype):
        halves = [part.to(dtype) for part in (query, keys, values)]
        contexts = loops.attend_heads(*halves, mask, causal=causal)
        return contexts.float(), *torch.autograd.grad(contexts.float().square().sum(), (query, keys, values))

    exact, half = run(ReferenceLoops(), torch.float32), run(FusedLoops(), torch.bfloat16)
    for one, other in zip(half, exact, strict=True):
        assert (one - other).norm() < 0.02 * other.norm()


@pytest.mark.parametrize("width", [24, 64])
def test_in_half_precision_energies_on_a_cpu_are_not_rounded(width):
    torch.manual_seed(1)
    query, keys = (4 * torch.randn(3, 2, 6, width).to(torch.bfloat16) for _ in range(2))
    values = torch.eye(6).expand(3, 2, 6, 6)  # so that contexts are weights
    halves = FusedLoops().attend_heads(query, keys, values.to(torch.bfloat16)).float()
    exact = ReferenceLoops().attend_heads(query.float(), keys.float(), values)
    assert (halves - exact).abs().max() < 0.003
    shown = attend_with_weights(query, keys, values.to(torch.bfloat16), torch.ones(3, 6, dtype=torch.bool)).weights
    torch.testing.assert_close(shown, exact, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("heads", [1, 4])
def test_step_by_step_with_kept_keys_is_teacher_forcing(make, sentences, layers, heads):
    model = make("transformer", layers=layers, transformer_heads=heads)
    logits, weights = model(sentences.src, sentences.src_lengths, sentences.tgt_in)
    by_step, step_weights, _ = step_by_step(model, sentences)
    torch.testing.assert_close(by_step, logits, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(step_weights, weights, rtol=1e-12, atol=1e-12)


def test_a_step_leaves_the_state_before_it_as_it_was(make, sentences):
    model = make("transformer", layers=2)
    source, state = model.encode(sentences.src, sentences.src_lengths)
    _, state, _ = model.step(sentences.tgt_in[:, 0], state, source)
    first, one, _ = model.step(sentences.tgt_in[:, 1], state, source)
    model.step(sentences.tgt_in[:, 2], state, source)
    again, other, _ = model.step(sentences.tgt_in[:, 1], state, source)
    assert torch.equal(first, again)
    assert all(torch.equal(a, b) for a, b in zip((*one.keys, *one.values), (*other.keys, *other.values), strict=True))


def test_a_state_holds_one_position_a_word_for_every_layer(make, sentences):
    _, _, state = step_by_step(make("transformer", layers=3), sentences)
    assert [tuple(part.shape) for part in (*state.keys, *state.values)] == [(3, 2, 6, 4)] * 6


def test_hypotheses_of_one_source_never_copy_it(make, sentences):
    model = make("transformer", layers=2)
    source, state = model.encode(sentences.src, sentences.src_lengths)
    rows = torch.arange(3).repeat_interleave(2)
    _, state, _ = model.step(torch.tensor([4, 5, 6]), state, source)
    tokens = torch.tensor([4, 5, 6, 7, 8, 9])
    logits, _, weights = model.step(tokens, state.select(rows), source)
    tiled, _, tiled_weights = model.step(tokens, state.select(rows), source.select(rows))
    torch.testing.assert_close(logits, tiled)
    torch.testing.assert_close(weights, tiled_weights)


def test_selected_rows_go_on_as_the_hypotheses_they_are_copies_of(make, sentences):
    model = make("transformer", layers=2)
    source, state = model.encode(sentences.src, sentences.src_lengths)
    _, state, _ = model.step(sentences.tgt_in[:, 0], state, source)
    rows = torch.tensor([2, 0, 2])
    expected, _, _ = model.step(sentences.tgt_in[:, 1], state, source)
    found, _, _ = model.step(sentences.tgt_in[rows, 1], state.select(rows), source.select(rows))
    torch.testing.assert_close(found, expected[rows], rtol=1e-12, atol=1e-12)


def test_a_source_of_one_position_has_all_the_weight(make, sentences):
    """As posterior attention asks: the words so far have seen the whole source, this step sees one position."""
    model = make("transformer", layers=2)
    source, state = model.encode(sentences.src, sentences.src_lengths)
    _, state, _ = model.step(torch.tensor([4, 5, 6]), state, source)
    alone = Source(source.memory[:, :1], source.keys[:, :1], source.mask[:, :1])
    _, _, weights = model.step(torch.tensor([7, 8, 9]), state.for_single_position(), alone)
    assert (weights == 1).all()


@pytest.mark.parametrize(("layer", "head"), [(None, None), (1, None), (3, 2)])
def test_weights_sum_to_one_and_padding_gets_exactly_zero(make, sentences, layer, head):
    model = make("transformer", layers=3, attention_layer=layer, attention_head=head)
    _, weights = model(sentences.src, sentences.src_lengths, sentences.tgt_in)
    torch.testing.assert_close(weights.sum(2), torch.ones(3, 6, dtype=torch.float64))
    for row, length in enumerate(sentences.src_lengths):
        assert (weights[row, :, length:] == 0).all()
        assert (weights[row, :, :length] > 0).all()


def test_the_layer_and_the_head_that_are_shown_change_nothing_but_the_weights(make, sentences):
    def run(layer, head):
        return make("transformer", layers=3, attention_layer=layer, attention_head=head)(*sentences[:3])

    logits, weights = run(None, None)
    torch.testing.assert_close(run(2, None)[1], weights)  # the last but one
    heads = torch.stack([run(2, head)[1] for head in (1, 2)])
    torch.testing.assert_close(heads.mean(0), weights)
    for shown in ((1, None), (3, 1)):
        torch.testing.assert_close(run(*shown)[0], logits, rtol=1e-12, atol=1e-12)
        assert not torch.allclose(run(*shown)[1], weights)


@pytest.mark.parametrize(("layer", "head"), [(1, 2), (3, None), (None, 1)])
def test_the_attention_that_a_trained_model_shows_can_be_chosen(make, sentences, layer, head):
    model = make("transformer", layers=3)
    model.show_attention(layer, head)
    expected = make("transformer", layers=3, attention_layer=layer, attention_head=head)(*sentences[:3])
    for one, other in zip(model(*sentences[:3]), expected, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("kind", "shown", "said"),
    [
        ("transformer", {"layer": 4}, r"attention_layer=4: this model has 3 layers; give 1 to 3"),
        ("transformer", {"head": 0}, r"attention_head=0: this model has 2 heads; give 1 to 2"),
        ("bahdanau", {"head": 1}, r"attention_head=1 has no effect: .* leave attention_head out"),
    ],
)
def test_an_attention_that_a_model_does_not_have_cannot_be_shown(make, kind, shown, said):
    with pytest.raises(ValueError, match=said):
        make(kind, layers=3).show_attention(**shown)


def test_plain_training_computes_no_weights_and_has_the_same_gradients(make, sentences, monkeypatch):
    model = make("transformer", layers=2)
    with_weights = model.loss_from_features(model.features(*sentences[:3]).features, sentences.tgt_out, 0.1)
    parameters = list(model.parameters())
    expected = torch.autograd.grad(with_weights.objective, parameters)
    monkeypatch.setattr("nmt.model.decoder.transformer.attend_with_weights", None)
    found = torch.autograd.grad(model.loss(sentences.batch, 0.1).objective, parameters)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


def test_links_guide_the_layer_and_the_head_that_are_shown(make, sentences):
    links = torch.tensor([[0, 0, 1], [1, 2, 0], [2, 1, 1]])
    model = make("transformer", layers=3, attention_layer=2, attention_head=1)
    plain, guided = model.loss(sentences.batch), model.loss(sentences.batch._replace(links=links), 0.0, 0.5)
    weights = model(*sentences[:3])[1]
    expected = -0.5 * sum(weights[row, tgt, src].log() for row, tgt, src in links)
    torch.testing.assert_close(guided.objective - plain.objective, expected)


def test_no_word_knows_those_after_it(make, sentences):
    model = make("transformer", layers=2)
    other = sentences.tgt_in.clone()
    other[:, 4:] = 4 + (other[:, 4:] - 3) % 19
    one, two = (model(sentences.src, sentences.src_lengths, tgt_in)[0] for tgt_in in (sentences.tgt_in, other))
    assert torch.equal(one[:, :4], two[:, :4])
    assert not torch.allclose(one[:, 4:], two[:, 4:])


def test_the_memory_of_padding_is_zero_and_the_order_of_words_counts(make, sentences):
    encoder = make("transformer", layers=2).encoder
    memory = encoder(sentences.src, sentences.src_lengths).memory
    for row, length in enumerate(sentences.src_lengths):
        assert (memory[row, length:] == 0).all()
    flipped = encoder(sentences.src[:1].flip(1), sentences.src_lengths[:1]).memory.flip(1)
    assert not torch.allclose(flipped, memory[:1])


def test_the_gradients_of_a_tiny_model_are_right(make, make_batch):
    model = make("transformer", vocab_size=23, embedding=4, transformer_heads=2, layers=1, feedforward=3)
    tiny = make_batch((3, 2), (2, 3))
    real = tiny.tgt_in != PAD  # whose embedding is a constant
    names, weights = zip(*model.named_parameters(), strict=True)

    def objective(*values):
        given = dict(zip(names, values, strict=True))
        logits, shown = torch.func.functional_call(model, given, (tiny.src, tiny.src_lengths, tiny.tgt_in))
        return functional.cross_entropy(logits.flatten(0, 1), tiny.tgt_out.flatten(), ignore_index=0), shown[real]

    leaves = [weight.detach().requires_grad_() for weight in weights]
    assert torch.autograd.gradcheck(objective, leaves, fast_mode=True)


@pytest.mark.parametrize("initialization", Initialization)
def test_layer_normalization_starts_as_the_identity(make, initialization):
    model = make("transformer", layers=2)
    initialize(model, initialization)
    norms = [module for module in model.modules() if isinstance(module, torch.nn.LayerNorm)]
    assert len(norms) == 2 * 2 + 1 + 2 * 3 + 1
    for norm in norms:
        assert (norm.weight == 1).all()
        assert (norm.bias == 0).all()


def test_stacked_matrices_start_as_if_each_stood_alone():
    torch.manual_seed(1)
    stacked = StackedLinear(60, 40, 3)
    initialize(stacked, Initialization.xavier)
    bound = math.sqrt(6 / 100)
    for matrix in stacked.weight.chunk(3):
        assert 0.97 * bound < matrix.abs().max().item() <= bound


def test_embeddings_start_as_large_as_positions():
    encoder = TransformerEncoder(500, embedding=64, options=TransformerOptions())
    initialize(encoder, Initialization.xavier)
    scaled = encoder.embedding(torch.arange(4, 500)) * 8
    assert scaled.square().mean().item() == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": 0}, r"model\.transformer\.heads=0 is impossible: the least is 1"),
        ({"heads": 3}, r"model\.decoder\.embedding=8 cannot be shared evenly by model\.transformer\.heads=3: try .*=9"),
        (
            {"attention_layer": 3},
            r"attention_layer=3: the decoder has 2 layers \(model\.decoder\.layers\); give 1 to 2",
        ),
        ({"attention_head": 5}, r"attention_head=5: there are 4 heads; give 1 to 4"),
    ],
)
def test_options_that_do_not_fit_say_what_to_set(options, message):
    with pytest.raises(ValueError, match=message) as error:
        TransformerDecoder(
            DecoderSizes(23, embedding=8, hidden=0, memory=8, layers=2), options=TransformerOptions(**options)
        )
    assert "\n" not in str(error.value)


def test_a_decoder_reads_a_memory_of_any_width():
    torch.manual_seed(1)
    decoder = TransformerDecoder(
        DecoderSizes(23, embedding=8, hidden=0, memory=6, layers=2), options=TransformerOptions(2)
    ).double()
    memory = torch.randn(2, 5, 6, dtype=torch.float64)
    encoded = EncoderOutput(memory, torch.ones(2, 5, dtype=torch.bool), memory[:, 0, :0], memory[:, 0, :0])
    step = decoder.step(torch.tensor([BOS, BOS]), decoder.init_state(encoded), decoder.source(encoded))
    assert step.features.shape == (2, 8)
    assert step.weights.shape == (2, 5)
