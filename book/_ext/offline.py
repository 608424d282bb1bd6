"""A site that asks for nothing outside itself, from a server or from a folder.

* MathJax is vendored. It must not live below a `_static` folder of the source, because Jupyter Book loads every script
  that it finds there on every page.
* sphinx-thebe is hard-wired in Jupyter Book 1: its listeners are taken off, so that no page names its script.
* Links to edit a page and to open an issue appear when `repository.url` is set in `_config.yml`, and only then.
"""

import shutil
from importlib.metadata import files
from pathlib import Path

from myst_nb.core.render import NbElementRenderer
from sphinx.application import Sphinx
from sphinx.config import Config

MATHJAX = ("tex-svg.js", "input/tex/extensions", "a11y/assistive-mml.js")
UNWANTED = "sphinx_thebe"
QUIET_MIMES = ("application/vnd.attnlib.",)  # data for other pages; a text/html stands beside it


def mathjax_source() -> Path:
    """The folder of MathJax inside the installed package."""
    for file in files("sphinx-mathjax-offline") or ():
        if file.name == "tex-svg.js":
            return Path(str(file.locate())).parent
    raise FileNotFoundError("sphinx-mathjax-offline holds no tex-svg.js")


def vendor_mathjax(app: Sphinx, config: Config) -> None:
    """Lay the parts of MathJax that a page can ask for where Sphinx copies static files from."""
    source, target = mathjax_source(), Path(app.doctreedir).parent / "vendored" / "mathjax"
    if not (target / MATHJAX[0]).exists():
        for name in MATHJAX:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            copy = shutil.copytree if (source / name).is_dir() else shutil.copy
            copy(source / name, target / name)
    config.html_static_path.append(str(target.parent))
    config.mathjax_path = "mathjax/" + MATHJAX[0]


def remove_thebe(app: Sphinx, config: Config) -> None:
    """Take off what sphinx-thebe has hung on the build."""
    for listeners in app.events.listeners.values():
        listeners[:] = [each for each in listeners if getattr(each.handler, "__module__", "") != UNWANTED]
    app.registry.css_files[:] = [each for each in app.registry.css_files if each[0] != "sphinx-thebe.css"]


def link_repository(app: Sphinx, config: Config) -> None:
    """Edit and issue links for every page, if the repository has an address."""
    wanted = bool(config.html_theme_options.get("repository_url"))
    for button in ("use_repository_button", "use_edit_page_button", "use_issues_button"):
        config.html_theme_options[button] = wanted


def render_unhandled(self: NbElementRenderer, data):  # type: ignore[no-untyped-def]
    """Pass over our own data silently; warn of any other unknown mime type as before."""
    return [] if data.mime_type.startswith(QUIET_MIMES) else _render_unhandled(self, data)


_render_unhandled = NbElementRenderer.render_unhandled


def setup(app: Sphinx) -> dict[str, bool]:
    NbElementRenderer.render_unhandled = render_unhandled
    app.connect("config-inited", vendor_mathjax)
    app.connect("config-inited", remove_thebe)
    app.connect("config-inited", link_repository)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
