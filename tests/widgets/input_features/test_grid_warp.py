"""GridWarp: its outputs, what its presets promise, the page's arithmetic, its handles. test_widgets*.py has more."""

import io
import math
import random
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from browser import drag, frame, middle
from drawn import arithmetic, draw, found, rows
from PIL import Image

from attnlib.data import scenes
from attnlib.input_features.sampling import sample
from attnlib.input_features.spatial_transformer import affine, attention, projective, transform, warped_grid
from attnlib.widgets import GridWarp
from attnlib.widgets.image import packed, unpacked
from attnlib.widgets.text import number

BOUNDS = {name: spec for name, spec in GridWarp.schema().items() if "most" in spec}
FREE = ("turn", "width", "height", "shear", "right", "down", "tilt_x", "tilt_y")
FORMS = {"attention": (attention, 3), "affine": (affine, 6), "projective": (projective, 8)}
CORNERS = [[-1, -1], [1, -1], [1, 1], [-1, 1]]
# The scenes that are stored: which of them, and of which kind.
MADE = [
    (231, {"digit": 24, "warp": scenes.Warp(turn=45, zoom=(0.7, 1.2)), "seed": 0}),
    (8, {"digit": 16, "pieces": 5, "piece": 7, "seed": 1}),
    (26, {"digit": 24, "warp": scenes.Warp(turn=15, zoom=(0.8, 1.1), tilt=0.4), "seed": 2}),
]


def noise(height, width, seed):
    return packed(torch.rand(3, height, width, generator=torch.Generator().manual_seed(seed)))


def warp(preset, **state):
    widget = GridWarp(preset=preset)
    widget.update(**state)
    return widget


def drawn(rng, kind, **more):
    """A state with numbers of its own, well inside of the bounds."""
    numbers = {name: rng.uniform(0.7 * BOUNDS[name]["least"] + 0.1, 0.7 * BOUNDS[name]["most"]) for name in FREE}
    return {"kind": kind, **numbers, **more}


def cases():
    """Noise of many sizes under states of all kinds, some beyond the picture, some singular."""
    rng = random.Random(0)
    for seed, sizes in enumerate([(3, 7, 5, 2), (11, 5, 3, 13), (1, 1, 2, 3), (17, 19, 7, 11), (2, 13, 1, 5)]):
        pictures = noise(*sizes[:2], seed), noise(*sizes[2:], seed + 50)
        for kind in FORMS:
            for more in ({}, {"height": 0.0, "width": 0.0}, {"right": 1.4}):
                yield *pictures, drawn(rng, kind, **more)


def made(image, target, state):
    return GridWarp(pictures=[{"name": "noise", "image": image, "target": target}], **state)


def test_matrix_and_outputs():
    image, target = noise(3, 5, 0), noise(2, 4, 1)
    widget = made(image, target, {"turn": 90, "width": 0.5, "height": 0.8, "shear": 0.5, "right": 0.1, "down": -0.2})
    # The shear adds half of y to x, and the quarter turn takes x to y and y to -x.
    torch.testing.assert_close(torch.tensor(widget.matrix), torch.tensor([[0, -0.8, 0.1], [0.5, 0.4, -0.2], [0, 0, 1]]))
    wanted = transform(unpacked(image), torch.tensor(widget.matrix).double()[:2], (2, 4)).image
    torch.testing.assert_close(torch.tensor(widget.read).double(), wanted, rtol=0, atol=1e-6)
    assert widget.error == pytest.approx(float((wanted - unpacked(target)).square().mean()))
    widget.kept = [packed(wanted)]
    assert widget.error < 1e-5


def test_stored_scenes_are_those_of_the_library_and_a_preset_has_the_pose():
    digits = scenes.load()
    for picture, (n, kind), preset in zip(
        GridWarp().pictures, MADE, ("Undo the turn", "Attention crop", "Undo a slant"), strict=False
    ):
        scene, alone = (scenes.make(digits, count=n + 1, size=(42, 42), **kind | more) for more in ({}, {"pieces": 0}))
        assert picture["image"] == packed(scene.image[n])
        upright = transform(alone.image[n], scene.matrix[n], (24, 24)).image
        assert picture["target"] == packed(upright.clamp(0, 1))
        torch.testing.assert_close(torch.tensor(warp(preset).matrix), scene.matrix[n], rtol=0, atol=2e-3)


def test_presets():
    assert warp("Undo the turn").error < 1e-4 < 0.1 < warp("Identity").error
    assert warp("Attention crop").error < 0.01 < 0.1 < warp("Identity", picture=1).error
    out, flat = warp("Too far out"), warp("Singular")
    assert not torch.tensor(out.read).any()
    assert not torch.tensor(out.slopes).any()
    assert all(row == channel[0] for channel in flat.read for row in channel)
    assert warp("Undo a slant").error < 1e-4 < 0.01 < warp("Undo a slant", kind="affine").error
    few = warp("Fewer points than pixels")
    image = unpacked(few.pictures[few.picture]["image"]).unsqueeze(0)
    smooth = F.interpolate(image, (24, 24), mode="bilinear", antialias=True, align_corners=False)[0]
    torch.testing.assert_close(unpacked(few.pictures[few.picture]["target"]), smooth, rtol=0, atol=1 / 255)
    assert few.error > 5e-4


def given(widget):
    now = widget.pictures[widget.picture]
    return [now["image"], now["target"], {name: getattr(widget, name) for name in ("kind", *FREE)}]


def test_steps_go_down_as_the_presets_say():
    names = [preset["name"] for preset in GridWarp().presets]
    paths = arithmetic("warp", "bitmap")(
        """([cases, bounds]) => cases.map(([image, target, state]) => {
            const [picture, goal] = [image, target].map(math.unpacked);
            const error = (each) => math.compare(picture, goal, math.matrixOf(each)).error;
            const path = [error(state)];
            for (let now = state, n = 0; n < 40; n += 1) {
                const found = math.step(picture, goal, now, bounds);
                if (!found) break;
                now = { ...now, ...found };
                path.push(error(now));
            }
            return path;
        })""",
        [[given(warp(name)) for name in names], BOUNDS],
    )  # fmt: skip
    path = dict(zip(names, paths, strict=True))
    assert all(before > after for each in paths for before, after in pairwise(each))
    assert path["Down the gradient"][-1] < 1e-4 < 0.1 < path["Down the gradient"][0]
    assert path["Identity"][-1] > 0.05
    assert len(path["Identity"]) < 40
    assert len(path["Too far out"]) == 1


def test_arithmetic_is_that_of_attnlib(record_property):
    """What is read, the error, its slopes by places and free numbers; the other convention gives other values."""
    all_cases = list(cases())
    answers = arithmetic("warp", "bitmap")(
        """(cases) => cases.map(([image, target, state]) => {
            const [picture, goal] = [image, target].map(math.unpacked);
            const matrix = math.matrixOf(state);
            const found = math.compare(picture, goal, matrix);
            const slope = math.gradient(found, goal, matrix, state.kind);
            return [matrix, [...found.read], found.error, [...found.slopes], slope, math.stateOf(matrix, state.kind)];
        })""",
        all_cases,
    )  # fmt: skip
    gaps, other = [], []
    for (image, target, state), (matrix, read, error, slopes, slope, back) in zip(all_cases, answers, strict=True):
        widget, form = made(image, target, state), FORMS[state["kind"]]
        pixels, goal = unpacked(image), unpacked(target)
        theta = torch.tensor(widget.matrix).double().flatten() - torch.eye(3).double().flatten()
        theta = theta[[0, 2, 5]] if form[1] == 3 else theta[: form[1]]
        theta.requires_grad_()
        result = sample(pixels, warped_grid(form[0](theta), goal.shape[1:]))
        (by_theta,) = torch.autograd.grad((result - goal).square().mean(), theta)
        flat = torch.tensor(slope).double().flatten()
        pairs = [
            (matrix, widget.matrix),
            (read, result.permute(1, 2, 0).flatten().tolist()),
            (error, widget.error),
            (slopes, torch.tensor(widget.slopes).flatten()),
            (flat[[0, 2, 5]] if form[1] == 3 else flat[: form[1]], by_theta),
        ]
        gaps += [float((torch.as_tensor(a).double() - torch.as_tensor(b).double()).abs().max()) for a, b in pairs]
        if state["height"] > 0:
            wanted = [state[name] for name in back]
            assert list(back.values()) == pytest.approx(wanted, abs=1e-9)
        grid = warped_grid(form[0](theta.detach()), goal.shape[1:]).unsqueeze(0)
        wrong = F.grid_sample(pixels[None], grid, align_corners=True)[0].permute(1, 2, 0).flatten()
        other.append(float((wrong - torch.tensor(read).double()).abs().max()))
    record_property("measured", f"{max(gaps):.1e} largest gap to attnlib  warp")
    assert max(gaps) < 1e-6
    assert sum(gap > 1e-2 for gap in other) > len(other) // 2


def test_a_corner_follows_and_what_should_stay_stays():
    rng, asked = random.Random(1), []
    for kind in FORMS:
        for n in range(4):
            small = {
                "turn": rng.uniform(-180, 180),
                "shear": 0.2,
                "tilt_x": 0.1,
                "tilt_y": -0.1,
                "right": 0.1,
                "down": 0.2,
            }
            asked.append(
                [drawn(rng, kind, width=0.8, height=0.7, **small), n, [rng.uniform(-0.05, 0.05) for _ in "xy"]]
            )
    answers = arithmetic("warp")(
        """([cases, bounds]) => cases.map(([state, n, by]) => {
            const ends = (each) => math.CORNERS.map((corner) => math.moved(math.matrixOf(each), corner));
            const to = ends(state)[n].map((place, axis) => place + by[axis]);
            const crossed = math.cornered(state, n, ends(state)[(n + 2) % 4].map((place) => 3 * place + 9), bounds);
            return [to, ends(state), ends({ ...state, ...math.cornered(state, n, to, bounds) }), crossed];
        })""",
        [asked, BOUNDS],
    )  # fmt: skip
    for (state, n, _), (to, before, after, crossed) in zip(asked, answers, strict=True):
        assert after[(n + 2) % 4] == pytest.approx(before[(n + 2) % 4], abs=1e-3)
        if state["kind"] == "attention":  # as near as a square of this corner comes
            assert sum(s * (a - b) for s, a, b in zip(CORNERS[n], after[n], to, strict=True)) == pytest.approx(
                0, abs=1e-3
            )
        else:
            assert after[n] == pytest.approx(to, abs=1e-3)
        if state["kind"] == "projective":
            assert after[(n + 1) % 4] == pytest.approx(before[(n + 1) % 4], abs=1e-3)
        assert all(BOUNDS[name]["least"] <= value <= BOUNDS[name]["most"] for name, value in crossed.items())


def test_page_shows_the_numbers_of_attnlib():
    widgets = [warp(preset["name"]) for preset in GridWarp().presets]
    for widget, view in zip(widgets, draw(*widgets), strict=True):
        shown = widget.matrix if widget.kind == "projective" else widget.matrix[:2]
        assert [row[1:] for row in rows(view)] == [[number(entry) for entry in row] for row in shown]
        caption = "".join(found(view, "attnlib-caption")[0].itertext())
        assert f"Error {number(widget.error, 4)}." in caption
        assert widget.summary().split("; ")[-1].split(", ")[-1].split()[0] in caption.split()
        ends = torch.tensor(widget.matrix) @ torch.tensor([[x, y, 1.0] for x, y in CORNERS]).T
        words = [f"x {number(x)}, y {number(y)}" for x, y in (ends[:2] / ends[2]).T.tolist()]
        assert [each.get("aria-valuetext") for each in found(view, "attnlib-point")][1:5] == words


@pytest.mark.browser
def test_handles_keys_and_target(show):
    page = show(GridWarp(preset="Identity"))
    corner = page.get_by_role("slider", name="Corner C")
    centre = page.get_by_role("slider", name="Middle of the grid")
    width = page.locator(".attnlib-image-drawing").first.bounding_box()["width"]
    drag(page, *middle(corner), -width / 6, -width / 6)  # of a view that is about 3 wide
    assert centre.get_attribute("aria-valuetext") == pytest.approx("x −0.25, y −0.25")
    turn = page.get_by_role("slider", name="Turn of the grid")
    turn.focus()
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("ArrowLeft")
    frame(page)
    assert turn.get_attribute("aria-valuetext") == "8 degrees"
    page.get_by_role("button", name="Keep as target").click()
    frame(page)
    assert page.locator(".attnlib-caption").inner_text().startswith("Error 0.0000")
    page.get_by_label("Kind").select_option("attention")
    frame(page)
    assert not turn.is_visible()
    assert page.get_by_label("Size").is_visible()
    assert not page.get_by_label("Shear").is_visible()


@pytest.mark.browser
def test_own_picture_starts_as_its_own_target(show):
    page = show(GridWarp(preset="Undo a slant"))
    data = io.BytesIO()
    Image.linear_gradient("L").resize((120, 90)).save(data, "PNG")
    file = {"name": "mine.png", "mimeType": "image/png", "buffer": data.getvalue()}
    page.get_by_label("Your own picture", exact=True).set_input_files(file)
    page.wait_for_function("document.querySelector('.attnlib-panel figcaption').textContent === 'mine.png'")
    frame(page)
    assert page.locator(".attnlib-caption").inner_text().startswith("Error 0.0000")
    assert math.isclose(float(page.get_by_label("Width").input_value()), 1.0)
