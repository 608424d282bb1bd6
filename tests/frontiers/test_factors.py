"""Four factors: a loop over pairs, on a line and in a grid; what each term sees; and versions that are wrong."""

import itertools
import math

import pytest
import torch
from checks import close, leaf, randn
from oracles import rows, tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.utils._python_dispatch import TorchDispatchMode

from attnlib import Attention, attend, scores
from attnlib.frontiers.factors import Factors, factors
from attnlib.frontiers.relative_positions import distance_features, grid_energies, relative_shift
from attnlib.output_representations.multihead import MultiHead
from attnlib.output_representations.parts import split

BATCH, HEADS, D_K, D_V = 2, 3, 7, 11
LINE, GRID = ((3,), (5,)), ((2, 3), (3, 5))  # sizes for queries, for keys
ALL = (1, 2, 3, 4)
SUBSETS = [terms for n in range(5) for terms in itertools.combinations(ALL, n)]


# --- the oracle: a plain loop from the paper's table of energies ------------------------------------------------------


def loop(query, key, value, *, terms, vectors, key_bias, position_bias, sizes, scale, visible):
    """One head. ``vectors[axis][distance + n_query - 1]``; places are told as coordinates. Contexts, weights."""

    def inner(a, b):
        return sum(x * y for x, y in zip(a, b, strict=True))

    places = [list(itertools.product(*map(range, size))) for size in sizes]
    contexts, weights = [], []
    for i, at in enumerate(places[0]):
        exponentials = []
        for j, there in enumerate(places[1]):
            steps = [b - a + n - 1 for a, b, n in zip(at, there, sizes[0], strict=True)]
            far = [sum(parts) for parts in zip(*(vectors[a][s] for a, s in enumerate(steps)), strict=True)]
            energy = {
                1: inner(query[i], key[j]),
                2: inner(query[i], far),
                3: inner(key_bias, key[j]),
                4: inner(position_bias, far),
            }
            exponentials.append(math.exp(scale * sum(energy[t] for t in terms)) if visible[i][j] else 0.0)
        total = sum(exponentials)
        row = [e / total if total else 0.0 for e in exponentials]
        contexts.append([inner(row, [v[c] for v in value]) for c in range(len(value[0]))])
        weights.append(row)
    return contexts, weights


def given(sizes, n_heads=HEADS):
    """Queries, keys and values of several heads, and what the terms need."""
    n_query, n_key = math.prod(sizes[0]), math.prod(sizes[1])
    query = leaf(BATCH, n_heads, n_query, D_K)
    key, value = leaf(BATCH, n_heads, n_key, D_K, seed=1), leaf(BATCH, n_heads, n_key, D_V, seed=2)
    vectors = [leaf(n_heads, a + b - 1, D_K, seed=3 + axis) for axis, (a, b) in enumerate(zip(*sizes, strict=True))]
    return (query, key, value), {
        "vectors": vectors,
        "key_bias": leaf(n_heads, D_K, seed=5),
        "position_bias": leaf(n_heads, D_K, seed=6),
    }


def some_mask(n_query, n_key):
    mask = randn(BATCH, 1, n_query, n_key, seed=7) > -0.7
    mask[1, 0, 1] = False
    return mask


def wanted(parts, options, sizes, *, terms, scale, mask, is_causal):
    n_query, n_key = parts[0].shape[-2], parts[1].shape[-2]
    visible = torch.ones(BATCH, HEADS, n_query, n_key).bool() if mask is None else mask.expand(-1, HEADS, -1, -1)
    visible = visible.tril() if is_causal else visible
    found = [
        [
            loop(
                *(rows(part[b, h]) for part in parts),
                terms=terms,
                vectors=[rows(v[h]) for v in options["vectors"]],
                key_bias=rows(options["key_bias"][h]),
                position_bias=rows(options["position_bias"][h]),
                sizes=sizes,
                scale=scale,
                visible=visible[b, h].tolist(),
            )
            for h in range(HEADS)
        ]
        for b in range(BATCH)
    ]
    return [tensor([[head[i] for head in sentence] for sentence in found]) for i in range(2)]


def check_value(function, subsets=SUBSETS):
    """On a line with each choice of terms, in a grid with some."""
    for sizes, terms in [*((LINE, terms) for terms in subsets), (GRID, (1, 2)), (GRID, (3, 4))]:
        parts, options = given(sizes)
        mask = some_mask(parts[0].shape[-2], parts[1].shape[-2])
        for seen, is_causal in ((None, False), (mask, True)):
            asked = {"terms": terms, "scale": 0.5, "mask": seen, "is_causal": is_causal}
            found = function(*parts, **options, shape=sizes[0], **asked)
            for got, want in zip(found[:2], wanted(parts, options, sizes, **asked), strict=True):
                close(got.detach(), want)


def test_it_is_the_loop_with_every_choice_of_terms():
    check_value(factors)


def test_slopes_are_the_numerical_ones():
    for sizes, terms in ((LINE, ALL), (GRID, (2, 3)), (GRID, (4,)), (LINE, (3,))):
        parts, options = given(sizes, 1)
        mask = some_mask(parts[0].shape[-2], parts[1].shape[-2])

        def run(*leaves, sizes=sizes, terms=terms, mask=mask):
            vectors, (key_bias, position_bias) = leaves[3:-2], leaves[-2:]
            biases = {"key_bias": key_bias, "position_bias": position_bias}
            return factors(*leaves[:3], vectors=vectors, **biases, terms=terms, shape=sizes[0], mask=mask).context

        leaves = (*parts, *options["vectors"], options["key_bias"], options["position_bias"])
        assert gradcheck(run, leaves, fast_mode=True)
        assert gradgradcheck(run, leaves, fast_mode=True)


# --- "is": relations to what stands elsewhere -------------------------------------------------------------------------


def test_the_first_alone_is_dot_product_attention():
    (query, key, value), _ = given(LINE)
    for got, want in zip(
        factors(query, key, value, terms=[1]), attend(query, key, value, score=scores.dot), strict=True
    ):
        close(got, want)
    scaled = factors(query, key, value, terms=[1], scale=D_K**-0.5)
    close(scaled.context, attend(query, key, value).context)


def test_all_four_are_transformer_xls_attention():
    """Its four terms for one pair, (a) to (d), from inputs and matrices, with memory before the queries; masked."""
    d, n_query, n_memory = 5, 3, 2
    hidden = randn(n_memory + n_query, d)
    names = ("query", "key", "value", "position")
    w_q, w_k, w_v, w_r = (randn(D_K, d if name != "position" else 8, seed=s) for s, name in enumerate(names))
    u, v = randn(D_K, seed=8), randn(D_K, seed=9)
    n_key = n_memory + n_query
    energies = torch.full((n_query, n_key), -torch.inf, dtype=torch.float64)
    for i, j in itertools.product(range(n_query), range(n_key)):
        distance = i + n_memory - j  # i - j in the paper, where i counts from the first of the memory
        if distance >= 0:
            feature = torch.tensor(
                [f(-distance / 10000 ** (2 * p / 8)) for p in range(4) for f in (math.sin, math.cos)]
            ).double()
            q, k, r = w_q @ hidden[n_memory + i], w_k @ hidden[j], w_r @ feature
            energies[i, j] = (q @ k + q @ r + u @ k + v @ r) / math.sqrt(D_K)
    features = distance_features(n_query, n_key, 8, base=10000.0, offset=n_memory, dtype=torch.float64)
    seen = torch.ones(n_query, n_key).bool().tril(n_memory)
    found = factors(
        hidden[n_memory:] @ w_q.T,
        hidden @ w_k.T,
        hidden @ w_v.T,
        vectors=features @ w_r.T,
        key_bias=u,
        position_bias=v,
        scale=D_K**-0.5,
        mask=seen,
    )
    torch.testing.assert_close(found.energies, energies, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(found.context, energies.softmax(-1) @ hidden @ w_v.T, rtol=1e-6, atol=1e-6)


def test_the_first_alone_with_a_scale_is_multi_head_attention():
    layer, text = Factors(6, 2, terms=[1], scale=3**-0.5).double(), randn(BATCH, 5, 6)
    other = MultiHead(6, 2, bias=False).double()
    names = ("query_weight", "key_weight", "value_weight", "output_weight")
    other.load_state_dict({name: getattr(layer, name).data for name in names})
    close(layer(text, is_causal=True).context, other(text, is_causal=True).context)


def test_what_each_term_sees():
    """Without 1 and 2 the query is not seen, without 1 and 3 the key, without 2 and 4 the order."""
    (query, key, value), options = given(LINE)
    order = torch.tensor([3, 0, 4, 1, 2])
    for terms in SUBSETS:

        def run(query, key, terms=terms):
            return factors(query, key, value, terms=terms, **options).weights

        before = run(query, key)
        assert torch.equal(run(query + 1, key), before) == (not {1, 2} & set(terms))
        assert torch.equal(run(query, key + query[..., :1, :]), before) == (not {1, 3} & set(terms))
        moved = torch.allclose(run(query, key[..., order, :]), before[..., order])
        assert moved == (not {2, 4} & set(terms))
        rows_alike = torch.allclose(before, before[..., :1, :].expand_as(before))
        assert rows_alike == (not {1, 2, 4} & set(terms))


def test_distance_alone_is_the_same_wherever_one_stands():
    parts, options = given(((5,), (5,)))
    energies = factors(*parts, terms=[4], **options).energies
    close(energies[..., 1:, 1:], energies[..., :-1, :-1])


def test_queries_that_take_no_part_may_be_anything():
    (query, key, value), options = given(LINE)
    for terms in ((3,), (4,), (3, 4)):
        lost = factors(torch.full_like(query, torch.nan), key, value, terms=terms, **options)
        close(lost.context, factors(query, key, value, terms=terms, **options).context)
    asked = query.detach().clone()
    asked[0, 0, 0] = torch.nan
    found = factors(asked, key, value, **options)
    assert found.context[0, 0, 0].isnan().all()
    slopes = torch.autograd.grad(found.context[1].sum(), [key, *options["vectors"], options["key_bias"]])
    assert all(slope.isfinite().all() for slope in slopes)


# --- relative positions -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n_query", "n_key"), [(1, 1), (1, 5), (5, 1), (3, 5), (5, 3), (0, 3), (3, 0), (0, 0)])
def test_the_shift_is_an_index(n_query, n_key):
    by_distance = randn(2, n_query, max(n_query + n_key - 1, 0))
    found = relative_shift(by_distance)
    if n_query and n_key:
        index = torch.arange(n_key) - torch.arange(n_query).unsqueeze(-1) + n_query - 1
        assert torch.equal(found, by_distance.gather(-1, index.expand(2, -1, -1)))
    else:
        assert found.numel() == 0


class Largest(TorchDispatchMode):
    """The size of the largest tensor that is made."""

    most = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for part in result if isinstance(result, (list, tuple)) else (result,):
            if isinstance(part, torch.Tensor):
                self.most = max(self.most, part.untyped_storage().size() // part.element_size())
        return result


def test_nothing_of_the_size_of_pairs_times_features_is_made():
    """Of a line of 64, and of a grid of 8 x 8, both with 16 features."""
    for shape in ((64,), (8, 8)):
        n, size = math.prod(shape), 16
        query, key = randn(n, size), randn(n, size, seed=1)
        vectors = [randn(2 * side - 1, size, seed=2) for side in shape]
        biases = {"key_bias": randn(size), "position_bias": randn(size, seed=1)}
        with Largest() as made:
            factors(query, key, vectors=vectors, shape=shape, **biases)
        assert made.most <= 2 * n * n + 2 * n
    with Largest() as made:
        factors(query, key, terms=[3], key_bias=biases["key_bias"])
    assert made.most <= 2 * n * size, "weights that are the same for all are made once"


def test_a_grid_of_one_column_is_a_line():
    parts, options = given(((3,), (5,)))
    flat = torch.zeros(HEADS, 1, D_K).double()
    line = factors(*parts, **options)
    column = factors(*parts, **{**options, "vectors": [*options["vectors"], flat]}, shape=(3, 1))
    close(column.context, line.context)
    query = parts[0].detach()
    close(grid_energies(query, [options["vectors"][0]], (3,)), relative_shift(query @ options["vectors"][0].mT))


# --- the module -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("terms", SUBSETS)
def test_the_layer_has_parameters_for_what_it_uses_and_starts_as_the_identity(terms):
    layer = Factors(12, HEADS, terms=terms, axes=2, residual=True, head_size=5)
    names = {name.split(".")[0] for name, _ in layer.named_parameters()}
    uses = {"query_weight": {1, 2}, "key_weight": {1, 3}, "position_weights": {2, 4}, "key_bias": {3}}
    uses |= {"position_bias": {4}}
    assert names - {"value_weight", "output_weight", "output_bias", "gain"} == {
        name for name, of in uses.items() if of & set(terms)
    }
    picture = torch.randn(BATCH, 6, 12)
    found = layer(picture, shape=(2, 3))
    assert torch.equal(found.context, picture)
    assert found.weights.shape == (BATCH, HEADS, 6, 6)
    with torch.no_grad():
        layer.gain.fill_(1.0)
    layer(picture, shape=(2, 3)).context.square().sum().backward()
    assert all(part.grad is not None and part.grad.isfinite().all() for part in layer.parameters())
    silent = layer(picture, shape=(2, 3), need_weights=False)
    assert silent.weights is silent.energies is None
    torch.testing.assert_close(silent.context, layer(picture, shape=(2, 3)).context)


def test_the_layer_is_the_function_of_its_parts():
    layer = Factors(12, HEADS, axes=2, key_size=5, scale=0.5).double()
    picture, memory = randn(BATCH, 6, 12), randn(BATCH, 15, 5)
    mask = some_mask(6, 15)[:, 0]
    query, key, value = (
        split(part @ weight.mT, HEADS)
        for part, weight in (
            (picture, layer.query_weight),
            (memory, layer.key_weight),
            (memory, layer.value_weight),
        )
    )
    vectors = []
    for (a, b), weight in zip(zip(*GRID, strict=True), layer.position_weights, strict=True):
        features = torch.stack(
            [
                torch.tensor([f(step / 1000 ** (2 * p / 6)) for p in range(3) for f in (math.sin, math.cos)])
                for step in range(-(a - 1), b)
            ]
        ).double()
        vectors.append(split(features @ weight.mT, HEADS) / math.sqrt(2))
    biases = {"key_bias": layer.key_bias, "position_bias": layer.position_bias}
    parts = factors(query, key, value, vectors=vectors, **biases, shape=(2, 3), scale=0.5, mask=mask.unsqueeze(1))
    joined = parts.context.transpose(1, 2).flatten(2)
    found = layer(picture, memory, shape=(2, 3), key_shape=(3, 5), mask=mask)
    torch.testing.assert_close(found.context, joined @ layer.output_weight.mT + layer.output_bias, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(found.weights, parts.weights, rtol=1e-6, atol=1e-6)


def test_padding_spoils_no_gradient_of_the_layer():
    layer, text = Factors(6, 2).double(), randn(BATCH, 5, 6)
    mask = (torch.arange(5) < 3).reshape(1, 1, 5).expand(BATCH, 1, 5)

    def slopes(text):
        found = layer(text, mask=mask).context[:, :3]
        return found, torch.autograd.grad(found.sum(), list(layer.parameters()), materialize_grads=True)

    clean = slopes(text)
    text = text.clone()
    text[:, 3:] = torch.nan
    for got, want in zip(slopes(text)[1], clean[1], strict=True):
        close(got, want)
    close(slopes(text)[0], clean[0])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_the_layer_keeps_its_precision_under_autocast_too(dtype, device):
    layer, text = Factors(6, 2, residual=True).to(device, dtype), randn(BATCH, 5, 6, dtype=dtype, device=device)
    torch.nn.init.ones_(layer.gain)
    asked, silent = layer(text, is_causal=True), layer(text, is_causal=True, need_weights=False)
    assert asked.context.dtype == asked.weights.dtype == dtype
    close(silent.context, asked.context)
    exact = Factors(6, 2, residual=True).double().to(device)
    exact.load_state_dict(layer.state_dict())
    size = 16 * torch.finfo(dtype).eps
    wanted = exact(text.double(), is_causal=True).context.to(dtype)
    torch.testing.assert_close(asked.context, wanted, rtol=size, atol=size)
    if dtype == torch.float32:
        with torch.autocast(device.type, dtype=torch.bfloat16):
            rough = layer(text, is_causal=True).context.float()
        torch.testing.assert_close(rough, asked.context, rtol=0.05, atol=0.05)


def test_nothing_is_changed():
    parts, options = given(GRID)
    every = [*parts, *options["vectors"], options["key_bias"], options["position_bias"]]
    before = [part.detach().clone() for part in every]
    factors(*parts, **options, shape=GRID[0], mask=some_mask(6, 15))
    assert all(torch.equal(part, copy) for part, copy in zip(every, before, strict=True))


@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_named():
    (query, key, value), options = given(LINE)

    def run(shape=None, **changed):
        return factors(query, key, value, **(options | changed), shape=shape)

    cases = [
        ("terms must be among 1, 2, 3 and 4, got 5", lambda: run(terms=[5])),
        ("terms must be among 1, 2, 3 and 4, got '0010'", lambda: run(terms=["0010"])),
        ("term 2 needs vectors", lambda: run(vectors=None)),
        ("term 3 needs key_bias", lambda: run(key_bias=None)),
        ("term 4 needs position_bias", lambda: run(position_bias=None)),
        (r"key_bias must have shape \(\*heads, d_k=7\), got shape \(5,\)", lambda: run(key_bias=randn(5))),
        (r"position_bias must have shape", lambda: run(position_bias=randn(5, D_K))),
        (r"shape \(2, 2\) has 4 places but there are 3 queries", lambda: run(shape=(2, 2))),
        ("one tensor for each of 2 axes, got 1", lambda: run(shape=(3, 1))),
        (r"are those of keys \(4,\), but there are 5", lambda: run(vectors=[options["vectors"][0][:, 1:]])),
        (r"vectors must have shape \(\*heads, distances, d_k=7\)", lambda: run(vectors=randn(7, 5))),
        ("key has d_k=7 but query has d_k=5", lambda: factors(query[..., :5], key, terms=[1])),
        ("n_query must be at least 1, got 0", lambda: distance_features(0, 3, 4)),
        ("size must be even", lambda: distance_features(2, 3, 5)),
        ("at least query - 1 = 4 columns, got 3", lambda: relative_shift(randn(5, 3))),
        ("axes must be at least 1", lambda: Factors(6, 2, axes=0)),
        ("divide size=6, got 4", lambda: Factors(6, 4)),
        ("divide size=6, got 0", lambda: Factors(6, 0, head_size=3)),
        ("terms must be among", lambda: Factors(6, 2, terms=[0])),
        (r"memory must have shape \(\*batch, time, 6\)", lambda: Factors(6, 2)(randn(3, 6).float(), randn(3, 5))),
    ]
    for message, call in cases:
        with pytest.raises(ValueError, match=message):
            call()


# --- known wrong versions ---------------------------------------------------------------------------------------------


def spoilt(*, backwards=False, late=False, key_for_query=False, product=False, after=False, swapped=False):
    """The plain formula with a vector for each pair, wrong in one way."""

    def attention(query, key, value, *, terms, vectors, key_bias, position_bias, shape, scale, mask, is_causal):
        n_keys = [v.shape[-2] - n + 1 for v, n in zip(vectors, shape, strict=True)]
        here, there = (
            torch.cartesian_prod(*map(torch.arange, size)).reshape(-1, len(size)) for size in (shape, n_keys)
        )
        steps = there - here.unsqueeze(1) + torch.tensor(shape) - 1
        steps = torch.tensor([v.shape[-2] for v in vectors]) - 1 - steps if backwards else steps
        steps = (steps + 1).clamp(max=torch.tensor([v.shape[-2] - 1 for v in vectors])) if late else steps
        chosen = [v[:, steps[..., axis]] for axis, v in enumerate(reversed(vectors) if swapped else vectors)]
        far = math.prod(chosen) if product and len(chosen) > 1 else sum(chosen)
        u, v = key_bias.unsqueeze(-2), position_bias.unsqueeze(-2)
        energies = {
            1: query @ key.mT,
            2: (query.unsqueeze(-2) * far).sum(-1) if not key_for_query else (key.unsqueeze(-3) * far).sum(-1),
            3: u @ key.mT,
            4: (v.unsqueeze(-2) * far).sum(-1),
        }
        total = scale * sum((energies[t] for t in terms), torch.zeros_like(energies[1]))
        visible = torch.ones_like(total).bool() if mask is None else mask.expand_as(total)
        visible = visible.tril() if is_causal else visible
        weights = total.softmax(-1) * visible if after else total.masked_fill(~visible, -torch.inf).softmax(-1)
        weights = torch.where(visible.any(-1, keepdim=True), weights, 0.0)
        return Attention(weights @ value, weights, total)

    return attention


WRONG = {
    "the distance from key to query": {"backwards": True},
    "one place beside": {"late": True},
    "the key meets the distance": {"key_for_query": True},
    "axes multiplied": {"product": True},
    "masked after the softmax": {"after": True},
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_wrong_versions_are_rejected(wrong):
    with pytest.raises(AssertionError):
        check_value(spoilt(**wrong), [ALL])


def test_the_unspoilt_version_passes():
    check_value(spoilt(), [ALL, (2,), (3,)])
