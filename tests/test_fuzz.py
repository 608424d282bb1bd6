"""A few hundred cases of :mod:`fuzz`, and proof that they can fail: known mistakes, put into the library itself."""

import functools
import sys
from pathlib import Path

import fuzz
import pytest
import torch

import attnlib
from attnlib import _rows, attention, masks
from attnlib.scores import functions

pytestmark = pytest.mark.usefixtures("unchecked")  # the annotations would take longer than the arithmetic
CASES = 250


def described(report):
    return "\n".join(f"tests/fuzz.py --only {seed}: {kind} {text}" for seed, kind, text in report.mismatches)


def test_random_cases_agree_with_the_oracle(record_property):
    report = fuzz.run(range(CASES))
    assert not report.mismatches, described(report)
    assert report.counts["values"] > 10_000
    assert report.counts["gradients"] > 20_000
    for kind in ("empty rows", "lost rows", "burst rows", "doubtful rows", "local"):
        assert report.counts[kind] > 0, f"{CASES} cases have no {kind}"
    for kind in ("burst rows", "doubtful rows"):  # what is not compared is the exception
        assert report.counts[kind] < 0.1 * report.counts["rows"]
    counts = ", ".join(f"{name} {report.counts[name]:,}" for name in ("cases", "values", "gradients"))
    record_property("measured", f"fuzz: {counts}")


def test_a_case_depends_on_its_seed_alone():
    first, second = (fuzz.build(17) for _ in range(2))
    fuzz.build(18)
    assert first.what == second.what
    for name, leaf in first.leaves.items():
        assert torch.equal(leaf.detach().view(torch.uint8), second.leaves[name].detach().view(torch.uint8))


def test_the_oracle_has_no_line_of_attnlib():
    assert "import attnlib" not in (Path(__file__).parent / "fuzz_oracle.py").read_text(encoding="utf-8")


def test_the_program_says_what_failed_and_how_to_run_it_again(monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["fuzz.py", *arguments])
        return fuzz.main(), capsys.readouterr().out

    failed, said = run("--cases", "3")
    assert not failed
    assert f"{'cases':<16}{3:>12}\n" in said
    assert f"{'mismatches':<16}{0:>12}\n" in said

    def broken(*vectors, **options):
        raise ArithmeticError("broken on purpose")

    monkeypatch.setattr(attnlib, "attend", broken)
    seed = next(seed for seed in range(20) if not fuzz.build(seed).is_local)
    failed, said = run("--only", str(seed))
    assert failed
    assert f"--only {seed}: crash ArithmeticError: broken on purpose" in said
    assert "score " in said


# --- mistakes ---------------------------------------------------------------------------------------------------------


def finite_constant(patch):
    """A large negative number where nothing may be seen: a row that sees nothing gets the mean."""
    whole = attention._seen
    patch.setattr(attention, "_seen", lambda *work: whole(*work).clamp(min=-1e9))


def over_queries(patch):
    def attend(*vectors, distribution=attention.softmax, **options):
        return attnlib.attend(*vectors, distribution=lambda e: distribution(e.mT).mT, **options)

    return attend


def leak(patch):
    """What is hidden is multiplied by zero, and not taken out."""
    patch.setattr(attention, "without", lambda bad, vectors: vectors)


def lower_right(patch):
    def attend(query, key, *rest, is_causal, mask, **options):
        if is_causal:
            causal = masks.causal(query.shape[-2], key.shape[-2], alignment="lower-right")
            mask = causal if mask is None else mask & causal
        return attnlib.attend(query, key, *rest, mask=mask, **options)

    return attend


def rounded_energies(patch):
    """Energies of half-precision vectors in half precision."""
    whole = attention.energies_of

    def energies(score, query, key, *scale):
        return whole(score, query, key, *scale).to(query.dtype).to(_rows.wide(query).dtype)

    patch.setattr(attention, "energies_of", energies)


def overflow_inside(patch):
    """Vectors that nobody sees reach the score, which multiplies what overflowed on the way."""
    patch.setattr(attention, "without", lambda bad, vectors: torch.where(bad & ~vectors.isfinite(), 1.0, vectors))
    patch.setattr(functions, "inner_product", _rows.product)


def bias_unscaled(patch):
    """The scale multiplies the bias as well."""

    def attend(*vectors, scale=None, bias=None, **options):
        if scale is not None and bias is not None:
            bias = bias * scale
        return attnlib.attend(*vectors, scale=scale, bias=bias, **options)

    return attend


@pytest.mark.parametrize(
    ("mistake", "cases"),
    [
        (finite_constant, 100),
        (over_queries, 50),
        (leak, 100),
        (lower_right, 100),
        (rounded_energies, 100),
        (overflow_inside, 400),
        (bias_unscaled, 100),
    ],
    ids=lambda case: getattr(case, "__name__", ""),
)
def test_a_mistake_is_found(mistake, cases, monkeypatch):
    changed = mistake(monkeypatch)
    run = functools.partial(fuzz.run, range(cases), stop=1)
    found = (run() if changed is None else run(changed)).mismatches
    assert found
    assert "crash" not in found[0][1], found
