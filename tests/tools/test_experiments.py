"""What is too long for a page: do script and result still belong together, and does the small model do what is said?"""

import hashlib
import importlib.util
import json
import random
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from attnlib.data import Pair, Split, Vocabulary, split
from attnlib.widgets.recurrent.decoder_stepper import STORE, tiny
from book._tools import provenance

EXPERIMENTS = Path(__file__).parents[2] / "book" / "experiments"
RESULTS = EXPERIMENTS / "results" / "rnnsearch"


def script(name):
    spec = importlib.util.spec_from_file_location(f"experiment_{name}", EXPERIMENTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def rnnsearch():
    return script("rnnsearch")


def read(name):
    return json.loads((RESULTS / name).read_text("utf-8"))


def check_the_code(metrics, name):
    now = provenance.stamp(EXPERIMENTS / f"{name}.py")
    changes = "; ".join(provenance.differences(metrics["code"], now["code"]))
    assert metrics["script"] == now["script"], (
        f"not the code that gave the results ({changes}): run the script again, and commit what it writes; "
        "where you have proved that the results are the same, see book/_tools/provenance.py --write"
    )
    assert metrics["code"] == now["code"]


def held_out_pairs(held):
    return [
        Pair(verse["key"], tuple(verse["source"]), tuple(verse["target"]), frozenset(map(tuple, verse["links"])))
        for verse in held["verses"]
    ]


def test_results_are_of_this_script(rnnsearch):
    metrics = read("metrics.json")
    check_the_code(metrics, "rnnsearch")
    assert metrics["setting"] == rnnsearch.SETTING
    assert sorted(metrics["runs"]) == sorted(rnnsearch.names())
    assert sorted(metrics["trials"]) == sorted(rnnsearch.TRIALS)
    assert sorted(metrics["longer"]) == sorted(rnnsearch.longer_names())
    assert len(metrics["seeds"]) >= 3


MEANS = ("loss", "length", "error", "precision", "recall", "error of the next step")


def weights_of_the_lengths(tests, name):
    """How much each length counts in the whole, such that it does so for all runs alike; fails if there is no way.

    Each of the means divides by a count (of words, of links) that is the same whatever a model says.
    """
    tests = [test for test in tests if name in test["all"]]
    parts = torch.tensor([[part[name] for part in test["by length"]] for test in tests], dtype=torch.float64)
    whole = torch.tensor([test["all"][name] for test in tests], dtype=torch.float64)
    assert len(tests) > parts.shape[1]  # more equations than unknowns
    weights = torch.linalg.lstsq(parts, whole[:, None]).solution[:, 0]
    assert_close(parts @ weights, whole, rtol=1e-9, atol=1e-9)
    assert_close(weights.sum().item(), 1.0, rtol=1e-6, atol=1e-6)
    assert weights.min() > 0
    return weights


def check_that_metrics_add_up(metrics):
    """The whole is what its parts by length give, with weights that no run can choose."""
    runs = [*metrics["runs"].values(), *metrics["longer"].values()]
    tests = [run["test"] for run in runs]
    weights = {name: weights_of_the_lengths(tests, name) for name in MEANS}
    for one, other in (("length", "precision"), ("error", "error of the next step")):  # by words; by words and links
        assert_close(weights[one], weights[other], rtol=1e-6, atol=1e-6)
    for found in metrics["baselines"].values():
        for row in found.values():
            recalls = torch.tensor([part["recall"] for part in row["by length"]], dtype=torch.float64)
            assert (recalls @ weights["recall"]).item() == pytest.approx(row["all"]["recall"], abs=1e-6)
    for run in runs:
        whole, parts = run["test"]["all"], run["test"]["by length"]
        assert whole["verses"] == sum(part["verses"] for part in parts) == metrics["verses"]["test"]
        # BLEU and chrF of the whole are no means of those of the parts, and cannot be had without the translations.
        assert whole.keys() - {"verses", "bleu", "chrf"} <= set(MEANS)
        if "error" in whole:
            share = 2 * whole["precision"] * whole["recall"] / (whole["precision"] + whole["recall"])
            assert whole["error"] == pytest.approx(1 - share)
        assert len(run["losses"]) == run["epochs"] == len(run["dev"])


def test_metrics_add_up():
    check_that_metrics_add_up(read("metrics.json"))


@pytest.mark.parametrize("name", MEANS)
@pytest.mark.parametrize("of_all", [True, False], ids=["the whole", "a part"])
def test_a_metric_that_does_not_add_up_is_found(name, of_all):
    metrics = read("metrics.json")
    test = metrics["longer"]["RNNsearch-25-1"]["test"]
    (test["all"] if of_all else test["by length"][2])[name] += 1e-5
    with pytest.raises(AssertionError):
        check_that_metrics_add_up(metrics)


def test_the_small_model_does_what_was_written_down(rnnsearch):
    """The checkpoint, read again: its loss and alignment error on the verses kept, its weights, a translation."""
    held, setting = read("heldout.json"), read("metrics.json")["setting"]
    words = Vocabulary(held["source words"]), Vocabulary(held["target words"])
    model = rnnsearch.build(rnnsearch.RNNsearch, setting, (len(words[0]), len(words[1])))
    state = torch.load(RESULTS / "model.pt", weights_only=True)
    assert {value.dtype for value in state.values()} == {torch.float16}
    model.load_state_dict({name: value.float() for name, value in state.items()})
    model.eval()
    pairs = held_out_pairs(held)
    assert rnnsearch.judge(model, pairs, words) == pytest.approx(held["judged"], abs=2e-3)
    weights, _ = rnnsearch.alignments(model, pairs, words)
    for verse in held["verses"]:
        assert_close(weights[verse["key"]], torch.tensor(verse["weights"]), atol=2e-3, rtol=0)
    shortest = min(pairs, key=lambda pair: len(pair.source))
    said = next(verse["RNNsearch"] for verse in held["verses"] if verse["key"] == shortest.key)
    assert " ".join(rnnsearch.translations(model, [shortest], words)[shortest.key]) == said


def test_verses_kept_were_not_trained_with():
    pairs = held_out_pairs(read("heldout.json"))
    assert split(pairs) == Split([], [], pairs)


# --- every test verse -------------------------------------------------------------------------------------------------

VERSES = EXPERIMENTS / "results" / "rnnsearch_verses" / "metrics.json"


def test_counts_of_verses_are_of_this_script_and_of_the_model_that_is_kept():
    counts, metrics = json.loads(VERSES.read_text("utf-8")), read("metrics.json")
    check_the_code(counts, "rnnsearch_verses")
    assert counts["trained by"] == metrics["script"]
    assert counts["model"] == hashlib.sha256((RESULTS / "model.pt").read_bytes()).hexdigest()
    assert len(set(counts["keys"])) == len(counts["keys"]) == metrics["verses"]["test"]


def error_of(counts, name):
    made, right = map(sum, zip(*counts["links"][name], strict=True))
    return 1 - 2 * right / (made + sum(counts["linked by people"]))


def test_counts_of_verses_add_up_to_what_was_measured_before():
    counts, metrics = json.loads(VERSES.read_text("utf-8")), read("metrics.json")
    for name, longest, before in (
        ("diagonal", "25", "diagonal"),
        ("IBM Model 1, to 18, or nothing", "18", "IBM Model 1"),
        ("IBM Model 1, to 25, or nothing", "25", "IBM Model 1"),
    ):
        known = metrics["baselines"][longest][before]["all"]["error"]
        assert error_of(counts, name) == pytest.approx(known, abs=1e-9)
    known = metrics["runs"]["RNNsearch-25-0"]["test"]["all"]
    assert error_of(counts, "RNNsearch") == pytest.approx(known["error"], abs=1e-3)  # half precision
    assert counts["quality"]["RNNsearch"]["all"]["bleu"] == pytest.approx(known["bleu"], abs=0.1)


def test_counts_of_the_verses_kept_are_those_of_their_weights(verses):
    counts, held = json.loads(VERSES.read_text("utf-8")), read("heldout.json")
    for pair, verse in zip(held_out_pairs(held), held["verses"], strict=True):
        row = counts["keys"].index(pair.key)
        links = verses.rnnsearch.links(torch.tensor(verse["weights"]))
        assert counts["links"]["RNNsearch"][row] == [len(links), len(links & pair.links)]
        assert counts["beside"]["RNNsearch"][row] == verses.beside(pair, links)
        assert counts["off the diagonal"]["RNNsearch"][row] == verses.off_the_diagonal(pair, links)
        later = verses.of_rows([pair], {pair.key: torch.tensor(verse["weights"])})
        assert [counts["rows later"][shift][row] for shift in "012"] == [later[shift][0] for shift in "012"]


def test_every_greek_word_of_the_verses_kept_has_a_gloss_or_an_empty_one():
    held, glosses = read("heldout.json")["verses"], json.loads(VERSES.with_name("glosses.json").read_text("utf-8"))
    said = {(word, gloss) for verse in held for word, gloss in zip(verse["source"], glosses[verse["key"]], strict=True)}
    assert {("λαλέω", "speaking"), ("ἀκούω", "heard"), ("ὁράω", "seen"), ("θεός", "God")} <= said
    assert {word for word, gloss in said if not gloss} == {"ὁ", "ὅτι"}  # which English often leaves out


@pytest.fixture
def verses():
    return script("rnnsearch_verses")


def test_moves_off_the_diagonal_are_counted(verses):
    """Four words each; people link 0-0, 1-1, 2-3, 3-2, so the diagonal is wrong at two words."""
    pair = Pair("1", ("a", "b", "c", "d"), ("A", "B", "C", "D"), frozenset({(0, 0), (1, 1), (2, 3), (3, 2)}))
    found = frozenset({(0, 0), (1, 1), (2, 3), (3, 0)})  # one of the two found; moves 0, 0, 1, -3
    assert verses.beside(pair, found) == [3, 1, 0]
    # Nearby: of word 2 the places 0, 1, 3, of word 3 the places 1, 2. Dealt: 2 + 1 of four, and none of 3, 3, 3, 0.
    assert verses.off_the_diagonal(pair, found) == [2, 1, round(1 / 3 + 1 / 2, 4), 1 / 4]


def test_links_are_read_off_later_rows_for_all_words_but_the_last(verses):
    """Rows look at 2, 0, 1, 0: of the first two words one is right, none a row later, both two rows later."""
    pair = Pair("1", ("a", "b", "c"), ("A", "B", "C"), frozenset({(0, 1), (1, 0), (2, 2)}))
    weights = torch.eye(4)[[2, 0, 1, 3]]
    weights[3, 0] = 0.5  # the row of the end mark, without the end mark
    found = verses.of_rows([pair], {"1": weights})
    assert found == {"0": [[2, 1, 2]], "1": [[2, 0, 2]], "2": [[2, 2, 2]]}


def test_another_verse_is_never_the_same(verses):
    pairs = [Pair(str(i), ("a",) * (1 + i % 3), (str(i),), frozenset()) for i in range(7)]
    given = verses.of_another_verse(pairs)
    assert all(given[pair.key] != list(pair.target) for pair in pairs)


# --- the script itself, on sentences of our own -----------------------------------------------------------------------


@pytest.fixture
def small_pairs():
    """Sentences that are copied in reverse, in place of the Testament."""
    chance = random.Random(0)
    pairs = []
    for number in range(150):
        source = tuple(chance.choice("αβγδε") for _ in range(chance.randint(1, 30)))
        links = frozenset((t, len(source) - 1 - t) for t in range(len(source)))
        pairs.append(Pair(f"40001{number:03}", source, source[::-1], links))
    return Split(pairs[:60], pairs[60:90], pairs[90:])


@pytest.fixture
def small(rnnsearch, small_pairs, monkeypatch):
    """Those sentences, and tiny sizes."""
    monkeypatch.setattr(rnnsearch, "corpus", lambda source: small_pairs)
    monkeypatch.setattr(rnnsearch, "BEAM", 2)
    monkeypatch.setattr(rnnsearch, "SETTING", {**rnnsearch.SETTING, "hidden": 5, "embedding": 4, "maxout": 3})
    return rnnsearch


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seeds", [1, pytest.param(None, marks=pytest.mark.nightly, id="all")])
def test_the_script_runs_from_training_to_results_and_repeats_itself(small, monkeypatch, tmp_path, capsys, seeds):
    monkeypatch.setattr(small, "SEEDS", small.SEEDS[:seeds])
    for again in ("one", "two"):
        for name in small.names():
            small.run(name, tmp_path / again, steps=2)
        for name in small.longer_names():
            small.run(name, tmp_path / again / "longer", steps=4)
        small.trial("no dropout", tmp_path / again, steps=2)
        small.write_results(tmp_path / again, tmp_path / f"results {again}")
    one, two = (json.loads((tmp_path / f"results {n}" / "metrics.json").read_text()) for n in ("one", "two"))
    for run in [run for found in (one, two) for arm in ("runs", "longer") for run in found[arm].values()]:
        run.pop("seconds")
        run["test"].pop("wall seconds of the last start")
    assert one == two
    assert list(one["trials"]) == ["no dropout"]
    assert "RNNsearch-25: loss" in capsys.readouterr().out
    held = json.loads((tmp_path / "results one" / "heldout.json").read_text())
    for verse in held["verses"]:
        for weights in (verse["weights"], verse["longer"]):
            assert len(weights) == len(verse["target"]) + 1
            assert {len(row) for row in weights} == {len(verse["source"]) + 1}
        assert {len(row) for row in verse["IBM Model 1"]} == {len(verse["source"])}


def test_every_trial_changes_what_a_setting_has(rnnsearch):
    for changed in rnnsearch.TRIALS.values():
        assert changed.keys() <= rnnsearch.SETTING.keys()
        assert all(rnnsearch.SETTING.get(name) != value for name, value in changed.items())


def test_a_wrong_name_is_refused(rnnsearch):
    with pytest.raises(SystemExit, match="model-longest-seed"):
        rnnsearch.parsed("Transformer-25-0")


def test_the_rate_rises_and_falls(rnnsearch):
    rates = [rnnsearch.declining(taken, rate=1.0, steps=200) for taken in range(200)]
    assert rates.index(max(rates)) == 49
    assert rates[0] == pytest.approx(0.02, rel=0.01)
    assert 0 < rates[-1] < 0.01


def test_unknown_words_are_put_in_while_training_alone(rnnsearch):
    seen = []

    class Model(torch.nn.Module):
        def forward(self, source, mask, target_in):
            seen.append(target_in)
            return type("Given", (), {"logits": torch.zeros(*target_in.shape, 9)})

    pairs = [Pair("1", ("a",) * 50, ("b",) * 50, frozenset())]
    words = Vocabulary.build([["a"]]), Vocabulary.build([["b"]])
    batch = rnnsearch._collate(pairs, words=words)
    model = Model()
    summed, count = rnnsearch.loss(model, batch, forget=0.5)
    assert count == 51
    assert summed.item() == pytest.approx(51 * torch.log(torch.tensor(9.0)).item(), rel=1e-5)
    assert 10 < (seen[0] == rnnsearch.UNK).sum() < 40
    assert seen[0][0, 0] == rnnsearch.BOS
    rnnsearch.loss(model.eval(), batch, forget=0.5)
    assert torch.equal(seen[1], batch.target_in)


# --- longer, and in two other orders ----------------------------------------------------------------------------------

LONGER = EXPERIMENTS / "results" / "rnnsearch_longer" / "metrics.json"


@pytest.fixture
def longer():
    return script("rnnsearch_longer")


def translator_of(longer, kind):
    torch.manual_seed(0)
    setting = {**longer.SETTING, "embedding": 5, "hidden": 7, "maxout": 3, "dropout": 0.0}
    return longer.rnnsearch.build(kind, setting, (11, 13)).eval()


SOURCE = torch.tensor([[4, 5, 6, 2], [7, 8, 2, 0]])
TARGET = torch.tensor([[1, 4, 5, 9], [1, 6, 7, 9]])


@pytest.mark.parametrize("kind", ["LuongOrder", "GroundHogOrder"])
def test_another_order_takes_the_same_steps_alone_and_with_the_reference(longer, kind):
    model = translator_of(longer, getattr(longer, kind))
    given, encoded = model(SOURCE, SOURCE != 0, TARGET), model.encode(SOURCE, SOURCE != 0)
    state = encoded.state
    for t in range(TARGET.shape[1]):
        step = model.step(TARGET[:, t], state, encoded)
        assert_close(step.logits, given.logits[:, t])
        assert_close(step.weights, given.weights[:, t])
        state = step.state
    found = longer.rnnsearch.beam(model, SOURCE, SOURCE != 0, begin=1, end=2, width=3, longest=4)
    alone = longer.rnnsearch.beam(model, SOURCE[1:, :3], SOURCE[1:, :3] != 0, begin=1, end=2, width=3, longest=4)
    assert found.words[1].tolist()[: alone.words.shape[1]] == alone.words[0].tolist()


@pytest.mark.parametrize(("kind", "first"), [("RNNsearch", 3), ("LuongOrder", 2), ("GroundHogOrder", 2)])
def test_from_which_row_on_the_weights_know_a_word(longer, kind, first):
    """The third word that the decoder reads: rows that come before the word is known cannot move."""
    model = translator_of(longer, getattr(longer, kind))
    other = TARGET.clone()
    other[:, 2] = 8
    one, two = (model(SOURCE, SOURCE != 0, words).weights for words in (TARGET, other))
    moved = (one - two).abs().amax((0, 2)) > 1e-7
    assert moved.tolist() == [t >= first for t in range(4)]


@pytest.mark.parametrize(("kind", "reads"), [("LuongOrder", False), ("GroundHogOrder", True)])
def test_which_state_reads_the_context_before(longer, kind, reads):
    """The same first state, another memory: the second state of Luong's order cannot tell, GroundHog's can."""
    model, n = translator_of(longer, getattr(longer, kind)), 7
    encoded = model.encode(SOURCE, SOURCE != 0)
    other = encoded._replace(annotations=encoded.annotations + 1.0)
    states = []
    for memory in (encoded, other):
        first = model.step(TARGET[:, 0], memory.state, memory)
        second = model.step(TARGET[:, 1], first.state, memory)
        states.append((first.state[:, :n], second.state[:, :n]))
    (a, b), (c, d) = states
    assert torch.equal(a, c)
    assert torch.equal(b, d) != reads


def test_the_least_loss_of_the_same_words_is_chosen(longer):
    trials = {"as above": {"loss": 3.0}, "no dropout": {"loss": 2.0}, longer.OF_OTHER_WORDS: {"loss": 1.0}}
    assert longer.chosen(trials) == "no dropout"


def test_longer_runs_are_of_this_script_and_add_up(longer):
    metrics, known = json.loads(LONGER.read_text("utf-8")), read("metrics.json")
    check_the_code(metrics, "rnnsearch_longer")
    assert metrics["trained by"] == known["script"]
    assert metrics["steps"] == {arm: made.steps for arm, made in longer.ARMS.items()}
    wanted = {"RNNencdec-25", "RNNencdec-25-searched", "GroundHogOrder-25", "LuongOrder-25"}
    assert wanted | {"RNNsearch-25", "RNNsearch-25, 1000 steps"} <= set(metrics["arms"])
    assert {len(runs) for runs in metrics["arms"].values()} == {len(longer.SEEDS)}
    for kind, trials in metrics["trials"].items():
        assert list(trials) == list(longer.TRIALS)
        assert metrics["chosen"][kind] == longer.chosen(trials)
    assert metrics["arms"]["RNNsearch-25"] == list(known["longer"].values())
    runs = {f"{arm}-{i}": run for arm, each in metrics["arms"].items() for i, run in enumerate(each)}
    check_that_metrics_add_up({**known, "runs": runs, "longer": {}})


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("arm", ["RNNencdec-25-searched", "GroundHogOrder-25"])
def test_the_longer_script_trains_judges_and_gathers(longer, small_pairs, monkeypatch, tmp_path, capsys, arm):
    monkeypatch.setattr(longer.rnnsearch, "corpus", lambda source: small_pairs)
    monkeypatch.setattr(longer.rnnsearch, "BEAM", 2)
    tiny = {**longer.SETTING, "hidden": 5, "embedding": 4, "maxout": 3}
    for module in (longer, longer.rnnsearch):
        monkeypatch.setattr(module, "SETTING", tiny)
    monkeypatch.setattr(longer, "SEEDS", (0,))
    monkeypatch.setattr(longer, "ARMS", {arm: longer.ARMS[arm]})
    for trial in longer.TRIALS:
        longer.run(f"trial: {trial}", tmp_path / "runs", steps=6)
    longer.run(f"{arm}-0", tmp_path / "runs", steps=5)
    longer.write_results(tmp_path / "runs", tmp_path / "results")
    metrics = json.loads((tmp_path / "results" / "metrics.json").read_text())
    assert list(metrics["arms"])[:2] == [arm, "RNNsearch-25"]
    assert f"{arm}: loss" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="NAME must be one such as"):
        longer.run("Transformer-25-0", tmp_path / "runs", steps=2)


# --- the tiny translator ----------------------------------------------------------------------------------------------


@pytest.fixture
def translator():
    return script("tiny_translator")


def test_the_stored_translator_is_of_this_script(translator):
    """Its words are the script's, and today's RNNsearch reads its weights as the one that was trained."""
    metrics = json.loads(translator.METRICS.read_text("utf-8"))
    check_the_code(metrics, "tiny_translator")
    assert (translator.STORE.resolve(), translator.digest()) == (STORE.resolve(), metrics["weights"])
    model, *words = tiny()
    vocabularies, seen, unseen = translator.prepared()
    assert [list(side) for side in words] == vocabularies
    assert (len(seen), len(unseen)) == (3000, 600)
    assert not set(map(str, seen)) & set(map(str, unseen))
    assert translator.faultless(model, unseen) == metrics["faultless"] == 1.0
    parameters = {name: value.clone() for name, value in model.state_dict().items()}
    for name in ("align_vector", "unit.recurrent"):  # weights that are not the trained ones do not do it
        model.load_state_dict({**parameters, name: -parameters[name]})
        assert translator.faultless(model, unseen) < 0.5
    model.load_state_dict(parameters)


def test_the_script_stores_what_the_widget_reads(translator, monkeypatch, tmp_path):
    """After three steps: the numbers of a whole training depend on the machine, and take a minute."""
    monkeypatch.setattr(translator, "STEPS", 3)
    for name in ("STORE", "METRICS"):
        monkeypatch.setattr(translator, name, tmp_path / name)
    translator.main()
    made, stored = json.loads(translator.STORE.read_text()), json.loads(STORE.read_text())
    assert made.keys() == stored.keys()
    assert all(made[name] == stored[name] for name in ("sizes", "source_words", "target_words"))
    assert {name: len(x) for name, x in made["weights"].items()} == {n: len(x) for n, x in stored["weights"].items()}
    metrics = json.loads(translator.METRICS.read_text())
    assert metrics["weights"] == translator.digest()
    assert metrics["script"] == json.loads((EXPERIMENTS / "results/tiny_translator/metrics.json").read_text())["script"]


# --- soft and hard attention ------------------------------------------------------------------------------------------


@pytest.fixture
def crowd():
    return script("soft_and_hard")


def test_soft_and_hard_is_of_this_script(crowd):
    """The results are of today's code and setting, a way has the best rate for each length, nothing is missing."""
    metrics = json.loads((crowd.RESULTS / "metrics.json").read_text("utf-8"))
    check_the_code(metrics, "soft_and_hard")
    assert metrics["setting"] == crowd.SETTING
    assert list(metrics["runs"]) == list(crowd.WAYS)
    for found in metrics["runs"].values():
        assert list(found["search"]) == list(found["test"]) == crowd.lengths()
        for steps, searched in found["search"].items():
            assert list(searched) == [str(rate) for rate in crowd.SETTING["rates"]]
            assert found["rate"][steps] == crowd.best(searched)
        assert {len(run) for part in found["test"].values() for run in part.values()} == {crowd.SEEDS}


def test_soft_attention_on_digits_does_what_was_written_down(crowd):
    """The checkpoint, read again on the scenes that it was tested with."""
    metrics = json.loads((crowd.RESULTS / "metrics.json").read_text("utf-8"))
    state = torch.load(crowd.RESULTS / "model.pt", weights_only=True)
    assert {value.dtype for value in state.values()} == {torch.float16}
    model = crowd.Looker()
    model.load_state_dict({name: value.float() for name, value in state.items()})
    test = crowd.data()["test"]
    written = metrics["runs"]["soft"]["test"][str(crowd.SETTING["longer"])]
    for name, values in crowd.examine(model, test).items():
        assert_close(values, torch.tensor(written[name]), atol=5e-3, rtol=0)
    assert test.overlap.amax(-1).eq(1).all()  # some window holds the whole box
    assert round(test.overlap.mean().item(), 4) == metrics["blind"]


def test_no_digit_is_both_trained_and_tested_with(crowd, monkeypatch):
    pools = []
    monkeypatch.setattr(crowd, "scenes", lambda images, kinds, pool, n, seed: pools.append(set(pool.tolist())))
    crowd.data.__wrapped__()
    assert sum(map(len, pools)) == len(set().union(*pools)) == 1797


def test_the_script_on_digits_repeats_itself(crowd, monkeypatch, tmp_path, capsys):
    """A few steps on a few scenes, twice, and once more from what the second time left; then nothing is trained."""
    few = {"rates": [0.01, 0.02], "steps": 2, "longer": 3, "scenes": 70, "choose by": 5, "tested": 7}
    monkeypatch.setattr(crowd, "SETTING", {**crowd.SETTING, **few})
    made = []
    for runs, results in (("one", "first"), ("two", "second"), ("two", "third")):
        monkeypatch.setattr(crowd, "RUNS", tmp_path / runs)
        monkeypatch.setattr(crowd, "RESULTS", tmp_path / results)
        if results == "third":
            monkeypatch.delattr(crowd, "train")
        crowd.main()
        made.append(json.loads((tmp_path / results / "metrics.json").read_text()))
        for run in made[-1]["runs"].values():
            run.pop("seconds")
    assert made[0] == made[1] == made[2]
    assert "straight-through: rate" in capsys.readouterr().out


# --- gates over channels, and two tasks whose right item is known -----------------------------------------------------


@pytest.fixture
def channels():
    return script("channels")


@pytest.fixture
def items():
    return script("items")


def written(made, name):
    """The metrics of a script and its weights, whose code and setting are today's."""
    metrics = json.loads((made.RESULTS / "metrics.json").read_text("utf-8"))
    check_the_code(metrics, name)
    assert metrics["setting"] == made.SETTING
    state = torch.load(made.RESULTS / "model.pt", weights_only=True)
    assert {value.dtype for value in state.values()} == {torch.float16}
    return metrics, {name: value.float() for name, value in state.items()}


def check_the_choice(made, found):
    assert list(found["search"]) == [str(rate) for rate in made.SETTING["rates"]]
    assert {len(run) for run in found["search"].values()} == {made.SETTING["seeds"]}
    assert found["rate"] == made.best(found["search"])


def test_excitation_on_digits_does_what_was_written_down(channels):
    """The checkpoint, read again: answers, with its own gates and with others, and how gates differ by class."""
    metrics, state = written(channels, "channels")
    assert list(metrics["arms"]) == list(channels.ARMS)
    for found in metrics["arms"].values():
        check_the_choice(channels, found)
    assert metrics["arms"]["blind gates"]["parameters"] == metrics["arms"]["excitation"]["parameters"]
    test = channels.data()["test"]
    for name, values in channels.with_other_gates(state, test).items():
        assert_close(values.float(), torch.tensor(metrics["gates"][name]), atol=5e-3, rtol=0)
    for gates, squeezed, layer in zip(*channels.run("excitation", state, test.image)[1:], channels.LAYERS, strict=True):
        found = metrics["by class"]["after"][layer]
        for values, name in ((gates, "share"), (squeezed, "share of the squeezed")):
            share = channels.between(values.double(), test.kind)[0]
            assert_close(share.float(), torch.tensor(found[name]), atol=2e-2, rtol=0)


def test_variance_between_classes_is_counted(channels):
    """Two digits of each kind; gates 0 and 2 about the class mean in one channel, the class itself in the other."""
    kind = torch.arange(10).repeat_interleave(2)
    within = torch.tensor([-1.0, 1.0]).repeat(10)
    values = torch.stack([within, kind.float()], -1)[None].double()
    share, apart = channels.between(values, kind)
    assert share.item() == pytest.approx(8.25 / (1 + 8.25))  # the variance of 0 to 9 is 8.25
    assert apart.item() == pytest.approx(torch.arange(10.0).std().item() / 2)
    assert channels.between(torch.full((1, 20, 3), 0.5), kind)[0].item() == 0


def test_blind_gates_see_no_image_and_other_gates_are_used(channels):
    x = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    for arm, same in (("blind gates", True), ("excitation", False)):
        gates = channels.run(arm, channels.start(arm), x)[1][2]
        assert bool((gates == gates[:, :1]).all()) == same
    state = channels.start("excitation")
    scores, gates, _ = channels.run("excitation", state, x)
    assert_close(channels.run("excitation", state, x, given=list(gates))[0], scores)
    shut = [torch.zeros_like(gates[0][:, :1]), None, None]
    assert not torch.allclose(channels.run("excitation", state, x, given=shut)[0], scores, atol=1e-4)
    plain = channels.start("no gates")
    assert all(torch.equal(value, state[name]) for name, value in plain.items())  # all arms share the start of the rest


def test_attention_over_known_items_does_what_was_written_down(items):
    metrics, kept = written(items, "items")
    for task, (_, _, arms) in items.TASKS.items():
        assert list(metrics["runs"][task]) == list(arms)
        for found in metrics["runs"][task].values():
            check_the_choice(items, found)
        state = {name.removeprefix(f"{task} "): value for name, value in kept.items() if name.startswith(f"{task} ")}
        for name, values in items.examine(task, arms[0], state, items.data(task)["tested"]).items():
            assert_close(values.float(), torch.tensor(metrics["runs"][task][arms[0]]["test"][name]), atol=1e-2, rtol=0)


def test_pictures_hold_what_is_asked_for(items):
    """Digits in which each pixel has a grey of its own: spots say which ink, and of the cells only one is whole."""
    image = torch.arange(1, 65).float().view(1, 8, 8).repeat(3, 1, 1) + 100 * torch.arange(3).view(3, 1, 1)
    kind = torch.arange(3)
    ink = items.inks(image, kind, 50, seed=0)
    assert ink.item[:, 3].sum((1, 2)).tolist() == [items.SETTING["spots"][right] for right in ink.right.tolist()]
    assert torch.equal(ink.item[torch.arange(50), ink.right], image[ink.kind])
    cell = items.cells(image, kind, 50, seed=0)
    whole = (cell.item[:, :, None] == image).all((-2, -1))  # (picture, cell, kind)
    assert torch.equal(whole.any(-1), torch.nn.functional.one_hot(cell.right, 9).bool())
    assert torch.equal(whole[torch.arange(50), cell.right].float().argmax(-1), cell.kind)
    greys = cell.item.flatten(2).sort().values
    assert_close(greys - greys[..., :1], torch.arange(64.0).expand(50, 9, 64))  # nothing is lost by moving quarters


@pytest.mark.parametrize("name", ["channels", "items"])
def test_the_scripts_on_items_repeat_themselves(name, request, monkeypatch, tmp_path, capsys):
    """A few steps, twice; and arms that were trained apart are not trained again."""
    made = request.getfixturevalue(name)
    few = {"rates": [0.01], "steps": 2, "shuffles": 3} if name == "channels" else {
        "rates": [0.01], "steps": 2, "pictures": 70, "choose by": 5, "tested": 7}  # fmt: skip
    monkeypatch.setattr(made, "SETTING", {**made.SETTING, **few, "seeds": 2})
    made.data.cache_clear()
    results = []
    for again in ("one", "two"):
        monkeypatch.setattr(made, "RESULTS", tmp_path / again)
        if name == "channels":
            monkeypatch.setattr(made, "RUNS", tmp_path / f"runs {again}")
            made.main(list(made.ARMS))
            with monkeypatch.context() as nothing:
                nothing.delattr(made, "train")
                made.main([])
        else:
            made.main()
        results.append(json.loads((tmp_path / again / "metrics.json").read_text()))
    for found in results:
        for runs in [found["arms"]] if name == "channels" else found["runs"].values():
            for run in runs.values():
                run.pop("seconds")
    assert results[0] == results[1]
    assert "rate 0.01" in capsys.readouterr().out


# --- how far a symbol is recalled, and where attention lies -----------------------------------------------------------


@pytest.fixture
def far():
    return script("self_attention")


def test_recall_and_attention_are_as_was_written_down(far):
    """The checkpoint, read again: two seeds of each arm, on the sequences that it was tested with."""
    metrics, kept = written(far, "self_attention")
    for task, arms in far.TASKS.items():
        assert list(metrics["runs"][task]) == list(arms)
        for arm in arms:
            runs = metrics["runs"][task][arm]
            assert list(runs) == [str(length) for length in far.lengths(task, arm)]
            for found in runs.values():
                check_the_choice(far, found)
    read = {name.rpartition(", ")[0] for name in kept}
    assert len(read) == len(far.TASKS["far"]) + len(far.READERS)
    for prefix in read:
        task, arm, length = (
            prefix.split(", ", 1)[0],
            prefix.split(", ", 1)[1].rpartition(", ")[0],
            prefix.split(", ")[-1],
        )
        state = {name.rpartition(", ")[2]: value for name, value in kept.items() if name.startswith(f"{prefix}, ")}
        found = far.examine(task, arm, state, far.held(task, int(length), "tested"))
        for name, values in found.items():
            wanted = metrics["runs"][task][arm][length]["test"][name][:2]
            assert_close(torch.tensor(values), torch.tensor(wanted), atol=1e-2, rtol=0)


def test_sequences_hold_what_is_asked_for(far):
    g = torch.Generator().manual_seed(0)
    marked, one, some = (draw((3, 40), 7, g) for draw in (far.far, far.asked, far.counted))
    assert marked.x.shape == (3, 40, 8, 10)
    assert torch.equal(marked.x[..., 0, :8].argmax(-1), marked.wanted)
    assert (marked.x[..., 8].sum(-1) == 1).all()
    assert torch.equal(marked.x[..., 0, 8], marked.x[..., -1, 9])
    for found, wanted in ((one, torch.ones(3, 40)), (some, some.wanted)):
        kinds = found.x[..., 8:].argmax(-1)
        assert torch.equal((kinds == found.kind.unsqueeze(-1)).sum(-1), wanted.long())
    right = one.x[..., :8].argmax(-1).gather(-1, one.place.unsqueeze(-1)).squeeze(-1)
    assert torch.equal(right, one.wanted)
    assert some.wanted.unique().tolist() == [*range(8)]


def test_units_side_by_side_are_the_library_s(far):
    from attnlib.recurrent.gated_unit import GatedUnit

    p = {name: value.detach() for name, value in far.start("far", "recurrent").items()}
    x = torch.randn(5, 2, 6, 10, generator=torch.Generator().manual_seed(0))
    found = far.states(p, x)
    for seed in range(5):
        unit = GatedUnit(10, 29)
        names = {
            "input.weight": "read",
            "input.bias": "read bias",
            "gates_recurrent": "gates",
            "recurrent": "recurrent",
        }
        unit.load_state_dict({name: p[own][seed] for name, own in names.items()})
        assert_close(found[seed], unit.run(x[seed], torch.ones(2, 6, dtype=torch.bool)))


def test_what_is_read_is_a_row_of_self_attention(far):
    from attnlib.input_representations.self_attention import self_attention

    p = {name: value.detach() for name, value in far.start("far", "attention").items()}
    data = far.far((5, 3), 6, torch.Generator().manual_seed(0))
    weights = far.attention(p, data)[1]
    for seed in range(5):
        given = {name: p[name][seed] for name in ("query_weight", "key_weight", "value_weight")}
        whole = self_attention(data.x[seed] @ p["embed"][seed].mT, **given)
        assert_close(weights[seed], whole.weights[:, -1])


def test_the_script_on_recall_repeats_itself(far, monkeypatch, tmp_path, capsys):
    """A few steps, twice; and arms that were trained apart are not trained again."""
    few = {
        "lengths": {key: [2, 3] for key in far.TASKS["far"]},
        "sentence": 4,
        "rates": [0.01],
        "choose by": 5,
        "tested": 7,
    }
    steps = {"steps": {"far": 2, "asked": 2, "counted": 2}, "longer": 3}
    monkeypatch.setattr(far, "SETTING", {**far.SETTING, **few, **steps})
    results = []
    for again in ("one", "two"):
        monkeypatch.setattr(far, "RESULTS", tmp_path / again)
        monkeypatch.setattr(far, "RUNS", tmp_path / f"runs {again}")
        far.main(["asked"])
        assert not (tmp_path / again).exists()
        far.main([])
        with monkeypatch.context() as nothing:
            nothing.delattr(far, "train")
            far.main([])
        results.append(json.loads((tmp_path / again / "metrics.json").read_text()))
    for found in results:
        for run in (run for arms in found["runs"].values() for runs in arms.values() for run in runs.values()):
            run.pop("seconds")
    assert results[0] == results[1]
    assert "far, recurrent, longer, 2: " in capsys.readouterr().out


# --- arms that are trained with several seeds, each at its best rate --------------------------------------------------


def check_the_arms(made, name):
    """The results are of today's code and setting, and an arm has the best rate of its search, with all seeds."""
    metrics = json.loads((made.RESULTS / "metrics.json").read_text("utf-8"))
    check_the_code(metrics, name)
    assert metrics["setting"] == made.SETTING
    assert list(metrics["runs"]) == list(made.ARMS)
    for found in metrics["runs"].values():
        assert list(found["search"]) == [str(rate) for rate in made.SETTING["rates"]]
        assert str(found["rate"]) == min(found["search"], key=found["search"].__getitem__)
        assert len(found["test"]) == len(found["losses"]) == made.SETTING["seeds"]
        assert {len(losses) for losses in found["losses"]} == {made.SETTING["epochs"]}
    return metrics


# --- spatial transformers ---------------------------------------------------------------------------------------------


@pytest.fixture
def poses():
    return script("spatial_transformer")


def test_poses_are_of_this_script(poses):
    check_the_arms(poses, "spatial_transformer")


def test_rivals_are_of_this_script_and_trained_alike(poses):
    """A rival is as large as what it is held against, and the code that trained both is the same."""
    made = script("spatial_transformer_rivals")
    metrics = check_the_arms(made, "spatial_transformer_rivals")
    assert metrics["trained by"] == json.loads((poses.RESULTS / "metrics.json").read_text("utf-8"))["script"]
    sizes = {arm: made.size(made.made(arm, made.SETTING)) for arm in made.ARMS}
    assert sizes == {arm: found["parameters"] for arm, found in metrics["runs"].items()}
    assert abs(sizes["convolution"] - made.size(poses.Reader("answer", poses.SETTING))) < 800  # a unit has 795


def test_the_transformer_finds_poses_as_was_written_down(poses):
    """The checkpoint, read again on the first tenth of the scenes that it was tested with."""
    metrics = json.loads((poses.RESULTS / "metrics.json").read_text("utf-8"))
    setting = {**poses.SETTING, "train": 0, "choose by": 0, "tested": 200}
    state = torch.load(poses.RESULTS / "model.pt", weights_only=True)
    assert {value.dtype for value in state.values()} == {torch.float16}
    model = poses.Reader("answer", setting)
    model.load_state_dict({name: value.float() for name, value in state.items()})
    few, written = poses.data(setting)["tested"], metrics["runs"]["answer"]["test"][0]
    found = poses.judge(model, few, few, setting["side"])
    for name, within in (("error", 0.03), ("pixels, as it is", 0.3), ("degrees, as it is", 1.5)):
        assert found[name] == pytest.approx(written[name], abs=within)
    assert found["pixels, but for a constant"] < found["pixels, mean pose"] / 2


def test_a_constant_is_found_and_taken_away(poses):
    """Grids that are the pose but for one map have no error left, and another map for each scene leaves some."""
    generator = torch.Generator().manual_seed(0)
    pose = torch.eye(3) + torch.cat([torch.randn(7, 2, 3, generator=generator) / 5, torch.zeros(7, 1, 3)], 1)
    shift = torch.tensor([[0.6, -0.2, 0.1], [0.3, 0.9, -0.4], [0.0, 0.0, 1.0]])
    found = pose @ torch.linalg.inv(shift)
    assert_close(poses.constant(found, pose), shift, atol=1e-4, rtol=0)
    right = poses.errors(found @ shift, pose, 42)
    assert max(right.values()) < 1e-2 < 1 < poses.errors(found.roll(1, 0) @ shift, pose, 42)["pixels"]
    turned = pose @ torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    assert poses.errors(turned, pose, 42)["degrees"] == pytest.approx(90, abs=5)


# --- glimpses ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def glimpses():
    return script("glimpses")


def test_glimpses_are_of_these_scripts(glimpses):
    metrics = check_the_arms(glimpses, "glimpses")
    assert metrics["costs"] == glimpses.costs(glimpses.SETTING)
    for arm, found in metrics["runs"].items():
        assert found["parameters"] == glimpses.parameters(glimpses.ARMS[arm](glimpses.SETTING))
    led = json.loads((glimpses.RESULTS.with_name("glimpses_led") / "metrics.json").read_text("utf-8"))
    check_the_code(led, "glimpses_led")
    assert led["setting"] == glimpses.SETTING
    assert len(led["runs"]) == glimpses.SETTING["seeds"]


def test_glimpses_find_digits_as_was_written_down(glimpses, monkeypatch, tmp_path):
    """The checkpoint, read again on the first tenth of the scenes that it was tested with; places are drawn anew."""
    monkeypatch.setattr(glimpses, "RUNS", tmp_path)
    setting = {**glimpses.SETTING, "train": 0, "choose by": 0, "tested": 200}
    state = torch.load(glimpses.RESULTS / "model.pt", weights_only=True)
    model = glimpses.ARMS["glimpses"](setting)
    model.load_state_dict({name: value.float() for name, value in state.items()})
    torch.manual_seed(0)
    found = glimpses.judge(model, glimpses.data(setting)["tested"], setting)
    written = json.loads((glimpses.RESULTS / "metrics.json").read_text("utf-8"))["runs"]["glimpses"]["test"][0]
    for name in ("error", "error after 2", "in the box at 3"):
        assert found[name] == pytest.approx(written[name], abs=0.09)
    assert found["error"] < found["error after 1"] - 0.4


# --- co-attention -----------------------------------------------------------------------------------------------------


@pytest.fixture
def questions():
    return script("coattention")


def test_answers_are_of_this_script(questions):
    """Each arm has the best rate of its search, with all seeds, and as many parameters as its rivals."""
    metrics = json.loads((questions.RESULTS / "metrics.json").read_text("utf-8"))
    check_the_code(metrics, "coattention")
    assert metrics["setting"] == questions.SETTING
    assert list(metrics["runs"]) == list(questions.ARMS)
    for found in metrics["runs"].values():
        assert list(found["search"]) == [str(rate) for rate in questions.SETTING["rates"]]
        assert found["rate"] == questions.best(found["search"])
        assert {len(values) for values in found["test"].values()} == {questions.SETTING["seeds"]}
    sizes = [found["parameters"] for arm, found in metrics["runs"].items() if arm != "neither"]
    assert max(sizes) < 1.01 * min(sizes)


def test_questions_are_answered_as_was_written_down(questions):
    """The checkpoint, read again on the first of the questions that it was tested with."""
    setting = questions.SETTING
    stored = torch.load(questions.RESULTS / "model.pt", weights_only=True)
    seen = torch.nn.Conv2d(3, setting["d"], 8, stride=8)
    seen.load_state_dict({name: stored[f"seen {name}"].float() for name in ("weight", "bias")})
    made = questions.visual_questions.make(count=200, side=setting["side"], kinds=setting["kinds"], seed=2)
    on = questions.tensors(made, seen.requires_grad_(False))
    metrics = json.loads((questions.RESULTS / "metrics.json").read_text("utf-8"))
    for arm in questions.KEPT:
        state = {name: stored[f"{arm} {name}"].float() for name in questions.network(arm).state_dict()}
        found = questions.examine(arm, state, on)
        for name in ("right", "regions", "phrases"):
            written = torch.tensor(metrics["runs"][arm]["test"][name]).double()
            assert_close(found[name], written, atol=0.09, rtol=0)


def test_the_script_on_questions_repeats_itself(questions, monkeypatch, tmp_path, capsys):
    """A few steps, twice; and arms that were trained apart are not trained again."""
    few = {
        "seeds": 2,
        "rates": [0.01],
        "steps": 2,
        "questions": 40,
        "choose by": 6,
        "tested": 9,
        "named": 30,
        "naming": 2,
    }
    monkeypatch.setattr(questions, "SETTING", {**questions.SETTING, **few})
    results = []
    for again in ("one", "two"):
        questions.data.cache_clear()
        questions.names.cache_clear()
        monkeypatch.setattr(questions, "RESULTS", tmp_path / again)
        monkeypatch.setattr(questions, "RUNS", tmp_path / f"runs {again}")
        questions.main(["parallel"])
        questions.main([])
        with monkeypatch.context() as nothing:
            nothing.delattr(questions, "train")
            questions.main([])
        results.append(json.loads((tmp_path / again / "metrics.json").read_text()))
        for run in results[-1]["runs"].values():
            run.pop("seconds")
    assert results[0] == results[1]
    assert "parallel, 0.01: " in capsys.readouterr().out
