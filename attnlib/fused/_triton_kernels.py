"""Kernels in Triton for additive attention, for a GPU or for Triton's interpreter; empty shells without Triton.

No kernel adds up over features across threads: a tile of pairs goes through the features one at a time, and a tile of
rows and features through the other side's rows one at a time, so that each number of a tile stays with its thread.

Vectors come as ``exp(2x)`` where that is safe, for ``tanh(x + y) = 1 - 2 / (1 + exp(2x) exp(2y))`` needs no more than a
reciprocal for each pair and feature; else as they are. ``safe`` says which, for each item of the batch.
"""

# mypy: disable-error-code="no-untyped-def"
# The functions below are in Triton's language: what looks like Python has no types of Python.
from __future__ import annotations  # Triton's types are not known where it is missing

import inspect
import os
from collections.abc import Callable
from typing import Any

try:
    import triton
    import triton.language as tl
except ImportError:
    triton = None
else:
    INTERPRETED = tl.constexpr(os.environ.get("TRITON_INTERPRET") == "1")

__all__ = ["accumulate", "forward", "probabilities"]


def kernel(function: Callable[..., Any]) -> Any:
    """What Triton makes of the function, without what others, such as checks of shapes, have put around it."""
    return function if triton is None else triton.jit(inspect.unwrap(function))


@kernel
def reciprocal(x):
    """Of a number from 1 to 1e36, to the last bit but one, in one instruction: a division takes seven."""
    if INTERPRETED:
        found = 1.0 / x
    else:
        found = tl.inline_asm_elementwise("rcp.approx.ftz.f32 $0, $1;", "=f,f", [x], tl.float32, is_pure=True, pack=1)
    return found


@kernel
def tanh(x):
    """Hyperbolic tangent to the last bits, near zero too, where one less an exponential would lose them."""
    size = tl.abs(x)
    small = tl.exp(-2.0 * size)
    square = x * x
    # The series to x^11; at 0.35 what is left out is below 2^-24 of the sum.
    series = 1.0 + square * (
        -0.3333333333
        + square * (0.1333333333 + square * (-0.05396825397 + square * (0.02186948854 - square * 0.00886323)))
    )
    large = (1.0 - small) * reciprocal(1.0 + small)
    return tl.where(size < 0.35, x * series, tl.where(x < 0, -large, large))


@kernel
def energies(left, right, vector, rows, columns, n_left, n_right, n_feature, is_safe, Q: tl.constexpr, K: tl.constexpr):
    """A tile of energies, all less the same number where ``is_safe``, from vectors ``(feature, row)``.

    There are ``n_left`` and ``n_right`` rows, whole tiles of them, so that none has to be looked at before it is read.
    """
    total = tl.zeros([Q, K], dtype=tl.float32)
    one, other = left + rows, right + columns
    if is_safe:
        for feature in range(n_feature):
            product = tl.load(one)[:, None] * tl.load(other)[None, :]
            total += tl.load(vector + feature) * reciprocal(1.0 + product)
            one += n_left
            other += n_right
        total = -2.0 * total
    else:
        for feature in range(n_feature):
            total += tl.load(vector + feature) * tanh(tl.load(one)[:, None] + tl.load(other)[None, :])
            one += n_left
            other += n_right
    return total


@kernel
def visible_pairs(
    mask, item, rows, columns, n_query, n_key, stride_b, stride_q, stride_k, MASKED: tl.constexpr, CAUSAL: tl.constexpr
):
    """Which pairs of a tile count."""
    visible = (rows < n_query)[:, None] & (columns < n_key)[None, :]
    if CAUSAL:
        visible = visible & (columns[None, :] <= rows[:, None])
    if MASKED:
        place = mask + item * stride_b + rows[:, None] * stride_q + columns[None, :] * stride_k
        visible = visible & (tl.load(place, mask=visible, other=0) != 0)
    return visible


@kernel
def forward(
    left, right, vector, safe, value, mask, query_fault, key_fault, context, logsumexp,
    n_query, n_key, n_left, n_right, n_feature, n_value, stride_b, stride_q, stride_k,
    MASKED: tl.constexpr, FAULTY: tl.constexpr, CAUSAL: tl.constexpr,
    Q: tl.constexpr, K: tl.constexpr, V: tl.constexpr,
):  # fmt: skip
    """Contexts of a tile of queries, and the logarithm of the sum of exponentials: infinite where lost or empty."""
    tiles = tl.cdiv(n_query, Q)
    item = (tl.program_id(0) // tiles).to(tl.int64)
    rows, features = (tl.program_id(0) % tiles) * Q + tl.arange(0, Q), tl.arange(0, V)
    left += item * n_feature * n_left
    right += item * n_feature * n_right
    is_safe = tl.load(safe + item) != 0
    highest = tl.full([Q], float("-inf"), dtype=tl.float32)
    total = tl.zeros([Q], dtype=tl.float32)
    mean = tl.zeros([Q, V], dtype=tl.float32)
    seen = tl.zeros([Q], dtype=tl.int32)  # bit 1: a key without energies, bit 2: a value that is not finite, bit 4: any
    end = n_key
    if CAUSAL:
        end = tl.minimum(n_key, (tl.program_id(0) % tiles) * Q + Q)
    for start in range(0, end, K):
        columns = start + tl.arange(0, K)
        visible = visible_pairs(mask, item, rows, columns, n_query, n_key, stride_b, stride_q, stride_k, MASKED, CAUSAL)
        if tl.max(tl.max(visible.to(tl.int32), 1), 0) > 0:
            energy = energies(left, right, vector, rows, columns, n_left, n_right, n_feature, is_safe, Q, K)
            energy = tl.where(visible, energy, float("-inf"))
            if FAULTY:
                fault = tl.load(key_fault + item * n_key + columns, mask=columns < n_key, other=0).to(tl.int32)
                found = tl.where(visible, fault[None, :], 0)
                seen = seen | tl.max(found & 1, 1) | tl.max(found & 2, 1) | (4 * tl.max(visible.to(tl.int32), 1))
            new = tl.maximum(highest, tl.max(energy, 1))
            base = tl.where(new == float("-inf"), 0.0, new)  # a row that has seen nothing yet
            shrink = tl.exp(highest - base)
            weight = tl.where(visible, tl.exp(energy - base[:, None]), 0.0)
            total = total * shrink + tl.sum(weight, 1)
            place = value + (item * n_key + columns[:, None]) * n_value + features[None, :]
            within = (columns < n_key)[:, None] & (features < n_value)[None, :]
            block = tl.load(place, mask=within, other=0.0).to(tl.float32)
            mean = mean * shrink[:, None] + tl.dot(weight, block, input_precision="tf32x3")
            highest = new
    mean = tl.where((total == 0.0)[:, None], 0.0, mean / tl.where(total == 0.0, 1.0, total)[:, None])
    lost = total != total  # an energy was not a number, or plus infinity
    if FAULTY:
        fault = tl.load(query_fault + item * n_query + rows, mask=rows < n_query, other=0).to(tl.int32)
        lost = lost | ((seen & 1) != 0) | ((fault != 0) & ((seen & 4) != 0))
        mean = tl.where((lost | ((seen & 2) != 0))[:, None], float("nan"), mean)
    final = tl.where(lost | (total == 0.0), float("inf"), highest + tl.log(tl.where(total == 0.0, 1.0, total)))
    tl.store(logsumexp + item * n_query + rows, final, mask=rows < n_query)
    place = context + (item * n_query + rows[:, None]) * n_value + features[None, :]
    within = (rows < n_query)[:, None] & (features < n_value)[None, :]
    tl.store(place, mean, mask=within)


@kernel
def probabilities(
    left, right, vector, safe, mask, logsumexp, weights,
    first, n_run, n_query, n_key, n_left, n_right, n_feature, stride_b, stride_q, stride_k,
    MASKED: tl.constexpr, CAUSAL: tl.constexpr, Q: tl.constexpr, K: tl.constexpr,
):  # fmt: skip
    """A tile of the weights of the queries ``first ... first + n_run - 1``."""
    q_tiles, k_tiles = tl.cdiv(n_run, Q), tl.cdiv(n_key, K)
    item = (tl.program_id(0) // (q_tiles * k_tiles)).to(tl.int64)
    places = ((tl.program_id(0) // k_tiles) % q_tiles) * Q + tl.arange(0, Q)
    columns = (tl.program_id(0) % k_tiles) * K + tl.arange(0, K)
    rows = first + places
    last = first + n_run  # the rows after it are others' work
    visible = visible_pairs(mask, item, rows, columns, last, n_key, stride_b, stride_q, stride_k, MASKED, CAUSAL)
    weight = tl.zeros([Q, K], dtype=tl.float32)
    if tl.max(tl.max(visible.to(tl.int32), 1), 0) > 0:
        left += item * n_feature * n_left
        right += item * n_feature * n_right
        is_safe = tl.load(safe + item) != 0
        energy = energies(left, right, vector, rows, columns, n_left, n_right, n_feature, is_safe, Q, K)
        above = tl.load(logsumexp + item * n_query + rows, mask=rows < last, other=float("inf"))
        counts = visible & (above < float("inf"))[:, None]
        weight = tl.where(counts, tl.exp(energy - above[:, None]), 0.0)
    place = weights + (item * n_run + places[:, None]) * n_key + columns[None, :]
    tl.store(place, weight, mask=(places < n_run)[:, None] & (columns < n_key)[None, :])


@kernel
def accumulate(
    own, other, slopes, vector, safe, gradient, partial,
    first_own, n_own, all_own, first_other, n_other, all_other, n_feature, stride_b, stride_own, stride_other,
    PARTIAL: tl.constexpr, CAUSAL: tl.constexpr, R: tl.constexpr, F: tl.constexpr,
):  # fmt: skip
    """Add to a tile of the gradient of one side's vectors ``(row, feature)`` what a run of pairs brings.

    With ``PARTIAL`` also what the tile's rows bring to the gradient of the vector. Under ``CAUSAL`` a row has nothing
    from what comes after it (1), or before it (2).
    """
    r_tiles, f_tiles = tl.cdiv(n_own, R), tl.cdiv(n_feature, F)
    item = (tl.program_id(0) // (r_tiles * f_tiles)).to(tl.int64)
    tile = (tl.program_id(0) // f_tiles) % r_tiles
    places = tile * R + tl.arange(0, R)
    features = (tl.program_id(0) % f_tiles) * F + tl.arange(0, F)
    within = (places < n_own)[:, None] & (features < n_feature)[None, :]
    spot = (item * all_own + first_own + places[:, None]) * n_feature + features[None, :]
    mine = tl.load(own + spot, mask=within, other=0.0)
    other += (item * all_other + first_other) * n_feature
    slopes += item * stride_b
    start, end = 0, n_other
    if CAUSAL == 1:
        end = tl.minimum(n_other, first_own + tile * R + R)
    if CAUSAL == 2:
        start = tl.maximum(0, tile * R - first_other)
    is_safe = tl.load(safe + item) != 0
    change = tl.zeros([R, F], dtype=tl.float32)
    weighed = tl.zeros([R, F], dtype=tl.float32)
    for index in range(start, end):
        theirs = tl.load(other + index * n_feature + features, mask=features < n_feature, other=0.0)
        slope = tl.load(slopes + places * stride_own + index * stride_other, mask=places < n_own, other=0.0)[:, None]
        if is_safe:  # noqa: SIM108
            hidden = 1.0 - 2.0 * reciprocal(1.0 + mine * theirs[None, :])
        else:
            hidden = tanh(mine + theirs[None, :])
        change += slope * (1.0 - hidden * hidden)
        if PARTIAL:
            weighed += slope * hidden
    factor = tl.load(vector + features, mask=features < n_feature, other=0.0)
    tl.store(gradient + spot, tl.load(gradient + spot, mask=within, other=0.0) + change * factor[None, :], mask=within)
    if PARTIAL:
        place = partial + (item * r_tiles + tile) * n_feature + features
        tl.store(place, tl.sum(weighed, 0), mask=features < n_feature)
