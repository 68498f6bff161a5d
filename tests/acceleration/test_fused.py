import copy

import pytest
import torch

from nmt.acceleration.fused import FusedLoops
from nmt.acceleration.fused.consistency import consistent_cross_entropy
from nmt.acceleration.fused.loops import is_fused, run_side_by_side
from nmt.acceleration.fused.loss import cross_entropy
from nmt.attention.scores import AdditiveAttention, CoverageAttention, ScoreFunction, Source, build_attention
from nmt.layers.cells import CellKind, GRUCell
from nmt.layers.loops import ReferenceLoops
from nmt.layers.loss import PassWeights
from nmt.model.decoder import InitHidden
from nmt.model.seq2seq import TiedEmbeddings
from tests.support.models import STACKS, reference_of

CELLS = list(CellKind)
SCORES = list(ScoreFunction)
LOOPS = [
    ("bahdanau", {}),
    ("conditional_gru", {}),
    ("luong", {"input_feeding": True}),
    ("luong", {"input_feeding": False}),
]
ODD = {"layers": 2, "cell": CellKind.lstm}


def loss_and_gradients(model, sentences, weigh_attention=True):
    """A loss that depends on the attention weights as well, and the gradient of every weight."""
    logits, weights = model(sentences.src, sentences.src_lengths, sentences.tgt_in)
    loss = logits.float().square().sum() if logits.dtype != torch.float64 else logits.square().sum()
    if weigh_attention and model.has_attention:
        loss = loss + weights.pow(3).sum()
    names, parameters = zip(*model.named_parameters(), strict=True)
    return loss, dict(zip(names, torch.autograd.grad(loss, parameters, materialize_grads=True), strict=True))


def relative(a, b):
    """Largest difference between two sets of gradients, as a part of the largest gradient of each tensor."""
    return max(((a[n] - b[n]).abs().max() / b[n].abs().max().clamp_min(1e-6)).item() for n in a)


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(("decoder", "options"), LOOPS)
def test_the_fused_path_is_the_reference_path(make, sentences, decoder, options, cell, score):
    model = make(decoder, cell=cell, score=score, **options)
    loss, fast = loss_and_gradients(model, sentences)
    expected, plain = loss_and_gradients(reference_of(model), sentences)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)
    assert relative(fast, plain) < 1e-9


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(("decoder", "options"), [*LOOPS, ("fixed", {})])
def test_the_fused_path_is_the_reference_path_in_stacks(make, sentences, decoder, options, cell):
    model = make(decoder, cell=cell, layers=3, **options)
    loss, fast = loss_and_gradients(model, sentences)
    expected, plain = loss_and_gradients(reference_of(model), sentences)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)
    assert relative(fast, plain) < 1e-9


@pytest.mark.parametrize(("decoder", "options"), STACKS)
def test_the_fused_path_is_the_reference_path_for_every_stack(make, sentences, decoder, options):
    model = make(decoder, **options)
    loss, fast = loss_and_gradients(model, sentences)
    expected, plain = loss_and_gradients(reference_of(model), sentences)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)
    assert relative(fast, plain) < 1e-9


@pytest.mark.parametrize(("decoder", "options"), LOOPS)
def test_the_fused_path_is_the_reference_path_where_encoder_outputs_have_one_unit(make, sentences, decoder, options):
    model = make(decoder, memory=1, bidirectional=False, init_hidden=InitHidden.mean, **options)
    loss, fast = loss_and_gradients(model, sentences)
    expected, plain = loss_and_gradients(reference_of(model), sentences)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)
    assert relative(fast, plain) < 1e-9


@pytest.mark.parametrize("passes", [1, 2])
def test_without_gradients_the_loss_multiplies_the_vocabulary_once(monkeypatch, passes):
    features, weight, bias = torch.randn(2 * passes, 3, 4), torch.randn(9, 4, requires_grad=True), torch.zeros(9)
    targets, products = torch.ones(2, 3, dtype=torch.long), []
    matmul = torch.mm
    monkeypatch.setattr(torch, "mm", lambda *given, **options: (products.append(1), matmul(*given, **options))[1])
    for count, context in ((passes, torch.enable_grad()), (0, torch.inference_mode()), (0, torch.no_grad())):
        products.clear()
        with context:
            if passes == 1:
                loss = cross_entropy(features, weight, bias, targets)
            else:
                loss = consistent_cross_entropy(
                    features, weight, bias, targets, weights=PassWeights(1.0, 0.0, 1.0, 0.0)
                )
        assert (len(products), loss.objective.requires_grad) == (count, count > 0)


@pytest.mark.parametrize(("decoder", "options"), [*LOOPS, ("luong", ODD)])
def test_first_gradients_in_float32_agree(make, sentences, decoder, options):
    model = make(decoder, dtype=torch.float32, **options)
    _, fast = loss_and_gradients(model, sentences)
    _, plain = loss_and_gradients(reference_of(model), sentences)
    largest = max(grad.norm() for grad in plain.values())
    for name, grad in plain.items():  # a gradient that is small beside the others is made of their roundings
        assert (fast[name] - grad).norm() < 1e-5 * grad.norm() + 1e-7 * largest, name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("decoder", "options"), [("bahdanau", {}), ("conditional_gru", {}), ("luong", {"cell": CellKind.lstm})]
)
def test_200_updates_agree(make, sentences, decoder, options):
    fast = make(decoder, **options)
    plain = reference_of(copy.deepcopy(fast))
    for model in (fast, plain):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        for _ in range(200):
            loss = model.loss(sentences.batch)
            optimizer.zero_grad()
            (loss.objective / loss.tokens).backward()
            optimizer.step()
    for a, b in zip(fast.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)


def leaf(*shape):
    return (torch.randn(*shape, dtype=torch.float64) * 0.7).requires_grad_()


@pytest.mark.parametrize("kind", CELLS)
def test_gradcheck_of_a_cell_over_a_sequence(make, kind):
    cell = make(cell=kind).decoder.cell
    projected, start = leaf(3, 2, cell.gates * cell.size), leaf(2, cell.state_size)
    parameters = [p for n, p in cell.named_parameters() if not n.startswith("project")]
    assert torch.autograd.gradcheck(
        lambda projected, start, *_: FusedLoops().run_cell(cell, projected, start), (projected, start, *parameters)
    )


@pytest.mark.parametrize("kind", CELLS)
def test_gradcheck_of_both_directions_side_by_side(make, kind):
    cells = make(cell=kind).encoder.cells[0]
    keep = torch.tensor([[1.0, 1.0], [1.0, 0.0], [1.0, 0.0]], dtype=torch.float64).unsqueeze(2)
    keep = torch.stack([keep, keep.flip(0)])
    projected = leaf(2, 3, 2, cells[0].gates * cells[0].size)
    parameters = [p for cell in cells for n, p in cell.named_parameters() if not n.startswith("project")]
    assert torch.autograd.gradcheck(
        lambda projected, *_: run_side_by_side(cells, projected, keep), (projected, *parameters)
    )


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize(
    "score",
    [
        ScoreFunction.additive,
        ScoreFunction.coverage,
        ScoreFunction.dot,
        ScoreFunction.scaled_dot,
        ScoreFunction.general,
    ],
)
def test_gradcheck_of_the_bahdanau_loop(make, make_batch, kind, score):
    decoder = make(cell=kind, score=score, attention_size=3).decoder
    source = source_of(decoder.attention)
    projected, start = leaf(3, 2, decoder.cell.gates * 8), leaf(2, decoder.cell.state_size)
    inputs = (projected, start, source.memory, source.keys, decoder.context.weight, *weights_of(decoder.attention))

    def loop(projected, start, memory, keys, *_):
        return FusedLoops().bahdanau(
            *(decoder.cell, decoder.attention, decoder.context, projected, start),
            source._replace(memory=memory, keys=keys),
        )

    assert torch.autograd.gradcheck(loop, inputs, fast_mode=True)


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize("score", [ScoreFunction.additive, ScoreFunction.coverage, ScoreFunction.general])
def test_gradcheck_of_the_loop_of_the_conditional_gru(make, kind, score):
    decoder = make("conditional_gru", cell=kind, score=score, attention_size=3).decoder
    source, cells = source_of(decoder.attention), (decoder.cell, decoder.transition)
    projected, start = leaf(3, 2, decoder.cell.gates * 8), leaf(2, decoder.cell.state_size)
    parameters = [*decoder.transition.parameters(), *weights_of(decoder.attention)]
    parameters += [p for n, p in decoder.cell.named_parameters() if not n.startswith("project")]
    assert is_fused(decoder.cell, decoder.attention)

    def loop(projected, start, memory, keys, *_):
        of_source = source._replace(memory=memory, keys=keys)
        return FusedLoops().conditional_gru(cells, decoder.attention, projected, start, of_source)

    assert torch.autograd.gradcheck(loop, (projected, start, source.memory, source.keys, *parameters), fast_mode=True)


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize(
    "score", [ScoreFunction.additive, ScoreFunction.coverage, ScoreFunction.dot, ScoreFunction.general]
)
@pytest.mark.parametrize("layers", [1, 2])
def test_gradcheck_of_the_luong_loop(make, kind, score, layers):
    decoder = make("luong", cell=kind, score=score, layers=layers, attention_size=3).decoder
    source = source_of(decoder.attention)
    projected, fed = leaf(3, 2, decoder.cell.gates * 8), leaf(2, 8)
    starts = [leaf(2, cell.state_size) for cell in decoder.cells]
    weights = (decoder.input_feed.weight, decoder.combine.weight, *weights_of(decoder.attention))

    def loop(projected, fed, memory, keys, *starts_and_weights):
        return FusedLoops().luong(
            *(decoder.recurrent_layers, projected, starts_and_weights[: len(starts)], fed),
            source._replace(memory=memory, keys=keys),
        )

    inputs = (projected, fed, source.memory, source.keys, *starts, *weights)
    assert torch.autograd.gradcheck(loop, inputs, fast_mode=True)


@pytest.mark.parametrize("score", [ScoreFunction.additive, ScoreFunction.coverage])
def test_gradcheck_of_attending_all_at_once(make, score):
    attention = make(score=score, attention_size=3).decoder.attention
    assert isinstance(attention, AdditiveAttention)
    source = source_of(attention)

    def step(hidden, memory, keys, *_):
        return FusedLoops().attend_all(attention, hidden, source._replace(memory=memory, keys=keys))

    assert torch.autograd.gradcheck(step, (leaf(3, 2, 8), source.memory, source.keys, *weights_of(attention)))


def source_of(attention):
    """Two sentences, of three positions and of two."""
    memory = leaf(2, 3, 8)
    keys = attention.project_keys(memory).detach().clone().requires_grad_()
    mask = torch.tensor([[True, True, True], [True, True, False]])
    return Source(memory, keys, mask)


def weights_of(attention):
    coverage_weight = (attention.coverage_weight,) if isinstance(attention, CoverageAttention) else ()
    return (attention.query.weight, attention.v, *coverage_weight) if isinstance(attention, AdditiveAttention) else ()


@pytest.mark.parametrize("size", [1.0, 30.0, 300.0])
def test_the_exp_form_is_tanh_wherever_states_can_be(make, sentences, size):
    """Saturated keys and queries overflow e^x long before tanh has anything left to say."""
    model = make(dtype=torch.float32)
    with torch.no_grad():
        model.decoder.attention.query.weight.mul_(size)
        model.decoder.attention.key.weight.abs_().mul_(size)
    loss, fast = loss_and_gradients(model, sentences)
    expected, _ = loss_and_gradients(reference_of(model), sentences)
    assert all(grad.isfinite().all() for grad in fast.values())
    if size < 100:
        torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("decoder", "options"), [*LOOPS, ("luong", ODD), ("fixed", {})])
def test_under_autocast_states_and_weights_stay_float32(make, sentences, decoder, options):
    model = make(decoder, dtype=torch.float32, **options)
    with torch.autocast("cpu", torch.bfloat16):
        source, state = model.encode(sentences.src, sentences.src_lengths)
        _, weights = model.decoder.features(sentences.tgt_in, state, source)
    assert source.memory.dtype is torch.float32
    assert weights.dtype is torch.float32 or not model.has_attention
    assert all(layer.dtype is torch.float32 for layer in state.layers)


@pytest.mark.parametrize(("decoder", "options"), [*LOOPS, ("luong", ODD), ("fixed", {})])
def test_bf16_products_give_gradients_near_the_exact_ones(make, sentences, decoder, options):
    model = make(decoder, dtype=torch.float32, **options)
    _, exact = loss_and_gradients(model, sentences)
    with torch.autocast("cpu", torch.bfloat16):
        _, narrow = loss_and_gradients(model, sentences)
    for name, grad in exact.items():
        assert (narrow[name] - grad).norm() < 0.05 * grad.norm() + 1e-3, name


@pytest.mark.parametrize(("decoder", "options"), [*LOOPS, ("luong", {"layers": 2})])
def test_dropout_between_layers_is_undone_in_the_gradient(make, sentences, decoder, options):
    """With the same random state the gradient of the fast path is that of its own function."""
    model = make(decoder, dropout=0.4, **options)

    def loss():
        torch.manual_seed(3)
        return model.loss(sentences.batch).objective

    weight = model.decoder.cells[-1].weight
    (grad,) = torch.autograd.grad(loss(), weight)
    direction = torch.randn_like(weight)
    with torch.no_grad():
        weight += 1e-5 * direction
        up = loss()
        weight -= 2e-5 * direction
        difference = (up - loss()) / 2e-5
    torch.testing.assert_close((grad * direction).sum(), difference, rtol=1e-5, atol=1e-6)


def stored_bytes(model, sentences) -> int:
    """What the decoder's steps keep for backward, each memory once, without weights and keys."""
    source, state = model.encode(sentences.src, sentences.src_lengths)
    known = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known and tensor.shape[-2:] != source.keys.shape[-2:]:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model.decoder.features(sentences.tgt_in, state, source)
    return sum(kept.values())


@pytest.mark.parametrize(("decoder", "options"), LOOPS)
def test_doubling_the_attention_size_leaves_stored_activations_unchanged(make, make_batch, decoder, options):
    sentences = make_batch((9, 8, 9), (10, 10, 7))
    small, large = (stored_bytes(make(decoder, attention_size=a, **options), sentences) for a in (40, 80))
    assert small == large
    plain = [reference_of(make(decoder, attention_size=a, **options)) for a in (40, 80)]
    small, large = (stored_bytes(model, sentences) for model in plain)
    assert large > 1.5 * small


def test_other_loops_run_the_same_weights(make):
    model = make(tied_embeddings=TiedEmbeddings.all)
    plain = reference_of(model)
    assert plain.output.weight is plain.encoder.embedding.weight is model.output.weight
    assert list(plain.state_dict()) == list(model.state_dict())
    assert plain.loops is plain.encoder.loops is plain.decoder.loops
    assert type(plain.loops) is ReferenceLoops
    assert type(model.loops) is type(model.encoder.loops) is type(model.decoder.loops) is FusedLoops


class OwnCell(GRUCell):
    pass


class OwnAttention(AdditiveAttention):
    pass


@pytest.mark.parametrize("own", [OwnCell, OwnAttention])
@pytest.mark.parametrize(("decoder", "options"), LOOPS)
def test_a_cell_or_score_of_ones_own_runs_on_the_reference_loops(make, sentences, decoder, options, own):
    assert is_fused(GRUCell(2, 2), build_attention(ScoreFunction.general, 4, 4, 0))
    assert not is_fused(OwnCell(2, 2))
    assert not is_fused(GRUCell(2, 2), OwnAttention(4, 4, 4))
    model = make(decoder, layers=2, **options)
    for module in model.modules():
        if type(module) in own.__bases__:
            module.__class__ = own
    loss, grads = loss_and_gradients(model, sentences)
    expected, plain = loss_and_gradients(reference_of(model), sentences)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)
    assert relative(grads, plain) < 1e-9


def test_backward_may_run_twice_where_the_graph_is_kept(make, sentences):
    model = make()
    logits, _ = model(sentences.src, sentences.src_lengths, sentences.tgt_in)
    weights = list(model.parameters())
    first = torch.autograd.grad(logits.square().sum(), weights, retain_graph=True)
    second = torch.autograd.grad(logits.square().sum(), weights)
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a, b)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("decoder", "options"), [*LOOPS, ("luong", ODD), ("fixed", {})])
def test_the_fused_path_is_the_reference_path_on_cuda(make, sentences, decoder, options, dtype):
    model = make(decoder, dtype=torch.float32, **options).cuda()
    sentences = type(sentences)(*(part.cuda() for part in sentences))
    with torch.autocast("cuda", dtype, enabled=dtype is not torch.float32):
        loss, fast = loss_and_gradients(model, sentences)
        expected, plain = loss_and_gradients(reference_of(model), sentences)
    exact = loss_and_gradients(reference_of(model), sentences)[1]
    narrow = dtype is not torch.float32
    torch.testing.assert_close(loss, expected, rtol=0.02 if narrow else 1e-4, atol=1e-3)
    for name, grad in exact.items():  # no farther from the exact gradient than the plain path in the same precision
        error, usual = (fast[name] - grad).norm(), (plain[name] - grad).norm()
        assert error < 2 * usual + (0.02 if narrow else 1e-3) * grad.norm() + 1e-3, name
