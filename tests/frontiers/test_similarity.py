"""Maps of people and of machines: against loops over pairs and words, ties, degenerate maps, what is hidden."""

import itertools
import math
import random
import time

import pytest
import torch
from checks import close, randn

from attnlib.frontiers import selection, similarity
from attnlib.frontiers.selection import consensus, random_like, super_map, top
from attnlib.frontiers.similarity import adjusted, auc, behavioural, category_shares, cross_sentiment, lexical

TEXT, WORD, KINDS, PERSON = 7, 13, 5, 3
NAN, INF = math.nan, math.inf


# --- the oracles: plain loops from the definitions --------------------------------------------------------------------


def auc_loop(selected, scores, seen):
    """All pairs of a selected and an unselected word."""
    words = [i for i in range(len(scores)) if seen[i]]
    pairs = [(i, j) for i, j in itertools.product(words, words) if selected[i] and not selected[j]]
    if not pairs:
        return NAN
    total = 0.0
    for i, j in pairs:
        total += 1.0 if scores[i] > scores[j] else 0.5 if scores[i] == scores[j] else 0.0
    return total / len(pairs)


def top_loop(scores, count, seen):
    """Take the best word that is left, the first of equals, so many times."""
    taken = [False] * len(scores)
    for _ in range(count):
        best = None
        for i in range(len(scores)):
            if seen[i] and not taken[i] and (best is None or scores[i] > scores[best]):
                best = i
        taken[best] = True
    return taken


def shares_loop(selected, kinds, seen, n):
    counts = [0] * n
    for chosen, row, real in zip(selected, kinds, seen, strict=True):
        for i in range(len(row)):
            if chosen[i] and real[i]:
                counts[row[i]] += 1
    return [count / sum(counts) for count in counts]


def correlation_loop(a, b):
    mean_a, mean_b = sum(a) / len(a), sum(b) / len(b)
    covariance = sum((x - mean_a) * (y - mean_b) for x, y in zip(a, b, strict=True))
    return covariance / math.sqrt(sum((x - mean_a) ** 2 for x in a) * sum((y - mean_b) ** 2 for y in b))


def rates_loop(selected, words, sentiment, lexicon, once):
    """Lists of the selected words of positive texts and of negative ones, held against two lexicons."""
    found = []
    for text in (1, -1):
        chosen = [
            word
            for t in range(len(words))
            for i, word in enumerate(words[t])
            if sentiment[t] == text and selected[t][i]
        ]
        chosen = sorted(set(chosen)) if once else chosen
        own = sum(lexicon[word] == text for word in chosen)
        found.append(sum(lexicon[word] == -text for word in chosen) / own if own else NAN)
    return found


def maps(p=0.4, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.rand(TEXT, WORD, generator=g) < p


def tied_scores(seed=0):
    """Whole numbers from few, so that there are ties, of which some are with infinity."""
    g = torch.Generator().manual_seed(seed)
    scores = torch.randint(4, (TEXT, WORD), generator=g).double()
    scores[0, :3], scores[1, :2] = INF, -INF
    return scores


def lengths_mask():
    return torch.arange(WORD) < torch.tensor([13, 2, 5, 8, 13, 3, 11]).unsqueeze(-1)


# --- checks: what the right function satisfies and each mutant below must not -----------------------------------------


def check_auc(function):
    for scores, mask in itertools.product((tied_scores(), randn(TEXT, WORD)), (None, lengths_mask())):
        selected, seen = maps(), torch.ones(TEXT, WORD, dtype=torch.bool) if mask is None else mask
        found = function(selected, scores, mask=mask)
        wanted = [auc_loop(*(part[t].tolist() for part in (selected, scores, seen))) for t in range(TEXT)]
        close(found, torch.tensor(wanted, dtype=torch.float64), equal_nan=True)


def check_golden_ties(function):
    """Equal scores are chance, however many were selected and whichever way they are sorted."""
    for n in range(1, WORD):
        selected = torch.arange(WORD) < n
        for given in (selected, ~selected):
            assert function(given, torch.ones(WORD)).item() == 0.5


def check_top(function):
    scores = tied_scores()
    for mask in (None, lengths_mask()):
        seen = torch.ones(TEXT, WORD, dtype=torch.bool) if mask is None else mask
        count = torch.minimum(torch.tensor([0, 2, 3, 1, 13, 2, 4]), seen.sum(-1))
        found = function(scores, count, mask=mask)
        wanted = [top_loop(scores[t].tolist(), count[t].item(), seen[t].tolist()) for t in range(TEXT)]
        assert found.tolist() == wanted


def check_cross_sentiment(function):
    g = torch.Generator().manual_seed(3)
    words = torch.randint(11, (TEXT, WORD), generator=g)
    lexicon = torch.tensor([1, 1, 1, 1, -1, -1, -1, 0, 0, 0, 0])
    sentiment = torch.tensor([1, -1, 1, 1, -1, -1, 0])
    for seed, once in itertools.product(range(3), (True, False)):
        selected = maps(seed=seed)
        found = function(selected, lexicon[words], sentiment, words=words if once else None)
        wanted = rates_loop(selected.tolist(), words.tolist(), sentiment.tolist(), lexicon.tolist(), once)
        close(torch.stack(tuple(found)), torch.tensor(wanted, dtype=torch.float64))


def check_adjusted(function):
    assert function(torch.tensor(1.0), torch.tensor(0.25)).item() == 1
    assert function(torch.tensor(0.25), torch.tensor(0.25)).item() == 0
    assert function(torch.tensor(0.5), torch.tensor(0.25)).item() == pytest.approx(1 / 3)


def check_people(both):
    everybody, anybody = both
    g = torch.Generator().manual_seed(0)
    given = torch.rand(TEXT, PERSON, WORD, generator=g) < 0.5
    for t, i in itertools.product(range(TEXT), range(WORD)):
        votes = [given[t, p, i].item() for p in range(PERSON)]
        assert everybody(given)[t, i].item() == (sum(votes) == PERSON)
        assert anybody(given)[t, i].item() == (sum(votes) > 0)


CHECKS = {
    "auc": (check_auc, auc),
    "auc of equals": (check_golden_ties, auc),
    "top": (check_top, top),
    "cross-sentiment": (check_cross_sentiment, cross_sentiment),
    "adjusted": (check_adjusted, adjusted),
    "people": (check_people, (consensus, super_map)),
}


@pytest.mark.parametrize(("check", "function"), CHECKS.values(), ids=CHECKS)
def test_right(check, function):
    check(function)


# --- known wrong versions ---------------------------------------------------------------------------------------------


def ranks_by_order(selected, scores, *, mask=None):
    """No ties: the ranks are the places in a sorted list."""
    rank = scores.double().argsort(dim=-1, stable=True).argsort(-1) + 1.0
    ones = selected.sum(-1)
    wins = (rank * selected).sum(-1) - ones * (ones + 1) / 2
    return wins / (ones * (scores.shape[-1] - ones))


def ties_lose(selected, scores, *, mask=None):
    lower = torch.where(selected, scores, scores.nextafter(torch.tensor(INF, dtype=scores.dtype)))
    return auc(selected, lower, mask=mask)


def padding_counts(selected, scores, *, mask=None):
    return auc(selected, scores)


def undefined_is_chance(selected, scores, *, mask=None):
    return auc(selected, scores, mask=mask).nan_to_num(0.5)


def later_first(scores, count, *, mask=None):
    flipped = None if mask is None else mask.flip(-1)
    return top(scores.flip(-1), count, mask=flipped).flip(-1)


def all_ties(scores, count, *, mask=None):
    """As many as there are that reach the score of the last."""
    ordered = scores.sort(-1, descending=True).values
    return scores >= ordered.gather(-1, (count - 1).clamp(min=0).unsqueeze(-1))


def upside_down(selected, polarity, sentiment, *, words=None):
    return type(found := cross_sentiment(selected, polarity, sentiment, words=words))(*(1 / part for part in found))


def of_the_lexicon(selected, polarity, sentiment, *, words=None):
    """Rates of each lexicon, whatever the text says."""
    return cross_sentiment(selected, polarity, torch.ones_like(sentiment), words=words)


MUTANTS = {
    "no ties, by pairs": (ranks_by_order, check_auc),
    "no ties": (ranks_by_order, check_golden_ties),
    "ties lose": (ties_lose, check_golden_ties),
    "padding counts": (padding_counts, check_auc),
    "no pair is chance": (undefined_is_chance, check_auc),
    "of equals the later": (later_first, check_top),
    "all that are equal": (all_ties, check_top),
    "own over other": (upside_down, check_cross_sentiment),
    "the text's sentiment forgotten": (of_the_lexicon, check_cross_sentiment),
    "difference only": (lambda found, chance: found - chance, check_adjusted),
    "consensus is or": ((super_map, super_map), check_people),
    "super map is and": ((consensus, consensus), check_people),
}


@pytest.mark.parametrize(("mutant", "check"), MUTANTS.values(), ids=MUTANTS)
def test_mutants_are_rejected(mutant, check):
    with pytest.raises(AssertionError):
        check(mutant)


# --- values -----------------------------------------------------------------------------------------------------------


def test_auc_of_the_opposite_map_is_what_is_missing_to_one():
    selected, scores = maps(), tied_scores()
    close(auc(selected, scores) + auc(~selected, scores), torch.ones(TEXT, dtype=torch.float64))
    close(auc(selected, scores) + auc(selected, -scores), torch.ones(TEXT, dtype=torch.float64))


def test_auc_of_two_people_is_the_mean_of_hits_and_of_rejections():
    """Of a map of noughts and ones: half of sensitivity plus specificity."""
    one, other = maps(), maps(seed=1)
    hits = (one & other).sum(-1) / one.sum(-1)
    rejections = (~one & ~other).sum(-1) / (~one).sum(-1)
    torch.testing.assert_close(auc(one, other), (hits + rejections) / 2)
    assert (auc(one, one) == 1).all()


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int64, torch.bool]
)
def test_auc_of_every_kind_of_number(dtype):
    selected, scores = maps(), tied_scores().clamp(0, 3)
    found = auc(selected, scores.to(dtype))
    assert found.dtype == (dtype if dtype.is_floating_point else torch.float32)
    wanted = auc(selected, scores.to(dtype).double())
    torch.testing.assert_close(found.double(), wanted, rtol=0, atol=4e-3)


def test_auc_of_many_words_takes_no_square_of_memory():
    """A hundred thousand words: all pairs would be ten thousand million."""
    g = torch.Generator().manual_seed(0)
    scores, selected = torch.rand(100_000, generator=g), torch.rand(100_000, generator=g) < 0.3
    started = time.process_time()
    assert 0.49 < auc(selected, scores).item() < 0.51
    assert auc(selected, scores + selected).item() == 1
    assert time.process_time() - started < 30  # all pairs would take memory that is not there


def test_degenerate_maps_have_no_area_and_are_skipped():
    scores = randn(4, WORD)
    selected = maps()[:4].clone()
    selected[0], selected[1] = True, False
    found = auc(selected, scores)
    assert found.isnan().tolist() == [True, True, False, False]
    close(behavioural(selected, scores), found[2:].mean())
    assert behavioural(selected[:2], scores[:2]).isnan()
    assert auc(torch.zeros(3, 0, dtype=torch.bool), torch.zeros(3, 0)).isnan().all()
    assert auc(torch.ones(1, dtype=torch.bool), torch.ones(1)).isnan()
    hidden = torch.zeros(4, WORD, dtype=torch.bool)
    assert auc(selected, scores, mask=hidden).isnan().all()
    one_kind = selected[2] & (selected[2].cumsum(-1) == 1)
    assert auc(selected[2], scores[2], mask=one_kind).isnan()  # all words that there are were selected


def test_a_score_that_is_nan_spoils_its_text_and_behind_the_mask_nothing():
    selected, scores, mask = maps(), randn(TEXT, WORD), lengths_mask()
    wanted = auc(selected, scores, mask=mask)
    for value in (NAN, INF, -INF, 1e300):
        close(auc(selected, torch.where(mask, scores, value), mask=mask), wanted, equal_nan=True)
        close(top(torch.where(mask, scores, value), 2, mask=mask), top(scores, 2, mask=mask))
    scores[2, 0] = NAN
    close(auc(selected, scores, mask=mask)[[0, 3, 4, 6]], wanted[[0, 3, 4, 6]])
    assert auc(selected, scores, mask=mask)[2].isnan()
    assert behavioural(selected, scores, mask=mask).isnan()


def test_texts_of_different_length_are_as_alone():
    selected, scores, mask = maps(), tied_scores(), lengths_mask()
    found = auc(selected, scores, mask=mask)
    for t, length in enumerate(mask.sum(-1).tolist()):
        close(found[t], auc(selected[t, :length], scores[t, :length]), equal_nan=True)
    close(auc(selected, scores, mask=mask[2]), auc(selected[:, :5], scores[:, :5]), equal_nan=True)


def test_lexical_is_the_correlation_of_shares():
    g = torch.Generator().manual_seed(2)
    kinds = torch.randint(KINDS, (TEXT, WORD), generator=g)
    one, other, mask = maps(), maps(0.3, seed=1), lengths_mask()
    shares = [shares_loop(given.tolist(), kinds.tolist(), mask.tolist(), KINDS) for given in (one, other)]
    for given, wanted in zip((one, other), shares, strict=True):
        close(category_shares(given, kinds, KINDS, mask=mask), torch.tensor(wanted, dtype=torch.float64))
    found = lexical(one, other, kinds, KINDS, mask=mask)
    assert found.item() == pytest.approx(correlation_loop(*shares))
    assert lexical(one, one, kinds, KINDS).item() == pytest.approx(1)
    padded = torch.where(mask, kinds, -1)  # what is hidden needs no category
    close(lexical(one, other, padded, KINDS, mask=mask), found)


def test_lexical_is_not_defined_where_nothing_varies():
    kinds = torch.tensor([0, 1, 2, 0, 1, 2])
    alike, some = torch.ones(6, dtype=torch.bool), torch.tensor([True, False, False, True, True, False])
    for one, other in ((alike, some), (some, alike), (some, ~alike), (~alike, some)):
        assert lexical(one, other, kinds, 3).isnan()
    assert category_shares(~alike, kinds, 3).isnan().all()
    assert adjusted(torch.tensor(0.5), torch.tensor(1.0)).isnan()


def test_a_random_selection_is_as_large_and_as_likely_as_any_other():
    mask = torch.tensor([True, True, False, True, True])
    selected = torch.tensor([True, False, True, True, False])  # two words, and one that is none
    g = torch.Generator().manual_seed(0)
    drawn = random_like(selected.expand(6000, 5), mask=mask, generator=g)
    assert (drawn.sum(-1) == 2).all()
    assert not drawn[:, 2].any()
    found = {}
    for row in drawn.tolist():
        found[tuple(row)] = found.get(tuple(row), 0) + 1
    assert len(found) == 6
    assert all(abs(count / 6000 - 1 / 6) < 0.02 for count in found.values())
    again = random_like(selected.expand(6000, 5), mask=mask, generator=torch.Generator().manual_seed(0))
    assert torch.equal(drawn, again)


def test_a_random_machine_comes_to_chance():
    """Behaviour at one half, and an adjusted similarity about nought, for which a selection by kind gets far more."""
    g = torch.Generator().manual_seed(1)
    usual, liked = torch.tensor([0.1, 0.4, 0.3, 0.15, 0.05]), torch.tensor([0.6, 0.1, 0.1, 0.3, 0.05])
    kinds = torch.multinomial(usual.expand(400, KINDS), 31, replacement=True, generator=g)
    person, other = (torch.rand(400, 31, generator=g) < liked[kinds] for _ in range(2))
    assert abs(behavioural(person, torch.rand(400, 31, generator=g)).item() - 0.5) < 0.02
    drawn = [lexical(person, random_like(person, generator=g), kinds, KINDS) for _ in range(40)]
    chance, again = torch.stack(drawn[:20]).mean(), torch.stack(drawn[20:]).mean()
    assert abs(adjusted(again, chance)) < 0.05
    assert adjusted(lexical(person, other, kinds, KINDS), chance) > 0.95


def test_rates_are_not_defined_without_a_word_of_the_texts_own():
    selected = torch.tensor([[False, True], [True, False]])
    found = cross_sentiment(selected, torch.tensor([[1, -1], [-1, 1]]), torch.tensor([1, -1]))
    assert found.positive.isnan()
    assert found.negative == 0


def test_super_and_consensus_hold_what_a_person_selected_between_them():
    given = torch.stack([maps(seed=seed) for seed in range(PERSON)], -2)
    both, any_of = consensus(given), super_map(given)
    for p in range(PERSON):
        assert (both <= given[:, p]).all()
        assert (given[:, p] <= any_of).all()
    one = given[:, :1]
    assert torch.equal(consensus(one), super_map(one))


def test_nothing_is_changed():
    selected, scores, mask = maps(), tied_scores(), lengths_mask()
    before = [part.clone() for part in (selected, scores, mask)]
    auc(selected, scores, mask=mask), top(scores, 2, mask=mask), random_like(selected, mask=mask)
    assert all(torch.equal(*pair) for pair in zip(before, (selected, scores, mask), strict=True))


BAD = [
    (lambda: auc(maps().float(), tied_scores()), TypeError, "selected must be boolean .*got dtype torch.float32"),
    (lambda: auc(maps(), tied_scores()[:, 1:]), ValueError, r"scores must fit \(7, 13\), got shape \(7, 12\)"),
    (lambda: auc(maps(), tied_scores(), mask=maps().long()), TypeError, "mask must be boolean"),
    (lambda: auc(maps(), tied_scores(), mask=maps()[:3]), ValueError, r"mask must fit \(7, 13\), got shape \(3, 13\)"),
    (lambda: auc(maps(), tied_scores().tolist()), TypeError, "scores must be a tensor, got list"),
    (lambda: top(tied_scores(), 14), ValueError, "count must be from 0 to the number of words"),
    (lambda: top(tied_scores(), -1), ValueError, "count must be from 0"),
    (lambda: top(tied_scores(), 3, mask=lengths_mask()), ValueError, "count must be from 0"),
    (lambda: top(tied_scores(), torch.ones(TEXT)), TypeError, "count must be integer, got dtype torch.float32"),
    (
        lambda: top(tied_scores(), torch.ones(3, dtype=torch.long)),
        ValueError,
        r"count must fit \(7,\), got shape \(3,\)",
    ),
    (lambda: top(torch.tensor([NAN, 1.0]), 1), ValueError, "scores must have an order, got NaN"),
    (lambda: lexical(maps(), maps(), maps().long(), 1), ValueError, "n_categories must be at least 2, got 1"),
    (lambda: category_shares(maps(), maps().long() + 4, 5), ValueError, "categories must be from 0 to 4, got 5 to 5"),
    (lambda: category_shares(maps(), maps().long() - 2, 5), ValueError, "categories must be from 0 to 4, got -1 to -1"),
    (
        lambda: cross_sentiment(maps(), maps().long(), torch.ones(3)),
        ValueError,
        r"sentiment must fit \(7,\), got shape \(3,\)",
    ),
    (lambda: consensus(torch.zeros(0, 5, dtype=torch.bool)), ValueError, r"maps must be those of somebody.*\(0, 5\)"),
    (lambda: super_map(torch.zeros(5, dtype=torch.bool)), ValueError, r"maps must be those of somebody.*\(5,\)"),
    (lambda: consensus(torch.zeros(2, 5)), TypeError, "maps must be boolean"),
]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("call", "error", "message"), BAD)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_every_public_name_is_tested_here():
    names = {*similarity.__all__, *selection.__all__} - {"CrossSentiment"}
    assert names <= set(globals())


def test_random_orders_do_not_matter():
    """A joint permutation of the words leaves every measure as it was."""
    selected, scores = maps(), tied_scores()
    order = random.Random(0).sample(range(WORD), WORD)
    close(auc(selected[:, order], scores[:, order]), auc(selected, scores))
