"""Additive attention without a tensor of all hidden units, in plain torch and through the kernel in C++."""

import copy
import functools
import itertools

import oracles
import pytest
import torch
from checks import compiled, randn
from oracles import rows, tensor
from torch.utils._python_dispatch import TorchDispatchMode

from attnlib import Attend, attend, distributions, explain, masks, scores
from attnlib.fused import _additive_attention as attention
from attnlib.fused import _additive_energies as energies
from attnlib.fused import _tanh_sums as tanh_sums
from attnlib.fused import reference_only

ITEMS, N_QUERY, N_KEY, D_Q, D_K, D_V, D_W = 2, 13, 19, 7, 5, 3, 11
PATH = "additive without pairs"


@pytest.fixture(params=["torch", "C++"])
def way(request, monkeypatch, kernels):
    """Each way, on so little work that only the tests would take it, in parts and tiles that leave remainders."""
    if request.param == "C++":
        kernels("additive")
    for name, value in (("SIDE", 1), ("UNITS", 1)):
        monkeypatch.setattr(energies, name, value)
    monkeypatch.setattr(tanh_sums, "PAIRS", 5 * N_KEY)
    monkeypatch.setattr(tanh_sums, "TILE", 2 * N_KEY * D_W)
    return request.param


def some(dtype=torch.float32, size=1.0):
    """Query, key and value, and a score whose projections are ``size`` or so; the same numbers in every precision."""
    shapes = (ITEMS, N_QUERY, D_Q), (ITEMS, N_KEY, D_K), (ITEMS, N_KEY, D_V)
    parts = [randn(*shape, seed=seed).float().to(dtype) for seed, shape in enumerate(shapes)]
    score = scores.Additive(D_Q, D_K, D_W, dtype=torch.float64)
    with torch.no_grad():
        score.bias += size * randn(D_W) / 2
        score.query_weight *= size
        score.key_weight *= size
    return parts, score.float().to(dtype)


def results(parts, score, **options):
    """The context, and the gradients of all that has some."""
    parts = [part.detach().clone().requires_grad_() for part in parts]
    leaves = [*parts, *score.parameters(), *(x for x in options.values() if getattr(x, "requires_grad", False))]
    context = attend(*parts, score=score, need_weights=False, **options).context
    return [context.detach(), *torch.autograd.grad((context * randn(*context.shape).to(context)).sum(), leaves)]


def is_taken(*args, **options):
    return explain(attend, *args, need_weights=False, **options).choices[0].path in (PATH, "additive in C++")


def compared(parts, score, dtype=torch.float32, tolerance=1e-5, **options):
    """Values and gradients beside those of the reference in float64; where that errs more, so may the path."""
    exact = [part.double() for part in parts]
    wide = {
        name: x.detach().double().requires_grad_(x.requires_grad)
        if isinstance(x, torch.Tensor) and x.is_floating_point()
        else x
        for name, x in options.items()
    }
    assert is_taken(*parts, score=score, **options)
    found = results(parts, score, **options)
    with reference_only():
        reference = results(parts, score, **options)
        expected = results(exact, copy.deepcopy(score).double(), **wide)
    for one, other, wanted in zip(found, reference, expected, strict=True):
        assert one.dtype == other.dtype
        torch.testing.assert_close(one.isnan(), wanted.isnan())
        one, other, wanted = (x.double().nan_to_num() for x in (one, other, wanted))
        error = (one - wanted).abs().max()
        assert error <= max(tolerance * wanted.abs().max(), 2 * (other - wanted).abs().max())


def check_the_loop():
    """The context beside that of a loop over pairs from the paper's equation."""
    parts, score = some(torch.float64)
    given = {name: parameter.tolist() for name, parameter in score.named_parameters()}
    pair = functools.partial(oracles.additive, **given)
    seen = [[j <= i for j in range(N_KEY)] for i in range(N_QUERY)]
    context = attend(*parts, score=score, is_causal=True, need_weights=False).context
    for b in range(ITEMS):
        expected = oracles.attend(*(rows(part[b]) for part in parts), pair, seen)[0]
        torch.testing.assert_close(context[b], tensor(expected))


def test_the_context_is_that_of_the_loop(way):
    assert is_taken(*some()[0], score=some()[1])
    check_the_loop()


@pytest.mark.parametrize("size", [1e-3, 0.1, 1.0, 2.5, 6.0, 20.0, 500.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_size_of_numbers(way, size, dtype):
    """Small, where 1 + e^2(q + k) would lose them; up to where it overflows, and beyond."""
    compared(*some(dtype, size), tolerance=1e-5 if dtype == torch.float32 else 1e-9)


def test_features_far_to_one_side(way):
    """A bias beyond what exponentials hold, which the keys take back: the middle is moved."""
    parts, score = some()
    with torch.no_grad():
        score.bias += 60.0
        parts[1][..., 0] = 1.0
        score.key_weight[:, 0] = -60.0
    compared(parts, score)


def test_one_number_far_out(way):
    parts, score = some()
    parts[0][1, 3, 2] = 1e4
    parts[1][0, 17, 1] = -1e3
    compared(parts, score)


@pytest.mark.parametrize(
    ("tile", "pairs"), [(3 * D_W, N_KEY), (7 * D_W, 3), (70 * D_W, 9 * N_KEY), (2**18, 3 * N_QUERY * N_KEY)]
)
def test_tiles_and_parts_of_any_size(way, tile, pairs, monkeypatch):
    monkeypatch.setattr(tanh_sums, "TILE", tile)
    monkeypatch.setattr(tanh_sums, "PAIRS", pairs)
    parts, score = some()
    compared([part[:, :7] for part in parts], score, is_causal=True)
    compared([torch.cat([part, part + 1, part - 1]) for part in parts], score)


@pytest.mark.parametrize("size", [1e4, 1e30])
def test_large_energies(way, size):
    parts, score = some()
    with torch.no_grad():
        score.vector *= size
    compared(parts, score)


def hidden():
    mask = randn(ITEMS, N_QUERY, N_KEY) > 0
    mask[0, 4] = mask[1, :, 7] = False
    return mask


MASKS = {
    "padding": {"mask": masks.key_mask(torch.tensor([N_KEY - 6, 0]), N_KEY)},
    "causal": {"is_causal": True},
    "pairs": {"mask": hidden()},
    "pairs for all": {"mask": hidden()[:1]},
    "queries": {"mask": hidden().any(-1, keepdim=True) & (torch.arange(N_QUERY) != 5).unsqueeze(-1)},
    "bias": {"bias": randn(N_QUERY, N_KEY).float().requires_grad_()},
    "bias of keys": {"bias": randn(N_KEY).float().masked_fill(torch.arange(N_KEY) < 3, -torch.inf).requires_grad_()},
    "bias of queries": {"bias": randn(ITEMS, N_QUERY, 1).float().requires_grad_()},
    "all": {"bias": randn(ITEMS, 1, N_KEY).float().requires_grad_(), "mask": hidden(), "is_causal": True},
    "number": {"scale": -0.7},
    "learned": {"scale": torch.tensor([0.3], requires_grad=True)},
}


@pytest.mark.parametrize("name", MASKS)
def test_masks_biases_and_scales(way, name):
    compared(*some(), **MASKS[name])


@pytest.mark.parametrize("rubbish", [torch.nan, torch.inf, -torch.inf, 3e38, 1e20])
def test_what_is_hidden_changes_nothing(way, rubbish):
    parts, score = some()
    mask = hidden()
    clean = results(parts, score, mask=mask)
    parts[0][0, 4], parts[1][1, 7], parts[2][1, 7] = (torch.tensor(rubbish) for _ in range(3))
    assert is_taken(*parts, score=score, mask=mask)
    for one, other in zip(results(parts, score, mask=mask), clean, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("options", [{}, {"is_causal": True}, {"mask": hidden()}])
def test_what_is_seen_and_no_number_gives_nan_where_it_is_seen(way, which, options):
    parts, score = some()
    parts[which][1, 6, 2] = torch.nan
    found = attend(*parts, score=score, need_weights=False, **options).context
    with reference_only():
        expected = attend(*parts, score=score, need_weights=False, **options).context
    torch.testing.assert_close(found, expected, equal_nan=True)


def test_leading_axes_strides_and_one_axis(way):
    parts, score = some()
    query, key, value = parts
    for given in (
        (query[0], key[0], value[0]),
        (query.unsqueeze(1), key, value.unsqueeze(0)),
        (query[0, None, None], key, value),
        (query.mT.contiguous().mT, key[:, ::2], value[:, ::2]),
        (query[:, :1], key, value),
        (query, key[:, :1], value[:, :1]),
    ):
        assert is_taken(*given, score=score)
        compared(list(given), score)
    wide = [query.unsqueeze(1).expand(ITEMS, 3, -1, -1), key, value]
    compared(wide[:1] + [part.unsqueeze(1) for part in wide[1:]], score, mask=hidden().unsqueeze(1))


def test_grouped_queries(way):
    parts, score = some()
    query = torch.stack([parts[0], 2 * parts[0], -parts[0], parts[0] + 1], 1)
    key, value = (torch.stack([part, -part], 1) for part in parts[1:])
    bias = randn(4, N_QUERY, N_KEY).float().requires_grad_()
    compared([query, key, value], score, enable_gqa=True, bias=bias, is_causal=True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_no_further_from_the_truth(way, dtype):
    parts, score = some(dtype)
    compared(parts, score, tolerance=torch.finfo(dtype).eps / 4)


@pytest.mark.parametrize("name", ["concat", "partial", "partial of concat", "autocast"])
def test_other_forms_of_the_score(way, name):
    parts, score = some()
    given = dict(score.named_parameters())
    joined = torch.cat([given["query_weight"], given["key_weight"]], 1)
    if name == "concat":
        score = scores.Concat(D_Q, D_K, D_W)
    elif name == "partial":
        score = functools.partial(scores.additive, **given)
    elif name == "partial of concat":
        score = functools.partial(scores.concat, vector=given["vector"], weight=joined)
    with torch.autocast("cpu", enabled=name == "autocast"):
        assert is_taken(*parts, score=score)
        found = attend(*parts, score=score, need_weights=False).context
        with reference_only():
            expected = attend(*parts, score=score, need_weights=False).context
    torch.testing.assert_close(found, expected, atol=1e-2 if name == "autocast" else 1e-5, rtol=1e-5)


def test_second_derivatives(way):
    parts, score = some(torch.float64)
    parts = [part[:, :4].clone().requires_grad_() for part in parts]
    bias = randn(4, 4).requires_grad_()

    def run(*leaves):
        given = dict(zip(("vector", "query_weight", "key_weight"), leaves[3:6], strict=True))
        own = functools.partial(scores.additive, **given)
        return attend(*leaves[:3], score=own, bias=leaves[6], is_causal=True, need_weights=False).context

    leaves = [
        *parts,
        *(given.detach().clone().requires_grad_() for given in (score.vector, score.query_weight, score.key_weight)),
        bias,
    ]
    assert torch.autograd.gradcheck(run, leaves, fast_mode=True)
    assert torch.autograd.gradgradcheck(run, leaves, fast_mode=True)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.usefixtures("unchecked")
def test_a_compiler_sees_one_operation(way):
    parts, score = some()
    operations = []
    fast = compiled(Attend(score), operations)
    parts[0][0, 4] = torch.nan
    run = [functools.partial(f, mask=hidden(), need_weights=False) for f in (fast, Attend(score))]
    leaves = [part.clone().requires_grad_() for part in parts]
    found, expected = ([c, *torch.autograd.grad(c.sum(), leaves)] for c in (each(*leaves).context for each in run))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
    assert operations == ["attnlib.additive_attention.default", "attnlib.additive_attention_backward.default"]


def test_the_operations_keep_their_promises(way):
    left, right, value = (randn(ITEMS, n, D_W).float().requires_grad_() for n in (N_QUERY, N_KEY, N_KEY))
    vector, bias = randn(D_W).float().requires_grad_(), randn(N_QUERY, N_KEY).float().requires_grad_()
    options = {"test_utils": ("test_schema", "test_autograd_registration", "test_faketensor")}
    torch.library.opcheck(
        attention.additive_attention, (left, right, vector, value, bias, None, [ITEMS], True), **options
    )
    torch.library.opcheck(energies.additive_energies, (left, right, vector), **options)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch about itself
@pytest.mark.usefixtures("unchecked")
def test_transforms_get_the_reference(way):
    parts, score = some()

    def run(*parts):
        return attend(*parts, score=score, need_weights=False).context

    torch.testing.assert_close(torch.func.vmap(run)(*parts), run(*parts))
    query = parts[0].clone().requires_grad_()
    (expected,) = torch.autograd.grad(run(query, *parts[1:]).sum(), query)
    torch.testing.assert_close(torch.func.grad(lambda query: run(query, *parts[1:]).sum())(parts[0]), expected)
    torch.testing.assert_close(torch.func.jvp(run, tuple(parts), tuple(parts))[0], run(*parts))


class Largest(TorchDispatchMode):
    """Remembers of how many numbers the largest tensor is that an operation of torch returns."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        tensors = [
            each for each in (found if isinstance(found, (tuple, list)) else [found]) if isinstance(each, torch.Tensor)
        ]
        self.count = max(self.count, *(each.numel() for each in tensors), 0)
        return found


def test_memory_is_linear_in_the_length(way, monkeypatch):
    length, size = 211, 8
    left, right, value, grad = (randn(1, length, size).float() for _ in range(4))
    given = (left, right, randn(size).float(), value, None, None, [1], True)
    monkeypatch.setattr(tanh_sums, "TILE", length * size)
    monkeypatch.setattr(tanh_sums, "PAIRS", 4 * length)
    with Largest() as largest:
        attention.additive_attention._init_fn(*given)
        attention.additive_attention_backward._init_fn(grad, *given)
    assert largest.count <= 2 * length * size


REASONS = {
    "the distribution is not softmax": {"distribution": distributions.sparsemax},
    "the scale is not one for all queries": {"scale": torch.ones(N_QUERY, 1)},
    "the activation is not tanh": {"score": scores.Additive(D_Q, D_K, D_W, activation=torch.relu)},
    "the score is not additive": {"score": scores.Deep(D_Q, D_K, (D_W,))},
    "the precisions differ": {"scale": torch.tensor(0.5, dtype=torch.float64)},
}


@pytest.mark.parametrize("reason", REASONS)
def test_why_not(way, reason):
    parts, score = some()
    options = {"score": score, "need_weights": False, **REASONS[reason]}
    assert explain(attend, *parts, **options).choices[0].refused[PATH] == reason
    assert attend(*parts, **options).context.dtype


def test_why_not_dropout_hooks_and_little_work(way, monkeypatch):
    parts, score = some()
    module = Attend(score, dropout=0.5).train()
    assert "dropout" in explain(module, *parts, need_weights=False).choices[0].refused[PATH]
    assert is_taken(*parts, score=score)
    score.register_forward_hook(lambda *found: -found[-1])
    assert "hooks" in explain(attend, *parts, score=score, need_weights=False).choices[0].refused[PATH]
    monkeypatch.setattr(energies, "UNITS", 2**40)
    parts, score = some()
    assert "few pairs" in explain(attend, *parts, score=score, need_weights=False).choices[0].refused[PATH]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("make", [scores.Additive, scores.Concat])
def test_exports_with_open_sizes(way, make, need_weights):
    """Also to sizes on the other side of those from which on the operation is the quicker."""

    class Whole(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = Attend(make(D_Q, D_K, D_W))

        def forward(self, query, key):
            return self.attention(query, key, need_weights=need_weights).context

    layer, sizes = Whole(), {0: torch.export.Dim("batch"), 1: torch.export.Dim("time")}
    open_sizes = {"query": sizes, "key": {0: sizes[0], 1: torch.export.Dim("key")}}
    few, many = (torch.randn(2, 2, D_Q), torch.randn(2, 5, D_K)), (torch.randn(3, 9, D_Q), torch.randn(3, 7, D_K))
    for example, other in ((few, many), (many, few)):
        program = torch.export.export(layer, example, dynamic_shapes=open_sizes)
        torch.testing.assert_close(program.module()(*other), layer(*other))


@pytest.mark.parametrize("make", [scores.Additive, scores.Concat])
def test_tensors_may_stand_where_parameters_were(way, make):
    (parts, _), score = some(), make(D_Q, D_K, D_W)
    expected = attend(*parts, score=score, need_weights=False).context
    for place, parameter in list(score.named_parameters()):
        delattr(score, place)
        score.__dict__[place] = parameter.detach() * 1
    assert is_taken(*parts, score=score)
    found = attend(*parts, score=score, need_weights=False).context
    torch.testing.assert_close(found, expected)


@pytest.mark.usefixtures("unchecked")
def test_bad_parameters_raise_what_the_reference_raises(way):
    parts, _ = some()
    with pytest.raises(ValueError, match="key_weight"):
        attend(*parts, score=scores.Additive(D_Q, D_K + 1, D_W), need_weights=False)
    for n_query, n_key in ((0, N_KEY), (N_QUERY, 0)):
        given = parts[0][:, :n_query], parts[1][:, :n_key], parts[2][:, :n_key]
        assert not attend(*given, score=some()[1], need_weights=False).context.count_nonzero()


# --- the energies alone -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1e-3, 1.0, 6.0, 20.0, 500.0])
def test_energies_with_the_kernel_alone(way, size):
    parts, score = some(size=size)
    run = functools.partial(attend, score=score, mask=hidden())
    path = explain(score, *parts[:2]).choices[0].path
    assert path == ("kernel in C++" if way == "C++" else "reference")
    found = run(*parts)
    with reference_only():
        expected = run(*parts)
    close = functools.partial(torch.testing.assert_close, rtol=1e-4, atol=1e-5)
    if way == "torch":
        close = functools.partial(torch.testing.assert_close, rtol=0, atol=0)
    for one, other in zip(found, expected, strict=True):
        close(one, other)
    grads = []
    for only in (False, True):
        leaves = [*(part.clone().requires_grad_() for part in parts[:2]), *score.parameters()]
        with reference_only() if only else torch.enable_grad():
            energy = score(*leaves[:2])
            grads.append(torch.autograd.grad((energy * randn(*energy.shape)).sum(), leaves))
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5 * float(other.abs().max()))


def test_energies_of_no_numbers_and_their_second_derivative(way):
    parts, score = some(torch.float64)
    leaves = [part[:, :3].clone().requires_grad_() for part in parts[:2]]
    assert torch.autograd.gradgradcheck(score, leaves, fast_mode=True)
    for part, number in itertools.product((0, 1), (torch.nan, 1e308)):
        given = [each.clone() for each in parts[:2]]
        given[part][1, 2] = number
        found = score(*given)
        with reference_only():
            torch.testing.assert_close(found, score(*given), equal_nan=True)


# --- known wrong versions ---------------------------------------------------------------------------------------------


def one_table(part, form):
    """e^q in place of e^2q."""
    return part.tanh() if form == "ratio" else part.exp() if form == "exponential" else part


MUTANTS = {
    "e^q": ((tanh_sums, "_table", one_table), lambda: compared(*some())),
    "small numbers beside 1": ((tanh_sums, "SMALL", 0.0), lambda: compared(*some(size=1e-3))),
    "the first item's mask": (
        (attention._Spread, "of", lambda self, part: self._cut(self.tensor, part)[:1]),
        lambda: compared(*some(), **MASKS["pairs"]),
    ),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_wrong_versions_are_rejected(way, name, monkeypatch):
    (owner, attribute, wrong), check = MUTANTS[name]
    check()
    monkeypatch.setattr(owner, attribute, wrong)
    with pytest.raises(AssertionError):
        check()
