"""The list of references with labels as the text has them: names and year, and a letter where two would be the same."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from pybtex.plugin import register_plugin
from pybtex.richtext import Text
from pybtex.style.formatting.alpha import Style as Alpha
from pybtex.style.labels import BaseLabelStyle
from sphinx.application import Sphinx
from sphinx.config import Config

NAME = "author-year"


class AuthorYear(BaseLabelStyle):  # type: ignore[misc]
    """*Niu et al., 2021*."""

    def format_labels(self, sorted_entries: Iterable[Any]) -> Iterator[str]:
        """A label for each entry, in their order."""
        plain = [label(entry) for entry in sorted_entries]
        count, seen = Counter(plain), Counter[str]()
        for text in plain:
            seen[text] += 1
            yield text + (chr(ord("a") + seen[text] - 1) if count[text] > 1 else "")


def label(entry: Any) -> str:
    """Up to two family names and the year."""
    people = entry.persons.get("author") or entry.persons.get("editor") or []
    names = [str(Text.from_latex(" ".join([*one.prelast_names, *one.last_names]))) for one in people]
    said = names[0] if names else entry.key
    if len(names) == 2:
        said = f"{names[0]} and {names[1]}"
    elif len(names) > 2:
        said = f"{names[0]} et al."
    return f"{said}, {entry.fields.get('year', 'no year')}"


class Style(Alpha):  # type: ignore[misc]
    """Sorted and set as before."""

    default_label_style = NAME


def choose(app: Sphinx, config: Config) -> None:
    config.bibtex_default_style = NAME


def setup(app: Sphinx) -> dict[str, bool]:
    register_plugin("pybtex.style.labels", NAME, AuthorYear, force=True)
    register_plugin("pybtex.style.formatting", NAME, Style, force=True)
    app.connect("config-inited", choose)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
