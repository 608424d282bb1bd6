"""DecoderStepper: its outputs against attnlib.recurrent, what its presets promise, its arithmetic and numbers in the
page, and its page in the hand. test_widgets*.py has the rest; tests/tools/test_experiments.py its stored model."""

import random
from functools import partial

import pytest
import torch
from browser import frame
from drawn import arithmetic, draw, found, rows, text

from attnlib.recurrent.rnnsearch import RNNsearch
from attnlib.widgets import DecoderStepper
from attnlib.widgets.recurrent.decoder_stepper import MAX_WORDS, PRESETS, SENTENCES, decoder_of, sentence_of, tiny
from attnlib.widgets.text import share

FRENCH = [
    "le chat rouge voit une maison noire ⟨end⟩",
    "la maison noire trouve un petit chat ⟨end⟩",
    "le chien vert trouve la voiture ⟨end⟩",
]
TARGET = DecoderStepper.data["target_words"]


def stepper(preset, **state):
    widget = DecoderStepper(preset=preset)
    widget.update(**state)
    return widget


def read(index):
    """The words of a sentence, end mark and all."""
    return [*SENTENCES[index].split(), "⟨end⟩"]


# ------------------------------------------------------------------------------------------------------------ outputs


def test_outputs_are_those_of_the_model():
    model, known, target = tiny()
    widget = DecoderStepper(index=1, words=["la", "chat"])
    source = torch.tensor([[known.index(word) for word in SENTENCES[1].split()] + [2]])
    words = torch.tensor([[1, target.index("la"), target.index("chat")]])
    with torch.no_grad():
        kept, whole = model.encode(source, source != 0), model(source, source != 0, words)
        state = kept.state
        for word in words[0]:
            before, step = state, model.step(word[None], state, kept)
            state = step.state
    wanted = {"before": before, "after": state, "energies": step.energies, "weights": whole.weights[:, -1]}
    for name, values in wanted.items():
        assert getattr(widget, name) == pytest.approx(values[0].tolist())
    assert widget.context == pytest.approx((whole.weights[0, -1] @ kept.annotations[0]).tolist())
    assert widget.probabilities == pytest.approx(whole.logits[0, -1].softmax(-1).tolist())
    assert widget.best == target[2 + int(whole.logits[0, -1, 2:].argmax())]


def test_it_goes_forward_and_back_and_to_any_step():
    seen = []
    for index, french in enumerate(FRENCH):
        widget = DecoderStepper(index=index)
        widget.words = []
        widget.to(MAX_WORDS)
        assert " ".join(widget.words) == french
        last = widget.weights
        widget.forward()
        assert " ".join(widget.words) == french
        assert widget.best == "⟨end⟩"
        widget.back()
        assert (widget.words, widget.weights) == (french.split()[:-1], last)
        widget.observe(lambda change, widget=widget: seen.append((change["new"], widget.best)), "words")
        widget.to(-1)
    assert seen == [([], "le"), ([], "la"), ([], "le")]
    endless = DecoderStepper(words=["le"] * 11)
    endless.forward()
    endless.forward()
    assert len(endless.words) == MAX_WORDS


BAD = [
    ({"words": ["chat", "katze"]}, "words must be of ⟨end⟩, <unk>, chat, .*, ⟨end⟩ last; got 'katze' at place 1"),
    ({"words": ["⟨end⟩", "le"]}, "⟨end⟩ last; got '⟨end⟩' at place 0"),
    ({"words": ["⟨begin⟩"]}, "words must be of ⟨end⟩"),
    ({"words": ["le"] * 13}, "words must be a list of texts, n from 0 to 12"),
    ({"index": 3}, "index must be a whole number from 0 to 2; got 3"),
]


@pytest.mark.parametrize(("state", "message"), BAD)
def test_bad_state_is_refused(state, message):
    with pytest.raises(ValueError, match=message):
        DecoderStepper().update(**state)


# ---------------------------------------------------------------------------------------- what the presets say, is so


def most(widget):
    return read(widget.index)[max(range(len(widget.weights)), key=widget.weights.__getitem__)]


def test_it_opens_where_the_next_word_is_open():
    """And with what it says of it: the meaning is read, the grammar of what is written decides."""
    widget = DecoderStepper()
    chances = dict(zip(TARGET, widget.probabilities, strict=True))
    assert (widget.preset, most(widget)) == ("La, not le", "cat")
    assert widget.weights[2] > 0.9
    assert 0.6 < max(chances.values()) < 0.8
    assert chances["chat"] < 0.01
    assert stepper("La, not le", words=["le"]).best == "chat"
    widget.to(MAX_WORDS)
    assert " ".join(widget.words) == "la voiture rouge voit une maison noire ⟨end⟩"


def test_preset_le_looks_at_cat():
    widget = stepper("Le looks at cat")
    assert (most(widget), widget.best) == ("cat", "le")
    assert widget.weights[2] > 0.8


def test_preset_out_of_order():
    widget, seen = stepper("Out of order"), []
    for _ in range(3):
        seen.append((widget.best, most(widget)))
        widget.forward()
    assert seen == [("chat", "cat"), ("rouge", "red"), ("voit", "sees")]


def test_preset_too_late():
    late = partial(stepper, "Too late")
    natural = late(words=["le", "chat", "rouge"])
    assert late(words=["le", "chat"]).best == "rouge"
    assert (late().weights, late().before) == (natural.weights, natural.before)
    widget = late()
    widget.to(MAX_WORDS)
    assert widget.words[:4] == ["le", "chat", "voit", "voit"]
    assert "rouge" not in widget.words
    assert late(words=widget.words[:4]).weights != late(words=["le", "chat", "rouge", "voit"]).weights


def test_preset_another_noun():
    assert stepper("Another noun", words=["la"]).best == "chien"
    assert stepper("Another noun").best == "verte"
    assert stepper("Another noun", words=["le", "maison"]).best == "vert"


# ------------------------------------------------------------------------------------------------ the page, in numbers


def test_arithmetic_is_that_of_attnlib(record_property):
    """A thousand steps of 40 decoders of random weights, with states that are large too."""
    rng = random.Random(0)
    cases, wanted = [], []
    for seed in range(40):
        torch.manual_seed(seed)
        choices = {"hidden": [1, 3, 7], "embedding": [1, 2, 5], "alignment": [1, 5, 11], "maxout": [1, 7]}
        model = RNNsearch(11, 13, **{name: rng.choice(some) for name, some in choices.items()}).double()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.normal_()
            source = torch.tensor([[rng.randint(4, 10) for _ in range(rng.randint(1, 9))]])
            kept = model.encode(source, source != 0)
            steps = []
            for _ in range(25):
                wide = rng.choice([1, 1, 5])
                state, word = [rng.uniform(-wide, wide) for _ in kept.state[0]], rng.randrange(13)
                steps.append((state, word))
                step = model.step(torch.tensor([word]), torch.tensor([state], dtype=torch.float64), kept)
                parts = {**step._asdict(), "after": step.state, "probabilities": step.logits.softmax(-1)}
                wanted.append({name: values[0].tolist() for name, values in parts.items() if name != "state"})
        cases.append((decoder_of(model), sentence_of(kept), steps))
    made = arithmetic("decoder")(
        """(cases) => cases.flatMap(([decoder, sentence, steps]) =>
            steps.map(([state, word]) => math.decoderStep(decoder, sentence, state, word)))""",
        cases,
    )
    gap = 0.0
    for step, expected in zip(made, wanted, strict=True):
        for name, values in expected.items():
            gap = max(gap, *(abs(a - b) for a, b in zip(step[name], values, strict=True)))
    assert len(made) == 1000
    record_property("measured", f"{gap:.1e} largest gap to attnlib  decoder step")
    assert gap < 1e-6


def minus(value):
    told = f"{abs(value):.3f}"
    return f"−{told}" if value < 0 and float(told) else told


def trail(view):
    return [text(item) for item in found(view, "attnlib-steps-trail")[0]]


def test_page_shows_the_numbers_of_attnlib():
    widgets, before = [], []
    for item in PRESETS:
        widget = DecoderStepper(preset=item["name"], numbers=True)
        for _ in range(4):
            widgets.append(DecoderStepper(**widget.state()))
            before.append(DecoderStepper(index=widget.index, words=widget.words[:-1]).weights if widget.words else None)
            widget.forward()
    for widget, last, view in zip(widgets, before, draw(*widgets), strict=True):
        numbers = zip(read(widget.index), widget.weights, widget.energies, strict=True)
        assert rows(view, "attnlib-looks") == [[word, share(weight), minus(e)] for word, weight, e in numbers]
        ghosts = [each for each in found(view, "attnlib-ghost") if each.get("hidden") is None]
        assert [each.get("style") for each in ghosts] == [f"width:{100 * x:.2f}%" for x in last or [] if x > 0.01]
        ranked = sorted(zip(TARGET, widget.probabilities, strict=True), key=lambda pair: -pair[1])[:5]
        listed = found(view, "attnlib-decoder-next")[0]
        assert [(text(li[0]), text(li[1])) for li in listed] == [(word, share(p)) for word, p in ranked]
        assert [item.split(" ")[0] for item in trail(view)] == [*widget.words, "?"]
        shown = [text(each) for each in found(view, "attnlib-steps-numbers")]
        for place, values in ((0, widget.after), (1, widget.context), (5, widget.before)):
            assert shown[place] == " ".join(minus(value) for value in values)
    first, ended = draw(DecoderStepper(), DecoderStepper(words=FRENCH[0].split()))
    assert trail(first) == ["la forced, not le", "?"]
    assert "The sentence is ended." in text(found(ended, "attnlib-caption")[0])


# ----------------------------------------------------------------------------------------------- the page, in the hand


def written(page):
    frame(page)
    return [item.split()[0] for item in page.locator(".attnlib-steps-trail li").all_inner_texts()]


def buttons(page):
    return (page.get_by_role("button", name=name, exact=True) for name in ("Take the best word", "Back", "Start again"))


@pytest.mark.browser
def test_steps_by_button_and_keyboard(show):
    page, words = show(DecoderStepper(index=2, words=[])), FRENCH[2].split()
    forward, back, again = buttons(page)
    assert back.get_attribute("aria-disabled") == "true"
    for count in range(1, 8):
        forward.click() if count % 2 else forward.press("Enter")
        assert written(page) == words[:count] + (["?"] if count < 7 else [])
    assert forward.get_attribute("aria-disabled") == "true"
    forward.press("Enter")
    assert written(page) == words
    back.click()
    assert written(page) == [*words[:-1], "?"]
    again.click()
    assert written(page) == ["?"]


@pytest.mark.browser
def test_a_forced_word_is_gone_on_from_and_another_sentence_begins_anew(show):
    page, widget = show(DecoderStepper(words=[])), DecoderStepper(words=["petite"])
    page.get_by_label("Or force").select_option("petite")
    assert written(page) == ["petite", "?"]
    second = sorted(zip(TARGET, widget.probabilities, strict=True), key=lambda pair: -pair[1])[1][0]
    page.get_by_role("button", name=second, exact=True).press("Enter")
    widget.words = ["petite", second]
    page.get_by_role("button", name="Take the best word").click()
    assert written(page) == ["petite", second, widget.best, "?"]
    assert page.locator("li[data-odd]").count() == 2
    page.get_by_label("Sentence", exact=True).select_option(label="the green dog finds the car")
    assert written(page) == ["?"]
    page = show(DecoderStepper(words=["le"] * 12))
    page.get_by_role("button", name="Take the best word").press("Enter")
    page.locator(".attnlib-decoder-next button").first.press("Enter")
    assert written(page) == ["le"] * 12 + ["?"]
    assert page.get_by_label("Or force").is_disabled()


BOXES = """() => [".attnlib-steps-trail", ".attnlib-looks", ".attnlib-decoder-next", ".attnlib-steps-vectors svg",
    ".attnlib-steps-walk"].map((name) => document.querySelector(name).getBoundingClientRect())"""


@pytest.mark.browser
def test_all_that_a_step_changes_is_on_one_screen_and_its_button_in_reach(show):
    """On a desk with the presets; on a phone from the trail down, and the button before the reader has come to it."""
    page = show(DecoderStepper(words=["le", "chat", "voit"]))
    for width, height in ((1280, 800), (390, 844)):
        page.set_viewport_size({"width": width, "height": height})
        page.evaluate("document.querySelector('main').style = 'max-width:688px; padding-bottom:2000px'")
        frame(page)
        *_, bar = page.evaluate(BOXES)
        assert bar["bottom"] <= height
        if width < 500:
            page.locator(".attnlib-steps-trail").evaluate(
                "(node) => window.scrollTo(0, node.getBoundingClientRect().top)"
            )
            frame(page)
        *parts, bar = page.evaluate(BOXES)
        assert all(part["top"] > -1 and part["bottom"] <= bar["top"] for part in parts)
        assert bar["height"] < 60  # in one row
        assert bar["bottom"] <= height
