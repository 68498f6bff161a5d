"""Word dropout and recurrent dropout: whole words, and one mask over time, the same in every loop."""

from itertools import product

import pytest
import torch

from nmt.data.symbols import PAD
from nmt.layers.cells import CellKind, build_cell
from nmt.layers.embedding import Embedding, drop_words
from nmt.layers.loops import ReferenceLoops
from nmt.layers.regularizers import set_dropout
from tests.support.models import make_model, reference_of

LOOPS = [
    ("bahdanau", {}),
    ("conditional_gru", {}),
    ("luong", {"input_feeding": True}),
    ("luong", {"input_feeding": False}),
    ("fixed", {}),
]


def table(word_dropout: float) -> Embedding:
    torch.manual_seed(0)
    embedding = Embedding(50, 4).double()
    embedding.word_dropout = word_dropout
    return embedding


def test_all_occurrences_of_a_word_are_left_out_or_none():
    torch.manual_seed(0)
    tokens = torch.randint(1, 6, (500, 12))
    dropped = drop_words(tokens, 0.3)
    for word in range(1, 6):
        here = tokens == word
        some = (dropped & here).any(1)
        assert torch.equal(dropped & here, here & some.unsqueeze(1))
        assert float(some[here.any(1)].float().mean()) == pytest.approx(0.3, abs=0.06)


@pytest.mark.parametrize("time_major", [False, True])
def test_a_dropped_word_has_no_vector_and_the_others_are_scaled(time_major):
    embedding, tokens = table(0.4), torch.randint(1, 50, (20, 9))
    vectors, plain = embedding(tokens, time_major=time_major), embedding.weight[tokens]
    plain = plain.transpose(0, 1) if time_major else plain
    kept = vectors.ne(0).any(-1)
    torch.testing.assert_close(vectors[kept], plain[kept] / 0.6)
    assert 0.3 < float(kept.double().mean()) < 0.9
    assert torch.equal(embedding.eval()(tokens, time_major=time_major), plain)


def test_without_word_dropout_training_has_the_vectors_themselves():
    embedding, tokens = table(0.0), torch.randint(PAD, 50, (20, 9))
    assert torch.equal(embedding(tokens), embedding.eval()(tokens))


@pytest.mark.parametrize("kind", CellKind)
def test_recurrent_dropout_is_one_mask_on_the_state_in_all_steps(kind):
    """Step by step, with the mask on what the gates see of the state."""
    torch.manual_seed(0)
    cell = build_cell(kind, 3, 5).double()
    cell.recurrent_dropout = 0.5
    inputs, start = torch.randn(4, 2, 3, dtype=torch.double), torch.randn(2, cell.state_size, dtype=torch.double)
    torch.manual_seed(5)
    drawn = cell.drawn()
    torch.manual_seed(5)
    mask = (torch.rand(5) >= 0.5).double() * 2
    assert 0 < mask.count_nonzero() < 5
    states = ReferenceLoops().run_cell(drawn, cell.project(inputs), start)
    state = start
    for step, projected in enumerate(cell.project(inputs)):
        if kind is CellKind.gru:  # the reset gate acts on the state before the mask
            gates, candidate = projected.split((10, 5), -1)
            weight, candidate_weight = cell.weight.split((10, 5))
            update, reset = torch.sigmoid(gates + (state * mask) @ weight.t()).chunk(2, -1)
            new = torch.tanh(candidate + (reset * state * mask) @ candidate_weight.t())
            state = (1 - update) * state + update * new
        else:
            hidden = torch.cat((state[:, :5] * mask, state[:, 5:]), 1)
            masked = cell(projected, hidden)
            if kind is CellKind.gru_reset_after:  # what the state keeps of itself is not masked
                update = torch.sigmoid(projected + (state * mask) @ cell.weight.t())[:, :5]
                masked = masked - (1 - update) * hidden + (1 - update) * state
            state = masked
        torch.testing.assert_close(states[step + 1], state)


def test_recurrent_dropout_changes_nothing_outside_of_training():
    cell = build_cell(CellKind.gru, 3, 5)
    assert cell.drawn() is cell
    cell.recurrent_dropout = 0.5
    assert cell.eval().drawn() is cell
    drawn = cell.train().drawn()
    assert drawn is not cell
    assert list(cell.state_dict()) == list(build_cell(CellKind.gru, 3, 5).state_dict())


@pytest.mark.parametrize(("loops", "cell"), product(LOOPS, CellKind), ids=str)
def test_the_fused_loops_have_the_masks_of_the_reference(sentences, loops, cell):
    decoder, options = loops
    model = make_model(decoder, cell=cell, layers=2, **options).train()
    set_dropout(model, word=0.3, recurrent=0.4)
    found = []
    for each in (model, reference_of(model)):
        torch.manual_seed(1)
        loss = each.loss(sentences.batch, 0.1)
        found.append((loss.objective.detach(), torch.autograd.grad(loss.objective, list(model.parameters()))))
    torch.testing.assert_close(found[0], found[1], rtol=1e-9, atol=1e-12)
    torch.manual_seed(2)
    other = model.loss(sentences.batch, 0.1).objective
    assert other != found[0][0]
