"""What a right implementation has to satisfy, as functions of the implementation.

The tests call them with attnlib's own functions; the same ones are called with functions that are wrong
in a known way, and each of those must fail. Sizes are different primes, so that no two axes can be exchanged unseen.
"""

import functools
import itertools
import math
from types import SimpleNamespace

import oracles
import torch
from oracles import rows, tensor
from torch.autograd import gradcheck, gradgradcheck

BATCH, QUERY, KEY = 2, 3, 5
D_K, D_Q, D_W, D_V = 7, 11, 13, 17
D_1, D_2, D_DEEP, N_MAX = 19, 23, 29, 31

close = functools.partial(torch.testing.assert_close, rtol=1e-10, atol=1e-12)


def randn(*shape, dtype=torch.float64, device="cpu", seed=0):
    """Random numbers that depend on shape and seed only, whatever the device."""
    generator = torch.Generator().manual_seed(seed + 1000 * sum(shape))
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(device=device, dtype=dtype)


def leaf(*shape, **options):
    return randn(*shape, **options).requires_grad_()


# --- attend(query, key, value, *, mask, is_causal) -> context, or a tuple that starts with it -------------------------


def inputs(dtype=torch.float64, device="cpu"):
    query = randn(BATCH, QUERY, D_K, dtype=dtype, device=device)
    key = randn(BATCH, KEY, D_K, dtype=dtype, device=device, seed=1)
    return query, key, randn(BATCH, KEY, D_V, dtype=dtype, device=device, seed=2)


def some_mask():
    """Every query sees something; the two sequences differ, and so do the queries."""
    return torch.tensor(
        [
            [[1, 0, 1, 1, 0], [0, 0, 1, 0, 0], [1, 1, 1, 1, 1]],
            [[1, 1, 0, 1, 0], [1, 0, 0, 1, 1], [0, 1, 0, 0, 1]],
        ]
    ).bool()


def mask_with_empty_row():
    mask = some_mask()
    mask[0, 1] = False
    return mask


def context_of(result):
    return result if isinstance(result, torch.Tensor) else result[0]


def oracle_attend(query, key, value, mask=None, is_causal=False, score=oracles.scaled_dot):
    """``oracles.attend`` over a batch: tensors in and out."""
    results = []
    for b in range(query.shape[0]):
        visible = [[True] * key.shape[1] for _ in range(query.shape[1])]
        for i, j in itertools.product(range(query.shape[1]), range(key.shape[1])):
            visible[i][j] = (mask is None or bool(mask[b, i, j])) and (not is_causal or j <= i)
        results.append(oracles.attend(rows(query[b]), rows(key[b]), rows(value[b]), score, visible))
    return [tensor(list(part)) for part in zip(*results, strict=True)]


def check_attend_value(attend):
    """Context, and weights and energies where there are any, are those of the loop."""
    query, key, value = inputs()
    for mask, is_causal in itertools.product((None, some_mask(), mask_with_empty_row()), (False, True)):
        result = attend(query, key, value, mask=mask, is_causal=is_causal)
        expected = oracle_attend(query, key, value, mask, is_causal)
        for got, wanted in zip(result if isinstance(result, tuple) else (result,), expected, strict=False):
            if got is not None:
                close(got, wanted)


def check_attend_gradient(attend, second=True):
    """Analytic derivatives are the numerical ones, with hidden keys and a row that sees nothing."""
    query, key, value = (part.requires_grad_() for part in inputs())
    for mask in (None, mask_with_empty_row()):
        run = functools.partial(lambda *parts, mask: context_of(attend(*parts, mask=mask)), mask=mask)
        assert gradcheck(run, (query, key, value), fast_mode=True, raise_exception=False)
        assert not second or gradgradcheck(run, (query, key, value), fast_mode=True, raise_exception=False)


def check_empty_row(attend, dtype=torch.float64, device="cpu"):
    """A query that sees nothing gets zeros, gives zero gradient, and disturbs no other."""
    query, key, value = (part.requires_grad_() for part in inputs(dtype, device))
    mask = mask_with_empty_row().to(device)
    result = attend(query, key, value, mask=mask)
    for part in result[:2] if isinstance(result, tuple) else (result,):
        assert part is None or (part[0, 1] == 0).all(), "a row that sees nothing must be zero"
    gradients = torch.autograd.grad(context_of(result).sum(), (query, key, value), materialize_grads=True)
    assert all(gradient.isfinite().all() for gradient in gradients), "gradients must be finite"
    assert (gradients[0][0, 1] == 0).all(), "the query that sees nothing must get no gradient"


def check_hidden_is_exact(attend, dtype=torch.float32, device="cpu"):
    """Weight behind the mask is exactly zero, however large the energy there or however low all the visible ones: a
    finite constant in place of minus infinity is not enough."""
    query, key, value = inputs(dtype, device)
    mask, hidden, size = some_mask().to(device), 1, 60 if dtype == torch.float16 else 1e12
    mask[:, :, hidden] = False
    key[0] = -query[0, 0] * size
    results = []
    for hidden_key, hidden_value in ((0, 0), (query[0, 1] * size, 100)):
        key[0, hidden], value[:, hidden] = hidden_key, hidden_value
        results.append(context_of(attend(query, key, value, mask=mask)))
    assert torch.equal(*results), "what the mask hides must not count"


def run_with_gradients(attend, query, key, value, **options):
    """Context and the gradients of a fixed weighting of it."""
    leaves = [part.detach().clone().requires_grad_() for part in (query, key, value)]
    context = context_of(attend(*leaves, **options))
    upstream = randn(*context.shape, dtype=context.dtype, device=context.device, seed=9)
    return [context.detach(), *torch.autograd.grad((context * upstream).sum(), leaves, materialize_grads=True)]


def check_nothing_leaks(attend, dtype=torch.float64, device="cpu", same=None):
    """NaN, infinity and huge numbers behind a padding mask, a per-query mask or in the future: no result, no gradient
    changes."""
    same = same or (lambda got, wanted: close(got, wanted, equal_nan=True))
    query, key, value = inputs(dtype, device)
    padding = torch.tensor([[[1, 1, 1, 0, 0]], [[1, 1, 1, 1, 0]]], device=device).bool()
    for bad, options in itertools.product(
        (torch.nan, torch.inf, -torch.inf),
        ({"mask": padding}, {"is_causal": True}, {"mask": padding, "is_causal": True}),
    ):
        wanted = run_with_gradients(attend, query, key, value, **options)
        spoilt_key, spoilt_value = key.clone(), value.clone()
        last = 3 if "is_causal" in options and "mask" not in options else 4  # queries 0 ... 2 see keys 0 ... 2
        spoilt_key[:, last:, 0] = bad
        spoilt_value[:, last:] = bad
        for got, want in zip(
            run_with_gradients(attend, query, spoilt_key, spoilt_value, **options), wanted, strict=True
        ):
            same(got, want)


def check_nothing_leaks_between_queries(attend, same=None):
    """Per query: those that do not see the bad key stay as they are, gradients too; those that do get NaN."""
    same = same or close
    query, key, value = inputs()
    for options in ({"is_causal": True}, {"mask": torch.ones(QUERY, KEY, dtype=torch.bool).tril()}):
        for which in ("key", "value"):
            spoilt = {"key": key.clone(), "value": value.clone()}
            spoilt[which][:, 1, 0] = torch.nan
            context = context_of(attend(query, spoilt["key"], spoilt["value"], **options))
            same(context[:, 0], context_of(attend(query, key, value, **options))[:, 0])
            affected = context[:, 1:] if which == "key" else context[:, 1:, 0]
            assert affected.isnan().all(), "a visible NaN must show"

            def first_row(*parts, options=options):
                return context_of(attend(*parts, **options))[:, :1]

            parts = (query, spoilt["key"], spoilt["value"])
            got = run_with_gradients(first_row, *parts)
            wanted = run_with_gradients(first_row, query, key, value)
            for got_part, want in zip(got, wanted, strict=True):
                same(got_part, want)


def check_nothing_mutated(attend):
    query, key, value = inputs()
    mask = some_mask()
    before = [part.clone() for part in (query, key, value, mask)]
    for is_causal in (False, True):
        attend(query, key, value, mask=mask, is_causal=is_causal)
    for name, part, copy in zip(("query", "key", "value", "mask"), (query, key, value, mask), before, strict=True):
        assert torch.equal(part, copy), f"{name} was changed"


def check_permutation(attend):
    """Keys and values in another order: the same context. Queries in another order: the contexts in that order."""
    query, key, value = inputs()
    mask, order = some_mask(), torch.tensor([3, 0, 4, 1, 2])
    context = context_of(attend(query, key, value, mask=mask))
    close(context_of(attend(query, key[:, order], value[:, order], mask=mask[..., order])), context)
    turned = torch.tensor([2, 0, 1])
    close(context_of(attend(query[:, turned], key, value, mask=mask[:, turned])), context[:, turned])


def check_causality(attend):
    """Perturb key and value ``j``: no query before ``j`` may notice, query ``j`` must."""
    query, key, value = inputs()
    before = context_of(attend(query, key, value, is_causal=True))
    for j in range(QUERY):
        other_key, other_value = key.clone(), value.clone()
        other_key[:, j] += 1
        other_value[:, j] += 1
        after = context_of(attend(query, other_key, other_value, is_causal=True))
        close(after[:, :j], before[:, :j])
        assert not torch.isclose(after[:, j], before[:, j]).any(), f"query {j} must see key {j}"


ATTEND_CHECKS = (
    check_attend_value,
    check_attend_gradient,
    check_empty_row,
    check_hidden_is_exact,
    check_nothing_leaks,
    check_nothing_leaks_between_queries,
    check_nothing_mutated,
    check_permutation,
    check_causality,
)


# --- scores -----------------------------------------------------------------------------------------------------------


def _softplus(vector):
    return [math.log1p(math.exp(x)) for x in vector]


def _first_map(vectors):
    return torch.cat([vectors, vectors.abs(), vectors[..., : D_1 - 2 * D_K]], dim=-1)


def _second_map(vectors):
    return torch.cat([vectors.square(), vectors, vectors, vectors[..., : D_2 - 3 * D_K]], dim=-1)


def _first_map_loop(vector):
    return vector + [abs(x) for x in vector] + vector[: D_1 - 2 * D_K]


def _second_map_loop(vector):
    return [x * x for x in vector] + vector + vector + vector[: D_2 - 3 * D_K]


def score_parameters(name):
    """Keyword arguments for the function, and for its loop."""
    d_q = D_K if name in ("similarity", "dot", "scaled_dot", "generalized_kernel", "gaussian") else D_Q
    tensors = {
        "general": {"weight": leaf(D_Q, D_K)},
        "biased_general": {"weight": leaf(D_K, D_Q), "bias": leaf(D_K)},
        "activated_general": {"weight": leaf(D_Q, D_K), "bias": leaf()},
        "concat": {"vector": leaf(D_W), "weight": leaf(D_W, D_Q + D_K), "bias": leaf(D_W, seed=1)},
        "additive": {
            "vector": leaf(D_W),
            "query_weight": leaf(D_W, D_Q),
            "key_weight": leaf(D_W, D_K),
            "bias": leaf(D_W, seed=1),
        },
        "deep": {
            "query_weight": leaf(D_W, D_Q),
            "key_weight": leaf(D_W, D_K),
            "bias": leaf(D_W),
            "layers": [(leaf(D_DEEP, D_W), leaf(D_DEEP)), (leaf(D_1, D_DEEP), leaf(D_1))],
            "vector": leaf(D_1, seed=1),
            "vector_bias": leaf(),
        },
        "location_based": {"weight": leaf(N_MAX, D_Q)},
        "feature_based": {
            "vector": leaf(D_W),
            "first_weight": leaf(D_W, D_1),
            "second_weight": leaf(D_W, D_2),
            "bias": leaf(D_W, seed=1),
        },
    }.get(name, {})
    lists = {part: _as_lists(value) for part, value in tensors.items()}
    if name == "feature_based":
        tensors |= {"first_map": _first_map, "second_map": _second_map}
        lists |= {"first_map": _first_map_loop, "second_map": _second_map_loop}
    if name == "gaussian":
        tensors["width"] = lists["width"] = 0.7
    if name == "generalized_kernel":
        tensors["feature_map"], lists["feature_map"] = torch.nn.functional.softplus, _softplus
    return SimpleNamespace(d_q=d_q, tensors=tensors, lists=lists)


def _as_lists(value):
    return [tuple(rows(part) for part in pair) for pair in value] if isinstance(value, list) else rows(value)


def check_score_value(name, score):
    """Energies are those of the loop, with every option set; query and key broadcast over heads and batch."""
    parameters = score_parameters(name)
    query, key = randn(BATCH, 1, QUERY, parameters.d_q), randn(4, KEY, D_K, seed=1)
    loop = functools.partial(getattr(oracles, name), **parameters.lists)
    expected = [
        [[[loop(q, k, i) for i, k in enumerate(rows(keys))] for q in rows(queries[0])] for keys in key]
        for queries in query
    ]
    close(score(query, key, **parameters.tensors).detach(), tensor(expected))


def check_score_gradient(name, score):
    """First and second derivatives in query, key and every parameter."""
    parameters = score_parameters(name)
    query, key = leaf(BATCH, QUERY, parameters.d_q), leaf(KEY, D_K, seed=1)
    names = [part for part, value in parameters.tensors.items() if isinstance(value, torch.Tensor)]
    fixed = {part: value for part, value in parameters.tensors.items() if part not in names}

    def run(query, key, *values):
        return score(query, key, **dict(zip(names, values, strict=True)), **fixed)

    leaves = (query, key, *(parameters.tensors[part] for part in names))
    assert gradcheck(run, leaves, fast_mode=True, raise_exception=False)
    assert gradgradcheck(run, leaves, fast_mode=True, raise_exception=False)


def check_zero_vector(similarity):
    """A vector of length zero has no direction: energy zero, gradient zero, nothing NaN."""
    query, key = leaf(QUERY, D_K), randn(KEY, D_K, seed=1)
    key[2] = 0
    key.requires_grad_()
    energies = similarity(query, key)
    assert (energies[:, 2] == 0).all()
    gradients = torch.autograd.grad(energies.square().sum() + energies.sum(), (query, key), create_graph=True)
    assert (gradients[1][2] == 0).all()
    second = torch.autograd.grad(sum(part.square().sum() for part in gradients), (query, key))
    assert all(part.isfinite().all() for part in (*gradients, *second))


# --- masks ------------------------------------------------------------------------------------------------------------

SHAPES = [(3, 3), (3, 5), (5, 3), (1, 4), (4, 1)]
ALIGNMENTS = ["upper-left", "lower-right"]


def check_key_mask(key_mask):
    for lengths in ([0, 3, 5], [5], [1]):
        assert torch.equal(key_mask(torch.tensor(lengths), 5), torch.tensor(oracles.key_mask(lengths, 5)))


def check_causal(causal):
    for (n_query, n_key), alignment in itertools.product(SHAPES, ALIGNMENTS):
        expected = torch.tensor(oracles.causal(n_query, n_key, alignment))
        assert torch.equal(causal(n_query, n_key, alignment=alignment), expected)


def check_window(window):
    sides = [(1, 1), (2, 1), (1, 3), (3, 2), (None, 1), (2, None), (None, None)]
    for (n_query, n_key), (left, right), alignment in itertools.product(SHAPES, sides, ALIGNMENTS):
        expected = torch.tensor(oracles.window(n_query, n_key, left, right, alignment))
        assert torch.equal(window(n_query, n_key, left=left, right=right, alignment=alignment), expected)


# --- what a compiler sees ---------------------------------------------------------------------------------------------


def compiled(function, operations):
    """Compiled whole, without code of its own; the operations of this library in its graphs are added to a list."""
    from functorch.compile import make_boxed_func
    from torch._dynamo.backends.common import aot_autograd

    def kept(graph, _):
        operations.extend(str(node.target) for node in graph.graph.nodes if "attnlib" in str(node.target))
        return make_boxed_func(graph.forward)

    torch._dynamo.reset()
    return torch.compile(function, backend=aot_autograd(fw_compiler=kept), fullgraph=True)
