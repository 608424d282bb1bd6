"""OwnWord: its outputs against attnlib, what its presets promise, its arithmetic and numbers in the page, and its page
in the hand. test_widgets*.py has the rest, test_own_word_model.py what is stored."""

import copy
import gzip
import json
import random
from pathlib import Path

import pytest
import torch
from browser import frame, start_from, started_from
from drawn import arithmetic, draw, found, mutated, text

from attnlib.data import pronunciations
from attnlib.data.pairs import split
from attnlib.data.pronunciations import LETTERS, SOUNDS
from attnlib.recurrent.decoding import greedy
from attnlib.recurrent.rnnsearch import RNNencdec, RNNsearch
from attnlib.widgets import OwnWord
from attnlib.widgets.bundle import HERE
from attnlib.widgets.recurrent.own_word import DICTIONARY, LETTERS_AT_MOST, LONGEST, MARK, PRESETS, STORE, networks, say
from attnlib.widgets.recurrent.own_word_model import packed_model, unpacked_model
from attnlib.widgets.text import share

BOX = f"Your word, up to {LETTERS_AT_MOST} letters"
WORDS = ["knights", "a", "opportunity", "xqzzzz", "supercalifragilisticexpialidocious"]


def of(preset, **changes):
    widget = OwnWord(preset=preset)
    widget.update(**changes)
    return widget


def move(row, letter, to):
    return {"row": row, "letter": letter, "to": to}


def right(word, sounds):
    return list(sounds) in [list(way) for way in DICTIONARY[word]]


# ------------------------------------------------------------------------------------------------------- the outputs


def test_outputs_are_those_of_the_networks():
    for word in WORDS:
        widget = OwnWord(word=word, step=1)
        source = torch.tensor([[LETTERS.index(letter) for letter in word]])
        for name, sounds in (("RNNsearch", widget.sounds), ("RNNencdec", widget.plain)):
            model = networks()[name]
            made = greedy(model, source, source >= 0, begin=MARK, end=MARK, longest=LONGEST)
            assert sounds == [SOUNDS[i] for i in made.words[0].tolist() if i != MARK]
            if name == "RNNsearch":
                assert torch.allclose(torch.tensor(widget.map, dtype=torch.float64), made.weights[0])
        assert widget.untouched == widget.sounds
        assert widget.weights == widget.own == widget.map[1]


def test_cut_is_that_of_the_experiment():
    even = copy.deepcopy(networks()["RNNsearch"])
    torch.nn.init.zeros_(even.align_vector)
    for word in WORDS:
        source = torch.tensor([[LETTERS.index(letter) for letter in word]])
        made = greedy(even, source, source >= 0, begin=MARK, end=MARK, longest=LONGEST)
        widget = OwnWord(word=word, cut=True, moves=[move(0, 0, 1)] if len(word) > 1 else [])
        assert widget.sounds == [SOUNDS[i] for i in made.words[0].tolist() if i != MARK]
        assert widget.weights == pytest.approx([1 / len(word)] * len(word))
        assert widget.untouched == OwnWord(word=word).sounds


def test_a_moved_weight_changes_what_comes_from_there_on():
    own = OwnWord(word="knights")
    made = OwnWord(word="knights", moves=[move(1, 2, 4), move(1, 1, 2), move(30, 0, 1)], step=1)
    assert made.map[0] == own.map[0]
    assert made.own == own.map[1]
    wanted = list(made.own)
    wanted[1], wanted[2], wanted[4] = 0, wanted[1], wanted[4] + wanted[2]
    assert made.weights == pytest.approx(wanted)
    assert sum(made.weights) == pytest.approx(1)
    assert made.map[2] != own.map[2]  # the state has heard another context
    same = say("RNNencdec", "knights", moves=[move(0, 0, 1)])
    assert same.sounds == own.plain  # which looks at nothing


def test_it_goes_forward_and_back():
    widget = OwnWord(word="night")
    for wanted in (1, 2, 3, 3):
        widget.forward()
        assert widget.step == wanted
    widget.step = 30
    assert widget.weights == widget.map[-1]
    widget.back()
    assert widget.step == 2
    widget.to(-4)
    assert widget.step == 0


def test_bad_state_is_refused():
    for state, message in (
        ({"word": ""}, "word must be 1 to 34 letters from a to z; got ''"),
        ({"word": "a" * 35}, "1 to 34 letters"),
        ({"word": "naïve"}, "from a to z"),
        ({"word": "Dog"}, "from a to z"),
        ({"word": " dog"}, "from a to z"),
        ({"step": 40}, "step must be"),
        ({"word": "dog", "moves": [move(0, 0, 3)]}, "moves must go from one letter of 'dog' to another"),
        ({"word": "dog", "moves": [move(0, 1, 1)]}, "moves must go from one letter"),
        ({"word": "dog", "moves": [move(0, 1, 2), move(0, 1, 0)]}, "moves must be one for each letter of a step"),
        ({"word": "dog", "moves": [move(40, 1, 2)]}, "moves must be"),
    ):
        with pytest.raises(ValueError, match=message):
            OwnWord(**state)


def test_what_a_page_gets_is_small():
    """The store and what is its own; the whole as a server sends it. The rest of its script is in any widget's."""
    own = ("recurrent/own_word.js", "recurrent/own_word.css", "js/motor.js", "js/math/own_word.js", "js/math/packed.js")
    assert STORE.stat().st_size + sum((HERE / name).stat().st_size for name in own) <= 300_000
    assert len(gzip.compress((OwnWord._script + OwnWord._css).encode(), 6)) <= 250_000


@pytest.mark.nightly
@pytest.mark.data
def test_the_words_of_the_dictionary_are_as_it_has_them_and_new_to_the_networks(real):
    every = {spoken.word: spoken.sounds for spoken in pronunciations.load(real(pronunciations.PACKAGE))}
    short = (spoken for spoken in pronunciations.load(real(pronunciations.PACKAGE)) if 3 <= len(spoken.word) <= 14)
    test = {spoken.word for spoken in split(short).test}
    for word, ways in DICTIONARY.items():
        assert every[word] == tuple(tuple(way) for way in ways), word
        assert word in test or len(word) > 14


# ---------------------------------------------------------------------------------------- what the presets say, is so


def test_presets_are_words_that_the_dictionary_has():
    assert {preset["state"]["word"] for preset in PRESETS} <= set(DICTIONARY)
    assert 4 <= len(PRESETS) <= 6


def test_preset_a_long_word():
    widget = of("A long word")
    assert right(widget.word, widget.sounds)
    assert widget.plain[:3] == widget.sounds[:3] == list(DICTIONARY[widget.word][0][:3])
    assert widget.plain[3] != DICTIONARY[widget.word][0][3]
    assert widget.step == 3


def test_preset_a_short_word():
    widget = of("A short word")
    assert right("flight", widget.sounds)
    assert right("flight", widget.plain)
    assert widget.sounds[widget.step] == "L"
    assert of("A short word", moves=[move(1, 1, 3)]).sounds == ["F", "AY", "T"]  # as the dictionary says fight


def test_preset_silent_letters():
    widget = of("Silent letters")
    assert right("knights", widget.sounds)
    most = {widget.word[max(range(7), key=row.__getitem__)] for row in widget.map}
    assert not most & set("kgh")
    assert of("Silent letters", moves=[move(0, 1, 0)]).sounds == ["K", "AY", "N", "T", "S"]


def test_preset_two_letters_for_one_sound():
    widget = of("Two letters for one sound")
    assert widget.sounds[0] == "SH"
    s, h, *others = widget.weights
    assert 0.5 * (s + h) < s < 1.3 * h
    assert sum(others) < 0.05
    for letter, to in ((0, 1), (1, 0)):
        assert of("Two letters for one sound", moves=[move(0, letter, to)]).sounds == widget.sounds


def test_preset_cut_off():
    widget = of("Cut off")
    assert widget.sounds[:12] == ["R", "IH"] * 6
    assert widget.sounds[12:14] != ["R", "IH"]
    assert right(widget.word, of("Cut off", cut=False).sounds)


def test_preset_longer_than_any_before():
    widget = of("Longer than any before")
    assert len(widget.word) == 18
    assert right(widget.word, widget.sounds)
    assert widget.plain[:5] == widget.sounds[:5]
    assert widget.plain[5] != widget.sounds[5]
    metrics = Path(__file__).parents[3] / "book/experiments/results/letters_to_sounds/metrics.json"
    if metrics.exists():  # it is written when the last network has been trained
        assert json.loads(metrics.read_text(encoding="utf-8"))["setting"]["lengths"] == [3, 14]


# --------------------------------------------------------------------------------------------- the page's arithmetic

SAY = """({ stored, cases, mark, longest }) => {
  const net = math.network(stored);
  const all = (pieces) => {
    for (;;) {
      const { done, value } = pieces.next();
      if (done) return value;
    }
  };
  const plain = (values) => values && Array.from(values);
  return cases.map(({ letters, moves, cut }) => {
    const steps = [];
    const change = (t, own) => (cut ? math.even(own) : math.moved(moves, t, own));
    all(math.say(net, all(math.read(net, letters)), { mark, longest, change, told: (step) => steps.push(step) }));
    return steps.map((step) => ({ sound: step.sound, own: plain(step.own), weights: plain(step.weights),
      logits: plain(step.logits), state: plain(step.after) }));
  });
}"""


def of_a_page(call, stored, given, longest=12):
    return call(SAY, {"stored": stored, "cases": given, "mark": stored["mark"], "longest": longest})


def model_of(kind, seed):
    torch.manual_seed(seed)
    sizes = {"embedding": 3, "hidden": 5, "maxout": 4}
    model = RNNsearch(11, 13, alignment=7, **sizes) if kind == "RNNsearch" else RNNencdec(11, 13, **sizes)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.8)
    return model


def cases_of(g, letters, n):
    made = []
    for _ in range(n):
        word = [g.randrange(letters) for _ in range(g.choice([1, 2, 3, 5, 9, 18]))]
        places = range(len(word))
        ways = [(row, a, b) for row in range(3) for a in places for b in places if a != b]
        some = {(row, a): b for row, a, b in g.sample(ways, min(len(ways), g.choice([0, 0, 1, 3])))}
        moves = [move(row, a, b) for (row, a), b in some.items()]
        made.append({"letters": word, "moves": moves, "cut": g.random() < 0.2})
    return made


def by_hand(model, case, longest, mark):
    """A plain loop over the library's own modules, with the context put in by hand."""
    source = torch.tensor([case["letters"]])
    encoded = model.encode(source, source >= 0)
    state, word, steps = encoded.state, mark, []
    while len(steps) < longest and (not steps or word != mark):
        embedded = model.target_embedding(torch.tensor([word]))
        step = model.step(torch.tensor([word]), state, encoded)
        own = weights = step.weights[0]
        if isinstance(model, RNNsearch):
            changed = own.tolist()
            for one in case["moves"]:
                if one["row"] == len(steps):
                    changed[one["letter"]] -= own[one["letter"]].item()
                    changed[one["to"]] += own[one["letter"]].item()
            weights = torch.tensor(changed, dtype=torch.float64)
            weights = torch.full_like(own, 1 / len(own)) if case["cut"] else weights
        context = weights.unsqueeze(0) @ encoded.annotations[0]
        before = model.output_state(state) + model.output_word(embedded) + model.output_context(context)
        logits = model.output(before.unflatten(-1, (-1, 2)).amax(-1))
        state = model.unit(model.unit.read(embedded), state, model.unit.read_context(context))
        word = int(logits.argmax())
        steps.append({"own": own, "weights": weights, "logits": logits[0], "state": state[0], "sound": word})
    return steps


def random_stores(seeds, kinds=("RNNsearch", "RNNencdec"), count=12):
    return [(packed_model(model_of(kind, seed)), count) for kind in kinds for seed in range(seeds)]


@torch.no_grad()
def largest_gap(call, stores):
    """Of networks, each with so many words, moves and cuts; infinite where another sound is said."""
    gap, lengths = 0.0, set()
    for seed, (stored, count) in enumerate(stores):
        model, g = unpacked_model(stored), random.Random(seed)
        mark = model.output.weight.shape[0] - 1
        given = cases_of(g, model.source_embedding.weight.shape[0], count)
        for case, page in zip(given, of_a_page(call, stored | {"mark": mark}, given), strict=True):
            wanted = by_hand(model, case, 12, mark)
            if [step["sound"] for step in page] != [step["sound"] for step in wanted]:
                return float("inf"), lengths
            lengths.add(len(wanted))
            parts = ["logits", "state"] + ["own", "weights"] * isinstance(model, RNNsearch)
            for got, step in zip(page, wanted, strict=True):
                gap = max(gap, *(far(got[part], step[part]) for part in parts))
    return gap, lengths


def far(got, wanted):
    return (torch.tensor(got, dtype=torch.float64) - wanted).abs().max().item()


def test_arithmetic_is_that_of_attnlib(record_property):
    """Random networks and those that are stored; words of all lengths; moves and cuts."""
    own = [(stored, 6) for stored in json.loads(STORE.read_text(encoding="utf-8")).values()]
    gap, lengths = largest_gap(arithmetic("own_word"), random_stores(2) + own)
    record_property("measured", f"{gap:.1e} largest gap to attnlib  RNNsearch and RNNencdec of OwnWord")
    assert len(lengths) > 3
    assert gap < 1e-9


MUTANTS = {
    "the last letter read first": ("own_word", "word.length - 1 - j", "j"),
    "a start from the last letter": ("own_word", "start: first(back.state)", "start: first(back.states.at(-1))"),
    "a move that leaves its weight": ("own_word", "weights[letter] -= own[letter]", "weights[letter] -= 0"),
    "a move of what is there by now": ("own_word", "weights[to] += own[letter]", "weights[to] += weights[letter]"),
    "the context of its own weights": ("decoder", "contextOf(weights, annotations)", "contextOf(own, annotations)"),
    "a gate the other way round": ("decoder", "(1 - update[i]) * value", "update[i] * value"),
    "scales of columns": ("packed", "scale * small[at++]", "scale * small[at++] * (i % 2 ? 1 : 1.01)"),
}  # fmt: skip


@pytest.mark.parametrize("name", MUTANTS)
def test_wrong_arithmetic_is_noticed(name, tmp_path):
    wrong = arithmetic("own_word", folder=mutated(tmp_path, *MUTANTS[name]))
    assert not largest_gap(wrong, random_stores(1, ["RNNsearch"]))[0] < 1e-9


def distance(one, other):
    row = list(range(len(other) + 1))
    for i, sound in enumerate(one, 1):
        corner, row[0] = row[0], i
        for j, wanted in enumerate(other, 1):
            corner, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, corner + (sound != wanted))
    return row[-1]


def test_sounds_are_told_apart_by_as_few_as_it_takes():
    g = random.Random(0)
    some = [[[g.choice("ABC") for _ in range(g.randrange(8))] for _ in range(3)] for _ in range(200)]
    made = arithmetic("own_word")("(cases) => cases.map(([said, ...ways]) => math.apart(said, ways))", some)
    for (said, *ways), each in zip(some, made, strict=True):
        assert each["count"] == min(distance(said, way) for way in ways)
        kept = [sound for i, sound in enumerate(said) if i not in each["places"]]
        assert any(len(kept) + each["count"] >= len(way) and is_within(kept, way) for way in ways)
        assert len(each["places"]) <= each["count"]
    one = arithmetic("own_word")("(said) => math.apart(said, [['N', 'AY', 'T', 'S']])", ["K", "N", "AY", "S"])
    assert one == {"count": 2, "places": [0]}  # one too many, and one left out


def is_within(part, whole):
    rest = iter(whole)
    return all(sound in rest for sound in part)


def test_what_is_a_word_and_why_another_is_none():
    typed = [" Knights\n", "", "   ", "naïve", "a b", "don't", "a1!?", "ÜBER", "a" * 34, "a" * 35, "x y " * 30_000, "İ"]
    made = arithmetic("own_word")(
        "({ typed, letters, most }) => typed.map((each) => math.asWord(each, letters, most))",
        {"typed": typed, "letters": "".join(LETTERS), "most": LETTERS_AT_MOST},
    )
    plain = [each.get("word") or each["refusal"].replace("\u2068", "").replace("\u2069", "") for each in made]
    only = "Only the letters a to z are read, and not"
    assert plain == [
        "knights",
        "Type a word.",
        "Type a word.",
        f"{only} “ï”.",
        f"{only} a space.",
        f"{only} “'”.",
        f"{only} “1”, “!” and “?”.",
        f"{only} “ü”.",
        "a" * 34,
        "At most 34 letters are read, and these are 35.",
        "At most 34 letters are read, and these are 120,000.",
        f"{only} “\u0307”.",
    ]


# --------------------------------------------------------------------------------------------------- what is drawn


def lines(view):
    """The lines that are shown, by name: their cells, and which are marked."""
    made = {}
    for each in found(view, "attnlib-own-line"):
        if each.get("hidden") is None:
            cells = found(each, "attnlib-steps-trail")[0]
            made[text(found(each, "attnlib-own-name")[0])] = (
                [text(cell[0]) for cell in cells],
                [i for i, cell in enumerate(cells) if cell.get("data-odd") is not None],
                text(found(each, "attnlib-steps-note")[0]),
            )
    return made


def test_the_drawing_says_what_the_library_says():
    widgets = [OwnWord(word=word, step=1) for word in WORDS]
    widgets += [OwnWord(preset=preset["name"]) for preset in PRESETS]
    widgets += [OwnWord(word="night", moves=[move(0, 0, 4)]), OwnWord(word="zebra", moves=[move(1, 1, 3)], step=1)]
    for widget, view in zip(widgets, draw(*widgets), strict=True):
        shown, whole = lines(view), len(widget.sounds) < LONGEST
        assert shown["With attention"][0] == widget.sounds + ["end"] * whole
        assert shown["From one vector"][0] == widget.plain
        touched = widget.cut or bool(widget.moves)
        assert ("With its own weights" in shown) == touched
        if touched:
            assert shown["With its own weights"][0] == widget.untouched
        ways = DICTIONARY.get(widget.word)
        assert ("Dictionary" in shown) == bool(ways)
        for name, sounds in (("With attention", widget.sounds), ("From one vector", widget.plain)):
            count = min(distance(sounds, way) for way in ways) if ways else 0
            assert len(shown[name][1]) <= count
            note = f"differs in {count} sound{'s' * (count > 1)}" if count else "as in the dictionary"
            assert shown[name][2].split(",")[0] == (note if ways else "")
        row, best = min(widget.step, len(widget.map) - 1), max(widget.weights)
        caption = text(found(view, "attnlib-caption")[0])
        assert caption.startswith(f"Step {row + 1} of {len(widget.map)}, for “{[*widget.sounds, 'end'][row]}”: ")
        assert f"({share(best)})" in caption
        assert len(found(view, "attnlib-maps-row-names")[0]) == len(widget.map)
        assert [text(name) for name in found(view, "attnlib-maps-column-names")[0]] == list(widget.word)


def test_the_bars_are_the_weights_and_the_outlines_its_own():
    widget = OwnWord(word="night", moves=[move(0, 0, 4)])
    view, cut = draw(widget, OwnWord(word="night", cut=True))
    (board,) = found(view, "attnlib-own-board")
    heights = [float(bar.get("height")) / 124 for bar in found(board, "attnlib-bar")]
    assert heights == pytest.approx(widget.weights, abs=1e-4)
    outlines = [float(bar.get("height")) / 124 for bar in found(board, "attnlib-bar-outline")]
    assert outlines == pytest.approx(widget.own, abs=1e-4)
    handles = {each.get("aria-label"): each.get("aria-valuetext") for each in found(board, "attnlib-point")}
    assert handles == {
        "Weight of “n”, letter 1": f"on “t”, letter 5, {share(widget.own[0])}",
        "Weight of “i”, letter 2": f"on its own letter, {share(widget.own[1])}",
    }
    assert found(cut, "attnlib-point") == []


# --------------------------------------------------------------------------------------------- the page in the hand


def said(page):
    frame(page)
    cells = page.locator(".attnlib-own-line:visible").first.locator("li > span:first-child").all_inner_texts()
    return [sound for sound in cells if sound != "end"]


def settle(page):
    page.wait_for_function("!document.querySelector('[aria-busy]')")
    frame(page)


@pytest.mark.browser
def test_a_word_is_typed_stepped_through_and_cut_off(show):
    page = show(OwnWord())
    page.get_by_label(BOX).fill("  Attention ")
    settle(page)
    wanted = OwnWord(word="attention")
    assert said(page) == wanted.sounds
    assert started_from(page) == ""
    caption = page.locator(".attnlib-caption")
    for step, name in ((1, "Next sound"), (2, "Next sound"), (1, "Back"), (0, "Start again")):
        page.get_by_role("button", name=name, exact=True).click()
        frame(page)
        sound = wanted.sounds[step]
        assert caption.inner_text().startswith(f"Step {step + 1} of {len(wanted.map)}, for “{sound}”: ")
        assert page.locator("[aria-current=step] > span:first-child").inner_text() == sound
    page.get_by_label("Attention cut off: even weights").check()
    settle(page)
    assert said(page) == OwnWord(word="attention", cut=True).sounds
    assert page.locator(".attnlib-point").count() == 0
    page.get_by_label("Attention cut off: even weights").uncheck()
    assert said(page) == wanted.sounds
    page.get_by_role("button", name="Reset").click()
    settle(page)
    assert (started_from(page), page.get_by_label(BOX).input_value()) == ("A long word", "opportunity")


@pytest.mark.browser
def test_a_weight_is_moved_by_keyboard_and_given_back(show):
    page = show(OwnWord(preset="Silent letters"))
    page.get_by_label("Weight of “n”, letter 2").press("ArrowLeft")
    settle(page)
    assert said(page) == ["K", "AY", "N", "T", "S"]
    assert "With its own weights" in page.locator(".attnlib-own-lines").inner_text()
    page.get_by_role("button", name="Its own weights again").click()
    assert said(page) == ["N", "AY", "T", "S"]
    handle = page.get_by_label("Weight of “n”, letter 2")
    for key in ("Home", "ArrowRight"):  # there and back is no move
        handle.press(key)
        frame(page)
    assert page.get_by_role("button", name="Its own weights again").get_attribute("aria-disabled") == "true"


def column(page, j):
    box = page.locator(".attnlib-own-tile").nth(j).bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


@pytest.mark.browser
def test_a_weight_is_dragged_by_mouse_or_sent_by_a_press(show):
    page = show(OwnWord(preset="Silent letters"))
    grip = page.get_by_label("Weight of “n”, letter 2").locator(".attnlib-target").bounding_box()
    page.mouse.move(grip["x"] + grip["width"] / 2, grip["y"] + grip["height"] / 2)
    page.mouse.down()
    page.mouse.move(column(page, 0)[0], grip["y"], steps=8)
    page.mouse.up()
    settle(page)
    assert said(page) == ["K", "AY", "N", "T", "S"]
    page.mouse.click(*column(page, 1))  # back to its own letter
    settle(page)
    assert said(page) == ["N", "AY", "T", "S"]
    page.mouse.click(*column(page, 0))
    settle(page)
    assert said(page) == ["K", "AY", "N", "T", "S"]
    page.locator(".attnlib-maps-map").press("ArrowDown")
    frame(page)
    assert page.locator("[aria-current=step] > span:first-child").inner_text() == "AY"


@pytest.mark.browser
def test_a_weight_is_dragged_by_a_finger(new_context):
    page = new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True).new_page()
    page.set_content(f'<html lang="en"><meta name="viewport" content="width=device-width"><body><main>'
                     f'{OwnWord(preset="Silent letters")._repr_html_()}</main></body></html>')  # fmt: skip
    settle(page)
    page.locator(".attnlib-own-board").scroll_into_view_if_needed()
    grip = page.get_by_label("Weight of “n”, letter 2").locator(".attnlib-target").bounding_box()
    x, y = grip["x"] + grip["width"] / 2, grip["y"] + grip["height"] / 2
    to, client = column(page, 0)[0], page.context.new_cdp_session(page)
    client.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
    for part in range(1, 13):  # slowly: a browser that takes it for a scroll ends it after some pixels
        at = {"x": x + part / 12 * (to - x), "y": y}
        client.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [at]})
        page.wait_for_timeout(20)
    client.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    settle(page)
    assert said(page) == ["K", "AY", "N", "T", "S"]


@pytest.mark.browser
def test_what_is_no_word_is_refused_in_a_clear_line(show):
    page = show(OwnWord(word="phone"))
    box, why = page.get_by_label(BOX), page.locator(".attnlib-own-refused")
    before = said(page)
    for typed, words in (
        ("", "Type a word."),
        ("naïve", "and not “\u2068ï\u2069”."),
        ("two words", "and not a space."),
        ("a" * 40, "At most 34 letters are read, and these are 40."),
        ("the whole of a page\n" * 20_000, "and these are"),
    ):
        box.fill(typed)
        frame(page)
        assert words in why.inner_text()
        assert why.inner_text().endswith("Below it is still “phone”.")
        assert box.get_attribute("aria-invalid") == "true"
        assert said(page) == before
        box.fill(" PHONE ")
        frame(page)
        assert why.inner_text() == ""
        assert box.get_attribute("aria-invalid") is None
        assert said(page) == before
    box.fill("the whole of a page\n" * 20_000)
    frame(page)
    assert len(box.input_value()) == 200
    box.fill("a b")
    start_from(page, "A short word")
    settle(page)
    assert box.input_value() == "flight"
    assert why.inner_text() == ""


@pytest.mark.browser
def test_looking_about_keeps_what_the_preset_says(show):
    page = show(OwnWord())
    page.get_by_role("button", name="Next sound").click()
    page.locator(".attnlib-maps-map").press("ArrowUp")
    page.get_by_role("button", name="Play").click()
    frame(page)
    page.get_by_role("button", name="Pause").click()
    frame(page)
    assert started_from(page) == "A long word"
    page.get_by_label(BOX).fill("opportunitys")
    frame(page)
    assert started_from(page) == ""


# Frames that come when they are asked for, and a clock that goes on by so many ms whenever it is read.
BY_HAND = """(tick) => {
    let [clock, asked] = [0, []];
    performance.now = () => (clock += tick);
    window.requestAnimationFrame = (draw) => asked.push(draw);
    window.play = (frames, each = 16) => {
        for (let i = 0; i < frames; i += 1) {
            const all = asked;
            asked = [];
            clock += each;
            for (const draw of all) draw(clock);
        }
        return asked.length;
    };
}"""


@pytest.fixture
def stage(page):
    """A widget whose frames come one by one; what its status said is in ``said``."""

    def open_page(widget, tick):
        page.set_content('<html lang="en"><body><main></main></body></html>')
        page.evaluate(BY_HAND, tick)
        page.evaluate(
            """(html) => {
                document.querySelector("main").append(document.createRange().createContextualFragment(html));
                window.said = [];
                const status = document.querySelector("[role=status]");
                new MutationObserver(() => said.push(status.textContent)).observe(status, { childList: true });
            }""",
            widget._repr_html_(),
        )
        page.evaluate("() => new Promise((done) => setTimeout(done, 60))")  # observers have been told
        return page

    return open_page


def cells(page):
    return page.locator(".attnlib-own-line").first.locator("li").count()


@pytest.mark.browser
def test_a_slow_telephone_reads_and_says_in_slices_and_tells_at_the_end(stage):
    """Where the time of a frame is over at once, ten letters and steps are done in each."""
    widget = OwnWord(word="disproportionately")
    page = stage(widget, 7.0)
    seen, busy = [], []
    for _ in range(9):
        page.evaluate("() => play(1)")
        seen.append(cells(page))
        busy.append(page.locator("[aria-busy]").count())
    whole = len(widget.sounds) + 1
    assert seen[0] < whole
    assert seen == sorted(seen)
    assert seen[-1] == whole
    assert busy[0] == 1
    assert busy[-1] == 0
    assert page.evaluate("() => play(1)") == 0  # nothing more is asked for
    page.get_by_label(BOX).fill("counterrevolutionaries")
    page.evaluate("() => play(1)")
    assert page.locator(".attnlib-caption").inner_text() == "Reading …"
    page.evaluate("() => play(12)")
    page.evaluate("() => new Promise((done) => setTimeout(done, 700))")
    told = page.evaluate("said")
    assert len(told) == 1  # one line, when it is said
    assert told[0].startswith("“counterrevolutionaries” is said K AW N T ER")


@pytest.mark.browser
def test_playing_goes_on_by_the_clock_and_rests_out_of_sight(stage):
    widget = OwnWord(word="night")
    page = stage(widget, 0.01)
    page.evaluate("() => play(4)")

    def at():
        return int(page.locator(".attnlib-caption").inner_text().split()[1])

    page.get_by_role("button", name="Play").click()
    page.evaluate("() => play(3)")
    assert at() == 1
    page.evaluate("() => play(50)")  # of 16 ms: more than one sound's time, less than two
    assert at() == 2
    hide = """(hidden) => {
        Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
        document.dispatchEvent(new Event("visibilitychange"));
    }"""
    page.evaluate(hide, True)
    page.evaluate("() => play(200)")
    assert page.evaluate("() => play(1)") == 0
    on = at()
    page.evaluate(hide, False)
    page.evaluate("() => play(200)")
    assert at() == len(widget.map) > on
    assert page.get_by_role("button", name="Play").count() == 1
    assert page.evaluate("() => play(2)") == 0
    page.evaluate("() => new Promise((done) => setTimeout(done, 700))")
    assert len(page.evaluate("said")) == 1  # where it came to, and nothing on the way
