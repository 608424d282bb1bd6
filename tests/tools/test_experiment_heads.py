"""Heads that recall several places at once: do script and result belong together, and do the models do as told?"""

import json
import math

import pytest
import torch
from test_experiments import check_the_code, script

from attnlib.output_representations.multihead import MultiHead


@pytest.fixture(scope="module")
def heads():
    return script("heads")


@pytest.fixture(scope="module")
def metrics(heads):
    return json.loads((heads.RESULTS / "metrics.json").read_text("utf-8"))


def test_results_are_of_this_script_and_add_up(heads, metrics):
    check_the_code(metrics, "heads")
    setting = metrics["setting"]
    assert setting == heads.SETTING
    assert list(metrics["runs"]) == [arm.name for arm in heads.ARMS]
    for arm in heads.ARMS:
        found = metrics["runs"][arm.name]
        assert sum(found["search"][json.dumps(found["best"])]) == max(map(sum, found["search"].values()))
        around = [json.dumps(each) for near in heads.neighbours(*found["best"]) for each in near]
        if arm.longer:
            assert found["best"] == metrics["runs"][arm._replace(longer=False).name]["best"]
            assert len(found["search"]) == 1
        else:  # it lies at no edge of what was searched
            assert set(around) < set(found["search"])
        best = found["at each"][json.dumps(found["best"])]
        assert best == heads.told(found["test"])
        assert all(len(runs) == setting["seeds"] for runs in best.values())
        assert ("further" in found) == (arm._replace(kind="nothing") in heads.PRESSED)
        assert all(len(runs) == 2 * setting["seeds"] for runs in found.get("further", {}).values())
    alike = [
        metrics["runs"][arm.name]["parameters"]
        for arm in heads.ARMS
        if arm[:2] == ("in order", 4) and not (arm.hidden or arm.two)
    ]
    assert len(set(alike)) == 1


@pytest.mark.parametrize("n", [1, 2, 4])
def test_the_models_do_what_was_written_down(heads, metrics, n):
    kept = torch.load(heads.RESULTS / "model.pt", weights_only=True)
    state = {name.partition(" ")[2]: value.float() for name, value in kept.items() if name.startswith(f"{n} ")}
    arm = heads.Arm("in order", 4, n)
    found, wanted = heads.examine(arm, state, heads.held("tested")), metrics["runs"][arm.name]["test"]
    for name in ("all", "each", "elsewhere", *heads.KINDS):
        assert found[name] == pytest.approx(wanted[name], abs=0.01)


def test_what_is_wanted_stood_so_many_places_back(heads):
    g = torch.Generator().manual_seed(0)
    text = heads.texts(2, g)
    right, total = (heads.wanted(heads.Arm(task, 3, 1), text) for task in ("in order", "added up"))
    for seed in range(heads.SETTING["seeds"]):
        for i, t in enumerate(range(heads.FIRST, heads.TIME)):
            before = [text[seed, 1, t - n].item() for n in (1, 2, 3)]
            assert right[seed, 1, i].tolist() == before
            assert total[seed, 1, i].item() == sum(before)


def test_the_network_is_a_multi_head_layer_for_each_seed(heads):
    arm, text = heads.Arm("in order", 2, 4), heads.texts(3, torch.Generator().manual_seed(0))
    state = {name: value.detach() for name, value in heads.start(arm).items()}
    answers, (_, weights, _) = heads.run(arm, state, text)
    layer, places = MultiHead(heads.SIZE, 4, bias=False), heads.sinusoidal(torch.arange(heads.TIME), heads.SIZE)
    for seed in range(heads.SETTING["seeds"]):
        for name in ("query", "key", "value", "output"):
            getattr(layer, f"{name}_weight").data = state[name][seed]
        x = state["embed"][seed].T[text[seed]] + places
        found = layer(x[:, heads.FIRST :], x)
        wanted = found.context @ state["answer"][seed].T + state["answer bias"][seed]
        torch.testing.assert_close(answers[seed].flatten(-2), wanted, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(weights[seed], found.weights, rtol=1e-4, atol=1e-6)


def test_all_arms_start_and_learn_from_the_same(heads):
    one, many = heads.start(heads.Arm("in order", 4, 1)), heads.start(heads.Arm("in order", 4, 16))
    assert all(torch.equal(one[name], many[name]) for name in one)
    assert not torch.equal(one["query"][0], one["query"][1])
    more = heads.start(heads.Arm("in order", 4, 1), 3)
    assert torch.equal(more["query"][0], one["query"][3])


def test_weight_that_falls_elsewhere_and_its_entropy_are_counted(heads, monkeypatch):
    arm, text = heads.Arm("in order", 2, 1), torch.zeros(1, 1, heads.TIME, dtype=torch.long)
    weights = torch.zeros(1, 1, 1, heads.TIME - heads.FIRST, heads.TIME)
    for i, t in enumerate(
        range(heads.FIRST, heads.TIME)
    ):  # half where it is asked for, a quarter on each of two others
        weights[..., i, t - 1], weights[..., i, t], weights[..., i, t - 3] = 0.5, 0.25, 0.25
    nothing = torch.ones(1, 1, 1, 3, 4)
    answers = torch.zeros(1, 1, heads.TIME - heads.FIRST, 2, heads.SYMBOLS)
    monkeypatch.setattr(heads, "run", lambda *_: (answers, (nothing, weights, nothing)))
    found = heads.examine(arm, {}, text)
    assert found["weights"] == [[[0.5, 0.0]]]
    assert heads.told(found)["pointed"] == [0]  # a half is not more than a half
    assert found["elsewhere"] == [0.5]
    assert found["entropy"] == pytest.approx([1.5 * math.log(2)], abs=1e-4)


def test_the_search_goes_on_until_no_neighbour_is_better(heads, monkeypatch):
    def quality(rate, strength):
        return -abs(math.log2(rate / 0.08)) - abs(math.log10(strength / 100) if strength else 0.0)

    def tried(arm, rate, strength):
        return heads.Trained([quality(rate, strength)], {"all": [0.0], "weights": []}, {"p": torch.zeros(1, 1)}, 1)

    monkeypatch.setattr(heads, "tried", tried)
    found, _ = heads.chosen(heads.Arm("in order", 2, 4, kind="outputs"), (0.01, 1.0))
    assert found["best"] == [0.08, 100.0]
    assert heads.chosen(heads.Arm("in order", 2, 4), (0.01, 0.0))[0]["best"] == [0.08, 0.0]
    longer, _ = heads.chosen(heads.Arm("in order", 2, 4, longer=True), (0.01, 0.0))
    assert (longer["best"], len(longer["search"])) == ([0.01, 0.0], 1)


def test_training_repeats_itself_and_a_strength_makes_heads_disagree(heads, monkeypatch):
    monkeypatch.setitem(heads.SETTING, "steps", 5)
    plain = heads.Arm("in order", 2, 4)
    first, second = (heads.train(plain, 0.01, 0.0) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    text = heads.held("choose by")[:, :5]
    for kind in heads.KINDS:
        pressed = heads.train(plain._replace(kind=kind), 0.01, 10.0)
        apart, before = (heads.examine(plain, state, text)[kind] for state in (pressed, first))
        assert sum(apart) > sum(before)
