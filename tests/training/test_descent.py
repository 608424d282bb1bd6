"""The small loop of a page: the optimizer's steps on the loss, models side by side that do not feel one another."""

import functools

import pytest
import torch
from torch.testing import assert_close

from attnlib.training import descend, descent

SGD = torch.optim.SGD


def lines(n, seed=0):
    """Parameters of n models: weights (n, 3) and biases (n,)."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(n, 3, generator=generator), torch.randn(n, generator=generator)]


POINTS = torch.randn(20, 3, generator=torch.Generator().manual_seed(1))
WANTED = POINTS @ torch.tensor([1.0, -2.0, 0.5]) + 3


def loss_of(weight, bias):
    """(model,): the mean squared error of each."""
    return (weight @ POINTS.T + bias[:, None] - WANTED).square().mean(-1)


def trained(start, **options):
    parameters = [part.clone().requires_grad_() for part in start]
    losses = descend(parameters, lambda step: loss_of(*parameters), **{"steps": 7, "rate": 0.1, **options})
    return [part.detach() for part in parameters], losses


def by_hand(start, *, steps=7, optimizer=torch.optim.Adam, schedule=None):
    """The loop that a page would write."""
    parameters = [part.clone().requires_grad_() for part in start]
    stepper, losses = optimizer(parameters, lr=0.1), []
    fall = schedule and schedule(stepper)
    for _ in range(steps):
        stepper.zero_grad()
        loss = loss_of(*parameters)
        loss.sum().backward()
        stepper.step()
        if fall:
            fall.step()
        losses.append(loss.detach())
    return [part.detach() for part in parameters], torch.stack(losses)


def falling(optimizer):
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / 7)


@pytest.mark.parametrize("optimizer", [torch.optim.Adam, SGD])
@pytest.mark.parametrize("schedule", [None, falling])
def test_it_is_the_loop_by_hand_to_the_last_bit(optimizer, schedule):
    one = trained(lines(2), optimizer=optimizer, schedule=schedule)
    other = by_hand(lines(2), optimizer=optimizer, schedule=schedule)
    assert torch.equal(one[1], other[1])
    assert one[1].shape == (7, 2)
    assert all(map(torch.equal, one[0], other[0]))


def test_it_goes_down():
    losses = trained(lines(3), steps=200)[1]
    assert (losses[-1] < 0.01 * losses[0]).all()


def test_a_loss_may_be_one_number_and_a_parameter_a_module_s():
    model = torch.nn.Linear(3, 1)
    losses = descend(model.parameters(), lambda step: (model(POINTS)[:, 0] - WANTED).square().mean(), steps=5)
    assert losses.shape == (5,)
    assert not losses.requires_grad


def test_steps_are_counted_from_nought_and_what_comes_after_sees_the_step_done():
    place, seen = torch.tensor([0.0], requires_grad=True), []

    def loss(step):
        seen.append(("loss", step, place.item()))
        return (place - 3).square()

    descend(
        [place], loss, steps=2, rate=0.25, optimizer=SGD, after=lambda step: seen.append(("after", step, place.item()))
    )
    assert seen == [("loss", 0, 0.0), ("after", 0, 1.5), ("loss", 1, 1.5), ("after", 1, 2.25)]


def single(start, index, **options):
    """One model alone."""
    parts, losses = trained([part[index : index + 1] for part in start], **options)
    return [part[0] for part in parts], losses[:, 0]


@pytest.mark.parametrize("clip", [None, 1.0, 1e9])
def test_models_side_by_side_do_not_feel_one_another(clip):
    start = lines(3)
    start[1][0] += 100.0  # the first has far larger gradients
    together, losses = trained(start, clip=clip, optimizer=SGD)
    for index in range(3):
        alone, own = single(start, index, clip=clip, optimizer=SGD)
        assert_close(losses[:, index], own)
        for parts, part in zip(together, alone, strict=True):
            assert_close(parts[index], part)


def test_clipping_all_models_together_is_found(monkeypatch):
    """The known wrong version: one norm over all of them."""
    monkeypatch.setattr(
        descent, "_clip", lambda parameters, limit, **_: torch.nn.utils.clip_grad_norm_(parameters, limit)
    )
    with pytest.raises(AssertionError):
        test_models_side_by_side_do_not_feel_one_another(1.0)


@pytest.mark.parametrize("forgotten", ["zero_grad", "step"])
def test_a_loop_that_forgets_something_is_found(monkeypatch, forgotten):
    wanted = by_hand(lines(2), optimizer=SGD)
    monkeypatch.setattr(SGD, forgotten, lambda self, *_, **__: None)
    assert not torch.equal(trained(lines(2), optimizer=SGD)[1], wanted[1])


def test_the_gradient_of_one_loss_is_clipped_by_its_norm():
    place = torch.tensor([30.0, 40.0], requires_grad=True)
    descend([place], lambda step: place.square().sum() / 2, steps=1, rate=1.0, optimizer=SGD, clip=5.0)
    assert_close(place.detach(), torch.tensor([27.0, 36.0]))


def test_a_model_without_a_gradient_stays():
    parameters = [torch.zeros(2, 3, requires_grad=True), torch.ones(2, requires_grad=True)]
    descend(parameters, lambda step: parameters[1] ** 2, steps=2, optimizer=SGD, clip=1e-3)
    assert (parameters[0] == 0).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [({"steps": 0}, "steps must be at least 1, got 0"), ({"clip": 0.0}, "clip must be above 0, or None")],
)
def test_bad_input_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        trained(lines(2), **options)


def test_a_loss_that_is_no_number_is_told():
    with pytest.raises(FloatingPointError, match="after 60 steps: lower the rate"):
        trained(lines(2), steps=60, optimizer=functools.partial(SGD), rate=1e4)
