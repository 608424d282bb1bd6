"""SelfAttentionBoard: what its presets promise, its arithmetic in the page, and its page. test_widgets*.py has the
rest."""

import random

import pytest
import torch
from browser import frame
from drawn import arithmetic, draw, found, rows, text

from attnlib.input_representations.distances import rotary, rotate
from attnlib.input_representations.positions import sinusoidal
from attnlib.input_representations.self_attention import self_attention
from attnlib.scores import scaled_dot
from attnlib.widgets import SelfAttentionBoard
from attnlib.widgets.input_representations.self_attention_board import word_vector
from attnlib.widgets.text import share

STRAIGHT = [[1.0, 0.0], [0.0, 1.0]]


def board(preset, **state):
    widget = SelfAttentionBoard(preset=preset)
    widget.update(**state)
    return widget


def largest(row):
    return max(range(len(row)), key=row.__getitem__)


# ---------------------------------------------------------------------------------------- what the presets say, is so


def test_preset_order_is_lost():
    widget = board("Order is lost")
    assert widget.words[0] == widget.words[4] == "dog"
    assert (widget.weights[0], widget.context[0]) == (widget.weights[4], widget.context[4])
    for positions in ("added", "rotary"):
        other = board("Order is lost", positions=positions)
        assert max(abs(a - b) for a, b in zip(other.weights[0], other.weights[4], strict=True)) > 0.05


def test_preset_only_the_past():
    widget = board("Only the past")
    assert widget.weights[0] == [1, 0, 0, 0, 0]
    assert all(widget.weights[t][j] == 0 for t in range(5) for j in range(t + 1, 5))
    assert widget.weights[0] != widget.weights[4]
    assert widget.positions == "none"


def test_preset_not_always_itself():
    widget = board("Not always itself")
    assert [largest(row) for row in widget.weights] == [1, 1, 2]
    nearer = [[1.0, 0.6], [0.5, 0.3], [-1.2, 1.0]]
    assert largest(board("Not always itself", vectors=nearer).weights[0]) == 0


def test_preset_asking_for_something_else():
    widget, straight = board("Asking for something else"), board("Asking for something else", query_weight=STRAIGHT)
    for colour in (0, 2):
        assert widget.weights[colour][1] + widget.weights[colour][3] > 0.9
        assert straight.weights[colour][0] + straight.weights[colour][2] > 0.9
    for noun in (1, 3):
        assert straight.weights[noun][1] + straight.weights[noun][3] > 0.9


def test_preset_only_distance_counts():
    widget = board("Only distance counts")
    assert [largest(row) for row in widget.weights] == list(range(6))
    assert all(row[t] > 2 * row[j] for t, row in enumerate(widget.weights) for j in (t - 1, t + 1) if 0 <= j < 6)
    assert widget.weights[0][5] > 3 * widget.weights[0][2]
    for t in range(5):
        assert widget.energies[t][:5] == pytest.approx(widget.energies[t + 1][1:])


def test_preset_a_query_that_asks_nothing():
    widget = board("A query that asks nothing")
    assert widget.weights == [[0.2] * 5] * 5
    mean = torch.tensor(widget.vectors, dtype=torch.float64).mean(0).tolist()
    assert all(context == pytest.approx(mean) for context in widget.context)


# ------------------------------------------------------------------------------------------------ the page, in numbers


def test_arithmetic_is_that_of_attnlib(record_property):
    """Five hundred sentences of any length and even size, every kind of positions."""
    rng, cases = random.Random(0), []
    for _ in range(500):
        n, size = rng.randint(1, 9), rng.choice([2, 4, 6])
        matrix = lambda rows, size=size: [[rng.gauss(0, 1) for _ in range(size)] for _ in range(rows)]  # noqa: E731
        options = {name: matrix(size) for name in ("query", "key", "value")}
        options |= {"positions": rng.choice(["none", "added", "rotary"]), "isCausal": rng.random() < 0.5}
        cases.append((matrix(n), options))
    made = arithmetic("self_attention")("(cases) => cases.map(([x, options]) => math.selfAttention(x, options))", cases)
    gap = 0.0
    for (vectors, options), page in zip(cases, made, strict=True):
        inputs = torch.tensor(vectors, dtype=torch.float64)
        if options["positions"] == "added":
            inputs = inputs + sinusoidal(torch.arange(len(inputs)), inputs.shape[-1], dtype=torch.float64)
        given = {
            f"{name}_weight": torch.tensor(options[name], dtype=torch.float64) for name in ("query", "key", "value")
        }
        score = rotary if options["positions"] == "rotary" else scaled_dot
        wanted = self_attention(inputs, **given, score=score, is_causal=options["isCausal"])
        for name in ("weights", "context"):
            got = torch.tensor([row[name] for row in page], dtype=torch.float64)
            gap = max(gap, (got - getattr(wanted, name)).abs().max().item())
    record_property("measured", f"{gap:.1e} largest gap to attnlib  self-attention")
    assert gap < 1e-6


def test_words_get_the_same_vectors_in_the_page():
    words = ["dog", "Dog", "Hund", "σκύλος", "כלב", "🐕", *(f"word{i}" for i in range(300))]
    made = arithmetic("self_attention")("(words) => words.map(math.wordVector)", words)
    for word, vector in zip(words, made, strict=True):
        assert vector == pytest.approx(word_vector(word), abs=0.0101)
    assert word_vector("dog") == word_vector("Dog") != word_vector("god")
    turned = arithmetic("self_attention")("() => math.rotate([1, 2, 3, 4], 5)")
    assert turned == pytest.approx(
        rotate(torch.tensor([[1.0, 2.0, 3.0, 4.0]]).double(), torch.tensor([5.0]))[0].tolist()
    )


def test_page_shows_the_numbers_of_attnlib():
    widgets = [board(item["name"], positions=how) for item in SelfAttentionBoard().presets
               for how in ("none", "added", "rotary")]  # fmt: skip
    widgets += [SelfAttentionBoard(words=["alone"]), SelfAttentionBoard(words=list("abcdefgh"), is_causal=True)]
    for widget, view in zip(widgets, draw(*widgets), strict=True):
        shown = [row[-1] for row in rows(view, "attnlib-keys")]
        assert shown == [share(weight) for weight in widget.weights[widget.selected]]
        assert f"context c = Σ αv = ({widget.context[widget.selected][0]:.2f}".replace("-", "−") in text(
            found(view, "attnlib-caption")[0]
        )


# ------------------------------------------------------------------------------------------------ the page, in the hand


@pytest.mark.browser
def test_a_sentence_is_typed_and_a_matrix_is_dragged(show):
    page = show(SelfAttentionBoard())
    line = page.get_by_label("Sentence, up to 8 words")
    line.fill("man sees dog")
    frame(page)
    wanted = SelfAttentionBoard(words=["man", "sees", "dog"], vectors=[[0.9, -1.3], word_vector("sees"), [1.6, 0.4]])
    cells = lambda: page.locator(".attnlib-keys tbody tr td:last-child").all_inner_texts()  # noqa: E731
    assert [cell.strip() for cell in cells()] == [share(weight) for weight in wanted.weights[0]]
    assert line.input_value() == "man sees dog"
    page.get_by_label("Handles for").select_option("query_weight")
    frame(page)
    page.get_by_label("Column 1 of W_q").focus()
    page.keyboard.press("Shift+ArrowUp")
    frame(page)
    wanted.query_weight = [[1.0, 0.0], [0.5, 1.0]]
    assert [cell.strip() for cell in cells()] == [share(weight) for weight in wanted.weights[0]]
    page.get_by_role("button", name="W_q straight").click()
    page.get_by_label("Only the past (causal)").check()
    frame(page)
    assert [cell.strip() for cell in cells()] == ["1.000", "0", "0"]
