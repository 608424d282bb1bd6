"""Projections that are shared: do script and result belong together, and are tasks and models what they are called?"""

import json
import math

import pytest
import torch
from test_experiments import check_the_code, script
from torch.testing import assert_close


@pytest.fixture(scope="module")
def sharing():
    return script("sharing")


@pytest.fixture(scope="module")
def metrics(sharing):
    return json.loads((sharing.RESULTS / "metrics.json").read_text("utf-8"))


def test_results_are_of_this_script_and_complete(sharing, metrics):
    check_the_code(metrics, "sharing")
    assert metrics["setting"] == sharing.SETTING
    assert list(metrics["runs"]) == [arm.name for arm in sharing.ARMS]
    for arm in sharing.ARMS:
        found = metrics["runs"][arm.name]
        assert len(found["right"]) == sharing.SETTING["seeds"]
        assert all(0 <= share <= 1 for share in found["right"])
        assert found["parameters"] == sum(part[0].numel() for part in sharing.start(arm.model, arm.width).values())
    for task, floor in metrics["guessing"].items():
        assert floor == pytest.approx(sharing.guessing(task).tolist(), abs=1e-5)


def test_models_that_are_compared_have_one_size(metrics):
    sizes = {name: run["parameters"] for name, run in metrics["runs"].items()}
    assert sizes["bound label, all separate, 4, 200"] == sizes["bound label, key = value, 6, 200"] == 888
    assert sizes["bound label, all separate, 16, 200"] == sizes["bound label, key = value, 24, 200"] == 3552


@pytest.mark.parametrize("task", ["bound label", "next digit", "same digit"])
def test_tasks_are_what_they_are_called(sharing, task):
    images, pools = sharing.digits()
    kind = {int(i): digit for pool in pools.values() for digit, rows in enumerate(pool) for i in rows}
    seen = sharing.drawn(task, 50, "test", 0)
    assert not set(seen.question.flatten().tolist()) & set(seen.stored.flatten().tolist())
    assert min(kind) < 1000 <= seen.stored.min() <= seen.stored.max() < len(images)
    for seed in range(sharing.SETTING["seeds"]):
        for question, stored, labels, answer in zip(*(part[seed].tolist() for part in seen), strict=True):
            digits = [kind[i] for i in stored]
            assert len(set(digits)) == 5
            assert digits[0] == (kind[question] + (task == "next digit")) % 10
            assert answer == (digits[0] if task == "same digit" else labels[0])


def answered(p, seed, question, slots):
    """One question by plain loops: the four matrices, a softmax over the slots, the read-out."""

    def product(vector, matrix):
        return [sum(x * row[j] for x, row in zip(vector, matrix, strict=True)) for j in range(len(matrix[0]))]

    mine = {name: part[seed].tolist() for name, part in p.items()}
    query = product(question, mine.get("query", mine["key"][:64]))
    keys = [product(slot, mine["key"]) for slot in slots]
    values = [product(slot, mine["value"]) for slot in slots] if "value" in mine else keys
    shares = [math.exp(sum(a * b for a, b in zip(query, key, strict=True)) / math.sqrt(len(query))) for key in keys]
    width = range(len(values[0]))
    context = [sum(s * v[j] for s, v in zip(shares, values, strict=True)) / sum(shares) for j in width]
    return product(context, mine["out"])


@pytest.mark.parametrize("model", ["all separate", "key = value", "query = key", "one vector"])
@pytest.mark.parametrize("task", ["bound label", "same digit"])
def test_the_models_are_the_equations(sharing, task, model):
    p, seen, images = sharing.start(model, 3), sharing.drawn(task, 4, "train", 5), sharing.digits()[0]
    assert len(p) == 4 - ("key = value" in model) - ("query = key" in model) - 2 * (model == "one vector")
    found = sharing.answer(p, task, seen)
    for seed, episode in ((0, 0), (3, 2)):
        stored, labels = (part[seed, episode].tolist() for part in (seen.stored, seen.labels))
        names = [[math.sqrt(10) * (task != "same digit") * (i == label) for i in range(10)] for label in labels]
        slots = [images[i].tolist() + name for i, name in zip(stored, names, strict=True)]
        wanted = answered(p, seed, images[seen.question[seed, episode]].tolist(), slots)
        assert_close(found[seed, episode].detach(), torch.tensor(wanted), rtol=1e-4, atol=1e-4)


def test_models_train_on_one_set_of_episodes_and_repeat_themselves(sharing):
    arm = sharing.Arm("next digit", "query = key", 4, 2)
    first, second = (sharing.train(arm) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert all(not torch.equal(first[name], part) for name, part in sharing.start("query = key", 4).items())
    assert not torch.equal(first["out"][0], first["out"][1])
    one, other = (sharing.drawn("next digit", n, "train", 0) for n in (64, 128))
    assert one is sharing.drawn("next digit", 64, "train", 0)
    assert not torch.equal(other.question[0], other.question[1])


def test_one_training_does_what_was_written_down(sharing, metrics):
    arm = sharing.Arm("bound label", "query = key", 4)
    found, written = sharing.run(arm), metrics["runs"][arm.name]
    assert found["right"] == pytest.approx(written["right"], abs=0.03)


def test_smoke_writes_nothing(monkeypatch, tmp_path, capsys):
    sharing = script("sharing")  # its own, as fewer questions are asked
    monkeypatch.setattr(sharing, "RESULTS", tmp_path / "none")
    monkeypatch.setattr("sys.argv", ["sharing.py", "--smoke"])
    threads = torch.get_num_threads()
    sharing.main()
    torch.set_num_threads(threads)
    assert "same digit, one vector, 11, 200" in capsys.readouterr().out
    assert not (tmp_path / "none").exists()
