"""The reference: `{library} softness` shows every public module of a folder of attnlib, `{modules}` lists them all.

Nothing is named by hand. A module offers what its `__all__` names, and each thing is shown once, where it is reached by
the shortest path: `attnlib.scores.dot`, not `attnlib.scores.functions.dot`. Whoever refers to it may use either.
"""

import functools
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator, Set
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from docutils.statemachine import StringList
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from traitlets import TraitType

PACKAGE = "attnlib"
LOGGER = logging.getLogger(__name__)


@functools.cache
def modules(package: str = PACKAGE) -> tuple[str, ...]:
    """The public modules of a package, a folder before what is in it."""
    found = pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}.")
    return (package, *sorted(i.name for i in found if not any(part.startswith("_") for part in i.name.split("."))))


def folder(module: str) -> str:
    """The folder of the library that a module stands in; nothing for the ground floor."""
    _, _, below = module.partition(".")
    top, _, deeper = below.partition(".")
    return top if deeper or hasattr(importlib.import_module(module), "__path__") else ""


def offered(module: str) -> dict[str, Any]:
    """What a module's `__all__` names, without other modules; a folder without one offers what it has of its files."""
    found = importlib.import_module(module)
    if hasattr(found, "__path__") and not hasattr(found, "__all__"):
        names = {name: thing for name, thing in vars(found).items() if not name.startswith("_")}
        return {name: thing for name, thing in names.items() if defined(thing).startswith(f"{module}.")}
    names = {name: getattr(found, name) for name in getattr(found, "__all__", ())}
    return {name: thing for name, thing in names.items() if not inspect.ismodule(thing)}


def defined(thing: Any) -> str:
    """The dotted name of a function or a class where it is written; nothing for any other object."""
    return f"{thing.__module__}.{thing.__qualname__}" if inspect.isclass(thing) or inspect.isroutine(thing) else ""


@functools.cache
def homes(package: str = PACKAGE) -> dict[str, str]:
    """Each public way to name a function or a class, and the one under which it is shown."""
    found: dict[str, str] = {}
    for module in sorted(modules(package), key=lambda name: name.count(".")):
        for name, thing in offered(module).items():
            if place := defined(thing):
                found[f"{module}.{name}"] = found.setdefault(place, f"{module}.{name}")
    return found


def shown_in(module: str, package: str = PACKAGE) -> list[str]:
    """The names that are shown under a module; of its constants those that are documented will be."""
    paths = {name: f"{module}.{name}" for name in offered(module)}
    return [name for name, path in paths.items() if homes(package).get(path, path) == path]


def faults(shown: Set[str], package: str = PACKAGE) -> Iterator[str]:
    """What is public and not in the reference, by the names of what is."""
    for module in modules(package):
        if module not in shown:
            yield f"{module} is on no page of the reference: which page holds {{library}} {folder(module)}?"
        for name in offered(module):
            home = homes(package).get(f"{module}.{name}")
            if home and home not in shown:
                yield f"{module}.{name} is offered and not shown; has it a docstring?"
        found = importlib.import_module(module)
        own = [defined(thing) for name, thing in vars(found).items() if not name.startswith("_")]
        own = [place for place in own if place.startswith(f"{module}.")]
        if own and not hasattr(found, "__all__") and not any(homes(package).get(place) in shown for place in own):
            yield f"{module} has no __all__, and nothing that it defines is shown"


def headline(module: str) -> str:
    """The first line of a module's docstring, its references as plain code."""
    said = (inspect.getdoc(importlib.import_module(module)) or "").partition("\n")[0]
    return re.sub(r":\w+:`~?([^`]+)`", r"``\1``", said)


class _Generated(SphinxDirective):
    """A directive whose content is written here."""

    def parse(self, text: str) -> list[nodes.Node]:
        root = nodes.section()  # what has no heading comes in here; headings find their own place in the page
        root.document = self.state.document
        self.state.nested_parse(StringList(text.splitlines(), self.get_location()), 0, root, match_titles=True)
        return root.children


class Library(_Generated):
    """Every public module of a folder, a heading each; without a folder, of the ground floor."""

    optional_arguments = 1
    option_spec: ClassVar = {"first": directives.unchanged}  # modules that come before the others, in order

    def run(self) -> list[nodes.Node]:
        wanted = self.arguments[0] if self.arguments else ""
        names = [module for module in modules() if folder(module) == wanted]
        if not names:
            raise self.error(f"{PACKAGE} has no folder {wanted!r}")
        within = ".".join(filter(None, (PACKAGE, wanted)))
        first = [within, *(f"{within}.{name}" for name in self.options.get("first", "").split())]
        if unknown := [name for name in first if name not in names]:
            raise self.error(f"there is no {', '.join(unknown)}")
        order = sorted(names, key=lambda name: first.index(name) if name in first else len(first))
        return self.parse("\n".join(self._section(name) for name in order))

    def _section(self, module: str) -> str:
        names = shown_in(module)
        members = f":members: {', '.join(names)}\n   :imported-members:" if names else ":no-members:"
        others = {homes()[f"{module}.{name}"].rpartition(".")[0] for name in offered(module) if name not in names}
        also = " and ".join(f":py:mod:`{other}`" for other in sorted(others))
        note = f"\nWhat it offers is shown under {also}.\n" if also else ""
        return f"## {module}\n\n```{{eval-rst}}\n.. automodule:: {module}\n   {members}\n{note}```\n"


class Modules(_Generated):
    """Every public module, and what it says of itself first."""

    def run(self) -> list[nodes.Node]:
        lines = [f"* :py:mod:`{module}`: {headline(module)}" for module in modules()]
        return self.parse("\n".join(["```{eval-rst}", *lines, "```"]))


def check(app: Sphinx, env: BuildEnvironment) -> None:
    """A warning for all that is public and not shown, if there is a reference at all."""
    known: Any = env.get_domain("py")
    shown = {*known.objects, *known.modules}
    if PACKAGE in shown:
        for fault in faults(shown):
            LOGGER.warning("%s", fault)


def resolve(app: Sphinx, env: BuildEnvironment, node: addnodes.pending_xref, text: nodes.Node) -> nodes.Node | None:
    """A reference by another public name than that under which a thing is shown.

    A bare name is looked for in the folder as well: a docstring names its neighbours as its own file does.
    """
    if node.get("refdomain") != "py":
        return None
    module, written = str(node.get("py:module")), node["reftarget"]
    within = ".".join(module.split(".")[:2])
    near = {home for name, home in homes().items() if name.startswith(within) and name.endswith(f".{written}")}
    for name in (written, f"{module}.{written}", *(near if len(near) == 1 else ())):
        place, members = name, ""
        while place and place not in homes():
            place, _, last = place.rpartition(".")
            members = f".{last}{members}"
        if place:
            target = homes()[place] + members
            return env.get_domain("py").resolve_xref(
                env, node["refdoc"], app.builder, node["reftype"], target, node, text
            )
    return None


def skip_traits(app: Sphinx, what: str, name: str, thing: Any, skip: bool, options: Any) -> bool | None:
    """A widget's traits are its arguments, and told there."""
    return True if isinstance(thing, TraitType) else None


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("library", Library)
    app.add_directive("modules", Modules)
    app.connect("autodoc-skip-member", skip_traits)
    app.connect("env-updated", check)
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
