"""The laws of attention, for normalizers, windows, heads and scores of positions, alone and together."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from nmt.acceleration.fused import FusedLoops
from nmt.acceleration.fused.loops import is_fused
from nmt.attention.composed import AttentionOptions, compose_attention
from nmt.attention.local import Extent
from nmt.attention.normalizers import Normalizer
from nmt.attention.scores import AttentionState, ScoreFunction, Source
from nmt.data.symbols import BOS
from nmt.decoding.posterior import posterior_attention
from nmt.decoding.search import SearchOptions, beam_search
from nmt.layers.loops import ReferenceLoops
from tests.support.models import draw_weights, reference_of

LOCAL_M, LOCAL_P = Extent["local_m"], Extent["local_p"]
# The sources have up to 7 positions: a window of 3 is cut out of them, one of 5 is a mask.
KINDS = {
    "sparsemax": {"normalizer": Normalizer.sparsemax},
    "entmax": {"normalizer": Normalizer.entmax},
    "entmax_coverage": {"normalizer": Normalizer.entmax, "score": ScoreFunction.coverage},
    "entmax_general": {"normalizer": Normalizer.entmax, "score": ScoreFunction.general},
    "location": {"score": ScoreFunction.location},
    "gaussian": {"score": ScoreFunction.gaussian},
    "sparse_gaussian": {"score": ScoreFunction.gaussian, "normalizer": Normalizer.sparsemax},
    "local_m": {"extent": LOCAL_M, "window": 1},
    "local_m_masked": {"extent": LOCAL_M, "window": 2, "score": ScoreFunction.general},
    "local_p": {"extent": LOCAL_P, "window": 1, "score": ScoreFunction.general},
    "local_p_masked": {"extent": LOCAL_P, "window": 2},
    "local_p_renormalized": {"extent": LOCAL_P, "window": 1, "renormalize": True, "score": ScoreFunction.dot},
    "local_coverage": {"extent": LOCAL_M, "window": 1, "score": ScoreFunction.coverage},
    "heads": {"heads": 2, "attention_size": 6},
    "heads_general": {"heads": 4, "score": ScoreFunction.general},
    "heads_scaled_dot": {"heads": 2, "score": ScoreFunction.scaled_dot},
    "heads_coverage": {"heads": 2, "attention_size": 6, "score": ScoreFunction.coverage},
    "sparse_local_heads": {"heads": 2, "score": ScoreFunction.dot, "extent": LOCAL_P, "window": 1}
    | {"normalizer": Normalizer.sparsemax},
    "masked_local_heads": {"heads": 2, "attention_size": 6, "extent": LOCAL_P, "window": 2, "renormalize": True},
}
AS_PUBLISHED = {"local_p", "local_p_masked", "sparse_local_heads"}  # rows sum to less than one
EVERY_KIND = pytest.mark.parametrize("kind", KINDS)
DECODERS = pytest.mark.parametrize(
    ("decoder", "feeding"), [("bahdanau", {}), ("luong", {}), ("luong", {"input_feeding": False})]
)
LOOPS = pytest.mark.parametrize("loops", [FusedLoops(), ReferenceLoops()], ids=["fused", "reference"])


def test_steps_are_counted_beyond_256_in_half_precision():
    attention = compose_attention(AttentionOptions(score=ScoreFunction.dot, extent=LOCAL_M, window=1), 8, 8)
    memory = torch.zeros(1, 400, 8, dtype=torch.bfloat16)
    state = attention.initial_state(memory).position
    for _ in range(300):
        state = attention.next_position(memory[:, 0], state)
    assert state.item() == 300


def outputs_and_gradients(model, sentences):
    """logits, weights, and the gradient of every parameter for a loss that has a part in both."""
    logits, weights = model(sentences.src, sentences.src_lengths, sentences.tgt_in)
    is_token = (sentences.tgt_in != 0).unsqueeze(2)
    loss = ((logits * is_token).square().sum() / 100) + (weights * is_token).pow(3).sum()
    names, parameters = zip(*model.named_parameters(), strict=True)
    return logits, weights, dict(zip(names, torch.autograd.grad(loss, parameters, materialize_grads=True), strict=True))


@LOOPS
@DECODERS
@EVERY_KIND
def test_step_by_step_is_teacher_forcing(make, sentences, loops, decoder, feeding, kind):
    model = make(decoder, **feeding, **KINDS[kind]).with_loops(loops)
    logits, weights = model(sentences.src, sentences.src_lengths, sentences.tgt_in)
    source, state = model.encode(sentences.src, sentences.src_lengths)
    for t, tokens in enumerate(sentences.tgt_in.unbind(1)):
        of_step, state, step_weights = model.step(tokens, state, source)
        torch.testing.assert_close(of_step, logits[:, t], rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(step_weights, weights[:, t], rtol=1e-10, atol=1e-10)


@DECODERS
@EVERY_KIND
def test_fused_is_reference(make, sentences, decoder, feeding, kind):
    model = make(decoder, **feeding, **KINDS[kind])
    fast, plain = (outputs_and_gradients(each, sentences) for each in (model, reference_of(model)))
    for mine, other in zip(fast[:2], plain[:2], strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-12)
    for name, grad in plain[2].items():
        torch.testing.assert_close(fast[2][name], grad, rtol=1e-8, atol=1e-11, msg=name)
        assert grad.abs().sum() > 0, name


@pytest.mark.parametrize("normalizer", [Normalizer.sparsemax, Normalizer.entmax])
def test_sparse_normalizers_have_a_fused_path(make, normalizer):
    attention = make(normalizer=normalizer).decoder.attention
    assert is_fused(make().decoder.cell, attention)
    assert not is_fused(make().decoder.cell, make(heads=2, attention_size=6).decoder.attention)


@EVERY_KIND
@pytest.mark.parametrize("fold_memory", [True, False])
def test_inference_is_the_plain_model(make, sentences, kind, fold_memory):
    for decoder in ("bahdanau", "luong"):
        model = make(decoder, **KINDS[kind])
        found = []
        for stepper in (model, model.for_inference(fold_memory=fold_memory)):
            with torch.inference_mode():
                source, state = stepper.encode(sentences.src, sentences.src_lengths)
                state = state.select(torch.arange(3).repeat_interleave(2))
                for column in torch.tensor([[4, 9, 5], [6, 7, 22], [4, 4, 8]] * 2).unbind(1):
                    logits, state, weights = stepper.step(column, state, source)
                    found.append((logits, weights, *state.attention))
        for plain, fast in zip(found[:3], found[3:], strict=True):
            torch.testing.assert_close(fast, plain, rtol=1e-10, atol=1e-12)


@EVERY_KIND
def test_weights_sum_to_one_and_padding_gets_exactly_zero(make, sentences, kind):
    """local_p as published multiplies a row that sums to one by at least exp(-2), and at most 1."""
    _, weights = make(**KINDS[kind])(sentences.src, sentences.src_lengths, sentences.tgt_in)
    sums = weights.sum(2)
    if kind in AS_PUBLISHED:
        assert (sums > 0.135).all()
        assert (sums <= 1 + 1e-12).all()
        assert (sums < 0.999).any()
    else:
        torch.testing.assert_close(sums, torch.ones_like(sums))
    for row, length in enumerate(sentences.src_lengths):
        assert (weights[row, :, length:] == 0).all()


@EVERY_KIND
def test_more_padding_changes_nothing_forward_or_backward(make, sentences, kind):
    wider = sentences._replace(
        src=functional.pad(sentences.src, (0, 3)), tgt_in=functional.pad(sentences.tgt_in, (0, 2))
    )
    model = make(**KINDS[kind])
    (logits, weights, grads), found = (outputs_and_gradients(model, each) for each in (sentences, wider))
    torch.testing.assert_close(found[0][:, :6], logits, rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(found[1][:, :6, :7], weights, rtol=1e-11, atol=1e-12)
    for name, grad in grads.items():
        torch.testing.assert_close(found[2][name], grad, rtol=1e-10, atol=1e-12, msg=name)


@EVERY_KIND
def test_a_batch_of_many_is_many_batches_of_one(make, sentences, kind):
    model = make(**KINDS[kind])
    logits, weights = model(sentences.src, sentences.src_lengths, sentences.tgt_in)
    for row, length in enumerate(sentences.src_lengths):
        alone = model(sentences.src[[row], :length], length.unsqueeze(0), sentences.tgt_in[[row]])
        torch.testing.assert_close(logits[[row]], alone[0], rtol=1e-11, atol=1e-12)
        torch.testing.assert_close(weights[[row], :, :length], alone[1], rtol=1e-11, atol=1e-12)


@EVERY_KIND
def test_a_source_of_one_position_has_weight_one(make, sentences, kind):
    model = make(**KINDS[kind])
    source, state = model.encode(sentences.src, sentences.src_lengths)
    for tokens in sentences.tgt_in.t()[:3]:
        _, state, _ = model.step(tokens, state, source)
    alone = Source(source.memory[:, 1:2], source.keys[:, 1:2], source.mask[:, 1:2])
    _, _, weights = model.step(torch.tensor([4, 5, 6]), state.for_single_position(), alone)
    torch.testing.assert_close(weights, torch.ones(3, 1, dtype=torch.float64))


@EVERY_KIND
def test_posterior_attention_sums_to_one(make, sentences, kind):
    model = make(**KINDS[kind])
    with torch.no_grad():
        found = posterior_attention(
            model, sentences.src, sentences.src_lengths, sentences.tgt_in, sentences.tgt_out.clamp_min(4)
        )
    torch.testing.assert_close(found.sum(2), torch.ones_like(found.sum(2)))


@EVERY_KIND
def test_the_scores_of_search_are_those_of_teacher_forcing(make, sentences, kind):
    model = draw_weights(make("luong", **KINDS[kind]), std=0.5)
    with torch.inference_mode():
        found = beam_search(model.for_inference(), sentences.src, sentences.src_lengths, SearchOptions(3, max_length=6))
        for row, (best, *_) in enumerate(found):
            ids = torch.tensor([best.ids])
            src = sentences.src[[row], : sentences.src_lengths[row]]
            tgt_in = functional.pad(ids[:, :-1], (1, 0), value=BOS)
            logits, weights = model(src, sentences.src_lengths[[row]], tgt_in)
            log_probs = logits.log_softmax(2).gather(2, ids.unsqueeze(2))
            assert best.log_prob == pytest.approx(log_probs.sum().item(), abs=1e-9)
            np.testing.assert_allclose(best.weights, weights[0], atol=1e-6)


@EVERY_KIND
def test_gradcheck(kind):
    options = {name: value for name, value in KINDS[kind].items() if name != "attention_size"}
    torch.manual_seed(3)
    options = AttentionOptions(size=6, gaussians=2, max_positions=4, **options)  # type: ignore[arg-type]
    attention = compose_attention(options, 8, 8).double()
    mask = torch.arange(7) < torch.tensor([[7], [3]])
    parts = [torch.randn(2, length, 8, dtype=torch.float64).requires_grad_() for length in (7, 2)]
    coverage, position = attention.initial_state(parts[0])
    state = AttentionState(*((part + 0.3).unsqueeze(1).repeat(1, 2, 1) for part in (coverage, position)))

    def attend(memory, hidden, *_):
        return tuple(attention(hidden, attention.source(memory, mask), state))

    assert torch.autograd.gradcheck(attend, (*parts, *attention.parameters()))


@EVERY_KIND
def test_bf16_products_leave_weights_in_float32(make, sentences, kind):
    model = make(dtype=torch.float32, **KINDS[kind])
    exact, _ = model(sentences.src, sentences.src_lengths, sentences.tgt_in)
    with torch.autocast("cpu", torch.bfloat16):
        logits, weights = model(sentences.src, sentences.src_lengths, sentences.tgt_in)
    assert weights.dtype is torch.float32
    assert (logits.float() - exact).norm() < 0.1 * exact.norm()


@pytest.mark.parametrize("extent", [LOCAL_M, LOCAL_P])
@pytest.mark.parametrize("heads", [1, 2])
def test_a_window_as_long_as_the_source_with_a_flat_gaussian_is_global(make, sentences, extent, heads):
    options = {"heads": heads, "attention_size": 6}
    local, plain = make(extent=extent, window=10**7, **options), make(**options)
    own = local.decoder.attention.attention.state_dict()
    plain.load_state_dict(
        {name: weight for name, weight in local.state_dict().items() if ".attention." not in name}
        | {f"decoder.attention.{name}": weight for name, weight in own.items()}
    )
    found, expected = (model(sentences.src, sentences.src_lengths, sentences.tgt_in) for model in (local, plain))
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)


def test_a_location_beyond_the_known_ones_gets_exactly_zero(make, sentences):
    _, weights = make(score=ScoreFunction.location)(sentences.src, sentences.src_lengths, sentences.tgt_in)
    assert (weights[:, :, 4:] == 0).all()  # max_positions of these models
    assert (weights[0, :, :4] > 0).all()


@pytest.mark.parametrize("window", [1, 2])
def test_positions_outside_the_window_get_exactly_zero(make, sentences, window):
    """local_m is around the step's number, and stays at the last position."""
    _, weights = make(extent=LOCAL_M, window=window)(sentences.src, sentences.src_lengths, sentences.tgt_in)
    for row, length in enumerate(sentences.src_lengths.tolist()):
        for step in range(6):
            center = min(step, length - 1)
            inside = {position for position in range(length) if abs(position - center) <= window}
            assert set(weights[row, step].nonzero().flatten().tolist()) == inside


@pytest.mark.parametrize("window", [1, 2, 10])
def test_local_p_is_the_published_equation(make, sentences, window):
    """Softmax over the positions at most D from p, times the Gaussian with sigma D / 2."""
    attention = make(extent=LOCAL_P, window=window, score=ScoreFunction.general).decoder.attention
    memory, hidden = torch.randn(1, 7, 8, dtype=torch.float64), torch.randn(1, 1, 8, dtype=torch.float64)
    source = attention.source(memory, torch.ones(1, 7, dtype=torch.bool))
    state = AttentionState(hidden[..., :0], hidden[..., :0])
    center = 6 * torch.sigmoid(attention.v.weight @ torch.tanh(attention.predict.weight @ hidden[0, 0])).item()
    inside = [s for s in range(7) if abs(s - center) <= window]
    energies = torch.stack([hidden[0, 0] @ attention.attention.key.weight @ memory[0, s] for s in inside])
    expected = torch.zeros(7, dtype=torch.float64)
    distances = torch.tensor(inside, dtype=torch.float64) - center
    expected[inside] = energies.softmax(0) * torch.exp(-(distances**2) / (2 * (window / 2) ** 2))
    torch.testing.assert_close(attention(hidden, source, state).weights[0, 0], expected)


def test_gaussians_by_hand_and_their_centers_only_move_forward():
    attention = compose_attention(AttentionOptions(ScoreFunction.gaussian, gaussians=1), 3, 4)
    with torch.no_grad():
        attention.query.weight.zero_()  # type: ignore[union-attr]
        attention.query.bias.copy_(torch.tensor([0.5, math.log(2), math.log(1.5)]))  # type: ignore[union-attr]
    source = attention.source(torch.randn(1, 3, 4), torch.ones(1, 3, dtype=torch.bool))
    state = attention.initial_state(source.memory)
    for center in (1.5, 3.0):
        _, weights, state = attention.step(torch.zeros(1, 3), source, state)
        heights = torch.tensor([math.exp(-2 * (center - u) ** 2) for u in (1, 2, 3)])
        torch.testing.assert_close(weights[0], heights / heights.sum())
        torch.testing.assert_close(state.position, torch.tensor([[center]]))


@pytest.mark.parametrize(("heads", "size", "memory"), [(3, 8, 6), (4, 8, 6)])
def test_heads_that_cannot_divide_a_width_are_refused_in_one_line(heads, size, memory):
    with pytest.raises(ValueError, match=rf"model\.attention\.heads={heads} cannot divide the . units") as error:
        compose_attention(AttentionOptions(size=size, heads=heads), 8, memory)
    assert "\n" not in str(error.value)
