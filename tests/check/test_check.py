"""The check: our own mechanisms pass, each property has a wrong version that it names first, bad input gives a line."""

import time

import pytest
import torch
from checks import D_K, D_V, KEY, QUERY
from mechanisms import MECHANISMS

from attnlib import attend
from attnlib.check import Report, assert_attention, check
from attnlib.check._kinds import KINDS
from attnlib.check._property import PROPERTIES
from attnlib.distributions import softmax

pytestmark = pytest.mark.usefixtures("unchecked")

# What sort of attention each mechanism is, where it is not by energies that grow, with weights that sum to one.
KIND = {
    **dict.fromkeys(("similarity", "activated_general", "concat", "additive", "deep"), "bounded"),
    **dict.fromkeys(("dot",), "dot"),
    **dict.fromkeys(("scaled_dot",), "scaled dot"),
    **dict.fromkeys(("linear", "polynomial kernel"), "kernel"),
    **dict.fromkeys(("bias", "factors", "synthetic, mixed", "span"), "positional"),
    **dict.fromkeys(("sigmoid", "non-local, dot product", "non-local, concatenation"), "unnormalised"),
    **dict.fromkeys(("local", "local, additive", "segmentation"), ("unnormalised", "positional")),
    **dict.fromkeys(("location_based", "synthetic"), "static"),
    "causal": ("causal", "scaled dot"),
    "linear, causal": ("causal", "kernel"),
    "feature_based": ("own", "bounded"),
    "factors, key content": ("own", "positional"),
}
SIZES = {"query": QUERY, "key": KEY, "d_k": D_K, "d_v": D_V}
# Nightly: slow, or near to another one.
SLOW = {"entmax 1.3", "segmentation", "local, additive", "factors, key content", "general", "biased_general", "deep",
        "concat", "softmax, T = 0.5", "entmax", "bias", "scale", "dot", "activated_general", "synthetic, mixed",
        "non-local, concatenation", "polynomial kernel"}  # fmt: skip


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.nightly) if name in SLOW else name for name in MECHANISMS]
)
def test_our_own_mechanisms_pass(name):
    kind = KIND.get(name, "softmax")
    sizes = SIZES | ({"query": KEY} if "causal" in kind else {})
    # A window's weights are given by its places, as many as there are keys here.
    sizes |= {"key": 11} if name.startswith("local") else {}
    report = check(MECHANISMS[name](torch.float64), kind=kind, sizes=sizes)
    assert report.failed == [], report
    assert {"sum", "query", "hidden garbage", "hidden gradient", "batch", "gradient"} & set(report.unlooked) <= set(
        KINDS[kind].without if isinstance(kind, str) else set().union(*(KINDS[one].without for one in kind))
    )


# --- for each property, a version that it names first -----------------------------------------------------------------


def energies_of(query, key, mask=None):
    energies = query @ key.mT / query.shape[-1] ** 0.5
    return energies if mask is None else energies.masked_fill(~mask, -torch.inf)


def cleaned(key, value, mask):
    """Noughts wherever nobody looks."""
    return [part if mask is None else torch.where(mask.any(1)[..., None], part, 0.0) for part in (key, value)]


def with_weights(weigh):
    """The values by the weights that a function of energies and mask gives; no 0 * NaN."""

    def run(query, key, value, mask=None):
        key, value = cleaned(key, value, mask)
        seen = torch.ones_like(query @ key.mT).bool() if mask is None else mask
        return torch.where(seen, weigh(query @ key.mT / query.shape[-1] ** 0.5, seen), 0.0) @ value

    return run


def safe(energies, seen, dim=-1):
    return softmax(torch.where(seen, energies, -torch.inf).transpose(dim, -1)).transpose(dim, -1)


class Remembers:
    """The first key of the last call comes along."""

    last = 0.0

    def __call__(self, query, key, value, mask=None):
        last, self.last = self.last, float(value[0, 0, 0].nan_to_num(0, 0, 0).clamp(-1, 1))
        return attend(query, key, value, mask=mask).context + last


def edits(query, key, value, mask=None):
    return attend(query.mul_(2), key, value, mask=mask).context


def distance(query, key, value, mask=None):
    place = torch.arange(key.shape[1], dtype=query.dtype)
    return attend(query, key, value, mask=mask, bias=-place.expand(query.shape[1], -1)).context


def counts_keys(query, key, value, mask=None):
    return attend(query, key, value, mask=mask, scale=key.shape[1] / 7).context


def asked_differs(query, key, value, mask=None, need_weights=True):
    context, weights = attend(query, key, value, mask=None if need_weights else mask)[:2]
    return context, weights if need_weights else None


def other_weights(query, key, value, mask=None):
    context, weights = attend(query, key, value, mask=mask)[:2]
    return context, attend(query * 2, key, value, mask=mask).weights + 0 * weights


def norm_of_all(query, key, value, mask=None):
    finite = key.clamp(-1e3, 1e3).nan_to_num()
    return attend(query, key / finite.norm(dim=(1, 2), keepdim=True), value, mask=mask).context


def keys_not_cleaned(query, key, value, mask=None):
    """No NaN goes forward, and the gradient of the inner product brings it back."""
    if mask is not None:
        value = torch.where(mask.any(1)[..., None], value, 0.0)
    return softmax(energies_of(query, key, mask)) @ value


def empty_is_nan(query, key, value, mask=None):
    context = attend(query, key, value, mask=mask).context
    return context if mask is None else context.masked_fill(~mask.any(-1, keepdim=True), torch.nan)


def constant_of_single(query, key, value, mask=None):
    """Hides by a number that half precision does not have."""
    key, value = cleaned(key, value, mask)
    energies = query @ key.mT / query.shape[-1] ** 0.5
    return (energies if mask is None else energies.masked_fill(~mask, -1e9)).softmax(-1) @ value


def elu_in_half(query, key, value, mask=None):
    key, value = cleaned(key, value, mask)
    query, key = (torch.nn.functional.elu(part) + 1 for part in (query, key))
    weights = query @ key.mT
    weights = weights if mask is None else torch.where(mask, weights, 0.0)
    return weights / weights.sum(-1, keepdim=True).clamp(min=torch.finfo(weights.dtype).tiny) @ value


def bare(query, key, value, mask=None):
    """The formula, as it is taught."""
    return energies_of(query, key, mask).softmax(-1) @ value


def monotone(query, key, value, mask=None):
    """The query moves all energies alike, before a function that only rises."""
    key, value = cleaned(key, value, mask)
    energies = (query.sum(-1)[..., None] + key.sum(-1)[:, None]).div(4).tanh()
    return safe(energies, torch.ones_like(energies).bool() if mask is None else mask) @ value


def cosine(query, key, value, mask=None):
    if mask is not None:
        key = torch.where(mask.any(1)[..., None], key, 1.0)
    return attend(query / query.norm(dim=-1, keepdim=True), key / key.norm(dim=-1, keepdim=True), value, mask=mask)[0]


MUTANTS = {
    "mutation": (edits, "softmax"),
    "repeat": (Remembers(), "softmax"),
    "linear": (lambda q, k, v, mask=None: attend(q, k, v, mask=mask)[0].tanh(), "softmax"),
    "asking": (asked_differs, "softmax"),
    "axis": (with_weights(lambda e, seen: safe(e, seen, -2)), "softmax"),
    "sum": (with_weights(lambda e, seen: e.sigmoid()), "softmax"),
    "told": (other_weights, "softmax"),
    "query": (lambda q, k, v, mask=None: attend(torch.ones_like(q), k, v, mask=mask)[0], "softmax"),
    "keys": (lambda q, k, v, mask=None: attend(q, k.cumsum(1) * 0 + torch.eye(*k.shape[1:]), v, mask=mask)[0],
             "softmax"),
    "constant": (lambda q, k, v, mask=None: attend(q, k, v, mask=mask)[0], "constant"),
    "choice": (monotone, "bounded"),
    "ties": (lambda q, k, v, mask=None: attend(q, k[:, torch.arange(k.shape[1]) // 2], v, mask=mask)[0], "softmax"),
    "rows": (lambda q, k, v, mask=None: attend(q - q.mean(1, keepdim=True), k, v, mask=mask)[0], "softmax"),
    "batch": (lambda q, k, v, mask=None: attend(q - q.mean(0), k, v, mask=mask)[0], "softmax"),
    "order": (distance, "softmax"),
    "hidden weight": (lambda q, k, v, mask=None: attend(q, k, v)[0], "softmax"),
    "hidden influence": (norm_of_all, "softmax"),
    "hidden garbage": (bare, "softmax"),
    "hidden gradient": (keys_not_cleaned, "softmax"),
    "empty row": (empty_is_nan, "softmax"),
    "padding": (counts_keys, "softmax"),
    "future": (lambda q, k, v, mask=None: attend(q, k, v, mask=mask)[0], "causal"),
    "sharpness": (with_weights(lambda e, seen: safe(e.tanh(), seen)), "softmax"),
    "energies": (lambda q, k, v, mask=None: attend(q, k, v, mask=mask, scale=1.0)[0], "scaled dot"),
    "zeros": (cosine, "bounded"),
    "large": (with_weights(lambda e, seen: e.exp() * seen / (e.exp() * seen).sum(-1, keepdim=True).clamp(min=1e-9)),
              "softmax"),
    "half": (constant_of_single, "softmax"),
    "features": (elu_in_half, "kernel"),
    "gradient": (lambda q, k, v, mask=None: attend(q.detach(), k, v, mask=mask)[0], "softmax"),
}  # fmt: skip


@pytest.mark.parametrize("name", MUTANTS)
def test_each_property_names_a_wrong_version_first(name):
    function, kind = MUTANTS[name]
    report = check(function, kind=kind)
    assert report.failed[:1] == [name], report
    finding = report[name]
    assert finding.found
    assert set(finding.case) >= {"query", "key", "value"}


def test_every_property_has_a_wrong_version():
    assert set(MUTANTS) == set(PROPERTIES) - {"sums"}  # which demands nothing


def test_every_word_of_a_kind_is_a_property():
    for kind in KINDS.values():
        assert kind.without | kind.also <= set(PROPERTIES)
    optional = {name for name, prop in PROPERTIES.items() if prop.optional}
    assert set().union(*(kind.also for kind in KINDS.values())) == optional


def test_the_smallest_case_is_given():
    """The formula, as it is taught: two keys, one of them hidden, show its fault, and stand in the report."""
    finding = check(bare)["hidden garbage"]
    assert "1 query, 2 keys, 2 features" in finding.found
    assert bare(**finding.case).isnan().any()
    mask = finding.case["mask"]
    clean = torch.where(mask[0, 0, :, None], finding.case["value"], 0.0)
    assert bare(**finding.case | {"value": clean}).isfinite().all()


# --- what is not attention --------------------------------------------------------------------------------------------


def needs_gpu(query, key, value, mask=None):
    raise RuntimeError("Expected all tensors to be on the same device, but found at least two devices")


def shape_of_another(query, key, value, mask=None):
    return value[:, :3]


def inner_shape(query, key, value, mask=None):
    return (query @ key.mT).sum()


BAD = {
    "a number": (3, "int cannot be called"),
    "no arguments": (lambda: None, "TypeError"),
    "two arguments": (lambda query, key: query, "TypeError"),
    "raises": (lambda query, key, value, mask=None: 1 / 0, "ZeroDivisionError: division by zero"),
    "nothing": (lambda query, key, value, mask=None: None, "returned nothing; a tensor"),
    "a dictionary": (lambda query, key, value, mask=None: {"context": query}, "returned a dict; a tensor"),
    "an empty tuple": (lambda query, key, value, mask=None: (), "returned a tuple"),
    "a shape without queries": (shape_of_another, "the context has shape (2, 3, 8); (batch, query, size)"),
    "a number as context": (inner_shape, "the context has shape ()"),
    "whole numbers": (lambda query, key, value, mask=None: query.long(), "dtype torch.int64; floating point"),
    "a mask of another shape": (
        lambda query, key, value, mask=None: value[:, :5] if mask is None else value[mask[:, 0, :, None, None]],
        "with a mask of shape (batch, query, key): IndexError",
    ),
    "needs a GPU": (needs_gpu, "device='cuda'"),
    "fixed inputs": (torch.nn.Linear(3, 3), "TypeError"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_gives_a_line(name):
    function, said = BAD[name]
    report = check(function)
    assert report.failed[0] == "call"
    assert said in report["call"].found
    assert said.split(";")[0] in " ".join(repr(report).split())
    assert len(repr(report).splitlines()) < 6 or "mask" in name


def sometimes():
    calls = []

    def run(query, key, value, mask=None):
        calls.append(1)
        if len(calls) % 3 == 0:
            raise OSError("busy")
        return attend(query, key, value, mask=mask).context

    return run


ODD = {
    "nothing but NaN": lambda query, key, value, mask=None: query * torch.nan,
    "random": lambda query, key, value, mask=None: torch.randn_like(query),
    "dropout": lambda query, key, value, mask=None: torch.nn.functional.dropout(attend(query, key, value).context),
    "another shape each time": lambda query, key, value, mask=None: query[..., : 1 + torch.randint(4, ())],
    "other weights each time": lambda query, key, value, mask=None: (query, query[..., : 1 + torch.randint(4, ())]),
    "detached": lambda query, key, value, mask=None: attend(query, key, value, mask=mask).context.detach(),
    "raises now and then": sometimes(),
    "ends the program": lambda query, key, value, mask=None: query if mask is None else exit(3),
    "no size": lambda query, key, value, mask=None: query[..., :0],
    "edits the mask": lambda query, key, value, mask=None: query if mask is None else query + mask.fill_(True).sum(),
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("kind", ["softmax", ("causal", "kernel", "unnormalised")])
def test_odd_functions_give_a_report(name, kind):
    report = check(ODD[name], kind=kind)
    assert report.failed
    assert repr(report)


def test_the_faults_are_called_by_name():
    assert "repeat" in check(ODD["dropout"]).failed
    assert "mask is changed by the call" in check(ODD["edits the mask"])["mutation"].found
    assert check(ODD["detached"])["gradient"].found.startswith("no gradient reaches the inputs")


def test_a_module_stays_as_it_was():
    module = torch.nn.MultiheadAttention(8, 2, batch_first=True, dropout=0.5)
    before = {name: part.clone() for name, part in module.state_dict().items()}

    class Takes(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = module

        def forward(self, query, key, value):
            return self.inner(query, key, value)[0]

    report = check(Takes())
    assert report.failed == []
    assert "the module is looked at as in eval()" in report.remarks
    assert module.training
    assert all(torch.equal(part, before[name]) for name, part in module.state_dict().items())
    assert module.in_proj_weight.dtype == torch.float32
    assert module.in_proj_weight.grad is None


def test_random_numbers_go_on_as_if_nothing_had_been():
    torch.manual_seed(3)
    wanted = torch.rand(())
    torch.manual_seed(3)
    check(ODD["random"])
    assert torch.equal(torch.rand(()), wanted)


def test_in_single_precision_where_there_is_no_double():
    def single(query, key, value, mask=None):
        return attend(query.float(), key.float(), value.float(), mask=mask).context

    report = check(single, skip=["gradient"])
    assert report.remarks == ("takes no double: looked at in float32",)
    assert report.failed == []
    assert report["gradient"].found == "left out as asked"


def test_in_single_precision_where_that_is_what_goes_on_inside():
    """As in x-transformers, whose softmax is of single precision: differences of 1e-8 are no faults."""

    def inside(query, key, value, mask=None):
        return attend(query.float(), key.float(), value.float(), mask=mask).context.to(query.dtype)

    report = check(inside)
    assert report.remarks == ("computes in single precision: looked at in float32",)
    assert report.failed == []
    assert check(attend).remarks == ()


def test_as_many_queries_as_keys():
    def square(query, key, value, mask=None):
        return attend(query + 0 * key, key, value, mask=mask).context

    report = check(square)
    (remark,) = report.remarks
    assert remark.startswith("takes as many queries as keys only; with 5 and 7: RuntimeError")
    assert report["query"].holds


def test_keys_that_are_the_values():
    report = check(lambda query, key, value, mask=None: attend(query, key, value, mask=mask)[:2], tied=True)
    assert report.failed == []
    assert {"linear", "told"} == set(report.unlooked) - {"asking"}
    silent = check(lambda query, key, value, mask=None: attend(query, key, value, mask=mask)[0], tied=True)
    assert {"keys", "choice"} < set(silent.unlooked)


def test_a_second_result_that_is_no_weights():
    report = check(lambda query, key, value, mask=None: (attend(query, key, value, mask=mask)[0], query))
    assert report.failed == []
    (remark,) = report.remarks
    assert remark.startswith("the second result, of shape (2, 5, 8), is not read as weights")


def test_time_is_limited():
    def slow(query, key, value, mask=None):
        time.sleep(0.02)
        return attend(query, key, value, mask=mask).context

    report = check(slow, seconds=0.0)
    assert {report[name].found for name in report.unlooked} == {"no time left"}


def test_wrong_arguments():
    with pytest.raises(ValueError, match=r"kind must be among 'softmax', .* got 'soft'"):
        check(attend, kind="soft")
    with pytest.raises(ValueError, match="sizes must be of batch, query, key, d_k, d_v, got 'heads'"):
        check(attend, sizes={"heads": 2})
    with pytest.raises(ValueError, match="at least 1, got key=0"):
        check(attend, sizes={"key": 0})
    with pytest.raises(ValueError, match=r"skip must name properties .* got speed"):
        check(attend, skip=["speed"])
    with pytest.raises(ValueError, match="allow must name properties, got speed"):
        assert_attention(attend, allow=["speed"])
    with pytest.raises(KeyError, match="no property is called 'speed'"):
        check(attend)["speed"]


def test_the_helper_for_tests():
    assert isinstance(assert_attention(attend), Report)
    with pytest.raises(AssertionError, match=r"(?s)bare as softmax.*hidden garbage +NO.*nought times NaN"):
        assert_attention(bare)
    allowed = ("hidden garbage", "hidden gradient", "empty row")
    assert assert_attention(bare, allow=allowed).failed == list(allowed)
    assert assert_attention(bare, skip=allowed[:2], allow="empty row").failed == ["empty row"]
    assert "sum" in check(attend, skip="sum").unlooked
    with pytest.raises(AssertionError, match="query holds, and need not be allowed not to"):
        assert_attention(bare, allow=(*allowed, "query"))


def test_the_table():
    report = check(bare, kind=["scaled dot", "positional"])
    lines = repr(report).splitlines()
    assert lines[0].startswith("bare as scaled dot, positional: ")
    assert max(map(len, lines)) <= 112
    assert report["order"].found == "does not apply to positional attention"
    assert any(line.split()[:2] == ["order", "-"] for line in lines)
    assert all(name in repr(report) for name in (*report.failed, *report.passed, *report.unlooked))
