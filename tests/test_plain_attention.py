"""The short way of attend for a few tokens: bit by bit the long one, and taken only where it may be."""

import functools

import checks
import pytest
import torch
import torch.nn.functional as F
from checks import randn

from attnlib import _kernel, attend, attention, explain, scores
from attnlib.distributions import sparsemax
from attnlib.fused import reference_only

BATCH, HEADS, QUERY, KEY, SIZE = 2, 3, 5, 7, 11


def parts_of(dtype=torch.float32, n_query=QUERY):
    sizes = (n_query, KEY, KEY)
    return [randn(BATCH, HEADS, n, SIZE, dtype=dtype, seed=seed) for seed, n in enumerate(sizes)]


def spoilt(place, bad, row=-1):
    parts = parts_of()
    parts[place][0, 1, row, 2] = bad
    return parts


def both_ways(monkeypatch, parts, options):
    """Contexts and gradients by the short way and by the long one; and whether the short one was taken."""
    taken, found = [], []
    for is_long in (False, True):

        def way(*given, is_long=is_long):
            result = None if is_long else _kernel.plain_context(*given)
            taken.append(result is not None)
            return result

        monkeypatch.setattr(attention, "plain_context", way)
        found.append(checks.run_with_gradients(functools.partial(attend, need_weights=False), *parts, **options))
    return taken[0], found


PADDING = (torch.arange(KEY) < 5).expand(BATCH, 1, 1, KEY)
PAIRS = randn(BATCH, HEADS, QUERY, KEY, seed=9) > -0.5
TAKEN = {
    "no mask": (parts_of(), {}),
    "causal": (parts_of(), {"is_causal": True}),
    "padding": (parts_of(), {"mask": PADDING}),
    "pairs": (parts_of(), {"mask": PAIRS}),
    "double": (parts_of(torch.float64), {"mask": PAIRS}),
    "half": (parts_of(torch.bfloat16), {"is_causal": True}),
    "as many queries": (parts_of(n_query=KEY), {"is_causal": True}),
    "heads behind the time": ([part.transpose(1, 2).contiguous().transpose(1, 2) for part in parts_of()], {}),
    "a row that sees nothing": (parts_of(), {"mask": PAIRS & (torch.arange(QUERY) != 2).unsqueeze(-1)}),
}
LEFT = {
    "NaN behind": (spoilt(1, torch.nan), {"mask": PADDING}),
    "infinity behind": (spoilt(2, torch.inf), {"mask": PADDING}),
    "too large behind": (spoilt(2, 1e30), {"mask": PADDING}),
    "NaN in the future": (spoilt(2, torch.nan), {"is_causal": True}),
    "infinity in sight": (spoilt(1, -torch.inf, row=0), {"is_causal": True}),
    "NaN in a query": (spoilt(0, torch.nan), {"mask": PADDING}),
    "both masks": (parts_of(), {"mask": PADDING, "is_causal": True}),
    "a mask for all keys": (parts_of(), {"mask": PADDING[..., :1]}),
    "three axes": ([part[0] for part in parts_of()], {"is_causal": True}),
    "other values": ([*parts_of()[:2], randn(BATCH, HEADS, KEY, 4, dtype=torch.float32)], {}),
    "one batch for all": ([parts_of()[0][:1], *parts_of()[1:]], {}),
    "strides": ([*parts_of()[:2], parts_of()[2].mT.contiguous().mT], {}),
    "no keys": ([parts_of()[0], *(part[..., :0, :] for part in parts_of()[1:])], {}),
}


@pytest.mark.parametrize("name", [*TAKEN, *LEFT])
def test_both_ways_give_the_same_bits(name, monkeypatch):
    parts, options = (TAKEN | LEFT)[name]
    taken, (short, long) = both_ways(monkeypatch, parts, options)
    assert taken == (name in TAKEN)
    for got, wanted in zip(short, long, strict=True):
        torch.testing.assert_close(got, wanted, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize(
    "options",
    [{"scale": 0.5}, {"bias": torch.zeros(QUERY, KEY)}, {"score": scores.dot}, {"distribution": sparsemax}],
    ids=lambda options: next(iter(options)),
)
def test_it_is_for_the_plain_call_alone(options, monkeypatch):
    monkeypatch.setattr(attention, "plain_context", None)
    attend(*parts_of(), need_weights=False, **options)


def in_heads(query, key, value, *, mask=None, is_causal=False):
    """Attention of three axes through four, the values in pieces as wide as the keys, so that the way is short."""
    mask = mask if mask is None else mask.unsqueeze(1)
    size, contexts = query.shape[-1], []
    for piece in value.split(size, -1):
        parts = (query, key, F.pad(piece, (0, size - piece.shape[-1])))
        found = attend(*(part.unsqueeze(1) for part in parts), mask=mask, is_causal=is_causal, need_weights=False)
        contexts.append(found.context.squeeze(1)[..., : piece.shape[-1]])
    return torch.cat(contexts, -1)


EXACT = [
    checks.check_attend_value,
    functools.partial(checks.check_attend_gradient, second=False),
    checks.check_empty_row,
    checks.check_hidden_is_exact,
    checks.check_nothing_leaks,
]


@pytest.mark.parametrize("check", EXACT)
def test_it_has_the_properties_of_attention(check):
    check(in_heads)


def careless(query, key, value, mask, is_causal):
    return F.scaled_dot_product_attention(query, key, value, mask, 0.0, is_causal)


def test_a_way_without_looking_is_rejected(monkeypatch):
    monkeypatch.setattr(attention, "plain_context", careless)
    with pytest.raises(AssertionError):
        checks.check_nothing_leaks(in_heads)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"mask": torch.ones(BATCH, HEADS, QUERY, KEY)}, TypeError, "mask must be boolean"),
        ({"mask": torch.ones(BATCH, HEADS, KEY, QUERY).bool()}, ValueError, "does not broadcast"),
        ({"mask": torch.ones(3, HEADS, QUERY, KEY).bool()}, ValueError, "does not broadcast"),
        ({"mask": "all"}, TypeError, "mask must be a tensor"),
        ({"query": torch.ones(BATCH, HEADS, QUERY, SIZE).int()}, TypeError, "query must be floating point"),
        ({"key": torch.ones(BATCH, HEADS, KEY, SIZE).double()}, TypeError, "key has dtype"),
        ({"key": torch.ones(BATCH, HEADS, KEY, 4)}, ValueError, "key has d_k=4 but query has d_k=11"),
        ({"value": torch.ones(BATCH, HEADS, 4, SIZE)}, ValueError, "value has 4 rows but key has 7"),
        ({"query": torch.ones(BATCH, 2, QUERY, SIZE)}, ValueError, "leading dimensions must broadcast"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_named(change, error, words):
    given = dict(zip(("query", "key", "value"), parts_of(), strict=True)) | change
    with pytest.raises(error, match=words):
        attend(**given, need_weights=False)


@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_who_asks_for_the_path_or_the_reference_gets_it():
    assert explain(attend, *parts_of(), need_weights=False).choices[0].path == "kernel of torch"
    with reference_only():
        got = attend(*parts_of(), need_weights=False).context
        assert torch.equal(got, attend(*parts_of()).context)
    with torch.autocast("cpu", torch.bfloat16):
        assert attend(*parts_of(), need_weights=False).context.dtype == torch.bfloat16
    run = functools.partial(attend, need_weights=False)
    torch.testing.assert_close(torch.vmap(lambda *p: run(*p).context)(*parts_of()), run(*parts_of()).context)
