"""provenance: moving code leaves a digest as it is, and changing what the code does changes it."""

import itertools
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from book._tools import provenance

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "book/experiments/rnnsearch.py"

FILES = {
    "__init__.py": "from . import masks\nfrom .attention import attend\n__all__ = ['attend', 'masks']\n",
    "attention.py": '''
"""A module."""
from __future__ import annotations
from typing import TYPE_CHECKING
import torch
from torch.nn import functional as F
from . import masks
from .distributions import Softmax, softmax as _normal
if TYPE_CHECKING:
    from .unused import Other

SCALE = 2

def attend(query: torch.Tensor, key, *, scale=SCALE, fill=-1.0) -> torch.Tensor:
    """Attend."""
    energies = _energies(query, key)  # a comment
    hidden = [energies for energies in masks.causal(3) if energies]
    return _normal(energies, fill), hidden

def _energies(query, key):
    return F.relu(query @ key)

def unused():
    return Softmax
''',
    "distributions.py": '''
from ._base import Base, checked
from .names import softplus
TABLE = {"a": 1}
TABLE.update(b=2)
TABLE["c"] = 3
FIRST, SECOND = 1, 2

class Softmax(Base):
    """A class."""
    power = FIRST
    def __call__(self, x):
        return softmax(x) ** self.power

@checked
def softmax(x, fill=0.0, TABLE=TABLE):
    return x + TABLE["a"]
''',
    "_base.py": """
class Base:
    def shared(self):
        return _deep() + 1

def _deep():
    return 5

def checked(function):
    return function
""",
    "masks.py": """
__all__ = ["causal", "window"]
WIDTH = 3
def causal(n):
    return n
def window(n):
    return n + WIDTH
def _hidden(n):
    return n
""",
    "names.py": "def softplus(x):\n    return x\n",
    "unused.py": "class Other:\n    pass\n",
}
USES = "from attnlib import attend\nprint(attend(1, 2))\n"


def library(folder, changes):
    """A small attnlib, with some of its files written anew or, by None, removed."""
    for name, text in (FILES | changes).items():
        path = folder / "attnlib" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if text is not None:
            path.write_text(text)
    return folder


@pytest.fixture
def small(tmp_path):
    """Digest of some code over a changed library."""
    count = itertools.count()

    def digest(code=USES, changes=None):
        return provenance.digest(code, library(tmp_path / str(next(count)), changes or {}))

    return digest


def changed(name, old, new):
    assert FILES[name].count(old) == 1, (name, old)
    return {name: FILES[name].replace(old, new)}


SAME = {
    "a comment": changed("attention.py", "  # a comment", ""),
    "a docstring": changed("attention.py", '"""Attend."""', '"""Attends to keys."""'),
    "no docstring": changed("attention.py", '    """Attend."""\n', ""),
    "the docstring of a class": changed("distributions.py", '"""A class."""', '"""Another."""'),
    "the docstring of a module": changed("attention.py", '"""A module."""', ""),
    "an annotation": changed("attention.py", "query: torch.Tensor", "query: object"),
    "line breaks": changed("attention.py", "_normal(energies, fill), hidden", "(\n_normal(energies, fill), hidden)"),
    "an import nobody needs": changed("attention.py", "import torch\n", "import torch\nimport json\n"),
    "an import for type checkers": changed("attention.py", "from .unused import Other", "from .names import softplus"),
    "an import's name": changed("attention.py", "softmax as _normal", "softmax as _usual")
    | {"attention.py": FILES["attention.py"].replace("_normal", "_usual")},
    "an import within a function": {
        "attention.py": FILES["attention.py"]
        .replace("from torch.nn import functional as F\n", "")
        .replace("    return F.relu", "    from torch.nn import functional as F\n    return F.relu")
    },
    "a module's name for a function's": {
        "attention.py": FILES["attention.py"]
        .replace("Softmax, softmax as _normal", "Softmax")
        .replace("from . import masks", "from . import distributions, masks")
        .replace("_normal(", "distributions.softmax(")
    },
    "another import of an external name": {
        "attention.py": FILES["attention.py"].replace("F.relu", "torch.nn.functional.relu")
    },
    "what is not used": changed("attention.py", "return Softmax", "return 7"),
    "a constant that only the unused uses": changed("masks.py", "WIDTH = 3", "WIDTH = 4"),
    "a function moved to a module of its own": {
        "energies.py": "from torch.nn import functional as F\n"
        "def _energies(query, key):\n    return F.relu(query @ key)\n",
        "attention.py": re.sub(
            r"def _energies.*?\n\n", "", FILES["attention.py"], flags=re.DOTALL
        ).replace("from . import masks", "from . import masks\nfrom .energies import _energies"),
    },
    "a module moved into a folder": {
        "distributions.py": None,
        "softness/__init__.py": "",
        "softness/normal.py": FILES["distributions.py"].replace("from .", "from .."),
        "attention.py": FILES["attention.py"].replace("from .distributions", "from .softness.normal"),
    },
    "a module made a package that hands on": {
        "distributions.py": None,
        "distributions/__init__.py": "from .all import Softmax, softmax\n",
        "distributions/all.py": FILES["distributions.py"].replace("from .", "from .."),
    },
    "definitions in another order": {"_base.py": "\n".join(FILES["_base.py"].split("\n\n")[::-1])},
    "the version": {"__init__.py": FILES["__init__.py"] + "__version__ = '2'\n"},
}  # fmt: skip

OTHER = {
    "a constant": changed("attention.py", "SCALE = 2", "SCALE = 2.0"),
    "a default": changed("attention.py", "fill=-1.0", "fill=-2.0"),
    "a keyword made positional": changed("attention.py", "*, scale", "scale"),
    "a helper": changed("attention.py", "query @ key", "key @ query"),
    "a helper's external function": changed("attention.py", "F.relu", "F.gelu"),
    "another function under the same name": changed("attention.py", "functional as F", "init as F"),
    "another of ours under the same name": changed("attention.py", "softmax as _normal", "Softmax as _normal"),
    "a helper in another module": changed("distributions.py", 'return x + TABLE["a"]', 'return x - TABLE["a"]'),
    "a helper's default": changed("distributions.py", "fill=0.0", "fill=1.0"),
    "a table in its place": changed("distributions.py", 'TABLE = {"a": 1}', 'TABLE = {"a": 2}'),
    "a table later": changed("distributions.py", "TABLE.update(b=2)", "TABLE.update(b=3)"),
    "a part of a table": changed("distributions.py", 'TABLE["c"] = 3', 'TABLE["c"] = 4'),
    "a decorator": changed("distributions.py", "@checked\n", ""),
    "what a decorator does": changed("_base.py", "return function", "return print"),
    "a function of a named module": changed("masks.py", "causal(n):\n    return n", "causal(n):\n    return -n"),
    "what a module does on import": {"attention.py": FILES["attention.py"] + "print('hello')\n"},
}  # fmt: skip

OF_THE_CLASS = {
    "a parent class": changed("_base.py", "_deep() + 1", "_deep() + 2"),
    "the helper of a parent class": changed("_base.py", "return 5", "return 6"),
    "no parent class": changed("distributions.py", "Softmax(Base)", "Softmax"),
    "one of two constants made at once": changed("distributions.py", "FIRST, SECOND = 1, 2", "FIRST, SECOND = 3, 2"),
    "an attribute's annotation": changed("distributions.py", "power = FIRST", "power: int = FIRST"),
    "a method": changed("distributions.py", "** self.power", "* self.power"),
}


@pytest.mark.parametrize("change", SAME.values(), ids=SAME)
def test_what_changes_nothing_leaves_the_digest(small, change):
    assert small(changes=change) == small()


@pytest.mark.parametrize("change", OTHER.values(), ids=OTHER)
def test_what_changes_the_code_changes_the_digest(small, change):
    assert small(changes=change) != small()


@pytest.mark.parametrize("change", OF_THE_CLASS.values(), ids=OF_THE_CLASS)
def test_a_class_is_followed_to_its_parents(small, change):
    code = "from attnlib.distributions import Softmax\nSoftmax()"
    assert small(code, change) != small(code)
    assert small(changes=change) == small()  # attend does not use the class: the unused does


@pytest.mark.parametrize(
    "code",
    [
        "import attnlib\nprint(attnlib.attend(1, 2))",
        "import attnlib.attention\nprint(attnlib.attention.attend(1, 2))",
        "import attnlib.attention as a\nprint(a.attend(1, 2))",
        "from attnlib.attention import attend as look\n\n\n# as it is called here\nprint(look(1, 2))",
        "def main():\n    '''Says.'''\n    from attnlib import attend\n    print(attend(1, 2))\nmain()",
    ],
)
def test_the_way_of_importing_decides_nothing_for_the_library(tmp_path, code):
    root = library(tmp_path, {})
    names = set(provenance.pieces(USES, root))
    assert names == {"", "attend", "SCALE", "_energies", "causal", "softmax", "TABLE", "checked"}
    assert set(provenance.pieces(code, root)) == names
    if "main" not in code:
        assert provenance.digest(code, root) == provenance.digest(USES, root)


@pytest.mark.parametrize("code", ["print(getattr(masks, name))", "f(masks)", "masks.__dict__[name]"])
def test_a_module_handed_about_whole_counts_with_all_that_is_public(tmp_path, code):
    found = provenance.pieces(f"from attnlib import masks\n{code}", library(tmp_path, {}))
    assert set(found) == {"", "causal", "window", "WIDTH"}


def test_the_package_handed_about_whole_is_all_that_it_lists(tmp_path):
    found = set(provenance.pieces("import attnlib\nprint(attnlib)", library(tmp_path, {})))
    assert {"attend", "causal", "window"} < found
    assert not {"unused", "_hidden"} & found


@pytest.mark.parametrize(
    "code",
    [
        "def f(attend):\n    return attend",
        "def f():\n    attend = 1\n    return attend",
        "def f(*, attend=1):\n    return lambda: attend",
        "print([attend for attend in range(3)])",
        "def f():\n    for attend in range(3):\n        yield attend",
        "def f():\n    with open('x') as attend:\n        return attend",
        "def f():\n    attend = 1\n    def g():\n        nonlocal attend\n        attend = 2\n    return g",
        "def f():\n    return (attend := 2) + attend",
        "def f(x):\n    match x:\n        case [attend]:\n            return attend",
    ],
)
def test_a_local_name_is_not_that_of_the_library(tmp_path, code):
    assert set(provenance.pieces(f"from attnlib import attend\n{code}", library(tmp_path, {}))) == {""}


@pytest.mark.parametrize(
    "code",
    [
        "def f():\n    global attend\n    attend = attend",
        "class C:\n    attend = 1\n    def f(self):\n        return attend",
        "def f():\n    [attend for attend in range(3)]\n    return attend",
        "print([attend for attend in attend])",
        "def f(x=attend):\n    attend = x",
        "@attend\ndef f():\n    pass",
        "class C(attend):\n    pass",
        "def f():\n    def g(attend):\n        pass\n    return attend",
        "x = f'{attend!r}'",
    ],
)
def test_a_name_of_the_library_is_found_where_it_is_meant(tmp_path, code):
    assert "attend" in provenance.pieces(f"from attnlib import attend\n{code}", library(tmp_path, {}))


def test_the_code_itself_counts(tmp_path):
    root = library(tmp_path, {})
    assert provenance.digest(USES, root) != provenance.digest(USES.replace("1, 2", "1, 3"), root)
    assert provenance.digest("x = 1", root) != provenance.digest("x = 1.0", root)
    assert provenance.digest("x = 1", root) != provenance.digest("x = True", root)
    assert provenance.digest("x = None", root) != provenance.digest("x = 'None'", root)
    assert provenance.digest("x = y", root) != provenance.digest("x = 'y'", root)
    assert provenance.digest("a.b = 1", root) != provenance.digest("a = 1", root)


def test_a_digest_stays_what_it_is():
    """It is stored, so another version of Python must find the same."""
    code = "@f\ndef g(a, /, b=1, *c, d: int = 2, **e):\n    '''Doc.'''\n    return [f'{a:>{b}}', *c, -1, ...]\n"
    assert provenance.digest(code) == "98aa7745298386f8675cd33d3921b84f676a1aac42902509c1c0750e99a36fcd"


def test_the_lines_of_a_notebook_for_the_shell_are_left_out():
    cells = [nbformat.v4.new_code_cell(text) for text in ("%matplotlib inline\nx = 1", "!ls\n", "y = 5 \\\n%3\n")]
    code = provenance.cells(nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# x ="), *cells]))
    assert code.split() == ["x", "=", "1", "y", "=", "5", "\\", "%3"]


# --- on attnlib itself ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """Two copies of attnlib, to move and to change."""
    folder = tmp_path_factory.mktemp("moved")
    shutil.copytree(ROOT / "attnlib", folder / "attnlib", ignore=shutil.ignore_patterns("__pycache__", "js"))
    changed = tmp_path_factory.mktemp("changed")
    shutil.copytree(folder / "attnlib", changed / "attnlib")
    return folder, changed


def test_moving_the_library_leaves_the_experiment_its_digest(copy):
    folder, _ = copy
    package = folder / "attnlib"
    (package / "recurrent").rename(package / "moved")
    for path in package.rglob("*.py"):
        path.write_text(path.read_text("utf-8").replace("attnlib.recurrent", "attnlib.moved"), "utf-8")
    script = SCRIPT.read_text("utf-8")
    moved = script.replace("from attnlib.recurrent.", "from attnlib.moved.")
    assert moved != script
    before, after = provenance.pieces(script), provenance.pieces(moved, folder)
    assert provenance.differences(before, after) == []
    assert provenance.digest(script) == provenance.digest(moved, folder)


def test_changing_the_unit_is_named(copy):
    _, folder = copy
    path = folder / "attnlib/recurrent/gated_unit.py"
    text = path.read_text("utf-8")
    assert "torch.sigmoid" in text
    path.write_text(text.replace("torch.sigmoid", "torch.tanh"), "utf-8")
    script = SCRIPT.read_text("utf-8")
    before, after = provenance.pieces(script), provenance.pieces(script, folder)
    assert provenance.differences(before, after) == ["changed: GatedUnit", "changed: both_ways"]
    assert provenance.digest(script) != provenance.digest(script, folder)


def test_an_experiment_uses_what_it_trains_and_not_what_it_does_not():
    found = provenance.pieces(SCRIPT.read_text("utf-8"))
    assert {"RNNsearch", "GatedUnit", "fit", "Run", "collate", "Vocabulary", "beam", "IBMModel1", "PAD"} < set(found)
    assert "attend" in found
    assert not {"local", "WORKS", "QueryTuner", "__version__"} & set(found)


def test_the_command_names_what_changed_and_stores_it(tmp_path):
    script, metrics = tmp_path / "script.py", tmp_path / "metrics.json"
    script.write_text("from attnlib.data import BOS\nprint(BOS)\n")
    metrics.write_text(json.dumps({"loss": 0.5, **provenance.stamp(script)}, indent=1) + "\n")

    def run(*options):
        command = [sys.executable, ROOT / "book/_tools/provenance.py", script, metrics, *options]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout

    assert run() == "the code is the same\n"
    script.write_text("from attnlib.data import BOS, cache\nprint(BOS, cache)\n")
    before = metrics.read_text()
    assert "changed: the script itself\n" in run()
    assert metrics.read_text() == before
    assert "new: cache\n" in run("--write")
    assert json.loads(metrics.read_text()) == {"loss": 0.5, **provenance.stamp(script)}
    assert run() == "the code is the same\n"


def test_a_package_that_is_its_parts_is_followed_to_them(tmp_path):
    files = {
        "__init__.py": "",
        "scores/__init__.py": "from . import functions\nfrom .functions import *\n__all__ = functions.__all__\n",
        "scores/functions.py": "__all__ = ['functions', 'dot']\ndef functions(): return 1\ndef dot(): return 2\n",
    }
    for name, text in files.items():
        (tmp_path / "attnlib" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "attnlib" / name).write_text(text)
    used = "from attnlib import scores\nfrom attnlib.scores import dot\nprint(dot(), scores.dot())\n"
    assert set(provenance.pieces(used, tmp_path)) == {"", "dot"}
    assert set(provenance.pieces(used + "print(vars(scores))", tmp_path)) == {"", "dot", "functions"}


def test_a_class_that_a_package_finds_when_it_is_asked_for(tmp_path):
    files = {
        "__init__.py": "",
        "shelf/__init__.py": "MADE = [1]\n__all__ = [*MADE]\ndef __getattr__(name): ...\n",
        "shelf/upper/__init__.py": "",
        "shelf/upper/two_words.py": "class TwoWords:\n    size = 1\n",
        "shelf/other.py": "class Other:\n    size = 1\n",
    }
    for name, text in files.items():
        path = tmp_path / "attnlib" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    code = "from attnlib.shelf import TwoWords\nTwoWords()"
    before = provenance.Library(tmp_path)
    found = before.locate("attnlib.shelf.TwoWords")
    assert found == (provenance.Definition("attnlib.shelf.upper.two_words", "TwoWords"), [])
    assert set(provenance.pieces(code, tmp_path)) == {"", "TwoWords"}
