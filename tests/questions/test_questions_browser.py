"""Questions of each kind in a real Chromium, from a folder: what a reader does, and what there is without script."""

import re
import shutil
import zipfile
from xml.etree import ElementTree

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import expect

from book._tools import build, toc

pytestmark = pytest.mark.browser

PAGE = """# Questions

```{question} A share
:label: q-number
:kind: number
:within: 0.005
:unit: parts

Asked $x$?

= 2/7
> 1/3 : A hint with $y^2$.
> less : Too little.
! Because $z$.
```

```{question} The work
:label: q-formula
:kind: formula
:variables: m, n, d_k

How many?

= 2 m n d_k
> m n d_k : That is half.
! Two products.
```

```{question} In order
:label: q-order
:kind: order

Order these:

- *beta*
- gamma
- alpha

= c a b
> a c : Beta comes later.
! That is the alphabet.
```

```{question} One of them
:label: q-choice
:kind: choice

Which is **right**?

- the first, $a_1$
- the second
- the third

= b
> a : Not that one.
! It is the second.
```

```{question} A cell
:label: q-cell
:kind: cell

| | x | y |
| --- | --- | --- |
| p | 0.1 | 0.9 |
| q | 0.5 | 0.5 |

= p, y
> p, * : The other column.
> *, y : The other row.
! It is nearly one.
```
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A book of two pages with this book's extensions; the second asks nothing."""
    root = tmp_path_factory.mktemp("questions")
    (root / "book").mkdir()
    for name in ("_ext", "_static", "_templates", "_tools"):
        shutil.copytree(toc.ROOT / "book" / name, root / "book" / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(toc.ROOT / "book/references.bib", root / "book")
    shutil.copy(toc.ROOT / "_config.yml", root)
    (root / "_toc.yml").write_text("format: jb-book\nroot: book/index\nchapters:\n  - file: book/none\n")
    (root / "book/index.md").write_text(PAGE)
    (root / "book/none.md").write_text("# No questions\n\nNone.\n")
    done = build.run(root, root / "staging", "html")
    assert done.returncode == 0, done.stdout
    return root / "staging/_build/html/book"


@pytest.fixture
def asked(site, kept):
    """The page, and what it asked for; formulas stand."""

    def open_page(**options):
        page, record = kept(**options)
        page.goto((site / "index.html").as_uri())
        page.evaluate("MathJax.startup.promise")
        page.wait_for_function("document.querySelectorAll('.math:not(:has(mjx-container))').length === 0")
        open_page.record = record
        return page

    return open_page


def box(page, label):
    return page.locator(f"#{label}")


def said(page, label):
    return box(page, label).get_by_role("status")


def answer(page, label, text):
    """Type it and press Enter."""
    field = box(page, label).get_by_role("textbox")
    field.fill(text)
    field.press("Enter")
    return said(page, label)


def test_a_number(asked):
    page = asked()
    field = box(page, "q-number").get_by_label("Your answer, parts")
    assert field.count() == 1
    assert said(page, "q-number").inner_text() == ""
    expect(answer(page, "q-number", "1/3")).to_contain_text("Not yet.")
    expect(said(page, "q-number")).to_contain_text("A hint with")
    assert said(page, "q-number").locator("mjx-container").count() == 1
    assert "1/3" not in said(page, "q-number").inner_text()  # what was answered need not be said
    assert field.get_attribute("aria-invalid") == "true"
    assert field.evaluate("(node) => document.getElementById(node.getAttribute('aria-describedby')).role") == "status"
    expect(answer(page, "q-number", "0.01")).to_contain_text("Too little.")
    expect(answer(page, "q-number", "17")).to_contain_text("Try again")
    expect(answer(page, "q-number", "  ")).to_have_text("Type an answer first.")
    expect(answer(page, "q-number", "no <b>idea</b>")).to_contain_text("I cannot read “<b>idea")
    expect(answer(page, "q-number", "9" * 100_000)).to_have_text("That is too long to be an answer.")
    assert field.get_attribute("aria-invalid") is None
    expect(answer(page, "q-number", "0.286 parts")).to_contain_text("Right.")
    expect(said(page, "q-number")).to_contain_text("Because")
    assert field.get_attribute("aria-invalid") == "false"
    assert asked.record.errors == asked.record.failed == asked.record.outside("file://") == []


def test_a_formula(asked):
    page = asked()
    assert box(page, "q-formula").get_by_label("Your formula in m, n, d_k").count() == 1
    expect(answer(page, "q-formula", "mnd_k")).to_contain_text("I read m · n · d_k.")
    expect(said(page, "q-formula")).to_contain_text("That is half.")
    expect(answer(page, "q-formula", "m^n")).to_contain_text("Try again")
    expect(answer(page, "q-formula", "2 (m n")).to_have_text("A bracket is not closed.")
    expect(answer(page, "q-formula", "document.title='x'")).to_contain_text("I cannot read")
    expect(answer(page, "q-formula", "2 dk n m")).to_contain_text("Right.")
    assert page.title().startswith("Questions")
    assert asked.record.errors == []


def test_an_order_by_keyboard(asked):
    page = asked()
    question = box(page, "q-order")
    items = question.locator("li:has(.attnlib-moves)")
    check = question.get_by_role("button", name="Check")
    check.press("Enter")
    expect(said(page, "q-order")).to_contain_text("Beta comes later.")
    up = question.get_by_role("button", name="Move up: alpha")
    up.press("Enter")
    expect(said(page, "q-order")).to_have_text("alpha: now 2 of 3.")
    expect(up).to_be_focused()
    up.press("Space")
    assert [item.inner_text().split("\n")[-1].split()[-1] for item in items.all()] == ["alpha", "beta", "gamma"]
    assert items.evaluate_all("(all) => all.map((item) => item.value)") == [3, 1, 2]  # letters stay with their items
    assert up.get_attribute("aria-disabled") == "true"
    up.press("Enter")
    expect(said(page, "q-order")).to_have_text("alpha: now 1 of 3.")
    check.press("Enter")
    expect(said(page, "q-order")).to_contain_text("That is the alphabet.")
    question.get_by_role("button", name="Move down: alpha").click()
    question.get_by_role("button", name="Move down: alpha").click()
    check.click()
    expect(said(page, "q-order")).to_contain_text("Not yet.")
    assert asked.record.errors == []


def test_a_choice_by_keyboard(asked):
    page = asked()
    question = box(page, "q-choice")
    assert question.get_by_role("group", name="One of them").count() == 1
    check = question.get_by_role("button", name="Check")
    check.click()
    expect(said(page, "q-choice")).to_have_text("Choose one first.")
    first = question.get_by_role("radio").first
    first.focus()
    page.keyboard.press("Space")
    page.keyboard.press("Enter")
    expect(said(page, "q-choice")).to_contain_text("Not that one.")
    page.keyboard.press("ArrowDown")
    expect(said(page, "q-choice")).to_have_text("")
    page.keyboard.press("Enter")
    expect(said(page, "q-choice")).to_contain_text("It is the second.")
    question.get_by_label("the third").check()
    check.click()
    expect(said(page, "q-choice")).to_contain_text("Try again")
    assert asked.record.errors == []


def test_a_cell_by_mouse_and_keyboard(asked):
    page = asked()
    question = box(page, "q-cell")
    cell = question.get_by_role("button", name="q, y: 0.5")
    cell.click()
    expect(said(page, "q-cell")).to_contain_text("The other row.")
    assert cell.get_attribute("aria-pressed") == "true"
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")  # there is none above
    expect(question.get_by_role("button", name="p, x: 0.1")).to_be_focused()
    page.keyboard.press("Enter")
    expect(said(page, "q-cell")).to_contain_text("The other column.")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    expect(said(page, "q-cell")).to_contain_text("It is nearly one.")
    assert question.locator("[aria-pressed=true]").count() == 1
    shades = question.locator("td button").evaluate_all(
        "(all) => all.map((each) => getComputedStyle(each).backgroundColor)"
    )
    assert len(set(shades)) == 3
    assert asked.record.errors == []


AXE = "(options) => axe.run('article', options)"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_before_and_after_an_answer(asked, scheme):
    page = asked(color_scheme=scheme)
    expect(page.locator("html")).to_have_attribute("data-theme", scheme)
    answer(page, "q-number", "1/3")
    answer(page, "q-formula", "2 m n d_k")
    box(page, "q-cell").locator("td button").first.click()
    box(page, "q-choice").get_by_role("button", name="Check").click()
    page.evaluate(AXE_SCRIPT)
    found = page.evaluate(AXE, {"resultTypes": ["violations"]})
    assert [(item["id"], item["nodes"][0]["html"]) for item in found["violations"]] == []


def test_on_a_telephone_nothing_stands_out_and_a_finger_hits(asked):
    page = asked(viewport={"width": 390, "height": 844})
    answer(page, "q-number", "9" * 199)
    answer(page, "q-formula", "m" * 199)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    wide = "(all) => all.filter((node) => node.getBoundingClientRect().right > 390).map((node) => node.outerHTML)"
    assert page.locator(".question *:visible").evaluate_all(wide) == []
    small = """(all) => all.map((node) => node.getBoundingClientRect())
        .filter(({ width, height }) => height < 24 || width < 24).length"""
    assert page.locator(".question :is(button, input[type=text], label:has(input)):visible").evaluate_all(small) == 0


def test_the_answer_is_folded_and_opens(asked):
    page = asked()
    folded = box(page, "q-number").locator(".question-answer")
    assert not folded.locator(".question-why").is_visible()
    folded.get_by_role("button").click()
    assert folded.locator(".question-why").is_visible()
    assert folded.inner_text().split("\n")[0].startswith("The answer")
    assert "2/7 parts" in folded.inner_text()


def test_without_a_script_the_answers_and_all_hints_stand_in_the_page(site, new_context):
    page = new_context(java_script_enabled=False).new_page()
    page.goto((site / "index.html").as_uri())
    text = page.locator("article").inner_text()
    for line in ("2/7 parts", "1/3 parts: A hint", "Less: Too little.", "2 m n d_k", "a before c: Beta",
                 "a: Not that one.", "row p, column y", "row p: The other column.", "column y: The other row.",
                 "It is nearly one."):  # fmt: skip
        assert line in text
    assert page.locator("#q-order .question-answer ol > li").all_inner_texts() == ["alpha", "beta", "gamma"]
    assert page.locator(".question :is(input, button, select):visible").count() == 0


def test_script_and_style_come_where_there_is_a_question(site):
    for name, wanted in (("index", 1), ("none", 0)):
        page = (site / f"{name}.html").read_text("utf-8")
        assert len(re.findall(r'src="[^"]*questions/questions\.js', page)) == wanted
        assert len(re.findall(r'href="[^"]*questions/questions\.css', page)) == wanted
    sizes = {path.suffix: path.stat().st_size for path in (site.parent / "_static/questions").iterdir()}
    assert sizes[".js"] < 20_000
    assert sizes[".css"] < 6_000
    assert not re.search(
        r"\beval\b|new Function|innerHTML", (site.parent / "_static/questions/questions.js").read_text()
    )


@pytest.mark.slow
def test_the_epub_has_the_answers_and_no_script(site):
    """Beside the site, of the same pages."""
    root = site.parents[3]
    done = build.run(root, root / "epub", "epub")
    assert done.returncode == 0, done.stdout
    with zipfile.ZipFile(root / "epub/_build/epub" / build.EPUB) as book:
        text = book.read("book/index.xhtml").decode()
    ElementTree.fromstring(text)
    assert "<script" not in text
    assert "question-data" not in text
    for line in ("2/7", "Too little.", "It is nearly one.", "Beta comes later."):
        assert line in text
