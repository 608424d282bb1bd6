"""Networks on easy-VQA: do script and result still belong together, and does each part do what is said?"""

import json
import random

import pytest
import torch
from test_experiments import check_the_code, script
from torch.testing import assert_close

from attnlib.data.easy_vqa import Asked

FEW = {"seeds": 2, "rates": [0.01], "steps": 2, "batch": 3, "d": 6, "as large": 33, "choose by": 5, "naming": 2}
COLOURS = {"red": (1.0, 0.0, 0.0), "blue": (0.0, 0.0, 1.0)}


@pytest.fixture
def easy():
    return script("easy_vqa")


@pytest.fixture
def small(easy, monkeypatch, tmp_path):
    """The script with tiny sizes, on a square of one colour a picture, in a place that its number tells."""

    def load(part):
        chance, made = random.Random(part), []
        for picture in range(20 if part == "train" else 7):
            colour = colour_of(picture)
            made += [
                Asked(("what", "color", "is", "the", "shape"), colour, picture),
                Asked(("what", "shape", "is", "present"), "rectangle", picture),
                Asked(("is", "there", "not", "a", "red", "shape"), "no" if colour == "red" else "yes", picture),
            ]
            chance.shuffle(made)
        return made

    def colour_of(picture):
        return "red" if picture % 3 else "blue"

    def pictures(numbers, part, size=64):
        made = torch.full((len(numbers), 3, size, size), 0.9)
        for image, number in zip(made, numbers, strict=True):
            top, left = divmod(number % 16, 4)
            square = torch.tensor(COLOURS[colour_of(number)]).view(3, 1, 1)
            image[:, 16 * top + 2 : 16 * top + 9, 16 * left + 2 : 16 * left + 9] = square
        return made

    monkeypatch.setattr(easy.easy_vqa, "load", load)
    monkeypatch.setattr(easy.easy_vqa, "pictures", pictures)
    monkeypatch.setattr(
        easy.easy_vqa, "answers", lambda: ["circle", "red", "yes", "rectangle", "triangle", "blue", "no"]
    )
    monkeypatch.setattr(easy, "SETTING", {**easy.SETTING, **FEW})
    monkeypatch.setattr(easy, "RUNS", tmp_path / "runs")
    return easy


def forget(module):
    for made in (module.asked, module.words, module.answers, module.pictures, module.seer, module.data):
        made.cache_clear()


def test_results_are_of_this_script_and_of_the_loop_that_it_borrows(easy):
    metrics = json.loads((easy.RESULTS / "metrics.json").read_text("utf-8"))
    check_the_code(metrics, "easy_vqa")
    scenes = json.loads((easy.coattention.RESULTS / "metrics.json").read_text("utf-8"))
    assert metrics["trained by"] == scenes["script"]
    assert metrics["setting"] == easy.SETTING
    assert list(metrics["runs"]) == list(easy.ARMS)
    for found in metrics["runs"].values():
        assert list(found["search"]) == [str(rate) for rate in easy.SETTING["rates"]]
        assert found["rate"] == easy.coattention.best(found["search"])
        assert {len(values) for values in found["test"].values()} == {easy.SETTING["seeds"]}
    sizes = {arm: found["parameters"] for arm, found in metrics["runs"].items()}
    for rivals in (
        ("parallel", "alternating", "image alone", "question alone"),
        ("one level, as large", "three levels"),
    ):
        assert max(sizes[arm] for arm in rivals) < 1.01 * min(sizes[arm] for arm in rivals)


@pytest.mark.data
@pytest.mark.nightly
def test_questions_are_answered_as_was_written_down(easy, real, monkeypatch):
    """The checkpoints of the first seed, on all that they were tested with."""
    real(easy.easy_vqa.PACKAGE)
    metrics = json.loads((easy.RESULTS / "metrics.json").read_text("utf-8"))
    assert {part: len(given) for part, given in easy.asked().items()} == metrics["questions"]
    stored = torch.load(easy.RESULTS / "model.pt", weights_only=True)
    seen = easy.Seer(easy.SETTING["d"]).requires_grad_(False)
    seen.load_state_dict({name: stored[f"seen {name}"].float() for name in seen.state_dict()})
    monkeypatch.setattr(easy, "seer", lambda: (seen, {}))
    for arm in easy.KEPT:
        state = {name: stored[f"{arm} {name}"].float()[None] for name in easy.network(arm).state_dict()}
        found = easy.examine(arm, state, easy.tensors("tested"))
        for name, values in metrics["runs"][arm]["test"].items():
            assert found[name].item() == pytest.approx(values[0], abs=5e-3)
    monkeypatch.setattr(easy, "data", lambda: {"tested": easy.tensors("tested")})
    assert easy.floors() == metrics["floors"]


def test_the_script_on_pictures_repeats_itself(small, monkeypatch, tmp_path):
    """A few steps, twice; and arms that were trained apart are not trained again."""
    results = []
    for again in ("one", "two"):
        forget(small)
        monkeypatch.setattr(small, "RESULTS", tmp_path / again)
        monkeypatch.setattr(small, "RUNS", tmp_path / f"runs {again}")
        small.main(["three levels"])
        assert not (tmp_path / again).exists()
        small.main([])
        with monkeypatch.context() as nothing:
            nothing.delattr(small.coattention, "train")
            small.main([])
        results.append(json.loads((tmp_path / again / "metrics.json").read_text()))
        results[-1]["naming"].pop("seconds")
        for run in results[-1]["runs"].values():
            run.pop("seconds")
    assert results[0] == results[1]
    assert results[0]["questions"] == {"questions": 45, "choose by": 15, "tested": 21}


def test_no_picture_is_in_two_parts_and_marks_are_where_the_shape_is(small):
    forget(small)
    train, choose, _ = ({each.picture for each in part} for part in small.asked().values())
    assert (train, choose) == (set(range(15)), set(range(15, 20)))
    on = small.data()["choose by"]
    for each, right, kind, answer in zip(small.asked()["choose by"], on.right, on.kind, on.answer, strict=True):
        assert right.nonzero().flatten().tolist() == [each.picture % 16]
        assert small.answers()[answer] == each.answer
        assert small.KINDS[kind] == {"rectangle": "shape", "yes": "yes or no", "no": "yes or no"}.get(
            each.answer, "colour"
        )
    assert on.mask.sum(-1).tolist() == [len(each.words) for each in small.asked()["choose by"]]
    assert small.floors()["regions, even"] == 1 / 16
    assert (small.named("choose by") == torch.tensor([[1, 1], [1, 0], [1, 0], [1, 1], [1, 0]])).all()


def test_names_that_no_question_tells_are_not_learned(small, monkeypatch):
    forget(small)
    some = [each for each in small.asked()["questions"] if each.answer != "blue"]
    monkeypatch.setattr(small, "asked", lambda: {"questions": some})
    small.pictures.cache_clear()
    assert set(small.named("questions")[:, 1].tolist()) == {-1, 0}
    assert small.taught().keys() == small.Named().state_dict().keys()


@pytest.mark.parametrize("arm", ["three levels", "alternating"])
def test_seeds_side_by_side_are_the_module(small, arm):
    """Each seed with its own batch, and all with the same; and a seed learns from its own batch alone."""
    forget(small)
    made = []
    for seed in range(3):
        torch.manual_seed(seed)
        made.append(small.network(arm))
    state = torch.func.stack_module_state(made)[0]
    region, word = torch.randn(3, 5, 16, 6), torch.randint(len(small.words()), (3, 5, 7))
    mask = torch.arange(7) < torch.tensor([7, 1, 4, 3, 6])[:, None].expand(3, 5, 1)
    scores, image, words = small.coattention.run(small.network(arm), state, region, word, mask)
    same = small.coattention.run(small.network(arm), state, region[0], word[0], mask[0])
    for seed, model in enumerate(made):
        reading = model(region[seed], word[seed], None, mask[seed])
        assert_close(scores[seed], reading.scores)
        assert_close(image[seed], reading.levels[-1].image.weights[:, 0])
        assert_close(words[seed], reading.levels[-1].question.weights[:, 0])
        assert_close(same[0][seed], model(region[0], word[0], None, mask[0]).scores)
    scores[1].sum().backward()
    for value in state.values():
        assert not value.grad[0].any()
        assert not value.grad[2].any()
    assert any(value.grad[1].any() for value in state.values())
