"""Twins and filters: do the scripts draw and measure what is said, and are the results theirs?"""

import json

import pytest
import torch
from test_experiments import EXPERIMENTS, check_the_code, script


@pytest.fixture(scope="module")
def nonlocal_():
    return script("nonlocal")


@pytest.fixture(scope="module")
def filters():
    return script("nonlocal_means")


def read(name):
    return json.loads((EXPERIMENTS / "results" / name / "metrics.json").read_text("utf-8"))


def test_twins_share_a_colour_and_the_answer_is_the_other_s_sign(nonlocal_):
    pictures = nonlocal_.drawn(50, torch.Generator().manual_seed(0))
    side = nonlocal_.SIDE
    marks = pictures.grid.flatten(2).gather(2, pictures.place[:, None].expand(-1, 3, -1))  # (picture, channel, mark)
    assert (marks[:, 2].sign().view(-1, 3, 2).flip(-1).flatten(1) == pictures.answer).all()
    colours = marks[:, :2].unflatten(-1, (3, 2))
    assert (colours[..., 0] - colours[..., 1]).norm(dim=1).max() < 1  # noise of 0.1 each; others are 1.7 apart
    for place, far in zip(pictures.place.tolist(), pictures.far.tolist(), strict=True):
        assert len(set(place)) == 6
        for k in range(6):
            (i, j), (a, b) = divmod(place[k], side), divmod(place[k ^ 1], side)
            assert far[k] == max(abs(i - a), abs(j - b))


def test_layers_alone_hear_no_farther_than_three_and_a_block_hears_all(nonlocal_):
    grid = torch.randn(1, 3, 10, 10, requires_grad=True)
    reaches = {"nothing": 3, "one more layer": 4, "mean": 9, "embedded Gaussian": 9}
    for arm, reach in reaches.items():
        model = nonlocal_.network(arm, 0)
        for each in model.modules():  # what starts at nought would hide the arm
            if isinstance(each, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
                torch.nn.init.ones_(each.weight)
        model.eval()(grid)[0, 0, 0, 0].backward()
        felt = grid.grad[0].abs().sum(0).nonzero()
        assert felt.max() == reach, arm
        grid.grad = None


def test_all_arms_start_alike(nonlocal_):
    grid = torch.randn(2, 3, 10, 10)
    outputs = [nonlocal_.network(arm, 1)(grid) for arm in nonlocal_.ARMS]
    for output in outputs[1:]:
        torch.testing.assert_close(output, outputs[0])


def test_results_are_of_this_script(nonlocal_):
    metrics = read("nonlocal")
    check_the_code(metrics, "nonlocal")
    assert metrics["setting"] == nonlocal_.SETTING
    assert list(metrics["runs"]) == list(nonlocal_.ARMS)


def test_filters_leave_an_even_picture_as_it_is(filters):
    even = torch.full((1, filters.SIDE, filters.SIDE), 0.5)
    for arm, (clean, settings) in filters.ARMS.items():
        torch.testing.assert_close(clean(even, *settings[-1]), even, msg=arm)


def test_filtered_results_are_of_this_script(filters):
    metrics = read("nonlocal_means")
    check_the_code(metrics, "nonlocal_means")
    assert metrics["setting"] == filters.SETTING
    assert list(metrics["runs"]) == list(filters.ARMS)
    image = filters.piece("coffee")
    found = filters.decibels(filters.blurred(filters.noisy(image, 0), *metrics["runs"]["blur"]["best"]), image)
    assert found == pytest.approx(metrics["runs"]["blur"]["test"]["coffee"][0], abs=0.01)
