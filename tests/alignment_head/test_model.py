"""The alignment head: its equations on small numbers, its laws on small models, and the translator that stays."""

import math

import pytest
import torch

from nmt.alignment_head import AlignmentHeadOptions, TranslatorWithHead
from nmt.alignment_head.model import alignment_cross_entropy, alignment_log_weights, following
from nmt.config.schema import DecoderKind
from nmt.data.batches import Batch
from nmt.data.symbols import BOS, EOS, PAD

Sides = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]
KINDS = [DecoderKind.bahdanau, DecoderKind.luong, DecoderKind.conditional_gru, DecoderKind.transformer]


@pytest.fixture(params=KINDS, ids=lambda kind: kind.value)
def head(tiny, request) -> TranslatorWithHead:
    model = tiny.model(kind=request.param)
    return TranslatorWithHead(model, AlignmentHeadOptions(size=8, dropout=0.5)).eval()


def batch(pairs: list[tuple[list[int], list[int]]], src_size: int = 0, tgt_size: int = 0) -> Sides:
    """Of pairs of ids without EOS: src, src_lengths, tgt_in, tgt_out, padded to at least these sizes."""
    sides = [
        [[*src, EOS] for src, _ in pairs],
        [[BOS, *tgt] for _, tgt in pairs],
        [[*tgt, EOS] for _, tgt in pairs],
    ]
    widths = [max(size, *map(len, side)) for side, size in zip(sides, (src_size, tgt_size, tgt_size), strict=True)]
    src, tgt_in, tgt_out = (
        torch.tensor([[*ids, *[PAD] * (width - len(ids))] for ids in side])
        for side, width in zip(sides, widths, strict=True)
    )
    return src, (src != PAD).sum(1), tgt_in, tgt_out


PAIRS = [([5, 6, 7, 8], [9, 8, 7]), ([6], [5, 5, 5, 6, 7]), ([7, 8], [])]


def test_what_follows_is_the_next_real_step():
    states, real = torch.tensor([[[1.0], [2.0], [3.0]]]), torch.tensor([[True, True, False]])
    assert following(states, real).flatten().tolist() == [2, 0, 0]


def test_weights_are_the_softmax_of_products_with_a_learned_key_in_the_last_place():
    query, keys = torch.tensor([[[2.0, 0, 0, 0]]]), torch.tensor([[[1.0, 9, 9, 9], [7, 7, 7, 7], [8, 8, 8, 8]]])
    null, attention = torch.tensor([3.0, 0, 0, 0]), torch.tensor([[[0.5, 0.0, 9.0]]])
    found = alignment_log_weights(query, keys, null, attention, torch.tensor([[True, True, False]])).exp()
    energies = [2 * 1 / 2 + 0.5, 2 * 3 / 2 + 0.0]
    total = sum(map(math.exp, energies))
    torch.testing.assert_close(found, torch.tensor([[[*(math.exp(e) / total for e in energies), 0.0]]]))


def test_energies_are_not_rounded_in_half_precision():
    torch.manual_seed(1)
    query, keys = (2 * torch.randn(2, 5, 64).to(torch.bfloat16) for _ in range(2))
    null, attention, mask = torch.zeros(64), torch.randn(2, 5, 5), torch.ones(2, 5, dtype=torch.bool)
    exact = alignment_log_weights(query.float(), keys.float(), null, attention, mask)
    with torch.autocast("cpu", torch.bfloat16):
        found = alignment_log_weights(query, keys, null, attention, mask)
    torch.testing.assert_close(found, exact, rtol=1e-5, atol=1e-5)


def test_cross_entropy_is_even_over_the_links_of_a_piece_and_null_without():
    weights = torch.tensor([[[0.5, 0.25, 0.25], [0.125, 0.125, 0.75], [0.1, 0.2, 0.7]]])
    links, real = torch.tensor([[0, 0, 0], [0, 0, 1]]), torch.tensor([[True, True, False]])
    found = alignment_cross_entropy(weights.log(), links, real, torch.tensor([2]))
    assert float(found) == pytest.approx(-(math.log(0.5) + math.log(0.25)) / 2 - math.log(0.75))


def test_links_with_weights_are_given_their_weight_and_null_the_rest():
    weights = torch.tensor([[[0.5, 0.25, 0.25], [0.125, 0.125, 0.75]]])
    links, real = torch.tensor([[0, 0, 0, 6_000], [0, 0, 1, 1_000], [0, 1, 1, 10_000]]), torch.tensor([[True, True]])
    found = alignment_cross_entropy(weights.log(), links, real, torch.tensor([2]))
    expected = 0.6 * math.log(0.5) + 0.1 * math.log(0.25) + 0.3 * math.log(0.25) + math.log(0.125)
    assert float(found) == pytest.approx(-expected)


def test_rows_sum_to_one_over_the_words_and_null(head):
    src, src_lengths, tgt_in, tgt_out = batch(PAIRS)
    weights = head.align(src, src_lengths, tgt_in, tgt_out).log_weights.exp()
    torch.testing.assert_close(weights.sum(2), torch.ones(tgt_in.shape))
    assert (weights.masked_select((src == PAD).unsqueeze(1)) == 0).all()


def test_the_head_reads_the_layer_of_the_configuration_whatever_is_shown(make):
    model = make("transformer", layers=3, dtype=torch.float32)
    head = TranslatorWithHead(model, AlignmentHeadOptions(size=8)).eval()
    before = head.align(*batch(PAIRS))
    model.show_attention(layer=1, head=2)
    after = head.align(*batch(PAIRS))
    torch.testing.assert_close(after.log_weights, before.log_weights)
    assert not torch.allclose(after.attention, before.attention)
    src, src_lengths, tgt_in, _ = batch(PAIRS)
    torch.testing.assert_close(after.attention, model(src, src_lengths, tgt_in)[1])


def test_padding_and_other_pairs_change_nothing(head):
    together = head.align(*batch(PAIRS, 9, 8)).log_weights
    for row, pair in enumerate(PAIRS):
        alone = head.align(*batch([pair])).log_weights[0]
        torch.testing.assert_close(together[row, : alone.shape[0], : alone.shape[1]], alone)


def test_padding_changes_no_gradient(head):
    links = torch.tensor([[0, 0, 1], [1, 2, 0]])
    found = []
    for sizes in ((0, 0), (9, 8)):
        head.zero_grad()
        head.loss(Batch.of(*batch(PAIRS, *sizes), links)).objective.backward()
        found.append([parameter.grad.clone() for parameter in head.head.parameters()])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_weights_of_a_piece_depend_on_that_piece(head):
    one, other = batch([([5, 6, 7], [8, 9])]), batch([([5, 6, 7], [8, 10])])
    before, after = (head.align(*each).log_weights for each in (one, other))
    assert not torch.allclose(before[0, 1], after[0, 1])


@pytest.mark.parametrize("options", [{"size": 0}, {"embedding": 0}, {"dropout": 1.0}])
def test_impossible_sizes_are_refused(options):
    with pytest.raises(ValueError, match=rf"model\.alignment_head\.{next(iter(options))}="):
        AlignmentHeadOptions(**options)


def test_only_the_head_learns_and_the_translator_is_without_dropout(tiny):
    translator = tiny.model(dropout=0.5)
    model = TranslatorWithHead(translator, AlignmentHeadOptions(size=8)).train()
    assert not translator.training
    assert model.head.training
    before = {name: weight.clone() for name, weight in translator.state_dict().items()}
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.1)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = model.loss(Batch.of(*batch(PAIRS), torch.tensor([[0, 0, 1], [1, 2, 0]])))
        loss.objective.backward()
        optimizer.step()
        losses.append(float(loss.nll))
    assert losses[-1] < losses[0] / 2
    assert all(torch.equal(before[name], weight) for name, weight in translator.state_dict().items())
