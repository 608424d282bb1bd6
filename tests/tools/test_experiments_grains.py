"""Coarse and fine attention on reviews, attention via attention on names: scripts, and results that they gave."""

import itertools
import json

import pytest
import torch
from test_experiments import check_the_code, script
from torch.func import stack_module_state
from torch.testing import assert_close

from attnlib.data.new_testament import Verse


@pytest.fixture
def grains():
    return script("coarse_fine")


@pytest.fixture
def names(monkeypatch):
    """The script on verses that we made, so that no package is needed."""
    made = script("via")
    greek, english = "αβγδεζηθικλμ", "abgdezhtiklm"
    spell = dict(zip(greek, english, strict=True))
    verses = []
    for i, (one, other) in enumerate(itertools.product(greek, repeat=2)):
        name = "βα" + one + other
        written = "".join(spell[c] for c in name).capitalize()
        lemmas = (name.capitalize(), one + "ο", other + "ι")
        verses.append(Verse(f"40001{i:03}", lemmas, lemmas, (written, "of", "it"), frozenset({(0, 0), (1, 1)})))
    monkeypatch.setattr(made.new_testament, "load", lambda: verses)
    return made


@pytest.fixture
def real_names(real):
    made = script("via")
    real(made.new_testament.PACKAGE)
    return made


def written(module, name):
    """What the script wrote down, if it is of today's code, and the model of the first seed."""
    metrics = json.loads((module.RESULTS / "metrics.json").read_text("utf-8"))
    check_the_code(metrics, name)
    assert metrics["setting"] == module.SETTING
    assert list(metrics["arms"]) == list(module.ARMS)
    for found in metrics["arms"].values():
        best = max(found["search"], key=lambda setting, searched=found["search"]: searched[setting])
        assert best in (f"{found['rate']}, {found.get('weight')}", str(found["rate"]))
    state = torch.load(module.RESULTS / "model.pt", weights_only=True)
    return metrics, {name: value.float() for name, value in state.items()}


def started(make, seeds=2):
    made = []
    for seed in range(seeds):
        torch.manual_seed(seed)
        made.append(make())
    return stack_module_state(made)[0]


# --- reviews ----------------------------------------------------------------------------------------------------------


def test_grains_do_what_was_written_down(grains):
    metrics, state = written(grains, "coarse_fine")
    found = grains.examine("both, places", state, grains.data()["test"])
    for name, value in found.items():
        assert value.item() == pytest.approx(metrics["arms"]["both, places"]["test"][name][0], abs=1e-2)
    assert metrics["chance"] == {name: round(x, 5) for name, x in grains.chance(grains.data()["test"]).items()}


def test_plain_lines_and_the_library_say_the_same(grains):
    x = grains.data()["train"].at(torch.randint(3000, (2, 5), generator=torch.Generator().manual_seed(0)))
    for arm, parts in grains.ARMS.items():
        state = started(lambda parts=parts: grains.Model(parts))
        quick, whole = grains.quick(arm, state, x), grains.run(arm, state, x)
        assert quick.keys() == whole.keys()
        for name in whole:
            assert_close(quick[name], whole[name], atol=1e-5, rtol=1e-4)


def test_no_review_is_in_two_parts(grains):
    parts = [{review.key for review in part} for part in grains.texts().values()]
    assert [len(part) for part in parts] == [grains.SETTING[name] for name in ("train", "choose", "test")]
    assert len(set.union(*parts)) == sum(map(len, parts))


def test_where_weights_fall_is_counted(grains):
    on = grains.data()["test"].at(torch.arange(3))
    own = torch.nn.functional.one_hot(on.opinion, 32).float()[None]
    assert {name: value.item() for name, value in grains.where(own, on).items()} == {
        "on the own opinion": 1, "on the other's": 0, "largest": 1, "the other's is the largest": 0}  # fmt: skip
    turned = grains.where(own.flip(2), on)
    assert turned["on the other's"] == turned["the other's is the largest"] == 1


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.data
def test_names_are_written_as_was_written_down(real_names):
    metrics, state = written(real_names, "via")
    real_names.SETTING["seeds"] = 1
    found = real_names.examine("via", state, "test")
    for name, value in found.items():
        assert value.item() == pytest.approx(metrics["arms"]["via"]["test"][name][0], abs=2e-2)


@pytest.mark.data
def test_the_page_says_what_the_unseen_names_are(real_names):
    """Which come as ordinary words, which English forms are trained, and how many windows hold more unknown words."""
    trained, unseen = (
        {window.name: window.english for window in real_names.windows()[part]} for part in ("train", "test")
    )
    words = {word for window in real_names.windows()["train"] for word in window.words}
    common = {name for name in unseen if real_names.bare(name) in words}
    assert (len(unseen), len(common)) == (113, 6)
    assert "Πόλις" in common
    assert not common & {"Νικόπολις", "Νηρεύς", "Ποντικός", "Φανουήλ"}
    shared = {english for english in unseen.values() if english in trained.values()}
    assert "pontus" in shared
    assert sum(english in shared for english in unseen.values()) == 9
    assert (unseen["Φανουήλ"], unseen["Ἰάκωβος"]) == ("phanuel", "james")
    windows = [window.words for window in real_names.windows()["test"] if window.name == "Φανουήλ"]
    assert 7 + 20 in [sum(map(len, given)) for given in windows]
    known = real_names.vocabulary()[0]
    others = [
        any(word not in known for i, word in enumerate(window.words) if i != window.place)
        for window in real_names.windows()["test"]
    ]
    assert round(100 * sum(others) / len(others)) == 24
    assert real_names.Parts().look.letter_score.query_weight[:, real_names.SETTING["size"] :].numel() == 576


def test_unseen_names_are_not_trained_with(names):
    parts = {part: {window.name for window in given} for part, given in names.windows().items()}
    assert parts["seen"] == parts["train"]
    apart = [parts[name] for name in ("train", "choose", "test")]
    assert len(set.union(*apart)) == sum(map(len, apart)) > 50
    known = names.vocabulary()[0]
    unseen = {names.bare(name) for name in parts["test"]} - {names.bare(name) for name in parts["train"]}
    assert not unseen & known.keys()


def test_seeds_side_by_side_are_the_module(names):
    """The scores of all seeds at once give what :class:`AttentionViaAttention` gives for each."""
    state = started(names.Parts)
    x = names.Table(*(column[:6].expand(2, 6, *column.shape[1:]) for column in names.data()["test"]))
    query, words, letters = names.features(state, x)
    _, over_words, over_letters = names.run("via", state, x)
    for seed in range(2):
        torch.manual_seed(seed)
        look = names.Parts().look
        hidden = {"word_mask": x.words[seed] > 0, "letter_mask": x.letters[seed] > 0}
        found = look(query[seed], words[seed], letters[seed], **hidden)
        assert_close(over_words[seed], found.words.weights, atol=1e-5, rtol=1e-4)
        assert_close(over_letters[seed], found.letters.weights, atol=1e-5, rtol=1e-4)


def test_arms_without_a_level_do_not_see_it(names):
    state = started(names.Parts)
    x = names.Table(*(column[:6].expand(2, 6, *column.shape[1:]) for column in names.data()["test"]))
    other = x._replace(letters=x.letters.roll(1, 1))
    assert torch.equal(names.run("words", state, x)[0], names.run("words", state, other)[0])
    assert not torch.allclose(names.run("via", state, x)[0], names.run("via", state, other)[0])
    other = x._replace(words=x.words.roll(1, 1))
    for arm, blind in (("nothing", True), ("letters", True), ("words", False), ("side by side", False), ("via", False)):
        assert torch.equal(names.run(arm, state, x)[0], names.run(arm, state, other)[0]) == blind
