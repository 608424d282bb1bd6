"""Selective tuning: against plain loops, interference that falls, a bias, the soft beam, known wrong versions."""

import functools
import itertools
import math

import pytest
import torch
from checks import close, randn

from attnlib.brain import selective_tuning as module
from attnlib.brain.selective_tuning import Layer, beam, feed_forward, selective_tuning

# --- the oracle: units by name, their inputs as a list ----------------------------------------------------------------


def units(shape):
    return itertools.product(*map(range, shape))


def inputs_of(unit, layer, below):
    """``(input, weight)`` of all inputs of a unit."""
    o, i, j = unit
    _, channels, tall, wide = layer.weight.shape
    for c, a, b in units((channels, tall, wide)):
        at = c, i * layer.stride + a, j * layer.stride + b
        assert at in below
        yield at, float(layer.weight[o, c, a, b])


def shape_above(shape, layer):
    _, height, width = shape
    o, _, tall, wide = layer.weight.shape
    return o, (height - tall) // layer.stride + 1, (width - wide) // layer.stride + 1


def responses_loop(image, layers, inhibited=None):
    shape = tuple(image.shape)
    found = [{unit: float(image[unit]) for unit in units(shape)}]
    for level in range(len(layers) + 1):
        if level:
            shape = shape_above(shape, layers[level - 1])
            below = found[-1]
            found.append(
                {
                    unit: sum(weight * below[at] for at, weight in inputs_of(unit, layers[level - 1], below))
                    for unit in units(shape)
                }
            )
        if inhibited:
            found[-1] = {unit: 0.0 if unit in inhibited[level] else number for unit, number in found[-1].items()}
    return found


def selective_tuning_loop(image, layers, bias=None, share=1.0):
    first = responses_loop(image, layers)
    wants = {unit: number * (1.0 if bias is None else float(bias[unit])) for unit, number in first[-1].items()}
    winner = max(wants, key=wants.get)
    zone = {winner} if wants[winner] > 0 else set()
    passes, inhibited = [zone], [set()]
    for layer, below in zip(layers[::-1], first[-2::-1], strict=True):
        passing, reached = set(), set()
        for unit in passes[0]:
            gives = {at: weight * below[at] for at, weight in inputs_of(unit, layer, below)}
            most = max(gives.values())
            reached |= set(gives)
            passing |= {at for at, number in gives.items() if number >= share * most and most > 0}
        passes.insert(0, passing)
        inhibited.insert(0, reached - passing)
    return first, responses_loop(image, layers, inhibited), winner if zone else (-1, -1, -1), passes, inhibited


SHAPE = (2, 11, 13)


def some_layers(seed=0):
    """Two layers of positive weights and one in which some are negative."""
    return [
        Layer(randn(3, 2, 3, 2, seed=seed).abs(), stride=1),
        Layer(randn(2, 3, 2, 3, seed=seed).abs(), stride=2),
        Layer(randn(3, 2, 3, 2, seed=seed) + 0.5, stride=1),
    ]


def some_images(count=3, seed=0):
    return randn(count, *SHAPE, seed=seed).abs()


# --- checks: what the right function satisfies and each mutant below must not -----------------------------------------


TOP = functools.reduce(shape_above, some_layers(), SHAPE)
SETTINGS = ((1.0, None), (0.6, None), (0.05, randn(*TOP, seed=3).abs()), (1.0, randn(*TOP, seed=3).abs()))


def as_tensors(levels, like, kind):
    """What the loop says of each unit, as tensors: its number, or whether it is in the zone."""
    return [
        torch.tensor([kind(level, unit) for unit in units(part.shape)]).to(part.dtype).reshape(part.shape)
        for level, part in zip(levels, like, strict=True)
    ]


@functools.cache
def wanted(b, setting):
    """The loop's answer, made once for all that are compared with it."""
    share, bias = SETTINGS[setting]
    image = some_images()[b]
    first, second, winner, passes, inhibited = selective_tuning_loop(image, some_layers(), bias, share)
    like = feed_forward(image, some_layers())
    zones = [torch.zeros_like(part, dtype=torch.bool) for part in like]

    def number(level, unit):
        return torch.tensor(level[unit], dtype=torch.float64)

    return (
        as_tensors(first, like, number),
        as_tensors(second, like, number),
        winner,
        as_tensors(passes, zones, lambda level, unit: unit in level),
        as_tensors(inhibited, zones, lambda level, unit: unit in level),
    )


def check_value(function):
    for setting, (share, bias) in enumerate(SETTINGS):
        found = function(some_images(), some_layers(), bias=bias, share=share)
        for b in range(3):
            first, second, winner, passes, inhibited = wanted(b, setting)
            assert found.winner[b].tolist() == list(winner)
            for got, want in ((found.first, first), (found.second, second)):
                for part, expected in zip(got, want, strict=True):
                    close(part[b], expected)
            for got, want in ((found.passes, passes), (found.inhibited, inhibited)):
                for part, expected in zip(got, want, strict=True):
                    assert torch.equal(part[b], expected)


def target_and_distractor(target=1.0, distractor=0.6):
    """A bar of three and a weaker one beside it, in one window of a pyramid that averages; and the layers."""
    image = torch.zeros(1, 16, 16, dtype=torch.float64)
    image[0, 4, 2:5] = target
    image[0, 1, 6] = image[0, 6, 6] = distractor
    kernel = torch.full((1, 1, 2, 2), 0.25, dtype=torch.float64)
    return image, [Layer(kernel, stride=2), Layer(kernel, stride=2), Layer(kernel, stride=2)]


def check_no_interference(function):
    """In the second pass the winner answers as it would to the target alone."""
    image, _ = target_and_distractor()
    alone, _ = target_and_distractor(distractor=0.0)
    layers = [Layer(torch.full((1, 1, 8, 8), 1.0, dtype=torch.float64), stride=8)]
    found = function(image, layers, share=0.9)
    undisturbed = feed_forward(alone, layers)[-1][tuple(found.winner)]
    assert found.first[-1][tuple(found.winner)] > undisturbed + 1
    close(found.second[-1][tuple(found.winner)], undisturbed)
    assert (found.second[0] == alone).all()


CHECKS = [check_value, check_no_interference]


@pytest.mark.parametrize("check", CHECKS)
def test_selective_tuning(check):
    check(selective_tuning)


def test_interference_falls_in_a_deep_pyramid_too():
    image, layers = target_and_distractor()
    alone, _ = target_and_distractor(distractor=0.0)
    found = selective_tuning(image, layers, share=0.7)
    at = tuple(found.winner)
    undisturbed = feed_forward(alone, layers)[-1][at]
    assert found.first[-1][at] > 1.3 * undisturbed
    close(found.second[-1][at], undisturbed)


# --- known wrong versions ---------------------------------------------------------------------------------------------


def with_spread(change):
    """The trace with its windows changed on the way down."""

    def mutant(*args, **options):
        with pytest.MonkeyPatch.context() as patch:
            spread = module._spread
            patch.setattr(module, "_spread", lambda windows, below, layer: change(spread(windows, below, layer)))
            return selective_tuning(*args, **options)

    return mutant


def with_contributions(change):
    def mutant(*args, **options):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "_contributions", change(module._contributions))
            return selective_tuning(*args, **options)

    return mutant


def second_pass(zones):
    def mutant(image, layers, **options):
        found = selective_tuning(image, layers, **options)
        return found._replace(second=feed_forward(image, layers, inhibited=zones(found)))

    return mutant


def unweighted(right):
    return lambda below, layer: right(below, Layer(torch.ones_like(layer.weight), layer.stride))


def biased_responses(image, layers, *, bias=None, **options):
    found = selective_tuning(image, layers, bias=bias, **options)
    return found if bias is None else found._replace(first=(*found.first[:-1], found.first[-1] * bias))


def strongest_of_each_channel(image, layers, **options):
    found = selective_tuning(image, layers, **options)
    return found._replace(passes=(*found.passes[:-1], found.first[-1] == found.first[-1].amax((-2, -1), keepdim=True)))


MUTANTS = {
    "the trace takes the window beside": with_spread(lambda found: found.roll(1, -1)),
    "the trace takes the window above": with_spread(lambda found: found.roll(-1, -2)),
    "the largest input, not the largest contribution": with_contributions(unweighted),
    "the pass zone is inhibited": second_pass(lambda found: found.passes),
    "all but the pass zone is inhibited": second_pass(lambda found: [~part for part in found.passes]),
    "nothing is inhibited": second_pass(lambda found: None),
    "the image alone is gated": second_pass(
        lambda found: [found.inhibited[0], *(torch.zeros_like(part) for part in found.inhibited[1:])]
    ),
    "the image is not gated": second_pass(lambda found: [torch.zeros_like(found.inhibited[0]), *found.inhibited[1:]]),
    "the bias changes responses": biased_responses,
    "no bias": lambda image, layers, *, bias=None, **options: selective_tuning(image, layers, **options),
    "a winner of each channel": strongest_of_each_channel,
    "all that is positive passes": lambda image, layers, *, share, **options: selective_tuning(
        image, layers, share=1e-9, **options
    ),
}


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=MUTANTS)
def test_mutants_are_rejected(mutant):
    with pytest.raises(AssertionError):
        check_value(mutant)


@pytest.mark.parametrize("name", ["nothing is inhibited", "all that is positive passes", "the image is not gated"])
def test_mutants_show_in_the_interference(name):
    with pytest.raises(AssertionError):
        check_no_interference(MUTANTS[name])


# --- properties -------------------------------------------------------------------------------------------------------


def test_a_bias_turns_to_the_weaker_one():
    image = torch.zeros(1, 4, 8)
    image[0, 1, 1], image[0, 2, 6] = 1.0, 0.5
    layers = [Layer(torch.ones(1, 1, 2, 2), stride=2)]
    assert selective_tuning(image, layers).winner.tolist() == [0, 0, 0]
    bias = torch.tensor([1.0, 1.0, 1.0, 3.0]).view(1, 1, 4)
    focused = selective_tuning(image, layers, bias=bias)
    assert focused.winner.tolist() == [0, 1, 3]
    assert focused.passes[0].nonzero().tolist() == [[0, 2, 6]]


def test_zones_are_apart_and_the_rest_is_as_it_was():
    found = selective_tuning(some_images(), some_layers(), share=0.5)
    for passing, inhibited in zip(found.passes, found.inhibited, strict=True):
        assert not (passing & inhibited).any()
        assert passing.flatten(1).any(-1).all()
    untouched = ~found.passes[0] & ~found.inhibited[0]
    assert torch.equal(found.second[0][untouched], found.first[0][untouched])
    assert (found.second[0][found.inhibited[0]] == 0).all()
    assert not found.inhibited[-1].any()


def test_no_winner_no_zones():
    image = torch.stack([torch.zeros(SHAPE), torch.ones(SHAPE)]).double()
    layers = some_layers()
    found = selective_tuning(image, [*layers[:2], Layer(layers[2].weight.abs())])
    assert found.winner[0].tolist() == [-1, -1, -1]
    assert found.winner[1].min() >= 0
    for first, second, passing, inhibited in zip(*found[:2], *found[3:], strict=True):
        assert not passing[0].any()
        assert not inhibited[0].any()
        assert torch.equal(first[0], second[0])


def test_batches():
    images = some_images(6).reshape(2, 3, *SHAPE)
    together = selective_tuning(images, some_layers(), share=0.7)
    assert together.winner.shape == (2, 3, 3)
    for i, j in itertools.product(range(2), range(3)):
        alone = selective_tuning(images[i, j], some_layers(), share=0.7)
        assert together.winner[i, j].tolist() == alone.winner.tolist()
        for name in ("first", "second", "passes", "inhibited"):
            for whole, part in zip(getattr(together, name), getattr(alone, name), strict=True):
                torch.testing.assert_close(whole[i, j], part)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_each_device_and_precision(device, dtype):
    layers = [Layer(layer.weight.to(device, dtype), layer.stride) for layer in some_layers()]
    found = selective_tuning(some_images().to(device, dtype), layers, share=0.7)
    wanted = selective_tuning(some_images(), some_layers(), share=0.7)
    assert found.winner.tolist() == wanted.winner.tolist()
    assert found.second[-1].dtype == dtype
    torch.testing.assert_close(found.second[-1].double().cpu(), wanted.second[-1], rtol=1e-4, atol=1e-5)


def test_one_pixel_and_one_unit():
    found = selective_tuning(torch.ones(1, 1, 1), [Layer(torch.ones(1, 1, 1, 1))])
    assert found.winner.tolist() == [0, 0, 0]
    assert found.passes[0].all()


# --- derivatives, and the soft beam -----------------------------------------------------------------------------------


def test_responses_have_their_gradient_and_the_choice_has_none():
    image, layers = some_images(1)[0].requires_grad_(), some_layers()
    weights = [layer.weight.requires_grad_() for layer in layers]

    def run(image, *weights):
        made = [Layer(weight, layer.stride) for weight, layer in zip(weights, layers, strict=True)]
        return selective_tuning(image, made, share=0.7).second[-1]

    assert torch.autograd.gradcheck(run, (image, *weights), fast_mode=True)
    found = selective_tuning(image, layers, share=0.7)
    (slope,) = torch.autograd.grad(found.second[-1][tuple(found.winner)], image)
    assert (slope[found.inhibited[0]] == 0).all()
    assert (slope[found.passes[0]] != 0).any()


def beam_loop(image, layers, temperature):
    first = responses_loop(image, layers)

    def softmax(numbers):
        most = max(numbers.values())
        powers = {unit: math.exp((number - most) / temperature) for unit, number in numbers.items()}
        return {unit: power / sum(powers.values()) for unit, power in powers.items()}

    weights = [softmax(first[-1])]
    for layer, below in zip(layers[::-1], first[-2::-1], strict=True):
        down = dict.fromkeys(below, 0.0)
        for unit, weight in weights[0].items():
            for at, part in softmax({at: w * below[at] for at, w in inputs_of(unit, layer, below)}).items():
                down[at] += weight * part
        weights.insert(0, down)
    return weights


@pytest.mark.parametrize("temperature", [0.3, 1.0])
def test_the_beam_is_that_of_the_loop(temperature):
    images, layers = some_images(), some_layers()
    found = beam(images, layers, temperature=temperature)
    for b, image in enumerate(images):
        for got, want in zip(found, beam_loop(image, layers, temperature), strict=True):
            close(got[b].sum(), torch.tensor(1.0, dtype=torch.float64))
            for unit, number in want.items():
                assert math.isclose(got[(b, *unit)], number, rel_tol=1e-9, abs_tol=1e-12)


def test_a_cold_beam_is_the_trace_and_a_warm_one_learns():
    image, layers = some_images(1)[0], some_layers()
    cold, hard = beam(image, layers, temperature=1e-4), selective_tuning(image, layers)
    for soft, zone in zip(cold, hard.passes, strict=True):
        assert int(zone.sum()) == 1
        close(soft, zone.double())
    small = randn(1, 5, 4, seed=5).requires_grad_()
    pair = [Layer(randn(2, 1, 2, 2, seed=6)), Layer(randn(1, 2, 2, 2, seed=7))]
    bias = torch.rand(1, 3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda part, bias: beam(part, pair, bias=bias)[0], (small, bias))


# --- bad input --------------------------------------------------------------------------------------------------------

RIGHT, KERNEL = torch.ones(1, 4, 4), Layer(torch.ones(1, 1, 2, 2))
tune = functools.partial(selective_tuning, RIGHT)
BAD = {
    "bytes": (lambda: selective_tuning(RIGHT.byte(), [KERNEL]), TypeError, "image must be floating point"),
    "NaN": (lambda: selective_tuning(RIGHT * math.nan, [KERNEL]), ValueError, "image must be finite"),
    "no channel": (lambda: selective_tuning(RIGHT[0], [KERNEL]), ValueError, r"got shape \(4, 4\)"),
    "no layers": (lambda: tune([]), ValueError, "layers must be at least one"),
    "another precision": (lambda: tune([Layer(KERNEL.weight.double())]), TypeError, r"layers\[0\].weight has dtype"),
    "other channels": (lambda: tune([KERNEL, Layer(torch.ones(1, 2, 1, 1))]), ValueError, r"layers\[1\].*\(unit, 1,"),
    "too large a window": (lambda: tune([Layer(torch.ones(1, 1, 5, 1))]), ValueError, r"window within \(4, 4\)"),
    "no stride": (lambda: tune([Layer(KERNEL.weight, 0)]), ValueError, "stride must be a whole number"),
    "no share": (lambda: tune([KERNEL], share=0.0), ValueError, "share must be above 0"),
    "too large a share": (lambda: tune([KERNEL], share=1.1), ValueError, "at most 1, got 1.1"),
    "a bias of another shape": (
        lambda: tune([KERNEL], bias=torch.ones(1, 4, 4)),
        ValueError,
        r"to the top, \(1, 3, 3\)",
    ),
    "a negative bias": (lambda: tune([KERNEL], bias=-torch.ones(1, 3, 3)), ValueError, "at least 0"),
    "no temperature": (lambda: beam(RIGHT, [KERNEL], temperature=0.0), ValueError, "temperature"),
    "too few zones": (lambda: feed_forward(RIGHT, [KERNEL], inhibited=[]), ValueError, "inhibited must have 2 zones"),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("call", "kind", "said"), BAD.values(), ids=BAD)
def test_bad_input_is_named(call, kind, said):
    with pytest.raises(kind, match=said):
        call()
