"""JavaScript without a browser: the Node that Playwright's wheel brings."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import playwright

# What is no number in JSON comes back as Python's `json` reads it.
_MAIN = """
const $data = %s;
const $run = async (data) => {
%s
};
const $made = JSON.stringify((await $run($data)) ?? null,
  (_, value) => (typeof value === "number" && !Number.isFinite(value) ? `@@${value}` : value));
process.stdout.write($made.replace(/"@@(NaN|-?Infinity)"/g, "$1"));
"""


def executable() -> Path:
    """Where Node is: $PLAYWRIGHT_NODEJS_PATH, or inside Playwright's wheel."""
    named = os.environ.get("PLAYWRIGHT_NODEJS_PATH")
    return Path(named or Path(playwright.__file__).parent / "driver" / ("node.exe" if os.name == "nt" else "node"))


def run(script: str, data: Any = None, *, seconds: float = 120) -> Any:
    """What ``script`` returns: the body of an async function of ``data``. NaN and infinities pass both ways.

    A file of the library is had by ``await import(address)``, with ``path.as_uri()`` in the data.
    """
    source = _MAIN % (json.dumps(data), script)
    done = subprocess.run(
        [executable(), "--input-type=module", "--no-warnings", "-"],
        input=source, capture_output=True, text=True, encoding="utf-8", timeout=seconds, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"Node failed:\n{done.stderr.strip()}")
    return json.loads(done.stdout)
