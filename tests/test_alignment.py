"""Alignments: links read off weights, errors against the loop, IBM Model 1 against the loop and its own promises."""

import itertools
import math
import random
import time

import pytest
import torch
from checks import randn
from oracles import tensor
from torch.testing import assert_close

from attnlib.alignment import (
    AlignmentError,
    IBMModel1,
    alignment_error_rate,
    diagonal,
    links_of,
    pooled,
    uniform,
)

# --- the oracle: a plain loop from the paper --------------------------------------------------------------------------


def alignment_error_loop(predicted, sure, possible):
    """Error, precision and recall of lists of links; sure links are possible."""
    n_sure = n_possible = 0
    for link in predicted:
        n_sure += link in sure
        n_possible += link in possible or link in sure
    return (
        1 - (n_sure + n_possible) / (len(predicted) + len(sure)),
        n_possible / len(predicted),
        n_sure / len(sure),
    )


def ibm_model_1_loop(pairs, n_iterations):
    """The table ``p[x][y]`` and the log-likelihood before each round and after the last. NULL, if wanted, is a word of
    every source."""
    vocabulary = {y for _, target in pairs for y in target}
    table = {x: {y: 1 / len(vocabulary) for y in vocabulary} for source, _ in pairs for x in source}
    likelihoods = []
    for iteration in range(n_iterations + 1):
        counts = {x: dict.fromkeys(vocabulary, 0.0) for x in table}
        likelihood = 0.0
        for source, target in pairs:
            for y in target:
                total = 0.0
                for x in source:
                    total += table[x][y]
                likelihood += math.log(total / len(source))
                for x in source:
                    counts[x][y] += table[x][y] / total
        likelihoods.append(likelihood)
        if iteration < n_iterations:
            table = {x: {y: c / sum(row.values()) for y, c in row.items()} for x, row in counts.items()}
    return table, likelihoods


TARGET, SOURCE = 5, 7
NULL = "the empty word"

# One target word in the middle is said by nobody; "the" goes with everything; a word stands twice in a sentence.
PAIRS = [
    (("la", "casa", "verde"), ("the", "green", "house")),
    (("la", "casa"), ("the", "house")),
    (("una", "casa"), ("a", "house")),
    (("la", "verde", "la"), ("the", "green", "the", "indeed")),
    (("una", "flor", "verde"), ("a", "green", "flower")),
]


def weights_of(*shape, seed=0):
    return torch.softmax(randn(*shape, seed=seed), -1)


def random_links(generator, n):
    return {(generator.randrange(TARGET), generator.randrange(SOURCE)) for _ in range(n)}


# --- checks: what the right function satisfies and each mutant must not -----------------------------------------------


def check_error_rate(error_rate):
    """Error, precision and recall are those of the loop, with and without possible links."""
    generator = random.Random(0)
    for _ in range(50):
        predicted, sure, possible = (random_links(generator, n) for n in (9, 5, 7))
        for further in (None, possible):
            wanted = alignment_error_loop(sorted(predicted), sorted(sure), sorted(further or ()))
            assert tuple(error_rate(predicted, sure, further)[:3]) == pytest.approx(wanted, abs=1e-12)


def check_model(model):
    """Table and likelihood of each round are those of the loop, with the empty word and without."""
    for null in (False, True):
        pairs = [((NULL, *source), target) for source, target in PAIRS] if null else PAIRS
        for n_iterations in (0, 1, 2, 7):
            table, likelihoods = ibm_model_1_loop(pairs, n_iterations)
            learned = model(PAIRS, n_iterations=n_iterations, null=null)
            for x, row in table.items():
                for y, probability in row.items():
                    got = learned.probability(y, None if x == NULL else x)
                    assert got == pytest.approx(probability if met(x, y, null) or n_iterations else got, abs=1e-12)
            assert learned.log_likelihoods == pytest.approx(likelihoods, abs=1e-10)


def met(x, y, null):
    return (null and x == NULL) or any(x in source and y in target for source, target in PAIRS)


def check_likelihood_never_falls(model):
    for null in (False, True):
        likelihoods = model(random_corpus(40), n_iterations=20, null=null).log_likelihoods
        assert len(likelihoods) == 21
        assert all(after >= before - 1e-9 for before, after in itertools.pairwise(likelihoods))
        assert likelihoods[-1] > likelihoods[0] + 10


def check_probabilities_sum_to_one(model):
    learned = model(PAIRS, n_iterations=4)
    for x in (None, "la", "casa", "verde", "una", "flor", "never seen"):
        total = sum(learned.probability(y, x) for y in ("the", "green", "house", "a", "flower", "indeed"))
        assert total == pytest.approx(1.0)


MODEL_CHECKS = (check_model, check_likelihood_never_falls, check_probabilities_sum_to_one)


def random_corpus(n, *, vocabulary=23, longest=11, seed=0):
    """Sentences whose translation is known: word ``s5`` is ``t5``, in another order, and some words are lost."""
    generator, pairs = random.Random(seed), []
    for _ in range(n):
        numbers = [min(generator.randrange(vocabulary), generator.randrange(vocabulary)) for _ in range(longest)]
        numbers = numbers[: generator.randrange(2, longest + 1)]
        kept = [number for number in numbers if generator.random() < 0.9] or numbers
        generator.shuffle(kept)
        pairs.append((tuple(f"s{number}" for number in numbers), tuple(f"t{number}" for number in kept)))
    return pairs


# --- links ------------------------------------------------------------------------------------------------------------


def test_links_are_the_largest_of_each_row():
    weights = weights_of(TARGET, SOURCE)
    assert links_of(weights) == {(t, int(weights[t].argmax())) for t in range(TARGET)}


def test_a_tie_goes_to_the_first():
    assert links_of(torch.tensor([[0.2, 0.4, 0.4]])) == {(0, 1)}
    assert links_of(uniform(2, 3)) == {(0, 0), (1, 0)}


def test_a_row_without_weight_has_no_link():
    weights = weights_of(TARGET, SOURCE)
    weights[2] = 0
    assert {t for t, _ in links_of(weights)} == {0, 1, 3, 4}
    assert links_of(torch.zeros(2, 0)) == frozenset()
    assert links_of(torch.zeros(0, 3)) == frozenset()


@pytest.mark.parametrize("hidden", [math.nan, math.inf, -1.0])
@pytest.mark.parametrize("threshold", [None, 0.1])
def test_what_stands_behind_the_mask_changes_nothing(hidden, threshold):
    weights, mask = weights_of(TARGET, SOURCE), torch.ones(TARGET, SOURCE, dtype=torch.bool)
    mask[:, 5:] = False
    mask[4] = False
    expected = links_of(weights[:4, :5], threshold=threshold)
    assert links_of(weights.masked_fill(~mask, hidden), mask=mask, threshold=threshold) == expected
    columns_only = {link for link in links_of(weights, mask=mask[0], threshold=threshold) if link[0] != 4}
    assert columns_only == expected


def test_a_threshold_takes_every_weight_that_reaches_it():
    weights = torch.tensor([[0.5, 0.25, 0.25], [1.0, 0.0, 0.0]])
    assert links_of(weights, threshold=0.25) == {(0, 0), (0, 1), (0, 2), (1, 0)}
    assert links_of(weights, threshold=0.3) == {(0, 0), (1, 0)}
    assert links_of(weights, threshold=2.0) == frozenset()


def test_bad_weights_are_named(unchecked):
    with pytest.raises(ValueError, match="weights must be at least 0"):
        links_of(torch.tensor([[0.5, math.nan]]))
    with pytest.raises(ValueError, match="weights must be at least 0"):
        links_of(torch.tensor([[0.5, -0.1]]))
    with pytest.raises(ValueError, match=r"mask must broadcast to weights \(2, 3\), got shape \(5,\)"):
        links_of(torch.ones(2, 3), mask=torch.ones(5, dtype=torch.bool))
    with pytest.raises(ValueError, match="threshold must be above 0, got 0"):
        links_of(torch.ones(2, 3), threshold=0)


# --- errors -----------------------------------------------------------------------------------------------------------


def test_error_rate_is_that_of_the_loop():
    check_error_rate(alignment_error_rate)


def test_the_perfect_alignment_has_no_error_and_the_disjoint_all():
    assert alignment_error_rate({(0, 0), (1, 2)}, {(0, 0), (1, 2)})[:3] == (0, 1, 1)
    assert alignment_error_rate({(0, 1)}, {(0, 0), (1, 2)})[:3] == (1, 0, 0)


def test_without_possible_links_it_is_one_minus_f1():
    predicted, sure = {(0, 0), (1, 1), (2, 1)}, {(0, 0), (2, 1), (3, 3), (4, 0)}
    error, precision, recall = alignment_error_rate(predicted, sure)[:3]
    assert error == pytest.approx(1 - 2 * precision * recall / (precision + recall))


def test_sure_links_are_possible():
    assert alignment_error_rate({(0, 0)}, {(0, 0)}, {(1, 1)}).error == 0


def test_empty_sets_are_defined():
    nothing, one = set(), {(0, 0)}
    assert alignment_error_rate(nothing, nothing)[:3] == (0, 1, 1)
    assert alignment_error_rate(nothing, one)[:3] == (1, 1, 0)
    assert alignment_error_rate(one, nothing)[:3] == (1, 0, 1)
    assert alignment_error_rate(one, nothing, one)[:3] == (0, 1, 1)
    assert pooled([]) == alignment_error_rate(nothing, nothing)


def test_a_corpus_adds_counts_not_errors():
    """Two pairs as one long pair."""
    generator = random.Random(1)
    cases = [tuple(random_links(generator, n) for n in sizes) for sizes in ((3, 5, 2), (11, 7, 13))]
    together = pooled(alignment_error_rate(*case) for case in cases)
    shifted = [{(t + TARGET, i) for t, i in links} for links in cases[1]]
    expected = alignment_error_rate(*(a | b for a, b in zip(cases[0], shifted, strict=True)))
    assert together == pytest.approx(expected)
    apart = [alignment_error_rate(*case).error for case in cases]
    assert abs(together.error - sum(apart) / 2) > 0.001


def test_weights_count_as_the_mean_over_links_drawn_from_them():
    weights, sure, possible = weights_of(2, 3), {(0, 1), (1, 0)}, {(1, 2)}
    mean = 0.0
    for i in range(3):
        for j in range(3):
            chance = float(weights[0, i] * weights[1, j])
            mean += chance * alignment_error_rate({(0, i), (1, j)}, sure, possible).error
    assert alignment_error_rate(weights, sure, possible).error == pytest.approx(mean)


def test_one_hot_weights_count_as_their_links():
    sure, possible = {(0, 1), (3, 2)}, {(1, 0)}
    weights = diagonal(TARGET, SOURCE)
    assert alignment_error_rate(weights, sure, possible) == alignment_error_rate(links_of(weights), sure, possible)


def test_weights_that_cannot_be_judged_are_refused():
    with pytest.raises(ValueError, match=r"link \(2, 0\) lies outside weights of shape \(2, 3\)"):
        alignment_error_rate(torch.ones(2, 3), {(2, 0)})
    with pytest.raises(ValueError, match="weights must be at least 0"):
        alignment_error_rate(torch.full((2, 3), math.nan), {(0, 0)})


# --- baselines --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n_target", "n_source"), [(5, 5), (7, 3), (3, 7), (1, 5), (5, 1)])
def test_diagonal_is_monotone_and_symmetric(n_target, n_source):
    weights = diagonal(n_target, n_source)
    assert weights.shape == (n_target, n_source)
    assert (weights.sum(1) == 1).all()
    places = weights.argmax(1)
    assert (places.diff() >= 0).all()
    for t, place in enumerate(places.tolist()):  # the centre of the target word lies in the source word's share
        assert place / n_source <= (t + 0.5) / n_target < (place + 1) / n_source
    if n_target == n_source:
        assert torch.equal(weights, torch.eye(n_target))


@pytest.mark.parametrize("baseline", [diagonal, uniform])
def test_baselines_of_empty_sentences(baseline):
    assert baseline(0, 3).shape == (0, 3)
    assert baseline(3, 0).shape == (3, 0)
    with pytest.raises(ValueError, match="n_target and n_source must be at least 0, got -1 and 2"):
        baseline(-1, 2)


# --- IBM Model 1 ------------------------------------------------------------------------------------------------------


def test_model_is_that_of_the_loop():
    check_model(IBMModel1)


def test_likelihood_never_falls():
    check_likelihood_never_falls(IBMModel1)


def test_probabilities_sum_to_one():
    check_probabilities_sum_to_one(IBMModel1)


def test_model_finds_the_known_translation():
    pairs = random_corpus(300)
    model = IBMModel1(pairs, n_iterations=15, null=False)
    right = [model.probability(f"t{number}", f"s{number}") for number in range(15)]
    assert min(right) > 0.8
    held_out = random_corpus(20, seed=1)
    links = [links_of(model.align(*pair)) for pair in held_out]
    words = [(x[i], y[t]) for (x, y), pair in zip(held_out, links, strict=True) for t, i in pair]
    assert sum(x[1:] == y[1:] for x, y in words) / len(words) > 0.95


@pytest.mark.parametrize("null", [False, True])
def test_posterior_is_the_table_normalised(null):
    model = IBMModel1(PAIRS, n_iterations=3, null=null)
    source, target = PAIRS[3]
    weights = model.align(source, target)
    assert weights.shape == (4, 3)
    for t, y in enumerate(target):
        total = sum(model.probability(y, x) for x in source) + (model.probability(y, None) if null else 0)
        assert_close(weights[t], tensor([model.probability(y, x) / total for x in source]))
    if not null:
        assert_close(weights.sum(1), torch.ones(4, dtype=torch.float64))


def test_the_empty_word_takes_what_nothing_explains():
    """ "uh" stands in every third target whatever the source says."""
    pairs = [
        (source, (*target, "uh") if n % 3 == 0 else target) for n, (source, target) in enumerate(random_corpus(300))
    ]
    model = IBMModel1(pairs, n_iterations=20)
    source, target = ("s0", "s1", "s2"), ("t1", "uh", "t0")
    assert model.links(source, target) == {(0, 1), (2, 0)}
    assert {t for t, _ in links_of(model.align(source, target))} == {0, 1, 2}
    assert model.align(source, target)[1].sum() < 0.5


def test_without_the_empty_word_both_readings_agree():
    model = IBMModel1(PAIRS, null=False)
    for source, target in PAIRS:
        assert model.links(source, target) == links_of(model.align(source, target))


def test_words_that_were_never_seen():
    model = IBMModel1(PAIRS, null=False)
    assert model.probability("the", "perro") == pytest.approx(1 / 6)
    assert model.probability("dog", "perro") == pytest.approx(1 / 6)
    assert model.probability("dog", "casa") == 0
    weights = model.align(("la", "perro"), ("the", "dog"))
    assert links_of(weights) == {(0, 0), (1, 1)}
    assert_close(model.align(("la", "casa"), ("dog",)), tensor([[0.5, 0.5]]))
    with_null = IBMModel1(PAIRS).align(("la", "casa"), ("dog",))
    assert_close(with_null, tensor([[1 / 3, 1 / 3]]))


def test_new_pairs_may_be_empty():
    model = IBMModel1(PAIRS)
    assert model.align((), ("the",)).shape == (1, 0)
    assert model.align(("la",), ()).shape == (0, 1)
    assert IBMModel1(PAIRS, null=False).align((), ("the",)).shape == (1, 0)
    assert model.links((), ("the",)) == frozenset()


def test_empty_pairs_are_left_out_and_nothing_is_refused():
    empty = [((), ("the",)), (("la",), ())]
    assert IBMModel1([*empty, *PAIRS]).log_likelihoods == IBMModel1(PAIRS).log_likelihoods
    for pairs in ([], empty):
        with pytest.raises(ValueError, match="pairs must hold a sentence pair with words on both sides"):
            IBMModel1(pairs)


def test_bad_input_is_named(unchecked):
    with pytest.raises(ValueError, match="n_iterations must be at least 0, got -1"):
        IBMModel1(PAIRS, n_iterations=-1)
    with pytest.raises(TypeError, match="a sentence must be a sequence of words, got the string 'la casa'"):
        IBMModel1([("la casa", "the house")])
    with pytest.raises(TypeError, match="a sentence must be a sequence of words"):
        IBMModel1(PAIRS).align("la casa", ("the",))


def test_the_same_pairs_give_the_same_model():
    corpus = random_corpus(50)
    first, again = IBMModel1(corpus), IBMModel1(iter(corpus))
    assert first.log_likelihoods == again.log_likelihoods


def test_five_rounds_over_a_thousand_pairs_raise_the_likelihood(record_property):
    corpus = random_corpus(1000, vocabulary=4000, longest=20)
    start = time.perf_counter()
    rounds = IBMModel1(corpus, n_iterations=5).log_likelihoods
    seconds = time.perf_counter() - start
    record_property("measured", f"IBM Model 1, 1,000 pairs of up to 20 words, 5 rounds: {seconds:.2f} s")
    assert rounds == sorted(rounds)
    assert len(set(rounds)) >= 5


def test_an_alignment_error_is_a_plain_tuple():
    error = alignment_error_rate({(0, 0), (1, 1)}, {(0, 0)})
    assert isinstance(error, AlignmentError)
    assert error[3:] == (2, 1, 1, 1)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: links_of([[1.0]]), TypeError, "weights must be a tensor, got list"),
        (
            lambda: links_of(torch.ones(2, 2, 2)),
            ValueError,
            r"sentence pair's, \(target, source\), got shape \(2, 2",
        ),
        (lambda: alignment_error_rate([(0, 0)], {(0, 0)}), TypeError, "predicted must be a set of links or a tensor"),
        (lambda: alignment_error_rate({(0, 0)}, [(0, 0)]), TypeError, "sure must be a set of links, got list"),
        (lambda: alignment_error_rate({(0, 0)}, {(0, 0)}, [(0, 0)]), TypeError, "possible must be a set of links, got"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_what_is_no_alignment_is_named(call, error, words):
    with pytest.raises(error, match=words):
        call()


# --- known wrong versions, each of which a check above rejects --------------------------------------------------------


def swapped_precision_and_recall(predicted, sure, possible=None):
    right = alignment_error_rate(predicted, sure, possible)
    return right._replace(precision=right.recall, recall=right.precision)


def sure_links_alone(predicted, sure, possible=None):
    return alignment_error_rate(predicted, sure)


def possible_without_sure(predicted, sure, possible=None):
    further = possible - sure if possible is not None else sure
    n_sure, n_possible = len(predicted & sure), len(predicted & further)
    error = 1 - (n_sure + n_possible) / (len(predicted) + len(sure))
    return error, n_possible / len(predicted), n_sure / len(sure)


def possible_links_in_the_denominator(predicted, sure, possible=None):
    right = alignment_error_rate(predicted, sure, possible)
    size = len(predicted) + len(sure | (possible or set()))
    return right._replace(error=1 - (right.n_sure + right.n_possible) / size)


class WrongModel1(IBMModel1):
    """Its rounds written out, with the places where they go wrong as switches."""

    unnormalised = by_target = hard_counts = length_forgotten = False

    def _learn(self, cells, n_iterations):
        row, word_pair, length = cells
        self._keys, entry = torch.unique(word_pair, return_inverse=True)
        source, target = self._keys // len(self._targets), self._keys % len(self._targets)
        group = target if self.by_target else source
        self._table = torch.full((len(self._keys),), 1.0 / len(self._targets), dtype=torch.float64)
        likelihoods = []
        for iteration in range(n_iterations + 1):
            joint = self._table[entry]
            explained = joint.new_zeros(len(length)).index_add_(0, row, joint)
            likelihoods.append(float((explained / (1 if self.length_forgotten else length)).log().sum()))
            if iteration < n_iterations:
                counts = torch.zeros_like(self._table)
                share = joint / explained[row]
                if self.hard_counts:
                    best = joint.new_zeros(len(length)).scatter_reduce_(0, row, joint, "amax")
                    share = (joint == best[row]).double()
                counts.index_add_(0, entry, share)
                totals = counts.new_zeros(len(self._sources) + len(self._targets)).index_add_(0, group, counts)
                self._table = counts if self.unnormalised else counts / totals[group]
        return likelihoods


def wrong_model(switch):
    return type("Wrong", (WrongModel1,), {switch: True})


WRONG_ALIGNMENT = {
    "precision and recall swapped": (check_error_rate, swapped_precision_and_recall),
    "possible links ignored": (check_error_rate, sure_links_alone),
    "sure links not possible": (check_error_rate, possible_without_sure),
    "possible links in the denominator": (check_error_rate, possible_links_in_the_denominator),
    "model without normalising": (check_probabilities_sum_to_one, wrong_model("unnormalised")),
    "normalised over source words": (check_probabilities_sum_to_one, wrong_model("by_target")),
    "counts of the best link alone": (check_model, wrong_model("hard_counts")),
    "length of the source forgotten": (check_model, wrong_model("length_forgotten")),
    "no empty word": (
        check_model,
        lambda pairs, null, **options: IBMModel1(pairs, null=False, **options),
    ),
}


@pytest.mark.parametrize(("check", "mutant"), WRONG_ALIGNMENT.values(), ids=WRONG_ALIGNMENT)
def test_wrong_alignment_is_rejected(check, mutant):
    with pytest.raises(AssertionError):
        check(mutant)


@pytest.mark.parametrize("check", MODEL_CHECKS)
def test_the_unspoilt_model_passes(check):
    check(WrongModel1)
