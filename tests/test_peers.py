"""Other people's tests: torch's own samples of its attention, its regressions, and the tests that come with entmax."""

import itertools
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from attnlib import Attend

TESTS = Path(__file__).parent
DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
HALF = (torch.bfloat16, torch.float16)


def sdpa(
    query,
    key,
    value,
    attn_mask=None,
    dropout_p=0.0,
    is_causal=False,
    *,
    scale=None,
    enable_gqa=False,
    need_weights=True,
):
    """torch's interface on attnlib: what may be seen goes to the mask, what is added to the bias."""
    kind = {} if attn_mask is None else {"mask" if attn_mask.dtype == torch.bool else "bias": attn_mask}
    run = Attend(scale=scale, dropout=dropout_p).train()
    options = {"is_causal": is_causal, "enable_gqa": enable_gqa, "need_weights": need_weights}
    return run(query, key, value, **kind, **options).context


# --- torch's samples --------------------------------------------------------------------------------------------------

# In a process of its own: the module changes global switches of torch, warns, takes seconds, and wants a package of
# which nothing is needed here.
DUMP = """
import sys, types, unittest
try:
    import expecttest
except ImportError:
    stub = types.ModuleType("expecttest")
    stub.TestCase = unittest.TestCase
    sys.modules["expecttest"] = stub
import torch
from torch.testing._internal.common_methods_invocations import op_db

(info,) = (op for op in op_db if op.name == "nn.functional.scaled_dot_product_attention")
found = []
for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
    torch.manual_seed(0)
    assert dtype in info.dtypes
    for sample in info.sample_inputs("cpu", dtype, requires_grad=False):
        found.append((sample.input, *sample.args, dict(sample.kwargs)))
torch.save(found, sys.argv[1])
"""


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    path = tmp_path_factory.mktemp("samples") / "sdpa.pt"
    done = subprocess.run([sys.executable, "-c", DUMP, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return torch.load(path)


def math_path(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, kept=None):
    """torch's plain formula; with dropout the weights that are kept are given."""
    if dropout_p == 0:
        with sdpa_kernel(SDPBackend.MATH):
            return F.scaled_dot_product_attention(query, key, value, attn_mask=attn_mask, is_causal=is_causal)
    run = torch.ops.aten._scaled_dot_product_attention_math
    return run(query, key, value, attn_mask, dropout_p, is_causal, kept)[0]


def leaves_of(sample, dtype=None):
    """Query, key, value and the mask if it is added, as leaves; and the options."""
    query, key, value, options = sample
    options = dict(options)
    parts = [query, key, value]
    if options.get("attn_mask") is not None:
        parts.append(options.pop("attn_mask"))
    return [part.detach().to(dtype or part.dtype).requires_grad_() for part in parts], options


def kept_weights(sample, need_weights):
    """The weights with dropout of one call, by values that are the unit vectors; and those without."""
    parts, options = leaves_of(sample)
    query, key, _, *rest = (part.detach() for part in parts)
    unit = torch.eye(key.shape[-2], dtype=key.dtype).expand(*key.shape[:-1], -1)
    torch.manual_seed(1)
    dropped = sdpa(query, key, unit, *rest, **options, need_weights=need_weights)
    return dropped, sdpa(query, key, unit, *rest, **{**options, "dropout_p": 0.0})


def sizes(parts, upstream):
    """What the context, the gradients of the parts, and the energies could come to if nothing cancelled."""
    query, key, value = (float(part.detach().abs().max()) for part in parts[:3])
    arriving = float((upstream.double().abs() @ parts[2].detach().abs().mT).max())
    scale = parts[0].shape[-1] ** -0.5
    many = parts[0].shape[-2]  # queries for each key
    gradients = [2 * arriving * scale * key, 2 * arriving * scale * query * many, many * float(upstream.abs().max())]
    added = [2 * arriving * upstream.shape[:-2].numel() for _ in parts[3:]]
    return [value, *gradients, *added, parts[0].shape[-1] * scale * query * key]


@pytest.mark.nightly
def test_torch_samples(samples, record_property):
    """All samples, four precisions, with weights and without: values and gradients as torch's plain formula in float64.

    Half-precision numbers are exact there. Dropout: the weights that our call kept are given to torch's formula, so
    that numbers can be compared; that about half of them are kept is tested over all samples.
    """
    assert len(samples) == 4 * 25
    worst, compared = {}, {"value": 0, "gradient": 0}
    kept_count = seen_count = 0
    for sample, need_weights in itertools.product(samples, (True, False)):
        parts, options = leaves_of(sample)
        exact, _ = leaves_of(sample, torch.float64)
        kept = None
        if options["dropout_p"]:
            dropped, whole = kept_weights(sample, need_weights)
            kept = dropped != 0
            clear = whole > 1e-3
            kept_count, seen_count = kept_count + int(kept[clear].sum()), seen_count + int(clear.sum())
        torch.manual_seed(1)
        got = sdpa(*parts, **options, need_weights=need_weights)
        want = math_path(*exact, **options, kept=kept)
        upstream = torch.randn(got.shape, generator=torch.Generator().manual_seed(2)).to(got.dtype)
        gradients = torch.autograd.grad(got, parts, upstream)
        wanted = torch.autograd.grad(want, exact, upstream.double())
        assert got.dtype == parts[0].dtype
        bounds = sizes(exact, upstream)
        rounding = torch.finfo(got.dtype).eps
        # Energies are float32 at least, and their error is one of the weights relative to them.
        limit = 16 * (1 + bounds.pop()) * torch.finfo(torch.promote_types(got.dtype, torch.float32)).eps
        limit = limit + 4 * rounding if got.dtype in HALF else limit
        for name, left, right, bound in zip(
            ("value", *["gradient"] * len(parts)), (got, *gradients), (want, *wanted), bounds, strict=True
        ):
            off = float((left.double() - right).detach().abs().max()) / bound
            worst[got.dtype, name] = max(worst.get((got.dtype, name), 0.0), off / rounding)
            compared[name] += 1
            assert off < limit, (got.dtype, name, need_weights, options)
    for (dtype, name), off in worst.items():
        record_property("measured", f"torch's samples, {name}s in {dtype}: largest error {off:.2f} roundings")
    assert compared == {"value": 200, "gradient": 3 * 200 + 8}
    assert abs(kept_count - seen_count / 2) < 5 * (seen_count / 4) ** 0.5  # five standard deviations


@pytest.mark.parametrize("need_weights", [True, False])
def test_large_halves_do_not_overflow(need_weights):
    """pytorch/pytorch#160841: products of 80 x 256 x 256 are beyond float16, their softmax is not."""
    x = torch.full((1, 2, 23, 80), 256.0, dtype=torch.half, requires_grad=True)
    context = sdpa(x, x, x, need_weights=need_weights)
    assert torch.equal(context, x)
    context.sum().backward()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("dtype", HALF, ids=str)
def test_half_precision_is_as_precise_as_torch(dtype, record_property):
    """The error against float64 of the same numbers is at most 1.5 times that of torch's plain formula."""
    for spread in (1, 3, 10, 30):
        generator = torch.Generator().manual_seed(spread)
        query, key, value = (torch.randn(8, 128, 64, generator=generator) * s for s in (spread, spread, 1))
        inputs = [part.to(dtype) for part in (query, key, value)]
        exact = math_path(*(part.double() for part in inputs))
        theirs = float((math_path(*inputs).double() - exact).abs().max())
        ours = [float((sdpa(*inputs, need_weights=flag).double() - exact).abs().max()) for flag in (True, False)]
        record_property(
            "measured",
            f"largest error in {dtype}, q and k ~ {spread} N(0, 1): with weights {ours[0]:.1e}, "
            f"without {ours[1]:.1e}, torch {theirs:.1e}",
        )
        assert max(ours) <= 1.5 * theirs


# --- entmax -----------------------------------------------------------------------------------------------------------

# What the tests ask that is meant differently here, file by file: alphas below 1, which attnlib refuses, and
# thresholds that are equal to the bit, though they come from different sums.
CHANGES = {
    "test_losses.py": {},
    "test_mask.py": {},
    "test_root_finding.py": {
        "(0.2, 0.5, 0.75, 1.2, 1.5, 1.75, 2.25)": ("(1.05, 1.2, 1.5, 1.75, 2.25)", 1),
        "0.05 + 2.5*torch.rand": ("1.05 + 1.5*torch.rand", 4),
    },
    "test_topk.py": {"torch.all(tau1 == tau2)": ("torch.allclose(tau1, tau2, rtol=1e-5)", 2)},
}


@pytest.mark.nightly
def test_the_tests_of_entmax(tmp_path, record_property):
    """Those that come with the package, run on attnlib's maps by :mod:`entmax_adapter`; copied for the run alone."""
    entmax = pytest.importorskip("entmax")
    for name, changes in CHANGES.items():
        source = Path(entmax.__file__).with_name(name)
        if not source.exists():
            pytest.skip(f"entmax {entmax.__version__} comes without {name}")
        text = source.read_text(encoding="utf-8")
        for old, (new, times) in changes.items():
            assert text.count(old) == times, f"{name} of entmax {entmax.__version__} has changed"
            text = text.replace(old, new)
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    report = tmp_path / "report.xml"
    start = (
        f"import sys; sys.path[:0] = [{str(TESTS)!r}, {str(TESTS.parent)!r}]; import pytest; sys.exit(pytest.main())"
    )
    options = [
        "-q",
        "--durations=12",
        "-p",
        "entmax_adapter",
        "-p",
        "no:randomly",
        "-p",
        "no:cacheprovider",
        f"--junitxml={report}",
    ]
    done = subprocess.run(
        [sys.executable, "-c", start, *options, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    counts = {
        key: int(value) for key, value in ElementTree.parse(report).find("testsuite").attrib.items() if value.isdigit()
    }
    record_property("measured", f"tests of entmax {entmax.__version__}: {counts}")
    skipped = [case for case in ElementTree.parse(report).iter("testcase") if case.find("skipped") is not None]
    # normmax and budget are missing, and nothing else
    assert all(
        "mmax" in case.get("name") or "budget" in case.get("name") or "Loss6" in case.get("name") for case in skipped
    )
    assert counts["tests"] - len(skipped) >= 60
