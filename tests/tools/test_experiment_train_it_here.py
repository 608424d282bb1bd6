"""What is broken while a network learns: do script and result belong together, and is a course that of the widget?"""

import json

import pytest
from test_experiments import check_the_code, script

from attnlib.widgets import TrainItHere
from attnlib.widgets.learner import BROKEN
from attnlib.widgets.train_it_here import PRESETS


@pytest.fixture(scope="module")
def courses():
    return script("train_it_here")


def test_results_are_of_this_script_and_complete(courses):
    metrics = json.loads((courses.RESULTS / "metrics.json").read_text("utf-8"))
    check_the_code(metrics, "train_it_here")
    assert metrics["setting"] == courses.SETTING
    assert list(metrics["courses"]) == list(courses.COURSES)
    for name, course in courses.COURSES.items():
        found = metrics["courses"][name]
        assert (found["until"], found["broken"]) == (list(course.broken), list(course.broken.values()))
        assert set(found["broken"]) <= set(BROKEN)
        assert len(found["right"]) == len(course.broken)
        assert course.seed in {preset["state"]["seed"] for preset in PRESETS}
    shortest = courses.COURSES["the mask, early"]
    assert courses.rights(shortest) == pytest.approx(metrics["courses"]["the mask, early"]["right"], abs=0.01)


def test_a_course_is_one_of_the_widget(courses):
    course = courses.Course({30: "no scale", 60: "nothing"}, "scaled dot", seed=3)
    history = [{"until": 30, "broken": "no scale"}]
    shares = TrainItHere(seed=3, score="scaled dot", history=history, step=60).run().rights
    assert courses.rights(course) == pytest.approx([sum(shares[5:30]) / 25, sum(shares[35:60]) / 25], abs=1e-4)
