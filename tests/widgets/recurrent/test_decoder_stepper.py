"""DecoderStepper: its outputs against attnlib.recurrent, what it refuses, what its presets promise, its arithmetic in
the page, and its page. test_widgets*.py has the rest."""

import importlib.util
import json
import random
import re
from pathlib import Path

import pytest
import torch
from browser import frame
from drawn import arithmetic

from attnlib.recurrent.rnnsearch import RNNencdec, RNNsearch
from attnlib.widgets import DecoderStepper
from attnlib.widgets.recurrent import decoder_stepper
from attnlib.widgets.recurrent.decoder_stepper import MAX_WORDS, PRESETS, encoded, kept_of, plain_decoder, rebuilt, tiny

ROOT = Path(__file__).parents[3]
FRENCH = [
    "le chat rouge voit une maison noire <eos>",
    "la maison noire trouve un petit chat <eos>",
    "le chien vert trouve la voiture <eos>",
]


def stepper(preset, **state):
    widget = DecoderStepper(preset=preset)
    widget.update(**state)
    return widget


def written(widget):
    """The words once the best one was taken to the end."""
    while widget.words[-1:] != ["<eos>"] and len(widget.words) < MAX_WORDS:
        widget.words = [*widget.words, widget.best]
    return " ".join(widget.words)


def own_model(seed=0, hidden=3, embedding=2, alignment=5, maxout=7, source=11, target=13):
    torch.manual_seed(seed)
    model = RNNsearch(source, target, embedding=embedding, hidden=hidden, alignment=alignment, maxout=maxout)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
    words = [
        ["<pad>", "<bos>", "<eos>", "<unk>", *(f"{side}{i}" for i in range(4, n))]
        for side, n in (("x", source), ("y", target))
    ]
    return model, *words


# ------------------------------------------------------------------------------------------------------------ outputs


def test_translates_its_own_examples():
    for index, french in enumerate(FRENCH):
        assert written(DecoderStepper(index=index)) == french


def test_outputs_are_those_of_the_model():
    model, source_words, target_words = own_model()
    widget = DecoderStepper(model, ["x4 x9 x5", ["x10"]], source_words=source_words, target_words=target_words)
    assert widget.presets == []
    assert [item["source"] for item in widget.sentences] == [["x4", "x9", "x5", "<eos>"], ["x10", "<eos>"]]
    widget.words = ["y12", "y4"]
    source = torch.tensor([[4, 9, 5, 2]])
    kept = model.encode(source, source != 0)
    state = kept.state
    with torch.no_grad():
        for word in (1, 12, 4):
            before, step = state, model.step(torch.tensor([word]), state, kept)
            state = step.state
    wanted = {"before": before, "energies": step.energies, "weights": step.weights, "context": step.context}
    wanted |= {"after": step.state, "probabilities": step.logits.softmax(-1)}
    for name, values in wanted.items():
        assert getattr(widget, name) == pytest.approx(values[0].tolist(), abs=2e-5)
    given = model(source, source != 0, torch.tensor([[1, 12, 4]]))
    assert widget.weights == pytest.approx(given.weights[0, -1].tolist(), abs=2e-5)
    assert widget.best == target_words[2 + int(given.logits[0, -1, 2:].argmax())]


def test_parameters_have_six_digits_and_the_mode_of_the_model_stays():
    model, source_words, target_words = own_model()
    model.dropout = 0.5
    model.train()
    widget = DecoderStepper(model, ["x4"], source_words=source_words, target_words=target_words)
    again = DecoderStepper(model, ["x4"], source_words=source_words, target_words=target_words)
    assert widget.state() == again.state()
    assert model.training
    kept = torch.tensor(widget.decoder["recurrent"])
    assert (kept - model.unit.recurrent).abs().max() <= 5e-6 * model.unit.recurrent.abs().max()


def test_after_the_end_the_last_step_stays():
    done = DecoderStepper(index=2, words=FRENCH[2].split())
    before = DecoderStepper(index=2, words=FRENCH[2].split()[:-1])
    assert done.weights == before.weights
    assert done.best == "<eos>"


def test_words_can_be_observed():
    widget = DecoderStepper()
    seen = []
    widget.observe(lambda change: seen.append((change["new"], widget.best)), "words")
    widget.words = ["le"]
    widget.update(index=1, words=["la", "maison"])
    assert seen == [(["le"], "chat"), (["la", "maison"], "noire")]


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"words": ["chat", "katze"]}, "words must be of target_words, the end mark last; got 'katze' at place 1"),
        ({"words": ["<eos>", "le"]}, "end mark last; got '<eos>' at place 0"),
        ({"words": ["<bos>"]}, "words must be of target_words"),
        ({"words": ["le"] * 13}, "words must be a list of texts, n from 0 to 12"),
        ({"words": "le"}, "words must be a list of texts"),
        ({"index": 3}, "index must be below 3, the length of sentences; got 3"),
        ({"numbers": 1}, "numbers must be True or False"),
        ({"target_words": ["a", "b"]}, "has words="),
        ({"sentences": []}, "sentences must be a list of at least one encoded sentence"),
        ({"sentences": ["the cat"]}, "sentences must be a list of .*number 0 is not"),
        ({"decoder": {}}, "decoder must be {embedding"),
    ],
)
def test_bad_state_is_refused_and_changes_nothing(state, message):
    with pytest.raises(ValueError, match=message):
        DecoderStepper(**{**DecoderStepper().state(), **state})
    widget = DecoderStepper()
    before = widget.state(), widget.weights
    with pytest.raises(ValueError, match=message):
        widget.update(**state)
    assert (widget.state(), widget.weights) == before


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("recurrent", lambda part: part[:-1], "decoder must be parts that fit together; .* has shape"),
        ("output_bias", lambda part: part[:-1], "decoder must be parts that fit .*output_bias has shape"),
        ("embedding", lambda part: [[float("nan")] * len(row) for row in part], "decoder must be finite numbers"),
        ("output", lambda part: part[0], "output has shape"),
    ],
)
def test_a_decoder_that_does_not_fit_is_refused(name, change, message):
    widget = DecoderStepper()
    bad = {**widget.decoder, name: change(widget.decoder[name])}
    with pytest.raises(ValueError, match=message):
        widget.decoder = bad


def test_sentences_must_fit_the_decoder():
    widget = DecoderStepper()
    (first, *_) = widget.sentences
    for name, message in (("annotations", "2 hidden=27"), ("start", "hidden=13")):
        value = [row[:-1] for row in first[name]] if name == "annotations" else first[name][:-1]
        with pytest.raises(ValueError, match=f"sentences has {message} but decoder has "):
            widget.sentences = [{**first, name: value}]
    with pytest.raises(ValueError, match="a row a source word; number 0"):
        widget.sentences = [{**first, "source": first["source"][:-1]}]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": RNNencdec(11, 13, embedding=2, hidden=3, maxout=7)}, "model must be an RNNsearch; got RNNencdec"),
        ({"source_words": ["a"]}, "source_words must be the 11 words of the model; got 1"),
        ({"target_words": None}, "target_words must be the 13 words of the model; got 0"),
        ({"sentences": "x4 x5"}, "sentences must be a list of texts"),
        ({"sentences": None}, "sentences must be a list of texts"),
        ({"sentences": []}, "sentences must be a list of at least one"),
        ({"sentences": ["x4 katze"]}, "sentences must be of words in source_words; got katze"),
        ({"sentences": [""]}, "got no words"),
    ],
)
def test_bad_models_and_sentences_are_refused(change, message):
    model, source_words, target_words = own_model()
    given = {"model": model, "sentences": ["x4"], "source_words": source_words, "target_words": target_words}
    with pytest.raises(ValueError, match=message):
        DecoderStepper(**{**given, **change})


def test_a_model_must_be_tiny():
    model, source_words, target_words = own_model(hidden=33)
    with pytest.raises(ValueError, match="decoder must be tiny: at most 32 hidden; got 33"):
        DecoderStepper(model, ["x4"], source_words=source_words, target_words=target_words)
    with pytest.raises(ValueError, match="source_words must come with a model"):
        DecoderStepper(source_words=source_words)


# ---------------------------------------------------------------------------------------- what the presets say, is so


def most(widget):
    return widget.sentences[widget.index]["source"][max(range(len(widget.weights)), key=widget.weights.__getitem__)]


def test_preset_the_article_looks_at_the_noun():
    widget = stepper("The article looks at the noun")
    assert (most(widget), widget.best) == ("cat", "le")
    assert widget.weights[2] > 0.8


def test_preset_two_words_change_places():
    widget = stepper("Two words change places")
    seen = []
    for _ in range(3):
        seen.append((widget.best, most(widget)))
        widget.words = [*widget.words, widget.best]
    assert seen == [("chat", "cat"), ("rouge", "red"), ("voit", "sees")]


def test_preset_a_word_comes_too_late():
    widget = stepper("A word comes too late")
    natural = stepper("A word comes too late", words=["le", "chat", "rouge"])
    assert stepper("A word comes too late", words=["le", "chat"]).best == "rouge"
    assert widget.weights == natural.weights
    assert widget.before == natural.before
    text = written(widget)
    assert text.startswith("le chat voit voit")
    assert "rouge" not in text
    after = stepper("A word comes too late", words=["le", "chat", "voit", "voit"]).weights
    assert after != stepper("A word comes too late", words=["le", "chat", "rouge", "voit"]).weights


def test_preset_a_wrong_gender():
    widget = stepper("A wrong gender")
    assert stepper("A wrong gender", words=[]).best == "la"
    assert written(widget).startswith("le une maison")


def test_preset_another_noun():
    widget = stepper("Another noun")
    assert stepper("Another noun", words=["la"]).best == "chien"
    assert widget.best == "verte"
    assert stepper("Another noun", words=["le", "maison"]).best == "vert"


@pytest.mark.parametrize("index", range(3))
def test_picture_is_drawn_for_every_step(index):
    words = FRENCH[index].split()
    for count in range(len(words) + 1):
        text = DecoderStepper(index=index, words=words[:count]).picture().svg()
        assert f"Step {min(count + 1, len(words))}:" in text
        assert not re.search("nan|inf", text)


@pytest.fixture
def script():
    spec = importlib.util.spec_from_file_location("tiny_translator", ROOT / "book/experiments/tiny_translator.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_stored_model_translates_what_the_script_kept_from_it(script):
    """Its words and sizes are the script's, and today's RNNsearch reads its weights as the one that was trained."""
    model, *words = tiny()
    vocabularies, seen, unseen = script.prepared()
    assert [list(side) for side in words] == vocabularies
    assert (len(seen), len(unseen)) == (3000, 600)
    assert not set(map(str, seen)) & set(map(str, unseen))
    assert script.faultless(model, unseen) == 1.0
    for name in ("align_vector", "unit.recurrent"):  # weights that are not the trained ones do not do it
        model, *_ = tiny()
        with torch.no_grad():
            model.get_parameter(name).neg_()
        assert script.faultless(model, unseen) < 0.5


def test_the_script_stores_what_the_widget_reads(script, monkeypatch, tmp_path):
    """After three steps: the numbers of a whole training depend on the machine, and take a minute."""
    monkeypatch.setattr(script, "STEPS", 3)
    monkeypatch.setattr(script, "STORE", tmp_path / "store.json")
    script.main()
    made, stored = json.loads(script.STORE.read_text()), decoder_stepper._stored()
    assert made.keys() == stored.keys()
    assert all(made[name] == stored[name] for name in ("sizes", "source_words", "target_words"))
    assert {name: len(x) for name, x in made["weights"].items()} == {n: len(x) for n, x in stored["weights"].items()}


# --------------------------------------------------------------------------------------------------------- arithmetic


def test_arithmetic_is_that_of_attnlib(record_property):
    """A thousand steps of 40 decoders, from the same rounded numbers, with energies and states that are large too."""
    rng = random.Random(0)
    cases, wanted = [], []
    for seed in range(40):
        sizes = {
            "hidden": rng.choice([1, 3, 7]),
            "embedding": rng.choice([1, 2, 5]),
            "alignment": rng.choice([1, 5, 11]),
        }
        model, source_words, target_words = own_model(seed, **sizes, maxout=rng.choice([1, 7]))
        model = model.double()
        sentence = encoded(model, source_words, rng.choices(source_words[4:], k=rng.randint(1, 9)))
        widget = DecoderStepper(decoder=plain_decoder(model), sentences=[sentence], target_words=target_words)
        exact, kept = rebuilt(widget.decoder), kept_of(sentence)
        steps = []
        for _ in range(25):
            state, word = (
                [rng.uniform(-1, 1) * rng.choice([1, 1, 5]) for _ in range(sizes["hidden"])],
                rng.randrange(13),
            )
            steps.append((state, word))
            with torch.no_grad():
                step = exact.step(torch.tensor([word]), torch.tensor([state], dtype=torch.float64), kept)
            parts = {**step._asdict(), "after": step.state, "probabilities": step.logits.softmax(-1)}
            wanted.append({name: values[0].tolist() for name, values in parts.items() if name != "state"})
        cases.append((widget.decoder, sentence, steps))
    found = arithmetic("decoder")(
        """(cases) => cases.flatMap(([decoder, sentence, steps]) =>
            steps.map(([state, word]) => math.decoderStep(decoder, sentence, state, word)))""",
        cases,
    )
    gap = 0.0
    for step, expected in zip(found, wanted, strict=True):
        for name, values in expected.items():
            assert len(step[name]) == len(values)
            gap = max(gap, *(abs(a - b) for a, b in zip(step[name], values, strict=True)))
    assert len(found) == 1000
    record_property("measured", f"{gap:.1e} largest gap to attnlib  decoder step")
    assert gap < 1e-6


# --------------------------------------------------------------------------------------------------------------- page


def table(page):
    rows = page.locator(".attnlib-step-source tbody tr").all()
    return [[row.locator("th").inner_text(), *row.locator(".attnlib-number").all_inner_texts()] for row in rows]


def nexts(page):
    items = page.locator(".attnlib-step-next li").all()
    return [[item.locator("button").inner_text(), item.locator(".attnlib-value").inner_text()] for item in items]


def line(page):
    return [text.split(" ")[0].split("\n")[0] for text in page.locator(".attnlib-step-written li").all_inner_texts()]


def told(value):
    return "< 0.001" if 0 < value < 5e-4 else f"{value:.3f}"


def minus(value):
    text = f"{abs(value):.3f}"
    return f"−{text}" if value < 0 and float(text) else text


def agrees(page, widget):
    """The page shows what Python computes: the table, the next words, and every number of the vectors."""
    source = widget.sentences[widget.index]["source"]
    numbers = zip(source, widget.energies, widget.weights, strict=True)
    assert table(page) == [[word, minus(energy), told(weight)] for word, energy, weight in numbers]
    ranked = sorted(zip(widget.target_words, widget.probabilities, strict=True), key=lambda pair: -pair[1])[:6]
    assert nexts(page) == [[word, told(probability)] for word, probability in ranked]
    blank = [] if widget.words[-1:] == ["<eos>"] else ["?"]
    assert line(page) == widget.words + blank


@pytest.mark.browser
@pytest.mark.parametrize("preset", [item["name"] for item in PRESETS])
def test_page_shows_the_numbers_of_attnlib(show, preset):
    page = show(DecoderStepper())
    page.get_by_label("Start from").select_option(preset)
    page.get_by_label("Show every number").check()
    frame(page)
    widget = DecoderStepper(preset=preset)
    for _ in range(4):
        agrees(page, widget)
        shown = page.locator(".attnlib-step-numbers").all_inner_texts()
        for place, values in ((0, widget.before), (1, widget.context), (5, widget.after)):
            assert shown[place] == " ".join(minus(value) for value in values)
        page.get_by_role("button", name="Take the best word").click()
        frame(page)
        widget.words = [*widget.words, widget.best]


@pytest.mark.browser
def test_buttons_go_on_and_back_and_start_again(show):
    page = show(DecoderStepper(index=2))
    widget = DecoderStepper(index=2)
    forward, back, again = (
        page.get_by_role("button", name=name, exact=True) for name in ("Take the best word", "Back", "Start again")
    )
    assert back.get_attribute("aria-disabled") == "true"
    for count in range(1, 8):
        forward.click()
        frame(page)
        widget.words = FRENCH[2].split()[:count]
        agrees(page, widget)
    assert "The sentence is ended." in page.locator(".attnlib-step-caption").inner_text()
    assert forward.get_attribute("aria-disabled") == "true"
    forward.press("Enter")
    frame(page)
    agrees(page, widget)
    back.click()
    frame(page)
    widget.words = widget.words[:-1]
    agrees(page, widget)
    again.click()
    frame(page)
    widget.words = []
    agrees(page, widget)


@pytest.mark.browser
def test_a_forced_word_is_marked_and_gone_on_from(show):
    page = show(DecoderStepper())
    page.get_by_label("Or force another word").select_option("petite")
    frame(page)
    agrees(page, DecoderStepper(words=["petite"]))
    assert page.locator("li[data-forced]").all_inner_texts() == ["petite forced, not le"]
    widget = DecoderStepper(words=["petite"])
    second = sorted(zip(widget.target_words, widget.probabilities, strict=True), key=lambda pair: -pair[1])[1][0]
    page.get_by_role("button", name=second, exact=True).click()
    frame(page)
    widget.words = ["petite", second]
    agrees(page, widget)
    assert page.locator("li[data-forced]").count() == 2
    page.get_by_role("button", name="Take the best word").click()
    frame(page)
    widget.words = [*widget.words, widget.best]
    agrees(page, widget)
    assert page.locator("li[data-forced]").count() == 2


@pytest.mark.browser
def test_steps_by_keyboard(show):
    page = show(DecoderStepper())
    steps = page.get_by_label("Words written", exact=True)
    steps.focus()
    for key, count in (("ArrowRight", 1), ("ArrowUp", 2), ("ArrowLeft", 1), ("End", 8), ("ArrowRight", 8), ("Home", 0)):
        page.keyboard.press(key)
        frame(page)
        agrees(page, DecoderStepper(words=FRENCH[0].split()[:count]))
        assert steps.input_value() == str(count)
    page.get_by_role("button", name="le", exact=True).focus()
    page.keyboard.press("Enter")
    frame(page)
    agrees(page, DecoderStepper(words=["le"]))


@pytest.mark.browser
def test_another_sentence_begins_with_nothing_written(show):
    page = show(DecoderStepper(words=["le", "chat"]))
    page.get_by_label("Sentence", exact=True).select_option(label="the green dog finds the car")
    frame(page)
    agrees(page, DecoderStepper(index=2))


@pytest.mark.browser
def test_no_more_than_twelve_words(show):
    page = show(DecoderStepper(words=["le"] * 12))
    page.get_by_role("button", name="Take the best word").press("Enter")
    page.locator(".attnlib-step-next button").first.press("Enter")
    frame(page)
    assert line(page) == ["le"] * 12 + ["?"]
    assert page.get_by_label("Or force another word").is_disabled()
    assert page.locator("[role=alert]:visible").count() == 0


@pytest.mark.browser
def test_weights_of_the_step_before_are_outlined(show):
    page = show(DecoderStepper(words=["le"]))
    widths = page.locator(".attnlib-step-ghost").evaluate_all("(all) => all.map((one) => parseFloat(one.style.width))")
    assert widths == pytest.approx([100 * weight for weight in DecoderStepper().weights], abs=0.006)
