"""The notebook check: stored outputs come out again, and claims do so even where no other output is compared."""

import copy
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from attnlib.book import claims
from book._tools import environment, normal, verdicts

ROOT = Path(__file__).parents[2]


def claim(verdict="supported", *answers, name="demo-one", number="1.0"):
    tests = [[f"a = {number} > {edge}", answer] for edge, answer in enumerate(answers or ("holds",))]
    payload = {"id": name, "verdict": verdict, "tests": tests, "value": [["a", float(number)]]}
    return new_output("display_data", data={verdicts.CLAIM: payload, "text/plain": number})


STORED = [claim(), new_output("stream", name="stdout", text="1.0"), claim("mixed", "holds", "open", name="demo-two")]


def test_it_looks_for_what_claims_store():
    assert verdicts.CLAIM == claims.MIME


def test_other_digits_are_no_difference():
    other = claim("mixed", "holds", "open", name="demo-two", number="1.25")
    assert verdicts.differences(STORED, [other, claim(number="1.01")]) == []


@pytest.mark.parametrize(
    ("found", "lines"),
    [
        ([claim("refuted", "fails"), STORED[2]],
         ["claim demo-one: stored supported, found refuted",
          "claim demo-one: stored holds (a = 1.0 > 0), found fails (a = 1.0 > 0)"]),
        ([STORED[0], claim("mixed", "open", "holds", name="demo-two")],
         ["claim demo-two: stored holds (a = 1.0 > 0), found open (a = 1.0 > 0)",
          "claim demo-two: stored open (a = 1.0 > 1), found holds (a = 1.0 > 1)"]),
        ([STORED[0], claim("mixed", "holds", name="demo-two")],
         ["claim demo-two: stored open (a = 1.0 > 1), found nothing (no condition)"]),
        ([STORED[0]], ["claim demo-two: stored, but not recorded"]),
        ([*STORED, claim(name="demo-new")], ["claim demo-new: recorded, but not stored"]),
    ],
)  # fmt: skip
def test_each_difference_is_named(found, lines):
    assert verdicts.differences(STORED, found) == lines
    swapped = verdicts.differences(found, STORED)
    assert len(swapped) == len(lines)


# --- on a notebook ----------------------------------------------------------------------------------------------------

RECORD = """claims.record("demo-{name}", claim="c", source="s", experiment="e",
              runs={{"threads": int(os.environ["OMP_NUM_THREADS"]) + torch.randn(5) / 100}},
              holds=claims.{condition})"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """One thread is what is stored: a claim on it that comes out the same everywhere, one that does not, and digits."""
    path = tmp_path_factory.mktemp("book") / "page.ipynb"
    sources = [
        "import os\nimport torch\nfrom attnlib.book import claims",
        RECORD.format(name="sure", condition='above("threads", 0.5)'),
        RECORD.format(name="other", condition='below("threads", 1.5)'),
        'print(float(os.environ["OMP_NUM_THREADS"]))',
    ]
    book = new_notebook(cells=[new_code_cell(source) for source in sources])
    for cell in book.cells[1:3]:
        cell.metadata["tags"] = [normal.UNCOMPARED]
    nbformat.write(book, path)
    command = [sys.executable, ROOT / "book/_tools/notebooks.py", path]
    subprocess.run(command, capture_output=True, check=True, timeout=200)
    return path


def checked(command):
    """Run with the book's own conftest, though the notebook does not stand in the book."""
    variables = os.environ | {"PYTEST_ADDOPTS": "-p book.conftest", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, *command]
    return subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False, timeout=250)


@pytest.mark.slow
def test_another_verdict_fails_and_is_named_and_numbers_drawn_anew_do_not(page, tmp_path):
    book = nbformat.read(page, as_version=4)
    stored = copy.deepcopy(book.cells[2].outputs[0].data[claims.MIME])
    stored["verdict"], stored["tests"][0][1] = "refuted", "fails"
    book.cells[2].outputs[0].data[claims.MIME] = stored
    nbformat.write(book, tmp_path / "changed.ipynb")
    done = checked(["-m", "pytest", "-o", "addopts=", "-p", "no:randomly", "--nbval", page, tmp_path / "changed.ipynb"])
    assert done.returncode == 1
    assert "1 failed, 7 passed" in done.stdout
    assert "Claims differ from those stored" in done.stdout
    assert "claim demo-other: stored refuted, found supported" in done.stdout
    assert "claim demo-other: stored fails (threads = " in done.stdout
    assert "claim demo-sure" not in done.stdout


@pytest.mark.slow
def test_elsewhere_compares_claims_and_no_digits(page):
    """With two threads the printed number differs, one claim stands, and one does not."""
    done = checked(["book/_tools/elsewhere.py", "--jobs", "1", "--notebooks", page, "--", "default-2"])
    assert done.returncode == 1
    assert "elsewhere default-2: ATEN_CPU_CAPABILITY=default MKL_CBWR=COMPATIBLE" in done.stdout
    assert "1 failed, 3 passed" in done.stdout
    assert "claim demo-other: stored supported, found refuted" in done.stdout
    assert done.stdout.splitlines()[-1].split()[0::3] == ["default-2", "FAILED"]


@pytest.mark.nightly
def test_elsewhere_says_of_each_machine_how_it_went(page):
    done = checked(["book/_tools/elsewhere.py", "--jobs", "1", "--notebooks", page, "--", "avx2-1", "default-2"])
    assert done.returncode == 1
    assert "elsewhere avx2-1: ATEN_CPU_CAPABILITY=avx2 MKL_CBWR=COMPATIBLE" in done.stdout
    assert "4 passed" in done.stdout
    assert "1 failed, 3 passed" in done.stdout
    ends = [line.split()[0::3] for line in done.stdout.splitlines()[-2:]]
    assert ends == [["avx2-1", "as"], ["default-2", "FAILED"]]


def test_an_unknown_machine_is_refused():
    done = checked(["book/_tools/elsewhere.py", "avx512-1"])
    assert done.returncode == 2
    assert "VARIANT must be one of default-1, default-2, avx2-1, avx2-2, got avx512-1" in done.stderr


def test_the_variants_change_how_numbers_are_rounded_and_nothing_else():
    assert list(environment.VARIANTS) == ["default-1", "default-2", "avx2-1", "avx2-2"]
    for name in environment.VARIANTS:
        there, here = environment.kernel(name), environment.kernel()
        assert there.keys() == here.keys()
        assert (there["ATEN_CPU_CAPABILITY"], there["OMP_NUM_THREADS"]) == tuple(name.split("-"))
        assert there["MKL_CBWR"] == "COMPATIBLE"
        assert there["TQDM_DISABLE"] == here["TQDM_DISABLE"] == "1"
    assert environment.kernel() == environment.KERNEL
