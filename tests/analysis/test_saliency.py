import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call

from nmt.analysis import saliency as room
from nmt.analysis.alignment import WordAttention
from nmt.analysis.saliency import Saliency, by_words, kendall, rank_correlation, saliency, shares
from nmt.attention.scores import ScoreFunction
from nmt.data.symbols import BOS, EOS
from nmt.layers.cells import CellKind
from nmt.model.decoder import InitHidden
from nmt.model.seq2seq import TiedEmbeddings
from tests.support.models import SmallModel, draw_weights, reference_of

SRC, TGT = [5, 4, 9, EOS], [7, 7, 6, 8, EOS]
KINDS = ["bahdanau", "luong", "luong_unfed", "fixed", "tied"]


def small_model(kind: str):
    """In float64, with every weight drawn, and 12 words a side."""
    luong = kind.startswith("luong")
    sizes = SmallModel(
        "bahdanau" if kind == "tied" else kind.removesuffix("_unfed"),
        cell=CellKind.lstm if luong else CellKind.gru,
        score=ScoreFunction.general if luong else ScoreFunction.additive,
        layers=2 if luong else 1,
        init_hidden=InitHidden.last,
        input_feeding=kind != "luong_unfed",
        vocab_size=12,
        embedding=6,
        readout=6,
        dropout=0.5,
        tied_embeddings=TiedEmbeddings.all if kind == "tied" else TiedEmbeddings.none,
    )
    return draw_weights(sizes.build(seed=3), std=0.6)


class TwoWords(nn.Module):
    """c_t = a_t1 x_1 + a_t2 x_2 with attention a that is fixed; the entries of c_t are the logits of words 1 and 2."""

    device = torch.device("cpu")

    def __init__(self):
        super().__init__()
        embedding = nn.Embedding(3, 2)
        embedding.weight = nn.Parameter(torch.tensor([[0.0, 0.0], [math.log(3), 0.0], [0.0, -math.log(3)]]))
        self.encoder = SimpleNamespace(embedding=embedding)
        self.eval()

    def features(self, src, _src_lengths, tgt_in):
        weights = torch.tensor([[0.75, 0.25], [0.5, 0.5]])[: tgt_in.shape[1]].expand(len(src), -1, -1)
        return weights @ self.encoder.embedding(src), weights

    def log_probs(self, src, src_lengths, tgt_in, tgt_out):
        features, weights = self.features(src, src_lengths, tgt_in)
        log_probs = features.log_softmax(-1).gather(2, (tgt_out - 1).clamp_min(0).unsqueeze(2)).squeeze(2)
        return log_probs * (tgt_out > 0), weights


def test_a_model_of_two_words_by_hand():
    # Whatever a, c_1 - c_2 = log 3, so p = (3/4, 1/4), and d log p(y) / d x_j = a_j (onehot(y) - p).
    found = saliency(TwoWords(), [1, 2], [1, 2])
    np.testing.assert_allclose(found.attention, [[0.75, 0.25], [0.5, 0.5]])
    # Of word 1 (1/4, -1/4), which is sqrt(1/8) long; of word 2 (-3/4, 3/4), which is sqrt(9/8) long.
    np.testing.assert_allclose(
        found.jacobian,
        [[0.75 * math.sqrt(1 / 8), 0.25 * math.sqrt(1 / 8)], [0.5 * math.sqrt(9 / 8), 0.5 * math.sqrt(9 / 8)]],
        rtol=1e-6,
    )
    # x_1 = (log 3, 0), x_2 = (0, -log 3).
    np.testing.assert_allclose(
        found.input_gradient, math.log(3) * np.array([[0.75 / 4, 0.25 / 4], [-0.5 * 3 / 4, -0.5 * 3 / 4]]), rtol=1e-6
    )


def gradients_of_autograd(model) -> torch.Tensor:
    """d log p(y_t) / d x_j (T, S, E) by torch's own jacobian, through the reference loops."""
    src, tgt, model = torch.tensor([SRC]), torch.tensor(TGT), reference_of(model)

    def log_probs(embedded):
        handle = model.encoder.embedding.register_forward_hook(lambda *_: embedded)
        try:
            logits, _ = model(src, torch.tensor([len(SRC)]), torch.tensor([[BOS, *TGT[:-1]]]))
        finally:
            handle.remove()
        return logits[0].log_softmax(-1)[torch.arange(len(TGT)), tgt]

    jacobian = torch.autograd.functional.jacobian(log_probs, model.encoder.embedding(src).detach())
    return jacobian.squeeze(1)


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradients_are_those_of_autograd(kind):
    model = small_model(kind)
    expected = gradients_of_autograd(model)
    found = saliency(model, SRC, TGT)
    np.testing.assert_allclose(found.jacobian, expected.norm(dim=2), rtol=1e-5)
    product = (expected * model.encoder.embedding(torch.tensor(SRC))).sum(2)
    np.testing.assert_allclose(found.input_gradient, product.detach(), rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_the_attention_is_that_of_teacher_forcing(kind):
    model = small_model(kind)
    _, weights = model(torch.tensor([SRC]), torch.tensor([len(SRC)]), torch.tensor([[BOS, *TGT[:-1]]]))
    np.testing.assert_allclose(saliency(model, SRC, TGT).attention, weights[0].detach(), rtol=1e-6)


def test_input_times_gradient_foretells_a_small_change_of_the_input():
    model = small_model("bahdanau")

    def log_probs(factor: float) -> torch.Tensor:
        weights = {"encoder.embedding.weight": model.encoder.embedding.weight * factor}
        inputs = (torch.tensor([SRC]), torch.tensor([len(SRC)]), torch.tensor([[BOS, *TGT[:-1]]]))
        logits, _ = functional_call(model, weights, inputs)
        return logits[0].log_softmax(-1)[torch.arange(len(TGT)), torch.tensor(TGT)]

    change = (log_probs(1 + 1e-6) - log_probs(1 - 1e-6)) / 2e-6
    np.testing.assert_allclose(saliency(model, SRC, TGT).input_gradient.sum(1), change.detach(), rtol=1e-4)


@pytest.mark.parametrize("pieces", [1, 2 * len(SRC + TGT), 3 * len(SRC + TGT)])
def test_the_number_of_copies_changes_nothing(monkeypatch, pieces):
    model = small_model("luong")
    whole = saliency(model, SRC, TGT)
    monkeypatch.setattr(room, "_COPIED_PIECES", pieces)
    for found, expected in zip(saliency(model, SRC, TGT), whole, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize(("src", "tgt"), [(2, 500), (500, 2), (2, 50), (60, 60)])
def test_the_pieces_that_go_through_the_model_together_are_bounded_whichever_side_is_long(monkeypatch, src, tgt):
    monkeypatch.setattr(room, "_COPIED_PIECES", 200)
    together, ready = [], []
    model = TwoWords()

    def features(ids, _lengths, tgt_in):
        together.append((len(ids), ids.shape[1] + tgt_in.shape[1]))
        weights = torch.full((len(ids), tgt_in.shape[1], ids.shape[1]), 1 / ids.shape[1])
        return weights @ model.encoder.embedding(ids), weights

    monkeypatch.setattr(model, "features", features)
    found = saliency(model, [1] * src, [2] * tgt, ready.append)
    assert found.jacobian.shape == (tgt, src)
    assert all(copies == 1 or copies * pieces <= 200 for copies, pieces in together)
    assert ready == list(np.cumsum([copies for copies, _ in together]))


def test_the_model_is_left_as_it_was():
    model = small_model("bahdanau")
    saliency(model, SRC, TGT)
    assert all(weight.grad is None for weight in model.parameters())
    assert model.encoder.embedding(torch.tensor(SRC)).grad_fn is not None


def test_a_model_that_is_training_is_no_use():
    with pytest.raises(AssertionError, match="dropout"):
        saliency(small_model("bahdanau").train(), SRC, TGT)


def test_shares_of_a_row_sum_to_one_whatever_the_signs():
    words = shares(WordAttention(np.array([[-3.0, 1.0], [2.0, 2.0]]), np.array([-4.0, 0.0])))
    assert words.weights.tolist() == [[0.375, 0.125], [0.5, 0.5]]
    assert words.eos.tolist() == [0.5, 0.0]


def test_a_row_without_any_gradient_is_on_no_word():
    words = shares(WordAttention(np.zeros((1, 2)), np.zeros(1)))
    assert words.weights.tolist() == [[0.0, 0.0]]
    assert words.eos.tolist() == [1.0]


@pytest.mark.parametrize(
    ("first", "second", "tau"),
    [
        ([1, 2, 3], [2, 4, 9], 1),
        ([1, 2, 3], [9, 4, 2], -1),
        ([1, 2, 3], [1, 3, 2], 1 / 3),  # two pairs alike, one not
        ([1, 1, 2], [1, 2, 3], 2 / math.sqrt(2 * 3)),  # two pairs alike; two ranked by the one, three by the other
    ],
)
def test_kendalls_tau_by_hand(first, second, tau):
    assert kendall(np.array(first), np.array(second)) == pytest.approx(tau)


@pytest.mark.parametrize("row", [[4, 4, 4], [1], []])
def test_a_row_that_ranks_nothing_has_no_tau(row):
    assert math.isnan(kendall(np.array(row), np.arange(len(row))))


def test_likeness_is_the_mean_over_target_words_of_all_sentences():
    one = {"a": np.array([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]]), "b": np.array([[1.0, 3.0, 2.0], [1.0, 2.0, 3.0]])}
    other = {"a": np.array([[1.0, 2.0]]), "b": np.array([[2.0, 1.0]])}
    found = rank_correlation([one, other])
    assert list(found) == [("a", "b")]
    tau, top, chance, words = found["a", "b"]
    assert (tau, top) == pytest.approx(((1 / 3 + 1 - 1) / 3, 1 / 3))
    assert chance == pytest.approx((1 / 3 + 1 / 3 + 1 / 2) / 3)
    assert words == 3


def test_rows_that_rank_nothing_are_not_counted():
    found = rank_correlation([{"a": np.array([[1.0, 1.0], [1.0, 2.0]]), "b": np.array([[1.0, 2.0], [1.0, 2.0]])}])[
        "a", "b"
    ]
    assert (found.tau, found.words) == (1, 1)


def test_where_nothing_ranks_there_is_no_number():
    found = rank_correlation([{"a": np.zeros((2, 0)), "b": np.zeros((2, 0))}])["a", "b"]
    assert math.isnan(found.tau)
    assert found.words == 0


def test_pieces_become_words_as_those_of_attention_do_and_keep_their_sign():
    pieces = np.array([[1.0, -3.0, 5.0], [3.0, 1.0, 7.0], [9.0, 9.0, 9.0]])
    words = by_words(Saliency(pieces, pieces, pieces), [0, 0, -1], [0, 0, -1], 1, 1)
    for name in ("attention", "input_gradient"):  # of a word's two pieces the first counts twice
        assert np.allclose(words[name].weights, [[(2 * (1 - 3) + (3 + 1)) / 3]], atol=1e-15)
        assert np.allclose(words[name].eos, [(2 * 5 + 7) / 3])


def test_the_jacobian_of_a_word_is_the_length_over_all_its_pieces():
    pieces = np.array([[3.0, 4.0, 1.0]])
    words = by_words(Saliency(pieces, pieces, pieces), [0], [0, 0, -1], 1, 1)
    assert words["jacobian"].weights.tolist() == [[5.0]]
    assert words["jacobian"].eos.tolist() == [1.0]


def test_a_model_without_attention_has_only_gradients():
    found = saliency(small_model("fixed"), SRC, TGT)
    words = by_words(found, [0, 1, 2, 3, -1], [0, 1, 2, -1], 4, 3)
    assert list(words) == ["jacobian", "input_gradient"]


def test_every_two_matrices_are_compared():
    matrices = dict.fromkeys("abc", np.array([[1.0, 2.0]]))
    assert list(rank_correlation([matrices])) == [("a", "b"), ("a", "c"), ("b", "c")]
