"""The questions of the book: what they hold is right, each hint can be met, and the parser reads what readers type.

A proof is a function of a question's label in `proofs_*.py`. It gives the answer, and wrong answers by their text, as

* a number, for `number`;
* a function of the letters, for `formula`; the letters are whole numbers, so that it may count;
* places, for `order`; for `choice` whether each item is right; for `cell` which cells are, as a table.
"""

import importlib
import itertools
import json
from functools import cache
from pathlib import Path

import pytest
import torch

from book._ext import questions as shown
from book._tools import asking, node, toc

PROOFS = {
    name: proof
    for path in sorted(Path(__file__).parent.glob("proofs_*.py"))
    for name, proof in vars(importlib.import_module(path.stem)).items()
    if "_q_" in name
}
JUDGE = """
const { JUDGES } = await import(data.at);
const judge = ([page, given]) => {
  try { return JUDGES[page.kind](page, given); } catch (error) { return error.message; }
};
return data.asked.map(judge);
"""
VALUES = """
const { parse, evaluate, points, readings } = await import(data.at);
return data.asked.map(([text, names, points]) => points.map((point) => evaluate(parse(text, names), point)));
"""


def sources():
    for path in toc.pages():
        text = path.read_text("utf-8")
        cells = json.loads(text)["cells"] if path.suffix == ".ipynb" else [{"cell_type": "markdown", "source": [text]}]
        yield from ((path, "".join(cell["source"])) for cell in cells if cell["cell_type"] == "markdown")


FOUND = [(path.stem, question) for path, text in sources() for question in asking.questions(text)]
ALL = [question for _, question in FOUND]
every_question = pytest.mark.parametrize("question", ALL, ids=lambda question: question.label)


def judged(*asked):
    """What the page says to each answer: None if it is right, the number of the hint, -1 for none, or a message."""
    return node.run(JUDGE, {"at": (shown.HERE / "questions.js").as_uri(), "asked": asked})


def values(*asked):
    return node.run(VALUES, {"at": (shown.HERE / "formula.js").as_uri(), "asked": asked})


def test_each_question_is_proved_and_each_proof_is_of_a_question():
    labels = [question.label for question in ALL]
    assert len(set(labels)) == len(labels)
    assert sorted(PROOFS) == sorted(label.replace("-", "_") for label in labels)


def test_a_page_asks_two_to_four():
    counts = {stem: sum(other == stem for other, _ in FOUND) for stem, _ in FOUND}
    assert {stem: count for stem, count in counts.items() if not 2 <= count <= 4} == {}


SIZES = [(2, 3, 5, 7), (5, 2, 7, 3), (1, 4, 2, 6)]


def places(question):
    """Where a formula is computed; a number is a formula without letters."""
    names = list(question.variables) if question.kind == "formula" else []
    return [dict(zip(names, sizes, strict=False)) for sizes in (SIZES if names else SIZES[:1])]


@cache
def written():
    """The values of all numbers and formulas that stand in the pages, by label and text."""
    asked = {
        (question.label, text): (text, list(places(question)[0]), places(question))
        for question in ALL
        for text in [question.answer, *(wrong for wrong, _ in question.hints)]
        if question.kind in ("number", "formula") and text not in ("less", "more", "*")
    }
    return dict(zip(asked, values(*asked.values()), strict=True))


def proved(question, text, proof):
    """Whether the text of an answer says what was computed; a number to a tenth of what is allowed."""
    if question.kind == "formula":
        found = [float(proof(**place)) for place in places(question)]
        return written()[question.label, text] == pytest.approx(found, rel=1e-6)
    if question.kind == "number":
        within = question.page().get("within", 0)
        return written()[question.label, text] == pytest.approx([float(proof)], rel=1e-6, abs=0.1 * within)
    place = question.place(text)
    if question.kind == "order":
        return place == list(proof)
    if question.kind == "choice":
        return [place] == [i for i, right in enumerate(proof) if right]
    return [place] == torch.as_tensor(proof).nonzero().tolist()


@every_question
def test_the_answer_is_what_is_computed(question):
    answer, wrong = PROOFS[question.label.replace("-", "_")]()
    assert proved(question, question.answer, answer)
    written = [text for text, _ in question.hints]
    for text, value in wrong.items():
        assert text in written
        assert proved(question, text, value), text


def tries(question):
    """Answers that meet each hint, and the right one."""
    for number, wrong in [(None, question.answer), *enumerate(text for text, _ in question.hints)]:
        place = question.place(wrong)
        if question.kind == "order":
            every = [list(each) for each in itertools.permutations(range(len(question.items)))]
            yield number, every if number is not None else [place]
        elif question.kind == "cell":
            rows, columns = (range(len(names)) for names in question.table)
            every = [[row, column] for row in rows for column in columns]
            yield number, every if number is not None else [place]
        elif question.kind == "choice":
            yield number, [place]
        elif wrong in ("less", "more", "*"):
            yield number, [f"{question.answer} - 10000", f"{question.answer} + 10000"]
        else:
            yield number, [wrong]


def test_each_hint_can_be_met_and_the_right_answer_has_none():
    met = [(question, number, given) for question in ALL for number, all_ in tries(question) for given in all_]
    found = judged(*((question.page(), given) for question, _, given in met))
    said = {}
    for (question, number, _), answer in zip(met, found, strict=True):
        said.setdefault((question.label, number), []).append(answer)
    assert [key for key, answers in said.items() if key[1] not in answers] == []


@every_question
def test_what_is_asked_stands_in_no_order_and_is_short(question):
    if question.kind == "order":
        assert question.place(question.answer) != list(range(len(question.items)))
        assert "$" not in "".join(question.items)  # they are read out when they move
    assert len(question.asks.split()) < 90
    assert question.title


# ----------------------------------------------------------------------------------------------- what readers type


READ = [
    ("2/7", 2 / 7), (" -2^2 ", -4), ("2^-1", 0.5), ("2^3^2", 512), ("1/2*3", 1.5), ("ln 2 + ln(2)", 1.3862943611198906),
    ("√2", 2**0.5), ("3²", 9), ("2·3×4", 24), ("−1 – 1", -2), ("2**3", 8), ("(1+2)(3)", 9), ("1e-3", 0.001),
    (".5", 0.5), ("2 e^2", 14.7781121978613), ("exp(1)/e", 1), ("\\frac{1}{4} \\cdot 2", 0.5), ("[1+1]*2", 4),
    ("2⁴", 16), ("2¹⁰", 1024), ("e⁴", 54.598150033144236), ("sqrt{16}", 4), ("-(-(-1))", -1),
    ("2*-3", -6), ("abs(-3)", 3),
]  # fmt: skip
UNREAD = {
    "": "Type an answer first.", "  ": "Type an answer first.", "1" * 201: "That is too long to be an answer.",
    "(1": "A bracket is not closed.", "1)": "A bracket is closed that was not opened.",
    "1+": "Something is missing at the end.", "*2": "Something is missing before “*”.",
    "()": "Something is missing before “)”.", "2 $ 3": "I cannot read “$ 3”.",
    "a <b> c": "I cannot read “<b> c”.", "a b": "I do not know “a”. The answer is a number.",
    "constructor": "I do not know “constructor”.", "__proto__": "I cannot read “__proto__”.",
    "alert(1)": "I do not know “alert”.", "(" * 100: "That is too deep to read.", "-" * 150 + "1": "That is too deep",
    "2^" * 90 + "1": "That is too deep", "sqrt " * 39: "Something is missing at the end.", "0/0": "That is no number.",
    "1,2,3": "Write one number", "1 = 2": "I cannot read “= 2”.", "👍": "I cannot read",
}  # fmt: skip


def number(answer="1", wrong=(), **more):
    return {"kind": "number", "answer": answer, "wrong": list(wrong), **more}


def test_numbers_are_read():
    found = values(*((text, [], [{}]) for text, _ in READ))
    assert [each for (each,) in found] == pytest.approx([value for _, value in READ])


def test_what_is_not_read_is_told_and_is_no_answer():
    said = judged(*((number(), text) for text in UNREAD))
    assert [text for text, message in zip(UNREAD.values(), said, strict=True) if message[: len(text)] != text] == []


@pytest.mark.parametrize(
    ("answer", "more", "right", "not_right"),
    [
        ("2/7", {"within": 0.005}, ["2/7", "0.2857", "0.29", "0,29", ".29", "29 %", "28.6%", "≈ 0.29"], ["0.3", "29"]),
        ("1250", {}, ["1250", "1,250", "1,250.0", "1250.000", "1.25e3"], ["1.25", "1250.01"]),
        ("1.25", {}, ["1,25", "5/4", "1,250"], ["125"]),
        ("30", {"unit": "%"}, ["30", "30%", "30 %"], ["0.3", "30 % %"]),
        ("4", {"unit": "bits"}, ["4", "4 bits", "4bits", "4 BITS"], ["4 bytes", "bits"]),
        ("-inf", {}, ["-inf", "−∞", "-infinity"], ["inf", "0", "-1e300"]),
        ("0", {}, ["0", "-0", "1-1"], ["1e-9"]),
    ],
)
def test_a_number_is_right_however_it_is_written(answer, more, right, not_right):
    told = number(answer, **more)
    assert judged(*((told, text) for text in right)) == [None] * len(right)
    assert None not in judged(*((told, text) for text in not_right))


def test_the_hint_of_a_number_is_that_of_its_mistake_then_of_its_side():
    told = number("10", ["20", "less", "more"], within=0.5)
    assert judged(*((told, text) for text in ("9.6", "19.7", "25", "-3"))) == [None, 0, 2, 1]
    assert judged((number("10", ["less"]), "11"), (number("10", ["*"]), "11")) == [-1, 0]


FORMULA = {"kind": "formula", "variables": {"m": [0.5, 3], "n": [0.5, 3], "d_k": [0.5, 3]}}


@pytest.mark.parametrize(
    "text", ["2 m n d_k", "2mnd_k", "d_k*n*2m", "(m+m) n dk", "MN 2d_k", "2mn d_{k}", "m n / (1/(2 d_k))"]
)
def test_a_formula_is_right_however_it_is_written(text):
    told = FORMULA | {"answer": "2 m n d_k", "wrong": ["m n d_k", "*"]}
    assert judged((told, text)) == [None]


def test_wrong_formulas_are_told_apart_and_unknown_letters_are_no_answer():
    told = FORMULA | {"answer": "2 m n d_k", "wrong": ["m n d_k", "*"]}
    texts = ["n m d_k", "2 m n d_k + 0.001", "0/0", "2 m n d_v", "2 m n d_k x"]
    said = judged(*((told, text) for text in texts))
    assert said[:3] == [0, 1, 1]
    assert said[3].startswith("I do not know “d_v”. The letters here are m, n, d_k.")
    assert said[4].startswith("I do not know “x”.")


def test_a_formula_is_compared_only_where_the_answer_has_a_value():
    told = {"kind": "formula", "variables": {"x": [-2, 2]}, "answer": "sqrt(x)", "wrong": ["x"]}
    assert judged((told, "x^0.5"), (told, "sqrt(abs(x))"), (told, "x")) == [None, None, 0]


def test_orders_choices_and_cells_are_judged():
    order = {"kind": "order", "answer": [2, 0, 1], "wrong": [[1, 0], "*"]}
    assert judged(*((order, given) for given in ([2, 0, 1], [1, 2, 0], [0, 1, 2]))) == [None, 0, 1]
    choice = {"kind": "choice", "answer": 1, "wrong": [0]}
    assert judged((choice, 1), (choice, 0), (choice, 2)) == [None, 0, -1]
    cell = {"kind": "cell", "answer": [0, 1], "wrong": [[0, None], [None, 1]]}
    assert judged(*((cell, place) for place in ([0, 1], [0, 0], [2, 1], [2, 2]))) == [None, 0, 1, -1]


def test_the_formula_that_was_read_is_shown_with_its_brackets():
    script = "const f = await import(data.at); return data.texts.map((text) => f.shown(f.parse(text, ['m', 'n'])));"
    texts = {"1/2m": "1 / 2 · m", "1/(2m)": "1 / (2 · m)", "-(m+n)^2": "−(m + n)^2", "m-(n-1)": "m − (n − 1)",
             "(-2)^2": "(−2)^2", "ln m": "ln(m)", "(2^m)^n": "(2^m)^n", "2^-1": "2^(−1)"}  # fmt: skip
    found = node.run(script, {"at": (shown.HERE / "formula.js").as_uri(), "texts": list(texts)})
    assert dict(zip(texts, found, strict=True)) == texts


# ----------------------------------------------------------------------------------------------- what a page says


GOOD = "Asked?\n\n= 1\n> 2 : A hint,\nlonger.\n! Why\n\nit is so."


def test_a_question_is_read():
    text = (
        f"Before\n\n```{{question}} A title\n:label: a-q-b\n:kind: number\n:within: 0.1\n:unit: bits\n\n{GOOD}\n```\n"
    )
    (question,) = asking.questions(text)
    assert (question.label, question.kind, question.title, question.asks) == ("a-q-b", "number", "A title", "Asked?")
    assert (question.answer, question.hints, question.why) == ("1", [("2", "A hint,\nlonger.")], "Why\n\nit is so.")
    assert question.page() == {"kind": "number", "title": "A title", "answer": "1", "wrong": ["2"], "within": 0.1,
                               "unit": "bits"}  # fmt: skip


LIST = "Asked:\n\n- one\n- two\n\n= {right}\n> {wrong} : Hint.\n! Why."
TABLE = (
    "Asked:\n\n| | x | y |\n| --- | --- | --- |\n| p | 1 | 2 |\n| q | 3 | 4 |\n\n= {right}\n> {wrong} : Hint.\n! Why."
)


@pytest.mark.parametrize(
    ("kind", "body", "message"),
    [
        ("guess", GOOD, "a-q-b: the kind must be one of number"),
        ("number", GOOD.replace("= 1\n", ""), "a-q-b: one answer, one reason and at least one hint"),
        ("number", GOOD.replace("> 2 : A hint,\n", ""), "a-q-b: one answer, one reason"),
        ("number", GOOD.replace("! Why", "Why"), "a-q-b: one answer, one reason"),
        ("number", GOOD.replace("2 : A hint,\nlonger.", "2"), "a-q-b: the hint '2' says nothing"),
        ("formula", GOOD, "a-q-b: a formula has variables"),
        ("choice", LIST.format(right="c", wrong="a"), "a-q-b: 'c' is not among a, b"),
        ("choice", LIST.format(right="a b", wrong="a"), "a-q-b: 'a b' is not one item"),
        ("order", LIST.format(right="b a", wrong="b d"), "a-q-b: 'd' is not among a, b"),
        ("cell", TABLE.format(right="p", wrong="*"), "a-q-b: 'p' is no row and column"),
        ("cell", TABLE.format(right="p, z", wrong="*"), "a-q-b: 'z' is not among x, y"),
    ],
)
def test_a_question_that_is_wrong_is_refused(kind, body, message):
    with pytest.raises(ValueError, match=message):
        asking.read("", {"label": "a-q-b", "kind": kind}, body)
    with pytest.raises(ValueError, match="a question has no label"):
        asking.read("", {"kind": kind}, body)


def test_places_are_those_of_the_list_and_of_the_table():
    options = {"label": "a-q-b", "kind": "cell"}
    page = asking.read("", options, TABLE.format(right="q, x", wrong="*, y")).page()
    assert (page["answer"], page["wrong"]) == ([1, 0], [[None, 1]])
    options["kind"] = "order"
    page = asking.read("", options, LIST.format(right="b a", wrong="*")).page()
    assert (page["answer"], page["wrong"]) == ([1, 0], ["*"])


def test_an_unknown_option_is_refused():
    with pytest.raises(ValueError, match="unknown option colour"):
        list(asking.questions(f"```{{question}}\n:label: a\n:colour: red\n\n{GOOD}\n```"))
