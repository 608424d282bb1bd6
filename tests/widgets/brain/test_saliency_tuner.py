"""SaliencyTuner: its outputs, what its presets promise, its arithmetic in the page, and the reader's own picture.
test_widgets*.py has the rest."""

import base64
import io
import random

import pytest
import torch
from browser import frame
from drawn import arithmetic, draw, found, rows, text
from PIL import Image

from attnlib.brain.centre_surround import centre_surround
from attnlib.brain.co_occurrence import blurred, co_occurrence, lab
from attnlib.brain.scan_path import scan_path
from attnlib.widgets import SaliencyTuner
from attnlib.widgets.brain.displays import display
from attnlib.widgets.brain.saliency_tuner import STORE, TARGET
from attnlib.widgets.image import packed, unpacked

ONLY_COLOUR = [1.0, 0.0, 0.0, 0.0, 0.0, 0.0]
ONLY_UPRIGHT = [0.0, 0.0, 0.0, 0.0, 1.0, 0.0]
TARGET_AT = display([((0.5, 0.5, 0.5), True)] * 20)[1][TARGET]
NOSE, EYES = (58, 56), ((32, 68), (28, 36))


def tuner(preset, **state):
    widget = SaliencyTuner(preset=preset)
    widget.update(**state)
    return widget


def near(fixation, place, reach=6):
    return all(abs(a - b) <= reach for a, b in zip(fixation[:2], place, strict=True))


def noise(height, width, seed=0):
    return torch.rand(3, height, width, generator=torch.Generator().manual_seed(seed)).double()


def test_outputs_are_those_of_attnlib():
    image = unpacked(packed(noise(37, 53)))
    widget = SaliencyTuner(pictures=[{"name": "noise", "image": packed(image)}], fixations=3, radius=0.2)
    widget.update(intensity=0.5, gains=[1.0, 0.5, 0.0, 1.0, 2.0, 1.0])
    names = ("red-green", "blue-yellow", "0", "45", "90", "135")
    weights = {"intensity": 0.5 / 3} | dict(zip(names, widget.gains, strict=True))
    wanted = centre_surround(image, weights=weights)
    shares = wanted.saliency / wanted.saliency.max()
    torch.testing.assert_close(torch.tensor(widget.saliency).double(), shares, rtol=0, atol=1e-7)
    path = scan_path(shares, 3, radius=0.2 * min(shares.shape))
    places = (2**wanted.level * torch.stack([path.row, path.column], -1)).tolist()
    assert [place[:2] for place in widget.path] == places
    widget.update(method="co-occurrence", colour=1.0, intensity=1.0, gains=[1.0] * 6)
    rare = blurred(co_occurrence(lab(image)).saliency, 2.0)
    torch.testing.assert_close(torch.tensor(widget.saliency).double(), rare / rare.max(), rtol=0, atol=1e-7)


def test_where_nothing_stands_out_there_is_no_path():
    even = SaliencyTuner(pictures=[{"name": "even", "image": packed(torch.full((3, 16, 16), 0.5))}])
    assert even.path == tuner("A cat", intensity=0, colour=0, orientation=0).path == []
    assert "fixations none" in even.summary()
    (view,) = draw(even)
    assert "Nothing stands out" in text(found(view, "attnlib-caption")[0])
    assert rows(view) == []


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ({"height": 8, "width": 8, "rgb": "A" * 252}, "pictures must be"),
        ({"height": 8, "width": 8, "rgb": "A" * 255 + "="}, "pictures must be"),
        ({"height": 7, "width": 8, "rgb": "A" * 224}, "pictures must be"),
        ({"height": 8, "width": 8}, "pictures must be"),
    ],
)
def test_a_picture_that_is_none_is_refused(image, message):
    with pytest.raises(ValueError, match=message):
        SaliencyTuner(pictures=[{"name": "broken", "image": image}])


def test_packing():
    image = noise(5, 7)
    torch.testing.assert_close(unpacked(packed(image)), image, rtol=0, atol=0.5 / 255 + 1e-12)
    assert packed(image[:1]) == packed(image[:1].expand(3, 5, 7))
    for bad in (image[0], 2 * image, (255 * image).byte(), image[:2]):
        with pytest.raises(ValueError, match="image must"):
            packed(bad)
    with pytest.raises(ValueError, match="bars must be 20, got 3"):
        display([((1.0, 0.0, 0.0), True)] * 3)


def test_each_photograph_names_its_maker():
    assert STORE.read_text(encoding="utf-8").count('"credit"') == 3


# ---------------------------------------------------------------------------------------- what the presets say, is so


def test_preset_a_cat():
    first, *others = tuner("A cat").path[:3]
    assert near(first, NOSE)
    assert all(any(near(each, eye) for each in others) for eye in EYES)
    assert near(tuner("A cat", colour=0).path[0], EYES[0])


def test_preset_colour_pops_out():
    assert near(tuner("Colour pops out").path[0], TARGET_AT)
    assert not any(near(each, TARGET_AT) for each in tuner("Colour pops out", colour=0).path)


def test_preset_orientation_pops_out():
    assert near(tuner("Orientation pops out").path[0], TARGET_AT)
    assert not near(tuner("Orientation pops out", method="co-occurrence").path[0], TARGET_AT, 8)


def test_presets_of_the_conjunction():
    def order(widget):
        return [n for n, each in enumerate(widget.path, 1) if near(each, TARGET_AT)]

    assert order(tuner("A conjunction")) == [9]
    looking = {"intensity": 0, "colour": 0, "orientation": 1, "gains": ONLY_UPRIGHT}
    assert order(tuner("A conjunction", **looking)) == [2]
    assert order(tuner("Told what to look for"))[0] == 1
    for gains in (ONLY_COLOUR, ONLY_UPRIGHT):
        assert order(tuner("Told what to look for", gains=gains))[:1] != [1]


def test_preset_two_methods():
    row, column, _ = tuner("Two methods").path[0]
    assert row > 60
    assert column < 20
    row, column, _ = tuner("Two methods", method="co-occurrence").path[0]
    assert 10 < row < 45
    assert 30 < column < 65


def test_preset_a_gaze_that_sticks():
    path = tuner("A gaze that sticks").path
    assert all(near(each, (68, 50)) for each in path)
    assert not all(near(each, (68, 50)) for each in tuner("A gaze that sticks", radius=0.17).path)


# ------------------------------------------------------------------------------------------------ the page, in numbers


def test_arithmetic_is_that_of_attnlib(record_property):
    """Noise of many sizes, with pairs of levels and without, under weights and gains drawn for each."""
    rng = random.Random(0)
    cases = []
    for seed, (height, width) in enumerate([(8, 8), (9, 31), (17, 8), (23, 29), (37, 53), (72, 96), (64, 64), (5, 7)]):
        weights = {
            "weights": [rng.random() for _ in range(3)],
            "gains": [rng.choice([0, rng.random()]) for _ in range(6)],
        }
        cases.append(
            (packed(noise(height, width, seed)), weights, {"bins": rng.choice([2, 64]), "radius": rng.randint(0, 3)})
        )
    made = arithmetic("saliency", "bitmap")(
        """(cases) => cases.map(([picture, given, read]) => {
            const pixels = math.unpacked(picture);
            const contrast = math.centreSurround(math.features(pixels), given);
            const rare = math.rarity(math.rarities(pixels, { ...read, sigma: 1.3 }), given);
            const flat = ({ data }) => [...data];
            return [flat(contrast.saliency), contrast.parts.map(flat), contrast.level, flat(rare.saliency)];
        })""",
        cases,
    )  # fmt: skip
    gap = 0.0
    for (picture, given, read), (saliency, parts, level, rare) in zip(cases, made, strict=True):
        image = unpacked(picture)
        gains = dict(zip(("red-green", "blue-yellow", "0", "45", "90", "135"), given["gains"], strict=True))
        weights = dict(zip(("intensity", "colour", "orientation"), given["weights"], strict=True))
        wanted = centre_surround(image, weights=weights | gains)
        assert level == wanted.level
        total = sum(
            weight * torch.tensor(part, dtype=torch.float64)
            for weight, part in zip(given["weights"], parts, strict=True)
        )
        channels = blurred(co_occurrence(lab(image), **read).channels, 1.3)
        light, *colours = given["weights"][:1] + [given["weights"][1] * gain for gain in given["gains"][:2]]
        rarest = sum(weight * channel for weight, channel in zip([light, *colours], channels, strict=True))
        for found_, right in ((saliency, wanted.saliency), (total.tolist(), wanted.saliency), (rare, rarest)):
            gap = max(gap, float((torch.tensor(found_, dtype=torch.float64) - right.flatten()).abs().max()))
    record_property("measured", f"{gap:.1e} largest gap to attnlib  saliency")
    assert gap < 1e-6


def test_scan_paths_are_those_of_attnlib():
    """With places as high as others, radii that meet pixels exactly, and maps that run out."""
    rng = random.Random(1)
    cases = []
    for _ in range(60):
        height, width = rng.randint(1, 19), rng.randint(1, 23)
        data = [rng.choice([0.0, 0.25, 0.5, rng.random()]) for _ in range(height * width)]
        radius = rng.choice([0.0, 1.0, 2**0.5, 5.0, 0.15 * 20, rng.uniform(0, 6)])
        cases.append(({"height": height, "width": width, "data": data}, rng.randint(1, 9), radius))
    made = arithmetic("saliency")("(cases) => cases.map((each) => math.scanPath(...each))", cases)
    ended = 0
    for (given, count, radius), places in zip(cases, made, strict=True):
        saliency = torch.tensor(given["data"]).double().view(given["height"], given["width"])
        path = scan_path(saliency, count, radius=radius)
        wanted = zip(path.row.tolist(), path.column.tolist(), path.strength.tolist(), strict=True)
        assert [(each["row"], each["column"]) for each in places] == [place[:2] for place in wanted if place[0] >= 0]
        ended += len(places) < count
    assert 0 < ended < 60


def test_pictures_are_drawn_as_they_are():
    """What stands in a bitmap, read by another library; and colours whose grey rises in even steps."""
    image = packed(noise(5, 7))
    values = [0.0, 0.5, 1.0, 0.25, 2.0, -1.0]
    picture, field, colours = arithmetic("bitmap")(
        """([image, data]) => [math.pictureAddress(math.unpacked(image)),
            math.mapAddress({ height: 2, width: 3, data }, 1), math.EVEN]""",
        [image, values],
    )  # fmt: skip

    def opened(address):
        head, data = address.split(",")
        assert head == "data:image/bmp;base64"
        return Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")

    assert opened(picture).tobytes() == base64.b64decode(image["rgb"])
    drawn = opened(field)
    assert drawn.size == (3, 2)
    at = [0, 128, 255, 64, 255, 0]
    assert [list(drawn.getpixel((k % 3, k // 3))) for k in range(6)] == [colours[i] for i in at]
    light = lab(torch.tensor(colours).double().T.view(3, 1, 256) / 255)[0, 0]
    steps = light.diff()
    assert bool((steps > 0).all())
    assert light[0] < 0.1
    assert light[-1] > 0.9


def test_page_shows_the_fixations_of_attnlib():
    widgets = [
        tuner(item["name"], method=method)
        for item in SaliencyTuner().presets for method in ("centre-surround", "co-occurrence")
    ]  # fmt: skip
    for widget, view in zip(widgets, draw(*widgets), strict=True):
        shown = rows(view)
        assert [[int(row), int(column)] for _, row, column, _ in shown] == [each[:2] for each in widget.path]
        assert [float(row[-1]) for row in shown] == pytest.approx([each[2] for each in widget.path], abs=0.0051)
        marks = [text(each) for each in found(view, "attnlib-numbered")[0].iter("text")]
        assert marks == [row[0] for row in shown]
        assert all(image.get("alt") is not None for image in view.iter("img"))


# ------------------------------------------------------------------------------------------- the reader's own picture


def png(height, width):
    made = io.BytesIO()
    image = Image.new("RGB", (width, height), (90, 90, 90))
    image.paste((250, 250, 250), (width // 2, height // 2, width // 2 + width // 12, height // 2 + height // 12))
    image.save(made, "PNG")
    return {"name": "mine.png", "mimeType": "image/png", "buffer": made.getvalue()}


@pytest.mark.browser
def test_own_picture_is_looked_at_and_a_bad_file_is_told(show):
    page = show(SaliencyTuner())
    sent = []
    page.on("request", lambda request: sent.append(request.url))
    field = page.get_by_label("Your own picture", exact=True)
    alert = page.locator(".attnlib-own [role=alert]")

    def told(file):
        field.set_input_files(file)
        alert.wait_for(state="visible")
        return alert.inner_text()

    assert "notes.txt is no picture" in told({"name": "notes.txt", "mimeType": "text/plain", "buffer": b"hello"})
    assert "bad.png cannot be read" in told({"name": "bad.png", "mimeType": "image/png", "buffer": b"no picture"})
    assert "too narrow: 900 by 9 pixels" in told(png(9, 900))
    field.set_input_files(png(300, 400))
    page.wait_for_function("document.querySelector('.attnlib-panel figcaption').textContent === 'mine.png'")
    frame(page)
    assert not alert.is_visible()
    size = page.evaluate(
        "(({ width, height }) => [width, height])(document.querySelector('.attnlib-image').attributes)"
    )
    assert size is not None
    first = page.locator(".attnlib-fixations tbody tr").first.locator("th, td").all_inner_texts()
    assert near([int(first[1]), int(first[2])], (39, 52), 5)
    assert [url for url in sent if not url.startswith(("data:", "blob:"))] == []
    page.get_by_role("button", name="Reset").click()
    frame(page)
    assert page.locator(".attnlib-panel figcaption").first.inner_text() == "A cat"


@pytest.mark.browser
@pytest.mark.parametrize("way", ["drop", "paste"])
def test_own_picture_is_dropped_or_pasted(show, way):
    page = show(SaliencyTuner())
    page.evaluate(
        """async ([way, bytes]) => {
            const held = new DataTransfer();
            const data = Uint8Array.from(atob(bytes), (letter) => letter.charCodeAt(0));
            held.items.add(new File([data], "mine.png", { type: "image/png" }));
            const at = document.querySelector(".attnlib-panel");
            const options = { bubbles: true, cancelable: true };
            at.dispatchEvent(way === "drop" ? new DragEvent("drop", { ...options, dataTransfer: held })
                : new ClipboardEvent("paste", { ...options, clipboardData: held }));
        }""",
        [way, base64.b64encode(png(48, 64)["buffer"]).decode()],
    )  # fmt: skip
    page.wait_for_function("document.querySelector('.attnlib-panel figcaption').textContent === 'mine.png'")


@pytest.mark.browser
def test_looking_for_something_moves_the_weights(show):
    page = show(SaliencyTuner(preset="A conjunction"))
    page.get_by_label("Look for").select_option("upright lines")
    frame(page)
    assert page.get_by_label("Colour", exact=True).get_attribute("aria-valuetext") == "0.00"
    first = page.locator(".attnlib-fixations tbody tr").nth(1).locator("td").all_inner_texts()
    assert near([int(first[0]), int(first[1])], TARGET_AT)
    page.get_by_label("Intensity", exact=True).fill("1")
    frame(page)
    assert page.get_by_label("Look for").input_value() == "own weights"
