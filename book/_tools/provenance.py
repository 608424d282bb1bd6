"""Which code a result comes from: a digest of a script or notebook and of all that it uses of attnlib.

    python book/_tools/provenance.py SCRIPT METRICS            has the code changed since METRICS was written, and where
    python book/_tools/provenance.py SCRIPT METRICS --write    say that METRICS is what today's code gives

It is a digest of definitions, not of files. From the names that the code uses it follows functions, classes and
constants of attnlib through one another and takes each of them parsed: without comments, docstrings, imports and the
annotations of functions, and with names as they are resolved, so that a function that moves to another module, or is
imported under another name, leaves the digest as it is. Where a module is handed about whole (as to ``getattr``), all
that is public in it counts. What is no Python (a widget's script, stored weights) does not, nor does the version.
"""

import argparse
import ast
import contextlib
import functools
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "attnlib"
LEFT_OUT = ("ctx", "kind", "type_comment")
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
Function = ast.FunctionDef | ast.AsyncFunctionDef


class Definition(NamedTuple):
    """A name of a module; the name is empty for what a module does when it is imported."""

    module: str
    name: str


def digest(code: str, root: Path = ROOT) -> str:
    """The digest of some code and of the part of attnlib that it uses."""
    return combined(pieces(code, root))


def combined(found: Mapping[str, str]) -> str:
    """The digest of pieces."""
    return _hash("\n".join(f"{name} {found[name]}" for name in sorted(found)))


def pieces(code: str, root: Path = ROOT) -> dict[str, str]:
    """A short digest of each definition that the code uses, by name, and of the code itself under ``""``."""
    library = _library(root)
    reader = _Reader(library, Module("", code, package=False))
    texts: dict[str, list[str]] = {"": [reader.body(reader.module.tree.body)]}
    seen: set[Definition] = set()
    waiting = list(reader.used)
    while waiting:
        if (found := waiting.pop()) in seen:
            continue
        seen.add(found)
        text, used = library.read(found)
        waiting.extend(used)
        if text:
            texts.setdefault(found.name or "on import", []).append(text)
    return {name: _hash("\n".join(sorted(found)))[:12] for name, found in sorted(texts.items())}


def cells(notebook: Mapping[str, Any]) -> str:
    """The code of a notebook as one text; lines for the shell and magic ones are left out."""
    code = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return "\n".join(map(_python, code))


def differences(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """What changed between two results of :func:`pieces`, a line each."""
    named = {name: name or "the script itself" for name in {*old, *new}}
    kinds = {
        "changed": [name for name in old.keys() & new.keys() if old[name] != new[name]],
        "no longer used": old.keys() - new.keys(),
        "new": new.keys() - old.keys(),
    }
    return [f"{kind}: {named[name]}" for kind, names in kinds.items() for name in sorted(names)]


# --- modules ----------------------------------------------------------------------------------------------------------


class Module:
    """A parsed module: the statements that make each of its names, and what its imported names stand for."""

    def __init__(self, name: str, source: str, *, package: bool) -> None:
        self.name, self.package, self.tree = name, package, ast.parse(source)
        self.imports: dict[str, str] = {}
        self.stars: list[str] = []  # modules whose public names are public here: ``from .x import *``
        self.definitions: dict[str, list[ast.stmt]] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                self.imports.update(self._imported(node))
        for statement in self.tree.body:
            for made in _makes(statement):
                self.definitions.setdefault(made, []).append(statement)
        for stranger in self._strangers():  # what is done to names of others is done by importing the module
            self.definitions.setdefault("", []).extend(self.definitions.pop(stranger))

    def _imported(self, node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, str]]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                yield (alias.asname, alias.name) if alias.asname else (top, top)
        else:
            above = self.name.split(".")[: None if self.package else -1]
            base = above[: len(above) - node.level + 1] if node.level else []
            base += [node.module] if node.module else []
            for alias in node.names:
                if alias.name == "*":
                    self.stars.append(".".join(base))
                else:
                    yield alias.asname or alias.name, ".".join([*base, alias.name])

    def _strangers(self) -> list[str]:
        return [name for name, made in self.definitions.items() if name and not any(map(_binds, made))]

    def public(self) -> list[str]:
        """The names in ``__all__``, or those without an underscore that are made here; ``stars`` bring more."""
        for statement in self.definitions.get("__all__", []) if not self.stars else []:
            with contextlib.suppress(ValueError):  # a list that is made has names of its own
                return list(ast.literal_eval(statement.value))  # type: ignore[attr-defined]
        return [name for name in self.definitions if not name.startswith("_")]


def _makes(statement: ast.stmt) -> set[str]:
    """The names that a statement of a module binds or changes; ``""`` if it does something else."""
    if isinstance(statement, Function | ast.ClassDef):
        return {statement.name}
    if isinstance(statement, ast.Import | ast.ImportFrom) or _says_nothing(statement):
        return set()
    found = _bound([statement])
    if "__version__" in found:
        return set()
    if not found:  # a call or an assignment to a part: it changes what stands at its root
        parts = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        parts = [statement.value] if isinstance(statement, ast.Expr) else parts
        found = {root.id for part in parts if isinstance(root := _root(part), ast.Name)}
    return found or {""}


def _binds(statement: ast.stmt) -> bool:
    return bool(isinstance(statement, Function | ast.ClassDef) or _bound([statement]))


def _root(node: Any) -> Any:
    """What a chain of attributes, items and calls of methods starts from."""
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Call):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            return None
        node = node.func if isinstance(node, ast.Call) else node.value
    return node


def _says_nothing(statement: ast.stmt) -> bool:
    """A docstring, an ellipsis; a block of imports, such as those for type checkers."""
    if isinstance(statement, ast.If):
        return all(isinstance(node, ast.Import | ast.ImportFrom) for node in statement.body + statement.orelse)
    return isinstance(statement, ast.Pass) or (
        isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    )


def _bound(statements: Iterable[ast.AST]) -> set[str]:
    """The names that statements bind in their own scope, by anything but an import."""
    found: set[str] = set()
    elsewhere: set[str] = set()
    waiting = list(statements)
    while waiting:
        node = waiting.pop()
        if isinstance(node, Function | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, COMPREHENSIONS):
            found |= {n.target.id for n in ast.walk(node) if isinstance(n, ast.NamedExpr)}
        elif isinstance(node, ast.Global | ast.Nonlocal):
            elsewhere |= set(node.names)
        elif not isinstance(node, ast.Lambda):
            if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
                found.add(node.id)
            if isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
                found.add(node.name)
            if isinstance(node, ast.MatchMapping) and node.rest:
                found.add(node.rest)
            waiting.extend(ast.iter_child_nodes(node))
    return found - elsewhere


class Library:
    """The modules of a package, parsed when they are asked for, and the text of each definition."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._modules: dict[str, Module | None] = {}
        self._texts: dict[Definition, tuple[str, set[Definition]]] = {}

    def module(self, name: str) -> Module | None:
        if name not in self._modules:
            stem = self.root.joinpath(*name.split("."))
            path = next((p for p in (stem / "__init__.py", stem.with_suffix(".py")) if p.is_file()), None)
            made = path and Module(name, path.read_text("utf-8"), package=path.name == "__init__.py")
            self._modules[name] = made or None
        return self._modules[name]

    def locate(self, dotted: str) -> tuple[Module | Definition, list[str]] | None:
        """What a dotted name stands for, and the attributes that remain; None for what is not of the package."""
        first, *rest = dotted.split(".")
        at = self.module(first) if first == PACKAGE else None
        if at is None:
            return None
        while rest:
            name = rest[0]
            if name in at.definitions:
                return Definition(at.name, name), rest[1:]
            if name in at.imports and at.imports[name] != f"{at.name}.{name}":
                return self.locate(".".join([at.imports[name], *rest[1:]]))
            star = next((m for m in map(self.module, at.stars) if m and name in m.public()), None)
            if star:
                at = star
                continue
            if found := self._asked_for(at, name):
                return found, rest[1:]
            below = self.module(f"{at.name}.{name}")
            if below is None:
                break
            at, rest = below, rest[1:]
        return at, rest

    def _asked_for(self, package: Module, name: str) -> Definition | None:
        """A class that a package finds by its name when it is asked for, in a file that is named after it."""
        if not (package.package and "__getattr__" in package.definitions):
            return None
        stem = re.sub(r"(?<=.)(?=[A-Z])", "_", name).lower()
        for path in sorted(self.root.joinpath(*package.name.split(".")).rglob(f"{stem}.py")):
            module = self.module(".".join(path.relative_to(self.root).with_suffix("").parts))
            if module and name in module.definitions:
                return Definition(module.name, name)
        return None

    def public(self, module: Module) -> Iterator[Definition]:
        """All that is public in a module, and in the modules that are public in it."""
        for star in filter(None, map(self.module, module.stars)):
            yield from self.public(star)
        for name in module.public():
            found = self.locate(f"{module.name}.{name}")
            if found and isinstance(found[0], Definition):
                yield found[0]
            elif found and found[0].name != module.name:  # type: ignore[union-attr]
                yield from self.public(found[0])  # type: ignore[arg-type]

    def read(self, wanted: Definition) -> tuple[str, set[Definition]]:
        """The text of a definition, and what it uses."""
        if wanted not in self._texts:
            module = self.module(wanted.module)
            assert module is not None
            reader = _Reader(self, module)
            text = reader.body(module.definitions.get(wanted.name, []))
            self._texts[wanted] = text, reader.used | {Definition(wanted.module, "")}
        return self._texts[wanted]


@functools.cache
def _library(root: Path) -> Library:
    return Library(root)


# --- the text of parsed code ------------------------------------------------------------------------------------------


class _Reader:
    """Writes parsed code in one form, and notes which definitions of the library it uses.

    Written here and not by ``ast.dump``, whose form depends on the version of Python.
    """

    def __init__(self, library: Library, module: Module) -> None:
        self.library, self.module = library, module
        self.used: set[Definition] = set()
        self._scopes: list[tuple[set[str], bool]] = []  # names, and whether it is the scope of a class

    def body(self, statements: Iterable[ast.stmt]) -> str:
        kept = [s for s in statements if not (isinstance(s, ast.Import | ast.ImportFrom) or _says_nothing(s))]
        return "\n".join(map(self._text, kept))

    def _text(self, node: Any) -> str:
        if isinstance(node, list):
            if node and isinstance(node[0], ast.stmt):
                return f"[{self.body(node)}]"
            return f"[{', '.join(map(self._text, node))}]"
        if not isinstance(node, ast.AST):
            return repr(node)
        if isinstance(node, Function | ast.Lambda):
            return self._function(node)
        if isinstance(node, ast.ClassDef):
            return self._class(node)
        if isinstance(node, COMPREHENSIONS):
            return self._comprehension(node)
        if isinstance(node, ast.Name | ast.Attribute):
            return self._name(node)
        if isinstance(node, ast.JoinedStr):  # Python 3.12.1 puts empty texts between
            return self._fields(ast.JoinedStr([v for v in node.values if getattr(v, "value", None) != ""]))
        if isinstance(node, ast.AnnAssign) and not (self._scopes and self._scopes[-1][1]):  # a class may read them
            return self._fields(node, "annotation", "simple")
        return self._fields(node)

    def _fields(self, node: ast.AST, *without: str) -> str:
        fields = [(k, v) for k, v in ast.iter_fields(node) if k not in LEFT_OUT and k not in without]
        told = [f"{name}={self._text(value)}" for name, value in fields if value is not None and value != []]
        return f"{type(node).__name__}({', '.join(told)})"

    def _function(self, node: Any) -> str:
        given = node.args
        arguments = [*given.posonlyargs, "/", *given.args, "*", given.vararg, *given.kwonlyargs, "**", given.kwarg]
        names = [each if isinstance(each, str) else each.arg for each in arguments if each]
        outside = self._text([*getattr(node, "decorator_list", []), *given.defaults, *given.kw_defaults])
        body = node.body if isinstance(node.body, list) else [ast.Expr(node.body)]
        self._scopes.append(({*names} | _bound(body), False))
        inside = self.body(body)
        self._scopes.pop()
        return f"{type(node).__name__}({getattr(node, 'name', '')}, {names}, {outside}, {inside})"

    def _class(self, node: ast.ClassDef) -> str:
        outside = self._text([*node.decorator_list, *node.bases, *node.keywords])
        self._scopes.append((_bound(node.body), True))
        inside = self.body(node.body)
        self._scopes.pop()
        return f"ClassDef({node.name}, {outside}, {inside})"

    def _comprehension(self, node: Any) -> str:
        first = self._text(node.generators[0].iter)
        self._scopes.append((_bound(generator.target for generator in node.generators), False))
        inside = self._fields(node)
        self._scopes.pop()
        return f"{first} {inside}"

    def _local(self, name: str) -> bool:
        return any(
            name in names and (depth == 0 or not of_class)
            for depth, (names, of_class) in enumerate(reversed(self._scopes))
        )

    def _name(self, node: ast.Name | ast.Attribute) -> str:
        """A name, with the attributes on it, as what it stands for."""
        attributes: list[str] = []
        at: ast.AST = node
        while isinstance(at, ast.Attribute):
            attributes.insert(0, at.attr)
            at = at.value
        if not isinstance(at, ast.Name):
            return self._fields(node)
        stands, rest = self._stands_for(at.id, attributes)
        return ".".join([stands, *rest])

    def _stands_for(self, name: str, attributes: list[str]) -> tuple[str, list[str]]:
        if self._local(name):
            return name, attributes
        if self.module.name and name in self.module.definitions:
            self.used.add(Definition(self.module.name, name))
            return f"{PACKAGE}:{name}", attributes
        if name not in self.module.imports:
            return name, attributes
        dotted = ".".join([self.module.imports[name], *attributes])
        found = self.library.locate(dotted)
        if found is None:
            return dotted, []
        thing, rest = found
        if isinstance(thing, Definition):
            self.used.add(thing)
            return f"{PACKAGE}:{thing.name}", rest
        if not (rest and rest[0] in ("__doc__", "__file__", "__name__", "__version__")):
            self.used.update(self.library.public(thing))
        return f"{PACKAGE}:{thing.name.rpartition('.')[2]}", rest


def _python(cell: str) -> str:
    try:
        ast.parse(cell)
    except SyntaxError:
        return "\n".join(line for line in cell.splitlines() if not line.lstrip().startswith(("%", "!")))
    return cell


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


# --- results that are stored ------------------------------------------------------------------------------------------


def stamp(script: Path, root: Path = ROOT) -> dict[str, Any]:
    """What a script stores with its results: the digest, and the pieces by which a change can be named."""
    found = pieces(script.read_text("utf-8"), root)
    return {"script": combined(found), "code": found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("script", type=Path)
    parser.add_argument("metrics", type=Path)
    parser.add_argument(
        "--write", action="store_true", help="store today's digest; first see that nothing else changes"
    )
    options = parser.parse_args()
    before, now = options.metrics.read_text("utf-8"), stamp(options.script.resolve())
    metrics = json.loads(before)
    print("\n".join(differences(metrics.get("code", {}), now["code"])) or "the code is the same")
    if options.write:
        form = {"indent": 1} if before.strip().count("\n") else {"separators": (",", ":")}  # as the script wrote it
        text = json.dumps({**now, **metrics, **now}, ensure_ascii=False, **form)
        options.metrics.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
