"""The widgets in a JupyterLab started here: the page and the kernel follow each other."""

import contextlib
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request

import nbformat
import pytest
from browser import PATIENCE, frame, move_something, watch
from playwright.sync_api import TimeoutError

import attnlib.widgets
from attnlib.widgets import QueryTuner
from book._tools import toc

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.nightly, pytest.mark.timeout(900)]

TUNER = [
    "from attnlib.widgets import QueryTuner\nwidget = QueryTuner()\nwidget",
    "print('python sees', widget.query, [round(w, 4) for w in widget.weights[0]])",
    "widget.update(query=[-0.7, -1.8], temperature=1.0)\nprint('python set', widget.query)",
]
EVERY = [
    "from attnlib import widgets\nnames = iter(widgets.__all__)",
    "widget = getattr(widgets, next(names))()\nwidget",
    "kind = type(widget)\nprint(kind.__name__, 'as it came' if widget.state() == kind().state() else 'moved')",
]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A JupyterLab of its own: no token, a free port, a home and settings that are thrown away; gives the address."""
    folder = tmp_path_factory.mktemp("lab")
    (folder / "work").mkdir()
    for name, cells in (("tuner", TUNER), ("every", EVERY)):
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(notebook, folder / "work" / f"{name}.ipynb")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    names = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR", "HOME")
    environment = {**os.environ, "PYTHONPATH": str(toc.ROOT), **{name: str(folder / name.lower()) for name in names}}
    options = {
        "ServerApp.ip": "127.0.0.1",
        "ServerApp.port": port,
        "ServerApp.port_retries": 0,
        "IdentityProvider.token": "",
        "ServerApp.root_dir": folder / "work",
        "ServerApp.allow_root": True,
        "LabApp.check_for_updates_class": "jupyterlab.handlers.announcements.NeverCheckForUpdate",
    }
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", *(f"--{k}={v}" for k, v in options.items())]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(command, env=environment, cwd=folder / "work", stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}/"
    try:
        wait_for(address, server, folder / "log")
        yield address
    finally:
        server.terminate()
        server.wait(20)


def wait_for(address, server, log):
    for _ in range(240):
        assert server.poll() is None, log.read_text()
        try:
            urllib.request.urlopen(f"{address}api/status", timeout=5).close()
        except OSError:
            time.sleep(0.5)
        else:
            return
    pytest.fail(log.read_text())


def open_with_kernel(lab, page, name, output):
    """Open a notebook and run its first cell until its output is there; gives what JupyterLab asked meanwhile.

    On a slow machine a cell that is run before its kernel listens is not run at all, and JupyterLab may ask which
    kernel to start or say that one is late: what it proposes is taken.
    """
    asked = []

    def accept(dialog):
        asked.append(dialog.inner_text())
        dialog.locator(".jp-mod-accept").click()

    page.add_locator_handler(page.locator(".jp-Dialog").first, accept)
    for _ in range(4):
        page.goto(f"{lab}lab/tree/{name}.ipynb?reset")
        page.locator(".jp-Notebook .cm-content").first.wait_for()
        with contextlib.suppress(TimeoutError):
            page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").wait_for(timeout=PATIENCE / 4)
            for _ in range(2):
                run_cell(page, 0)
                with contextlib.suppress(TimeoutError):
                    output(page).wait_for(timeout=PATIENCE / 4)
                    return asked
    pytest.fail(f"{name}.ipynb did not start in JupyterLab; it said {asked}")


def run_cell(page, index):
    """Put the cursor into a cell and run it; gives its text output once it is there."""
    cell = page.locator(".jp-Notebook .jp-CodeCell").nth(index)
    cell.locator(".cm-content").click()
    page.keyboard.press("Control+Enter")
    return cell.locator(".jp-OutputArea-output")


def test_kernel_and_view_follow_each_other_in_jupyterlab(lab, page):
    record = watch(page)
    handle = page.get_by_role("slider", name="Query q")
    if open_with_kernel(lab, page, "tuner", lambda page: handle):
        record.errors.clear()  # JupyterLab's own complaints about a kernel that was late
    assert page.locator(".attnlib-view").count() == 1
    assert page.locator(".attnlib-static").count() == 0

    handle.focus()
    for key in ("ArrowLeft", "ArrowLeft", "ArrowUp", "Shift+ArrowDown"):
        page.keyboard.press(key)
    frame(page)
    assert place_of(handle) == pytest.approx([1.0, 0.5])
    assert handle.evaluate("(node) => node === document.activeElement")
    expected = QueryTuner(query=[1.0, 0.5])
    text = f"python sees [[1.0, 0.5]] {[round(w, 4) for w in expected.weights[0]]}"
    run_cell(page, 1).get_by_text(text, exact=True).wait_for()

    slider = page.get_by_role("slider", name="Temperature")
    before = slider.get_attribute("aria-valuetext")
    slider.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    frame(page)
    assert slider.get_attribute("aria-valuetext") != before

    handle.scroll_into_view_if_needed()  # the cells that were run since may have moved it out of sight
    box = handle.locator(".attnlib-target").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 60, y - 30, steps=10)
    page.mouse.up()
    frame(page)
    dragged = place_of(handle)
    assert dragged[0] < 0.8
    for _ in range(60):  # while the kernel is busy, the page holds the latest state back, and a cell may overtake it
        seen = run_cell(page, 1).get_by_text("python sees [[").inner_text()
        told = [float(x) for x in re.findall(r"-?[\d.]+", seen)[:2]]
        if told == pytest.approx(dragged, abs=0.006):
            break
        page.wait_for_timeout(500)
    assert told == pytest.approx(dragged, abs=0.006)

    run_cell(page, 2).get_by_text("python set [[-0.7, -1.8]]").wait_for()
    page.wait_for_function(
        "document.querySelector('.attnlib-point').getAttribute('aria-valuetext') === 'x −0.70, y −1.80'"
    )
    shown = [row.locator("td").last.inner_text() for row in page.locator(".attnlib-keys tbody tr").all()]
    assert shown == [f"{w:.3f}" for w in QueryTuner(query=[-0.7, -1.8]).weights[0]]
    assert record.outside(lab, lab.replace("http", "ws")) == []
    assert [error for error in record.errors if error.startswith("page error") or "attnlib" in error] == []


def place_of(handle):
    x, y = re.findall(r"[−\d.]+", handle.get_attribute("aria-valuetext"))
    return [float(x.replace("−", "-")), float(y.replace("−", "-"))]


def test_every_widget_comes_alive_and_tells_python(lab, page):
    record = watch(page)
    open_with_kernel(lab, page, "every", lambda page: page.locator("[data-status=idle]"))
    wrong = {}
    for name in attnlib.widgets.__all__:
        view = run_cell(page, 1).locator(".attnlib-view")
        try:
            run_cell(page, 2).get_by_text(f"{name} as it came", exact=True).wait_for()
            move_something(page, view)
            for _ in range(60):
                told = run_cell(page, 2).get_by_text(re.compile(f"{name} ")).inner_text()
                if told == f"{name} moved":
                    break
                page.wait_for_timeout(500)
            assert told == f"{name} moved"
            assert view.count() == 1
            assert view.locator("[role=alert]:visible").count() == 0
        except (AssertionError, TimeoutError) as error:
            wrong[name] = str(error)
    assert wrong == {}
    assert record.outside(lab, lab.replace("http", "ws")) == []
    assert [error for error in record.errors if error.startswith("page error") or "attnlib" in error] == []
