"""Which Chromium is taken, and which is installed where there is none."""

import os
import shutil
import subprocess

import pytest

from book._tools import chromium


@pytest.mark.parametrize(
    ("there", "taken"),
    [
        ({"chromium", "chromium-headless-shell", "google-chrome"}, "chromium-headless-shell"),
        ({"chromium", "google-chrome"}, "chromium"),
        ({"google-chrome"}, "google-chrome"),
        (set(), None),
    ],
)
def test_the_browser_without_windows_comes_first(monkeypatch, there, taken):
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: name if name in there else None)
    assert chromium.find_chromium() == taken


def test_what_is_named_is_taken(monkeypatch):
    monkeypatch.setenv("CHROMIUM", "chrome")
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")
    assert chromium.find_chromium() == "/bin/chrome"


@pytest.mark.parametrize(
    ("offered", "asked"),
    [
        ({"chromium", "chromium-headless-shell"}, ["chromium-headless-shell"]),
        ({"chromium"}, ["chromium-headless-shell", "chromium"]),  # an older Debian
        (set(), ["chromium-headless-shell", "chromium"]),
    ],
)
def test_the_first_package_that_there_is_gets_installed(monkeypatch, offered, asked):
    said = []

    def run(words, **_):
        package = {*words} & {*chromium.PACKAGES}
        said.extend(package)
        return subprocess.CompletedProcess(words, 0 if package <= offered else 100)

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(shutil, "which", lambda name: name)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    chromium.install_chromium()
    assert said == asked
