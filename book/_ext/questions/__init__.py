"""`{question}`: a question that the page checks, with its answer and its hints folded; `book/_tools/asking.py` has the
grammar.

Everything stands in the page: without a script, in print and in the EPUB, the answer is folded under the question, with
the wrong answers and what is said to them. Script and style come on the pages that have a question, and only there.
"""

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from book._ext import widgets
from book._tools import asking

HERE = Path(__file__).parent
HELD = re.compile(r'class="[^"]*\bquestion-answer\b')
SIDES = {"less": "Less", "more": "More", "*": "Anything else"}


class Asked(SphinxDirective):
    """A box with what is asked, and in it a folded one with the answer."""

    has_content = True
    optional_arguments = 1
    final_argument_whitespace = True
    option_spec: ClassVar = dict.fromkeys(asking.OPTIONS, directives.unchanged_required)

    def run(self) -> list[nodes.Node]:
        title = self.arguments[0] if self.arguments else ""
        try:
            question = asking.read(title, self.options, "\n".join(self.content))
        except ValueError as error:
            raise self.error(str(error)) from None
        asks = self._container("question-asks", question.asks)
        data = question.page()
        if question.kind in ("order", "choice"):
            items = self._items(asks, question)
            data["items"] = [item.astext() for item in items]
        box = nodes.admonition(classes=["question"], ids=[question.label])
        box += nodes.title("", "", *self._inline(f"Check yourself: {title}" if title else "Check yourself"))
        box += [asks, self._answer(question, asks)]
        if self.env.app.builder.name == "html":
            text = json.dumps(data, ensure_ascii=False).replace("</", "<\\/")
            html = f'<script type="application/json" class="question-data">{text}</script>'
            box += nodes.raw("", html, format="html")
        return [box]

    def _items(self, asks: nodes.container, question: asking.Question) -> nodes.enumerated_list:
        """The list that is asked about, with letters."""
        found = list(asks.findall(nodes.bullet_list))
        if not found or len(found[-1]) != len(question.items):
            raise self.error(f"{question.label} asks about no list, or an item has several lines")
        lettered = nodes.enumerated_list("", *found[-1].children, enumtype="loweralpha", prefix="", suffix=".")
        lettered["classes"] = ["question-items"]
        found[-1].replace_self(lettered)
        return lettered

    def _answer(self, question: asking.Question, asks: nodes.container) -> nodes.admonition:
        box = nodes.admonition(classes=["dropdown", "question-answer"])
        box += nodes.title("", "The answer")
        box += list(self._said(question, asks))
        box += self._container("question-why", question.why)
        hints = nodes.bullet_list(classes=["question-hints"])
        for wrong, said in question.hints:
            item = nodes.list_item()
            self.state.nested_parse(StringList(said.splitlines(), ""), self.content_offset, item)
            named = nodes.inline("", "", *self._named(question, wrong), nodes.Text(": "), classes=["question-wrong"])
            item[0].insert(0, named)
            hints += item
        box += hints
        return box

    def _said(self, question: asking.Question, asks: nodes.container) -> Iterator[nodes.Node]:
        """The right answer, as each kind shows it."""
        if question.kind in ("order", "choice"):
            items = next(asks.findall(nodes.enumerated_list))
            right = question.place(question.answer)
            places = right if isinstance(right, list) else [right]
            shown = nodes.enumerated_list if question.kind == "order" else nodes.bullet_list
            yield shown("", *(copy.deepcopy(items[place]) for place in places))
        else:
            yield nodes.paragraph("", "", *self._named(question, question.answer))

    def _named(self, question: asking.Question, answer: str) -> Iterator[nodes.Node]:
        """An answer in words."""
        if answer in SIDES:
            yield nodes.Text(SIDES[answer])
        elif question.kind in ("number", "formula"):
            yield nodes.literal("", answer)
            if unit := question.options.get("unit"):
                yield nodes.Text(f" {unit}")
        elif question.kind == "order":
            yield nodes.Text(" before ".join(answer.split()))
        elif question.kind == "choice":
            yield nodes.Text(answer)
        else:
            row, column = answer.split(", ")
            said = [f"row {row}"] * (row != "*") + [f"column {column}"] * (column != "*")
            yield from self._inline(", ".join(said))

    def _inline(self, text: str) -> list[nodes.Node]:
        made: list[nodes.Node] = self.state.inline_text(text, self.lineno)[0]
        return made

    def _container(self, name: str, text: str) -> nodes.container:
        made = nodes.container(classes=[name])
        self.state.nested_parse(StringList(text.splitlines(), ""), self.content_offset, made)
        return made


def script() -> str:
    """Parser and questions as one classic script, which runs from a folder too."""
    parser, page = ((HERE / name).read_text("utf-8") for name in ("formula.js", "questions.js"))
    page = re.sub(r"^import .*\n", "", page, flags=re.M)
    own = re.sub(r"^export (?=function|const|class)", "", parser + page, flags=re.M)
    return f'(() => {{\n"use strict";\n{own}}})();\n'


def equip(app: Sphinx, pagename: str, template: str, context: dict[str, Any], doctree: object) -> None:
    """Script and style for a page that asks."""
    if app.builder.name == "html" and HELD.search(context.get("body", "")):
        style = (HERE / "questions.css").read_text("utf-8")
        app.add_css_file(widgets.write(app, "questions.css", style, "questions"))
        app.add_js_file(widgets.write(app, "questions.js", script(), "questions"), loading_method="defer")


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("question", Asked)
    app.connect("html-page-context", equip)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
