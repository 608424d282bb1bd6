"""Scan paths: against the loop, ties, ends, batches, what the gradient is, known wrong versions, bad input."""

import functools
import math

import pytest
import torch
from checks import close

from attnlib.brain.scan_path import ScanPath, fixations_until, scan_path

# --- the oracle: a plain loop -----------------------------------------------------------------------------------------


def scan_path_loop(field, n_fixations, radius, memory):
    """``(row, column, strength)`` of each fixation, None where nothing is left."""
    height, width = len(field), len(field[0])
    path = []
    for _ in range(n_fixations):
        recent = path if memory is None else path[-memory:]
        best = None
        for i in range(height):
            for j in range(width):
                near = [step for step in recent if step and math.hypot(i - step[0], j - step[1]) <= radius]
                if not near and field[i][j] > 0 and (best is None or field[i][j] > best[2]):
                    best = i, j, field[i][j]
        path.append(best)
    return path


HEIGHT, WIDTH, STEPS = 7, 11, 13


def some_maps(*shape, seed=0):
    """With equal values among them, and zeros."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 23, shape or (2, 3, HEIGHT, WIDTH), generator=generator).double() / 22


# --- checks: what the right function satisfies and each mutant below must not -----------------------------------------


SETTINGS = ((2, None), (1.5, 3), (0, None), (2.3, 1), (20, None), (20, 1))


@functools.cache
def wanted(a, b, radius, memory):
    """The loop's path and its discs, made once for all that are compared with it."""
    steps = scan_path_loop(some_maps()[a, b].tolist(), STEPS, radius, memory)
    discs = [
        [
            [step is not None and math.hypot(i - step[0], j - step[1]) <= radius for j in range(WIDTH)]
            for i in range(HEIGHT)
        ]
        for step in steps
    ]
    return steps, discs


def check_value(function):
    for radius, memory in SETTINGS:
        found = function(some_maps(), STEPS, radius=radius, memory=memory)
        for a in range(2):
            for b in range(3):
                steps, discs = wanted(a, b, radius, memory)
                assert found.row[a, b].tolist() == [step[0] if step else -1 for step in steps]
                assert found.column[a, b].tolist() == [step[1] if step else -1 for step in steps]
                assert found.strength[a, b].tolist() == [step[2] if step else 0 for step in steps]
                assert found.attended[a, b].tolist() == discs


def test_scan_path_is_that_of_the_loop():
    check_value(scan_path)


# --- known wrong versions ---------------------------------------------------------------------------------------------


def stepwise(choose, inhibit):
    """A scan path that is put together from one choice of a place at a time, and what it inhibits of the map."""

    def mutant(maps, n_fixations, *, radius, memory):
        steps, left = [], maps
        for _ in range(n_fixations):
            step = scan_path(choose(left), 1, radius=radius)
            steps.append(step)
            left = inhibit(maps, left, step, radius)
        return ScanPath(*(torch.cat([step[k] for step in steps], -3 if k == 3 else -1) for k in range(4)))

    return mutant


def square(maps, left, step, radius):
    near = torch.nn.functional.max_pool2d(step.attended[..., 0, :, :].double(), 3, 1, 1)
    return left * (near == 0)


MUTANTS = {
    "forgets after one step": lambda maps, n, *, radius, memory: scan_path(maps, n, radius=radius, memory=1),
    "never forgets": lambda maps, n, *, radius, memory: scan_path(maps, n, radius=radius),
    "inhibits nothing": stepwise(lambda left: left, lambda maps, left, step, radius: maps),
    "inhibits more than the disc": stepwise(lambda left: left, square),
    "inhibits in part": stepwise(
        lambda left: left, lambda maps, left, step, radius: left * (1 - 0.9 * step.attended[..., 0, :, :].double())
    ),
    "the last of equal ones": lambda maps, n, *, radius, memory: scan_path(
        maps + 1e-9 * torch.arange(HEIGHT * WIDTH).view(HEIGHT, WIDTH), n, radius=radius, memory=memory
    ),
    "looks at nothing": lambda maps, n, *, radius, memory: scan_path(maps + 1e-6, n, radius=radius, memory=memory),
    "a radius too small": lambda maps, n, *, radius, memory: scan_path(maps, n, radius=radius / 2, memory=memory),
}


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=MUTANTS)
def test_mutants_are_rejected(mutant):
    with pytest.raises(AssertionError):
        check_value(mutant)


# --- properties -------------------------------------------------------------------------------------------------------


def test_strength_never_rises_while_nothing_is_forgotten():
    path = scan_path(some_maps(), STEPS, radius=1)
    assert (path.strength.diff(dim=-1) <= 0).all()
    discs = path.attended
    for t in range(1, STEPS):
        seen = discs[..., :t, :, :].any(-3).flatten(-2)
        place = (path.row[..., t] * WIDTH + path.column[..., t]).clamp(min=0)
        assert not (seen.gather(-1, place.unsqueeze(-1)).squeeze(-1) & (path.row[..., t] >= 0)).any()


def test_nothing_to_see_and_nothing_left():
    path = scan_path(torch.zeros(2, 3, 5), 4)
    assert (path.row == -1).all()
    assert (path.column == -1).all()
    assert (path.strength == 0).all()
    assert not path.attended.any()
    negative = scan_path(torch.full((3, 5), -1.0), 2)
    assert negative.row.tolist() == [-1, -1]
    assert negative.strength.tolist() == [0, 0]
    one = scan_path(torch.ones(1, 1), 3)
    assert one.row.tolist() == [0, -1, -1]
    assert scan_path(torch.ones(1, 1), 3, memory=1).row.tolist() == [0, -1, 0]


def test_the_disc_is_a_sixth_of_the_shorter_side():
    maps = torch.zeros(31, 47)
    maps[15, 20] = 1.0
    reach = scan_path(maps, 1).attended[0].nonzero() - torch.tensor([15, 20])
    assert reach.abs().amax(0).tolist() == [5, 5]  # 31 / 6 = 5.17


def test_the_gradient_goes_to_what_was_looked_at():
    maps = some_maps(HEIGHT, WIDTH).requires_grad_()
    path = scan_path(maps, 4, radius=2)
    (slope,) = torch.autograd.grad((path.strength * torch.tensor([1.0, 2.0, 3.0, 4.0])).sum(), maps)
    for t in range(4):
        assert slope[path.row[t], path.column[t]] == t + 1
    assert slope.count_nonzero() == 4
    assert torch.autograd.gradcheck(
        lambda part: scan_path(part, 3, radius=1).strength, torch.rand(3, 5, dtype=torch.float64, requires_grad=True)
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_each_device_and_precision(device, dtype):
    maps = some_maps().to(device, dtype)
    path = scan_path(maps, 5, radius=1.5)
    assert path.strength.dtype == dtype
    assert path.attended.device.type == device.type
    close(path.row.cpu(), scan_path(some_maps(), 5, radius=1.5).row)


# --- how long a search takes ------------------------------------------------------------------------------------------


def test_fixations_until():
    maps = some_maps()
    path = scan_path(maps, STEPS, radius=1.5, memory=2)
    attended = path.attended.tolist()
    for row in range(HEIGHT):
        for column in range(WIDTH):
            found = fixations_until(path, row, column)
            for a in range(2):
                for b in range(3):
                    seen = [t + 1 for t in range(STEPS) if attended[a][b][t][row][column]]
                    assert int(found[a, b]) == (seen[0] if seen else -1)
    rows = torch.tensor([[0, 1, 2], [3, 4, 5]])
    together = fixations_until(path, rows, 4)
    for a in range(2):
        for b in range(3):
            alone = ScanPath(*(part[a, b] for part in path))
            assert int(together[a, b]) == int(fixations_until(alone, int(rows[a, b]), 4))


# --- bad input --------------------------------------------------------------------------------------------------------

RIGHT = torch.ones(3, 5)
look = functools.partial(scan_path, RIGHT)
BAD = {
    "bytes": (lambda: scan_path(RIGHT.byte(), 2), TypeError, "saliency must be floating point"),
    "NaN": (lambda: scan_path(RIGHT * math.nan, 2), ValueError, "saliency must be finite"),
    "a line": (lambda: scan_path(RIGHT[0], 2), ValueError, r"\(\*batch, height, width\)"),
    "nothing": (lambda: scan_path(RIGHT[:0], 2), ValueError, r"got shape \(0, 5\)"),
    "no fixations": (lambda: look(0), ValueError, "n_fixations must be at least 1, got 0"),
    "half a fixation": (lambda: look(1.5), TypeError, "n_fixations must be a whole number"),
    "no memory": (lambda: look(2, memory=0), ValueError, "memory must be at least 1, got 0"),
    "half a memory": (lambda: look(2, memory=0.5), TypeError, "memory must be a whole number"),
    "a negative radius": (lambda: look(2, radius=-1), ValueError, "radius must be at least 0, got -1"),
    "a radius of NaN": (lambda: look(2, radius=math.nan), ValueError, "radius must be at least 0, got nan"),
    "a row outside": (lambda: fixations_until(look(2), 3, 0), ValueError, "row must be from 0 to 2, got 3"),
    "a column outside": (lambda: fixations_until(look(2), 0, -1), ValueError, "column must be from 0 to 4, got -1"),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("call", "kind", "said"), BAD.values(), ids=BAD)
def test_bad_input_is_named(call, kind, said):
    with pytest.raises(kind, match=said):
        call()
