"""easy-VQA: questions and pictures out of a tiny zip of ours; what is wrong is named; what the real one holds."""

import io
import json
import sys
import zipfile

import pytest
import torch
from PIL import Image

from attnlib.data import DataError, easy_vqa, fetch

SIDE = 8
ROWS = [["what color is the shape?", "blue", 3], ["is there a circle", "no", 0]]


def picture(seed):
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (SIDE, SIDE, 3), generator=generator, dtype=torch.uint8)
    file = io.BytesIO()
    Image.frombytes("RGB", (SIDE, SIDE), bytes(pixels.flatten().tolist())).save(file, "PNG")
    return file.getvalue(), pixels.permute(2, 0, 1).float() / 255


@pytest.fixture
def ours(tmp_path):
    path = tmp_path / "tiny.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("easy_vqa/data/answers.txt", "blue\nno\n")
        archive.writestr("easy_vqa/data/train/questions.json", json.dumps(ROWS))
        archive.writestr("easy_vqa/data/test/questions.json", json.dumps([["what?"]]))
        for number in (0, 3):
            archive.writestr(f"easy_vqa/data/train/images/{number}.png", picture(number)[0])
        archive.writestr("easy_vqa/data/train/images/5.png", b"no picture")
    return path


def test_questions_lose_their_marks_and_keep_their_order(ours):
    assert easy_vqa.load(path=ours) == [
        easy_vqa.Asked(("what", "color", "is", "the", "shape"), "blue", 3),
        easy_vqa.Asked(("is", "there", "a", "circle"), "no", 0),
    ]
    assert easy_vqa.answers(str(ours)) == ["blue", "no"]


def test_pictures_are_those_of_their_numbers_as_means_of_squares(ours):
    found = easy_vqa.pictures([3, 0, 3], path=ours, size=SIDE)
    for got, number in zip(found, (3, 0, 3), strict=True):
        torch.testing.assert_close(got, picture(number)[1])
    small = easy_vqa.pictures([0], path=ours, size=2)[0]
    torch.testing.assert_close(small[1, 0, 1], picture(0)[1][1, :4, 4:].mean())
    assert easy_vqa.pictures([], path=ours, size=4).shape == (0, 3, 4, 4)


@pytest.mark.usefixtures("unchecked")
def test_what_is_wrong_is_named(ours, tmp_path, monkeypatch):
    for call, error, message in (
        (lambda: easy_vqa.load("dev", ours), ValueError, "part must be 'train' or 'test', got 'dev'"),
        (lambda: easy_vqa.load("test", ours), DataError, "expected rows of question, answer and picture"),
        (lambda: easy_vqa.load(path=tmp_path / "none.whl"), DataError, "none.whl: expected a zip"),
        (lambda: easy_vqa.pictures([1], path=ours), DataError, "expected easy_vqa/data/train/images/1.png"),
        (lambda: easy_vqa.pictures([5], path=ours), DataError, "expected a picture in 5.png"),
        (lambda: easy_vqa.pictures([0], path=ours, size=3), ValueError, "size must divide 8 and 8, got 3"),
        (lambda: easy_vqa.pictures([0], path=ours, size=0), ValueError, "size must divide"),
    ):
        with pytest.raises(error, match=message):
            call()
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(DataError, match="expected Pillow"):
        easy_vqa.pictures([0], path=ours)


@pytest.mark.data
@pytest.mark.nightly
def test_the_real_one_holds_what_the_book_says(monkeypatch):
    monkeypatch.setenv("PIP_RETRIES", "1")
    try:
        path = fetch(easy_vqa.PACKAGE)
    except DataError as error:
        if "got exit code" not in str(error) or "MATCH THE HASHES" in str(error):
            raise
        pytest.skip("no package index here: the tests that read the real data did not run")
    parts = {part: easy_vqa.load(part, path) for part in ("train", "test")}
    assert [len(part) for part in parts.values()] == [38_575, 9_673]
    assert [len({each.picture for each in part}) for part in parts.values()] == [4_000, 1_000]
    assert {each.answer for part in parts.values() for each in part} == set(easy_vqa.answers(path))
    words = {word for part in parts.values() for each in part for word in each.words}
    assert len(words) == 26
    assert easy_vqa.pictures([0, 999], "test", path, size=16).shape == (2, 3, 16, 16)
