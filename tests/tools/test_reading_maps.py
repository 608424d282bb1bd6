"""From each map a link to the page on reading one, and from nothing else."""

import json

import pytest
from docutils import nodes

import attnlib.widgets
from attnlib.widgets import LocalWindow, Maps
from book._ext import reading_maps
from book._tools import static_view, toc

USES = {"AlignmentExplorer", "FactorMixer", "FindTheBug", "HeadsExplorer", "HopsAndPenalty", "MapReader", "Maps",
        "OwnWord", "SelfAttentionBoard", "TrainItHere"}  # fmt: skip


def test_the_widgets_with_maps_are_known():
    stems = {path.stem for name, path in attnlib.widgets.MEMBERS.items() if name in USES}
    assert reading_maps.stems() == stems


def test_each_map_of_a_page_gets_one_link_and_no_other_widget():
    stored = static_view.stored([Maps()._repr_html_(), LocalWindow()._repr_html_(), Maps(row=1)._repr_html_()])
    body = "<p>before</p>".join(stored)
    made = reading_maps.with_links(body, "../reading-maps.html")
    assert made.count('href="../reading-maps.html"') == 2
    link = made.partition('<p class="attnlib-how">')[2].partition("</p>\n")[0]
    assert made.replace(f'<p class="attnlib-how">{link}</p>\n', "") == body
    first, _, rest = made.partition("<p>before</p>")
    assert first.endswith("</p>\n</div>")
    assert "attnlib-how" not in rest.partition("<p>before</p>")[0]


class App:
    def __init__(self, docname):
        self.srcdir, self.env = toc.ROOT, type("Env", (), {"docname": docname})


def linked(source, docname="book/taxonomy/page"):
    """The caption of a figure that a cell with this source draws."""
    doctree = nodes.container("", classes=["cell"])
    caption = nodes.caption("", "What it shows.")
    doctree += [nodes.literal_block("", source), nodes.figure("", caption)]
    root = nodes.container("", doctree)
    reading_maps.link_figures(App(docname), root)
    return caption.astext()


@pytest.mark.parametrize(
    ("source", "is_map"),
    [
        ("plotting.alignment(weights, queries=words)", True),
        ('plotting.heatmap(\n    weights,\n    queries=["purr"],\n)', True),
        ('plotting.heatmap(\n    scores,\n    axes=("head", "layer"),\n)', False),
        ("plotting.curves(weights)", False),
    ],
)
def test_a_figure_that_is_a_map_has_the_link_in_its_caption(source, is_map):
    assert linked(source) == "What it shows." + f" {reading_maps.WORDS}." * is_map
    assert linked(source, reading_maps.PAGE) == "What it shows."


def test_the_page_is_there_and_the_book_draws_maps_as_figures():
    sources = [
        "".join(cell["source"])
        for path in toc.notebooks()
        for cell in json.loads(path.read_text("utf-8"))["cells"]
        if cell["cell_type"] == "code"
    ]
    assert sum(bool(reading_maps.FIGURE.search(source)) for source in sources) >= 3
    assert toc.ROOT / f"{reading_maps.PAGE}.ipynb" in toc.notebooks()
