"""CoAttentionViewer: its outputs against attnlib, what its presets promise, its arithmetic in the page, and its page in
the hand. test_widgets*.py has the rest."""

import json
import random

import pytest
import torch
from browser import frame
from drawn import arithmetic, draw, found, rows, text
from torch import nn

from attnlib.input_representations.coattention_network import PhraseCoAttention
from attnlib.widgets import CoAttentionViewer
from attnlib.widgets.image import packed, unpacked
from attnlib.widgets.input_representations.co_attention_model import KINDS, packed_model
from attnlib.widgets.input_representations.co_attention_viewer import PRESETS, STEPS, STORE
from attnlib.widgets.text import number, share
from book.experiments import coattention_viewer as script

WORDS, ANSWERS = [f"w{n}" for n in range(7)], ["yes", "no", "red"]


def made(seed=0, d=5, cell=3, height=7, width=9, **more):
    """A small viewer with random weights over noise; 2 by 3 cells, and a row of pixels that no cell has."""
    torch.manual_seed(seed)
    seen = nn.Conv2d(3, d, cell, stride=cell)
    networks = {kind: PhraseCoAttention(len(WORDS), d, len(ANSWERS), attention) for kind, attention in KINDS.items()}
    for network in networks.values():
        for parameter in network.parameters():
            parameter.data.mul_(2)
    asked = {"questions": ["w0 w1", "w3"], "answers": ["yes", "red"]}
    scene = {"name": "noise", "told": "noise", "image": packed(torch.rand(3, height, width).double()), **asked}
    state = {"model": packed_model(seen, networks, WORDS, ANSWERS), "scenes": [scene], "words": ["w1", "w4", "w4"]}
    return CoAttentionViewer(**(state | more)), seen, networks


def outputs(widget):
    """All that is computed, in one row."""
    pairs = [value for row in widget.affinity or [] for value in row]
    return [*pairs, *(widget.first or []), *widget.regions, *widget.read, *widget.belief]


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_are_those_of_attnlib(kind):
    widget, seen, networks = made(kind=kind)
    image = unpacked(widget.scenes[0]["image"])
    regions = torch.tanh(seen.double()(2 * image[None] - 1)).flatten(2).mT
    with torch.no_grad():
        reading = networks[kind].double()(regions, torch.tensor([[1, 4, 4]]))
    (level,) = reading.levels
    close = {"rtol": 0, "atol": 2e-3}  # before 16 bits
    for got, want in (
        (widget.regions, level.image.weights[0, 0]),
        (widget.read, level.question.weights[0, 0]),
        (widget.belief, reading.scores[0].softmax(-1)),
    ):
        torch.testing.assert_close(torch.tensor(got, dtype=torch.float64), want, **close)
    assert len(widget.regions) == 6
    assert (widget.affinity is None, widget.first is None) == (kind == "alternating", kind == "parallel")


def test_steps():
    widget, *_ = made(kind="parallel")
    for _ in range(5):
        widget.forward()
    assert widget.step == len(STEPS["parallel"])
    widget.back()
    assert widget.step == len(STEPS["parallel"]) - 1


def test_bad_state_is_refused():
    widget, *_ = made(kind="parallel")
    odd = {**widget.model["parallel"], "fusion": widget.model["parallel"]["answer"]}
    small = packed(torch.rand(3, 2, 9).double())
    drawn = torch.get_rng_state()
    for state, message in (
        ({"words": ["w1", "what"]}, "words must be known to the model, got 'what'; it knows w0, w1"),
        ({"words": []}, "words must be"),
        ({"step": 4}, "step must be at most 3, as many as parallel has; got 4"),
        ({"model": {**widget.model, "parallel": odd}}, "model must be of packed_model"),
        ({"model": {**widget.model, "answers": ["yes"]}}, "model must be of packed_model"),
        ({"scenes": [{**widget.scenes[0], "image": small}]}, "scenes must have pictures of at least a cell, 3 pixels"),
        ({"scenes": [{**widget.scenes[0], "answers": ["yes"]}]}, "scenes must be"),
    ):
        with pytest.raises(ValueError, match=message):
            widget.update(**state)
    assert torch.equal(torch.get_rng_state(), drawn)


def test_what_is_stored_is_what_the_script_writes():
    assert script.stored(*script.trained()) == json.loads(STORE.read_text(encoding="utf-8"))


# ---------------------------------------------------------------------------------------- what the presets say, is so


def shown(name):
    widget = CoAttentionViewer(preset=name)
    best = max(range(len(widget.belief)), key=widget.belief.__getitem__)
    return widget, widget.model["answers"][best], widget.scenes[widget.scene]


def things(scene):
    """What stands in which cell, by number."""
    return {int(one.split()[-1]): " ".join(one.split()[:2]) for one in scene["told"].split(", ")}


def test_presets_are_true():
    for name in ("In turn", "In parallel"):
        widget, answer, scene = shown(name)
        assert things(scene)[5] == "red circle"
        assert [cell for cell, thing in things(scene).items() if "triangle" in thing] == [7]
        assert widget.regions[4] < 0.03
        assert widget.regions[6] > 0.9
        assert answer == "blue"
    full = [abs(value) > 0.95 for row in shown("In parallel")[0].affinity for value in row]
    assert sum(full) / len(full) > 0.75
    widget, answer, scene = shown("Two are not more than one")
    red = [cell for cell, thing in things(scene).items() if "red" in thing]
    assert (len(red), answer) == (2, "1")
    assert min(widget.regions[cell - 1] for cell in red) > 0.3
    widget, answer, scene = shown("Words that say nothing")
    assert sum(widget.regions[cell - 1] for cell, thing in things(scene).items() if "square" in thing) > 0.7
    assert widget.read[widget.words.index("are")] > 0.9
    widget, answer, scene = shown("None is there")
    assert "red cross" not in things(scene).values()
    empty = [cell for cell in range(1, 10) if cell not in things(scene)]
    assert (len(empty), answer) == (4, "no")
    assert sum(widget.regions[cell - 1] for cell in empty) > 0.9
    assert "purple cross" in things(scene).values()
    widget.update(words=["is", "there", "a", "purple", "cross"])
    assert widget.belief[widget.model["answers"].index("yes")] > 0.5
    widget, answer, scene = shown("Wrong, and seen to be")
    assert "blue circle" not in things(scene).values()
    assert answer == "yes"
    assert things(scene)[1 + max(range(9), key=widget.regions.__getitem__)] == "blue cross"


# ------------------------------------------------------------------------------------------------ the page, in numbers


def test_arithmetic_is_that_of_attnlib(record_property):
    """Both kinds; questions of one to sixteen words, some twice; cells of one pixel and more."""
    rng, widgets = random.Random(0), []
    for seed, (d, cell) in enumerate(((3, 1), (5, 3), (7, 4), (2, 2))):
        for kind in KINDS:
            words = rng.choices(WORDS, k=rng.choice((1, 2, 3, 9, 16)))
            widgets.append(made(seed, d, cell, kind=kind, words=words)[0])
    cases = [[w.model, w.kind, w.scenes[0]["image"], [WORDS.index(word) for word in w.words]] for w in widgets]
    results = arithmetic("coattention", "bitmap")(
        """(cases) => cases.map(([model, kind, picture, words]) => {
            const net = math.network(model, kind);
            const image = math.regions(net, math.unpacked(picture));
            const told = (asked) => {
              const { affinity, first, image: one, question, belief } = math.answered(net, image, asked);
              const pairs = (affinity ?? []).flatMap((row) => [...row]);
              return [...pairs, ...(first?.weights ?? []), ...one.weights, ...question.weights, ...belief];
            };
            return [told(words), told(words.map((word) => (word + 1) % 7))];
        })""",
        cases,
    )  # fmt: skip
    gap, wrong = 0.0, 0.0
    for widget, (right, other) in zip(widgets, results, strict=True):
        wanted = outputs(widget)
        assert len(right) == len(wanted)
        gap = max(gap, *(abs(a - b) for a, b in zip(right, wanted, strict=True)))
        wrong = max(wrong, *(abs(a - b) for a, b in zip(other, wanted, strict=True)))
    record_property("measured", f"{gap:.1e} largest gap to attnlib  co-attention")
    assert gap < 1e-6
    assert wrong > 0.01


def test_page_shows_what_attnlib_computes():
    widgets = [CoAttentionViewer(preset=item["name"]) for item in PRESETS]
    widgets += [made(kind=kind, step=step)[0] for kind in KINDS for step in range(len(STEPS[kind]) + 1)]
    for widget, view in zip(widgets, draw(*widgets), strict=True):
        done, last = widget.step, len(STEPS[widget.kind])
        second = done > 1 if widget.kind == "parallel" else done > 2
        weights = widget.read if second else widget.first if widget.kind == "alternating" and done else None
        told = [share(weight) for weight in weights] if weights else [""] * len(widget.words)
        assert rows(view, "attnlib-co-words") == [list(pair) for pair in zip(widget.words, told, strict=True)]
        best = sorted(zip(widget.belief, widget.model["answers"], strict=True), reverse=True)[:3]
        wanted = [[answer, share(p)] for p, answer in best] if done == last else [["?", ""]]
        assert rows(view, "attnlib-co-answers") == wanted
        cells = [text(each) for each in found(view, "attnlib-co-cells")[0]]
        assert cells == [f"{n}: {number(w)}" if done > 1 else str(n) for n, w in enumerate(widget.regions, 1)]
        if widget.kind == "parallel" and done:
            pairs = rows(view, "attnlib-co-pairs")
            assert [row[1:] for row in pairs] == [[number(c, 1) for c in row] for row in widget.affinity]


# -------------------------------------------------------------------------------------------------------- in the hand


@pytest.mark.browser
def test_questions_are_asked_in_words_and_strange_ones_refused(show):
    widget = CoAttentionViewer()
    page = show(widget)
    line = page.get_by_label("Your question")
    line.fill("is there a red Elephant?")
    page.get_by_role("button", name="Ask").click()
    frame(page)
    assert "“elephant”" in page.locator(".attnlib-co-own [role=alert]").inner_text()
    line.fill("Is there a red circle?")
    line.press("Enter")
    frame(page)
    page.get_by_role("button", name="To the answer").click()
    frame(page)
    asked = CoAttentionViewer(scene=widget.scene, words=["is", "there", "a", "red", "circle"], kind=widget.kind)
    asked.to(9)
    best = max(range(len(asked.belief)), key=asked.belief.__getitem__)
    shown = page.locator(".attnlib-co-answers tbody tr").first.inner_text().split()
    assert shown == [asked.model["answers"][best], share(asked.belief[best])]
    page.get_by_role("button", name="Start again").click()
    frame(page)
    assert page.locator(".attnlib-co-answers tbody tr").first.inner_text().strip() == "?"
