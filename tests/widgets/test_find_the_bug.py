"""FindTheBug: its arithmetic is the museum's, its properties are the check's, each line has a word; in the hand."""

import functools
import math

import pytest
import torch
from browser import frame
from drawn import arithmetic, draw, found, text

from attnlib.check import check, properties
from attnlib.museum import find
from attnlib.widgets import FindTheBug
from attnlib.widgets.bugs import CASES, PROPERTIES, lines_of
from attnlib.widgets.find_the_bug import KEYS, MASK, judged, weights_of

NAMES = [case["name"] for case in CASES]
every = pytest.mark.parametrize("case", CASES, ids=NAMES)
CALL = "(all) => all.map((given) => math.weightsOf(...given).flat().map((x) => Number.isFinite(x) ? x : String(x)))"
ASK = """({ sets, key, mask, numbers, names, properties }) => names.map((name) =>
  properties.filter((property) => !math.asked(property, name, sets, key, mask, numbers).holds))"""


def random(*shape, seed, scale=1.0):
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def masks(n_query, n_key):
    """None, padding, and one in which each query sees other keys."""
    padding = (torch.arange(n_key) < n_key - 1).expand(n_query, n_key)
    scattered = (torch.arange(n_query)[:, None] + torch.arange(n_key)) % 3 != 1
    return [None, padding, scattered]


@functools.cache
def cases():
    """Random inputs of each exhibit and of the same without its fault, and what Python makes of them."""
    asked, wanted = [], []
    for name in NAMES:
        for right in (False, True):
            for seed, scale in enumerate((0.3, 1.0, 5.0, 40.0)):
                query, key = random(4, 8, seed=seed, scale=scale), random(6, 8, seed=90 + seed, scale=scale)
                for mask in masks(4, 6):
                    function = find(name).right if right else find(name).wrong
                    parts = (query[None], key[None], key[None], None if mask is None else mask[None])
                    given = None if mask is None else mask.tolist()
                    asked.append([name, query.tolist(), key.tolist(), given, FindTheBug.data["numbers"], right])
                    wanted.append(function(*parts)[1][0].flatten())
    return asked, wanted


def test_the_page_computes_what_the_museum_does():
    asked, wanted = cases()
    assert len(asked) == 8 * 2 * 4 * 3
    for given, made, row in zip(asked, arithmetic("broken")(CALL, asked), wanted, strict=True):
        told = torch.tensor([float(x) for x in made], dtype=torch.float64)
        assert torch.allclose(told, row, rtol=1e-6, atol=1e-6, equal_nan=True), (given[0], given[5])


def test_a_wrong_version_would_be_seen():
    """Each exhibit is told from the same without the fault, and from each other one."""
    asked, wanted = cases()
    by_name = {}
    for (name, *_, right), row in zip(asked, wanted, strict=True):
        by_name.setdefault((name, right), []).append(row)
    made = {key: torch.cat(rows) for key, rows in by_name.items()}
    wrong = [made[name, False] for name in NAMES]
    for i, one in enumerate(wrong):
        others = [made[NAMES[i], True], *wrong[:i]]
        assert not any(torch.allclose(one, other, atol=1e-3, equal_nan=True) for other in others)


@functools.cache
def told_by_the_check():
    """Which of the properties do not hold, as attnlib.check says."""
    skip = set(properties()) - set(PROPERTIES)
    return {
        name: set(check(find(name).wrong, kind=find(name).kind, sizes=find(name).sizes, skip=skip).failed)
        for name in NAMES
    }


@every
def test_what_fails_is_what_the_check_says(case):
    assert set(case["fails"]) == told_by_the_check()[case["name"]]
    assert case["breaks"] in case["fails"] or case["breaks"] == "axis"  # axis: no sum of a row is one
    assert "sum" in case["fails"] or case["breaks"] != "axis"


@pytest.mark.parametrize("seed", [None, *range(6)])
def test_the_page_says_the_same_wherever_the_queries_stand(seed):
    boards = [[[3.0, 0.0], [0.0, 3.0], [-3.0, 0.0], [0.0, -3.0]]]
    turn = torch.tensor([[math.cos(0.5), -math.sin(0.5)], [math.sin(0.5), math.cos(0.5)]], dtype=torch.float64)
    if seed is None:
        first = boards[0]
    elif seed == 5:
        first = [[0.0, 0.0]] * 4
    else:
        first = (random(4, 2, seed=seed) * 2).clamp(-4, 4).tolist()
    others = [(torch.tensor(boards[0], dtype=torch.float64) @ m).tolist() for m in (torch.eye(2).double(), turn)]
    pad = lambda points: [[*point, *[0.0] * 6] for point in points]  # noqa: E731
    given = {"sets": [pad(each) for each in (first, *others)], "key": pad(KEYS), "mask": MASK,
             "numbers": FindTheBug.data["numbers"], "names": NAMES, "properties": [*PROPERTIES]}  # fmt: skip
    failed = dict(zip(NAMES, arithmetic("broken")(ASK, given), strict=True))
    assert {name: set(names) for name, names in failed.items()} == {case["name"]: set(case["fails"]) for case in CASES}


@every
def test_each_line_has_a_word_and_one_is_at_fault(case):
    exhibit = find(case["name"])
    assert case["lines"] == lines_of(case["name"])
    assert 3 <= len(case["lines"]) <= 5
    assert [exhibit.fault in line for line in case["lines"]].count(True) == 1
    assert exhibit.fault in case["lines"][case["fault"]]
    assert [i for i, hint in enumerate(case["hints"]) if not hint] == [case["fault"]]
    assert len(case["hints"]) == len(case["lines"])
    said = [judged(case, [i]) for i in range(len(case["lines"]))]
    assert [verdict for verdict, _ in said].count("right") == 1
    assert said[case["fault"]] == ("right", case["why"])
    assert not any(case["name"] in words for words in (*case["lines"], *case["hints"]))  # nothing tells the name


def test_the_properties_are_those_of_the_check():
    assert set(PROPERTIES) <= set(properties())
    assert {name for case in CASES for name in case["fails"]} == set(PROPERTIES)  # each is of use


def test_the_number_that_is_told_is_true():
    assert "energy of 710 is too much for exp" in CASES[-1]["why"]
    assert math.isfinite(math.exp(709))
    with pytest.raises(OverflowError):
        math.exp(710)


BAD = [
    ({"accused": [3]}, r"accused must be a line of this exhibit, from 0 to 2; got \[3\]"),
    ({"asked": [1, 1]}, r"asked must hold each number once; got \[1, 1\]"),
    ({"solved": [0, 0]}, r"solved must hold each number once; got \[0, 0\]"),
    ({"index": 8}, "index must be a whole number from 0 to 7"),
    ({"query": [[0, 5], [0, 0], [0, 0], [0, 0]]}, "query must be"),
]


@pytest.mark.parametrize(("state", "message"), BAD)
def test_bad_states_are_refused(state, message):
    with pytest.raises(ValueError, match=message):
        FindTheBug(**state)


def plain(words):
    return words.replace("\u2068", "").replace("\u2069", "")


def test_the_page_shows_what_python_says():
    states = [{"index": i, "asked": [*range(6)], "accused": [line], "beside": True}
              for i, case in enumerate(CASES) for line in range(len(case["lines"]))]  # fmt: skip
    for state, view in zip(states, draw(*(FindTheBug(**state) for state in states)), strict=True):
        widget, case = FindTheBug(**state), CASES[state["index"]]
        assert widget.failed == [name for name in PROPERTIES if name in case["fails"]]
        answers = [each.get("data-holds") for each in found(view, "attnlib-bug-answer")]
        assert answers == [str(name not in case["fails"]).lower() for name in PROPERTIES]
        said = found(view, "attnlib-bug-said")[0]
        assert said.get("data-said") == widget.verdict
        assert widget.said in text(said)
        named = found(view, "attnlib-bug-name")[0]
        assert (named.get("hidden") is None) == (widget.verdict == "right")
        assert named.find("a").get("href") == "#exhibit-" + case["name"].replace(" ", "-")
        told = text(view)
        assert "undefined" not in told
        assert ("each key gets the same" in told) == (case["name"] == "softmax over one item")
        assert (f"{widget.row + 1} gives NaN" in told) == math.isnan(widget.weights[0][4])
        first = widget.weights[0][0]
        assert first in (0, 1) or f"k1 {first:.3f}" in told


def test_the_weights_are_the_museums_at_the_start():
    assert FindTheBug().weights == weights_of(NAMES[0], FindTheBug().query)
    assert FindTheBug().weights[0][4] > 0.1  # what is hidden is seen to have weight
    assert "k5 is hidden" in FindTheBug(index=2).summary()


# ----------------------------------------------------------------------------------------------- the page, in the hand


@pytest.mark.browser
def test_all_eight_by_keyboard(show):
    page = show(FindTheBug())
    for i, case in enumerate(CASES):
        page.get_by_role("button", name=PROPERTIES["sum"]).press("Enter")
        frame(page)
        answer = page.locator(".attnlib-bug-answer").first.inner_text()
        assert answer.startswith("No." if "sum" in case["fails"] else "Yes.")
        lines = page.locator(".attnlib-bug-lines button")
        wrong = 0 if case["fault"] else 1
        lines.nth(wrong).press("Enter")
        frame(page)
        assert page.locator(".attnlib-bug-said").inner_text() == f"Not this one. {case['hints'][wrong]}"
        assert page.get_by_role("link", name=case["name"]).count() == 0
        lines.nth(case["fault"]).press("Enter")
        frame(page)
        assert page.locator(".attnlib-bug-said").inner_text() == f"Right. {case['why']}"
        assert page.get_by_role("link", name=case["name"]).count() == 1
        assert page.locator(".attnlib-bug-tally").inner_text() == f"{i + 1} of 8 found"
        page.get_by_role("button", name="Next exhibit").press("Enter")
        frame(page)
        assert page.locator(".attnlib-bug-answer").first.inner_text() == ""


@pytest.mark.browser
def test_the_map_follows_a_query(show):
    page = show(FindTheBug())
    caption = page.locator(".attnlib-caption")
    before = caption.inner_text()
    page.locator(".attnlib-point").nth(1).focus()
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    frame(page)
    assert caption.inner_text() != before
    assert caption.inner_text().startswith("q2 at (0.40, 3.00)")
    page.get_by_label("Show it without the fault").check()
    frame(page)
    assert page.locator(".attnlib-maps-map:visible").count() == 2


@pytest.mark.browser
def test_a_finger_moves_a_query_and_accuses(new_context):
    page = new_context(viewport={"width": 390, "height": 900}, has_touch=True, is_mobile=True).new_page()
    page.set_content(f'<html lang="en"><body><main>{FindTheBug()._repr_html_()}</main></body></html>')
    box = page.locator(".attnlib-plane").bounding_box()
    page.touchscreen.tap(box["x"] + box["width"] * 0.6, box["y"] + box["height"] * 0.6)
    frame(page)
    assert not page.locator(".attnlib-caption").inner_text().startswith("q1 at (3.00, 0.00)")
    page.locator(".attnlib-bug-lines button").nth(CASES[0]["fault"]).tap()
    frame(page)
    assert page.locator(".attnlib-bug-tally").inner_text() == "1 of 8 found"
