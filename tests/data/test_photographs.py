"""Photographs: from a tiny wheel of ours and a tiny folder, resized, credited; what is wrong is named."""

import hashlib
import io
import zipfile

import pytest
import torch
from data_samples import wheel
from PIL import Image

from attnlib.data import DataError, photographs
from attnlib.data.photographs import PHOTOGRAPHS, load

HEIGHT, WIDTH = 7, 11


def picture(form="PNG", *, grey=False, size=(HEIGHT, WIDTH)):
    """A picture of our own: its bytes, and what it holds."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (*size, 1 if grey else 3), generator=generator, dtype=torch.uint8)
    image = Image.frombytes("L" if grey else "RGB", size[::-1], bytes(pixels.flatten().tolist()))
    file = io.BytesIO()
    image.save(file, form)
    return file.getvalue(), pixels.permute(2, 0, 1).expand(3, *size)


@pytest.fixture
def ours(tmp_path):
    """A zip laid out like the wheel, and a folder like that of scikit-learn."""
    path = tmp_path / "tiny.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(PHOTOGRAPHS["astronaut"].file, picture()[0])
        archive.writestr(PHOTOGRAPHS["camera"].file, picture(grey=True)[0])
        archive.writestr(PHOTOGRAPHS["rocket"].file, picture("JPEG", size=(16, 24))[0])
        archive.writestr(PHOTOGRAPHS["coins"].file, b"no picture")
    return path


def test_bytes_become_numbers_from_0_to_1(ours):
    found = load("astronaut", path=ours)
    assert found.dtype == torch.float32
    assert torch.equal((found * 255).round().byte(), picture()[1])
    assert found.is_contiguous()


def test_a_grey_one_has_three_like_channels(ours):
    found = load("camera", path=str(ours))
    assert found.shape == (3, HEIGHT, WIDTH)
    assert torch.equal((found * 255).round().byte(), picture(grey=True)[1])


def test_jpeg(ours):
    found = load("rocket", path=ours)
    assert found.shape == (3, 16, 24)
    assert found.min() >= 0
    assert found.max() <= 1


def test_size(ours):
    full = load("astronaut", path=ours)
    assert load("astronaut", size=WIDTH, path=ours).shape == (3, HEIGHT, WIDTH)
    assert load("astronaut", size=5, path=ours).shape == (3, 3, 5)
    assert load("astronaut", size=1, path=ours).shape == (3, 1, 1)
    assert load("astronaut", size=(2, 13), path=ours).shape == (3, 2, 13)
    torch.testing.assert_close(load("astronaut", size=(HEIGHT, WIDTH), path=ours), full)
    small = load("rocket", size=(4, 6), path=ours)
    blocks = load("rocket", path=ours).unfold(1, 4, 4).unfold(2, 4, 4).mean((-2, -1))
    assert (small - blocks).abs().mean() < 0.05, "a pixel of a smaller one stands for a region"
    picked = load("rocket", path=ours)[:, 2::4, 2::4]
    assert (small - blocks).abs().mean() < 0.3 * (picked - blocks).abs().mean()


def test_those_of_scikit_learn_are_compared_with_a_hash(tmp_path, monkeypatch):
    data, pixels = picture()
    (tmp_path / "datasets/images").mkdir(parents=True)
    (tmp_path / PHOTOGRAPHS["china"].file).write_bytes(data)
    with pytest.raises(
        DataError, match=rf"SHA-256 {PHOTOGRAPHS['china'].sha256}, got {hashlib.sha256(data).hexdigest()}"
    ):
        load("china", path=tmp_path)
    ours = PHOTOGRAPHS["china"]._replace(sha256=hashlib.sha256(data).hexdigest())
    monkeypatch.setitem(PHOTOGRAPHS, "china", ours)
    assert torch.equal((load("china", path=tmp_path) * 255).round().byte(), pixels)
    with pytest.raises(DataError, match=r"expected datasets/images/flower\.jpg"):
        load("flower", path=tmp_path)


@pytest.mark.parametrize("name", ["china", "flower"])
def test_the_two_that_are_installed(name):
    found = load(name, size=64)
    assert found.shape == (3, 43, 64)
    assert 0.2 < found.mean() < 0.6


def test_a_wheel_is_fetched(tmp_path, monkeypatch):
    monkeypatch.setenv("ATTNLIB_DATA", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "shop"))
    made = wheel(tmp_path / "shop", "tiny-pictures", "1.0", {PHOTOGRAPHS["astronaut"].file: picture()[0]})
    monkeypatch.setattr(photographs, "PACKAGE", made)
    assert load("astronaut").shape == (3, HEIGHT, WIDTH)


def test_what_is_wrong_is_named(ours, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"name must be one of astronaut, .*flower, got 'lena'"):
        load("lena")
    for size in (0, (3, 0), -2):
        with pytest.raises(ValueError, match="size must be at least 1"):
            load("astronaut", size=size, path=ours)
    with pytest.raises(DataError, match=r"expected skimage/data/chelsea\.png in a zip"):
        load("chelsea", path=ours)
    with pytest.raises(DataError, match=r"expected a picture in skimage/data/coins\.png"):
        load("coins", path=ours)
    (tmp_path / "broken.whl").write_bytes(b"broken")
    with pytest.raises(DataError, match="in a zip, got: File is not a zip file"):
        load("astronaut", path=tmp_path / "broken.whl")
    with pytest.raises(DataError, match=r"in a zip, got: .*No such file"):
        load("astronaut", path=tmp_path / "none.whl")
    monkeypatch.setattr(photographs.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match="expected scikit-learn"):
        load("china")


def test_every_photograph_has_a_credit_and_a_licence():
    for name, photograph in PHOTOGRAPHS.items():
        assert all(photograph[:4]), name
        assert photograph.file.startswith("datasets/images/") == bool(photograph.sha256)


@pytest.mark.data
@pytest.mark.nightly
def test_the_real_ones_are_those_that_the_book_shows(real):
    path = real(photographs.PACKAGE)
    shapes = {name: tuple(load(name, path=path).shape[1:]) for name, one in PHOTOGRAPHS.items() if not one.sha256}
    assert shapes == {
        "astronaut": (512, 512),
        "camera": (512, 512),
        "chelsea": (300, 451),
        "coffee": (400, 600),
        "coins": (303, 384),
        "hubble": (872, 1000),
        "rocket": (427, 640),
    }
    assert round(float(load("coffee", path=path).mean()), 4) == 0.3867
