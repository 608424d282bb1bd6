"""GlimpseExplorer: its outputs against attnlib, what its presets promise, its arithmetic in the page, and its page in
the hand. test_widgets*.py has the rest."""

import json
import random
import re

import pytest
import torch
from browser import drag, frame, middle
from drawn import arithmetic, draw, found, rows, text

from attnlib.input_features.glimpse import ContextNetwork, GlimpseNetwork
from attnlib.input_features.recurrent_attention import RecurrentAttention
from attnlib.input_features.retina import retina
from attnlib.widgets import GlimpseExplorer
from attnlib.widgets.image import packed, unpacked
from attnlib.widgets.input_features.glimpse_explorer import PRESETS, STORE
from attnlib.widgets.input_features.glimpse_model import packed_model, unpacked_model
from attnlib.widgets.text import number, pair, share
from book.experiments import glimpse_explorer as script


def made(seed=0, size=5, scales=3, channels=1, kinds=3, height=17, width=23, glimpses=6, **more):
    """A small explorer with random weights over noise."""
    torch.manual_seed(seed)
    look = GlimpseNetwork(size, scales, channels=channels, d_hidden=7, d_glimpse=11)
    model = RecurrentAttention(kinds, look, d_state=13).double()
    for parameter in model.parameters():
        parameter.data.mul_(3)
    scene = {"name": "noise", "image": packed(torch.rand(3, height, width).double()), "kind": 1}
    state = {"model": packed_model(model, glimpses), "scenes": [scene], **more}
    return GlimpseExplorer(**state), model


def flat(values):
    return torch.tensor(values, dtype=torch.float64).flatten().tolist()


def image_of(widget, channels=1):
    return unpacked(widget.scenes[widget.scene]["image"])[None, :channels]


def path_of(widget, count, start):
    """Where the model looks and what it believes, by its own forward."""
    model, image = unpacked_model(widget.model), image_of(widget)
    path = model(image, count, start=image.new_tensor([start]), sample=False)
    return path.location[:, 0].tolist(), path.log_probability[:, 0].exp().tolist()


def test_outputs_are_those_of_attnlib():
    widget, model = made(fovea=[0.3, -0.2])
    widget.to(9)
    places, beliefs = path_of(widget, 6, [0.3, -0.2])
    assert flat(widget.places) == pytest.approx(flat(places), abs=1e-12)
    assert flat(widget.beliefs) == pytest.approx(flat(beliefs), abs=1e-12)
    assert widget.fovea == widget.places[-1]
    assert widget.own[:-1] == widget.places[1:]
    seen = retina(image_of(widget)[0], torch.tensor(widget.fovea).double(), size=5, scales=3)
    torch.testing.assert_close(torch.tensor(widget.patches, dtype=torch.float64), seen)
    widget.back()
    assert (len(widget.places), widget.fovea) == (5, widget.places[-1])
    with torch.no_grad():
        whole = model(image_of(widget), 6, start=torch.tensor([[0.3, -0.2]]).double(), sample=False)
    assert flat(beliefs) == pytest.approx(whole.log_probability.exp().flatten().tolist(), abs=2e-3)  # before 16 bits


def test_bad_state_is_refused():
    with pytest.raises(ValueError, match="model must be without a context"):
        packed_model(RecurrentAttention(3, GlimpseNetwork(2), d_state=5, context=ContextNetwork(2, 5)), 1)
    widget, _ = made(glimpses=2)
    broken = {**widget.model, "layers": {**widget.model["layers"], "where": widget.model["layers"]["what"]}}
    odd = {**widget.model["layers"]["where"], "weight": "AAA"}
    scene = widget.scenes[0]
    drawn = torch.get_rng_state()
    for state, message in (
        ({"model": broken}, "model must be of packed_model"),
        ({"model": {**widget.model, "size": 7}}, "model must be of packed_model"),
        ({"model": {**widget.model, "layers": {**widget.model["layers"], "where": odd}}}, "model must be of packed"),
        ({"places": [[0, 0]] * 3}, "places must be at most 2, as many as the model looks at; got 3"),
        ({"scenes": [{**scene, "kind": 3}]}, "scenes must be of kinds below 3"),
    ):
        with pytest.raises(ValueError, match=message):
            widget.update(**state)
    assert torch.equal(torch.get_rng_state(), drawn)  # a widget on a page changes nothing that is drawn there


def test_what_is_stored_is_what_the_script_writes():
    """Scenes of digits that were not trained with, and weights which are those of the results where these are there."""
    model = script.trained(script.MODEL) if script.MODEL.exists() else unpacked_model(GlimpseExplorer().model)
    assert script.stored(model) == json.loads(STORE.read_text(encoding="utf-8"))


# ---------------------------------------------------------------------------------------- what the presets say, is so


def lightest(name):
    return [max(flat(patch[0])) for patch in GlimpseExplorer(preset=name).patches]


def test_presets_are_true():
    """Of any model: those of what is seen, and of one place seen twice."""
    sharp, *wider = lightest("Beside the digit")
    assert sharp < 0.02
    assert min(wider) > 0.2
    assert lightest("Nothing in sight") == [0, 0, 0]
    assert lightest("On the digit")[0] > 0.5
    assert GlimpseExplorer().model["size"] == 12
    first, second = GlimpseExplorer(preset="The same place again").beliefs
    assert first != pytest.approx(second, abs=1e-3)
    widget = GlimpseExplorer(preset="Its own path")
    widget.to(6)
    places, _ = path_of(widget, 6, [0, 0])
    assert flat(widget.places) == pytest.approx(flat(places), abs=1e-12)


def test_presets_are_true_of_the_stored_model():
    """Its own paths are the model's, their ends as told; and what a reader is asked to do does what is said."""
    for name, count in (("Found at once", 3), ("Misread", 6)):
        widget = GlimpseExplorer(preset=name)
        assert flat(widget.places) == pytest.approx(flat(path_of(widget, count, [0, 0])[0]), abs=2e-3)
    found = GlimpseExplorer(preset="Found at once")
    assert found.scenes[found.scene]["kind"] == 4
    assert found.beliefs[0][4] < 0.6
    assert found.beliefs[1][4] > 0.9
    places, _ = path_of(found, 6, [0, 0])
    assert max(map(abs, places[5])) > 1.5
    assert sum((x - y) ** 2 for x, y in zip(places[3], DIGITS[found.scene], strict=True)) > 1
    read = GlimpseExplorer(preset="Misread")
    assert read.scenes[read.scene]["kind"] == 2
    assert max(read.beliefs[-1]) == read.beliefs[-1][9] > 0.6
    x, y = DIGITS[read.scene]
    for aside in (0.15, 0.25, 0.35):
        read.update(places=[[x, y], [x - aside, y], [x + aside, y]])
        assert read.beliefs[-1][2] > 0.6
    blind = GlimpseExplorer(preset="Nothing in sight")
    blind.to(6)
    assert max(map(abs, blind.places[1])) < 0.3
    assert blind.beliefs[-1][blind.scenes[blind.scene]["kind"]] > 0.9


DIGITS = {4: (-0.37, -0.47), 5: (0.23, 0.4)}  # the middle of the digit, by scene


# ------------------------------------------------------------------------------------------------ the page, in numbers


def test_arithmetic_is_that_of_attnlib(record_property):
    """Grey and coloured, of many sizes; at pixels, between them, at the edge, partly and wholly outside."""
    rng, widgets, cases = random.Random(0), [], []
    sizes = [(1, 1, 1), (2, 3, 1), (5, 3, 3), (12, 3, 1), (7, 4, 3), (3, 6, 1)]
    for seed, (size, scales, channels) in enumerate(sizes):
        near = [[rng.uniform(-1.6, 1.6), rng.uniform(-1.6, 1.6)] for _ in range(4)]
        places = [[0, 0], [1, -1], *near, [-5.5, 0.1], [0.0, 1 / 17]]
        shape = {"height": 17, "width": 23, "channels": channels, "kinds": 3 + seed, "glimpses": 8}
        widgets.append(made(seed, size, scales, **shape, places=places)[0])
        cases.append([widgets[-1].model, widgets[-1].scenes[0]["image"], places])
    results = arithmetic("glimpses", "bitmap")(
        """(cases) => cases.map(([model, picture, places]) => {
            const net = math.network(model);
            const image = math.planes(math.unpacked(picture));
            const seen = places.map((place) => math.retina(image, place, net).flat().flatMap((patch) => [...patch]));
            const found = math.glimpses(net, image, places);
            const turned = math.glimpses(net, image, places.map(([x, y]) => [y, x]));
            return [seen, found.map((each) => [...each.belief, ...each.next]), turned.map((each) => each.belief)];
        })""",
        cases,
    )  # fmt: skip
    gap, wrong = 0.0, 0.0
    for widget, (seen, told, turned), (model, _, places) in zip(widgets, results, cases, strict=True):
        image = image_of(widget, len(widget.patches[0]))
        at = torch.tensor(places, dtype=torch.float64)
        wanted = retina(image, at, size=model["size"], scales=model["scales"]).flatten(1)
        pairs = zip(widget.beliefs, widget.own, strict=True)
        right = torch.tensor([belief + own for belief, own in pairs], dtype=torch.float64)
        for made_, of in ((seen, wanted), (told, right)):
            gap = max(gap, float((torch.tensor(made_, dtype=torch.float64) - of).abs().max()))
        wrong = max(wrong, float((torch.tensor(turned) - torch.tensor(widget.beliefs)).abs().max()))
    record_property("measured", f"{gap:.1e} largest gap to attnlib  glimpses")
    assert gap < 1e-6
    assert wrong > 0.01


def test_page_shows_the_beliefs_of_attnlib():
    widgets = [GlimpseExplorer(preset=item["name"]) for item in PRESETS]
    widgets += [made(glimpses=count, places=[[0.1, 0.2], [3.0, -0.5]])[0] for count in (2, 3)]
    for widget, view in zip(widgets, draw(*widgets), strict=True):
        count = len(widget.places)
        for kind, (name, now, *earlier) in enumerate(rows(view)):
            told = [number(each[kind]) for each in widget.beliefs[:-1]]
            assert (name, now) == (str(kind), share(widget.beliefs[-1][kind]) if count else "")
            assert earlier == told + [""] * (widget.model["glimpses"] - 1 - len(told))
        assert len(found(view, "attnlib-glimpse-patches")[0].findall("figure")) == widget.model["scales"]
        trail = [text(each) for each in found(view, "attnlib-steps-trail")[0].findall("li")]
        told = [f"{n} {pair(place)}" for n, place in enumerate(widget.places, 1)]
        assert [line.split(")")[0] + ")" for line in trail] == told
        news = text(found(view, "attnlib-caption")[0])
        on = 0 < count < widget.model["glimpses"]
        assert ("next at" in news, on and pair(widget.own[-1]) in news) == (on, on)


# -------------------------------------------------------------------------------------------------------- in the hand


def places_in(page):
    return re.findall(r"\((\S+), (\S+)\)", page.locator(".attnlib-steps-trail").inner_text())


@pytest.mark.browser
def test_mouse_and_keys_look_and_the_live_region_tells(show):
    page = show(GlimpseExplorer(preset="Its own path"))
    grip = page.locator(".attnlib-point")
    grip.focus()
    for key in ("ArrowRight", "Shift+ArrowUp", "Enter"):
        page.keyboard.press(key)
    frame(page)
    assert places_in(page) == [("0.10", "−0.50")]
    told = page.locator("[role=status]")
    told.filter(has_text="Glimpse 1 at (0.10, −0.50): most belief in").wait_for(state="attached")
    x, y = middle(grip)
    drag(page, x, y, 0, 40)
    assert len(places_in(page)) == 2
    page.mouse.click(x - 30, y + 10)
    frame(page)
    assert len(places_in(page)) == 3
    for name, count in (("Look", 4), ("Back", 3), ("Start again", 0), ("Look", 1)):
        page.get_by_role("button", name=name, exact=True).click()
        frame(page)
        assert len(places_in(page)) == count


@pytest.mark.browser
def test_its_own_path_is_that_of_attnlib(show, page):
    widget = GlimpseExplorer(preset="Its own path")
    widget.to(6)
    wanted = [tuple(number(value) for value in place) for place in widget.places]
    show(GlimpseExplorer(preset="Its own path"))
    for _ in range(3):
        page.get_by_role("button", name="Let it look").click()
    frame(page)
    assert places_in(page) == wanted[:3]
    page.clock.install()
    page.get_by_role("button", name="Replay its own path").click()
    page.clock.run_for(1000)
    assert places_in(page) == wanted[:2]
    page.clock.run_for(9000)
    assert places_in(page) == wanted
    page.emulate_media(reduced_motion="reduce")
    page.get_by_role("button", name="Start again").click()
    page.get_by_role("button", name="Replay its own path").click()
    page.clock.run_for(50)
    assert places_in(page) == wanted
