"""What `make test` takes: the time of each group and of each chapter, written down, shown, and held to a budget.

    python book/_tools/times.py run GROUP COMMAND ...    run a command and write down what it took
    python book/_tools/times.py report                   the tables; fails where a chapter is over its budget

Counted are CPU seconds, of a process with everything that it started, so that a busy machine changes little. They are
those of the processor on which the budget was set. Another one may need twice as long: only what takes more than
`SLACK` budgets fails; what takes more than one is marked. Lines of JSON stand in `_build/times`, a file a group.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import toc

FOLDER = toc.ROOT / "_build" / "times"
FILE, TREE = "ATTNLIB_TIMES", "ATTNLIB_TIMES_TREE"
GROUPS = ("check", "book", "unit", "browser", "notebooks")

NOTEBOOK, TESTS, PAGE = 25, 15, 10  # CPU seconds of a chapter
WHOLE = 2400  # two cores for twenty minutes
SLACK = 2
# Tests of the ground floor, on which section 2 stands. Those of other parts lie in folders named as in the book.
GROUND = dict.fromkeys(("attention", "masks", "distributions", "structured", "scores", "recurrent"), "deep-learning")
GROUND["book"] = "taxonomy"


# --- measuring --------------------------------------------------------------------------------------------------------


def spent(*, tree: bool = False) -> float:
    """CPU seconds of this process and of the children that it has waited for; with ``tree`` of those alive as well."""
    if not tree:
        return sum(os.times()[:4])
    import psutil

    total = sum(os.times()[:4])
    for process in psutil.Process().children(recursive=True):
        try:
            total += sum(process.cpu_times()[:4])  # with that of its own children, once they have ended
        except psutil.Error:  # it has ended meanwhile
            continue
    return total


class Clock:
    """A plugin of pytest: writes down what each test took. Outside `run` it does nothing.

    What it takes to take a test down counts with the next one: with the last one ends what all have in common, such as
    the browser, and its seconds with it. What the first one sets up is for all, and counts for none.
    """

    def __init__(self) -> None:
        self.file, self.tree = os.environ.get(FILE), TREE in os.environ
        self.last: float | None = None

    def pytest_runtest_setup(self) -> None:
        os.environ.pop(FILE, None)  # what a test starts counts as the test's, even if it is pytest

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_call(self) -> None:
        if self.last is None:
            self.last = spent(tree=self.tree)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> None:
        if self.file is not None:
            now = spent(tree=self.tree)
            seconds = max(now - (self.last or now), 0.0)
            with open(self.file, "a", encoding="utf-8") as file:
                file.write(json.dumps({"test": item.nodeid, "cpu": round(seconds, 3)}) + "\n")
            self.last = now


def run(group: str, command: list[str], folder: Path = FOLDER) -> int:
    """The exit status of a command, and its time in the file of its group."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{group}.jsonl"
    file.write_text("")
    variables = os.environ | {FILE: str(file)} | ({TREE: "1"} if group in ("browser", "notebooks") else {})
    wall, cpu = time.perf_counter(), spent()
    status = subprocess.run(command, env=variables, check=False).returncode
    whole = {"group": group, "wall": time.perf_counter() - wall, "cpu": spent() - cpu, "status": status}
    with file.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(whole) + "\n")
    return status


# --- telling ----------------------------------------------------------------------------------------------------------


def read(folder: Path = FOLDER) -> tuple[dict[str, dict[str, Any]], Counter[str]]:
    """The line of each group, and the seconds of each test under its name."""
    groups: dict[str, dict[str, Any]] = {}
    tests: Counter[str] = Counter()
    for name in GROUPS:
        path = folder / f"{name}.jsonl"
        for line in path.read_text("utf-8").splitlines() if path.exists() else ():
            told = json.loads(line)
            if "group" in told:
                groups[name] = told
            else:
                tests[f"{name} {told['test']}"] += told["cpu"]
    return groups, tests


def sorted_out(tests: Counter[str], chapters: list[str]) -> dict[str, Counter[str]]:
    """CPU seconds of notebooks, pages and the tests of a part, which have budgets; and of the rest."""
    found: dict[str, Counter[str]] = {"notebook": Counter(), "page": Counter(), "tests": Counter(), "rest": Counter()}
    parts = set(parts_of(chapters))
    for name, seconds in tests.items():
        group, _, test = name.partition(" ")
        page = test.partition("[")[2].removesuffix("]").removesuffix(".html")
        part = part_of(test)
        if group == "notebooks":
            found["notebook"][test.partition(".ipynb")[0]] += seconds
        elif page in chapters:
            found["page"][page] += seconds
        elif part in parts and group == "unit":
            found["tests"][part] += seconds
        else:
            found["rest"][f"{group} {test.partition('::')[0]}"] += seconds
    return found


def part_of(test: str) -> str:
    """The folder of the book that a test belongs to, if it does to one."""
    names = [name for name in Path(test.partition("::")[0]).with_suffix("").parts[1:] if name != "widgets"]
    name = names[0].removeprefix("test_") if names else ""
    return GROUND.get(name, name.replace("_", "-"))


def parts_of(chapters: list[str]) -> Iterator[str]:
    """The folder of each chapter; a page before the first part is in none, and its tests count among the rest."""
    yield from (chapter.split("/")[-2] for chapter in chapters if chapter.count("/") > 1)


def budgets(chapters: list[str]) -> Iterator[tuple[str, str, float]]:
    """What has a budget: its kind, its name, and the seconds."""
    for chapter in chapters:
        yield "notebook", chapter, NOTEBOOK
        yield "page", chapter, PAGE
    for part, count in Counter(parts_of(chapters)).items():
        yield "tests", part, TESTS * count


def judged(found: dict[str, Counter[str]], chapters: list[str]) -> Iterator[str]:
    """A line for each budget: the seconds, the budget, and what is to be said; complaints begin with FAILED."""
    for kind, name, budget in budgets(chapters):
        seconds = found[kind][name]
        said = ""
        if not seconds:
            said = "FAILED: not measured"
        elif seconds > SLACK * budget:
            said = f"FAILED: more than {SLACK} x {budget:g}"
        elif seconds > budget:
            said = "over"
        yield f"{seconds:6.1f} / {budget:3g}  {kind:8}  {name:45}  {said}".rstrip()


def report(folder: Path = FOLDER) -> int:
    """Print the tables; 1 if something is over its budget, or was not measured."""
    groups, tests = read(folder)
    chapters = [path.relative_to(toc.ROOT).with_suffix("").as_posix() for path in toc.chapters()]
    found = sorted_out(tests, chapters)
    for name, told in groups.items():  # a browser that ends before it is waited for takes its seconds with it
        told["cpu"] = max(told["cpu"], sum(cpu for test, cpu in tests.items() if test.startswith(f"{name} ")))
    lines = list(judged(found, chapters))
    print("\nCPU seconds, and the budget: a chapter's notebook and page, the tests of a part")
    print(*lines, sep="\n")
    print("\nthe ten longest of the rest")
    for name, seconds in found["rest"].most_common(10):
        print(f"{seconds:6.1f}        {name}")
    print("\n  wall    CPU   group, in seconds")
    for name, told in groups.items():
        print(f"{told['wall']:6.0f} {told['cpu']:6.0f}   {name}{'  FAILED' if told['status'] else ''}")
    wall, cpu = (sum(told[kind] for told in groups.values()) for kind in ("wall", "cpu"))
    late = cpu > SLACK * WHOLE
    print(f"{wall:6.0f} {cpu:6.0f}   all, of {WHOLE} CPU seconds{'  FAILED' if late else ''}")
    return int(late or any("FAILED" in line for line in lines))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="what", required=True)
    one = commands.add_parser("run")
    one.add_argument("group", choices=GROUPS)
    one.add_argument("command", nargs=argparse.REMAINDER)
    commands.add_parser("report")
    options = parser.parse_args()
    return run(options.group, options.command) if options.what == "run" else report()


if __name__ == "__main__":
    raise SystemExit(main())
