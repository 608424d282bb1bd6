"""HierarchyReader: its outputs against attnlib, what its presets promise, its arithmetic in the page, and its page in
the hand. test_widgets*.py has the rest."""

import itertools
import json
import random

import pytest
import torch
from browser import frame
from drawn import arithmetic, draw, found, rows, text
from torch import nn

from attnlib.data.reviews import tokenise
from attnlib.data.vocabulary import Vocabulary
from attnlib.input_representations.hierarchical import HierarchicalAttention
from attnlib.widgets import HierarchyReader
from attnlib.widgets.input_representations.hierarchy_model import packed_model, unpacked_model
from attnlib.widgets.input_representations.hierarchy_reader import PRESETS, STORE
from attnlib.widgets.text import number, share
from book.experiments import hierarchy_reader as script

TEXTS = ["It works!", "", "The REMOTE's well-made, isn’t it?", "…", "Naïve übergizmo 4.5gb_x"]


def stored():
    return json.loads(STORE.read_text(encoding="utf-8"))


def test_outputs_are_those_of_attnlib_from_the_trained_model():
    """From the results of the training, of which the widget holds 16 bits a number."""
    widget = HierarchyReader(sentences=TEXTS)
    vectors, levels, answer = script.model_of(torch.load(script.RESULTS / "page.pt", weights_only=True))
    vocabulary = Vocabulary(json.loads((script.RESULTS / "words.json").read_text(encoding="utf-8")))
    words = [vocabulary.encode(tokenise(text)) for text in TEXTS]
    with torch.no_grad():
        result = levels(
            vectors[torch.tensor([word for sentence in words for word in sentence])],
            words=torch.tensor([len(sentence) for sentence in words]),
            sentences=torch.tensor([len(TEXTS)]),
        )
        energy = answer(result.context).item()
    assert widget.energy == pytest.approx(energy, abs=2e-3)
    assert widget.sentence_weights == pytest.approx(result.sentences.weights.tolist(), abs=1e-3)
    assert list(itertools.chain(*widget.word_weights)) == pytest.approx(result.words.weights.tolist(), abs=1e-3)
    assert widget.sentence_weights[1] == 0
    assert [len(weights) for weights in widget.word_weights] == [len(sentence) for sentence in words]


def test_what_is_stored_is_what_the_script_writes():
    made = packed_model(*script.model_of(torch.load(script.RESULTS / "page.pt", weights_only=True)))
    words = json.loads((script.RESULTS / "words.json").read_text(encoding="utf-8"))
    found = stored()
    assert (found["words"], found["layers"]) == (words, made)
    assert all(len(tokenise(each["text"])) <= 9 for each in found["rated"])  # snippets, of eight words and a mark


def test_even_weights_are_those_of_means():
    widget = HierarchyReader(sentences=TEXTS, even=True)
    assert widget.sentence_weights == pytest.approx([0.25, 0, 0.25, 0.25, 0.25])
    assert widget.word_weights[0] == pytest.approx([1 / 3] * 3)
    assert widget.energy != pytest.approx(HierarchyReader(sentences=TEXTS).energy, abs=1e-3)
    assert "weights even" in widget.summary()


def test_bad_state_is_refused():
    with pytest.raises(ValueError, match="sentences must be of at most 300 characters; got one of 301"):
        HierarchyReader(sentences=["x" * 301])
    with pytest.raises(ValueError, match="sentence must be"):
        HierarchyReader(sentences=["one"], sentence=1)
    with pytest.raises(ValueError, match="sentences must be"):
        HierarchyReader(sentences=[])


# ---------------------------------------------------------------------------------------- what the presets say, is so


def test_presets_are_true():
    mixed = HierarchyReader(preset="A mixed review")
    assert 0.3 < mixed.positive < 0.7
    before = [mixed.word_weights[1], mixed.sentence_weights, mixed.positive]
    mixed.sentences = [text.replace("excellent", "useless") for text in mixed.sentences]
    assert mixed.positive < before[2] - 0.1
    assert mixed.sentence_weights != pytest.approx(before[1], abs=1e-3)
    assert mixed.word_weights[1] != pytest.approx(before[0], abs=1e-3)

    two = HierarchyReader(preset="One word, two ways")
    words = [tokenise(sentence) for sentence in two.sentences]
    assert [i for i, (a, b) in enumerate(zip(*words, strict=True)) if a != b] == [6]
    for weights in two.word_weights:
        assert max(range(8), key=weights.__getitem__) == 6
    assert two.word_weights[0] != pytest.approx(two.word_weights[1], abs=1e-3)

    rated = HierarchyReader(preset="Rated by people")
    assert rated.ratings == [each["rating"] for each in stored()["rated"]]
    assert max(range(4), key=lambda i: abs(rated.ratings[i])) == 1
    assert min(range(4), key=rated.sentence_weights.__getitem__) == 1

    known = stored()["words"]
    unknown = [word for text in HierarchyReader(preset="Unknown words").sentences for word in tokenise(text)]
    assert [word for word in unknown if word not in known] == ["scrumptious", "gizmo", "gizmo", "hums"]
    assert HierarchyReader(preset="One sentence alone").sentence_weights == [1.0]


def test_summary_tells_sentences_words_and_ratings():
    told = HierarchyReader(preset="Rated by people").summary()
    assert "rated −3.30" in told.replace("-", "−")
    assert told.startswith("positive with ")
    assert "“” 0" in HierarchyReader(sentences=["Great!", ""]).summary()


# --------------------------------------------------------------------------------------------- the page's arithmetic


def random_model(seed=0, d=5, hidden=3, d_w=4, words=23):
    torch.manual_seed(seed)
    levels = HierarchicalAttention(d, hidden, d_w, dtype=torch.float64)
    for parameter in levels.parameters():
        parameter.data.mul_(3)
    answer = nn.Linear(2 * hidden, 1, dtype=torch.float64)
    return packed_model(torch.randn(words, d, dtype=torch.float64), levels, answer)


def test_page_computes_what_attnlib_does():
    layers, g = random_model(), random.Random(0)
    names = ["<pad>", "<bos>", "<eos>", "<unk>", *(f"w{n}" for n in range(4, 23))]
    cases = [
        [" ".join(f"w{g.randrange(4, 26)}" for _ in range(g.randrange(9))) for _ in range(g.randrange(1, 7))]
        for _ in range(40)
    ] + [["", ""], [""]]
    call = arithmetic("hierarchy")
    done = call(
        "({cases, ...given}) => { const net = math.network(given); return cases.map((each) => math.read(net, each)); }",
        {"words": names, "layers": layers, "cases": cases},
    )
    model, vocabulary = unpacked_model(layers), Vocabulary(names)
    for case, page in zip(cases, done, strict=True):
        energy, result = model([vocabulary.encode(tokenise(text)) for text in case])
        assert page["energy"] == pytest.approx(energy, abs=1e-6)
        assert page["sentences"] == pytest.approx(result.sentences.weights.tolist(), abs=1e-6)
        assert list(itertools.chain(*page["words"])) == pytest.approx(result.words.weights.tolist(), abs=1e-6)


def test_page_finds_the_same_words():
    texts = [*TEXTS, "''Bright'' (e.g.) -- don't_stop; a-b-c 'tis  \n x", "<unk> <pad>", "İstanbul's ½ ²"]
    assert arithmetic("hierarchy")("(texts) => texts.map(math.tokenise)", texts[:-1]) == [
        list(tokenise(text)) for text in texts[:-1]
    ]


# --------------------------------------------------------------------------------------------- what is drawn


def test_drawing_shows_the_weights():
    widget = HierarchyReader(preset="Rated by people")
    view, even = draw(widget, HierarchyReader(preset="A mixed review", even=True))
    assert [text(found(line, "attnlib-value")[0]) for line in found(even, "attnlib-hier-line")] == ["0.200"] * 5
    told = text(found(even, "attnlib-hier-verdict")[0])
    assert share(HierarchyReader(preset="A mixed review", even=True).positive) in told
    lines = found(view, "attnlib-hier-line")
    assert [text(found(line, "attnlib-value")[0]) for line in lines] == [share(w) for w in widget.sentence_weights]
    people = [f"people {'+' if r > 0 else ''}{number(r)}" for r in widget.ratings]
    assert [text(found(line, "attnlib-hier-people")[0]) for line in lines] == people
    table = rows(view, "attnlib-hier-table")
    assert [row[:2] for row in table] == [
        [word, share(weight)] for word, weight in zip(("great", "value", "."), widget.word_weights[0], strict=True)
    ]
    assert share(widget.positive) in text(found(view, "attnlib-hier-verdict")[0])


@pytest.mark.browser
def test_arrows_go_from_sentence_to_sentence_and_leave_the_page_where_it_is(show):
    page = show(HierarchyReader(preset="A mixed review"))
    page.set_viewport_size({"width": 700, "height": 500})  # so that the page could scroll
    lines = page.locator(".attnlib-hier-line")
    lines.first.focus()
    top = page.evaluate("scrollY")
    for key, chosen in (("ArrowDown", 1), ("ArrowDown", 2), ("ArrowUp", 1), ("ArrowUp", 0), ("ArrowUp", 0)):
        page.keyboard.press(key)
        frame(page)
        assert lines.nth(chosen).evaluate("node => node === document.activeElement")
        pressed = [lines.nth(n).get_attribute("aria-pressed") for n in range(5)]
        assert pressed == [str(n == chosen).lower() for n in range(5)]
        assert page.get_by_label(f"Type over sentence {chosen + 1}").count() == 1
    assert page.evaluate("scrollY") == top
    lines.last.focus()
    page.keyboard.press("ArrowDown")
    frame(page)
    assert lines.last.evaluate("node => node === document.activeElement")


@pytest.mark.browser
def test_typing_over_a_word_moves_what_it_says(show):
    page = show(HierarchyReader(preset="A mixed review"))
    verdict = page.locator(".attnlib-hier-verdict strong")
    before = verdict.inner_text()
    field = page.get_by_label("Type over sentence 2")
    field.fill("The picture is useless and it plays every disc.")
    frame(page)
    widget = HierarchyReader(preset="A mixed review")
    widget.sentences = [text.replace("excellent", "useless") for text in widget.sentences]
    assert verdict.inner_text() == share(widget.positive) != before
    page.get_by_role("button", name="Add a sentence after it").click()
    frame(page)
    assert page.get_by_label("Type over sentence 3").input_value() == ""
    assert page.locator(".attnlib-hier-line").count() == 6
    page.get_by_role("button", name="Delete it").click()
    frame(page)
    page.locator(".attnlib-hier-line").nth(4).click()
    frame(page)
    assert page.get_by_label("Type over sentence 5").input_value() == PRESETS[0]["state"]["sentences"][4]
