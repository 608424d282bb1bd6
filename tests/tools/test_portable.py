"""Saved notebooks in plain Markdown: what each form of MyST becomes, and what stays as it is."""

import nbformat
import pytest

from book._tools import portable

ADDRESS = "https://x.org/scores.html#eq-s1"


class Named:
    """A few names; with an address where there is a site."""

    def __init__(self, at=""):
        self.at = at

    def ref(self, label):
        return {"eq-s1": "Eq. S1", "taxonomy": "The taxonomy", "ex-1": "Exercise 7"}[label], self.at

    def doc(self, page):
        return {"scores": "Scores", "/book/notation": "Notation"}[page], self.at

    def number(self, label):
        return {"fig-1": "Fig. 13", "ex-1": "Exercise 7", "eq-k": "(32)"}[label], self.at

    def cite(self, key):
        return {"niu2021": ("Niu et al.", "2021"), "cho2014": ("Cho and Bengio", "2014a")}[key] + (self.at,)

    def title(self, exercise):
        return self.number(exercise)[0]

    def made(self, directive):
        return {"chapters": "| Chapter |\n| --- |"}.get(directive, "")


def plain(text):
    return portable.markdown(text, Named())


@pytest.mark.parametrize(
    ("myst", "wanted"),
    [
        ("{ref}`Eq. S1 <eq-s1>` and {ref}`taxonomy`", "Eq. S1 and The taxonomy"),
        ("{doc}`scores`, {doc}`the symbols </book/notation>`", "Scores, the symbols"),
        ("{numref}`fig-1`, {numref}`figure %s <fig-1>`, {eq}`eq-k`", "Fig. 13, figure 13, (32)"),
        ("{cite:t}`niu2021` say", "Niu et al. [2021] say"),
        ("so {cite:p}`niu2021,cho2014`", "so [Niu et al., 2021; Cho and Bengio, 2014a]"),
        ("{py:func}`attnlib.attend`, {py:func}`greedy <attnlib.x.greedy>`", "`attnlib.attend`, `greedy`"),
        ("{py:class}`~attnlib.x.RNNsearch`", "`RNNsearch`"),
        ("{ref}`two\nlines <eq-s1>`", "two lines"),
        ("{math}`a_1` {kbd}`Esc`", "$a_1$ Esc"),
        ("(eq-s1)=\n$$\na \\tag{S1}\n$$", "$$\na \\tag{S1}\n$$"),
        ("$$ a $$ (eq-k)", "$$ a $$"),
        ("`{ref}` is a role", "`{ref}` is a role"),
        ("$\\mathbb{E}`x`$", "$\\mathbb{E}`x`$"),
        ("```python\n(label)=\nx = {ref}\n```", "```python\n(label)=\nx = {ref}\n```"),
        ("% a comment\ntext\n+++", "text"),
        ("Term\n: said,\n  twice", "* **Term**: said,\n  twice"),
        ("**One**\n: a\n\n**Two**\n: $b$", "* **One**: a\n\n* **Two**: $b$"),
        ("| a | b |\n| --- | :--- |\n| : | c |", "| a | b |\n| --- | :--- |\n| : | c |"),
        ("```{note}\nSay it.\n```", "> **Note**\n>\n> Say it."),
        ("```{admonition} The *card*\n:class: card\n\nA\n: b\n```", "> **The *card***\n>\n> * **A**: b"),
        (":::{tip}\na\n\n```python\nb\n```\n:::", "> **Tip**\n>\n> a\n>\n> ```python\n> b\n> ```"),
        (
            "````{admonition} A `b` < c\n:class: dropdown\n\n```{note}\nInside\n```\n````",
            "<details>\n<summary>A <code>b</code> &lt; c</summary>\n\n> **Note**\n>\n> Inside\n\n</details>",
        ),
        ("```{exercise} Twice\n:label: ex-1\n\nDo it.\n```", "> **Exercise 7: Twice**\n>\n> Do it."),
        ("```{note}\n$$\na \\\\\nb\n$$\nand $c\nd$\n```", "> **Note**\n>\n> $$ a \\\\ b $$\n> and $c d$"),
        (
            "```{question} Which\n:label: q\n:kind: choice\n\nAsked\n\n"
            "- {ref}`one <eq-s1>`\n- two\n\n= b\n> a : A hint.\n! Why.\n```",
            "> **Check yourself: Which**\n>\n> Asked\n>\n> - **a.** one\n> - **b.** two\n\n"
            "<details>\n<summary>The answer</summary>\n\n**b**\n\nWhy.\n\n- **a**: A hint.\n\n</details>",
        ),
        (
            "```{question}\n:label: q\n:kind: number\n:unit: bits\n\n"
            "Asked\n\n= 2/7\n> 1 : No.\n> less : More.\n! Why.\n```",
            "> **Check yourself**\n>\n> Asked\n\n<details>\n<summary>The answer</summary>\n\n`2/7` bits\n\nWhy.\n\n"
            "- `1` bits: No.\n- **less**: More.\n\n</details>",
        ),
        ("```{chapters}\n```", "| Chapter |\n| --- |"),
    ],
)  # fmt: skip
def test_myst_becomes(myst, wanted):
    assert plain(myst) == wanted


def test_code_that_shows_a_role_stays():
    assert plain("so: `` {ref}`eq-s1` ``") == "so: `` {ref}`eq-s1` ``"


def test_a_reference_that_leads_nowhere_is_not_passed_over():
    with pytest.raises(KeyError, match="eq-s2"):
        plain("{ref}`Eq. S2 <eq-s2>`")


def test_where_the_site_has_an_address_a_reference_is_a_link():
    text = "{ref}`Eq. S1 <eq-s1>` {cite:t}`niu2021` {py:func}`attnlib.attend`"
    wanted = f"[Eq. S1]({ADDRESS}) [Niu et al. [2021]]({ADDRESS}) `attnlib.attend`"
    assert portable.markdown(text, Named(ADDRESS)) == wanted


def test_what_has_no_form_is_refused():
    with pytest.raises(ValueError, match="the directive list-table has no form in plain Markdown"):
        plain("```{list-table}\n* - a\n```")
    with pytest.raises(ValueError, match="nothing closes"):
        plain("```{note}\na")


def test_a_solution_is_folded_through_the_cells_that_it_goes_through():
    text = nbformat.v4.new_markdown_cell
    code = nbformat.v4.new_code_cell
    made = nbformat.v4.new_notebook(
        cells=[
            text("Before\n\n```{solution-start} ex-1\n:class: dropdown\n```\n\nFirst"),
            code("1 + 1"),
            text("Then"),
            code("{ref}`x`"),
            text("```{solution-end}\n```"),
            text("Last\n\n```{solution-end}\n```\n\nAfter"),
        ]
    )
    before = nbformat.writes(made)
    found = portable.converted(made, Named())
    assert nbformat.writes(made) == before
    assert [cell.source for cell in found.cells] == [
        "Before\n\n<details>\n<summary>Solution to Exercise 7</summary>\n\nFirst\n\n</details>",
        "1 + 1",
        "<details>\n<summary>The solution goes on</summary>\n\nThen\n\n</details>",
        "{ref}`x`",
        "Last\n\nAfter",
    ]
