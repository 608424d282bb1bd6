"""Scenes of digits: boxes and poses are where the digit is, each scene has its own random numbers, parts share none."""

import gzip
import hashlib
import importlib.util
import math

import pytest
import torch
from data_samples import digits
from torch.nn.functional import interpolate

from attnlib.data import DataError, scenes, split
from attnlib.input_features.spatial_transformer import transform

WARP = scenes.Warp(turn=50, zoom=(0.6, 1.4), tilt=0.3)
close = torch.testing.assert_close


def enlarged(kind, size):
    image = digits()[kind].image[None, None]
    return interpolate(image, (size, size), mode="bicubic", antialias=True).clamp(0, 1)[0, 0]


def test_an_upright_digit_stands_in_its_box_and_nothing_elsewhere():
    made = scenes.make(digits(), count=40, size=(31, 43), digit=19)
    assert made.image.shape == (40, 1, 31, 43)
    for image, kind, box in zip(made.image[:, 0], made.kind, made.box, strict=True):
        left, top, right, bottom = (int(edge) for edge in box)
        assert [float(edge) for edge in box] == [left, top, left + 19, top + 19]
        assert 0 <= left <= 43 - 19
        assert 0 <= top <= 31 - 19
        close(image[top:bottom, left:right], enlarged(int(kind), 19), atol=1e-5, rtol=0)
        rest = image.clone()
        rest[top:bottom, left:right] = 0
        assert (rest < 1e-5).all()
    for axis, room in ((0, 43 - 19), (1, 31 - 19)):
        assert made.box[:, axis].min() < room / 5
        assert made.box[:, axis].max() > room * 4 / 5
    assert len(made.kind.unique()) == 7


@pytest.mark.parametrize("warp", [None, WARP], ids=["upright", "warped"])
def test_the_pose_shows_the_digit_upright(warp):
    """A spatial transformer that were given it would undo the warp; and not by chance: another scene's does not."""
    made = scenes.make(digits(), count=30, size=(60, 70), digit=32, warp=warp)
    upright = transform(made.image, made.matrix, (32, 32)).image[:, 0]
    wanted = torch.stack([enlarged(int(kind), 32) for kind in made.kind])
    far = (upright - wanted).abs().mean((1, 2))
    other = (transform(made.image, made.matrix.roll(1, 0), (32, 32)).image[:, 0] - wanted).abs().mean((1, 2))
    assert far.max() < 0.04
    assert other.mean() > 3 * far.mean()


def test_the_box_is_that_of_the_corners():
    made = scenes.make(digits(), count=50, size=(60, 70), digit=32, warp=WARP)
    for box, matrix in zip(made.box.tolist(), made.matrix.tolist(), strict=True):
        places = []
        for x in (-1, 1):
            for y in (-1, 1):
                u, v, w = (row[0] * x + row[1] * y + row[2] for row in matrix)
                assert w > 0
                places.append(((u / w + 1) / 2 * 70, (v / w + 1) / 2 * 60))
        across, down = zip(*places, strict=True)
        assert box == pytest.approx([min(across), min(down), max(across), max(down)], abs=1e-3)
    wide, high = made.box[:, 2] - made.box[:, 0], made.box[:, 3] - made.box[:, 1]
    for low, length, room in ((made.box[:, 0], wide, 70), (made.box[:, 1], high, 60)):
        fits = length <= room
        assert (low[fits] >= -1e-4).all()
        assert ((low + length)[fits] <= room + 1e-4).all()
        close(low[~fits], (room - length[~fits]) / 2)


def test_a_turn_is_clockwise_and_a_zoom_a_size():
    spot = torch.zeros(8, 8)
    spot[3:5, 6:] = 1.0  # on the right of an upright digit
    warp = scenes.Warp(turn=90, zoom=(0.5, 1.0))
    made = scenes.make([scenes.Digit("", spot, 0)], count=50, size=(80, 80), digit=40, warp=warp)
    angle = torch.atan2(made.matrix[:, 1, 0], made.matrix[:, 0, 0]).rad2deg()
    zoom = made.matrix[:, :2, 0].norm(dim=1) * 80 / 40
    for values, low, high in ((angle, -90, 90), (zoom, 0.5, 1)):
        assert low - 1e-3 <= values.min() < values.max() <= high + 1e-3
        assert values.std() > (high - low) / 5
    light = made.image[:, 0] / made.image.sum((1, 2, 3))[:, None, None]
    places = torch.arange(80) + 0.5
    across, down = (light.sum(1) * places).sum(1), (light.sum(2) * places).sum(1)
    middle = (made.box[:, :2] + made.box[:, 2:]) / 2
    seen = torch.atan2(down - middle[:, 1], across - middle[:, 0]).rad2deg()  # rows go down: positive is clockwise
    close(seen, angle, atol=1.0, rtol=0)
    close(torch.hypot(down - middle[:, 1], across - middle[:, 0]), 14.5 * zoom, atol=1.0, rtol=0.05)


def test_pieces_are_of_other_digits_and_move_nothing():
    """With pieces the scene is lighter or as light everywhere, and what is added stands elsewhere in other digits."""
    bare = scenes.make(digits(), count=30, size=(50, 50), digit=24, warp=WARP)
    full = scenes.make(digits(), count=30, size=(50, 50), digit=24, warp=WARP, pieces=5, piece=9)
    for name in ("kind", "box", "matrix"):
        assert torch.equal(getattr(full, name), getattr(bare, name))
    assert (full.image >= bare.image).all()
    assert ((full.image > bare.image + 1e-3).flatten(1).any(1)).float().mean() > 0.9
    changed = (full.image != bare.image).flatten(1).sum(1)
    assert changed.max() <= 5 * 9 * 9
    two = digits()[:2]
    two[1] = two[1]._replace(
        image=torch.full((8, 8), 0.5)
    )  # a piece of it is grey all over, and is not the digit's own
    dark = scenes.make(two, count=60, size=(40, 40), digit=16, pieces=1, piece=4)
    grey = ((dark.image - 0.5).abs() < 1e-3).flatten(1).sum(1)
    assert (grey[dark.kind == 0] >= 8).all()
    assert (grey[dark.kind == 1] >= 16 * 16 - 16).all()
    some = dark.image[dark.kind == 1].flatten(1).amax(1)
    assert (some > 0.6).any(), "pieces of the one with light strokes fall on the grey one"


def test_each_scene_has_its_own_random_numbers():
    options = {"size": (40, 40), "digit": 20, "pieces": 2, "warp": WARP}
    ten, many = (scenes.make(digits(), count=n, **options) for n in (10, scenes.AT_ONCE + 3))
    for few, part in zip(ten, many, strict=True):
        close(part[:10], few)
    again, other = (scenes.make(digits(), count=10, **options, seed=seed) for seed in (0, 1))
    assert torch.equal(again.image, ten.image)
    assert not torch.equal(other.box, ten.box)
    state = torch.get_rng_state()
    scenes.make(digits(), count=2)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_smallest_scenes():
    none = scenes.make(digits(), count=0, size=(20, 30), digit=8)
    assert [tuple(part.shape) for part in none] == [(0, 1, 20, 30), (0,), (0, 4), (0, 3, 3)]
    tight = scenes.make(digits(), count=5, size=(28, 28))
    assert (tight.box == torch.tensor([0.0, 0.0, 28.0, 28.0])).all()
    close(tight.matrix, torch.eye(3).expand(5, 3, 3))
    assert scenes.make(digits(), count=2, size=(1, 1), digit=1).image.shape == (2, 1, 1, 1)


def test_a_small_digit_is_the_mean_of_what_it_covers():
    """Antialiased: a stroke is thinned, and not skipped."""
    bright = [scenes.Digit("", torch.eye(8), 0)]
    small = scenes.make(bright, count=1, size=(4, 4), digit=4).image
    assert small.mean() == pytest.approx(1 / 8, abs=0.02)


def test_bad_input_is_named():
    cases = [
        ("digits must be at least 1, got 0", {"digits": []}),
        ("digits must be at least 2, got 1", {"digits": digits()[:1], "pieces": 1}),
        ("count must be at least 0, got -1", {"count": -1}),
        ("digit must be from 1 to the 20 pixels of the scene, got 28", {"size": (20, 60)}),
        ("piece must be from 1 to the 28 pixels of a digit, got 29", {"pieces": 1, "piece": 29}),
        ("zoom of warp must rise from at least 0.5", {"warp": scenes.Warp(zoom=(0.4, 1.0))}),
        ("zoom of warp must rise", {"warp": scenes.Warp(zoom=(1.2, 1.0))}),
        ("warp must have .* a tilt from 0 to below 0.5", {"warp": scenes.Warp(tilt=0.5)}),
        ("warp must have a turn of at least 0", {"warp": scenes.Warp(turn=math.nan)}),
    ]
    for message, options in cases:
        with pytest.raises(ValueError, match=message):
            scenes.make(**({"digits": digits(), "count": 1} | options))


# --- the file of the real digits --------------------------------------------------------------------------------------


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package in scikit-learn's place, and a function that writes its digits."""
    folder = tmp_path / "sklearn" / "datasets" / "data"
    folder.mkdir(parents=True)
    (tmp_path / "sklearn" / "__init__.py").touch()
    spec = importlib.util.spec_from_file_location(
        "sklearn", tmp_path / "sklearn" / "__init__.py", submodule_search_locations=[str(tmp_path / "sklearn")]
    )
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)

    def write(content):
        (folder / "digits.csv.gz").write_bytes(content)

    return write


def test_a_file_of_digits_is_read_and_compared(package, monkeypatch):
    rows = [[i % 17] * 64 + [i] for i in range(5)]
    package(gzip.compress("\n".join(",".join(f"{x:.1f}" for x in row) for row in rows).encode()))
    with pytest.raises(DataError, match=f"expected in .* numbers with SHA-256 {scenes.SHA256}, got "):
        scenes.load()
    monkeypatch.setattr(scenes, "SHA256", hashlib.sha256(b"".join(map(bytes, rows))).hexdigest())
    found = scenes.load()
    assert [digit.kind for digit in found] == list(range(5))
    assert [digit.image.unique().tolist() for digit in found] == [[i / 16] for i in range(5)]
    assert len({digit.key for digit in found}) == 5


@pytest.mark.parametrize(
    "content", [b"no archive", gzip.compress(b"1,2,three", mtime=0), gzip.compress(b"1,900", mtime=0)]
)
def test_a_broken_file_is_named(package, content):
    package(content)
    with pytest.raises(DataError, match=r"digits: expected lines of numbers in .*digits.csv.gz, got"):
        scenes.load()


def test_a_missing_package_or_file_is_named(package, monkeypatch):
    with pytest.raises(DataError, match="expected lines of numbers in"):
        scenes.load()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match="digits: expected the package scikit-learn, got none"):
        scenes.load()


def test_the_real_digits_are_what_the_book_says():
    if importlib.util.find_spec("sklearn") is None:
        pytest.skip("scikit-learn is not installed: the real digits were not read")
    found = scenes.load()
    assert len(found) == len({digit.key for digit in found}) == 1797
    counts = [sum(digit.kind == kind for digit in found) for kind in range(10)]
    assert counts == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    parts = split(found, dev=0.1, test=0.3)
    assert [len(part) for part in parts] == [1088, 186, 523]
    keys = [{digit.key for digit in part} for part in parts]
    assert len(keys[0] | keys[1] | keys[2]) == 1797
