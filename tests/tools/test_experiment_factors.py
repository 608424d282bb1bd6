"""What factors are worth, and synthesizers: do the networks of the scripts do what is said of them?"""

import json

import pytest
import torch
from test_experiments import check_the_code, script

from attnlib.frontiers.factors import Factors
from attnlib.frontiers.synthesizer_layer import Dense, FactorisedDense, FactorisedRandom, Random, Synthesizer


@pytest.fixture(scope="module")
def factors():
    return script("factors")


@pytest.fixture(scope="module")
def synthesizers():
    return script("synthesizers")


def some_words(factors, n=6):
    """Words of two to seven letters, with as many sounds and an end."""
    g = torch.Generator().manual_seed(0)
    letters = torch.randint(1, 27, (5, n, 7), generator=g)
    sounds = torch.randint(1, factors.END, (5, n, 7), generator=g)
    length = torch.arange(n).clamp(max=5).unsqueeze(-1) + 2
    letters = letters * (torch.arange(7) < length)
    sounds = torch.where(torch.arange(7) == length - 1, factors.END, sounds * (torch.arange(7) < length))
    return factors.Words(letters, sounds)


@pytest.mark.parametrize("terms", [(1, 2, 3, 4), (2, 3, 4), (1,), (3,), (4,), ()])
def test_a_site_is_the_layer_of_each_seed(factors, terms):
    arm = factors.Arm((1, 2, 3, 4), terms)
    state = {name: part.detach() for name, part in factors.start(arm).items()}
    layer = Factors(factors.SIZE, factors.HEADS, terms=terms, scale=factors.HEAD**-0.5)
    inputs, memory = torch.randn(2, 5, 3, 7, factors.SIZE)
    real = (torch.arange(7) < 4).reshape(1, 1, 1, 1, 7).expand(5, 3, 1, 1, 7)
    found = factors.attended(state, arm, "across", inputs, memory, mask=real)
    for seed in range(5):
        for name in ("query", "key", "value", "output"):
            if f"across {name}" in state:
                getattr(layer, f"{name}_weight").data = state[f"across {name}"][seed]
        for name, own in (("key", "key_bias"), ("far", "position_bias")):
            assert (getattr(layer, own) is None) == (f"across {name} bias" not in state)
            if getattr(layer, own) is not None:
                getattr(layer, own).data = state[f"across {name} bias"][seed]
        if len(layer.position_weights):
            layer.position_weights[0].data = state["across far"][seed]
        wanted = layer(inputs[seed], memory[seed], mask=real[seed, :, 0]).context
        torch.testing.assert_close(found[seed], wanted, rtol=1e-4, atol=1e-5)


def test_nothing_is_known_of_the_sound_that_is_wanted_nor_of_padding(factors):
    arm, given = factors.Arm((1, 2, 3, 4), (1, 2, 3, 4)), some_words(factors)
    state = factors.start(arm)
    before = factors.said(arm, state, given).detach()
    for t in range(6):
        sounds = given.sounds.clone()
        sounds[..., t] = sounds[..., t] % 30 + 1
        after = factors.said(arm, state, given._replace(sounds=sounds)).detach()
        torch.testing.assert_close(after[:, :, : t + 1], before[:, :, : t + 1])
        assert (after[:, :, t + 1] - before[:, :, t + 1]).abs().max() > 1e-4
    wide = given._replace(letters=torch.nn.functional.pad(given.letters[..., :4], (0, 3)))
    spoilt = {**state, "embed letters": state["embed letters"].detach().clone()}
    spoilt["embed letters"][..., 0] += 9.0  # the column of padding
    torch.testing.assert_close(factors.said(arm, spoilt, wide), factors.said(arm, state, wide))


def test_arms_differ_in_their_terms_alone_and_training_repeats_itself(factors, monkeypatch):
    monkeypatch.setitem(factors.SETTING, "steps", 2)
    monkeypatch.setitem(factors.SETTING, "batch", 3)
    whole = factors.start(factors.Arm((1, 2, 3, 4), (1, 2, 3, 4)))
    for arm in factors.ARMS:
        own = factors.start(arm)
        assert all(torch.equal(part, whole[name]) for name, part in own.items())
        lacking = {f"{site} {name}" for site in factors.SITES for name in factors.OF_TERMS} - set(own)
        for site in factors.SITES:
            assert (f"{site} far" in lacking) == (not {2, 4} & set(factors.at(arm, site)))
    assert len({arm.name for arm in factors.ARMS}) == len(factors.ARMS) == 17
    words = some_words(factors)
    part = factors.Words(words.letters[0], words.sounds[0])
    first, second = (factors.train(factors.ARMS[0], 0.01, part) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert all(0 <= share <= 1 for share in factors.examine(factors.ARMS[0], first, part))


def test_the_floor_is_counted(factors):
    """After nothing comes 1 twice and 2 once; after 1 the end: five of six are right."""
    end = factors.END
    part = factors.Words(torch.zeros(3, 3).long(), torch.tensor([[1, end, 0], [1, end, 0], [2, end, 0]]))
    assert factors.floor(part, part) == pytest.approx(5 / 6, abs=1e-5)


def test_tasks_are_what_they_are_called(synthesizers):
    items, right = synthesizers.texts(4, torch.Generator().manual_seed(0))
    n, values = synthesizers.TIME, synthesizers.VALUES
    keys, said, asked = items[2, 3].split([n, values, n], -1)
    assert sorted(keys.argmax(-1).tolist()) == sorted(asked.argmax(-1).tolist()) == list(range(n))
    for i in range(n):
        there = keys.argmax(-1).tolist().index(asked[i].argmax().item())
        assert right["recall"][2, 3, i] == said[there].argmax()
        assert right["reversed"][2, 3, i] == said[n - 1 - i].argmax()
        assert right["shifted"][2, 3, i] == said[i - synthesizers.SETTING["back"]].argmax()


PARTS = {
    "dense": lambda s, made: Dense(s.SIZE, **made),
    "random": lambda s, made: Random(**made),
    "random, fixed": lambda s, made: Random(**made, trained=False),
    "factorised dense": lambda s, made: FactorisedDense(s.SIZE, **made, first=s.FIRST),
    "factorised random": lambda s, made: FactorisedRandom(**made, rank=s.SETTING["rank"]),
}


def test_each_arm_is_the_layer_of_each_seed(synthesizers):
    s = synthesizers
    items, _ = s.texts(2, torch.Generator().manual_seed(0))
    for arm, kinds in s.ARMS.items():
        state = s.start(arm)
        assert all(part.requires_grad == ("fixed" not in name) for name, part in state.items())
        parts = [PARTS[kind](s, {"length": s.TIME, "heads": s.HEADS}) for kind in kinds if kind != "dot"]
        layer = Synthesizer(s.SIZE, s.HEADS, parts, with_dot="dot" in kinds)
        found, seed = s.said(arm, state, items), 3
        layer.value_weight.data, layer.output_weight.data = state["value"][seed], state["output"][seed]
        if "dot" in kinds:
            layer.query_weight.data, layer.key_weight.data = (
                state[f"dot {name}"][seed].flatten(0, 1) for name in ("query", "key")
            )
        for kind, part in zip([kind for kind in kinds if kind != "dot"], parts, strict=True):
            for name in s.PARTS[kind]:
                getattr(part, name).data = state[f"{kind} {name}"][seed].detach()
        x = items[seed] @ state["embed"][seed].T + s.sinusoidal(torch.arange(s.TIME), s.SIZE)
        hidden = layer(x).context @ state["hidden"][seed].T + state["hidden bias"][seed]
        wanted = hidden.relu() @ state["answer"][seed].T + state["answer bias"][seed]
        torch.testing.assert_close(found[seed], wanted, rtol=1e-4, atol=1e-5)


def test_training_moves_what_is_trained_and_nothing_else(synthesizers, monkeypatch):
    s = synthesizers
    monkeypatch.setitem(s.SETTING, "steps", 2)
    monkeypatch.setitem(s.SETTING, "batch", 2)
    start, found = s.start("random, fixed"), s.train("random, fixed", "recall", 0.01)
    assert torch.equal(found["random, fixed energies"], start["random, fixed energies"])
    assert not torch.equal(found["value"], start["value"])
    again = s.train("random, fixed", "recall", 0.01)
    assert all(torch.equal(part, again[name]) for name, part in found.items())


def test_results_are_of_this_script_and_say_where_content_counts(synthesizers):
    metrics = json.loads((synthesizers.RESULTS / "metrics.json").read_text("utf-8"))
    check_the_code(metrics, "synthesizers")
    assert metrics["setting"] == synthesizers.SETTING
    runs = metrics["runs"]
    worst = {name: min(run["test"]) for name, run in runs.items()}
    best = {name: max(run["test"]) for name, run in runs.items()}
    for task in ("reversed", "shifted"):  # which place is read follows from the place alone
        assert worst[f"{task}, random"] > 0.99 > 0.4 > best[f"{task}, random, fixed"]
    for kind in ("dense", "random", "factorised dense", "factorised random"):  # it follows from what stands there
        assert best[f"recall, {kind}"] < 0.4 < 0.99 < worst["recall, dot"]
    assert min(worst["recall, random and dot"], worst["recall, dense and dot"]) > 0.99


def test_results_are_of_this_script_and_say_where_factors_count(factors):
    metrics = json.loads((factors.RESULTS / "metrics.json").read_text("utf-8"))
    check_the_code(metrics, "factors")
    assert metrics["setting"] == factors.SETTING
    runs = metrics["runs"]
    mean = {name: sum(run["test"]) / len(run["test"]) for name, run in runs.items()}
    worst, best = ({name: of(run["test"]) for name, run in runs.items()} for of in (min, max))
    assert min(worst.values()) > metrics["floor"]
    assert abs(mean["234 1234"] - mean["1234 1234"]) < 0.005 < mean["1234 1234"] - mean["1234 234"]  # query and key
    assert best["1234 3"] < worst["1234 1"] < best["1234 1"] < worst["1234 4"]  # across: keys, content, places
