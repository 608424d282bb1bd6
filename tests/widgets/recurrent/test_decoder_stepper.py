"""DecoderStepper: its outputs against attnlib.recurrent, what its presets promise, its arithmetic and numbers in the
page, and its page in the hand. test_widgets*.py has the rest; tests/tools/test_experiments.py its stored model."""

import random
from functools import partial

import pytest
import torch
from browser import frame
from drawn import arithmetic, draw, found, rows, text

from attnlib.recurrent.rnnsearch import RNNencdec, RNNsearch
from attnlib.widgets import DecoderStepper
from attnlib.widgets.recurrent.decoder_stepper import MAX_WORDS, PRESETS, kept_of, rebuilt
from attnlib.widgets.text import share

FRENCH = [
    "le chat rouge voit une maison noire <eos>",
    "la maison noire trouve un petit chat <eos>",
    "le chien vert trouve la voiture <eos>",
]


def stepper(preset, **state):
    widget = DecoderStepper(preset=preset)
    widget.update(**state)
    return widget


def given(seed=0, hidden=3, embedding=2, alignment=5, maxout=7, sentences=("x4 x9 x5", ["x10"])):
    """A model with random weights, and what else a stepper wants of it."""
    torch.manual_seed(seed)
    model = RNNsearch(11, 13, embedding=embedding, hidden=hidden, alignment=alignment, maxout=maxout)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
    words = {f"{side}_words": [f"{side[0]}{i}" for i in range(4)] for side in ("source", "target")}
    words["source_words"] += [f"x{i}" for i in range(4, 11)]
    words["target_words"] += [f"y{i}" for i in range(4, 13)]
    return {"model": model, "sentences": list(sentences), **words}


# ------------------------------------------------------------------------------------------------------------ outputs


def test_outputs_are_those_of_the_model():
    own = given()
    widget = DecoderStepper(**own)
    assert widget.presets == []
    assert [item["source"] for item in widget.sentences] == [["x4", "x9", "x5", "s2"], ["x10", "s2"]]
    widget.words = ["y12", "y4"]
    source = torch.tensor([[4, 9, 5, 2]])
    kept = own["model"].encode(source, source != 0)
    state = kept.state
    with torch.no_grad():
        for word in (1, 12, 4):
            before, step = state, own["model"].step(torch.tensor([word]), state, kept)
            state = step.state
    wanted = {"before": before, "energies": step.energies, "weights": step.weights, "context": step.context}
    wanted |= {"after": step.state, "probabilities": step.logits.softmax(-1)}
    for name, values in wanted.items():
        assert getattr(widget, name) == pytest.approx(values[0].tolist(), abs=2e-5)
    whole = own["model"](source, source != 0, torch.tensor([[1, 12, 4]]))
    assert widget.weights == pytest.approx(whole.weights[0, -1].tolist(), abs=2e-5)
    assert widget.best == own["target_words"][2 + int(whole.logits[0, -1, 2:].argmax())]


def test_the_mode_of_the_model_stays_and_parameters_have_six_digits():
    own = given()
    own["model"].train()
    widget = DecoderStepper(**own)
    assert own["model"].training
    exact = own["model"].unit.recurrent
    assert (torch.tensor(widget.decoder["recurrent"]) - exact).abs().max() <= 5e-6 * exact.abs().max()


def test_it_goes_forward_and_back_and_to_any_step():
    seen = []
    for index, french in enumerate(FRENCH):
        widget = DecoderStepper(index=index)
        widget.to(MAX_WORDS)
        assert " ".join(widget.words) == french
        last = widget.weights
        widget.forward()
        assert " ".join(widget.words) == french
        assert widget.best == "<eos>"
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
    ({"words": ["chat", "katze"]}, "words must be of target_words, the end mark last; got 'katze' at place 1"),
    ({"words": ["<eos>", "le"]}, "end mark last; got '<eos>' at place 0"),
    ({"words": ["<bos>"]}, "words must be of target_words"),
    ({"words": ["le"] * 13}, "words must be a list of texts, n from 0 to 12"),
    ({"target_words": ["a", "b", "c"]}, "has words="),
    ({"target_words": ["le"] * 22}, "target_words must be different words; got 21 again"),
    ({"sentences": ["the cat"]}, "sentences must be a list of {source"),
]


@pytest.mark.parametrize(("state", "message"), BAD)
def test_bad_state_is_refused(state, message):
    with pytest.raises(ValueError, match=message):
        DecoderStepper().update(**state)


@pytest.mark.parametrize(
    ("name", "message"),
    [("recurrent", "decoder must be"), ("output_bias", "decoder must be"), ("start", "has hidden=13")],
)
def test_parts_must_fit_together(name, message):
    widget = DecoderStepper()
    (first, *_) = widget.sentences
    whole = {"sentences": [{**first, name: first[name][:-1]}]} if name == "start" else {
        "decoder": {**widget.decoder, name: widget.decoder[name][:-1]}}  # fmt: skip
    with pytest.raises(ValueError, match=message):
        widget.update(**whole)
    cut = {part: widget.decoder[part][:-1] for part in ("input", "input_bias", "context")}  # they agree, and are wrong
    with pytest.raises(ValueError, match="decoder must have 3 hidden=42; got 41"):
        widget.decoder = {**widget.decoder, **cut}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": RNNencdec(11, 13, embedding=2, hidden=3, maxout=7)}, "model must be an RNNsearch; got RNNencdec"),
        ({"model": None}, "source_words must come with a model"),
        ({"source_words": ["a"]}, "source_words must be the 11 words of the model; got 1"),
        ({"target_words": None}, "target_words must be the 13 words of the model; got 0"),
        ({"sentences": "x4 x5"}, "sentences must be a list of texts"),
        ({"sentences": []}, "sentences must be a list of {source"),
        ({"sentences": ["x4 katze"]}, "sentences must be of words in source_words; got katze"),
        ({"sentences": [""]}, "got no words"),
        (given(hidden=33), "sentences must be a list of"),
    ],
)
def test_bad_models_and_sentences_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        DecoderStepper(**{**given(), **change})


# ---------------------------------------------------------------------------------------- what the presets say, is so


def most(widget):
    return widget.sentences[widget.index]["source"][max(range(len(widget.weights)), key=widget.weights.__getitem__)]


def test_preset_the_article_looks_at_the_noun():
    widget = stepper("The article looks at the noun")
    assert (most(widget), widget.best) == ("cat", "le")
    assert widget.weights[2] > 0.8


def test_preset_two_words_change_places():
    widget, seen = stepper("Two words change places"), []
    for _ in range(3):
        seen.append((widget.best, most(widget)))
        widget.forward()
    assert seen == [("chat", "cat"), ("rouge", "red"), ("voit", "sees")]


def test_preset_a_word_comes_too_late():
    late = partial(stepper, "A word comes too late")
    natural = late(words=["le", "chat", "rouge"])
    assert late(words=["le", "chat"]).best == "rouge"
    assert (late().weights, late().before) == (natural.weights, natural.before)
    widget = late()
    widget.to(MAX_WORDS)
    assert widget.words[:4] == ["le", "chat", "voit", "voit"]
    assert "rouge" not in widget.words
    assert late(words=widget.words[:4]).weights != late(words=["le", "chat", "rouge", "voit"]).weights


def test_preset_a_wrong_gender():
    widget = stepper("A wrong gender")
    assert stepper("A wrong gender", words=[]).best == "la"
    widget.to(MAX_WORDS)
    assert widget.words[:3] == ["le", "une", "maison"]


def test_preset_another_noun():
    assert stepper("Another noun", words=["la"]).best == "chien"
    assert stepper("Another noun").best == "verte"
    assert stepper("Another noun", words=["le", "maison"]).best == "vert"


# ------------------------------------------------------------------------------------------------ the page, in numbers


def test_arithmetic_is_that_of_attnlib(record_property):
    """A thousand steps of 40 decoders, from the same rounded numbers, with states that are large too."""
    rng = random.Random(0)
    cases, wanted = [], []
    for seed in range(40):
        choices = {"hidden": [1, 3, 7], "embedding": [1, 2, 5], "alignment": [1, 5, 11], "maxout": [1, 7]}
        sizes = {name: rng.choice(some) for name, some in choices.items()}
        long = [f"x{rng.randint(4, 10)}" for _ in range(rng.randint(1, 9))]
        widget = DecoderStepper(**given(seed, **sizes, sentences=[long]))
        exact, kept = rebuilt(widget.decoder), kept_of(widget.sentences[0])
        steps = []
        for _ in range(25):
            wide = rng.choice([1, 1, 5])
            state, word = [rng.uniform(-wide, wide) for _ in range(sizes["hidden"])], rng.randrange(13)
            steps.append((state, word))
            with torch.no_grad():
                step = exact.step(torch.tensor([word]), torch.tensor([state], dtype=torch.float64), kept)
            parts = {**step._asdict(), "after": step.state, "probabilities": step.logits.softmax(-1)}
            wanted.append({name: values[0].tolist() for name, values in parts.items() if name != "state"})
        cases.append((widget.decoder, widget.sentences[0], steps))
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
        source = widget.sentences[widget.index]["source"]
        numbers = zip(source, widget.energies, widget.weights, strict=True)
        assert rows(view, "attnlib-steps-looks") == [[word, minus(e), share(weight), ""] for word, e, weight in numbers]
        ghosts = [each.get("style") for each in found(found(view, "attnlib-steps-looks")[0], "attnlib-steps-ghost")]
        assert ghosts == [f"width:{100 * weight:.2f}%" for weight in last or [0] * len(source)]
        ranked = sorted(zip(widget.target_words, widget.probabilities, strict=True), key=lambda pair: -pair[1])[:6]
        listed = found(view, "attnlib-decoder-next")[0]
        assert [(text(li[0]), text(li[1])) for li in listed] == [(word, share(p)) for word, p in ranked]
        assert [item.split(" ")[0] for item in trail(view)] == [*widget.words, "?"]
        shown = [text(each) for each in found(view, "attnlib-steps-numbers")]
        for place, values in ((0, widget.before), (1, widget.context), (5, widget.after)):
            assert shown[place] == " ".join(minus(value) for value in values)
    (view,) = draw(DecoderStepper(words=["petite", "chat"]))
    assert trail(view)[0] == "petite forced, not le"
    assert "The sentence is ended." in text(
        found(draw(DecoderStepper(words=FRENCH[0].split()))[0], "attnlib-caption")[0]
    )


# ----------------------------------------------------------------------------------------------- the page, in the hand


def written(page):
    frame(page)
    return [item.split()[0] for item in page.locator(".attnlib-steps-trail li").all_inner_texts()]


@pytest.mark.browser
def test_steps_by_button_and_keyboard(show):
    page, words = show(DecoderStepper(index=2)), FRENCH[2].split()
    forward, back, again = (
        page.get_by_role("button", name=name, exact=True) for name in ("Take the best word", "Back", "Start again")
    )
    assert back.get_attribute("aria-disabled") == "true"
    for count in range(1, 8):
        forward.click()
        assert written(page) == words[:count] + (["?"] if count < 7 else [])
    assert forward.get_attribute("aria-disabled") == "true"
    forward.press("Enter")
    assert written(page) == words
    back.click()
    assert written(page) == [*words[:-1], "?"]
    again.click()
    assert written(page) == ["?"]
    slider = page.get_by_label("Words written", exact=True)
    slider.focus()
    for key, count in (("ArrowRight", 1), ("ArrowUp", 2), ("ArrowLeft", 1), ("End", 7), ("ArrowRight", 7), ("Home", 0)):
        page.keyboard.press(key)
        assert written(page) == words[:count] + (["?"] if count < 7 else [])
        assert slider.input_value() == str(count)


@pytest.mark.browser
def test_a_forced_word_is_gone_on_from_and_another_sentence_begins_anew(show):
    page, widget = show(DecoderStepper()), DecoderStepper(words=["petite"])
    page.get_by_label("Or force another word").select_option("petite")
    assert written(page) == ["petite", "?"]
    second = sorted(zip(widget.target_words, widget.probabilities, strict=True), key=lambda pair: -pair[1])[1][0]
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
    assert page.get_by_label("Or force another word").is_disabled()
