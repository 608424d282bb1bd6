"""From a member's JavaScript and what it imports to one piece: a module for a kernel's page, a script for any other."""

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["member", "module", "script", "style", "to_json"]

HERE = Path(__file__).parent
_SHARED = HERE / "js"
_IMPORT = re.compile(r'^import \{([^}]*)\} from "(\.[\w./]+\.js)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (function\*?|const) (\w+)", re.MULTILINE)


def member(stem: str) -> Path:
    """The JavaScript of the widget of this stem."""
    return next(path for path in HERE.rglob(f"{stem}.js") if path.with_suffix(".py").exists())


@cache
def _source(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _helpers(*paths: Path) -> list[Path]:
    """All that these files import, deepest first."""
    found: dict[Path, None] = {}
    for path in paths:
        for match in _IMPORT.finditer(_source(path)):
            helper = (path.parent / match[2]).resolve()
            found |= dict.fromkeys([*_helpers(helper), helper])
    return list(found)


def _name(path: Path) -> str:
    """What a file is called in the bundle."""
    return "$" + re.sub(r"\W", "_", path.relative_to(HERE).with_suffix("").as_posix())


def _inlined(path: Path) -> str:
    """Imports as the taking apart of an object that an inlined file has left."""
    return _IMPORT.sub(
        lambda match: f"const {{{match[1].replace(' as ', ': ')}}} = {_name((path.parent / match[2]).resolve())};\n",
        _source(path),
    )


def _wrapped(path: Path) -> str:
    names = ", ".join(match[2] for match in _EXPORT.finditer(_source(path)))
    body = _EXPORT.sub(r"\1 \2", _inlined(path))
    return f"const {_name(path)} = (() => {{\n{body}return {{ {names} }};\n}})();\n"


def to_json(value: Mapping[str, Any]) -> str:
    """JSON that can stand inside a script element."""
    text = json.dumps(value, sort_keys=True, allow_nan=False, ensure_ascii=True, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _body(member: Path, *extra: Path, **about: Any) -> str:
    frame = _SHARED / "frame.js"
    helpers = dict.fromkeys([*_helpers(frame), frame, *extra, *_helpers(member)])
    own = _inlined(member).replace("export default", "const $member =")
    made = f"const $widget = {{ render: {_name(frame)}.define({to_json(about)}, $member) }};\n"
    return "".join(map(_wrapped, helpers)) + own + made


def module(member: Path, **about: Any) -> str:
    """The anywidget module of a member: what a kernel's page runs."""
    return _body(member, **about) + "export default $widget;\n"


def script(member: Path, **about: Any) -> str:
    """The same as a classic script that mounts itself: what a static page runs, from ``file://`` too."""
    host = _SHARED / "host.js"
    mount = f'{_name(host)}.mount(document.currentScript, "{member.stem}", $widget);\n'
    return f'(() => {{\n"use strict";\n{_body(member, host, **about)}{mount}}})();\n'


def style(member: Path) -> str:
    """The style sheet of all widgets, then those of what the member imports and its own, where they have one."""
    sheets = [_SHARED / "widget.css", *(path.with_suffix(".css") for path in [*_helpers(member), member])]
    return "".join(_source(sheet) for sheet in sheets if sheet.exists())
