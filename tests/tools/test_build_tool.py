"""`make book`: strict, published only when it built, and with links to a repository only when there is one."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from epub_file import look_into

from book._tools import toc

TOOL = toc.ROOT / "book/_tools/build.py"
ADDRESS = "https://github.com/someone/somewhere"
SITE = "https://someone.github.io/somewhere"
# What the strict build refuses, so that no test of ours has to.
WRONG = {
    "{ref}`nowhere`": "undefined label: 'nowhere'",
    "[it](#elsewhere)": "elsewhere",
    "[it](gone.md)": "gone.md",
    "{doc}`lost`": "lost",
    "{cite:t}`nobody1900`": "nobody1900",
    "(twice)=\n\n## One\n\n(twice)=\n\n## Other": "twice",
    r"$\nosuchthing{x}$": r"no MathML for \nosuchthing",
}
PICTURE = "![The sign of this book](_static/logo.svg)"


def build(root: Path, builder: str = "html") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(TOOL), builder, "--root", str(root)]
    return subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A book of one page with this book's configuration and extensions, in a folder with a space in its name."""
    root = tmp_path / "a small book"
    (root / "book").mkdir(parents=True)
    for name in ("_ext", "_static", "_templates", "_tools"):
        shutil.copytree(toc.ROOT / "book" / name, root / "book" / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(toc.ROOT / "book/references.bib", root / "book")
    shutil.copy(toc.ROOT / "_config.yml", root)
    (root / "_toc.yml").write_text("format: jb-book\nroot: book/index\n")
    (root / "book/index.md").write_text(f"# A page\n\nA formula $x$.\n\n$$\na \\\\ b \\tag{{7}}\n$$\n\n{PICTURE}\n")
    return root


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_a_build_that_fails_leaves_the_last_good_site_untouched(small: Path) -> None:
    good = build(small)
    assert good.returncode == 0, good.stdout
    assert f"Open {small / '_build/html/index.html'}" in good.stdout
    before = files(small / "_build/html")
    assert "vnd" not in "".join(before)
    page = before["book/index.html"].decode()
    assert r"\[a \\ b \tag{7}\]" in page
    assert "Suggest edit" not in page
    assert "Open issue" not in page

    (small / "book/index.md").write_text("# A page\n\n" + "\n\n".join(WRONG))
    bad = build(small)
    assert bad.returncode == 1
    warnings = [line for line in bad.stdout.splitlines() if "WARNING" in line]
    for text, said in WRONG.items():
        assert any(said in line for line in warnings), (text, warnings)
    assert "the last good one is untouched" in bad.stderr
    assert files(small / "_build/html") == before


@pytest.mark.slow
def test_links_to_repository_and_site_appear_when_they_have_an_address(small: Path) -> None:
    config = small / "_config.yml"
    assert 'url: ""' in config.read_text(), "this test sets the address, which was left unset"
    config.write_text(
        config.read_text().replace(' url: ""', f" url: {ADDRESS}").replace('baseurl: ""', f"baseurl: {SITE}")
    )
    done = build(small)
    assert done.returncode == 0, done.stdout
    page = (small / "_build/html/book/index.html").read_text("utf-8")
    assert f"{ADDRESS}/edit/main/book/index.md" in page
    assert f"{ADDRESS}/issues/new" in page
    assert f'<link rel="canonical" href="{SITE}/book/index.html"' in page
    assert f'<meta property="og:image" content="{SITE}/_static/cover/social-card.png">' in page
    assert (small / "_build/html/_static/cover/social-card.png").read_bytes().startswith(b"\x89PNG")
    assert f"<loc>{SITE}/book/index.html</loc>" in (small / "_build/html/sitemap.xml").read_text("utf-8")
    assert f"Sitemap: {SITE}/sitemap.xml" in (small / "_build/html/robots.txt").read_text("utf-8")
    assert f'href="{SITE}/book/index.html"' in (small / "_build/html/404.html").read_text("utf-8")
    icons = (small / "_build/html/_static/icons.css").read_text("utf-8")
    assert "Font Awesome 6 Brands" in icons.partition("@font-face")[2]


@pytest.mark.slow
def test_the_book_is_one_file_too(small: Path) -> None:
    done = build(small, "epub")
    assert done.returncode == 0, done.stdout
    assert look_into(small / "_build/attention-running.epub", ["book/index"]) == {"book/index.xhtml"}
