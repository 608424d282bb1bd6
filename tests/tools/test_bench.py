"""The suite behind the page on performance: it runs, refuses what is wrong, and belongs to the numbers kept."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from attnlib.fused import native
from tests.bench import __main__ as bench
from tests.bench import attend, hard, measure, memory, peers, suite
from tests.bench.case import BOTH, DEFAULT, FORWARD, KERNELS, OURS, WARM, Case, Goal, faster, formula, made

ROOT = Path(__file__).parents[2]
SETTING = measure.Setting("cpu", budget=0.0, rounds=3, least=3, span=0.0, busy=False)
STORED = bench.RESULTS / "metrics.json"


def case(**ways) -> Case:
    return Case("test", {"N": 6}, made(*[(2, 3, 6, 4)] * 3, device="cpu"), ways, formula)


def schema(metrics) -> None:
    """What the page reads of the results."""
    names = {"script", "code", "setting", "machine", "versions", "missing", "kernels", "without kernels"}
    assert metrics.keys() == names | {"ceilings", "rows", "memory"}
    assert {"processor", "cores", "capability", "threads", "clock"} <= metrics["machine"].keys()
    for found in metrics["ceilings"].values():
        assert found.keys() == {"multiply-adds", "copy", "tanh", "exp"}
        assert all(value > 0 for value in found.values())
    assert {row["allocator"] for row in metrics["rows"]} == metrics["ceilings"].keys()
    for row in metrics["rows"]:
        assert row["mechanism"] in suite.MECHANISMS
        assert row["done"] in (FORWARD, BOTH)
        assert OURS in row["ways"]
        lengths = {len(way["seconds"]) for way in row["ways"].values() if "seconds" in way}
        assert len(lengths) == 1
        assert min(lengths) >= 3
        for name, way in row["ways"].items():
            assert not way.get("wrong"), (row["title"], name)
            if "seconds" in way:
                middle, least, most = way["ratio"]
                assert 0 < least <= middle <= most
                assert name.startswith("(") or way["error"] < 1e-4
            else:
                assert way["failed"]
        for goal in row["goals"]:
            assert goal.keys() == {field.name for field in dataclasses.fields(Goal)}
            assert goal["done"] == row["done"]
    for row in metrics["memory"]:
        assert all(value is not None and value >= 0 for value in row["mib"].values())


def test_it_runs_and_writes_what_the_page_reads(tmp_path) -> None:
    to = tmp_path / "metrics.json"
    command = [sys.executable, "-m", "tests.bench", "--quick", "--only", "additive", "--threads", "1", "--to", str(to)]
    surroundings = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=surroundings, capture_output=True, text=True, check=True)
    metrics = json.loads(to.read_text("utf-8"))
    schema(metrics)
    assert metrics["script"] == bench.stamp()["script"]
    assert {row["allocator"] for row in metrics["rows"]} == {DEFAULT, WARM}
    assert {row["done"] for row in metrics["memory"]} == {FORWARD, BOTH}
    assert "peak memory" in done.stdout
    for name in metrics["missing"]:  # a line each
        assert f"{name} is not here" in done.stdout


def test_a_wrong_way_is_marked_and_not_timed() -> None:
    found = measure.measured(
        case(
            **{OURS: formula},
            scaled=lambda q, k, v: formula(q, k, v) * 1.001,
            cut=lambda q, k, v: formula(q, k, v)[..., :2],
            lost=lambda q, k, v: formula(q, k, v) * torch.nan,
            other_heads=lambda q, k, v: formula(q.flip(1), k, v),
        ),
        FORWARD,
        SETTING,
    )
    assert len(found[OURS]["seconds"]) == 3
    for name in ("scaled", "cut", "lost", "other_heads"):
        assert found[name]["wrong"]
        assert "seconds" not in found[name]


def test_a_wrong_gradient_is_found_where_both_passes_are_timed() -> None:
    def half(q, k, v):
        return formula(q, (k + k.detach()) / 2, v)

    assert not measure.measured(case(half=half), FORWARD, SETTING)["half"].get("wrong")
    assert measure.measured(case(half=half), BOTH, SETTING)["half"]["wrong"]


def test_what_raises_says_so_and_another_function_is_only_timed() -> None:
    def broken(q, k, v):
        raise NotImplementedError("no such thing\nhere")

    found = measure.measured(case(broken=broken, **{OURS: formula, "(other)": lambda q, k, v: v}), FORWARD, SETTING)
    assert found["broken"] == {"failed": "NotImplementedError: no such thing"}
    assert "error" not in found["(other)"]
    assert len(found["(other)"]["seconds"]) == 3


def test_a_draw_is_a_value_and_falls_as_the_weights_say() -> None:
    draw = hard.case(4, 256, "cpu")
    given = draw.inputs()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for way in (hard.ours, hard.multinomial):
            assert draw.wrong(way(*given), *given) <= draw.tolerance
    q, k, v = given
    likeliest = v.gather(-2, (q @ k.mT).argmax(-1, keepdim=True).expand_as(v))
    for wrong in (F.scaled_dot_product_attention(q, k, v), likeliest, v):
        assert draw.wrong(wrong, *given) > draw.tolerance


def test_rows_with_kernels_are_those_that_take_another_path(monkeypatch) -> None:
    def ours(q, k, v):
        from attnlib.fused.paths import first

        first("test", {"kernel": lambda: "not built" if native.why_not("test") else q})
        return formula(q, k, v)

    both = case(**{OURS: ours, f"{OURS}, again": formula})
    monkeypatch.setattr(native, "_loaded", set())
    assert list(measure.paths_of(both, both.inputs())) == [OURS, f"{OURS}, again"]
    native._loaded.add("test")
    found = measure.paths_of(both, both.inputs())
    assert found == {OURS: ["test: reference"], KERNELS: ["test: kernel"], f"{OURS}, again": []}
    with measure.way_of(both, OURS).surroundings():
        assert native.why_not("test")
    with measure.way_of(both, KERNELS).surroundings():
        assert native.why_not("test") is None


def test_memory_is_that_of_the_call() -> None:
    def call():
        return torch.ones(2**27, dtype=torch.uint8), torch.ones(2**26, dtype=torch.uint8)

    assert memory.extra(call, "cpu") == pytest.approx(192, abs=10)


def test_goals_name_ways_that_are_there_or_packages_that_are_not() -> None:
    assert faster("peer", 4, 2).at_most == {DEFAULT: 0.25, WARM: 0.5}
    for mechanism in suite.MECHANISMS:
        for each in suite.cases_of(mechanism, quick=True, device="cpu"):
            theirs = {goal.peer for goal in each.goals if goal.mib is None} - each.ways.keys()
            assert theirs <= {"local-attention", "FlexAttention, compiled"}, each.name
    assert set(bench.SUITE) == set(suite.MECHANISMS)


def test_a_missing_package_is_no_failure(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "x_transformers.attend", None)
    monkeypatch.setattr(peers, "missing", {})
    assert "x-transformers" not in attend.case("causal", 1, 1, 4, "cpu").ways
    assert "x-transformers" in peers.missing


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_one_line_says_so(monkeypatch) -> None:
    monkeypatch.setattr(sys, "argv", ["bench", "--device", "cuda"])
    with pytest.raises(SystemExit, match="needs a GPU"):
        bench.main()


def test_the_numbers_that_are_kept_are_of_this_suite() -> None:
    """Of its rows, not of the library's code today: that is asked by night."""
    metrics, now = json.loads(STORED.read_text("utf-8")), bench.stamp()
    schema(metrics)
    mine = {name: piece for name, piece in metrics["code"].items() if name.startswith("bench/")}
    assert mine == {name: piece for name, piece in now["code"].items() if name.startswith("bench/")}, "run `make bench`"
    assert not metrics["setting"]["quick"]
    assert not metrics["setting"]["only"]
    assert {row["mechanism"] for row in metrics["rows"]} == set(suite.MECHANISMS)


@pytest.mark.nightly
def test_the_numbers_that_are_kept_are_of_this_library() -> None:
    metrics, now = json.loads(STORED.read_text("utf-8")), bench.stamp()
    changes = "; ".join(bench.provenance.differences(metrics["code"], now["code"]))
    assert metrics["script"] == now["script"], f"the library has changed ({changes}): run `make bench`"
