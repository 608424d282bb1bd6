"""Sinusoids, learned vectors, rotary and relative scores: loops, what only the distance decides, and wrong versions."""

import functools
import math

import pytest
import torch
from checks import close, leaf, randn
from oracles import rows, tensor
from torch.autograd import gradcheck

from attnlib import attend
from attnlib.input_representations.distances import RelativeKeys, relative, rotary, rotate
from attnlib.input_representations.positions import LearnedPositions, sinusoidal, token_positions, turns

BATCH, TIME, SIZE, BASE = 2, 5, 6, 100.0


# --- oracles ----------------------------------------------------------------------------------------------------------


def sinusoid_loop(position, size, base):
    made = []
    for i in range(size // 2):
        angle = position / base ** (2 * i / size)
        made += [math.sin(angle), math.cos(angle)]
    return made


def rotate_loop(vector, position, base):
    """As a product of complex numbers: pair ``i`` times the unit of its angle."""
    made = []
    for i in range(0, len(vector), 2):
        turned = complex(vector[i], vector[i + 1]) * complex(
            *reversed(sinusoid_loop(position, len(vector), base)[i : i + 2])
        )
        made += [turned.real, turned.imag]
    return made


def relative_loop(query, key, vectors):
    reach, energies = len(vectors) // 2, []
    for s, q in enumerate(query):
        row = []
        for t, k in enumerate(key):
            added = vectors[max(-reach, min(t - s, reach)) + reach]
            row.append(sum(a * (b + c) for a, b, c in zip(q, k, added, strict=True)) / math.sqrt(len(q)))
        energies.append(row)
    return energies


def check_sinusoids(make):
    places = torch.tensor([0, 1, 7, 100])
    close(
        make(places, SIZE, base=BASE, dtype=torch.float64),
        tensor([sinusoid_loop(p, SIZE, BASE) for p in places.tolist()]),
    )


def check_dot_depends_on_distance(make):
    """The matrix of inner products is one of Toeplitz, symmetric, with d / 2 on its diagonal."""
    made = make(torch.arange(TIME), SIZE, base=BASE, dtype=torch.float64)
    dots = made @ made.mT
    for distance in range(TIME):
        for offset in (distance, -distance):
            line = dots.diagonal(offset)
            close(line, line[:1].expand_as(line))
        wanted = sum(math.cos(distance / BASE ** (2 * i / SIZE)) for i in range(SIZE // 2))
        close(dots[0, distance], torch.tensor(wanted, dtype=torch.float64))


def check_rotation(turn):
    vectors, places = randn(BATCH, TIME, SIZE), torch.tensor([0, 1, 2, 3, 4])
    wanted = [[rotate_loop(v, p, BASE) for v, p in zip(one, places.tolist(), strict=True)] for one in rows(vectors)]
    close(turn(vectors, base=BASE), tensor(wanted))
    close(turn(vectors, base=BASE).norm(dim=-1), vectors.norm(dim=-1))


def check_energies_depend_on_distance(score):
    """The same vectors everywhere: energies of equal distances are equal; and of unlike ones they are not."""
    query, key = randn(1, SIZE).expand(TIME, SIZE), randn(1, SIZE, seed=1).expand(TIME, SIZE)
    energies = score(query, key)
    for offset in range(1 - TIME, TIME):
        line = energies.diagonal(offset)
        close(line, line[:1].expand_as(line))
    assert len({round(x, 9) for x in energies[2].tolist()}) == TIME
    assert not torch.allclose(energies, energies.mT)  # before and after are told apart


def some_vectors(reach=4):
    return randn(2 * reach + 1, SIZE, seed=3)


def check_relative(score):
    query, key, vectors = randn(BATCH, TIME, SIZE), randn(BATCH, 7, SIZE, seed=1), some_vectors(reach=2)
    wanted = [relative_loop(rows(q), rows(k), rows(vectors)) for q, k in zip(query, key, strict=True)]
    close(score(query, key, vectors=vectors), tensor(wanted))


@pytest.mark.parametrize(
    ("check", "function"),
    [
        (check_sinusoids, sinusoidal),
        (check_dot_depends_on_distance, sinusoidal),
        (check_rotation, rotate),
        (check_energies_depend_on_distance, functools.partial(rotary, base=BASE)),
        (check_energies_depend_on_distance, functools.partial(relative, vectors=some_vectors())),
        (check_relative, relative),
    ],
)
def test_positions(check, function):
    check(function)


def test_shifting_the_places_changes_no_energy_that_is_rotary():
    query, key = randn(TIME, SIZE), randn(TIME, SIZE, seed=1)
    places = torch.arange(TIME)
    shifted = [rotary(query, key, positions=places + shift) for shift in (0, 1, 1000)]
    close(shifted[1], shifted[0])
    torch.testing.assert_close(shifted[2], shifted[0], rtol=1e-9, atol=1e-9)


def test_rotary_is_scaled_dot_of_turned_vectors_and_at_place_nought_the_dot():
    query, key = randn(BATCH, TIME, SIZE), randn(BATCH, TIME, SIZE, seed=1)
    nought = torch.zeros(TIME)
    close(rotary(query, key, positions=nought), query @ key.mT / SIZE**0.5)
    close(rotary(query, key), rotate(query) @ rotate(key).mT / SIZE**0.5)
    close(rotary(query, key).diagonal(dim1=-2, dim2=-1), (query * key).sum(-1) / SIZE**0.5)  # distance nought


def test_a_later_sinusoid_is_an_earlier_one_turned():
    """Vaswani et al. 2017: for a fixed distance, a linear function. It is a rotation of cosine and sine."""
    made = sinusoidal(torch.arange(TIME + 3), SIZE, dtype=torch.float64)
    flipped = made.unflatten(-1, (-1, 2)).flip(-1).flatten(-2)
    close(rotate(flipped[:TIME], torch.full((TIME,), 3)), flipped[3:])


def test_relative_vectors_of_zero_change_nothing_and_one_vector_neither():
    """One added to every key alike shifts the energies of a query alike: the weights stay."""
    query, key = randn(TIME, SIZE), randn(TIME, SIZE, seed=1)
    close(relative(query, key, vectors=torch.zeros(3, SIZE).double()), query @ key.mT / SIZE**0.5)
    one = functools.partial(relative, vectors=some_vectors(reach=0))
    close(attend(query, key, score=one).weights, attend(query, key).weights)
    module = RelativeKeys(SIZE, reach=2).double()
    assert (module(query, key) == relative(query, key, vectors=module.vectors)).all()
    assert module.vectors.shape == (5, SIZE)


def test_relative_scores_are_translation_invariant():
    """A window of the items gives that window of the energies."""
    query, key, vectors = randn(11, SIZE), randn(11, SIZE, seed=1), some_vectors(reach=2)
    for score in (functools.partial(relative, vectors=vectors), rotary):
        torch.testing.assert_close(score(query, key)[3:8, 3:8], score(query[3:8], key[3:8]), rtol=1e-9, atol=1e-9)


def test_positions_count_real_tokens_wherever_padding_stands():
    real = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 0, 0], [1, 0, 1, 0, 1], [0, 0, 0, 0, 0]]).bool()
    places = token_positions(real)
    for row, wanted in ((0, [0, 1, 2]), (1, [0, 1, 2]), (2, [0, 1, 2]), (3, [])):
        assert places[row][real[row]].tolist() == wanted
    assert places.min() >= 0


def test_learned_positions_end():
    module = LearnedPositions(7, 3)
    assert torch.equal(module(torch.tensor([[0, 6]])), module.vectors[[0, 6]][None])
    for bad in ([7], [-1]):
        with pytest.raises(ValueError, match="positions must be from 0 to 6, got"):
            module(torch.tensor(bad))
    assert module(torch.zeros(0, dtype=torch.long)).shape == (0, 3)


def test_slopes_are_the_numerical_ones():
    leaves = leaf(TIME, SIZE), leaf(7, SIZE, seed=1), leaf(3, SIZE, seed=2)
    assert gradcheck(lambda q, k, a: relative(q, k, vectors=a), leaves, fast_mode=True)
    assert gradcheck(rotary, leaves[:2], fast_mode=True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_each_precision(dtype, device):
    """Far out, too: place 4097 is no number of half precision."""
    vectors = randn(TIME, SIZE, dtype=dtype, device=device)
    places = torch.arange(TIME, device=device) + 4097
    turned = rotate(vectors, places)
    assert turned.dtype == dtype
    torch.testing.assert_close(turned.double(), rotate(vectors.double(), places), atol=2e-2, rtol=2e-2)
    computed = torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype
    assert rotary(vectors, vectors).dtype == computed
    assert relative(vectors, vectors, vectors=torch.zeros(3, SIZE, dtype=dtype, device=device)).dtype == computed


def test_what_is_hidden_changes_nothing():
    """NaN, infinity and huge numbers, hidden from all and from some: contexts and gradients of the others stay."""
    query, key = randn(3, SIZE), randn(TIME, SIZE, seed=1)
    masks = torch.tensor([1, 1, 1, 0, 1]).bool().expand(3, TIME), torch.ones(3, TIME).tril(2).bool()
    for score in (rotary, functools.partial(relative, vectors=some_vectors(reach=1))):
        for mask in masks:
            for bad in (torch.nan, torch.inf, 1e308):
                found = []
                for spoil in (False, True):
                    keys = key.clone()
                    hidden = 3 if not mask[:, 3].any() else 4
                    if spoil:
                        keys[hidden] = bad
                    leaves = query.clone().requires_grad_(), keys.requires_grad_()
                    context = attend(*leaves, key, score=score, mask=mask).context[:2]
                    found.append([context, *torch.autograd.grad(context.sum(), leaves)])
                for got, wanted in zip(*found, strict=True):
                    close(got, wanted)


@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_named():
    query = randn(TIME, SIZE)
    cases = [
        (
            ValueError,
            "size must be even and at least 2, for components go in pairs, got 3",
            lambda: turns(torch.arange(2), 3),
        ),
        (ValueError, "base must be above 0, got 0", lambda: sinusoidal(torch.arange(2), 4, base=0)),
        (TypeError, "positions must be a tensor, got int", lambda: sinusoidal(5, 4)),
        (TypeError, "vectors must be floating point", lambda: rotate(query.long())),
        (ValueError, "positions must be one for each of 5 vectors, got 4", lambda: rotate(query, torch.arange(4))),
        (ValueError, "key has d_k=4 but query has d_k=6", lambda: rotary(query, query[:, :4])),
        (ValueError, "odd number of rows", lambda: relative(query, query, vectors=randn(4, SIZE))),
        (
            ValueError,
            r"vectors must have shape \(distances=3, d_k=6\)",
            lambda: relative(query, query, vectors=randn(3, 5)),
        ),
        (ValueError, "reach must be at least 0, got -1", lambda: RelativeKeys(4, reach=-1)),
        (TypeError, "positions must be whole numbers", lambda: LearnedPositions(3, 2)(torch.zeros(1))),
        (TypeError, "mask must be boolean", lambda: token_positions(torch.ones(3))),
    ]
    for error, message, call in cases:
        with pytest.raises(error, match=message):
            call()


# --- known wrong versions ---------------------------------------------------------------------------------------------


def halves(vectors, positions=None, *, base):
    """Component i goes with i + d / 2, which much code does."""
    order = torch.arange(SIZE).view(2, -1).mT.flatten()
    turned = rotate(vectors[..., order], positions, base=base)
    return turned[..., order.argsort()]


def only_keys(query, key):
    return query @ rotate(key, base=BASE).mT / SIZE**0.5


def added(query, key):
    places = sinusoidal(torch.arange(TIME), SIZE, base=BASE, dtype=torch.float64)
    return (query + places) @ (key + places).mT / SIZE**0.5


def one_speed(positions, size, *, base, dtype=None):
    return torch.stack([positions.sin(), positions.cos()], -1).repeat(1, size // 2).to(dtype)


def exponent_halved(positions, size, *, base, dtype):
    return sinusoidal(positions, size, base=base**0.5, dtype=dtype)


def sines_without_cosines(positions, size, *, base, dtype):
    return turns(positions, size, base=base).sin().repeat_interleave(2, -1).to(dtype)


def backwards(query, key, *, vectors):
    return relative(query, key, vectors=vectors.flip(0))


def unscaled_bias(query, key, *, vectors):
    return relative(query, key, vectors=vectors * SIZE**0.5)


WRONG = {
    "halves for neighbours": (check_rotation, halves),
    "turned the other way": (check_rotation, lambda v, base: rotate(v, -torch.arange(TIME), base=base)),
    "only the keys are turned": (check_energies_depend_on_distance, only_keys),
    "places are added": (check_energies_depend_on_distance, added),
    "distance without before and after": (
        check_energies_depend_on_distance,
        lambda q, k: q @ k.mT - (torch.arange(TIME) - torch.arange(TIME)[:, None]).abs(),
    ),
    "one speed": (check_sinusoids, one_speed),
    "i for 2i": (check_sinusoids, exponent_halved),
    "sines without cosines": (check_dot_depends_on_distance, sines_without_cosines),
    "before for after": (check_relative, backwards),
    "the vectors' part is not scaled": (check_relative, unscaled_bias),
}


@pytest.mark.parametrize(("check", "mutant"), WRONG.values(), ids=WRONG)
def test_wrong_versions_are_rejected(check, mutant):
    with pytest.raises(AssertionError):
        check(mutant)


def test_halves_are_neighbours_in_another_order():
    """Not wrong in itself: the energies are those of vectors whose components stand in another order."""
    query, key = randn(TIME, SIZE), randn(TIME, SIZE, seed=1)
    order = torch.arange(SIZE).view(2, -1).mT.flatten()
    wanted = halves(query, base=BASE) @ halves(key, base=BASE).mT / SIZE**0.5
    close(rotary(query[:, order], key[:, order], base=BASE), wanted)
    assert not torch.allclose(rotary(query, key, base=BASE), wanted)
