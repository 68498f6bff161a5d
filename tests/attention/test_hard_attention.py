"""Hard attention: its likelihood is the sum over positions, and its gradients are those of the exact expectation."""

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from nmt.acceleration.fused import FusedLoops
from nmt.acceleration.fused.marginal import marginal_nll as chunked_marginal_nll
from nmt.attention.hard import (
    HardAttentionOptions,
    HardPrediction,
    HardTraining,
    Marginal,
    Positions,
    entropy,
    marginal_nll,
    mixture_log_probs,
    reinforce_objective,
    sample_positions,
)
from nmt.attention.scores import ScoreFunction
from nmt.data.batches import Batch
from nmt.data.symbols import BOS
from nmt.decoding.posterior import posterior_attention
from nmt.decoding.search import SearchOptions, beam_search, greedy_search
from nmt.layers.cells import CellKind
from nmt.layers.loops import ReferenceLoops
from nmt.model.decoder import LuongDecoder, LuongState
from nmt.model.hard_seq2seq import HardSeq2Seq
from tests.support.models import make_model

DECODERS = {
    "bahdanau": {"decoder": "bahdanau"},
    "coverage": {"decoder": "bahdanau", "score": ScoreFunction.coverage, "layers": 2},
    "luong": {"decoder": "luong", "cell": CellKind.lstm, "score": ScoreFunction.general, "layers": 2},
    "stacked bahdanau": {"layers": 2, "layer_norm": True, "transition_depth": 2, "context_to_layers": True},
    "stacked luong": {"decoder": "luong", "layers": 2, "residual": True},
    "luong, nothing fed": {"decoder": "luong", "score": ScoreFunction.general, "input_feeding": False},
}
REINFORCE = HardAttentionOptions(HardTraining.reinforce, expected=0.0)


def make_hard(options=None, *, loops=None, prediction=HardPrediction.marginal, decoder="bahdanau", **sizes):
    plain = make_model(decoder, **sizes)
    for name, weight in plain.named_parameters():
        if "attention" in name:  # weights that differ clearly
            nn.init.normal_(weight, std=1.0)
    loops = loops or FusedLoops()
    model = HardSeq2Seq(plain.encoder, plain.decoder, options or HardAttentionOptions(), loops=loops).double().eval()
    model.output.load_state_dict(plain.output.state_dict())
    model.prediction = prediction
    return model


@pytest.fixture(params=HardPrediction, ids=lambda prediction: prediction.value)
def prediction(request) -> HardPrediction:
    return request.param


@pytest.fixture(params=DECODERS)
def model(request, prediction) -> HardSeq2Seq:
    return make_hard(prediction=prediction, **DECODERS[request.param])


def gradients(model: nn.Module) -> dict[str, Tensor]:
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


def backward(model: HardSeq2Seq, sentences: Sequence[Tensor]) -> tuple[float, dict[str, Tensor]]:
    model.zero_grad()
    loss = model.loss(Batch.of(*sentences))
    loss.objective.backward()
    return float(loss.nll), gradients(model)


def assert_equal_gradients(ones: dict[str, Tensor], others: dict[str, Tensor]) -> None:
    assert ones.keys() == others.keys()
    for name, one in ones.items():
        torch.testing.assert_close(one, others[name], rtol=1e-9, atol=1e-11, msg=name)


# The equations


def test_the_mixture_by_hand():
    probabilities = torch.tensor([[0.5, 0.5], [0.1, 0.9]], dtype=torch.float64)
    found = mixture_log_probs(probabilities.log(), torch.tensor([0.25, 0.75], dtype=torch.float64)).exp()
    torch.testing.assert_close(found, torch.tensor([0.2, 0.8], dtype=torch.float64))


def test_the_mixture_of_words_as_improbable_as_a_float_can_say_is_finite():
    log_probs = torch.tensor([[-900.0], [-1000.0]], requires_grad=True)
    weights = torch.tensor([0.5, 0.5], requires_grad=True)
    found = mixture_log_probs(log_probs, weights)
    found.sum().backward()
    assert found.item() == pytest.approx(-900 - math.log(2))
    torch.testing.assert_close(log_probs.grad, torch.tensor([[1.0], [0.0]]))
    torch.testing.assert_close(weights.grad, torch.tensor([2.0, 0.0]))


def test_a_position_of_weight_zero_has_no_part_and_its_gradient_is_finite():
    log_probs = torch.tensor([[-9.0], [0.0]], requires_grad=True)
    weights = torch.tensor([1.0, 0.0], requires_grad=True)
    found = mixture_log_probs(log_probs, weights)
    found.sum().backward()
    assert found.item() == -9
    assert log_probs.grad is not None
    assert weights.grad is not None
    torch.testing.assert_close(log_probs.grad, torch.tensor([[1.0], [0.0]]))
    torch.testing.assert_close(weights.grad, torch.tensor([1.0, math.exp(9)]))


def test_the_entropy_by_hand_and_of_padding():
    weights = torch.tensor([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]], requires_grad=True)
    found = entropy(weights)
    found.sum().backward()
    torch.testing.assert_close(found, torch.tensor([math.log(2), 0.0]))
    assert weights.grad is not None
    assert weights.grad.isfinite().all()


def test_the_reinforce_objective_by_hand():
    options = HardAttentionOptions(HardTraining.reinforce, reward=2.0, entropy=0.5)
    sampled = Marginal(torch.tensor(4.0), torch.tensor([-1.0, -3.0]))
    chosen = torch.tensor([math.exp(-1), 1.0])
    found = reinforce_objective(sampled, chosen, torch.tensor([0.2, 0.4]), torch.tensor(-2.0), options)
    assert found.item() == pytest.approx(4 - 2 * (-1 + 2) * -1 - 0.5 * 0.6)


# Exact gradients


def some_positions(words: int = 5, positions: int = 4, seed: int = 3) -> tuple[Positions, Tensor, Tensor, Tensor]:
    """Five words of two sentences, and an output layer of 6 words; the last position of the first one is padding."""
    torch.manual_seed(seed)
    decoder, memory = torch.randn(words, 3).double(), torch.randn(2, positions, 3).double()
    energies = 2 * torch.randn(words, positions).double()
    sentence = torch.arange(words) % 2
    energies[sentence == 0, -1] = -torch.inf
    weight, bias = 2 * torch.randn(6, 3).double(), torch.randn(6).double()
    drop = torch.rand(words, 3).double() + 0.5
    positions_ = Positions(decoder, memory, sentence, energies.softmax(1), drop, torch.tanh)
    return positions_, weight, bias, torch.tensor([0, 5, 2, 2, 1])[:words]


def leaves(positions: Positions, weight: Tensor, bias: Tensor) -> tuple[Tensor, ...]:
    parts = positions.decoder, positions.memory, positions.weights, weight, bias
    return tuple(part.clone().requires_grad_() for part in parts)


def summed_by_loops(positions: Positions, weight: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
    """-sum over words of log sum_j p(j) p(y | j), written down position by position."""
    total = torch.zeros((), dtype=torch.float64)
    for word, target in enumerate(targets):
        probability = torch.zeros((), dtype=torch.float64)
        for j, chosen in enumerate(positions.weights[word]):
            features = torch.tanh(positions.decoder[word] + positions.memory[positions.sentence[word], j])
            logits = weight @ (features * positions.drop[word]) + bias
            probability = probability + chosen * logits.softmax(0)[target]
        total = total - probability.log()
    return total


@pytest.mark.parametrize("chunk", [None, 1, 8, 9])
def test_value_and_gradients_are_those_of_the_sum_over_positions(chunk):
    positions, weight, bias, targets = some_positions()
    found = []
    for nll in (summed_by_loops, marginal_nll, chunked_marginal_nll):
        parts = decoder, memory, weights, own_weight, own_bias = leaves(positions, weight, bias)
        own = positions._replace(decoder=decoder, memory=memory, weights=weights)
        more = {"chunk": chunk} if nll is chunked_marginal_nll else {}
        value = nll(own, own_weight, own_bias, targets, **more)
        value = value if isinstance(value, Tensor) else value.nll
        found.append([value.detach(), *torch.autograd.grad(value, parts)])
    for other in found[1:]:
        for one, same in zip(found[0], other, strict=True):
            torch.testing.assert_close(one, same, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("nll", [marginal_nll, chunked_marginal_nll])
def test_gradients_are_finite_differences(nll):
    positions, weight, bias, targets = some_positions(3)

    def value(decoder, memory, energies, weight, bias):
        own = positions._replace(decoder=decoder, memory=memory, weights=energies.softmax(1))
        return nll(own, weight, bias, targets).nll

    parts = leaves(positions._replace(weights=torch.randn(3, 4).double()), weight, bias)
    assert torch.autograd.gradcheck(value, parts)


def test_likelihoods_of_words_come_without_gradient_and_add_up():
    positions, weight, bias, targets = some_positions()
    for nll in (marginal_nll, chunked_marginal_nll):
        found = nll(positions, weight.requires_grad_(), bias, targets)
        assert not found.log_probs.requires_grad
        assert found.nll.item() == pytest.approx(-found.log_probs.sum().item())


@pytest.mark.parametrize("baseline", [0.0, -2.0])
def test_the_mean_of_samples_is_the_gradient_of_the_exact_expectation(baseline):
    """20,000 samples for each of two words, all in one backward: each row of the leaves gets the gradient of one."""
    positions, weight, bias, targets = some_positions(2)
    options = HardAttentionOptions(HardTraining.reinforce, entropy=0.3)
    energies = positions.weights.log().clamp_min(-1e30)
    exact_decoder, exact_energies = (part.clone().requires_grad_() for part in (positions.decoder, energies))
    features = torch.tanh(exact_decoder.unsqueeze(1) + positions.memory) * positions.drop.unsqueeze(1)
    log_probs = (features @ weight.t() + bias).log_softmax(2)[torch.arange(2), :, targets]
    p = exact_energies.softmax(1)
    (-(p * log_probs).sum() - 0.3 * torch.special.entr(p.clamp_min(1e-20)).sum()).backward()

    samples = 20_000
    torch.manual_seed(7)
    decoder = positions.decoder.repeat_interleave(samples, 0).requires_grad_()
    own = energies.repeat_interleave(samples, 0).requires_grad_()
    many = Positions(
        *(decoder, positions.memory, positions.sentence.repeat_interleave(samples), own.softmax(1)),
        *(positions.drop.repeat_interleave(samples, 0), torch.tanh),
    )
    sampled = sample_positions(many.weights)
    chosen = many.weights.gather(1, sampled.unsqueeze(1)).squeeze(1)
    found = chunked_marginal_nll(many.certain(many.parts_at(sampled)), weight, bias, targets.repeat_interleave(samples))
    reinforce_objective(found, chosen, entropy(many.weights), torch.tensor(baseline), options).backward()
    for each, exact in ((decoder.grad, exact_decoder.grad), (own.grad, exact_energies.grad)):
        assert each is not None
        assert exact is not None
        each = each.unflatten(0, (2, samples))
        error = each.std(1) / math.sqrt(samples)
        assert ((each.mean(1) - exact).abs() <= 4.5 * error + 1e-12).all()
        assert error.max() < 0.1 * exact.abs().max()  # narrow enough to tell


def test_the_baseline_makes_samples_vary_less():
    positions, weight, bias, targets = some_positions(2)
    spread = []
    for baseline in (0.0, float(marginal_nll(positions, weight, bias, targets).log_probs.mean())):
        torch.manual_seed(7)
        energies = positions.weights.log().clamp_min(-1e30).repeat_interleave(5000, 0).requires_grad_()
        sentence = positions.sentence.repeat_interleave(5000)
        many = positions._replace(
            decoder=positions.decoder.repeat_interleave(5000, 0),
            sentence=sentence,
            weights=energies.softmax(1),
            drop=positions.drop.repeat_interleave(5000, 0),
        )
        sampled = sample_positions(many.weights)
        chosen = many.weights.gather(1, sampled.unsqueeze(1)).squeeze(1)
        found = marginal_nll(many.certain(many.parts_at(sampled)), weight, bias, targets.repeat_interleave(5000))
        reinforce_objective(found, chosen, entropy(many.weights), torch.tensor(baseline), REINFORCE).backward()
        assert energies.grad is not None
        spread.append(energies.grad.unflatten(0, (2, 5000)).var(1).sum())
    assert spread[1] < spread[0]


# The model


def test_with_one_position_the_likelihood_is_that_of_soft_attention(make, make_batch, prediction):
    batch = make_batch((1, 1, 1), (4, 6, 3))
    for sizes in DECODERS.values():
        soft = make(**sizes)
        hard = HardSeq2Seq(soft.encoder, soft.decoder, HardAttentionOptions(), loops=FusedLoops()).double().eval()
        hard.output, hard.prediction = soft.output, prediction
        found = hard.loss(batch.batch)
        soft.decoder.hard = False
        assert float(found.nll) == pytest.approx(float(soft.eval().loss(batch.batch).nll), rel=1e-12)


def test_the_likelihood_of_a_word_is_the_sum_of_what_each_position_alone_predicts(sentences):
    model = make_hard(decoder="luong", cell=CellKind.lstm, score=ScoreFunction.general, input_feeding=False)
    src, lengths, tgt_in, _ = sentences
    log_probs, weights = model(src, lengths, tgt_in)
    source, state = model.encode(src, lengths)
    assert isinstance(state, LuongState)
    assert isinstance(model.decoder, LuongDecoder)
    hidden = state.layers[0]
    cell, combine = model.decoder.cell, model.decoder.combine
    for t in range(tgt_in.shape[1]):
        hidden = cell(cell.project(model.decoder.embedding(tgt_in[:, t])), hidden)
        for b in range(len(src)):
            expected = torch.zeros(log_probs.shape[2], dtype=torch.float64)
            for j in range(int(lengths[b])):
                features = torch.tanh(combine(torch.cat((source.memory[b, j], cell.output(hidden)[b]))))
                expected = expected + weights[b, t, j] * model.output(features).softmax(0)
            torch.testing.assert_close(log_probs[b, t].exp(), expected)


def test_the_most_probable_position_alone_predicts(sentences):
    model = make_hard(prediction=HardPrediction.most_probable)
    found, weights = model(*sentences[:3])
    marginal = make_hard()(*sentences[:3])[0]
    assert not torch.allclose(found.log_softmax(-1), marginal)
    source, state = model.encode(*sentences[:2])
    features, _ = model.decoder.features(sentences.tgt_in, state, source)
    best = weights.argmax(2)
    parts = features + model.decoder.context_part(source.memory)[torch.arange(3).unsqueeze(1), best]
    torch.testing.assert_close(found, model.output(model.decoder.activate(parts)))


def test_the_distribution_of_a_step_sums_to_one(model, sentences):
    total = model(*sentences[:3])[0].log_softmax(-1).exp().sum(-1)
    torch.testing.assert_close(total, torch.ones_like(total))
    if model.prediction is HardPrediction.marginal:  # log-probabilities already
        torch.testing.assert_close(model(*sentences[:3])[0].exp().sum(-1), total)


@pytest.mark.parametrize("kind", ["plain", "inference", "inference, one hypothesis"])
def test_step_by_step_is_teacher_forcing(model, sentences, kind):
    stepper = model if kind == "plain" else model.for_inference(fold_memory=kind == "inference")
    expected, weights = model(*sentences[:3])
    source, state = stepper.encode(*sentences[:2])
    for t, tokens in enumerate(sentences.tgt_in.t()):
        logits, state, own = stepper.step(tokens, state, source)
        torch.testing.assert_close(logits.log_softmax(-1), expected[:, t].log_softmax(-1))
        torch.testing.assert_close(own, weights[:, t])


def test_the_fused_loops_give_the_reference(model, sentences):
    nll, fused = backward(model, sentences)
    same, reference = backward(model.with_loops(ReferenceLoops()), sentences)
    assert nll == pytest.approx(same, rel=1e-12)
    assert_equal_gradients(fused, reference)


def test_loss_and_log_probs_are_those_of_forward(model, sentences):
    tgt_out = sentences.tgt_out
    log_probs = model(*sentences[:3])[0].log_softmax(-1).gather(2, tgt_out.unsqueeze(2)).squeeze(2)
    log_probs = log_probs.masked_fill(tgt_out == 0, 0.0)
    torch.testing.assert_close(model.log_probs(*sentences).log_probs, log_probs)
    assert float(model.loss(sentences.batch).nll) == pytest.approx(-float(log_probs.sum().detach()), rel=1e-12)


def test_gradients_of_log_probs_are_those_of_the_loss(model, sentences):
    _, expected = backward(model, sentences)
    model.zero_grad()
    (-model.log_probs(*sentences).log_probs.sum()).backward()
    assert_equal_gradients(gradients(model), expected)


def test_padding_changes_nothing(model, sentences):
    wide = [nn.functional.pad(part, (0, 3)) if part.dim() == 2 else part for part in sentences]
    nll, plain = backward(model, sentences)
    padded, same = backward(model, wide)
    assert nll == pytest.approx(padded, rel=1e-12)
    assert_equal_gradients(plain, same)
    assert not model(*wide[:3])[1][:, :, -3:].any()


def test_a_batch_of_many_is_many_of_one(model, sentences):
    nll, together = backward(model, sentences)
    total, alone = 0.0, []
    for row in range(3):
        source, target = int(sentences.src_lengths[row]), int((sentences.tgt_out[row] != 0).sum())
        src, lengths, tgt_in, tgt_out = (part[row : row + 1] for part in sentences)
        one, grads = backward(model, (src[:, :source], lengths, tgt_in[:, :target], tgt_out[:, :target]))
        total += one
        alone.append(grads)
    assert nll == pytest.approx(total, rel=1e-12)
    assert_equal_gradients(together, {name: torch.stack([grads[name] for grads in alone]).sum(0) for name in together})


@pytest.mark.parametrize("chunk", [1, 7])
def test_the_size_of_chunks_changes_nothing(model, sentences, monkeypatch, chunk):
    before, scored = model(*sentences[:3])[0], model.log_probs(*sentences).log_probs
    monkeypatch.setattr("nmt.model.hard_seq2seq.CHUNK", chunk)
    torch.testing.assert_close(model(*sentences[:3])[0], before)
    torch.testing.assert_close(model.log_probs(*sentences).log_probs, scored)


def test_the_scores_of_search_are_those_of_scoring_its_output(model, sentences):
    src, lengths = sentences[:2]
    options = SearchOptions(beam=4, nbest=2, max_length=6)
    found = beam_search(model.for_inference(), src, lengths, options)
    found += [[best] for best in greedy_search(model, src, lengths, options)]
    for row, nbest in enumerate(found):
        for hypothesis in nbest:
            tgt_out = torch.tensor([hypothesis.ids])
            tgt_in = torch.cat((torch.full_like(tgt_out[:, :1], BOS), tgt_out[:, :-1]), 1)
            source = slice(row % 3, row % 3 + 1)
            again = model.log_probs(src[source], lengths[source], tgt_in, tgt_out)
            assert hypothesis.log_prob == pytest.approx(float(again.log_probs.sum().detach()), rel=1e-9)


def test_posterior_attention_is_the_posterior(sentences):
    model = make_hard()
    log_probs = []
    with torch.no_grad():
        found = posterior_attention(model, *sentences)
        prior = model(*sentences[:3])[1]
        source, state = model.encode(*sentences[:2])
        features, _ = model.decoder.features(sentences.tgt_in, state, source)
        for j in range(prior.shape[2]):
            parts = features + model.decoder.context_part(source.memory)[:, j : j + 1]
            logits = model.output(model.decoder.activate(parts))
            log_probs.append(logits.log_softmax(-1).gather(2, sentences.tgt_out.unsqueeze(2)).squeeze(2))
    joint = prior * torch.stack(log_probs, 2).exp()
    torch.testing.assert_close(found.double(), joint / joint.sum(2, keepdim=True), rtol=1e-5, atol=1e-6)


# Training by samples


def test_samples_are_drawn_in_training_alone(sentences):
    model = make_hard(REINFORCE)
    assert backward(model, sentences)[0] == backward(model, sentences)[0]
    model.train()
    torch.manual_seed(1)
    first, _ = backward(model, sentences)
    second, _ = backward(model, sentences)
    torch.manual_seed(1)
    again, _ = backward(model, sentences)
    assert first != second
    assert first == again


def test_of_all_sentences_the_expected_context_is_soft_attention_with_an_entropy_term(make, sentences):
    soft = make()
    options = HardAttentionOptions(HardTraining.reinforce, entropy=0.0, expected=1 - 1e-9)
    hard = HardSeq2Seq(soft.encoder, soft.decoder, options, loops=FusedLoops()).double().train()
    hard.output = soft.output
    nll, found = backward(hard, sentences)
    soft.decoder.hard = False
    same, expected = backward(soft, sentences)
    assert nll == pytest.approx(same, rel=1e-12)
    assert_equal_gradients(found, expected)


def test_the_baseline_is_a_moving_average_of_the_log_probability_of_a_word():
    model = make_hard(HardAttentionOptions(HardTraining.reinforce, baseline_decay=0.75))
    for nll in (4.0, 2.0):
        model.after_update(nll)
    assert model.baseline.item() == pytest.approx(0.75 * -1.0 + 0.25 * -2.0)
    assert "baseline" in model.state_dict()
    assert "baseline" not in make_hard().state_dict()


def test_dropout_has_one_mask_for_all_positions_of_a_word(sentences):
    model = make_hard(dropout=0.5).train()
    positions, _, _ = model._teacher_force(*sentences)
    features = positions.features(slice(None))
    dropped = (features == 0).all(1)
    torch.testing.assert_close(dropped, positions.drop == 0)
    assert 0.2 < dropped.double().mean() < 0.8


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"reward": -1.0}, "model.attention.hard.reward=-1.0 is impossible"),
        ({"entropy": math.inf}, "model.attention.hard.entropy=inf is impossible"),
        ({"baseline_decay": 1.0}, "model.attention.hard.baseline_decay=1.0 is impossible"),
        ({"expected": 1.0}, "model.attention.hard.expected=1.0 is impossible"),
    ],
)
def test_impossible_settings_are_refused_by_name(settings, said):
    with pytest.raises(ValueError, match=said):
        HardAttentionOptions(HardTraining.reinforce, **settings)


def test_no_more_rows_than_a_chunk_meet_the_vocabulary_at_once(monkeypatch):
    positions, weight, bias, targets = some_positions()
    seen, addmm = [], torch.addmm

    def watched(bias: Tensor, rows: Tensor, matrix: Tensor) -> Tensor:
        seen.append(len(rows))
        return addmm(bias, rows, matrix)

    monkeypatch.setattr(torch, "addmm", watched)
    chunked_marginal_nll(positions, weight, bias, targets, chunk=8)
    assert seen == [8, 8, 4]  # 5 words at 4 positions


def test_in_bfloat16_products_are_rounded_and_the_rest_is_not():
    positions, weight, bias, targets = some_positions()
    single = positions._replace(
        decoder=positions.decoder.float(),
        memory=positions.memory.float(),
        weights=positions.weights.float(),
        drop=positions.drop.float(),
    )
    parts = decoder, memory, weights, own_weight, own_bias = leaves(single, weight.float(), bias.float())
    own = single._replace(decoder=decoder, memory=memory, weights=weights)
    exact = torch.autograd.grad(chunked_marginal_nll(own, own_weight, own_bias, targets).nll, parts)
    with torch.autocast("cpu", torch.bfloat16):
        found = chunked_marginal_nll(own, own_weight, own_bias, targets)
    assert found.nll.dtype == torch.float32
    for one, other in zip(exact, torch.autograd.grad(found.nll, parts), strict=True):
        torch.testing.assert_close(one, other, rtol=0.1, atol=0.1)
