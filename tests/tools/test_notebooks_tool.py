"""`make notebooks`: executes on a fresh kernel, writes one normal form, and never spoils what it cannot make."""

import base64
import io
import json
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from book._tools import normal, toc

TOOL = toc.ROOT / "book/_tools/notebooks.py"


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """In a process of its own: the tool has an event loop, and so has the browser of other tests."""
    command = [sys.executable, str(TOOL), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)


def png(**metadata: str) -> str:
    figure = plt.figure(figsize=(1, 1))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata=metadata)
    plt.close(figure)
    return base64.b64encode(buffer.getvalue()).decode()


def notebook_of(*cells: object) -> nbformat.NotebookNode:
    return new_notebook(cells=[new_markdown_cell("# Title"), *cells])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """One notebook with everything that has to be put in order, made twice; beside it one that fails."""
    folder = tmp_path_factory.mktemp("a book with spaces")
    good, bad = folder / "good.ipynb", folder / "bad.ipynb"
    cells = [
        new_code_cell("import time\nfor i in range(3):\n    print(i, flush=True)"),
        new_code_cell("print(time.time())", metadata={"tags": [normal.UNCOMPARED]}),
        new_code_cell(
            "from IPython.display import display\n"
            f"display({{'image/png': {png(Software='x')!r}, 'text/plain': 'figure'}},\n"
            "    metadata={'attnlib': {'alt': 'An empty square', 'caption': 'Nothing.', 'name': 'fig-e'}}, raw=True)"
        ),
        new_code_cell("import ipywidgets\nipywidgets.IntSlider()"),
        new_code_cell("1 / 0", metadata={"tags": ["raises-exception"], "collapsed": True}),
        new_code_cell(""),
        new_code_cell("from pathlib import Path\nprint(Path.cwd().name)"),
        new_code_cell("import os\nprint(os.environ['OMP_NUM_THREADS'], os.environ['TQDM_DISABLE'])"),
    ]
    notebook = notebook_of(*cells)
    notebook.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": {}}
    nbformat.write(notebook, good)
    nbformat.write(notebook_of(new_code_cell("print(1)"), new_code_cell("raise RuntimeError('no')")), bad)
    before = bad.read_bytes()
    first = run(good, bad)
    once = good.read_bytes()
    second = run(good)
    return {
        "first": first, "second": second, "once": once, "twice": good.read_bytes(), "folder": folder,
        "bad before": before, "bad after": bad.read_bytes(), "notebook": nbformat.read(good, as_version=4),
    }  # fmt: skip


def test_running_it_twice_changes_nothing(made) -> None:
    assert made["second"].returncode == 0, made["second"].stderr
    assert "as it was" in made["second"].stdout
    assert made["once"] == made["twice"]


def test_a_notebook_that_raises_is_left_as_it_was(made) -> None:
    assert made["first"].returncode == 1
    assert "RuntimeError" in made["first"].stderr
    assert made["bad before"] == made["bad after"]
    assert [path.name for path in sorted(made["folder"].iterdir())] == ["bad.ipynb", "good.ipynb"]


def test_the_other_notebook_is_still_made_and_seconds_are_told(made) -> None:
    assert " s  written" in made["first"].stdout
    assert " s" not in json.dumps(made["notebook"].metadata)


def test_what_is_stored_is_the_normal_form(made) -> None:
    notebook = made["notebook"]
    assert set(notebook.metadata) == {"kernelspec", "language_info", normal.STAMP}
    assert notebook.metadata.kernelspec == normal.KERNEL
    assert notebook.metadata.language_info == normal.LANGUAGE
    assert [cell.id for cell in notebook.cells] == [f"cell-{i}" for i in range(9)]
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == [1, 2, 3, 4, 5, None, 6, 7]
    assert code[0].outputs == [new_output("stream", name="stdout", text="0\n1\n2\n")]
    assert code[2].metadata["mystnb"] == {
        "image": {"alt": "An empty square"},
        "figure": {"caption": "Nothing.", "name": "fig-e"},
    }
    assert set(code[3].outputs[0].data) == {"text/plain"}
    assert code[4].outputs[0].traceback == ["ZeroDivisionError: division by zero"]
    assert code[4].metadata == {"tags": ["raises-exception"]}
    assert code[6].outputs[0].text.strip() == made["folder"].name
    assert code[7].outputs[0].text.split() == ["1", "1"]


def test_a_picture_loses_its_software_stamp_and_keeps_its_pixels() -> None:
    stamped = png(Software="some version", Comment="here")
    stripped = normal.strip_png(stamped)
    assert b"some version" in base64.b64decode(stamped)
    assert b"some version" not in base64.b64decode(stripped)
    assert normal.pixels(stamped) == normal.pixels(stripped)


def test_a_picture_keeps_its_bytes_while_its_pixels_are_the_same() -> None:
    def shows(encoded: str) -> nbformat.NotebookNode:
        cell = new_code_cell("draw()", outputs=[new_output("display_data", data={"image/png": encoded})])
        return normal.normalise(notebook_of(cell))

    plain = png()
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(base64.b64decode(plain))) as image:
        image.save(buffer, "PNG", compress_level=1)
    packed = base64.b64encode(buffer.getvalue()).decode()
    assert normal.strip_png(packed) != normal.strip_png(plain)
    kept = normal.keep_unchanged(shows(packed), shows(plain))
    assert kept.cells[1].outputs[0].data["image/png"] == normal.strip_png(plain)


def timed(seconds: str, answer: str) -> nbformat.NotebookNode:
    time = new_output("stream", name="stdout", text=seconds)
    result = new_output("stream", name="stdout", text=answer)
    return normal.normalise(
        notebook_of(
            new_code_cell("clock()", outputs=[time], metadata={"tags": [normal.UNCOMPARED]}),
            new_code_cell("answer()", outputs=[result]),
        )
    )


def test_timings_stay_while_nothing_that_counts_has_changed() -> None:
    assert normal.keep_unchanged(timed("2 s", "42"), timed("1 s", "42")) == timed("1 s", "42")


def test_timings_are_renewed_with_what_counts() -> None:
    assert normal.keep_unchanged(timed("2 s", "43"), timed("1 s", "42")) == timed("2 s", "43")


def test_a_cell_may_show_one_described_figure() -> None:
    about = {"attnlib": {"alt": "A line that rises"}}
    outputs = [new_output("display_data", data={"image/png": png()}, metadata=about) for _ in range(2)]
    with pytest.raises(ValueError, match="shows 2 figures"):
        normal.normalise(notebook_of(new_code_cell("draw()", outputs=outputs)))


def test_words_in_the_metadata_of_a_cell_stay_where_the_code_tells_none() -> None:
    about = {"image": {"alt": "A line that rises"}, "figure": {"caption": "It rises."}}
    output = new_output("display_data", data={"image/png": png(), "text/plain": "Figure"})
    cell = new_code_cell("draw()", outputs=[output], metadata={"mystnb": about})
    assert normal.normalise(notebook_of(cell)).cells[1].metadata.mystnb == about


def test_the_table_of_contents_gives_pages_in_order(tmp_path: Path) -> None:
    (tmp_path / "_toc.yml").write_text(
        "format: jb-book\nroot: index\nparts:\n- chapters:\n  - file: d\n  - file: b\n    sections:\n    - file: c\n"
    )
    for name in ("index.md", "d.ipynb", "b.ipynb", "c.ipynb"):
        (tmp_path / name).touch()
    assert [path.name for path in toc.pages(tmp_path)] == ["index.md", "d.ipynb", "b.ipynb", "c.ipynb"]
    assert [path.name for path in toc.notebooks(tmp_path)] == ["d.ipynb", "b.ipynb", "c.ipynb"]
    (tmp_path / "c.ipynb").unlink()
    with pytest.raises(FileNotFoundError, match="names c"):
        toc.pages(tmp_path)


def test_an_uncompared_output_is_renewed_when_its_code_was_edited() -> None:
    old, new = normal.stamped(timed("1 s", "42")), timed("2 s", "42")
    for notebook in (old, new):  # the edit stands in the file, its outputs are older
        notebook.cells[1].source = "clock(2)"
    assert normal.keep_unchanged(normal.stamped(new), old) == new
    assert normal.keep_unchanged(new, normal.stamped(old)) == old


def test_an_uncompared_output_is_renewed_when_the_library_was_changed(tmp_path: Path) -> None:
    """Old results of training are not kept when the code that they come from, anywhere in attnlib, is another."""

    def trained(result: str, library: str) -> nbformat.NotebookNode:
        folder = tmp_path / library / "attnlib"
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text("from .models import train\n")
        (folder / "models.py").write_text(f"def train():\n    return _step({library})\ndef _step(x):\n    return x\n")
        notebook = timed(result, "42")
        notebook.cells[1].source = "from attnlib import train\ntrain()"
        return normal.stamped(notebook, tmp_path / library)

    old = trained("loss 0.3", "0.1")
    assert normal.keep_unchanged(trained("loss 0.2", "0.5"), old) == trained("loss 0.2", "0.50")
    assert normal.keep_unchanged(trained("loss 0.2", "0.10"), old) == old
