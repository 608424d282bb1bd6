"""Which path is taken: the fastest that can, with reasons told; and the switch to the reference."""

import functools

import pytest
import torch
from torch.autograd import forward_ad

from attnlib import attend, distributions, explain, scores
from attnlib._checks import why_not_ours
from attnlib.frontiers.linear import linear_attention
from attnlib.fused import _additive_energies, _sigmoid, _sparse, native, reference_only
from attnlib.fused.paths import first
from attnlib.output_representations.directional import directional
from attnlib.softness.local import local


def test_the_first_path_that_can_is_taken_and_the_reasons_are_told() -> None:
    paths = {"a": lambda number: "too small" if number < 3 else number, "b": lambda number: -number}
    found = explain(first, "sum", paths, 2)
    assert first("sum", paths, 4) == 4
    assert first("sum", paths, 2) == -2
    assert str(found) == "sum: b\n  not a: too small"
    assert repr(found) == str(found)


def test_without_a_path_that_can_it_is_the_reference() -> None:
    paths = {"a": lambda: "no"}
    assert first("sum", paths) is None
    assert explain(first, "sum", paths).choices[0].path == "reference"
    assert str(explain(int)) == "there is one path only"


def test_what_is_raised_is_raised_and_nothing_stays_recorded() -> None:
    with pytest.raises(TypeError, match="query"):
        explain(attend, 1, 2)
    with pytest.raises(TypeError, match="function"):
        explain(3)
    assert len(explain(attend, torch.ones(2, 4), torch.ones(3, 4)).choices) == 1


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"score": scores.gaussian}, "the score is not a dot product"),
        ({"distribution": distributions.sparsemax}, "the distribution is not softmax"),
        ({"need_weights": True}, "the weights are asked for"),
        ({"scale": torch.tensor(0.5)}, None),
    ],
)
def test_attend_says_why_it_leaves_the_kernel(options, reason) -> None:
    found = explain(attend, torch.randn(2, 4), torch.randn(3, 4), **{"need_weights": False, **options}).choices[0]
    assert found.refused.get("kernel of torch") == reason
    assert (found.path == "kernel of torch") == (reason is None)


def test_the_reference_alone_on_request() -> None:
    query, key = torch.randn(2, 4), torch.randn(3, 4)
    with reference_only():
        found = explain(attend, query, key, need_weights=False)
        context = attend(query, key, need_weights=False).context
    assert found.choices[0].path == "reference"
    torch.testing.assert_close(context, attend(query, key, need_weights=False).context)
    assert explain(attend, query, key, need_weights=False).choices[0].path == "kernel of torch"


# --- what stands against all arithmetic of the library's own ----------------------------------------------------------

SIGMOID = functools.partial(distributions.sigmoid, bias=-2.0)
EYE = torch.eye(4)
ADDITIVE = functools.partial(scores.additive, vector=EYE[0], query_weight=EYE, key_weight=EYE)
DIRECTIONAL = functools.partial(directional, query_weight=EYE, key_weight=EYE, direction="forward", need_weights=False)
OURS = {
    "additive without pairs": lambda x: attend(x, x, score=ADDITIVE, need_weights=False).context,
    "kernel in C++": lambda x: ADDITIVE(x, x),
    "sigmoids in runs of queries": lambda x: attend(x, x, distribution=SIGMOID, need_weights=False).context,
    "Newton's method": distributions.sparsemax,
    "slices of keys": lambda x: local(x, x, x, centre=x[..., 0], half_width=2, need_weights=False).context,
    "runs of tokens": lambda x: linear_attention(x, x, is_causal=True).context,
    "in runs of queries": lambda x: DIRECTIONAL(x).context,
}


class Marked(torch.Tensor):
    """A tensor of somebody's own."""


def mapped(call, x):
    return torch.vmap(call)(x)


def forwards(call, x):
    with forward_ad.dual_level():
        return call(forward_ad.make_dual(x, x))


def traced(call, x):
    return torch.jit.trace(call, x, check_trace=False)


WITHIN = {
    "a transform of functorch runs the program": mapped,
    "there is a derivative forwards": forwards,
    "a tracer runs the program": traced,
    "the tensors are not plain ones": lambda call, x: call(x.as_subclass(Marked)),
}


@pytest.mark.filterwarnings("ignore")  # of torch, about its tracer
@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("reason", WITHIN)
@pytest.mark.parametrize("path", OURS)
def test_one_reason_has_the_same_words_everywhere(path, reason, monkeypatch):
    monkeypatch.setattr(native, "_loaded", {"additive"})
    for module, name in ((_additive_energies, "SIDE"), (_additive_energies, "UNITS"), (_sparse, "FEWEST")):
        monkeypatch.setattr(module, name, 1)
    for name, value in (("ROWS", 1), ("FEWEST", 1), ("WORTH", {False: 1, True: 1})):
        monkeypatch.setattr(_sigmoid, name, value)
    x = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0))
    found = [choice.refused.get(path) for choice in explain(WITHIN[reason], OURS[path], x).choices]
    assert found[0] == reason


def test_compilers_get_what_is_one_operation(monkeypatch):
    plain, elsewhere = torch.ones(2), torch.ones(2, device="meta")
    assert why_not_ours(plain, plain, compiled=False) is None
    assert why_not_ours(plain, elsewhere, compiled=True) == "the tensors are not on the CPU"
    monkeypatch.setattr(torch.compiler, "_is_compiling_flag", True)
    assert why_not_ours(plain, compiled=True) is None
    assert why_not_ours(plain, elsewhere, compiled=True) == "the tensors are not on the CPU"
    assert why_not_ours(plain, compiled=False) == "a compiler looks at the program"
    monkeypatch.setattr(torch.compiler, "_is_exporting_flag", True)
    assert why_not_ours(plain, compiled=True) == "the program is exported"
