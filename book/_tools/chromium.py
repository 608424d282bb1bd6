"""One real Chromium, for the tests and for the pictures of widgets: where to find it, and what it is started with."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Playwright, sync_playwright

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
# The first draws and does the same as the second, without windows, and starts in less time.
PACKAGES = ("chromium-headless-shell", "chromium")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
MISSING = "no Chromium found: set CHROMIUM, or install chromium, google-chrome or `playwright install chromium`"


def find_chromium(playwright: Playwright | None = None) -> str | None:
    """The path of a Chromium: $CHROMIUM, then the usual names on PATH, then Playwright's own."""
    named = os.environ.get("CHROMIUM")
    if named:
        return shutil.which(named)
    for name in NAMES:
        if path := shutil.which(name):
            return path
    if playwright is not None and Path(playwright.chromium.executable_path).exists():
        return playwright.chromium.executable_path
    return None


@contextmanager
def started() -> Iterator[Browser]:
    """A browser meanwhile; a ValueError where there is none."""
    with sync_playwright() as playwright:
        path = find_chromium(playwright)
        if path is None:
            raise ValueError(MISSING)
        browser = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


def install_chromium() -> None:
    """The first of Debian's packages that there is, where this user may install one."""
    if shutil.which("apt-get") is None:
        return
    as_root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if as_root and (shutil.which("sudo") is None or subprocess.run([*as_root, "true"], check=False).returncode):
        return
    quiet = {"stdout": subprocess.DEVNULL, "env": os.environ | {"DEBIAN_FRONTEND": "noninteractive"}}
    subprocess.run([*as_root, "apt-get", "update"], check=False, **quiet)
    for package in PACKAGES:
        words = ["install", "-y", "--no-install-recommends", package, "fonts-dejavu-core"]
        if subprocess.run([*as_root, "apt-get", *words], check=False, **quiet).returncode == 0:
            return


def main() -> int:
    """Find a Chromium, or install one, or say in one line that there is none. With CI=true that is a failure."""
    with sync_playwright() as playwright:
        if find_chromium(playwright) is None:
            install_chromium()
        found = find_chromium(playwright)
    print(f"Chromium: {found}" if found else f"{MISSING}; the browser tests are skipped")
    return 1 if found is None and os.environ.get("CI") == "true" else 0


if __name__ == "__main__":
    sys.exit(main())
