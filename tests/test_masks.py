"""Masks: equal to the loop."""

import functools

import checks
import pytest
import torch

from attnlib import masks

SIZE, HEADS = 6, 3  # torch wants the size divisible by the heads
close = functools.partial(torch.testing.assert_close, atol=1e-12, rtol=1e-10)


def test_key_mask():
    checks.check_key_mask(masks.key_mask)


def test_causal():
    checks.check_causal(masks.causal)
    assert torch.equal(masks.causal(3), masks.causal(3, 3))


def test_window():
    checks.check_window(masks.window)
    assert torch.equal(masks.window(4, left=None, right=1), masks.causal(4))


@pytest.mark.parametrize(("left", "right"), [(1, 1), (3, 1), (2, 4)])
def test_window_counts_the_visible_keys(left, right):
    """Away from the ends a query sees ``left + right - 1`` keys, its own among them."""
    row = masks.window(21, left=left, right=right)[10]
    assert row.sum() == left + right - 1
    assert row[10]


def test_key_mask_shapes_and_device(device):
    lengths = torch.tensor([[1, 2, 3], [0, 5, 4]], device=device)
    mask = masks.key_mask(lengths, 5)
    assert mask.shape == (2, 3, 1, 5)
    assert torch.equal(mask.sum((-1, -2)), lengths)
    assert masks.key_mask(torch.tensor(2, device=device), 5).tolist() == [[True, True, False, False, False]]
    for made in (masks.causal(2, 3, device=device), masks.window(2, 3, left=1, right=1, device=device), mask):
        assert made.device.type == device.type
        assert made.dtype == torch.bool


# --- bad input --------------------------------------------------------------------------------------------------------

BAD = {
    "list of lengths": (lambda: masks.key_mask([1, 3], 3), TypeError, "lengths must be a tensor, got list"),
    "no number of keys": (
        lambda: masks.key_mask(torch.tensor([1]), -1),
        ValueError,
        "n_key must be at least 0, got -1",
    ),
    "float lengths": (lambda: masks.key_mask(torch.tensor([1.0]), 3), TypeError, "lengths must be integer"),
    "bool lengths": (lambda: masks.key_mask(torch.tensor([True]), 3), TypeError, "lengths must be integer"),
    "alignment": (
        lambda: masks.causal(2, 3, alignment="left"),
        ValueError,
        "alignment must be 'upper-left' or 'lower-right', got 'left'",
    ),
    "window alignment": (lambda: masks.window(2, left=1, right=1, alignment="x"), ValueError, "alignment must be"),
    "left": (lambda: masks.window(2, left=0, right=1), ValueError, "left counts the query's own key .*, got 0"),
    "right": (lambda: masks.window(2, left=1, right=-1), ValueError, "right counts the query's own key .*, got -1"),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("call", "error", "message"), BAD.values(), ids=BAD)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()


# --- known wrong versions, each of which a check above rejects --------------------------------------------------------

WRONG_MASKS = {
    "one token too many": (checks.check_key_mask, lambda lengths, n: masks.key_mask(lengths + 1, n)),
    "padding for tokens": (checks.check_key_mask, lambda lengths, n: ~masks.key_mask(lengths, n)),
    "padding on the left": (checks.check_key_mask, lambda lengths, n: masks.key_mask(lengths, n).flip(-1)),
    "own key hidden": (checks.check_causal, lambda n, m, alignment: masks.causal(n, m, alignment=alignment).roll(1, 0)),
    "always upper-left": (checks.check_causal, lambda n, m, alignment: masks.causal(n, m)),
    "alignments exchanged": (
        checks.check_causal,
        lambda n, m, alignment: masks.causal(
            n, m, alignment={"upper-left": "lower-right", "lower-right": "upper-left"}[alignment]
        ),
    ),
    "the past for the future": (
        checks.check_causal,
        lambda n, m, alignment: masks.window(n, m, left=1, right=None, alignment=alignment),
    ),
    "window one too wide": (
        checks.check_window,
        lambda n, m, left, right, alignment: masks.window(
            n, m, left=left and left + 1, right=right and right + 1, alignment=alignment
        ),
    ),
    "window without its own key": (
        checks.check_window,
        lambda n, m, left, right, alignment: (
            masks.window(n, m, left=left, right=right, alignment=alignment)
            & ~masks.window(n, m, left=1, right=1, alignment=alignment)
        ),
    ),
    "sides exchanged": (
        checks.check_window,
        lambda n, m, left, right, alignment: masks.window(n, m, left=right, right=left, alignment=alignment),
    ),
    "window always upper-left": (
        checks.check_window,
        lambda n, m, left, right, alignment: masks.window(n, m, left=left, right=right),
    ),
}


@pytest.mark.parametrize(("check", "mutant"), WRONG_MASKS.values(), ids=WRONG_MASKS)
def test_wrong_mask_is_rejected(check, mutant):
    with pytest.raises(AssertionError):
        check(mutant)
