"""The options of search on a toy model, against enumeration of all sequences and against plain Python."""

import math
from itertools import chain
from typing import Any

import numpy as np
import pytest
import torch

from nmt.data.symbols import BOS, EOS, PAD
from nmt.decoding.constraints import constrain, repeating
from nmt.decoding.options import MOST_PENALTY, LengthPenalty, SearchOptions
from nmt.decoding.past import coverage_penalty
from nmt.decoding.sampling import BLOCK, draw_tokens, sample
from nmt.decoding.search import beam_search, greedy_search
from tests.decoding.test_search import assert_same, every_finished, penalty, rescored, sentences

SPACE: dict[str, Any] = {"beam": 121, "nbest": 40, "max_length": 4}  # all that six words can make
OPTIONS: dict[str, dict[str, Any]] = {
    "coverage penalty": {"beam": 4, "nbest": 2, "coverage_penalty": 0.4},
    "repetition": {"beam": 4, "nbest": 2, "no_repeat_ngram_size": 2},
    "lengths": {"beam": 4, "nbest": 2, "min_length_ratio": 0.9, "max_length_ratio": 1.4},
    "groups": {"beam": 6, "nbest": 4, "diverse_beam_groups": 3, "diverse_beam_strength": 0.8},
    "sampling": {"nbest": 3, "sampling": True, "top_k": 5, "top_p": 0.9, "temperature": 1.3},
    "prefixes": {"beam": 4, "nbest": 2},
    "all but groups and sampling": {
        **{"beam": 5, "nbest": 3, "coverage_penalty": 0.4, "no_repeat_ngram_size": 1},
        **{"min_length": 3, "max_length_ratio": 3.0, "length_penalty": LengthPenalty.gnmt},
    },
    "groups with the rest": {
        **{"beam": 6, "nbest": 3, "coverage_penalty": 0.4, "no_repeat_ngram_size": 2, "diverse_beam_groups": 2},
        **{"min_length": 3},
    },
}


def prefixes_of(name, size):
    """Prefixes of 0 to 2 tokens, where the options are with prefixes."""
    some = [[5, 6], [], [7], [8, 8], [4], []]
    if name in ("prefixes", "groups with the rest"):
        return torch.tensor([(some[row % 6] + [PAD, PAD])[:2] for row in range(size)])
    return None


def search(model, src, lengths, options, prefixes=None):
    found = sample if options.sampling else beam_search
    return found(model, src, lengths, options, prefixes=prefixes)


def scored(model, src, length, ids, options):
    """The score of ids by its definition."""
    log_prob, weights = rescored(model, src, length, ids)
    score = log_prob / penalty(len(ids), options.length_penalty, options.length_penalty_alpha)
    words = weights.sum(0)[: int(length) - 1]
    return score + options.coverage_penalty * np.log(np.minimum(words, 1)).sum()


def repeats(ids, size):
    sequences = [tuple(ids[at : at + size]) for at in range(len(ids) - size + 1)]
    return len(set(sequences)) < len(sequences)


def assert_found(model, options, allowed):
    """Search in the whole space finds the sequences of which `allowed(row, ids)`, best first."""
    src, lengths = sentences((4, 2, 6), 1)
    found = beam_search(model, src, lengths, options, prefixes=getattr(allowed, "prefixes", None))
    for row, best in enumerate(found):
        kept = [ids for ids in every_finished(model, src[row], lengths[row], 6, 4) if allowed(row, ids)]
        space = sorted(((scored(model, src[row], lengths[row], ids, options), ids) for ids in kept), reverse=True)
        assert [each.ids for each in best] == [ids for _, ids in space]
        assert [each.score for each in best] == pytest.approx([score for score, _ in space], abs=1e-6)


@pytest.mark.parametrize("length_penalty", LengthPenalty)
def test_the_coverage_penalty_is_that_of_enumeration(toy, length_penalty):
    options = SearchOptions(**SPACE, length_penalty=length_penalty, coverage_penalty=0.3)
    assert_found(toy(6, seed=2), options, lambda _row, _ids: True)


@pytest.mark.parametrize("size", [1, 2])
def test_no_sequence_of_tokens_repeats(toy, size):
    options = SearchOptions(**SPACE, no_repeat_ngram_size=size)
    assert_found(toy(6, seed=2), options, lambda _row, ids: not repeats(ids, size))


def test_the_least_length_is_that_of_enumeration(toy):
    assert_found(toy(6, seed=2), SearchOptions(**SPACE, min_length=3), lambda _row, ids: len(ids) >= 3)


def test_lengths_are_bounded_by_the_source(toy):
    options = SearchOptions(**SPACE, min_length_ratio=0.5, max_length_ratio=0.75)
    # Of sources of 4, 2 and 6 tokens: 2 to 3, 1 to 2 and 3 to 5, of which max_length leaves 4.
    bounds = [(2, 3), (1, 2), (3, 4)]
    assert_found(toy(6, seed=2), options, lambda row, ids: bounds[row][0] <= len(ids) <= bounds[row][1])


def test_every_translation_begins_with_its_prefix(toy):
    prefixes = [[5], [], [4, 1]]

    def begins(row, ids):
        return ids[: len(prefixes[row])] == prefixes[row]

    begins.prefixes = torch.tensor([[5, PAD], [PAD, PAD], [4, 1]])
    assert_found(toy(6, seed=2), SearchOptions(**SPACE), begins)


def test_bounds_that_contradict_each_other_in_a_sentence_leave_the_greatest():
    options = SearchOptions(min_length=5, max_length_ratio=1.0)
    found = constrain(torch.tensor([3, 8]), options, None)
    assert found.max_lengths.tolist() == [3, 8]
    assert found.min_lengths.tolist() == [3, 5]


@pytest.mark.parametrize("ratio", [1.1, 1.2])
def test_a_bound_that_is_a_whole_number_is_that_number(ratio):
    lengths = torch.arange(1, 1000)
    found = constrain(lengths, SearchOptions(max_length_ratio=ratio, min_length_ratio=ratio), None)
    expected = [-(-round(10 * ratio) * length // 10) for length in lengths.tolist()]
    assert found.max_lengths.tolist() == found.min_lengths.tolist() == expected


def test_no_greatest_length_cuts_a_prefix(toy):
    src, lengths = sentences((3,))
    [[best]] = beam_search(
        toy(end=-9.0), src, lengths, SearchOptions(max_length=2), prefixes=torch.tensor([[5, 6, 7, 8]])
    )
    assert best.ids[:4] == [5, 6, 7, 8]
    assert len(best.ids) == 5


def test_a_hypothesis_that_nothing_may_continue_ends(toy):
    src, lengths = sentences((3,))
    options = SearchOptions(beam=1, max_length=9, min_length=8, no_repeat_ngram_size=1)
    [[best]] = beam_search(toy(6), src, lengths, options)
    assert sorted(best.ids) == [1, EOS, 4, 5]
    assert best.finished


def plain_groups(model, src, length, options):
    """Diverse beams one hypothesis at a time, in plain Python, without stopping early: (score, ids), best first."""
    width = options.beam // options.diverse_beam_groups
    live = [[(0.0, [])] for _ in range(options.diverse_beam_groups)]
    ended = [[] for _ in live]
    for _ in range(options.max_length):
        taken = {}
        for group, hypotheses in enumerate(live):
            grown = []
            for log_prob, ids in hypotheses:
                source, state = model.encode(src[None, :length], torch.tensor([length]))
                for previous in [BOS, *ids]:
                    logits, state, _ = model.step(torch.tensor([previous]), state, source)
                for token, gained in enumerate(logits.log_softmax(-1)[0].tolist()):
                    if token not in (PAD, BOS):
                        grown.append((log_prob + gained, [*ids, token]))
            strength = options.diverse_beam_strength
            grown.sort(key=lambda pair: strength * taken.get(pair[1][-1], 0) - pair[0])
            grown = grown[: width - len(ended[group])]
            for log_prob, ids in grown:
                taken[ids[-1]] = taken.get(ids[-1], 0) + 1
                if ids[-1] == EOS:
                    ended[group].append((log_prob / len(ids), tuple(ids)))
            live[group] = [each for each in grown if each[1][-1] != EOS]
    return sorted(set(chain(*ended)), reverse=True)[: options.nbest]


@pytest.mark.parametrize(
    ("seed", "beam", "groups", "strength", "end"), [(0, 4, 2, 0.5, 1.5), (1, 6, 3, 2.0, 1.5), (2, 4, 4, 1.0, 2.0)]
)
def test_groups_are_those_of_plain_python(toy, seed, beam, groups, strength, end):
    model = toy(seed=seed, end=end)
    src, lengths = sentences(seed=seed)
    options = SearchOptions(
        beam=beam, nbest=beam, max_length=7, diverse_beam_groups=groups, diverse_beam_strength=strength
    )
    for row, best in enumerate(beam_search(model, src, lengths, options)):
        plain = plain_groups(model, src[row], lengths[row], options)
        assert [tuple(each.ids) for each in best if each.finished] == [ids for _, ids in plain]
        assert [each.score for each in best if each.finished] == pytest.approx([score for score, _ in plain])


def test_the_first_group_is_a_beam_of_its_own(toy):
    model, (src, lengths) = toy(seed=3, end=1.5), sentences()
    options = {"max_length": 8, "length_penalty": LengthPenalty.none}
    groups = beam_search(
        model, src, lengths, SearchOptions(beam=6, nbest=6, diverse_beam_groups=2, diverse_beam_strength=5.0, **options)
    )
    alone = beam_search(model, src, lengths, SearchOptions(beam=3, nbest=3, **options))
    for best, first in zip(groups, alone, strict=True):
        assert {tuple(each.ids) for each in first if each.finished} <= {tuple(each.ids) for each in best}


def test_greater_diversity_gives_more_first_words(toy):
    src, lengths = sentences()
    firsts = []
    for strength in (0.01, 20.0):
        options = SearchOptions(beam=4, nbest=4, diverse_beam_groups=4, diverse_beam_strength=strength, max_length=8)
        found = beam_search(toy(seed=3), src, lengths, options)
        firsts.append(sum(len({each.ids[0] for each in best}) for best in found))
    assert firsts[0] < firsts[1]


@pytest.mark.parametrize("name", OPTIONS)
def test_with_each_option_a_batch_of_many_is_many_batches_of_one(toy, name):
    model, (src, lengths) = toy(seed=5, end=1.0), sentences(padded_to=12)
    options, prefixes = SearchOptions(**OPTIONS[name]), prefixes_of(name, len(lengths))
    together = search(model, src, lengths, options, prefixes)
    for row, length in enumerate(lengths.tolist()):
        own = None if prefixes is None else prefixes[row : row + 1]
        alone = search(model, src[row : row + 1, :length], lengths[row : row + 1], options, own)
        assert_same([together[row]], alone)


@pytest.mark.parametrize("name", OPTIONS)
def test_with_each_option_the_score_is_that_of_forced_decoding(toy, name):
    model, (src, lengths) = toy(seed=6, end=1.0), sentences()
    options, prefixes = SearchOptions(**OPTIONS[name]), prefixes_of(name, len(lengths))
    for row, best in enumerate(search(model, src, lengths, options, prefixes)):
        assert best
        for each in best:
            log_prob, weights = rescored(model, src[row], lengths[row], each.ids)
            assert each.log_prob == pytest.approx(log_prob, abs=1e-10)
            assert each.score == pytest.approx(scored(model, src[row], lengths[row], each.ids, options), abs=1e-6)
            np.testing.assert_allclose(each.weights, weights, atol=1e-6)


@pytest.mark.parametrize("name", [name for name in OPTIONS if name != "sampling"])
@pytest.mark.parametrize("seed", range(3))
def test_with_each_option_stopping_early_changes_nothing(toy, name, seed):
    src, lengths = sentences(seed=seed)
    prefixes = prefixes_of(name, len(lengths))
    early, late = (
        beam_search(
            toy(seed=seed, end=1.5), src, lengths, SearchOptions(**{**OPTIONS[name], "nbest": n}), prefixes=prefixes
        )
        for n in (1, OPTIONS[name]["beam"])
    )
    assert_same(early, [best[:1] for best in late])


@pytest.mark.parametrize("name", ["coverage penalty", "repetition", "lengths", "prefixes"])
def test_with_each_option_a_beam_of_one_is_greedy(toy, name):
    model, (src, lengths) = toy(seed=5, end=1.0), sentences()
    options = SearchOptions(**{**OPTIONS[name], "beam": 1, "nbest": 1})
    prefixes = prefixes_of(name, len(lengths))
    alone = greedy_search(model, src, lengths, options, prefixes=prefixes)
    assert_same(beam_search(model, src, lengths, options, prefixes=prefixes), [[each] for each in alone])


def test_options_that_bind_nothing_change_no_bit(toy):
    model, (src, lengths) = toy(seed=5, end=1.0), sentences()
    plain = beam_search(model, src, lengths, SearchOptions(nbest=5, max_length=9))
    bound = beam_search(
        model, src, lengths, SearchOptions(nbest=5, max_length=9, no_repeat_ngram_size=9, max_length_ratio=50.0)
    )
    assert [[(each.ids, each.score) for each in best] for best in plain] == [
        [(each.ids, each.score) for each in best] for best in bound
    ]


@pytest.mark.parametrize("temperature", [1e-6, 1e-320])
def test_sampling_near_temperature_zero_is_greedy(toy, temperature):
    model, (src, lengths) = toy(seed=5, end=1.0), sentences()
    options = SearchOptions(sampling=True, temperature=temperature, nbest=2)
    greedy = greedy_search(model, src, lengths, options)
    assert_same(sample(model, src, lengths, options), [[each, each] for each in greedy])


def test_the_first_samples_do_not_depend_on_how_many_are_drawn(toy):
    model, (src, lengths) = toy(seed=5, end=1.0), sentences()
    few, many = (sample(model, src, lengths, SearchOptions(sampling=True, nbest=n)) for n in (2, 5))
    assert_same(few, [best[:2] for best in many])


def test_how_long_a_sample_may_be_costs_nothing_and_changes_none(toy):
    model, (src, lengths) = toy(seed=5, end=4.0), sentences()
    short, long = (
        sample(model, src, lengths, SearchOptions(sampling=True, nbest=2, max_length=most)) for most in (100, 2**40)
    )
    assert_same(short, long)


def test_every_step_of_a_long_sample_has_a_number_of_its_own(toy):
    model, (src, lengths) = toy(seed=5, end=-99.0), sentences((3,))
    [[found]] = sample(model, src, lengths, SearchOptions(sampling=True, max_length=3 * BLOCK))
    blocks = [found.ids[first : first + BLOCK] for first in range(0, 3 * BLOCK, BLOCK)]
    assert blocks[0] != blocks[1] != blocks[2]


def test_another_seed_draws_other_translations(toy):
    model, (src, lengths) = toy(seed=5), sentences()
    one, other = (sample(model, src, lengths, SearchOptions(sampling=True, sampling_seed=s)) for s in (1, 2))
    assert [best[0].ids for best in one] != [best[0].ids for best in other]


def test_samples_are_as_frequent_as_the_model_says(toy):
    model, (src, lengths) = toy(6, seed=1), sentences((3,))
    found = sample(model, src, lengths, SearchOptions(sampling=True, nbest=4000, max_length=2))[0]
    log_probs = {tuple(each.ids): each.log_prob for each in found}
    forbidden = 1 - sum(math.exp(log_prob) for log_prob in log_probs.values())
    assert forbidden > 0.5  # PAD and BOS are likely, and never drawn: the rest shares their probability
    source, state = model.encode(src, lengths)
    logits, _, _ = model.step(torch.tensor([BOS]), state, source)
    logits[:, [PAD, BOS]] = -torch.inf
    for token, probability in enumerate(logits.softmax(1)[0].tolist()):
        drawn = sum(each.ids[0] == token for each in found) / 4000
        assert drawn == pytest.approx(probability, abs=3 * math.sqrt(max(probability, 1e-3) / 4000))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [0.5, 0.3, 0.2]),
        ({"temperature": 0.5}, [0.25 / 0.38, 0.09 / 0.38, 0.04 / 0.38]),
        ({"top_k": 2}, [0.5 / 0.8, 0.3 / 0.8, 0]),
        ({"top_p": 0.49}, [1, 0, 0]),
        ({"top_p": 0.51}, [0.5 / 0.8, 0.3 / 0.8, 0]),
        ({"top_p": 1.0}, [0.5, 0.3, 0.2]),
        ({"top_k": 2, "top_p": 0.6}, [1, 0, 0]),
    ],
)
def test_tokens_share_the_numbers_from_zero_to_one(options, expected):
    logits = torch.tensor([9.0, math.log(0.5), 9.0, math.log(0.3), math.log(0.2)])
    uniform = (torch.arange(10_000).double() + 0.5) / 10_000
    drawn = draw_tokens(logits.expand(10_000, -1), uniform, SearchOptions(sampling=True, **options))
    assert [(drawn == token).double().mean().item() for token in (1, 3, 4)] == pytest.approx(expected, abs=2e-4)


@pytest.mark.parametrize("uniform", [0.0, 1 - 2**-53])
def test_no_token_of_probability_zero_is_drawn(uniform):
    logits = torch.tensor([[0.0, -torch.inf, 0.0, -torch.inf, 1.0, -torch.inf]])
    assert draw_tokens(logits, torch.tensor([uniform], dtype=torch.float64), SearchOptions(sampling=True)).item() == 4


def test_the_coverage_penalty_by_hand():
    coverage = torch.tensor([[[0.5, 2.0, 0.25, 0.1], [1.0, 1.0, 1.0, 0.0]], [[0.5, 0.5, 0.0, 0.0]] * 2])
    found = coverage_penalty(coverage, torch.tensor([4, 2]), beta=0.2)
    once, twice = 0.2 * (math.log(0.5) + math.log(0.25)), 0.2 * math.log(0.5)
    assert found.flatten().tolist() == pytest.approx([once, 0, twice, twice])


def test_words_without_any_attention_have_a_finite_penalty():
    assert coverage_penalty(torch.zeros(1, 1, 3), torch.tensor([3]), beta=MOST_PENALTY).isfinite().all()


def test_repeating_tokens_by_hand():
    ids = torch.tensor([[[4, 5, 4, 6, 4]]])
    assert repeating(ids, 2, 8)[0, 0].nonzero().flatten().tolist()[-2:] == [5, 6]
    assert repeating(ids, 3, 8)[0, 0, 4:].sum() == 0
    assert repeating(ids, 1, 8)[0, 0, 4:].nonzero().flatten().tolist() == [0, 1, 2]


def test_a_model_without_attention_has_no_coverage_penalty(toy):
    with pytest.raises(ValueError, match=r"decode\.coverage_penalty sums attention, which this model does not have"):
        beam_search(toy(attention=False), *sentences(), SearchOptions(coverage_penalty=0.2))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"min_length": 9, "max_length": 8}, "decode.min_length=9 is more than decode.max_length=8"),
        ({"min_length_ratio": 2.0, "max_length_ratio": 1.0}, "decode.min_length_ratio=2.0 is more than"),
        ({"min_length": 0}, "decode.min_length=0"),
        ({"max_length_ratio": 0.0}, "decode.max_length_ratio=0.0"),
        ({"no_repeat_ngram_size": -1}, "decode.no_repeat_ngram_size=-1"),
        ({"coverage_penalty": -0.1}, "decode.coverage_penalty=-0.1"),
        ({"coverage_penalty": 1e308}, "decode.coverage_penalty=1e[+]308 is impossible: the most is 1,000,000"),
        ({"diverse_beam_groups": 2}, "decode.diverse_beam_groups=2 does not divide the 5 .*decode.beam=4"),
        ({"diverse_beam_groups": 5, "diverse_beam_strength": 0.0}, "decode.diverse_beam_strength=0.0"),
        ({"diverse_beam_groups": 5, "sampling": True}, "decode.sampling=true .* leave decode.diverse_beam_groups out"),
        ({"temperature": 0.0}, "decode.temperature=0.0"),
        ({"top_p": 1.5}, "decode.top_p=1.5"),
        ({"top_k": 0}, "decode.top_k=0"),
        ({"sampling_seed": -1}, "decode.sampling_seed=-1"),
    ],
)
def test_options_that_make_no_sense_are_refused_by_name(options, named):
    with pytest.raises(ValueError, match=named) as refusal:
        SearchOptions(**options)
    assert "\n" not in str(refusal.value)
