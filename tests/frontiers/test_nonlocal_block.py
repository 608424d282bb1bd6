"""Non-local operations and block: loops over places and cells from the paper's equations, and what must be rejected."""

import functools
import itertools
import math

import checks
import pytest
import torch
from checks import BATCH, D_K, D_V, KEY, QUERY, close, leaf, randn
from oracles import inner, plus, rows, tensor, times
from torch.autograd import gradcheck, gradgradcheck

from attnlib import Attention, attend, scores
from attnlib.frontiers.nonlocal_block import Concatenation, NonLocalBlock, concatenation, dot_product, gaussian
from attnlib.input_representations.self_attention import self_attention
from attnlib.masks import key_mask

VECTOR = randn(2 * D_K, seed=7)
OPERATIONS = {
    "gaussian": gaussian,
    "scaled": functools.partial(gaussian, scale=0.3),
    "dot product": dot_product,
    "concatenation": functools.partial(concatenation, vector=VECTOR),
}


# --- the oracle: Eq. 1 with the functions f and C of Eq. 2 to 5 -------------------------------------------------------


def pair_of(name):
    """The function f of one pair, from the paper."""
    vector = rows(VECTOR)
    return {
        "gaussian": lambda q, k: math.exp(inner(q, k)),
        "scaled": lambda q, k: math.exp(0.3 * inner(q, k)),
        "dot product": inner,
        "concatenation": lambda q, k: max(0.0, inner(vector, q + k)),
    }[name]


def operation_loop(query, key, value, pair, is_normalised, visible=None):
    """Contexts and weights: sums over the keys that are there, divided by the sum of f or by their number."""
    contexts, weights = [], []
    for i, q in enumerate(query):
        there = [visible is None or bool(visible[i][j]) for j in range(len(key))]
        found = [pair(q, k) if seen else 0.0 for k, seen in zip(key, there, strict=True)]
        divisor = sum(found) if is_normalised else sum(there)
        weights.append([part / divisor if divisor else 0.0 for part in found])
        context = [0.0] * len(value[0])
        for weight, v in zip(weights[-1], value, strict=True):
            context = plus(context, [weight * component for component in v])
        contexts.append(context)
    return contexts, weights


def check_operation(name, operation):
    query, key, value = checks.inputs()
    pair, is_normalised = pair_of(name), name in ("gaussian", "scaled")
    for mask in (None, padding(), checks.some_mask(), checks.mask_with_empty_row()):
        visible = [None] * BATCH if mask is None else mask.expand(BATCH, QUERY, KEY).tolist()
        wanted = [
            operation_loop(rows(query[b]), rows(key[b]), rows(value[b]), pair, is_normalised, visible[b])
            for b in range(BATCH)
        ]
        contexts, weights = (tensor(list(part)) for part in zip(*wanted, strict=True))
        found = operation(query, key, value, mask=mask)
        close(found.context, contexts)
        close(found.weights, weights)
        silent = operation(query, key, value, mask=mask, need_weights=False)
        close(silent.context, contexts)
        assert silent.weights is None


def padding():
    return key_mask(torch.tensor([3, 4]), KEY)


@pytest.mark.parametrize("name", OPERATIONS)
def test_value_is_the_loop(name):
    check_operation(name, OPERATIONS[name])


def spoilt(pair, *, axis=-1, mean=False, counted=True):
    """An operation in plain tensors, wrong in a known way; ``pair(query, key)`` gives f of all pairs."""

    def operation(query, key, value, *, mask=None, need_weights=True):
        found = pair(query, key)
        seen = torch.ones_like(found, dtype=torch.bool) if mask is None else mask.expand(found.shape)
        found = torch.where(seen, found, 0.0)
        number = seen.sum(-1, keepdim=True) if counted else torch.tensor(float(KEY))
        divisor = number if mean else found.sum(axis, keepdim=True)
        weights = found / torch.where(divisor == 0, 1.0, divisor)
        return Attention(weights @ value, weights if need_weights else None, None)

    return operation


def dots(query, key):
    return query @ key.mT


def sums(query, key, vector=VECTOR):
    return (query @ vector[:D_K]).unsqueeze(-1) + (key @ vector[D_K:]).unsqueeze(-2)


WRONG = {
    "scaled unasked": ("gaussian", functools.partial(attend, score=scores.scaled_dot)),
    "softmax over the queries": ("gaussian", spoilt(lambda query, key: dots(query, key).exp(), axis=-2)),
    "exponential divided by N": ("gaussian", spoilt(lambda query, key: dots(query, key).exp(), mean=True)),
    "dot product under a softmax": ("dot product", functools.partial(attend, score=scores.dot)),
    "dot product divided by its sum": ("dot product", spoilt(dots)),
    "padding counted in N": ("dot product", spoilt(dots, mean=True, counted=False)),
    "no rectifier": ("concatenation", spoilt(sums, mean=True)),
    "concatenation divided by its sum": ("concatenation", spoilt(lambda *pair: sums(*pair).relu())),
    "halves of the vector exchanged": (
        "concatenation",
        spoilt(lambda *pair: sums(*pair, vector=VECTOR.roll(D_K)).relu(), mean=True),
    ),
    "tanh of the usual concatenation": ("concatenation", spoilt(lambda *pair: sums(*pair).tanh(), mean=True)),
}


@pytest.mark.parametrize(("name", "mutant"), WRONG.values(), ids=WRONG)
def test_wrong_operations_are_rejected(name, mutant):
    with pytest.raises(AssertionError):
        check_operation(name, mutant)


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("gaussian", spoilt(lambda query, key: dots(query, key).exp())),
        ("dot product", spoilt(dots, mean=True)),
        ("concatenation", spoilt(lambda *pair: sums(*pair).relu(), mean=True)),
    ],
)
def test_the_unspoilt_versions_pass(name, right):
    check_operation(name, right)


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("name", ["gaussian", "dot product", "concatenation"])
def test_gradients(name, need_weights):
    """With and without the matrix of pairs, of the vector too; second derivatives where the kernel has them."""
    parts = leaf(BATCH, QUERY, D_K), leaf(BATCH, KEY, D_K, seed=1), leaf(BATCH, KEY, 2, seed=2)
    parameters = [leaf(2 * D_K, seed=3)] if name == "concatenation" else []
    operation = {"gaussian": gaussian, "dot product": dot_product, "concatenation": concatenation}[name]

    def run(query, key, value, *vector, mask):
        options = {"vector": vector[0]} if vector else {}
        return operation(query, key, value, mask=mask, need_weights=need_weights, **options).context

    for mask in (None, padding()):
        assert gradcheck(functools.partial(run, mask=mask), (*parts, *parameters), fast_mode=True)
        if need_weights or name != "gaussian":
            assert gradgradcheck(functools.partial(run, mask=mask), (*parts, *parameters), fast_mode=True)


@pytest.mark.parametrize("name", ["dot product", "concatenation"])
def test_gradients_without_pairs_are_those_with_pairs(name):
    for shapes in (((BATCH, 3, 1), (BATCH, 3, 1)), ((3, 1), (1, 1)), ((), (BATCH,))):
        query, key = randn(*shapes[0], QUERY, D_K), randn(*shapes[1], KEY, D_K, seed=1)
        value = randn(KEY, D_V, seed=2)
        with_pairs = checks.run_with_gradients(OPERATIONS[name], query, key, value)
        without = checks.run_with_gradients(functools.partial(OPERATIONS[name], need_weights=False), query, key, value)
        for got, want in zip(without, with_pairs, strict=True):
            close(got, want)


def test_ties_in_the_order_of_the_keys_change_nothing():
    """Keys that are alike, and keys of which a query is right at the rectifier's corner."""
    query, key = torch.tensor([[1.0], [-1.0], [0.0]]), torch.tensor([[1.0], [-1.0], [1.0], [0.0], [-1.0]])
    run = functools.partial(concatenation, query, key, randn(5, 2, dtype=torch.float32), vector=torch.ones(2))
    torch.testing.assert_close(run(need_weights=False).context, run().context)


@pytest.mark.parametrize("name", ["gaussian", "dot product", "concatenation"])
def test_no_matrix_of_pairs_is_made(name):
    largest = []

    class Watch(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            result = func(*args, **(kwargs or {}))
            for part in result if isinstance(result, (tuple, list)) else (result,):
                if isinstance(part, torch.Tensor):
                    largest.append(part.untyped_storage().size() // part.element_size())
            return result

    n = 500
    vectors = torch.randn(1, n, D_K)
    operation = OPERATIONS[name]
    if name == "concatenation":
        operation = functools.partial(concatenation, vector=VECTOR.float())
    with Watch():
        operation(vectors, vectors, need_weights=False, mask=key_mask(torch.tensor([n - 3]), n))
    assert max(largest) <= 2 * n * (D_K + 1)
    largest.clear()
    with Watch():
        operation(vectors, vectors)
    assert n * n <= max(largest) < 2 * n * n  # a pair has one number, and not 2 d


@pytest.mark.parametrize("name", ["dot product", "concatenation"])
def test_what_is_hidden_or_bad_without_pairs(name):
    """The same NaN in the same rows as with the weights, and none from behind the mask."""
    for part, row in itertools.product(range(3), range(QUERY)):
        parts = list(checks.inputs())
        parts[part] = parts[part].clone()
        parts[part][:, row, 0] = math.nan
        for mask in (None, padding(), key_mask(torch.tensor([row, 0]), KEY)):
            found, silent = (OPERATIONS[name](*parts, mask=mask, need_weights=need) for need in (True, False))
            torch.testing.assert_close(silent.context, found.context, rtol=1e-10, atol=1e-12, equal_nan=True)


# --- the block: a loop over places and cells --------------------------------------------------------------------------


def linear(layer, vector):
    return plus(times(rows(layer.weight), vector), rows(layer.bias))


def block_loop(block, grid, pool, real, pair, is_normalised, embedded=True):
    """What the operation adds up for each place of one grid ``[channel][place...]``, before the last normalisation."""
    sides = grid.shape[1:]
    places = list(itertools.product(*map(range, sides)))
    cells = list(itertools.product(*(range(n // side) for n, side in zip(sides, pool, strict=True))))
    pooled = []
    for cell in cells:
        members = itertools.product(*(range(c * side, (c + 1) * side) for c, side in zip(cell, pool, strict=True)))
        members = [member for member in members if real[member]]
        if members:
            pooled.append([max(float(grid[(c, *member)]) for member in members) for c in range(grid.shape[0])])
    items = [[float(grid[(c, *place)]) for c in range(grid.shape[0])] for place in places if real[place]]
    query = [linear(block.query, item) for item in items] if embedded else items
    key = [linear(block.key, cell) for cell in pooled] if embedded else pooled
    found, _ = operation_loop(query, key, [linear(block.value, cell) for cell in pooled], pair, is_normalised)
    added = iter([linear(block.output, context) for context in found])
    return [next(added) if real[place] else None for place in places]


CHANNELS, INNER = 6, 5
GRIDS = {"1-D": ((11,), (2,)), "2-D": ((5, 7), (2, 3)), "3-D": ((3, 5, 2), (1, 2, 2)), "not pooled": ((3, 5), None)}


def filled_block(**options):
    """A block with numbers that are not small, so that a softmax is not nearly flat."""
    block = NonLocalBlock(CHANNELS, INNER, **options).double()
    for seed, parameter in enumerate(block.parameters()):
        parameter.data = randn(*parameter.shape, seed=seed) / 2
    return block


def some_real(sides):
    """A ragged batch: a whole grid, and one of which the ends of all axes are padding."""
    real = torch.ones(BATCH, *sides, dtype=torch.bool)
    for axis, n in enumerate(sides):
        real[1].narrow(axis, n - 1, 1).fill_(False)
    return real


def check_block(block, sides, pool, pair, is_normalised, embedded=True, run=None):
    grid = randn(BATCH, CHANNELS, *sides)
    for real in (None, some_real(sides)):
        there = torch.ones(BATCH, *sides, dtype=torch.bool) if real is None else real
        added = [
            block_loop(block, grid[b], pool or (1,) * len(sides), there[b], pair, is_normalised, embedded)
            for b in range(BATCH)
        ]
        rows_ = [row for part in added for row in part if row is not None]
        if block.norm is not None:  # over batch and places, the real ones alone, with the population's variance
            count, columns = len(rows_), list(zip(*rows_, strict=True))
            means = [sum(column) / count for column in columns]
            spreads = [sum((x - m) ** 2 for x in column) / count for column, m in zip(columns, means, strict=True)]
            scale, shift = rows(block.norm.weight), rows(block.norm.bias)
        wanted = grid.flatten(2).mT.clone()
        for b, place in itertools.product(range(BATCH), range(len(added[0]))):
            if (row := added[b][place]) is None:
                continue
            if block.norm is not None:
                row = [
                    (x - m) / math.sqrt(s + block.norm.eps) * w + v
                    for x, m, s, w, v in zip(row, means, spreads, scale, shift, strict=True)
                ]
            wanted[b, place] += tensor(row)
        found = block(grid, mask=real) if run is None else run(block, grid, there)
        close(found.detach(), wanted.mT.reshape(grid.shape))


@pytest.mark.parametrize(("sides", "pool"), GRIDS.values(), ids=GRIDS)
@pytest.mark.parametrize("normalised", [True, False])
def test_block_is_the_loop(sides, pool, normalised):
    block = filled_block(pool=pool, normalised=normalised)
    check_block(block, sides, pool, pair_of("gaussian"), True)
    block = filled_block(pool=pool, normalised=normalised, operation=dot_product)
    check_block(block, sides, pool, inner, False)


def test_block_with_the_other_operations():
    sides, pool = GRIDS["2-D"]
    check_block(filled_block(embedded=False), sides, None, pair_of("gaussian"), True, embedded=False)
    operation = Concatenation(INNER)
    block = filled_block(pool=pool, operation=operation)
    vector = rows(operation.vector)
    check_block(block, sides, pool, lambda q, k: max(0.0, inner(vector, q + k)), False)
    scaled = filled_block(pool=pool, operation=functools.partial(gaussian, scale=INNER**-0.5))
    check_block(scaled, sides, pool, lambda q, k: math.exp(inner(q, k) / math.sqrt(INNER)), True)


def check_starts_as_the_identity(block):
    for sides in ((7,), (3, 5), (2, 3, 5)):
        grid = randn(BATCH, CHANNELS, *sides, dtype=torch.float32)
        assert torch.equal(block(grid), grid)


@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize("operation", [gaussian, dot_product, Concatenation(3)])
def test_starts_as_the_identity_and_learns(operation, normalised):
    block = NonLocalBlock(CHANNELS, operation=operation, normalised=normalised)
    check_starts_as_the_identity(block)
    check_starts_as_the_identity(block.eval())
    block.train()(randn(BATCH, CHANNELS, 3, 5, dtype=torch.float32)).square().sum().backward()
    last = block.norm if normalised else block.output
    assert (last.weight.grad != 0).all(), "the scale that starts at nought must not stay there"


def test_a_scale_of_one_does_not_start_as_the_identity():
    """The default of batch normalisation, left as it is."""
    block = NonLocalBlock(CHANNELS)
    torch.nn.init.ones_(block.norm.weight)
    with pytest.raises(AssertionError):
        check_starts_as_the_identity(block)


def check_padding(run):
    """Anything at the places that are not real: no result at the others, no gradient and no statistic changes."""
    sides = (5, 7)
    grid, real = randn(BATCH, CHANNELS, *sides), some_real(sides)
    results = []
    for bad in (0.0, math.nan, math.inf, 1e300):
        spoilt_grid = torch.where(real.unsqueeze(1), grid, bad).requires_grad_()
        block = filled_block(pool=(2, 3))
        found = run(block, spoilt_grid, real)
        shown = torch.where(real.unsqueeze(1), found, 0.0)
        loss = (shown * randn(*shown.shape, seed=5)).sum()
        slopes = torch.autograd.grad(loss, [spoilt_grid, *block.parameters()])
        slopes = [torch.where(real.unsqueeze(1), slopes[0], 0.0), *slopes[1:]]
        results.append([shown, *slopes, block.norm.running_mean, block.norm.running_var])
        assert torch.equal(found[1, :, -1], spoilt_grid[1, :, -1]) or not math.isfinite(bad)
    for other in results[1:]:
        for got, want in zip(other, results[0], strict=True):
            assert want.isfinite().all()
            close(got, want)
    alone = filled_block(pool=(2, 3))
    close(run(alone.eval(), grid, real)[1:, :, :-1, :-1], run(alone, grid[1:, :, :-1, :-1], real[1:, :-1, :-1]))


def test_padding_changes_nothing():
    check_padding(lambda block, grid, real: block(grid, mask=real))


def test_padding_that_is_seen_is_rejected():
    with pytest.raises(AssertionError):
        check_padding(lambda block, grid, real: block(grid))


def unselected(block, grid, real, *, pooled_zeros=False):
    """The block with the padding among what is normalised; or with padding as noughts that win in a pool."""
    if pooled_zeros:
        grid = torch.where(real.unsqueeze(1), grid, 0.0)
        added = block(grid) - grid
    else:
        context = block.attention(grid, mask=real, need_weights=False).context
        added = block.norm(block.output(context).flatten(0, 1)).reshape(len(grid), -1, CHANNELS)
        added = added.mT.reshape(grid.shape)
    return torch.where(real.unsqueeze(1), grid + added, grid)


@pytest.mark.parametrize("pooled_zeros", [False, True])
def test_padding_in_statistics_or_pool_is_rejected(pooled_zeros):
    block, (sides, pool) = filled_block(pool=(2, 3)), GRIDS["2-D"]
    with pytest.raises(AssertionError):
        check_block(
            block, sides, pool, pair_of("gaussian"), True, run=functools.partial(unselected, pooled_zeros=pooled_zeros)
        )


def test_a_grid_with_no_real_place_stays_as_it_is():
    block, grid = filled_block(), randn(BATCH, CHANNELS, 3, 5)
    nothing = torch.zeros(BATCH, 3, 5, dtype=torch.bool)
    assert torch.equal(block(grid, mask=nothing), grid)
    one = nothing.clone()
    one[0] = True
    found = block(grid, mask=one)
    assert torch.equal(found[1], grid[1])
    assert found.isfinite().all()


def test_block_gradients():
    block = filled_block(pool=(1, 2), normalised=False)
    grid, real = leaf(1, CHANNELS, 2, 3), torch.tensor([[[True, True, False], [True, True, True]]])
    assert gradcheck(lambda grid: block(grid, mask=real), grid, fast_mode=True)


def test_embedded_gaussian_is_self_attention():
    """Over the places of an image, with the matrices of the block."""
    block, grid = filled_block(), randn(BATCH, CHANNELS, 3, 5)
    for layer in (block.query, block.key, block.value):
        torch.nn.init.zeros_(layer.bias)
    weights = {f"{name}_weight": getattr(block, name).weight for name in ("query", "key", "value")}
    found = self_attention(grid.flatten(2).mT, **weights, score=scores.dot)
    close(block.attention(grid).context, found.context)
    close(block.attention(grid).weights, found.weights)


def test_the_order_of_the_places_does_not_matter():
    """Without a pool: places exchanged come out exchanged."""
    block, grid = filled_block(operation=dot_product), randn(BATCH, CHANNELS, 7)
    order = torch.randperm(7)
    close(block(grid[..., order]), block(grid)[..., order])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    grid = randn(BATCH, CHANNELS, 5, 7, dtype=dtype)
    block = filled_block(pool=(2, 3), operation=dot_product).to(dtype)
    exact = filled_block(pool=(2, 3), operation=dot_product)
    for mask in (None, some_real((5, 7))):
        found = block.eval()(grid, mask=mask)
        assert found.dtype == dtype
        reach = 16 * torch.finfo(dtype).eps
        torch.testing.assert_close(found.double(), exact.eval()(grid.double(), mask=mask), rtol=reach, atol=reach)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("run", "error", "message"),
    [
        (lambda: NonLocalBlock(1), ValueError, "inner must be at least 1, got 0 of 1 channels"),
        (lambda: NonLocalBlock(4, pool=(2, 0)), ValueError, r"pool must be of whole numbers from 1, got \(2, 0\)"),
        (lambda: NonLocalBlock(4)(torch.ones(2, 4)), ValueError, r"grid must have shape \(batch, channels=4, \*grid\)"),
        (lambda: NonLocalBlock(4)(torch.ones(2, 3, 5)), ValueError, r"with 1 to 3 axes, got shape \(2, 3, 5\)"),
        (lambda: NonLocalBlock(4)(torch.ones(1, 4, 2, 2, 2, 2)), ValueError, "with 1 to 3 axes"),
        (lambda: NonLocalBlock(4)(torch.ones(2, 4, 5).long()), TypeError, "grid must be floating point"),
        (lambda: NonLocalBlock(4, pool=(2,))(torch.ones(1, 4, 2, 2)), ValueError, "pool has 1 sides but .* 2 axes"),
        (lambda: NonLocalBlock(4, pool=(3,))(torch.ones(1, 4, 2)), ValueError, r"a cell of \(3,\) does not fit"),
        (
            lambda: NonLocalBlock(4)(torch.ones(2, 4, 5), mask=torch.ones(2, 4).bool()),
            ValueError,
            r"mask must have shape \(batch, \*grid\) = \(2, 5\), got shape \(2, 4\)",
        ),
        (lambda: NonLocalBlock(4)(torch.ones(2, 4, 5), mask=torch.ones(2, 5)), TypeError, "mask must be boolean"),
        (
            lambda: concatenation(torch.ones(2, 3), torch.ones(2, 3), vector=torch.ones(5)),
            ValueError,
            r"vector must have shape \(d_q \+ d_k=6\), got shape \(5,\)",
        ),
        (lambda: dot_product(torch.ones(2, 3), torch.ones(2, 4)), ValueError, "key has d_k=4 but query has d_k=3"),
        (
            lambda: dot_product(torch.ones(2, 3), torch.ones(2, 3), mask=torch.ones(1, 5).bool(), need_weights=False),
            ValueError,
            "mask of shape",
        ),
    ],
)
def test_bad_input_is_named(run, error, message):
    with pytest.raises(error, match=message):
        run()


def test_no_keys_and_one():
    for operation in (gaussian, dot_product, functools.partial(concatenation, vector=VECTOR)):
        for need_weights in (True, False):
            found = operation(randn(2, D_K), randn(0, D_K), randn(0, 3), need_weights=need_weights)
            assert (found.context == 0).all()
            one = operation(randn(2, D_K), randn(1, D_K), randn(1, 3), need_weights=need_weights)
            assert one.context.isfinite().all()
