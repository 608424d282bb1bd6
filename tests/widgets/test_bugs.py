"""FindTheBug: what its hints grant to another line is true, and the numbers that it tells are those of the museum."""

import math

import pytest
import torch
from drawn import arithmetic, draw, found, text

from attnlib.check import check
from attnlib.museum import find
from attnlib.museum.exhibit import hide
from attnlib.museum.scores import MATRIX, OTHER
from attnlib.widgets import FindTheBug
from attnlib.widgets.bugs import CASES, PROPERTIES
from attnlib.widgets.find_the_bug import FEATURES, KEYS, MASK, weights_of

HINTS = {case["name"]: case["hints"] for case in CASES}
FAR = 30
ASK = """({ name, sets, key, mask, numbers, properties }) =>
  properties.map((one) => math.asked(one, name, sets, key, mask, numbers))"""


def energies(query, key):
    return query @ key.mT / query.shape[-1] ** 0.5


def features(query, key, mask):
    query, key = (torch.nn.functional.elu(part) + 1 for part in (query, key))
    return query @ key.mT if mask is None else (query @ key.mT) * mask


def hidden_at_once(query, key, value, mask=None):
    weights = hide(energies(query, key), mask).softmax(-1)
    return weights @ value, weights


def divided_below(query, key, value, mask=None):
    products = features(query, key, mask)
    weights = products / products.sum(-1, keepdim=True)
    return weights @ value, weights


def late(query, key, value, mask=None):
    weights = energies(query, key).softmax(-1)
    weights = weights if mask is None else weights * mask
    return weights @ value, weights


def numbers_multiplied(query, key, value, mask=None):
    both = (query @ MATRIX[0].to(query))[..., None] * (key @ OTHER[0].to(key))[:, None]
    weights = hide(both, mask).softmax(-1)
    return weights @ value, weights


GRANTED = [  # an exhibit, a line not at fault, what its hint grants, a mend by it, what holds then, what does not
    ("padding that is attended", 0, "as far as they go", hidden_at_once, {"hidden weight", "padding"}, set()),
    ("a divisor left out", 3, "mend it too", divided_below, {"sum", "large"}, set()),
    ("softmax over one item", 2, "too late for a sum of one", late, {"query", "axis"}, {"sum", "padding"}),
    ("a linear score", 0, "but no fault", numbers_multiplied, {"query", "choice"}, set()),
    ("tanh outside of the score", 0, "but no fault", numbers_multiplied, {"query", "choice"}, set()),
]


@pytest.mark.parametrize(("name", "line", "words", "mended", "holds", "fails"), GRANTED)
def test_what_a_hint_grants_is_true(name, line, words, mended, holds, fails):
    assert words in HINTS[name][line]
    report = check(mended, kind="kernel" if "divisor" in name else "softmax")
    assert holds <= set(report.passed)
    assert fails <= set(report.failed)
    assert holds & set(check(find(name).wrong, kind=find(name).kind).failed)


def test_elu_plus_one_is_wanting_far_below_and_not_on_the_plane():
    assert "another exhibit" in HINTS["a divisor left out"][0]
    assert "elu plus one" not in HINTS
    assert "elu(part) + 1" in find("elu plus one").fault
    assert torch.nn.functional.elu(torch.tensor(-4.0 * FAR, dtype=torch.float64)) + 1 == 0
    assert torch.nn.functional.elu(torch.tensor(-4.0, dtype=torch.float64)) + 1 > 0


def turned(degrees):
    at = [math.radians(degrees + quarter) for quarter in (0, 90, 180, 270)]
    return [[3 * math.cos(each), 3 * math.sin(each)] for each in at]


def answers(name, sets):
    """The number that the page tells of each property, from the museum's own lines."""
    keys, mask = torch.tensor(KEYS, dtype=torch.float64), torch.tensor([MASK])

    def rule(points, seen, far=1):
        parts = [torch.nn.functional.pad(torch.as_tensor(each, dtype=torch.float64) * far, (0, FEATURES - 2))[None]
                 for each in (points, keys, keys)]  # fmt: skip
        return find(name).wrong(*parts, seen)[1][0]

    def sums(far=1):
        for points in sets:
            for seen in (mask, None):
                total = rule(points, seen, far).sum(-1)
                off = (total - 1).abs().nan_to_num(math.inf)
                if off.max() > 1e-8:
                    return float(total[off.argmax()])
        return 1.0

    rows = torch.cat([rule(points, None) for points in sets])
    moved = []
    for points in sets[1:]:
        for i in range(4):
            others = [sets[0][j] if i == j else points[j] for j in range(4)]
            moved.append((rule(others, None)[i] - rule(sets[0], None)[i]).abs().max())
    behind = rule(sets[0], mask)[:, 4]
    return {
        "sum": sums(),
        "query": float((rows - rows[0]).abs().max()),
        "choice": float(rows.argmax(-1).unique().numel()),
        "rows": float(max(moved)),
        "hidden weight": float(behind[behind.abs().nan_to_num(math.inf).argmax()]),
        "large": sums(FAR),
    }


@pytest.mark.parametrize("name", HINTS)
def test_the_numbers_that_are_told_are_the_museums(name):
    generator = torch.Generator().manual_seed(3)
    strewn = (2 * torch.randn(4, 2, generator=generator, dtype=torch.float64)).clamp(-4, 4).tolist()
    for first in (FindTheBug().query, strewn):
        sets = [first, *(turned(degrees) for degrees in (0, 30, 60))]
        wide = [[[*point, *[0.0] * (FEATURES - 2)] for point in points] for points in (*sets, KEYS)]
        given = {"name": name, "sets": wide[:-1], "key": wide[-1], "mask": MASK, "properties": [*PROPERTIES]}
        told = arithmetic("broken")(ASK, {**given, "numbers": FindTheBug.data["numbers"]})
        for prop, one in zip(PROPERTIES, told, strict=True):
            number = math.nan if one["number"] is None else one["number"]  # JSON has no NaN
            wanted = answers(name, sets)[prop]
            assert number == pytest.approx(wanted, rel=1e-9, abs=1e-9, nan_ok=True), prop
            if prop == "choice":
                assert one["asked"] == 16


def told(index, **state):
    view = draw(FindTheBug(index=index, asked=[*range(6)], **state))[0]
    return dict(zip(PROPERTIES, map(text, found(view, "attnlib-bug-answer")), strict=True))


def test_an_answer_says_what_was_asked_with_nothing_hidden():
    """All weights of the second stand on k5, which is hidden: what moves and what is preferred is so without a mask."""
    assert {row[4] for row in weights_of(CASES[1]["name"], FindTheBug().query)} == {1.0}
    assert told(1)["query"] == "Yes. The weight of k3 moves by 0.923, nothing hidden."
    assert told(1)["choice"] == "Yes. 16 queries prefer 5 different keys, nothing hidden."
    assert told(2)["rows"].endswith("when the others move, nothing hidden.")


def test_a_preference_that_rounding_hides_is_told():
    row = weights_of("tanh outside of the score", FindTheBug().query)[0]
    assert row.index(max(row)) == 3
    assert {f"{weight:.3f}" for weight in row[:4]} == {"0.250"}
    assert told(5)["choice"] == "No. All of 16 queries prefer k4, some by less than 0.0005."
    assert told(3)["choice"] == "No. All of 16 queries prefer k4."


def test_a_weight_too_small_to_show_is_weight_still():
    far = [[-4.0, 4.0]] * 4
    assert 1e-6 < weights_of(CASES[0]["name"], far)[0][4] < 1e-4
    assert told(0, query=far)["hidden weight"] == "No. q1 gives < 0.0005 to k5, which is hidden."


def test_what_is_large_is_queries_and_keys():
    """Energies that a tanh bounds, or that add query and key, do not grow with their product."""
    assert told(0)["large"] == f"Yes. Queries and keys {FAR} times as large, and each row sums to one."
    assert told(7)["large"] == f"No. Queries and keys {FAR} times as large: q1 sums to NaN."
