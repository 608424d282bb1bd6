"""One real Chromium for the tests: where to find it, how to start it, and a page that keeps a record of what it did."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_RUNNING: list[Browser] = []
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


@dataclass
class Record:
    """What a page asked for and complained about."""

    requests: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    weight: int = 0  # bytes of all response bodies

    def outside(self, *origins: str) -> list[str]:
        """Requests that start with none of `origins` (data: and blob: stay inside the page)."""
        return [url for url in self.requests if not url.startswith((*origins, "data:", "blob:", "about:"))]


def watch(page: Page) -> Record:
    """Attach a `Record` to a page before it goes anywhere."""
    record = Record()
    page.on("request", lambda request: record.requests.append(request.url))
    page.on("requestfailed", lambda request: record.failed.append(f"{request.url}: {request.failure}"))
    page.on("pageerror", lambda error: record.errors.append(f"page error: {error}"))
    page.on(
        "console",
        lambda message: (
            record.errors.append(f"{message.type}: {message.text}") if message.type in {"error", "warning"} else None
        ),
    )
    return record


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """One browser a test process. Skips with one line where there is none; with CI=true that is a failure."""
    if _RUNNING:  # each module that imports this fixture has its own copy of it; Playwright starts only once
        yield _RUNNING[0]
        return
    with sync_playwright() as playwright:
        path = find_chromium(playwright)
        if path is None:
            if os.environ.get("CI") == "true":
                pytest.fail(MISSING, pytrace=False)
            pytest.skip(MISSING)
        browser = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        _RUNNING.append(browser)
        yield browser
        _RUNNING.clear()
        browser.close()


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    """A fresh context: no cookies, no storage, 1280 x 900, light, no reduced motion."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light")
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """A fresh page; call `watch(page)` first when its requests and errors matter."""
    return context.new_page()


def install_chromium() -> None:
    """Debian's package, where this user may install one."""
    if shutil.which("apt-get") is None:
        return
    as_root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if as_root and (shutil.which("sudo") is None or subprocess.run([*as_root, "true"], check=False).returncode):
        return
    quiet = {"stdout": subprocess.DEVNULL, "env": os.environ | {"DEBIAN_FRONTEND": "noninteractive"}}
    for words in (["update"], ["install", "-y", "--no-install-recommends", "chromium", "fonts-dejavu-core"]):
        subprocess.run([*as_root, "apt-get", *words], check=False, **quiet)


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
