"""Three kinds of disagreement: sums over all pairs of heads, numbers by hand, bounds, and wrong versions."""

import math

import pytest
import torch
from checks import close, leaf, randn
from oracles import rows, tensor
from torch.autograd import gradcheck, gradgradcheck

from attnlib.output_representations import disagreement
from attnlib.output_representations.multihead import MultiHead, multihead
from attnlib.output_representations.parts import split

BATCH, HEADS, TIME, SIZE = 2, 3, 5, 7


# --- the oracle: a plain loop over pairs of heads ---------------------------------------------------------------------


def cosine(a, b):
    lengths = math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(x * x for x in b))
    return sum(x * y for x, y in zip(a, b, strict=True)) / lengths if lengths else 0.0


def overlap(a, b):
    return sum(abs(x * y) for x, y in zip(a, b, strict=True))


def pair_loop(parts, alike, real):
    """One sentence, ``parts[head][t]`` a vector or a row of weights; ``real[t]``."""
    counted = [t for t in range(len(real)) if real[t]]
    total = 0.0
    for t in counted:
        for one in parts:
            for other in parts:
                total -= alike(one[t], other[t]) / len(parts) ** 2
    return total / len(counted) if counted else 0.0


KINDS = {
    "subspaces": (disagreement.of_subspaces, cosine),
    "positions": (disagreement.of_positions, overlap),
    "outputs": (disagreement.of_outputs, cosine),
}


def inputs(kind, seed=0):
    parts = randn(BATCH, HEADS, TIME, SIZE, seed=seed)
    return parts.softmax(-1) if kind == "positions" else parts


def some_mask():
    return torch.tensor([[True, True, False, True, False], [True, True, True, True, True]])


def check_value(of, kind):
    parts, alike = inputs(kind), KINDS[kind][1]
    for mask in (None, some_mask(), torch.tensor([[False] * TIME, [True] * TIME])):
        found = of(parts, mask=mask)
        shown = [[True] * TIME] * BATCH if mask is None else mask.tolist()
        close(found, tensor([pair_loop(rows(parts[b]), alike, shown[b]) for b in range(BATCH)]))


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_the_loop_over_pairs(kind):
    check_value(KINDS[kind][0], kind)


@pytest.mark.parametrize("kind", KINDS)
def test_slopes_are_the_numerical_ones(kind):
    parts = inputs(kind).requires_grad_()
    assert gradcheck(lambda x: KINDS[kind][0](x, mask=some_mask()), parts, fast_mode=True)
    assert gradgradcheck(lambda x: KINDS[kind][0](x, mask=some_mask()), parts, fast_mode=True)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_hidden_changes_nothing(kind):
    of, parts, mask = KINDS[kind][0], inputs(kind), some_mask()
    results = []
    for bad in (0.0, torch.nan, torch.inf, 1e300):
        spoilt = torch.where(mask[:, None, :, None], parts, bad).requires_grad_()
        found = of(spoilt, mask=mask)
        results.append((found, *torch.autograd.grad(found.sum(), spoilt)))
    for other in results[1:]:
        for got, wanted in zip(other, results[0], strict=True):
            close(got, wanted)
    close(of(parts[:1, :, [0, 1, 3]])[0], results[0][0][0])  # the padded sentence alone, without its padding


# --- by hand ----------------------------------------------------------------------------------------------------------

RIGHT, UP, LEFT = [1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]
BY_HAND = {
    # Heads as vectors of one item: cosine disagreement, whatever the lengths.
    "alike": ([RIGHT, RIGHT], -1.0),
    "alike, of other lengths": ([RIGHT, [5.0, 0.0]], -1.0),
    "at right angles": ([RIGHT, UP], -1 / 2),
    "opposite: one tells what the other does": ([RIGHT, LEFT], 0.0),
    "two alike and one across": ([RIGHT, RIGHT, UP], -5 / 9),
    "four at right angles, in twos opposite": ([RIGHT, UP, LEFT, [0.0, -1.0]], 0.0),
    "one head": ([[3.0, 4.0]], -1.0),
    "one has no direction": ([RIGHT, [0.0, 0.0]], -1 / 4),
}


@pytest.mark.parametrize(("heads", "wanted"), BY_HAND.values(), ids=BY_HAND)
@pytest.mark.parametrize("of", [disagreement.of_subspaces, disagreement.of_outputs])
def test_directions_by_hand(of, heads, wanted):
    found = of(torch.tensor(heads, dtype=torch.float64).unsqueeze(-2))
    close(found, torch.tensor(wanted, dtype=torch.float64))


MAPS = {
    "all at one key": ([[1.0, 0, 0, 0], [1.0, 0, 0, 0]], -1.0),
    "each at its own": ([[1.0, 0, 0, 0], [0, 1.0, 0, 0]], -1 / 2),
    "all even, so all alike": ([[0.25] * 4, [0.25] * 4], -1 / 4),
    "two halves, so apart": ([[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]], -1 / 4),
    "one head": ([[0.5, 0.5, 0, 0]], -1 / 2),
    "one head sees nothing": ([[1.0, 0, 0, 0], [0, 0, 0, 0]], -1 / 4),
}


@pytest.mark.parametrize(("heads", "wanted"), MAPS.values(), ids=MAPS)
def test_positions_by_hand(heads, wanted):
    found = disagreement.of_positions(torch.tensor(heads, dtype=torch.float64).unsqueeze(-2))
    close(found, torch.tensor(wanted, dtype=torch.float64))


@pytest.mark.parametrize("kind", KINDS)
def test_bounds(kind):
    """From -1 to 0, and of weights to -1 over the number of keys."""
    many = torch.stack([inputs(kind, seed) * size for seed, size in enumerate((1e-8, 1.0, 1.0, 1.0))])
    many = many.softmax(-1) if kind == "positions" else many
    found = KINDS[kind][0](many)
    assert (found >= -1).all()
    assert (found <= (-1 / SIZE + 1e-12 if kind == "positions" else 0)).all()


def test_self_pairs_are_a_constant_of_directions_but_not_of_weights():
    """Each head with itself: 1 / H of the directions, with no slope; of weights it presses each head to be even."""
    parts = leaf(BATCH, HEADS, TIME, SIZE)
    alone = torch.stack([disagreement.of_outputs(parts[:, h : h + 1]) for h in range(HEADS)])
    close(alone, -torch.ones_like(alone))
    assert torch.autograd.grad(alone.sum(), parts)[0].abs().max() < 1e-15
    energies = leaf(BATCH, 1, TIME, SIZE)
    before = disagreement.of_positions(energies.softmax(-1))
    slope = torch.autograd.grad(before.sum(), energies)[0]
    assert slope.abs().max() > 1e-3
    after = (energies + slope).softmax(-1)
    assert (after.amax(-1) < energies.softmax(-1).amax(-1)).all()


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_lengths_do_not_count(size):
    parts = inputs("outputs").float()
    torch.testing.assert_close(disagreement.of_outputs(size * parts), disagreement.of_outputs(parts))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_half_precision_is_computed_in_single(dtype, device):
    for kind, (of, _) in KINDS.items():
        parts = inputs(kind).to(device, dtype)
        found = of(parts, mask=some_mask().to(device))
        assert found.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
        torch.testing.assert_close(
            found.double(), of(parts.double(), mask=some_mask().to(device)), rtol=1e-6, atol=1e-6
        )


def test_nothing_to_agree_about():
    for shape in ((0, HEADS, TIME, SIZE), (BATCH, HEADS, 0, SIZE), (BATCH, HEADS, TIME, 0)):
        for of, _ in KINDS.values():
            found = of(torch.zeros(shape))
            assert found.shape == shape[:1]
            assert (found == 0).all()


def test_it_moves_a_layer_to_disagree():
    """Ten steps up the slope of each, and that number grows."""
    text = randn(BATCH, TIME, 12)
    for kind, (of, _) in KINDS.items():
        torch.manual_seed(0)
        layer = MultiHead(12, 3).double()

        def found(layer=layer, kind=kind, of=of):
            query, key, value = layer.project(text)
            result = multihead(query, key, value, heads=3)
            parts = {"subspaces": split(value, 3), "positions": result.weights, "outputs": split(result.context, 3)}
            return of(parts[kind]).mean()

        start = found().item()
        stepper = torch.optim.SGD(layer.parameters(), lr=0.3)
        for _ in range(10):
            stepper.zero_grad()
            (-found()).backward()
            stepper.step()
        assert found().item() > start + 1e-3


@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_named():
    parts = inputs("outputs")
    cases = [
        (
            TypeError,
            "context must be floating point, got dtype torch.int64",
            lambda: disagreement.of_outputs(parts.long()),
        ),
        (
            ValueError,
            r"value must have shape \(\*batch, heads, time, size\)",
            lambda: disagreement.of_subspaces(parts[0, 0]),
        ),
        (ValueError, "and a head", lambda: disagreement.of_positions(parts[:, :0])),
        (TypeError, "mask must be boolean", lambda: disagreement.of_outputs(parts, mask=torch.ones(BATCH, TIME))),
        (ValueError, "does not broadcast", lambda: disagreement.of_outputs(parts, mask=torch.ones(3, TIME).bool())),
    ]
    for error, message, call in cases:
        with pytest.raises(error, match=message):
            call()


# --- known wrong versions ---------------------------------------------------------------------------------------------


def spoilt(
    kind, *, sign=-1, pairs="all", one_plus=False, whole=False, absolute=False, sides=False, seen=False, of_batch=False
):
    def of(parts, *, mask=None):
        real = torch.ones(BATCH, TIME, dtype=torch.bool) if mask is None or seen else mask
        vectors = parts * real[:, None, :, None]
        if kind != "positions" or sides:
            size = vectors.norm(dim=(-2, -1) if whole else -1, keepdim=True)
            vectors = vectors / torch.where(size == 0, 1.0, size)
        table = torch.einsum("bgti,bhti->btgh", vectors, vectors)
        table = table.abs() if absolute else table
        count = real.sum(-1).clamp(min=1)
        if pairs == "others":
            table = table * (1 - torch.eye(HEADS).double())
        agreed = table.sum((-2, -1)) / (HEADS * (HEADS - 1) if pairs == "others" else HEADS**2)
        found = agreed.sum(-1) / (1 if whole or pairs == "sum" else count)
        found = found.mean().expand(BATCH) if of_batch else found
        return sign * found + one_plus

    return of


WRONG = {
    "to be made small": ("outputs", {"sign": 1}),
    "1 + the mean cosine, as the authors' loss": ("outputs", {"sign": 1, "one_plus": True}),
    "without a head and itself": ("outputs", {"pairs": "others"}),
    "one cosine of whole matrices": ("subspaces", {"whole": True}),
    "opposite counts as alike": ("outputs", {"absolute": True}),
    "weights made of length one": ("positions", {"sides": True}),
    "a sum over queries": ("positions", {"pairs": "sum"}),
    "padding counted": ("outputs", {"seen": True}),
    "one number a batch": ("subspaces", {"of_batch": True}),
}


@pytest.mark.parametrize(("kind", "fault"), WRONG.values(), ids=WRONG)
def test_wrong_versions_are_rejected(kind, fault):
    with pytest.raises(AssertionError):
        check_value(spoilt(kind, **fault), kind)


@pytest.mark.parametrize("kind", KINDS)
def test_the_unspoilt_version_passes(kind):
    check_value(spoilt(kind), kind)
