"""The pictures: what they refuse, what they draw, and the words that travel with them."""

import base64
import functools
import inspect
import io

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from attnlib import plotting

WEIGHTS = torch.tensor([[0.5, 0.25, 0.25], [0.0, 1.0, 0.0]])
NODES = {"x": (0, 0, "input", 0), "h": (1, 1, "$h$", 1), "said": (2, 1, "a note", None)}
DRAW = {
    "heatmap": lambda **words: plotting.heatmap(WEIGHTS, **words),
    "alignment": lambda **words: plotting.alignment(WEIGHTS, ["a", "b", "c"], ["x", "y"], **words),
    "bars": lambda **words: plotting.bars(["a", "b", "c"], {"one": WEIGHTS[0], "two": WEIGHTS}, **words),
    "curves": lambda **words: plotting.curves([1, 2, 3], {"one": WEIGHTS}, xlabel="x", ylabel="y", **words),
    "simplex": lambda **words: plotting.simplex({"p": WEIGHTS[0]}, paths={"way": WEIGHTS}, **words),
    "plane": lambda **words: plotting.plane({"k": (1, 2)}, arrows={"q": (1, 0)}, field=lambda x: x[:, 0], **words),
    "tree": lambda **words: plotting.tree("all", {"one": ["a", "b"], "two": ["c"]}, **words),
    "matrix": lambda **words: plotting.matrix(WEIGHTS, ["x", "y"], {"one": ["a", "b"], "two": ["c"]}, **words),
    "network": lambda **words: plotting.network(NODES, [("x", "h"), ("h", "said", 0.8)], **words),
}


def texts(figure):
    return {text.get_text() for ax in figure.axes for text in ax.texts}


@pytest.mark.parametrize("name", DRAW)
def test_alt_has_no_default_and_may_not_be_empty(name):
    assert inspect.signature(getattr(plotting, name)).parameters["alt"].default is inspect.Parameter.empty
    for empty in ("", "  ", None):
        with pytest.raises(ValueError, match="alt must say in words"):
            DRAW[name](alt=empty)
    with pytest.raises(ValueError, match="caption must say in words"):
        DRAW[name](alt="a figure", caption="")


@pytest.mark.parametrize("name", DRAW)
def test_same_figure_same_bytes_opaque_and_of_the_books_width(name):
    first, again = DRAW[name](alt="a figure"), DRAW[name](alt="a figure")
    assert isinstance(first, Figure)
    assert first.get_size_inches()[0] == pytest.approx(5.2)
    assert plotting.png(first) == plotting.png(again)
    assert plotting.png(first)[25] == 3  # a palette: a third of the bytes
    pixels = matplotlib.image.imread(io.BytesIO(plotting.png(first)))
    assert np.all(pixels[..., 3] == 1)
    assert np.all(pixels[0, 0, :3] == 1)


def test_settings_of_the_caller_neither_read_nor_changed():
    plain = plotting.png(DRAW["bars"](alt="a figure"))
    with matplotlib.rc_context({"font.size": 30, "figure.facecolor": "red", "axes.facecolor": "red"}):
        before = dict(matplotlib.rcParams)
        assert plotting.png(DRAW["bars"](alt="a figure")) == plain
        assert dict(matplotlib.rcParams) == before


def test_heatmap_has_queries_down_keys_across_and_a_number_in_each_cell():
    figure = plotting.heatmap(WEIGHTS, alt="a map", queries=["x", "y"], keys=["a", "b", "c"])
    ax = figure.axes[0]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["x", "y"]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["a", "b", "c"]
    np.testing.assert_allclose(ax.images[0].get_array(), WEIGHTS)
    placed = {(text.get_position(), text.get_text()) for text in ax.texts}
    assert ((1, 1), "1.00") in placed
    assert ((0, 0), "0.50") in placed
    assert ((0, 1), "0") in placed
    assert ax.yaxis_inverted()


def test_heatmap_hatches_what_is_behind_the_mask_and_leaves_the_input_alone():
    energies = torch.tensor([[1.0, -torch.inf], [-2.0, torch.nan]])
    kept = energies.clone()
    ax = plotting.heatmap(energies, alt="a map", signed=True).axes[0]
    assert len(ax.patches) == 2
    assert len(ax.texts) == 2
    assert ax.images[0].norm.vmin == -2
    assert ax.images[0].norm.vmax == 2
    torch.testing.assert_close(energies, kept, equal_nan=True)


def test_panels_share_one_scale():
    axes = plotting.heatmap(torch.stack([WEIGHTS, 2 * WEIGHTS]), alt="two maps", titles=["a", "b"]).axes
    assert [ax.get_title() for ax in axes[:2]] == ["a", "b"]
    assert axes[0].images[0].norm is axes[1].images[0].norm
    assert axes[0].images[0].norm.vmax == 2


def test_alignment_puts_the_source_along_the_top():
    ax = plotting.alignment(WEIGHTS, ["a", "b", "c"], ["x", "y"], alt="an alignment").axes[0]
    assert ax.xaxis.get_ticks_position() == "top"
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["a", "b", "c"]


def test_alignment_frames_the_links_it_is_given():
    words = {"source": ["a", "b", "c"], "target": ["x", "y"], "alt": "an alignment"}
    ax = plotting.alignment(WEIGHTS, **words, links={(1, 2), (0, 0)}).axes[0]
    frames = {tuple(np.round(patch.get_center(), 6)) for patch in ax.patches}
    assert frames == {(0, 0), (2, 1)}  # column, row
    assert not any(patch.get_fill() for patch in ax.patches)
    assert not plotting.alignment(WEIGHTS, **words).axes[0].patches


def test_runs_become_a_mean_with_its_spread():
    runs = np.array([[1.0, 2.0], [3.0, 2.0]])
    ax = plotting.bars(["a", "b"], {"one": runs}, alt="bars").axes[0]
    assert [patch.get_height() for patch in ax.patches] == [2, 2]
    assert {"2.00"} == texts(ax.figure)
    ax = plotting.curves([1, 2], {"one": runs}, alt="curves", xlabel="x", ylabel="y").axes[0]
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [2, 2])
    assert len(ax.collections) == 1


def test_series_are_told_apart_by_more_than_colour():
    ax = plotting.bars(["a"], {"one": [1], "two": [2]}, alt="bars").axes[0]
    assert len({patch.get_hatch() for patch in ax.patches}) == 2
    ax = plotting.curves([1, 2], {"one": [1, 2], "two": [2, 1]}, alt="curves", xlabel="x", ylabel="y").axes[0]
    assert len({line.get_marker() for line in ax.lines}) == 2
    assert len({line.get_linestyle() for line in ax.lines}) == 2


def test_a_legend_fits_the_figure():
    series = {f"a rather long name {index}": [index, index] for index in range(5)}
    figure = plotting.curves([1, 2], series, alt="curves", xlabel="x", ylabel="y")
    plotting.png(figure)
    (legend,) = figure.legends
    assert figure.bbox.contains(*legend.get_window_extent().min)
    assert figure.bbox.contains(*legend.get_window_extent().max)


def test_a_short_logarithmic_axis_counts_1_2_5():
    figure = plotting.curves([2, 30], {"one": [1, 2]}, alt="curves", xlabel="x", ylabel="y", scale=("log", "linear"))
    plotting.png(figure)
    assert {"2", "5", "10", "20"} <= {tick.get_text() for tick in figure.axes[0].get_xticklabels()}


def test_squares_are_a_second_kind_of_point():
    ax = plotting.plane({"k": (1, 2)}, squares={"v": (2, 1)}, alt="a plane").axes[0]
    assert len(ax.collections) == 2
    assert texts(ax.figure) == {"k", "v"}


def test_a_plane_of_the_origin_alone_has_a_size():
    left, right = plotting.plane({"k": (0, 0)}, alt="one point").axes[0].get_xlim()
    assert left < 0 < right


def test_a_corner_of_the_simplex_is_all_weight_on_one_key():
    ax = plotting.simplex({"left": [1, 0, 0], "top": [0, 0, 1], "mean": [1 / 3] * 3}, alt="a triangle").axes[0]
    places = {line.get_label(): line.get_xydata()[0] for line in ax.lines if len(line.get_xdata()) == 1}
    np.testing.assert_allclose(places["left"], [0, 0])
    np.testing.assert_allclose(places["top"], [0.5, 3**0.5 / 2])
    np.testing.assert_allclose(places["mean"], [0.5, 3**0.5 / 6])


def test_a_tree_joins_each_leaf_to_its_branch_and_each_branch_to_the_root():
    ax = plotting.tree("all", {"one": ["a", "b"], "two": ["c"]}, alt="a tree").axes[0]
    places = {text.get_text(): text.get_position() for text in ax.texts}
    assert set(places) == {"all", "one", "two", "a", "b", "c"}
    assert places["all"][0] < places["one"][0] == places["two"][0] < places["a"][0] == places["c"][0]
    assert places["a"][1] < places["b"][1] < places["c"][1]
    lines = [line.get_ydata() for line in ax.lines if len(line.get_xdata()) > 1]
    joined = [("all", "one"), ("all", "two"), ("one", "a"), ("one", "b"), ("two", "c")]
    expected = sorted((places[parent][1], places[child][1]) for parent, child in joined)
    # a branch's name stands a little above its line
    np.testing.assert_allclose(sorted((line[0], line[-1]) for line in lines), expected, atol=0.15)
    assert len({line.get_marker() for line in ax.lines} - {"None"}) == 2


def test_a_matrix_marks_what_a_row_has_rows_down_columns_across():
    figure = plotting.matrix(WEIGHTS, ["x", "y"], {"one": ["a", "b"], "two": ["c"]}, alt="a matrix")
    ax = figure.axes[0]
    marked = {tuple(map(int, place)) for points in ax.collections[:2] for place in points.get_offsets()}
    assert marked == {(0, 0), (1, 0), (2, 0), (1, 1)}  # column, row
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["a", "b", "c"]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["x", "y"]
    assert ax.yaxis_inverted()


def test_a_network_has_a_box_a_node_and_an_arrow_an_edge_from_its_start_to_its_end():
    figure = plotting.network(NODES, [("x", "h"), ("h", "said", 1.0), ("x", "said", 0.0)], alt="a network")
    ax = figure.axes[0]
    assert texts(figure) == {"input", "$h$", "a note", ""}
    boxes = {text.get_text(): text.get_bbox_patch() for text in ax.texts if text.get_text()}
    assert boxes["a note"] is None
    assert boxes["input"].get_edgecolor() == matplotlib.colors.to_rgba(plotting.PALETTE[0])
    arrows = [text for text in ax.texts if not text.get_text()]
    assert [(arrow.xyann, arrow.xy) for arrow in arrows] == [((0, 0), (1, 1)), ((1, 1), (2, 1)), ((0, 0), (2, 1))]
    thick = [arrow.arrow_patch.get_linewidth() for arrow in arrows]
    assert thick[2] < thick[0] < thick[1]


def test_curves_in_panels_share_points_and_legend_and_have_their_own_y_axes():
    panels = {"loss": {"one": WEIGHTS, "two": WEIGHTS[0]}, "error": {"one": WEIGHTS[1], "two": WEIGHTS[0]}}
    figure = plotting.curves([1, 2, 3], panels, alt="two panels", xlabel="step", span={"error": (-1, 4)})
    left, right = figure.axes
    assert [ax.get_ylabel() for ax in figure.axes] == ["loss", "error"]
    assert [ax.get_xlabel() for ax in figure.axes] == ["step", "step"]
    assert right.get_ylim() == (-1, 4)
    assert left.get_ylim() != (-1, 4)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["one", "two"]
    np.testing.assert_allclose(right.lines[0].get_ydata(), WEIGHTS[1])
    assert [len(ax.collections) for ax in figure.axes] == [1, 0]


def test_a_curve_may_have_points_of_its_own():
    x = {"short": [1, 2], "long": [10, 20, 30]}
    ax = plotting.curves(x, {"short": [1, 2], "long": WEIGHTS}, alt="a", xlabel="x", ylabel="y").axes[0]
    assert [line.get_xdata().tolist() for line in ax.lines] == [[1, 2], [10, 20, 30]]


def test_curves_have_a_tick_at_the_points_of_every_series():
    x = {"some": [1, 4], "all": [4, 2, 1]}
    series = {"some": [1, 2], "all": WEIGHTS}
    ax = plotting.curves(x, series, alt="a", xlabel="x", ylabel="y", ticks=["a", "b", "c"]).axes[0]
    assert ax.get_xticks().tolist() == [1, 2, 4]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["a", "b", "c"]


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_curves_have_named_ticks_and_lines_that_say_a_limit(scale):
    figure = plotting.curves(
        [1, 2, 4], {"one": [3, 2, 1]}, alt="a", xlabel="x", ylabel="y", span=(0.5, 9), ticks=["a", "b", 4],
        limits={1.5: "trained"}, scale=(scale, scale),
    )  # fmt: skip
    plotting.png(figure)
    ax = figure.axes[0]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["a", "b", "4"]
    assert ax.get_xticks().tolist() == [1, 2, 4]
    assert ax.get_xminorticklabels() == []
    assert list(ax.lines[1].get_xdata()) == [1.5, 1.5]
    assert texts(figure) == {"trained"}
    assert ax.get_ylim() == (0.5, 9)


def test_tensors_that_need_gradients_and_half_precision_are_drawn():
    weights = WEIGHTS.to(torch.bfloat16).requires_grad_()
    assert plotting.heatmap(weights, alt="a map") is not None
    assert plotting.curves([1, 2, 3], {"one": [weights[0], weights[1]]}, alt="a", xlabel="x", ylabel="y") is not None


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: plotting.heatmap([1.0, 2.0], alt="a"), r"weights must be .* got shape \(2,\)"),
        (lambda: plotting.heatmap(torch.empty(0, 3), alt="a"), r"not empty, got shape \(0, 3\)"),
        (lambda: plotting.heatmap(WEIGHTS, alt="a", queries=["x"]), "queries has 1 names for 2 places"),
        (lambda: plotting.heatmap(WEIGHTS, alt="a", keys=["x"]), "keys has 1 names for 3 places"),
        (lambda: plotting.heatmap(WEIGHTS, alt="a", titles=["x", "y"]), "titles has 2 names for 1 places"),
        (lambda: plotting.alignment(WEIGHTS, ["a"], ["x", "y"], alt="a"), "source has 1 names for 3 places"),
        (lambda: plotting.alignment(WEIGHTS.expand(2, 2, 3), ["a"], ["x"], alt="a"), r"got shape \(2, 2, 3\)"),
        (
            lambda: plotting.alignment(WEIGHTS, ["a", "b", "c"], ["x", "y"], alt="a", links=[(2, 0)]),
            r"links must lie within weights of shape \(2, 3\), got \(2, 0\)",
        ),
        (lambda: plotting.bars(["a"], {}, alt="a"), "series is empty"),
        (lambda: plotting.bars(["a"], {"one": [1, 2]}, alt="a"), r"series 'one' must be \(1,\)"),
        (lambda: plotting.curves([1, 2], {"one": [1]}, alt="a", xlabel="x", ylabel="y"), "series 'one' must be"),
        (lambda: plotting.curves([[1]], {"one": [1]}, alt="a", xlabel="x", ylabel="y"), "x must be one axis"),
        (lambda: plotting.curves([1, 2], {"one": [1, 2]}, alt="a", xlabel="x"), "ylabel is missing"),
        (
            lambda: plotting.curves([1], {"y": {"one": [1]}}, alt="a", xlabel="x", ylabel="y"),
            "series has panels, .* beside ylabel='y'",
        ),
        (
            lambda: plotting.curves([1, 2], {"one": [1, 2]}, alt="a", xlabel="x", ylabel="y", ticks=["a"]),
            "ticks has 1 names for 2 places",
        ),
        (lambda: plotting.curves({"one": [1]}, {"one": [1, 2]}, alt="a", xlabel="x", ylabel="y"), "'one' must be"),
        (lambda: plotting.simplex({"p": [1, 0]}, alt="a"), "'p' must hold three weights"),
        (lambda: plotting.simplex({"p": [1, 1, 1]}, alt="a"), "'p' is not on the simplex"),
        (lambda: plotting.simplex(alt="a", corners=["a"]), "corners has 1 names for 3 places"),
        (lambda: plotting.simplex(alt="a", paths={"way": WEIGHTS[:1]}), "two steps or more"),
        (lambda: plotting.plane({"k": [1, 2, 3]}, alt="a"), "'k' must be a place in the plane"),
        (lambda: plotting.plane({"k": [1, 2]}, sizes={"j": 1.0}, alt="a"), r"not there: \['j'\]"),
        (lambda: plotting.tree("all", {}, alt="a"), "branches is empty"),
        (lambda: plotting.tree("all", {"one": ["a"], "two": []}, alt="a"), "branch 'two' has no leaf"),
        (lambda: plotting.network({}, [], alt="a"), "nodes is empty"),
        (lambda: plotting.network(NODES, [("x", "y")], alt="a"), "edge 'x' to 'y': no such node"),
        (lambda: plotting.network(NODES, [("h", "h")], alt="a"), "edge 'h' to 'h': leads nowhere"),
        (lambda: plotting.network(NODES, [("x", "h", 1.5)], alt="a"), r"strength must be from 0 to 1, got 1\.5"),
        (lambda: plotting.matrix([1, 0], ["x"], {"one": ["a"]}, alt="a"), r"marks must be .* got shape \(2,\)"),
        (lambda: plotting.matrix([[1, 0]], ["x", "y"], {"one": ["a"]}, alt="a"), "rows has 2 names for 1 places"),
        (lambda: plotting.matrix([[1, 0]], ["x"], {"one": ["a"]}, alt="a"), "groups has 1 names for 2 places"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(draw, message):
    with pytest.raises(ValueError, match=message):
        draw()


@functools.cache
def shell():
    """IPython, which starts once a process."""
    from IPython.testing.globalipapp import start_ipython

    return start_ipython()


@pytest.fixture
def in_a_notebook():
    """IPython is there as in a notebook, and afterwards it is not."""
    kinds = list(type(shell())._walk_mro())
    for kind in kinds:
        kind._instance = shell()
    yield
    for kind in kinds:
        kind._instance = None


@pytest.mark.usefixtures("in_a_notebook")
def test_in_a_notebook_the_figure_is_displayed_with_its_words():
    from IPython.utils.capture import capture_output

    with capture_output() as captured:
        assert plotting.heatmap(WEIGHTS, alt=" two rows ", caption="Rows sum to one.") is None
    (output,) = captured.outputs
    assert output.metadata["attnlib"] == {"alt": "two rows", "caption": "Rows sum to one."}
    assert output.data["text/plain"] == "Figure: two rows"
    assert base64.b64decode(output.data["image/png"]).startswith(b"\x89PNG")
    assert output.metadata["image/png"] == {"width": 562}


@pytest.mark.usefixtures("in_a_notebook")
def test_words_may_stand_in_the_cell_s_metadata():
    from IPython.utils.capture import capture_output

    with pytest.raises(ValueError, match="caption stands in the cell's metadata"):
        plotting.heatmap(WEIGHTS, alt=plotting.TOLD, caption="Rows sum to one.")
    with capture_output() as captured:
        assert plotting.heatmap(WEIGHTS, alt=plotting.TOLD) is None
    (output,) = captured.outputs
    assert output.metadata == {"image/png": {"width": 562}}
    assert output.data["text/plain"] == "Figure"


def test_heatmap_names_what_its_axes_are():
    ax = plotting.heatmap(WEIGHTS, alt="a map", axes=("head", "layer"), keys=["a", "b", "c"]).axes[0]
    assert (ax.get_ylabel(), ax.get_xlabel()) == ("head", "layer")
    ax = plotting.heatmap(WEIGHTS, alt="a map", keys=["a", "b", "c"]).axes[0]
    assert (ax.get_ylabel(), ax.get_xlabel()) == ("query", "")
