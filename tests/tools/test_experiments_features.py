"""Several hops, and a weight for each feature: do scripts and results still belong together, and does each part do
what is said?"""

import json
from statistics import fmean

import pytest
import torch
from test_experiments import check_the_code, script

from attnlib.data import reviews, wordnet
from attnlib.output_representations.structured_self import penalty


@pytest.fixture
def hops():
    return script("hops")


@pytest.fixture
def features():
    return script("features")


def metrics(module):
    return json.loads((module.RESULTS / "metrics.json").read_text("utf-8"))


def test_hops_are_of_this_script_and_add_up(hops):
    given = metrics(hops)
    check_the_code(given, "hops")
    setting = given["setting"]
    assert setting == json.loads(json.dumps(hops.SETTING))
    assert list(given["runs"]) == [hops.called(arm, c) for arm, c in hops.arms(setting)]
    for name, runs in given["runs"].items():
        chosen = given["chosen"][name]
        losses, rates = chosen["search"], [str(rate) for rate in setting["rates"]]
        largest_is_best = min(rates, key=losses.__getitem__) == rates[-1]
        assert list(losses) == [*rates, *(str(rate) for rate in setting["further"] if largest_is_best)]
        assert chosen["rate"] == float(min(chosen["search"], key=chosen["search"].__getitem__))
        assert [len(run["right"]) for run in runs] == [given["sentences"]["test"]] * setting["seeds"]
    assert json.loads(hops.STORE.read_text("utf-8")) == hops.stored(given)


def test_maps_are_those_of_the_states_that_are_kept(hops):
    """Committed checkpoints give the maps that the widget shows."""
    given = metrics(hops)
    states = torch.load(hops.RESULTS / "states.pt", weights_only=True)
    words = sorted({word for text in hops.TEXTS for word in text.split()})
    for name in ("0", "0.1"):
        for found, wanted in zip(hops.mapped(states[name], words, hops.SETTING), given["maps"][name], strict=True):
            torch.testing.assert_close(
                torch.tensor(found["weights"]), torch.tensor(wanted["weights"]), rtol=0, atol=2e-3
            )


def test_arms_of_hops_are_what_their_names_say(hops):
    weights = torch.softmax(3 * torch.randn(4, 7, hops.SETTING["hops"], 6), -1)
    found = hops.penalised(weights, ["hops", "sharp", "apart", "means"])
    torch.testing.assert_close(found[0], penalty(weights[0]))
    sharp = sum((row.square().sum(-1) - 1).square() for row in weights[1].unbind(-2))
    torch.testing.assert_close(found[1], sharp)
    torch.testing.assert_close(
        found[2] + hops.penalised(weights, ["hops", "sharp", "sharp", "hops"])[2], penalty(weights[2])
    )
    tokens, lengths = torch.randint(4, 9, (3, 6)), torch.tensor([6, 2, 4])
    one, means = (hops.Reader(9, hops.SETTING, arm).eval()(tokens, lengths)[1] for arm in hops.FLOORS)
    assert (one == one[:, :1]).all()
    torch.testing.assert_close(means[1, 0], torch.tensor([0.5, 0.5, 0, 0, 0, 0]))


def test_parts_are_compared_at_the_same_coefficients(hops):
    sharp, apart = (set(hops.SETTING["parts"][part]) for part in hops.PARTS)
    assert len(sharp & apart) >= 2
    names = [hops.called(arm, c) for arm, c in hops.arms(hops.SETTING)]
    assert len(set(names)) == len(names)
    assert {"0", "1", "sharp 1", "apart 10", "means"} <= set(names)


def test_overlap_and_reach(hops):
    rows = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
    assert hops.overlap(rows[:2]) == 0
    assert hops.overlap(rows[:1].repeat(4, 1)) == pytest.approx(1)
    assert hops.reach(rows).tolist() == [1, 1, 2]


@pytest.mark.data
@pytest.mark.nightly
def test_no_sentence_that_is_tested_was_trained_with(hops, real):
    real(reviews.PACKAGE)
    parts, counted = hops.data()[1], metrics(hops)["sentences"]
    assert {name: len(part.signs) for name, part in parts.items()} == counted


def test_features_are_of_this_script_and_add_up(features):
    given = metrics(features)
    check_the_code(given, "features")
    setting = given["setting"]
    assert setting == json.loads(json.dumps(features.SETTING))
    assert list(given["made"]["arms"]) == list(features.MADE_ARMS)
    for found in given["made"]["arms"].values():
        assert found["rate"] == float(max(found["search"], key=found["search"].__getitem__))
        assert len(found["right"]) == setting["made"]["seeds"]
    assert list(given["senses"]) == list(features.ARMS)
    for found in given["senses"].values():
        assert found["rate"] == float(min(found["search"], key=found["search"].__getitem__))
        assert [len(run) for run in found["right"]] == [given["floors"]["uses"]] * setting["senses"]["seeds"]
    words = given["floors"]["of word"]
    assert (len(words), len(set(words))) == (given["floors"]["uses"], given["floors"]["lemmas"])


def test_untrained_features_are_of_these_scripts(features):
    given = json.loads((features.RESULTS.with_name("features_untrained") / "metrics.json").read_text("utf-8"))
    check_the_code(given, "features_untrained")
    trained = metrics(features)
    assert given["features"] == trained["script"]
    assert given["setting"] == trained["setting"]["senses"]
    assert given["arm"] == list(trained["senses"])[-1]
    assert len(given["likeness"]) == given["setting"]["seeds"]


def test_memory_grows_as_it_was_measured(features):
    """Counted tensors, no time and no process: the same everywhere."""
    small = {"memory": {"d": 8, "lengths": [32, 64], "block": 4}}
    found = features.memory(small)
    assert found["whole"]["64"] > 3.5 * found["whole"]["32"]
    assert found["blocks"]["64"] < 2.2 * found["blocks"]["32"]


def test_made_tokens_hold_what_is_wanted(features):
    tokens, wanted = features.made(40, torch.Generator().manual_seed(0))
    for example, (colour, shape) in zip(tokens, wanted.tolist(), strict=True):
        assert (example.sum(-1) == 3).all()
        first, second = (example[:, 8 + mark].nonzero().item() for mark in (1, 2))
        assert first != second
        assert example[first, :4].argmax() == colour
        assert example[second, 4:8].argmax() == shape


def test_groups_of_features_share_the_mean_of_their_energies(features):
    energies = torch.randn(2, 5, 12)
    assert torch.equal(features.grouped(energies, None), energies)
    four = features.grouped(energies, 4)
    torch.testing.assert_close(four[..., 3], energies[..., 3:6].mean(-1))
    arms = ("even", "one weight")
    even, one = features.of_arms(energies, arms)
    assert not even.any()
    torch.testing.assert_close(one, energies[1].mean(-1, keepdim=True).expand(5, 12))


@pytest.fixture
def small(features, monkeypatch):
    """A word of two senses in twenty sentences, and a pie that is always food."""
    senses = [
        wordnet.Sense(
            f"noun {kind}", f"noun.{kind}", ("bank",), "a bank", tuple(f"the bank {kind} {n}x" for n in words)
        )
        for kind, words in (("object", "abcdefghij"), ("group", "klmnopqrst"))
    ]
    senses.append(wordnet.Sense("noun z", "noun.food", ("pie",), "a pie", ("a pie is here",)))
    monkeypatch.setattr(features.wordnet, "load", lambda: senses)
    monkeypatch.setitem(features.SETTING["senses"], "least", 1)
    monkeypatch.setattr(features, "vectors", lambda: ({"the": 0, "bank": 1}, torch.zeros(2, 48)))
    features.senses.cache_clear()
    yield features.senses()
    features.senses.cache_clear()


def test_a_sentence_is_tested_by_a_model_that_has_not_seen_it(features, small):
    """Words of two senses in five folds: counts leave out the fold that is tested and the one that chooses."""
    given = small
    assert {use.lemma for use in given.uses} == {"bank"}  # a pie is always food
    for fold in range(5):
        left = (given.fold != fold) & (given.fold != (fold + 1) % 5)
        kinds = torch.bincount(given.kind[left], minlength=len(wordnet.KINDS))
        assert torch.equal(given.counts[fold, 0], kinds.float())
    assert (given.tokens[:, 1] == 1).all()
    assert fmean((given.place == 1).tolist()) == 1


def test_the_word_alone_hears_of_no_other_word(features, small):
    d, kinds = 48, len(wordnet.KINDS)
    sizes = {"value": (d, d), "query": (d, d), "key": (d, d), "answer": (kinds, 2 * d)}
    arms = ("word alone", "even")
    state = features.layers(sizes, 1, len(arms))
    index, fold = torch.arange(4)[None], torch.tensor([0])
    before = features.sense_answer(state, index, fold, arms)[0]
    small.tokens[small.tokens == 0] = 1  # "the" becomes another word
    after = features.sense_answer(state, index, fold, arms)[0]
    assert torch.equal(before[0], after[0])
    assert before[1].allclose(after[1])  # all vectors are zero here: nothing to hear
    state["value.bias"].data += 1
    louder = features.sense_answer(state, index, fold, arms)[0]
    assert torch.equal(before[0], louder[0])
    assert not torch.equal(after[1], louder[1])


def test_the_commonest_kind_is_shared_where_several_are(features, small):
    """Right as often as a draw among the commonest is; taking the first of them would flatter or wrong the floor."""
    wanted, chance = [], []
    for fold in range(5):
        index = features.several(fold, lambda part, fold=fold: part == fold)
        for use in index.tolist():
            counts = small.counts[fold, use]
            best = (counts == counts.max()).nonzero().flatten().tolist()
            wanted.append((small.kind[use].item() in best) / len(best))
            chance.append(1 / int((counts > 0).sum()))
    found = features.sense_floors(features.SETTING)
    assert found["commonest"] == pytest.approx(fmean(wanted), abs=1e-4)
    assert found["chance"] == pytest.approx(fmean(chance), abs=1e-4)
    assert found["uses"] == len(wanted) == len(found["of word"])
