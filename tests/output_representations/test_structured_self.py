"""Hops and their penalty, at one level and at two: loops from the papers, golden values, bounds, wrong versions."""

import functools
import math

import oracles
import pytest
import torch
from checks import close, leaf, randn
from oracles import inner, rows, tensor
from torch.autograd import gradcheck, gradgradcheck

from attnlib.input_representations.hierarchical import pool
from attnlib.masks import key_mask
from attnlib.output_representations.multi_level import MultiLevelSelf, multi_level
from attnlib.output_representations.structured_self import StructuredSelf, penalty, structured_self

BATCH, TIME, HOPS, D, D_A = 2, 11, 3, 5, 7
# Three bags: of two sentences, of none, of three, one of which has no word.
WORDS, SENTENCES = (4, 2, 1, 0, 3), (2, 0, 3)


# --- the oracle: plain loops from the papers --------------------------------------------------------------------------


def structured_loop(h, hidden_weight, hop_weight):
    """Matrix M and weights A of one sequence without padding."""
    hidden = [[math.tanh(inner(row, x)) for row in hidden_weight] for x in h]
    weights = [oracles.softmax_row([inner(hop, x) for x in hidden]) for hop in hop_weight]
    return [[sum(a * x[k] for a, x in zip(row, h, strict=True)) for k in range(len(h[0]))] for row in weights], weights


def penalty_loop(weights):
    total = 0.0
    for i, a in enumerate(weights):
        for j, b in enumerate(weights):
            total += (inner(a, b) - (1.0 if i == j else 0.0)) ** 2
    return total


def parameters():
    return {"hidden_weight": leaf(D_A, D), "hop_weight": leaf(HOPS, D_A)}


def distributions(*shape):
    return torch.softmax(3 * randn(*shape), -1)


@pytest.mark.parametrize("hops", [1, 3, 13])
def test_hops_are_the_loop(hops):
    annotations, hidden, hop = randn(BATCH, TIME, D), randn(D_A, D), randn(hops, D_A)
    mask = key_mask(torch.tensor([TIME, 6]), TIME)
    found = structured_self(annotations, hidden_weight=hidden, hop_weight=hop, mask=mask)
    for b, n in enumerate((TIME, 6)):
        matrix, weights = structured_loop(rows(annotations[b, :n]), rows(hidden), rows(hop))
        close(found.context[b], tensor(matrix))
        close(found.weights[b, :, :n], tensor(weights))
        assert not found.weights[b, :, n:].any()
        close(penalty(found.weights)[b], tensor(penalty_loop(weights)))  # padding adds nothing


def test_one_hop_is_a_level_of_hierarchical_attention_without_its_bias():
    annotations, given = randn(BATCH, TIME, D), parameters()
    found = structured_self(annotations, **given)
    for hop in range(HOPS):
        alone = pool(given["hop_weight"][hop : hop + 1], annotations, weight=given["hidden_weight"])
        close(found.context[:, hop : hop + 1], alone.context)


# --- the penalty ------------------------------------------------------------------------------------------------------


def check_golden(penalty):
    one = torch.eye(3, dtype=torch.float64)
    close(penalty(one[:2]), tensor(0.0))  # two tokens
    close(penalty(one[[0, 0]]), tensor(2.0))  # the same one
    close(penalty(torch.full((2, 3), 1 / 3, dtype=torch.float64)), tensor(10 / 9))  # the mean


def check_each_example(penalty):
    weights = distributions(BATCH, HOPS, TIME)
    for b in range(BATCH):
        close(penalty(weights)[b], tensor(penalty_loop(rows(weights[b]))))


def check_single_hop(penalty):
    """One hop that spreads over all is penalised too: the diagonal counts."""
    close(penalty(torch.full((1, 4), 0.25, dtype=torch.float64)), tensor((0.25 - 1) ** 2))


def check_one_token(penalty):
    close(penalty(torch.ones(HOPS, 1, dtype=torch.float64)), tensor(float(HOPS * (HOPS - 1))))


CHECKS = [check_golden, check_each_example, check_single_hop, check_one_token]


@pytest.mark.parametrize("check", CHECKS)
def test_penalty(check):
    check(penalty)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_more_hops_than_tokens_have_a_floor(n):
    """At least r - n, for so many eigenvalues are zero; r - n is not reached, for rows that sum to one."""
    r = 7
    for sharpness in (0.0, 1.0, 30.0):
        weights = torch.softmax(sharpness * randn(50, r, n), -1)
        assert (penalty(weights) >= r - n - 1e-9).all()
    # Many hops on few tokens are cheaper spread over all of them than each on one.
    apart = torch.eye(2, dtype=torch.float64).repeat(3, 1)
    assert penalty(torch.full((6, 2), 0.5, dtype=torch.float64)) < penalty(apart)


def test_what_saw_nothing_is_no_hop_and_gives_no_gradient():
    annotations, given = leaf(BATCH, TIME, D), parameters()
    mask = torch.zeros(BATCH, 1, TIME, dtype=torch.bool)
    mask[0, :, :4] = True
    with torch.no_grad():
        annotations[0, 4:], annotations[1] = torch.nan, torch.inf
    found = structured_self(annotations, **given, mask=mask)
    assert not found.context[1].any()
    assert penalty(found.weights)[1] == 0
    (found.context.sum() + penalty(found.weights).sum()).backward()
    for part in (annotations, *given.values()):
        assert part.grad.isfinite().all()
    assert not annotations.grad[1].any()
    one = torch.zeros(HOPS, TIME, dtype=torch.float64)
    one[0, 2] = 1
    close(penalty(one), tensor(0.0))  # one hop that saw one token, two that saw none


def test_the_penalty_does_not_grow_with_the_batch():
    weights = distributions(BATCH, HOPS, TIME)
    close(penalty(weights.repeat(3, 1, 1))[:BATCH], penalty(weights))
    assert penalty(weights.half()).dtype == torch.float32


def test_slopes_are_the_numerical_ones():
    mask = key_mask(torch.tensor([TIME, 6]), TIME)

    def run(annotations, hidden_weight, hop_weight):
        found = structured_self(annotations, hidden_weight=hidden_weight, hop_weight=hop_weight, mask=mask)
        return found.context, penalty(found.weights)

    leaves = leaf(BATCH, TIME, D), *parameters().values()
    assert gradcheck(run, leaves, fast_mode=True)
    assert gradgradcheck(run, leaves, fast_mode=True)


@pytest.mark.usefixtures("unchecked")
def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match=r"weights must have shape \(\*batch, hop, time\), got shape \(5,\)"):
        penalty(torch.ones(5))
    with pytest.raises(ValueError, match="hops must be at least 1, got 0"):
        StructuredSelf(D, D_A, hops=0)
    with pytest.raises(ValueError, match="weight must have shape"):
        structured_self(randn(TIME, D), hidden_weight=randn(D_A, 2), hop_weight=randn(HOPS, D_A))


# --- two levels -------------------------------------------------------------------------------------------------------


def model(**options):
    return MultiLevelSelf(D, D_A, word_hops=3, sentence_hops=2, dtype=torch.float64, **options)


def multi_level_loop(bag, given):
    """A bag of sentences of vectors, none of them empty: its matrix, both penalties."""
    words = rows(given.pool_words.hidden_weight), rows(given.pool_words.hop_weight)
    read = [structured_loop(sentence, *words) for sentence in bag]
    laid = [[x for row in matrix for x in row] for matrix, _ in read]
    above = rows(given.pool_sentences.hidden_weight), rows(given.pool_sentences.hop_weight)
    matrix, weights = structured_loop(laid, *above)
    return matrix, weights, [penalty_loop(a) for _, a in read], penalty_loop(weights)


def test_two_levels_are_the_loop_on_ragged_bags():
    given, vectors = model(), randn(sum(WORDS), D)
    found = given(vectors, words=torch.tensor(WORDS), sentences=torch.tensor(SENTENCES))
    sentences = [rows(part) for part in vectors.split(WORDS)]
    first = multi_level_loop(sentences[:2], given)
    third = multi_level_loop([sentences[2], sentences[4]], given)
    close(found.sentences.context[0].detach(), tensor(first[0]))
    close(found.sentences.context[2].detach(), tensor(third[0]))
    assert not found.sentences.context[1].any()
    close(found.sentences.weights.detach()[:2].mT, tensor(first[1]))
    close(found.sentences.weights.detach()[[2, 4]].mT, tensor(third[1]))
    assert not found.sentences.weights[3].any()  # a sentence without a word
    wanted = [*first[2], third[2][0], 0.0, third[2][1]]
    close(found.word_penalty.detach(), tensor(wanted))
    close(found.sentence_penalty.detach(), tensor([first[3], 0.0, third[3]]))


def test_bags_do_not_know_of_each_other_nor_of_hidden_words():
    given, vectors = model(), leaf(sum(WORDS), D)
    mask = torch.ones(sum(WORDS), dtype=torch.bool)
    mask[[1, 6]] = False  # a word of the first sentence; the only one of the third
    spoilt = vectors.detach().clone()
    spoilt[~mask] = torch.nan
    spoilt.requires_grad_()
    whole = given(spoilt, words=torch.tensor(WORDS), sentences=torch.tensor(SENTENCES), mask=mask)
    kept = vectors[mask]
    alone = given(kept[:5], words=torch.tensor([3, 2]), sentences=torch.tensor([2]))
    close(whole.sentences.context[0], alone.sentences.context[0])
    assert not whole.sentences.weights[2].any()
    gradient = torch.autograd.grad(whole.sentences.context[0].sum(), spoilt)[0]
    close(gradient[mask], torch.autograd.grad(alone.sentences.context.sum(), vectors)[0][mask])
    assert not gradient[~mask].any()


def test_a_reader_sees_rows_without_padding_of_others():
    def read(rows, lengths):
        assert (lengths > 0).all()
        real = key_mask(lengths, rows.shape[1]).mT
        return torch.where(real, rows, 0.0).cumsum(1)

    given, vectors = model(), randn(sum(WORDS), D)
    pools = {"pool_words": given.pool_words, "pool_sentences": given.pool_sentences}
    counts = {"words": torch.tensor(WORDS), "sentences": torch.tensor(SENTENCES)}
    found = multi_level(vectors, **counts, **pools, read_words=read)
    summed = torch.cat([part.cumsum(0) for part in vectors.split(WORDS)])
    close(found.sentences.context, multi_level(summed, **counts, **pools).sentences.context)


@pytest.mark.parametrize(("words", "sentences"), [((), ()), ((), (0, 0)), ((0,), (1,))])
def test_nothing_at_all(words, sentences):
    counts = (torch.tensor(part, dtype=torch.long) for part in (words, sentences))
    found = model()(torch.zeros(0, D, dtype=torch.float64), **dict(zip(("words", "sentences"), counts, strict=True)))
    assert found.sentences.context.shape == (len(sentences), 2, 3 * D)
    assert not found.sentences.context.any()
    assert not found.sentence_penalty.any()


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"words": torch.tensor([4.0])}, TypeError, "words must be integer"),
        ({"words": torch.tensor([3])}, ValueError, "words must add up to the 4 that vectors has, got 3"),
        ({"sentences": torch.tensor([-1, 2])}, ValueError, "sentences must be at least 0, got -1"),
        ({"mask": torch.ones(3).bool()}, ValueError, r"one place for each of the 4 words, got \(3,\)"),
        ({"mask": torch.ones(4)}, TypeError, "mask must be boolean"),
    ],
)
def test_counts_that_do_not_add_up_are_named(change, error, message):
    with pytest.raises(error, match=message):
        model()(randn(4, D), **{"words": torch.tensor([4]), "sentences": torch.tensor([1]), **change})


# --- known wrong versions ---------------------------------------------------------------------------------------------


def gram(weights):
    return weights @ weights.mT - torch.eye(weights.shape[-2], dtype=weights.dtype)


def wrong(weights, fault):
    squared = gram(weights).square()
    if fault == "root":  # the norm in place of its square, as in a re-implementation
        return squared.sum((-2, -1)).sqrt()
    if fault == "mean":  # the mean over the entries in place of their sum, as in the authors' code
        return squared.mean((-2, -1))
    if fault == "batch":  # one norm over the whole batch: an example's penalty depends on its mates
        return squared.sum().expand(weights.shape[:-2])
    if fault == "no diagonal":
        return (squared - torch.diag_embed(squared.diagonal(dim1=-2, dim2=-1))).sum((-2, -1))
    # over the tokens in place of the hops
    other = weights.mT @ weights - torch.eye(weights.shape[-1], dtype=weights.dtype)
    return other.square().sum((-2, -1))


@pytest.mark.parametrize(
    ("fault", "check"),
    [
        ("root", check_golden),
        ("mean", check_golden),
        ("batch", check_each_example),
        ("no diagonal", check_single_hop),
        ("tokens", check_one_token),
    ],
)
def test_wrong_penalties_are_rejected(fault, check):
    with pytest.raises(AssertionError):
        check(functools.partial(wrong, fault=fault))


def test_the_mean_of_the_hops_is_one_hop():
    """A public re-implementation averages the hops: the matrix is then for nothing."""
    annotations, given = randn(BATCH, TIME, D), parameters()
    found = structured_self(annotations, **given)
    close(found.context.mean(-2), (found.weights.mean(-2, keepdim=True) @ annotations).squeeze(-2))
