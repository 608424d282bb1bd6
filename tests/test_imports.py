"""Who may import whom: the ground floor only itself, mechanisms the ground floor and each other, tools all."""

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "attnlib"
GROUND = {"attention", "masks", "distributions", "structured", "scores", "interop"}
TOOLS = {"alignment", "book", "check", "data", "museum", "plotting", "pretrained", "training", "widgets"}
HEAVY = ("matplotlib", "seaborn", "anywidget", "ipywidgets", "traitlets", "triton", "sklearn", "IPython")


def modules(folder):
    """Each module below a package folder by its dotted name without the package: ``softness.local``."""
    found = {}
    for path in folder.rglob("*.py"):
        parts = path.relative_to(folder).with_suffix("").parts
        found[".".join(part for part in parts if part != "__init__")] = path
    return found


def imported(folder):
    """``(importer, imported module, name or None)`` for every import from the package, inside of functions too."""
    every = modules(folder)
    for importer, path in every.items():
        package = importer.split(".") if path.name == "__init__.py" and importer else importer.split(".")[:-1]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    if alias.name.split(".")[0] == folder.name:
                        yield importer, alias.name.partition(".")[2], None
            elif isinstance(node, ast.ImportFrom):
                if node.level:
                    base = package[: len(package) - node.level + 1]
                elif (node.module or "").split(".")[0] == folder.name:
                    base, node.module = [], (node.module or "").partition(".")[2] or None
                else:
                    continue
                base = [*base, *(node.module.split(".") if node.module else [])]
                for alias in node.names:
                    whole = ".".join([*base, alias.name])
                    yield (importer, whole, None) if whole in every else (importer, ".".join(base), alias.name)


def floor(module):
    """The floor that a module stands on."""
    top = module.split(".")[0]
    if top == "fused":
        return "fused"
    if not top or top in GROUND or (top.startswith("_") and "." not in module):
        return "ground"
    return "tool" if top in TOOLS else "mechanism"


MAY = {
    "ground": {"ground", "fused"},
    "fused": {"fused", "ground"},
    "mechanism": {"ground", "mechanism", "fused"},
    "tool": {"ground", "mechanism", "tool"},
}


def faults(folder):
    """What breaks the rules, in words."""
    found, graph = [], {}
    for importer, module, name in imported(folder):
        if floor(module) not in MAY[floor(importer)]:
            found.append(f"{importer}, a {floor(importer)}, imports {module}, a {floor(module)}")
        if name is not None and name.startswith("_") and not name.startswith("__"):
            found.append(f"{importer} imports {name}, which is private to {module}")
        private = [part for part in module.split(".") if part.startswith("_")]
        if private and floor(importer) == "tool" and module.split(".")[0] != importer.split(".")[0]:
            found.append(f"{importer}, a tool, imports the private module {module}")
        if importer and importer != module:
            graph.setdefault(importer, set()).add(module)
    graph = {module: {other for other in others if other} for module, others in graph.items()}
    for package in [module for module in graph if (folder.joinpath(*module.split(".")) / "__init__.py").exists()]:
        inside = {other for other in graph[package] if other.startswith(f"{package}.")}
        for other in inside:  # a package is its parts, and who imports a part does not import the package
            graph.get(other, set()).discard(package)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        found.append("a circle: " + " imports ".join(reversed(error.args[1])))
    return found


def test_imports_point_downwards():
    assert faults(PACKAGE) == []


def test_all_modules_are_looked_at():
    seen = {importer for importer, _, _ in imported(PACKAGE)}
    assert {"attention", "softness.local", "recurrent.rnnsearch", "widgets.base", "training.loop"} <= seen


WRONG = {
    "the ground floor imports a mechanism": ("attention.py", "from .softness import local", "imports softness.local"),
    "inside of a function": ("attention.py", "def f():\n    import attnlib.softness.local", "imports softness.local"),
    "a mechanism imports a tool": ("softness/local.py", "from ..plotting import heatmap", "imports plotting"),
    "a tool of the same floor is fine": ("widgets/lab.py", "from attnlib.book import claims", None),
    "a neighbour's own name": ("softness/local.py", "from .hard import _alike", "_alike, which is private"),
    "a tool reaches for the rows": ("widgets/lab.py", "from attnlib._rows import wide", "the private module _rows"),
    "a circle": ("softness/hard.py", "from . import local", "a circle"),
    "fused asks a mechanism": ("fused/local.py", "from ..softness.local import local", "imports softness.local"),
}


@pytest.mark.parametrize(("place", "line", "said"), WRONG.values(), ids=WRONG)
def test_a_wrong_arrow_is_found(place, line, said, tmp_path):
    files = {
        "__init__.py": "from .attention import attend",
        "_rows.py": "import torch",
        "attention.py": "from ._rows import wide",
        "softness/__init__.py": "",
        "softness/hard.py": "from ..attention import attend",
        "softness/local.py": "from .hard import take",
        "plotting/__init__.py": "heatmap = 1",
        "book/__init__.py": "",
        "book/claims.py": "",
        "widgets/lab.py": "",
        "fused/local.py": "",
    }
    for name, text in files.items():
        path = tmp_path / "attnlib" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + (f"\n{line}" if name == place else ""), encoding="utf-8")
    found = faults(tmp_path / "attnlib")
    assert any(said in fault for fault in found) if said else found == []


def test_mechanisms_bring_nothing_heavy():
    names = [f"attnlib.{name}".rstrip(".") for name in modules(PACKAGE) if floor(name) in ("ground", "mechanism")]
    code = f"import importlib, sys; [importlib.import_module(n) for n in {names!r}]; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {name.split(".")[0] for name in done.stdout.split()} & set(HEAVY)
