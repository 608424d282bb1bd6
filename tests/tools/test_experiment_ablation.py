"""The ablation's script: do results belong to it, do its networks do what they say, and is the page's data theirs?"""

import json

import pytest
import torch
from test_experiments import check_the_code, script
from torch.testing import assert_close

from attnlib.recurrent.gated_unit import GatedUnit, both_ways
from attnlib.widgets.weights_on_trial import PRESETS

SMALL = {"seeds": 2, "d": 5, "hidden": 3, "layer": 7, "dropout": 0.0, "sharp": 6.0, "batch": 3}


@pytest.fixture(scope="module")
def ablation():
    return script("ablation")


@pytest.fixture(scope="module")
def metrics(ablation):
    return json.loads((ablation.RESULTS / "metrics.json").read_text("utf-8"))


def sentences():
    words = torch.tensor([[4, 5, 6, 7], [8, 9, 0, 0], [10, 0, 0, 0]])
    return words.expand(2, -1, -1), (words > 0).expand(2, -1, -1)


def test_results_are_of_this_script_and_add_up(ablation, metrics):
    check_the_code(metrics, "ablation")
    assert metrics["setting"] == json.loads(json.dumps(ablation.SETTING))
    assert tuple(metrics["arms"]) == ablation.ARMS
    tested = metrics["sentences"]["test"]
    for name, arm in metrics["arms"].items():
        assert len(arm["wrong"]) == ablation.SETTING["seeds"]
        told = [round(1 - len(wrong) / tested, 4) for wrong in arm["wrong"]]
        assert arm["right"][arm["rate"]] == pytest.approx(told, abs=1e-4)
        losses = {rate: sum(each) for rate, each in arm["search"].items()}
        assert arm["rate"] == min(losses, key=losses.get)
        assert (arm["parameters"] == metrics["arms"]["attention"]["parameters"]) == (name != ablation.BARE)


def test_what_the_widget_holds_is_what_the_networks_gave(ablation, metrics):
    rows = {tuple(row["words"]): row for row in metrics["shown"][ablation.SHARP]}
    for preset in PRESETS:
        state = preset["state"]
        row = rows[tuple(state["words"])]
        assert state["values"] == pytest.approx(row["values"][0], abs=6e-4)
        assert state["trained"] == pytest.approx(row["weights"][0], abs=6e-4)
        if preset["name"] == "From another start":
            assert state["weights"] == pytest.approx(row["weights"][1], abs=6e-4)
    assert all(len(row["words"]) <= 9 for row in rows.values())


def test_networks_side_by_side_read_as_the_library_does(ablation):
    """Annotations against the library's unit, a seed and a direction at a time."""
    model = ablation.Networks(ablation.ATTENTION, 11, SMALL).eval()
    words, mask = sentences()
    found = model.annotations(words, mask)
    for seed in range(2):
        units = []
        for way in range(2):
            unit = GatedUnit(5, 3)
            unit.input.weight.data = model.input[seed, way].T
            unit.input.bias.data = model.input_bias[seed, way, 0]
            unit.gates_recurrent.data = model.gates[seed, way].T
            unit.recurrent.data = model.state[seed, way].T
            units.append(unit)
        wanted = torch.cat(both_ways(*units, model.vectors[seed][words[seed]], mask[seed]), -1)
        assert_close(found[seed][mask[seed]], wanted[mask[seed]])


def test_every_arm_ignores_padding_and_company(ablation):
    words, mask = sentences()
    for arm in ablation.ARMS:
        model = ablation.Networks(arm, 11, SMALL).eval()
        whole = model(words, mask)
        for row, length in enumerate((4, 2, 1)):
            alone = model(words[:, row : row + 1, :length], mask[:, row : row + 1, :length])
            assert_close(alone.energy[:, 0], whole.energy[:, row])
        if arm in (ablation.ATTENTION, ablation.SHARP, ablation.BARE):
            assert_close((whole.weights * whole.values).sum(-1), whole.energy)


def test_arms_differ_in_how_the_vector_is_made_alone(ablation):
    first = ablation.Networks(ablation.ATTENTION, 11, SMALL)
    for arm in ablation.ARMS:
        other = ablation.Networks(arm, 11, SMALL)
        for name in ("vectors", "input", "gates", "state", "answer"):
            assert torch.equal(getattr(first, name), getattr(other, name))
    assert torch.equal(ablation.Networks(ablation.SHARP, 11, SMALL).vector, 6 * first.vector)


def test_in_made_sentences_the_opinion_after_the_mark_is_the_answer(ablation):
    part = ablation.made(50, 24, seed=0)
    for words, sign in zip(part.words.tolist(), part.sign.tolist(), strict=True):
        assert words.count(4) == 1
        assert (words[words.index(4) + 1] < 7) == sign
        assert sum(5 <= word < 9 for word in words) >= 3
    assert 0.3 < part.sign.double().mean() < 0.7


def test_who_counts_opinions_in_made_sentences(ablation, metrics):
    part = ablation.made(500, 24, seed=2)
    score = 0.0
    for words, sign in zip(part.words.tolist(), part.sign.tolist(), strict=True):
        excess = sum(word in (5, 6) for word in words) - sum(word in (7, 8) for word in words)
        score += 0.5 if excess == 0 else float((excess > 0) == sign)
    assert ablation.by_counting(ablation.SETTING) == pytest.approx(score / 500)
    assert metrics["by counting"] == pytest.approx(score / 500, abs=1e-4)


def test_batches_pass_through_all_before_one_comes_again(ablation):
    draw = ablation.batches(9, SMALL)
    for epoch in range(2):
        seen = torch.cat([draw(3 * epoch + step) for step in range(3)], -1)
        assert seen.sort(-1).values.tolist() == [[*range(9)]] * 2


def test_each_network_is_kept_as_it_was_at_its_best(ablation):
    """The judge likes the first seed after one look, and the second after two."""
    model = ablation.Networks(ablation.BARE, 11, SMALL)
    words, mask = sentences()
    said = iter([torch.tensor([1.0, 1.0]), torch.tensor([2.0, 0.5]), torch.tensor([3.0, 3.0])])
    states = []

    def judge():
        states.append({name: value.clone() for name, value in model.state_dict().items()})
        return next(said)

    best, when = ablation.train(
        model, lambda step: model(words, mask).energy.square().mean(-1), judge, steps=3, every=1, rate=0.1
    )
    assert (best.tolist(), when.tolist()) == ([1.0, 0.5], [1, 2])
    for name, value in model.state_dict().items():
        assert torch.equal(value[0], states[0][name][0])
        assert torch.equal(value[1], states[1][name][1])


def test_ranks_and_their_correlation(ablation):
    a, b = torch.tensor([[1.0, 2.0, 2.0, 9.0]]), torch.tensor([[4.0, 5.0, 6.0, 0.0]])
    mask = torch.tensor([[True, True, True, False]])
    assert ablation.order_of(a, mask).tolist() == [[0, 1.5, 1.5, 0]]
    assert ablation.correlation(a, b, mask).item() == pytest.approx(3**0.5 / 2)
    assert ablation.correlation(a, -b, mask).item() == pytest.approx(-(3**0.5) / 2)
