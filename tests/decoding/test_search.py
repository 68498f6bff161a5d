"""The laws of search, on a toy model in float64 and on the real decoders."""

from itertools import chain, pairwise

import numpy as np
import pytest
import torch

from nmt.data.symbols import BOS, EOS, PAD, UNK
from nmt.decoding import search
from nmt.decoding.options import LengthPenalty, SearchOptions
from nmt.model.decoder import InitHidden
from tests.support.models import SmallModel, draw_weights

LENGTHS = (7, 3, 1, 5, 9, 2)


def sentences(lengths=LENGTHS, seed=0, padded_to=0):
    draw = torch.Generator().manual_seed(seed)
    src = torch.full((len(lengths), max(padded_to, *lengths)), PAD)
    for row, length in zip(src, lengths, strict=True):
        row[:length] = torch.cat([torch.randint(4, 9, (length - 1,), generator=draw), torch.tensor([EOS])])
    return src, torch.tensor(lengths)


def beam_search(model, src, lengths, *, attention=True, **options):
    return search.beam_search(model, src, lengths, SearchOptions(**options), attention=attention)


def greedy_search(model, src, lengths, *, attention=True, **options):
    return search.greedy_search(model, src, lengths, SearchOptions(**options), attention=attention)


def real_model(kind):
    sizes = SmallModel(
        kind, init_hidden=InitHidden.last, vocab_size=9, embedding=6, hidden=7, memory=10, readout=6, attention_size=4
    )
    return draw_weights(sizes.build(seed=3), std=0.7)  # hypotheses differ in more than rounding


def rescored(model, src, length, ids):
    """log_prob and weights (T, S) of ids, by stepping a batch of one without any search."""
    with torch.inference_mode():
        source, state = model.encode(src[None, :length], torch.tensor([length]))
        log_prob, weights = 0.0, []
        for previous, token in pairwise([BOS, *ids]):
            logits, state, coverage = model.step(torch.tensor([previous]), state, source)
            log_prob += logits.log_softmax(-1)[0, token].item()
            weights.append(coverage[0].numpy())
    return log_prob, np.stack(weights)


def penalty(length, length_penalty, length_penalty_alpha):
    by_name = {"none": 1.0, "average": length, "gnmt": ((5 + length) / 6) ** length_penalty_alpha}
    return by_name[length_penalty.value]


def every_finished(model, src, length, vocabulary, max_length):
    """Each sequence that ends within max_length, as ids."""
    words = [token for token in range(vocabulary) if token not in (PAD, BOS, EOS)]
    begun = [[]]
    for _ in range(max_length):
        yield from ([*ids, EOS] for ids in begun)
        begun = [[*ids, word] for ids in begun for word in words]


def plain_beam(model, src, length, *, beam, max_length, length_penalty, length_penalty_alpha):
    """The same search one hypothesis at a time, in plain Python, without stopping early: (score, ids), best first."""
    live, ended = [(0.0, [])], []
    for _ in range(max_length):
        grown = []
        for log_prob, ids in live:
            with torch.inference_mode():
                source, state = model.encode(src[None, :length], torch.tensor([length]))
                for previous in [BOS, *ids]:
                    logits, state, _ = model.step(torch.tensor([previous]), state, source)
            for token, gained in enumerate(logits.log_softmax(-1)[0].tolist()):
                if token not in (PAD, BOS):
                    grown.append((log_prob + gained, [*ids, token]))
        grown = sorted(grown, key=lambda pair: -pair[0])[: beam - len(ended)]
        ended += [
            (lp / penalty(len(ids), length_penalty, length_penalty_alpha), ids) for lp, ids in grown if ids[-1] == EOS
        ]
        live = [(lp, ids) for lp, ids in grown if ids[-1] != EOS]
        if not live:
            break
    unfinished = [(lp / penalty(max_length, length_penalty, length_penalty_alpha), ids) for lp, ids in live]
    return sorted(ended or unfinished, key=lambda pair: -pair[0])


def assert_same(these, those):
    assert [[h.ids for h in best] for best in these] == [[h.ids for h in best] for best in those]
    for mine, yours in zip(chain(*these), chain(*those), strict=True):
        assert mine.score == pytest.approx(yours.score, abs=1e-10)
        assert mine.log_prob == pytest.approx(yours.log_prob, abs=1e-10)
        assert mine.finished == yours.finished
        np.testing.assert_allclose(mine.weights, yours.weights, atol=1e-6)


@pytest.mark.parametrize("seed", range(6))
def test_beam_of_one_is_greedy(toy, seed):
    model = toy(seed=seed, end=1.0)
    src, lengths = sentences(seed=seed)
    for length_penalty in LengthPenalty:
        options = {"max_length": 12, "length_penalty": length_penalty, "length_penalty_alpha": 0.6}
        best = beam_search(model, src, lengths, beam=1, **options)
        assert_same(best, [[hypothesis] for hypothesis in greedy_search(model, src, lengths, **options)])


def test_greedy_takes_the_likeliest_token_at_each_step(toy):
    model = toy(seed=1, end=1.0)
    src, lengths = sentences()
    for row, found in enumerate(greedy_search(model, src, lengths, max_length=12)):
        [(_, ids)] = plain_beam(
            model,
            src[row],
            lengths[row],
            beam=1,
            max_length=12,
            length_penalty=LengthPenalty.none,
            length_penalty_alpha=1.0,
        )
        assert found.ids == ids


@pytest.mark.parametrize("length_penalty", LengthPenalty)
@pytest.mark.parametrize("seed", range(3))
def test_a_beam_as_wide_as_the_space_is_brute_force(toy, length_penalty, seed):
    model = toy(6, seed=seed)
    src, lengths = sentences((4, 2, 6), seed)
    found = beam_search(
        model, src, lengths, beam=121, nbest=40, max_length=4, length_penalty=length_penalty, length_penalty_alpha=0.8
    )
    for row, best in enumerate(found):
        space = []
        for ids in every_finished(model, src[row], lengths[row], 6, 4):
            log_prob, _ = rescored(model, src[row], lengths[row], ids)
            space.append((log_prob / penalty(len(ids), length_penalty, 0.8), ids))
        space.sort(key=lambda pair: -pair[0])
        assert [h.ids for h in best] == [ids for _, ids in space]
        assert [h.score for h in best] == pytest.approx([score for score, _ in space], abs=1e-10)


@pytest.mark.parametrize("length_penalty", LengthPenalty)
@pytest.mark.parametrize(("seed", "beam", "end"), [(0, 2, 0.5), (1, 3, 1.5), (2, 5, 0.0), (3, 4, 2.0), (4, 12, 1.0)])
def test_the_batched_beam_is_the_plain_beam(toy, length_penalty, seed, beam, end):
    model = toy(seed=seed, end=end)
    src, lengths = sentences(seed=seed)
    found = beam_search(
        model,
        src,
        lengths,
        beam=beam,
        nbest=beam,
        max_length=8,
        length_penalty=length_penalty,
        length_penalty_alpha=0.6,
    )
    for row, best in enumerate(found):
        plain = plain_beam(
            model,
            src[row],
            lengths[row],
            beam=beam,
            max_length=8,
            length_penalty=length_penalty,
            length_penalty_alpha=0.6,
        )
        assert [h.ids for h in best] == [ids for _, ids in plain]
        assert [h.score for h in best] == pytest.approx([score for score, _ in plain], abs=1e-10)


@pytest.mark.parametrize("length_penalty", LengthPenalty)
def test_stopping_early_changes_nothing_and_saves_steps(toy, length_penalty):
    saved = 0
    for seed in range(8):
        early, late = toy(seed=seed, end=1.5), toy(seed=seed, end=1.5)
        src, lengths = sentences(seed=seed)
        options = {"beam": 4, "max_length": 15, "length_penalty": length_penalty, "length_penalty_alpha": 0.7}
        one = beam_search(early, src, lengths, nbest=1, **options)
        all_places = beam_search(late, src, lengths, nbest=4, **options)
        assert_same(one, [best[:1] for best in all_places])
        saved += sum(rows for rows, _ in late.seen) - sum(rows for rows, _ in early.seen)
    assert saved > 0


@pytest.mark.parametrize("kind", ["toy", "toy without attention", "bahdanau", "fixed"])
def test_a_batch_of_many_is_many_batches_of_one(toy, kind):
    model = toy(seed=5, end=1.0, attention=kind == "toy") if kind.startswith("toy") else real_model(kind)
    src, lengths = sentences()
    together = beam_search(model, src, lengths, beam=4, nbest=3)
    alone = [
        beam_search(model, src[row : row + 1, :length], lengths[row : row + 1], beam=4, nbest=3)[0]
        for row, length in enumerate(lengths.tolist())
    ]
    assert_same(together, alone)


def test_the_order_of_the_batch_changes_nothing(toy):
    model, (src, lengths) = toy(seed=2, end=1.0), sentences()
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    straight = beam_search(model, src, lengths, beam=3, max_length=10)
    shuffled = beam_search(model, src[order], lengths[order], beam=3, max_length=10)
    assert_same(shuffled, [straight[row] for row in order.tolist()])


@pytest.mark.parametrize("kind", ["toy", "bahdanau", "fixed"])
def test_padding_changes_nothing(toy, kind):
    model = toy(seed=4, end=1.0) if kind == "toy" else real_model(kind)
    src, lengths = sentences()
    padded, _ = sentences(padded_to=20)
    assert_same(
        beam_search(model, padded, lengths, beam=3, max_length=9),
        beam_search(model, src, lengths, beam=3, max_length=9),
    )
    assert_same(
        [greedy_search(model, padded, lengths, max_length=9)], [greedy_search(model, src, lengths, max_length=9)]
    )


@pytest.mark.parametrize("kind", ["toy", "toy without attention", "bahdanau", "fixed"])
def test_score_and_weights_are_those_of_stepping_through_the_hypothesis(toy, kind):
    model = toy(seed=6, end=1.0, attention=kind == "toy") if kind.startswith("toy") else real_model(kind)
    src, lengths = sentences()
    for length_penalty in LengthPenalty:
        found = beam_search(
            model, src, lengths, beam=5, nbest=5, max_length=9, length_penalty=length_penalty, length_penalty_alpha=0.6
        )
        for row, best in enumerate(found):
            for hypothesis in best:
                log_prob, weights = rescored(model, src[row], lengths[row], hypothesis.ids)
                expected = log_prob / penalty(len(hypothesis.ids), length_penalty, 0.6)
                assert hypothesis.log_prob == pytest.approx(log_prob, abs=1e-10)
                assert hypothesis.score == pytest.approx(expected, abs=1e-10)
                np.testing.assert_allclose(hypothesis.weights, weights, atol=1e-6)


def test_weights_are_rows_of_one_over_the_true_source(toy):
    src, lengths = sentences()
    for best, length in zip(
        beam_search(toy(end=1.0), src, lengths, beam=4, nbest=4, max_length=9), LENGTHS, strict=True
    ):
        for hypothesis in best:
            assert hypothesis.weights.shape == (len(hypothesis.ids), length)
            assert hypothesis.weights.dtype == np.float32
            np.testing.assert_allclose(hypothesis.weights.sum(1), 1, atol=1e-6)


def test_weights_can_be_left_behind(toy):
    model, (src, lengths) = toy(end=1.0), sentences()
    kept = beam_search(model, src, lengths, beam=3, max_length=9)
    left = beam_search(model, src, lengths, beam=3, max_length=9, attention=False)
    assert [best[0].ids for best in left] == [best[0].ids for best in kept]
    assert all(best[0].weights.shape == (len(best[0].ids), 0) for best in left)
    assert greedy_search(model, src, lengths, max_length=9, attention=False)[0].weights.shape[1] == 0


def test_nbest_is_sorted_and_distinct(toy):
    src, lengths = sentences()
    for length_penalty in LengthPenalty:
        found = beam_search(toy(end=4.0), src, lengths, beam=6, nbest=5, max_length=60, length_penalty=length_penalty)
        for best in found:
            assert 3 <= len(best) == len({tuple(h.ids) for h in best}) <= 5
            assert [h.score for h in best] == sorted((h.score for h in best), reverse=True)


def test_hypotheses_end_once_and_hold_no_pad_or_bos(toy):
    src, lengths = sentences()
    seen = set()
    for seed in range(5):
        for best in beam_search(toy(seed=seed, end=1.0), src, lengths, beam=5, nbest=5, max_length=9):
            for hypothesis in best:
                assert hypothesis.finished == (hypothesis.ids[-1] == EOS)
                assert EOS not in hypothesis.ids[:-1]
                assert not {PAD, BOS} & set(hypothesis.ids)
                seen |= set(hypothesis.ids)
    assert UNK in seen


def test_a_finished_hypothesis_is_never_pushed_out(toy):
    """All that ends in a narrow n-best run is still there, at its score, when the search goes on to the last place."""
    src, lengths = sentences()
    short = beam_search(toy(seed=7, end=1.5), src, lengths, beam=5, nbest=5, max_length=3)
    long = beam_search(toy(seed=7, end=1.5), src, lengths, beam=5, nbest=5, max_length=40)
    kept = 0
    for early, late in zip(short, long, strict=True):
        ended = {(tuple(h.ids), h.score) for h in early if h.finished}
        assert ended <= {(tuple(h.ids), h.score) for h in late}
        kept += len(ended)
    assert kept > 0


def test_finished_sentences_leave_the_batch_and_the_source_is_never_tiled(toy):
    model, (src, lengths) = toy(seed=1, end=2.0), sentences()
    beam_search(model, src, lengths, beam=4, max_length=30)
    assert model.seen[0] == (len(LENGTHS), len(LENGTHS))  # one BOS a sentence
    assert all(rows == 4 * batch for rows, batch in model.seen[1:])
    batches = [batch for _, batch in model.seen]
    assert batches[0] == len(LENGTHS)
    assert batches == sorted(batches, reverse=True)
    assert batches[-1] < len(LENGTHS)


def test_unfinished_comes_back_only_where_nothing_finished(toy):
    src, lengths = sentences()
    for best in beam_search(toy(end=-1e9), src, lengths, beam=3, nbest=2, max_length=5):
        assert len(best) == 2
        assert all(not h.finished and len(h.ids) == 5 for h in best)
    for seed in range(5):
        for best in beam_search(toy(seed=seed, end=1.0), src, lengths, beam=4, nbest=4, max_length=4):
            assert len({h.finished for h in best}) == 1


def test_each_sentence_has_its_own_max_length(toy):
    src, lengths = sentences()
    limits = (2 * lengths + 10).tolist()
    found = beam_search(toy(end=-1e9), src, lengths, beam=2)
    assert [len(best[0].ids) for best in found] == limits
    greedy = greedy_search(toy(end=-1e9), src, lengths)
    assert [len(hypothesis.ids) for hypothesis in greedy] == limits


def test_a_beam_wider_than_the_vocabulary_finds_all_there_is(toy):
    src, lengths = sentences((3, 5))
    for best in beam_search(toy(6), src, lengths, beam=50, nbest=50, max_length=2):
        assert len(best) == 4  # EOS, and each of three words before EOS


def test_equal_scores_are_settled_by_place_and_id(toy):
    even = torch.zeros(9, dtype=torch.float64)
    even[[5, 7, 8]] = 5.0
    src, lengths = sentences()
    for best in beam_search(toy(logits=even), src, lengths, beam=3, nbest=3, max_length=2):
        assert [h.ids for h in best] == [[5, 5], [5, 7], [5, 8]]
    assert greedy_search(toy(logits=even), src, lengths, max_length=2)[0].ids == [5, 5]


def test_impossible_words_are_never_taken(toy):
    logits = torch.full((9,), -torch.inf, dtype=torch.float64)
    logits[[5, EOS]] = 0.0
    src, lengths = sentences()
    for best in beam_search(toy(logits=logits), src, lengths, beam=6, nbest=6, max_length=3):
        assert {tuple(h.ids) for h in best} == {(EOS,), (5, EOS), (5, 5, EOS)}


@pytest.mark.parametrize("value", [float("nan"), -torch.inf])
def test_a_model_without_probabilities_is_refused(toy, value):
    logits = torch.full((9,), value)
    src, lengths = sentences()
    with pytest.raises(ValueError, match="NaN"):
        beam_search(toy(logits=logits), src, lengths, beam=3, max_length=3)
    with pytest.raises(ValueError, match="NaN"):
        greedy_search(toy(logits=logits), src, lengths, max_length=3)


def test_log_probs_of_a_bfloat16_model_are_computed_in_float32(toy):
    row = torch.randn(9, generator=torch.Generator().manual_seed(0)).bfloat16()
    row[[PAD, BOS]] = -4
    [found] = greedy_search(toy(logits=row), *sentences((3,)), max_length=1)
    assert found.log_prob == pytest.approx(row.float().log_softmax(-1).max().item(), abs=1e-6)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"beam": 2, "nbest": 3}, "decode.nbest=3 .*decode.beam"),
        ({"beam": 2, "nbest": 0}, "decode.nbest"),
        ({"beam": 0}, "decode.beam"),
        ({"beam": 2, "length_penalty_alpha": -1.0}, "decode.length_penalty_alpha"),
        ({"beam": 2, "max_length": 0}, "decode.max_length"),
    ],
)
def test_options_that_make_no_sense_are_refused_by_name(toy, options, named):
    with pytest.raises(ValueError, match=named) as refusal:
        beam_search(toy(), *sentences(), **{"max_length": 5, **options})
    assert "\n" not in str(refusal.value)
