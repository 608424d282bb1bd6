"""claims: the interval, the verdict, the card and the stored payload."""

import contextlib
import io
import math
import re
import types
from pathlib import Path

import nbformat
import numpy
import pytest
import torch
from nbclient import NotebookClient
from scipy import stats

from attnlib.book import claims

GOOD = {
    "id": "demo-one",
    "claim": "Seven is more than five.",
    "source": "Ghaderi 2022, section 2.2",
    "experiment": "7 - 5, 3 seeds",
    "runs": {"seven": torch.tensor([7.1, 7.0, 6.9]), "five": 5},
    "holds": claims.above("seven", "five"),
}
STORED = {
    "id": "demo-one",
    "claim": "Seven is more than five.",
    "source": "Ghaderi 2022, section 2.2",
    "experiment": "7 - 5, 3 seeds",
    "verdict": "supported",
    "value": [["seven", 7.0], ["five", 5]],
    "spread": [["seven", 0.1], ["five", None]],
    "over": "3 seeds",
    "tests": [["seven − five = 2 [1.75, 2.25] > 0", "holds"]],
}
RUNS = {  # runs of two arms that go up and down together: their difference is sure, each alone is not
    "better": torch.tensor([0.93, 0.72, 0.55, 0.88, 0.61]),
    "worse": torch.tensor([0.90, 0.70, 0.51, 0.85, 0.60]),
    "half": 0.5,
}


def call(**changes):
    entry = GOOD | changes
    return claims.record(entry.pop("id"), **entry)


def stored(**changes):
    return STORED | changes


def decided(module, runs, *holds):
    """The verdict and each condition's answer, as the record says them."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        module.record("demo-one", claim="c", source="s", experiment="e", runs=runs, holds=holds)
    first, last = said.getvalue().splitlines()[0], said.getvalue().splitlines()[-1]
    return first.split()[1].removesuffix(":"), [test.rpartition(": ")[2] for test in last.split("; ")]


# --- the interval and the answers: checks, and the mutants that they must see -----------------------------------------


def check_interval(module):
    """Against the tables: t(2) = 4.3027, t(9) = 2.2622; and against scipy's own tests."""
    low, high = module.interval(torch.tensor([1.0, 2.0, 3.0]))[1:]
    assert (low, high) == pytest.approx((2 - 4.3026527 / math.sqrt(3), 2 + 4.3026527 / math.sqrt(3)), abs=1e-6)
    ten = torch.tensor([0.0, 1.0] * 5)
    assert module.interval(ten).high == pytest.approx(0.5 + 2.2621572 * math.sqrt(10 / 36 / 10), abs=1e-6)
    values = torch.randn(7, dtype=torch.float64) * 3 + 1
    wanted = stats.ttest_1samp(values.numpy(), 0).confidence_interval(0.95)
    assert module.interval(values) == pytest.approx((values.mean().item(), wanted.low, wanted.high), rel=1e-9)


def edges():
    """The paired interval of better less worse, by scipy: what stands just inside its ends and just outside."""
    found = stats.ttest_rel(RUNS["better"].double(), RUNS["worse"].double()).confidence_interval(0.95)
    return found.low, found.high


def check_paired(module):
    """The answer changes where the paired interval ends, by an oracle that is not ours."""
    low, high = edges()
    assert 0 < low < high < 0.1
    for by, answer in ((low - 1e-6, "holds"), (low + 1e-6, "open"), (high - 1e-6, "open"), (high + 1e-6, "fails")):
        assert decided(module, RUNS, claims.above("better", "worse", by=by))[1] == [answer]
    for by, answer in ((-high - 1e-6, "holds"), (-high + 1e-6, "open"), (-low - 1e-6, "open"), (-low + 1e-6, "fails")):
        assert decided(module, RUNS, claims.below("better", "worse", by=by))[1] == [answer]


def check_one_arm_against_a_number(module):
    values = RUNS["better"].double().numpy()
    low, high = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    for number, answer in ((low - 1e-6, "holds"), (low + 1e-6, "open"), (high + 1e-6, "fails")):
        assert decided(module, RUNS, claims.above("better", number))[1] == [answer]
        assert decided(module, RUNS, claims.above("better", number - 0.1, by=0.1))[1] == [answer]
    for number, answer in ((high + 1e-6, "holds"), (high - 1e-6, "open"), (low - 1e-6, "fails")):
        assert decided(module, RUNS, claims.below("better", number))[1] == [answer]
        assert decided(module, RUNS, claims.below("better", number + 0.1, by=0.1))[1] == [answer]


def check_multiples(module):
    """`times` multiplies the other arm run by run, before the difference is taken."""
    difference = RUNS["better"].double() - 0.9 * RUNS["worse"].double()
    low, high = stats.ttest_1samp(difference.numpy(), 0).confidence_interval(0.95)
    for by, answer in ((low - 1e-6, "holds"), (low + 1e-6, "open"), (high + 1e-6, "fails")):
        assert decided(module, RUNS, claims.above("better", "worse", times=0.9, by=by))[1] == [answer]
    assert decided(module, RUNS, claims.above("better", 0.1, times=2))[1] == ["holds"]
    assert decided(module, {"ten": 10, "four": 4}, claims.above("ten", "four", times=2, by=1))[1] == ["holds"]
    assert decided(module, {"ten": 10, "four": 4}, claims.above("ten", "four", times=2, by=2))[1] == ["fails"]
    assert decided(module, {"ten": 10, "four": 4}, claims.below("four", "ten", times=0.5, by=0.5))[1] == ["holds"]
    assert decided(module, {"ten": 10, "four": 4}, claims.below("four", "ten", times=0.5, by=1.5))[1] == ["fails"]


def check_near(module):
    """Holds when all of the interval is inside, fails when all of it is outside, is open when it holds an edge."""
    low, high = edges()
    for within, answer in ((high + 1e-6, "holds"), (high - 1e-6, "open"), (low + 1e-6, "open"), (low - 1e-6, "fails")):
        assert decided(module, RUNS, claims.near("better", "worse", within=within))[1] == [answer]
        assert decided(module, RUNS, claims.near("worse", "better", within=within))[1] == [answer]
    wide = stats.ttest_1samp(RUNS["better"].double().numpy(), 0).confidence_interval(0.95)
    mean = RUNS["better"].double().mean().item()
    reach = wide.high - mean
    for within, answer in ((reach + 1e-6, "holds"), (reach - 1e-6, "open")):
        assert decided(module, RUNS, claims.near("better", mean, within=within))[1] == [answer]
    assert decided(module, RUNS, claims.near("better", wide.high + 0.1, within=0.1 - 1e-6))[1] == ["fails"]


def check_exact(module):
    """A number has no interval, and an edge is on neither side of itself: strictly more, strictly less, or it fails."""
    runs = {"two": 2, "one": 1.0}
    for condition, answer in (
        (claims.above("two", "one"), "holds"),
        (claims.above("two", "one", by=1), "fails"),
        (claims.above("two", 2), "fails"),
        (claims.below("two", 2), "fails"),
        (claims.below("one", "two"), "holds"),
        (claims.near("two", "one", within=1), "fails"),
        (claims.near("two", "one", within=1.01), "holds"),
        (claims.near("two", 2, within=1e-9), "holds"),
    ):
        assert decided(module, runs, condition)[1] == [answer], condition


def check_verdicts(module):
    """Supported when all hold, refuted when all fail, undecided when all are open, else mixed."""
    low, high = edges()
    holds = claims.above("better", "worse", by=low / 2)
    fails = claims.above("better", "worse", by=high * 2)
    middle = claims.above("better", "worse", by=(low + high) / 2)
    for conditions, verdict in (
        ([holds], "supported"),
        ([holds, holds], "supported"),
        ([fails], "refuted"),
        ([fails, fails], "refuted"),
        ([middle], "undecided"),
        ([middle, middle], "undecided"),
        ([holds, fails], "mixed"),
        ([holds, middle], "mixed"),
        ([fails, middle], "mixed"),
        ([fails, middle, holds], "mixed"),
    ):
        assert decided(module, RUNS, *conditions)[0] == verdict


CHECKS = [
    check_interval,
    check_paired,
    check_one_arm_against_a_number,
    check_multiples,
    check_near,
    check_exact,
    check_verdicts,
]
# What is written, what a mistaken hand writes, and the check that has to see it.
MUTANTS = {
    "runs not paired": ("values - times * other, f", "values - times * other.mean(), f", check_paired),
    "runs paired out of order": ("values - times * other, f", "values - times * other.flip(0), f", check_paired),
    "degrees of freedom of n": ("stdtrit(n - 1,", "stdtrit(n,", check_interval),
    "normal in place of t": ("stdtrit(n - 1,", "stdtrit(1e9,", check_interval),
    "one-sided": ("n - 1, 0.975", "n - 1, 0.95", check_interval),
    "deviation over n": ("values.std()", "values.std(correction=0)", check_interval),
    "deviation, not error of the mean": ("/ math.sqrt(n)", "/ 1", check_interval),
    "mean beyond the edge is enough": ("found.low > edge if larger", "found.mean > edge if larger", check_paired),
    "ends exchanged": ("found.low > edge if larger", "found.high > edge if larger", check_paired),
    "ends exchanged below": ("else found.high < edge", "else found.low < edge", check_paired),
    "sign of the edge below": ("edge = 0.0 - edge if", "edge = edge if", check_paired),
    "by left out for a number": ("-by if relation", "0.0 if relation", check_one_arm_against_a_number),
    "times left out": ("values - times * other, f", "values - other, f", check_multiples),
    "near is open outside": ("found.high <= low or found.low >= high", "False", check_near),
    "near by its mean": ("low < found.low and found.high < high", "low < found.mean < high", check_near),
    "an edge counts as inside": ("found.low > edge if larger", "found.low >= edge if larger", check_exact),
    "an edge is open": ("found.high <= edge if larger", "found.high < edge if larger", check_exact),
    "the edge of near is open": ("found.high <= low or found.low >= high", "found.low > high", check_exact),
    "open counts as failing": ('"open": "undecided"', '"open": "refuted"', check_verdicts),
    "one that holds is enough": ('else "mixed"', 'else "supported"', check_verdicts),
}


@pytest.mark.parametrize("check", CHECKS)
def test_conditions_are_decided_by_the_paired_interval(check):
    check(claims)


@pytest.mark.parametrize(("written", "mistaken", "check"), MUTANTS.values(), ids=MUTANTS)
def test_mutants_are_rejected(written, mistaken, check):
    source = Path(claims.__file__).read_text("utf-8")
    assert source.count(written) == 1
    mutant = types.ModuleType("mutant")
    exec(compile(source.replace(written, mistaken), "mutant", "exec"), mutant.__dict__)
    with pytest.raises(AssertionError):
        check(mutant)


def test_the_order_of_the_conditions_and_scale_of_the_runs_change_nothing():
    low, _ = edges()
    conditions = [claims.above("better", "worse", by=low / 2), claims.above("better", "half", by=0.1)]
    assert decided(claims, RUNS, *conditions) == ("mixed", ["holds", "open"])
    assert decided(claims, RUNS, *conditions[::-1]) == ("mixed", ["open", "holds"])
    scaled = {arm: 1e6 * runs for arm, runs in RUNS.items()}
    assert decided(claims, scaled, claims.above("better", "worse", by=1e6 * low / 2)) == ("supported", ["holds"])


def test_runs_that_all_agree_are_sure():
    same = {"a": torch.full((5,), 0.75), "b": torch.full((5,), 0.5)}
    assert decided(claims, same, claims.above("a", "b", by=0.2)) == ("supported", ["holds"])
    assert claims.interval(same["a"]) == (0.75, 0.75, 0.75)


def test_check_asserts_what_record_would_support():
    low, high = edges()
    claims.check(RUNS, claims.above("better", "worse"), claims.above("better", "worse", by=low - 1e-6))
    for by, answer in ((low + 1e-6, "open"), (high + 1e-6, "fails")):
        with pytest.raises(AssertionError, match=rf"better − worse = 0\.026 \[.*\] > 0\.0\d+: {answer}"):
            claims.check(RUNS, claims.above("better", "worse"), claims.above("better", "worse", by=by))


def test_tensors_of_any_kind_and_numpy_numbers_are_taken():
    hits = torch.tensor([True, True, False, True])
    leaf = torch.tensor([1.0, 2.0], requires_grad=True)
    runs = {"hits": hits, "exact": numpy.float32(0.5), "one": torch.tensor(1)}
    assert decided(claims, runs, claims.near("hits", 0.75, within=2), claims.above("one", "exact"))[0] == "supported"
    assert claims.interval(leaf).mean == 1.5
    assert claims.interval(numpy.array([1.0, 2.0, 3.0])).mean == 2
    assert claims.interval(torch.tensor(0.25, dtype=torch.bfloat16)) == (0.25, 0.25, 0.25)


# --- what is shown and stored -----------------------------------------------------------------------------------------


def test_outside_a_notebook_the_plain_text_is_printed(capsys):
    assert call() is None
    assert capsys.readouterr().out == (
        "Claim supported: Seven is more than five. (Ghaderi 2022, section 2.2)\n"
        "Experiment: 7 - 5, 3 seeds\n"
        "Measured: seven 7.00 ± 0.10; five 5 (3 seeds)\n"
        "Tested: seven − five = 2 [1.75, 2.25] > 0: holds\n"
    )


@pytest.mark.parametrize(
    ("condition", "text"),
    [
        (claims.above("better", "worse", by=0.01), "better − worse = 0.026 [0.0118, 0.0402] > 0.01: holds"),
        (claims.below("better", "worse", by=0.01), "better − worse = 0.026 [0.0118, 0.0402] < −0.01: fails"),
        (claims.above("better", "half", times=1.5), "better − 1.5 × half = −0.012 [−0.217, 0.193] > 0: open"),
        (claims.near("worse", "better", within=0.05),
         "worse − better = −0.026 [−0.0402, −0.0118] within −0.05 to 0.05: holds"),
        (claims.near("better", 0.7, within=0.1), "better = 0.738 [0.533, 0.943] within 0.6 to 0.8: open"),
        (claims.above("count", 12344), "count = 12345 > 12344: holds"),
        (claims.below("half", 0.49999), "half = 0.5 < 0.49999: fails"),
        (claims.near("half", 0.5, within=1e-6), "half = 0.5 within 0.499999 to 0.500001: holds"),
    ],
)  # fmt: skip
def test_a_condition_is_shown_with_its_numbers(condition, text, capsys):
    call(runs=RUNS | {"count": 12345}, holds=condition)
    assert capsys.readouterr().out.splitlines()[-1] == f"Tested: {text}"


def test_the_number_of_runs_is_told_in_the_words_given(capsys):
    call(over="patients")
    assert "(3 patients)" in capsys.readouterr().out
    call(runs={"seven": 7, "five": 5})
    assert "Measured: seven 7; five 5\n" in capsys.readouterr().out


def test_a_kernel_stores_card_text_and_payload():
    source = (
        "import torch\nfrom attnlib.book import claims\n"
        "claims.record('demo-one', claim='a < b & c', source='us', experiment='e', "
        "runs={'q': 4, 'p': torch.tensor([0.123, 0.124, 0.12345])}, holds=claims.above('p', 'q'))"
    )
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    NotebookClient(book, timeout=120, kernel_name="python3").execute()
    (output,) = book.cells[0].outputs
    assert set(output.data) == {claims.MIME, "text/html", "text/plain"}
    assert output.data[claims.MIME]["value"] == [["q", 4], ["p", 0.123]]
    assert output.data[claims.MIME]["spread"] == [["q", None], ["p", 0.000501]]
    assert output.data[claims.MIME]["tests"] == [["p − q = −3.88 [−3.88, −3.88] > 0", "fails"]]
    assert "Claim refuted" in output.data["text/html"]
    assert "a &lt; b &amp; c" in output.data["text/html"]
    entry = claims.restore(output.data[claims.MIME])
    assert entry.verdict == "refuted"
    assert list(entry.value.items()) == [("q", 4), ("p", 0.123)]  # as they were given, though files sort their keys
    assert list(entry.spread.items()) == [("q", None), ("p", 0.000501)]
    assert entry.over == "3 seeds"


def test_the_card_names_the_verdict_in_words_and_sets_no_colour():
    card = claims._card(claims.restore(stored(tests=[["a & b < 1", "holds"]])))
    assert "Claim supported" in card
    assert "a &amp; b &lt; 1: holds" in card
    assert "Measured (3 seeds)</caption>" in card
    assert ">seven</th><td>7.00</td><td>0.10</td></tr>" in card
    assert ">five</th><td>5</td><td></td></tr>" in card
    assert not re.search(r"(?<!-)\b(color|background)\s*:", card)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"id": "Demo One"}, ValueError, "id must be lower-case"),
        ({"id": "demo"}, ValueError, "id must be lower-case"),
        ({"claim": " "}, ValueError, "claim must not be empty"),
        ({"source": None}, TypeError, "source must be a str, got NoneType"),
        ({"holds": []}, ValueError, "holds must name a condition at least"),
        ({"holds": claims.above("six", 1)}, ValueError, r"the arm 'six', which runs has not: \['seven', 'five'\]"),
        ({"holds": claims.below("seven", "six")}, ValueError, "names the arm 'six'"),
        ({"runs": {}}, ValueError, "runs must be a mapping from arms"),
        ({"runs": torch.ones(3)}, ValueError, "runs must be a mapping from arms"),
        ({"runs": {"seven": float("nan"), "five": 5}}, ValueError, r"runs\['seven'\] must hold finite .*, got nan"),
        ({"runs": {"seven": torch.tensor([7, float("inf")]), "five": 5}}, ValueError, "finite numbers, got inf"),
        ({"runs": {"seven": True, "five": 5}}, TypeError, r"runs\['seven'\] must be a tensor or a number, got bool"),
        ({"runs": {"seven": [7.0], "five": 5}}, TypeError, "must be a tensor or a number, got list"),
        ({"runs": {"seven": "7", "five": 5}}, TypeError, "must be a tensor or a number, got str"),
        ({"runs": {"seven": torch.ones(2, 2), "five": 5}}, ValueError, r"n >= 2, got shape \(2, 2\)"),
        ({"runs": {"seven": torch.ones(0), "five": 5}}, ValueError, r"n >= 2, got shape \(0,\)"),
        ({"runs": {"seven": torch.ones(1), "five": 5}}, ValueError, r"n >= 2, got shape \(1,\)"),
        (
            {"runs": {"seven": torch.ones(3), "five": torch.ones(2)}},
            ValueError,
            "'seven' and 'five' are paired run by run but have 3 and 2 runs",
        ),
    ],
)  # fmt: skip
def test_bad_records_say_what_is_wrong(changes, error, words, unchecked, capsys):
    with pytest.raises(error, match=words):
        call(**changes)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("value", "spread", "shown"),
    [
        (0.508, 0.00594, ("0.508", "0.006")),
        (497.0, 3.21, ("497", "3")),
        (-1.25, 0.5, ("-1.25", "0.50")),
        (1000, 250.0, ("1000", "250")),
        (0.0, 0.01, ("0.000", "0.010")),
        (7.2e-05, 2e-06, ("7.2e-05", "2e-06")),
        (0.994, 0.0, ("0.994", "0")),
        (3, None, ("3",)),
    ],
)
def test_a_value_is_told_as_far_as_its_spread_allows(value, spread, shown):
    assert claims._pair(value, spread) == shown


def test_arms_that_no_condition_compares_need_not_be_paired(capsys):
    call(runs=GOOD["runs"] | {"other": torch.tensor([1.0, 2.0])})
    assert "other 1.50 ± 0.71\n" in capsys.readouterr().out  # no number of runs: the arms have different ones


@pytest.mark.parametrize(("number", "expected"), [(0.98765, 0.988), (1234.5, 1230.0), (7, 7), (12345, 12345)])
def test_numbers_are_rounded_to_three_significant_digits_and_counts_are_not(number, expected):
    assert claims._rounded(number) == expected


# --- what is gathered -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "payload",
    [
        None,
        {"id": "demo-one"},
        stored(verdict="?"),
        stored(verdict="refuted"),  # not what its tests say
        stored(value=None),
        stored(value=[1, 2]),
        stored(spread=[["seven", 0.1]]),
        stored(tests=[]),
        stored(tests=None),
        stored(tests=[["a > b"]]),
        stored(tests=[["a > b", "perhaps"]]),
        stored(over=3),
        stored(id=""),
        stored(id="demo"),
        stored() | {"x": 1},
    ],
)
def test_a_malformed_claim_is_not_restored(payload):
    assert claims.restore(stored()).verdict == "supported"
    with pytest.raises((TypeError, ValueError)):
        claims.restore(payload)
