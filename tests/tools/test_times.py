"""What tests and notebooks take: measured with what they start, sorted by chapter, and held to the budget."""

import json
import subprocess
import sys
import time
from collections import Counter

import pytest

from book._tools import times

CHAPTERS = ["book/deep-learning/scores", "book/taxonomy/softness/soft-and-hard", "book/taxonomy/softness/local"]
BURN = "import time\nwhile time.process_time() < {}: pass"


def test_seconds_of_children_count_while_they_run_and_after():
    child = subprocess.Popen([sys.executable, "-c", BURN.format(0.5) + "\nprint(flush=True)\ninput()"],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip
    before, whole = times.spent(), times.spent(tree=True)  # after Popen, which collects children of others that ended
    child.stdout.readline()
    assert times.spent() - before < 0.4
    assert times.spent(tree=True) - whole > 0.4
    child.communicate(b"\n")
    assert times.spent() - before > 0.4


def test_waiting_costs_nothing():
    before = times.spent()
    time.sleep(0.3)
    assert times.spent() - before < 0.2


def test_a_run_is_written_down_with_each_of_its_tests(tmp_path, monkeypatch):
    (tmp_path / "conftest.py").write_text(
        "from book._tools.times import Clock\ndef pytest_configure(config): config.pluginmanager.register(Clock())\n"
    )
    (tmp_path / "test_it.py").write_text(
        "import subprocess, sys, pytest\n"
        "@pytest.fixture\ndef slow():\n"
        f"    subprocess.run([sys.executable, '-c', {BURN.format(0.5)!r}])\n"
        "def test_first(slow): pass\n"
        "def test_one(slow): pass\n"
        "def test_two(): assert False\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(times.toc.ROOT))
    command = [sys.executable, "-m", "pytest", "-q", "-n", "1", "-p", "no:randomly", "-c", "/dev/null", str(tmp_path)]
    assert times.run("unit", command, tmp_path / "times") == 1
    groups, tests = times.read(tmp_path / "times")
    assert groups["unit"]["status"] == 1
    seconds = {name.partition("::")[2]: cpu for name, cpu in tests.items()}
    assert seconds.keys() == {"test_first", "test_one", "test_two"}
    assert seconds["test_first"] < 0.4  # what the first one sets up is for all
    assert 0.5 <= seconds["test_one"] <= groups["unit"]["cpu"]
    assert seconds["test_two"] < 0.4


def test_each_second_is_sorted_to_what_it_belongs_to():
    found = times.sorted_out(
        Counter(
            {
                "notebooks book/deep-learning/scores.ipynb::Cell 0": 1,
                "notebooks book/deep-learning/scores.ipynb::Cell 1": 2,
                "browser tests/test_site.py::test_a_page[book/deep-learning/scores.html]": 4,
                "browser tests/widgets/softness/test_local_window.py::test_x": 8,
                "unit tests/softness/test_hard.py::test_x[a]": 16,
                "unit tests/widgets/softness/test_local_window.py::test_x": 32,
                "unit tests/scores/test_scores.py::test_x": 64,
                "unit tests/test_attention.py::test_x": 128,
                "unit tests/test_properties.py::test_x": 256,
                "unit attnlib/softness/hard.py::attnlib.softness.hard.hard": 512,
            }
        ),
        CHAPTERS,
    )
    assert found["notebook"] == {CHAPTERS[0]: 3}
    assert found["page"] == {CHAPTERS[0]: 4}
    assert found["tests"] == {"softness": 16 + 32 + 512, "deep-learning": 64 + 128}
    assert found["rest"] == {
        "unit tests/test_properties.py": 256,
        "browser tests/widgets/softness/test_local_window.py": 8,
    }


def verdicts(seconds):
    """What is said of the page of the first chapter, after so many seconds."""
    found = {kind: Counter() for kind in ("notebook", "page", "tests")}
    for kind, name, _ in times.budgets(CHAPTERS):
        found[kind][name] = 1.0
    found["page"][CHAPTERS[0]] = seconds
    lines = list(times.judged(found, CHAPTERS))
    assert sum("FAILED" in line for line in lines if CHAPTERS[0] not in line) == 0
    return next(line for line in lines if f"page      {CHAPTERS[0]}" in line).partition(CHAPTERS[0])[2].strip()


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(9, ""), (11, "over"), (19, "over"), (21, "FAILED: more than 2 x 10"), (0, "FAILED: not measured")],
)
def test_what_is_said_of_so_many_seconds(seconds, said):
    assert verdicts(seconds) == said


def test_two_chapters_of_a_part_may_test_for_twice_as_long():
    assert ("tests", "softness", 30) in list(times.budgets(CHAPTERS))


def test_the_table_ends_in_failure_when_something_was_not_measured(tmp_path, capsys):
    (tmp_path / "unit.jsonl").write_text(json.dumps({"group": "unit", "wall": 3.0, "cpu": 5.0, "status": 0}) + "\n")
    lost = {"group": "browser", "wall": 3.0, "cpu": 5.0, "status": 0}, {"test": "tests/test_x.py::test_x", "cpu": 7.0}
    (tmp_path / "browser.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lost))
    assert times.report(tmp_path) == 1
    told = capsys.readouterr().out
    assert "     3      5   unit" in told
    assert "     3      7   browser" in told
    assert "FAILED: not measured" in told
