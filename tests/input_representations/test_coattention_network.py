"""The network around co-attention: its fusion by a loop, its modules are the functions, padding changes nothing."""

import math

import pytest
import torch
from checks import close, leaf, randn
from oracles import rows, tensor, times
from torch.autograd import gradcheck

from attnlib.input_representations import coattention
from attnlib.input_representations.coattention_network import (
    AlternatingCoAttention,
    HierarchicalCoAttention,
    ParallelCoAttention,
    PhraseCoAttention,
    fuse,
)
from attnlib.input_representations.phrases import phrases

BATCH, REGION, WORD, D, D_FIRST, D_LAST = 2, 5, 3, 7, 11, 13
N_WORDS, N_ANSWERS = 17, 19
KINDS = [ParallelCoAttention, AlternatingCoAttention]


def fuse_loop(levels, weights):
    """Eq. 7 of Lu et al. for one example."""
    found = []
    for level, weight in zip(levels, weights, strict=True):
        found = [math.tanh(x) for x in times(weight, level + found)]
    return found


def check_fuse(function):
    levels = [leaf(BATCH, D, seed=n) for n in range(3)]
    weights = [leaf(D_FIRST, D), leaf(D_FIRST, D + D_FIRST, seed=1), leaf(D_LAST, D + D_FIRST, seed=2)]
    found = function(levels, weights)
    for b in range(BATCH):
        close(found[b].detach(), tensor(fuse_loop([rows(level[b]) for level in levels], [*map(rows, weights)])))
    assert gradcheck(lambda *given: function(given[:3], given[3:]), (*levels, *weights), fast_mode=True)


def test_fuse():
    check_fuse(fuse)


def wrong(fault):
    def run(levels, weights):
        found = levels[0].new_zeros(BATCH, 0)
        for level, weight in zip(levels, weights, strict=True):
            given = torch.cat([found, level] if fault == "the lower level first" else [level, found], -1)
            found = given @ weight.mT if fault == "no tanh" else torch.tanh(given @ weight.mT)
        return found

    return run


@pytest.mark.parametrize("fault", ["the lower level first", "no tanh"])
def test_wrong_fusions_are_rejected(fault):
    check_fuse(wrong(""))
    with pytest.raises(AssertionError):
        check_fuse(wrong(fault))


def test_modules_are_the_functions():
    image, question, given = randn(BATCH, REGION, D), randn(BATCH, WORD, D_FIRST), {"question_mask": MASK}
    module = ParallelCoAttention(D, D_FIRST, D_LAST).double()
    wanted = coattention.parallel(image, question, **dict(module.named_parameters()), **given)
    for got, want in zip(module(image, question, **given)[:2], wanted[:2], strict=True):
        assert torch.equal(got.weights, want.weights)
    assert sum(parameter.numel() for parameter in module.parameters()) == D * D_FIRST + D_LAST * (D + D_FIRST + 2)
    turns = AlternatingCoAttention(D, D_FIRST, D_LAST).double()
    result = turns(image, question, **given)
    assert all(not each.weights[..., ~MASK[0]].any() for each in (result.summary, result.question))
    slopes = torch.autograd.grad(result.question.context.square().sum(), list(turns.parameters()))
    assert all(slope.any() for slope in slopes)


MASK = torch.tensor([[1, 0, 1]]).bool().expand(BATCH, WORD)


def network(kind):
    torch.manual_seed(0)
    return HierarchicalCoAttention(N_WORDS, D, N_ANSWERS, kind).double()


@pytest.mark.parametrize("kind", KINDS)
def test_the_network_is_its_parts(kind):
    module, image = network(kind), randn(BATCH, REGION, D)
    question = torch.arange(BATCH * WORD).view(BATCH, WORD)
    reading = module(image, question)
    levels = module.hierarchy(module.embedding(question))
    sums = [
        (found.image.context + found.question.context)[:, 0]
        for found in (each(image, level) for each, level in zip(module.attention, levels, strict=True))
    ]
    close(reading.scores, module.answer(fuse(sums, list(module.fusion))))
    slopes = torch.autograd.grad(reading.scores.square().sum(), list(module.parameters()))
    assert all(slope.any() for slope in slopes)  # each level and each turn has a part in the answer


@pytest.mark.parametrize("kind", KINDS)
def test_padding_and_batch_mates_change_nothing(kind):
    """Words before, between and after, regions that are NaN; one word alone; a question without an image, and none."""
    module = network(kind)
    image, question = randn(4, REGION, D), torch.arange(4 * WORD).view(4, WORD)
    words = torch.tensor([[1, 1, 0], [0, 0, 1], [1, 0, 1], [0, 0, 0]]).bool()
    regions = torch.tensor([[1, 1, 1, 1, 1], [0, 1, 0, 1, 1], [0, 0, 0, 0, 0], [1, 0, 0, 0, 0]]).bool()
    spoilt = torch.where(regions.unsqueeze(-1), image, math.nan)
    scores = module(spoilt, question, regions, words).scores
    for b in range(4):
        alone = module(image[b : b + 1, regions[b]], question[b : b + 1, words[b]]).scores
        close(scores[b], alone[0])
        close(module(image[b : b + 1], question[b : b + 1], regions[b : b + 1], words[b : b + 1]).scores[0], scores[b])
    assert scores.isfinite().all()
    assert (scores[1:] - scores[:1]).abs().amax(1).min() > 1e-4


@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_named():
    levels, weight = [randn(BATCH, D)], randn(D, D)
    cases = [
        ("weights must be one a level, at least 1, got 0 for 0 levels", lambda: fuse([], [])),
        ("weights must be one a level, at least 1, got 2 for 1 levels", lambda: fuse(levels, [weight, weight])),
        (r"weights\[1\] must have shape \(d_next=7, d_given=14\)", lambda: fuse(2 * levels, [weight, weight])),
    ]
    for message, call in cases:
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize("kind", KINDS)
def test_one_level_is_its_parts_and_does_not_feel_padding(kind):
    torch.manual_seed(0)
    module, image = PhraseCoAttention(N_WORDS, D, N_ANSWERS, kind).double(), randn(BATCH, REGION, D)
    question = torch.arange(BATCH * WORD).view(BATCH, WORD)
    reading = module(image, question)
    found = module.attention(image, phrases(module.embedding(question), list(module.kernels)))
    total = (found.image.context + found.question.context)[:, 0]
    close(reading.scores, module.answer(torch.tanh(total @ module.fusion.mT)))
    padded, mask = torch.cat([question, question], 1), torch.arange(2 * WORD).expand(BATCH, -1) < WORD
    close(module(image, padded, None, mask).scores, reading.scores)
    assert (module(image, padded).scores - reading.scores).abs().max() > 1e-4
