"""Levels of a question: a loop over windows, words that are hidden, and known wrong versions."""

import math

import pytest
import torch
from checks import close, leaf, randn
from oracles import plus, rows, tensor, times
from torch.autograd import gradcheck

from attnlib.input_representations.phrases import QuestionHierarchy, phrases

BATCH, WORD, D, D_PHRASE = 2, 5, 7, 3


def phrases_loop(words, kernels):
    """Section 3.2 of Lu et al., for one question; ``kernels[s][place]`` is a matrix."""
    found = []
    for t in range(len(words)):
        sums = []
        for kernel in kernels:
            total = [0.0] * len(kernel[0])
            for place, matrix in enumerate(kernel):
                if t + place < len(words):
                    total = plus(total, times(matrix, words[t + place]))
            sums.append([math.tanh(x) for x in total])
        found.append([max(column) for column in zip(*sums, strict=True)])
    return found


def kernels():
    return [leaf(D_PHRASE, D, length, seed=length) for length in (1, 2, 3)]


def matrices(given):
    return [[rows(kernel[..., place]) for place in range(kernel.shape[-1])] for kernel in given]


def check_value(function):
    words, given = randn(BATCH, WORD, D), kernels()
    found = function(words, given)
    for one, got in zip(words, found, strict=True):
        close(got.detach(), tensor(phrases_loop(rows(one), matrices(given))))


def check_padding(function):
    """Padding at the end counts as zeros, whatever stands there."""
    words, given = randn(BATCH, WORD, D), kernels()
    mask = torch.arange(WORD) < torch.tensor([[2], [4]])
    spoilt = torch.where(mask.unsqueeze(-1), words, math.nan).requires_grad_()
    found = function(spoilt, given, mask=mask)
    assert not found[~mask].any()
    for b, length in enumerate((2, 4)):
        close(found[b, :length].detach(), tensor(phrases_loop(rows(words[b, :length]), matrices(given))))
    assert all(slope.isfinite().all() for slope in torch.autograd.grad(found.sum(), [spoilt, *given]))


@pytest.mark.parametrize("check", [check_value, check_padding])
def test_phrases(check):
    check(phrases)


def test_phrases_longer_than_the_question_and_none():
    given = kernels()
    one = randn(1, 1, D)
    close(phrases(one, given)[0].detach(), tensor(phrases_loop(rows(one[0]), matrices(given))))
    assert phrases(one[:, :0], given).shape == (1, 0, D_PHRASE)
    assert phrases(randn(0, 3, WORD, D), given).shape == (0, 3, WORD, D_PHRASE)


def test_slopes_are_the_numerical_ones():
    mask = torch.tensor([[1, 1, 0, 1, 0], [1, 1, 1, 1, 1]]).bool()
    run = lambda words, *given: phrases(words, given, mask=mask)  # noqa: E731
    assert gradcheck(run, (leaf(BATCH, WORD, D), *kernels()), fast_mode=True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single(dtype):
    words, given = randn(BATCH, WORD, D, dtype=dtype), [kernel.detach().to(dtype) for kernel in kernels()]
    wanted = phrases(words.double(), [kernel.double() for kernel in given])
    found = phrases(words, given)
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), wanted, atol=torch.finfo(dtype).eps, rtol=0)


def hierarchy():
    return QuestionHierarchy(D).double()


def test_levels_are_words_phrases_and_a_recurrent_network_over_them():
    module, words = hierarchy(), randn(BATCH, WORD, D)
    levels = module(words)
    assert torch.equal(levels.word, words)
    close(levels.phrase, phrases(words, list(module.kernels)))
    close(levels.question, module.recurrent(levels.phrase)[0])
    close(module(words, torch.ones(BATCH, WORD).bool()).question, levels.question)


def test_hidden_words_are_as_if_they_had_not_been_given():
    """At the end, at the beginning, in between, and all; NaN stands there; batch mates change nothing."""
    module, words = hierarchy(), randn(4, WORD, D)
    mask = torch.tensor([[1, 1, 1, 0, 0], [0, 0, 1, 1, 1], [1, 0, 1, 0, 1], [0, 0, 0, 0, 0]]).bool()
    spoilt = torch.where(mask.unsqueeze(-1), words, math.nan).requires_grad_()
    levels = module(spoilt, mask)
    for b in range(3):
        alone = module(words[b : b + 1, mask[b]])
        for got, want in zip(levels, alone, strict=True):
            close(got[b, mask[b]], want[0])
    for level in levels:
        assert not level[~mask].any()
    slopes = torch.autograd.grad(sum(level.sum() for level in levels), spoilt)[0]
    assert slopes.isfinite().all()
    assert not slopes[~mask].any()


def test_no_words():
    for level in hierarchy()(randn(BATCH, 0, D), torch.ones(BATCH, 0).bool()):
        assert level.shape == (BATCH, 0, D)
    assert hierarchy()(randn(BATCH, 0, D)).question.shape == (BATCH, 0, D)


@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_named():
    words, given = randn(BATCH, WORD, D), kernels()
    cases = [
        (ValueError, "kernels must be at least 1, got 0", lambda: phrases(words, [])),
        (ValueError, r"kernels\[1\] must have shape \(d_phrase=3, d=7, length\)", lambda: phrases(
            words, [given[0], given[1][:2]])),
        (ValueError, r"mask must broadcast to \(2, 5\)", lambda: phrases(words, given, mask=torch.ones(2, 4).bool())),
        (TypeError, "words must be floating point", lambda: phrases(words.long(), given)),
        (TypeError, "mask must be boolean", lambda: hierarchy()(words, torch.ones(2, 5))),
        (ValueError, r"mask must have shape \(2, 5\)", lambda: hierarchy()(words, torch.ones(5).bool())),
        (ValueError, "longest must be at least 1, got 0", lambda: QuestionHierarchy(D, 0)),
    ]  # fmt: skip
    for error, message, call in cases:
        with pytest.raises(error, match=message):
            call()


# --- known wrong versions ---------------------------------------------------------------------------------------------


def spoilt(fault=""):
    def run(words, given, mask=None):
        if mask is not None and fault != "padding is read":
            words = torch.where(mask.unsqueeze(-1), words, 0.0)
        found = []
        for kernel in given:
            length = kernel.shape[-1]
            before = length - 1 if fault == "windows end at the word" else 0
            padded = torch.nn.functional.pad(words.mT, (before, length - 1 - before))
            kernel = kernel.flip(-1) if fault == "backwards" else kernel
            found.append(torch.nn.functional.conv1d(padded, kernel).mT.tanh())
        found = torch.stack(found).mean(0) if fault == "a mean for the maximum" else torch.stack(found).amax(0)
        return found if mask is None else torch.where(mask.unsqueeze(-1), found, 0.0)

    return run


FAULTS = {
    "windows end at the word": check_value,
    "backwards": check_value,
    "a mean for the maximum": check_value,
    "padding is read": check_padding,
}


@pytest.mark.parametrize(("fault", "check"), FAULTS.items(), ids=FAULTS)
def test_wrong_versions_are_rejected(fault, check):
    with pytest.raises(AssertionError):
        check(spoilt(fault))


def test_the_unspoilt_version_passes():
    check_value(spoilt())
    check_padding(spoilt())
