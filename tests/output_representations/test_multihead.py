"""Several heads: a loop over heads, torch's layer with the same weights, reading on with a cache, and mutants."""

import copy
import functools
import math
import pickle

import pytest
import torch
from checks import close, leaf, randn
from oracles import rows, tensor
from torch.autograd import gradcheck, gradgradcheck

from attnlib import Attend, Attention, attend, interop, scores
from attnlib.input_representations.distances import rotate
from attnlib.masks import causal, key_mask
from attnlib.output_representations._cache import next_item
from attnlib.output_representations.multihead import Cache, MultiHead, multihead
from attnlib.output_representations.parts import join, split

BATCH, QUERY, KEY, HEADS, D_K, D_V = 2, 3, 5, 6, 7, 11
GROUPS = [6, 3, 2, 1]


# --- the oracle: plain loops over heads, queries and keys -------------------------------------------------------------


def head_loop(query, key, value, heads, groups, visible):
    """One sentence, ``query[i][feature]``; ``visible[h][i][j]``. Contexts side by side, and ``weights[h][i][j]``."""
    d_k, d_v, run = len(query[0]) // heads, len(value[0]) // groups, heads // groups
    contexts, weights = [[] for _ in query], [[] for _ in range(heads)]
    for h in range(heads):
        g = h // run
        for i, asking in enumerate(query):
            exponentials = []
            for j, asked in enumerate(key):
                energy = sum(asking[h * d_k + d] * asked[g * d_k + d] for d in range(d_k)) / math.sqrt(d_k)
                exponentials.append(math.exp(energy) if visible[h][i][j] else 0.0)
            total = sum(exponentials)
            row = [e / total if total else 0.0 for e in exponentials]
            weights[h].append(row)
            contexts[i] += [sum(row[j] * value[j][g * d_v + d] for j in range(len(key))) for d in range(d_v)]
    return contexts, weights


def inputs(groups=HEADS, **options):
    shapes = (QUERY, HEADS * D_K), (KEY, groups * D_K), (KEY, groups * D_V)
    return [leaf(BATCH, *shape, seed=seed, **options) for seed, shape in enumerate(shapes)]


def padding():
    return key_mask(torch.tensor([4, 2]), KEY)


def for_each_head():
    """A mask of its own for each head; in each sentence some head's query sees nothing."""
    mask = torch.rand(BATCH, HEADS, QUERY, KEY, generator=torch.Generator().manual_seed(0)) < 0.6
    mask[0, 1, 2], mask[1, 4, 0] = False, False
    return mask


def check_value(attention):
    for groups in GROUPS:
        parts = inputs(groups)
        for mask, is_causal in ((None, False), (padding(), False), (for_each_head(), False), (padding(), True)):
            found = attention(*parts, heads=HEADS, key_value_heads=groups, mask=mask, is_causal=is_causal)
            shown = torch.ones(BATCH, HEADS, QUERY, KEY).bool()
            shown = shown if mask is None else shown & (mask if mask.ndim == 4 else mask.unsqueeze(1))
            shown = shown.tril() if is_causal else shown
            for b in range(BATCH):
                wanted = head_loop(*(rows(part[b]) for part in parts), HEADS, groups, shown[b].tolist())
                for got, want in zip(found[:2], wanted, strict=True):
                    close(got[b].detach(), tensor(want))


def check_asking_changes_nothing(attention):
    """The context is the same with the weights and without: causal, padded, and where a query sees nothing."""
    for groups in GROUPS:
        parts = inputs(groups)
        for mask, is_causal in ((None, True), (padding(), False), (for_each_head(), True)):
            options = {"heads": HEADS, "key_value_heads": groups, "mask": mask, "is_causal": is_causal}
            asked = attention(*parts, **options).context
            silent = attention(*parts, **options, need_weights=False)
            assert silent.weights is None
            assert asked.isfinite().all()
            upstream = randn(*asked.shape, seed=5)
            slopes = [torch.autograd.grad((c * upstream).sum(), parts) for c in (asked, silent.context)]
            close(silent.context, asked)
            for one, other in zip(*slopes, strict=True):
                close(one, other)


def check_batch_mates(attention):
    """A sentence alone, in a batch, and with padding of any kind: the same context."""
    query, key, value = (part.detach() for part in inputs())
    alone = attention(query[1:], key[1:, :2], value[1:, :2], heads=HEADS).context[0]
    for bad in (0.0, torch.nan, torch.inf, 1e308):
        spoilt = key.clone(), value.clone()
        spoilt[0][1, 2:], spoilt[1][1, 2:] = bad, bad
        close(attention(query, *spoilt, heads=HEADS, mask=padding()).context[1], alone)


CHECKS = (check_value, check_asking_changes_nothing, check_batch_mates)


@pytest.mark.parametrize("check", CHECKS)
def test_multihead(check):
    check(multihead)


def test_slopes_are_the_numerical_ones():
    run = functools.partial(multihead, heads=HEADS, key_value_heads=2, mask=for_each_head())
    assert gradcheck(lambda *parts: run(*parts).context, inputs(2), fast_mode=True)
    assert gradgradcheck(lambda *parts: run(*parts).context, inputs(2), fast_mode=True)


def test_one_head_is_attention_and_many_are_attentions_of_parts():
    query, key, value = inputs()
    close(
        multihead(query, key, value, heads=1)[:2],
        (attend(query, key, value).context, attend(query, key, value)[1][:, None]),
    )
    found = multihead(query, key, value, heads=HEADS)
    for h in range(HEADS):
        own = [
            part[..., h * size : (h + 1) * size]
            for part, size in zip((query, key, value), (D_K, D_K, D_V), strict=True)
        ]
        close(split(found.context, HEADS)[:, h], attend(*own).context)


def test_bias_is_for_all_heads_or_for_each():
    parts, slopes = inputs(), torch.linspace(0.5, 3, HEADS, dtype=torch.float64).reshape(-1, 1, 1)
    distance = (torch.arange(QUERY).unsqueeze(-1) - torch.arange(KEY)).abs().double()
    found = multihead(*parts, heads=HEADS, bias=(-slopes * distance).unsqueeze(0))
    for h in range(HEADS):
        alone = multihead(*parts, heads=HEADS, bias=-slopes[h] * distance)
        close(found.weights[:, h], alone.weights[:, h])


def test_any_score_distribution_and_dropout_go_in_as_an_attention():
    parts = inputs()
    score = functools.partial(scores.gaussian, width=0.5)
    found = multihead(*parts, heads=HEADS, attention=Attend(score))
    wanted = attend(*(split(part, HEADS) for part in parts), score=score)
    close(found.weights, wanted.weights)
    close(found.context, join(wanted.context))
    dropped = multihead(*parts, heads=HEADS, attention=Attend(dropout=0.5))
    assert 0.2 < (dropped.weights == 0).double().mean() < 0.8
    close(split(dropped.context, HEADS), dropped.weights @ split(parts[2], HEADS))


@pytest.mark.parametrize("shape", [(0, 5), (3, 0), (1, 1), (0, 0)])
def test_nothing_to_ask_and_nobody_to_ask(shape):
    n_query, n_key = shape
    found = multihead(randn(n_query, 6), randn(n_key, 6), randn(n_key, 6), heads=3)
    assert found.context.shape == (n_query, 6)
    assert found.weights.shape == (3, n_query, n_key)
    if n_key == 0:
        assert (found.context == 0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_asking_changes_nothing_in_any_precision(dtype, device):
    """Within the rounding of the context, with a query that sees nothing: torch's layer gives NaN there, if asked."""
    parts = [part.detach() for part in inputs(2, dtype=dtype, device=device)]
    options = {"heads": HEADS, "key_value_heads": 2, "mask": for_each_head().to(device)}
    asked, silent = multihead(*parts, **options), multihead(*parts, **options, need_weights=False)
    assert asked.context.dtype == asked.weights.dtype == dtype
    size = 2 * torch.finfo(dtype).eps
    torch.testing.assert_close(silent.context, asked.context, rtol=size, atol=size)
    exact = multihead(*(part.double() for part in parts), **options)
    torch.testing.assert_close(asked.context.double(), exact.context, rtol=2 * size, atol=2 * size)


# --- the layer --------------------------------------------------------------------------------------------------------


def outputs(layer, given, **options):
    """Output, weights, and the gradients of inputs and parameters."""
    leaves = [part.detach().clone().requires_grad_() for part in given]
    found = layer(*leaves, **options)
    loss = (found[0] * randn(*found[0].shape, seed=7)).sum()
    slopes = torch.autograd.grad(loss, [*leaves, *layer.parameters()], allow_unused=True, materialize_grads=True)
    return (
        found[0],
        found[1],
        slopes[: len(leaves)],
        dict(zip(dict(layer.named_parameters()), slopes[len(leaves) :], strict=True)),
    )


def as_ours(slopes):
    """Gradients of torch's parameters by our names for them."""
    found = {"output_weight": slopes["out_proj.weight"]}
    packed = slopes.get("in_proj_weight")
    weights = packed.chunk(3) if packed is not None else [slopes[f"{name}_proj_weight"] for name in "qkv"]
    found |= zip(("query_weight", "key_weight", "value_weight"), weights, strict=True)
    if "in_proj_bias" in slopes:
        found |= zip(("query_bias", "key_bias", "value_bias"), slopes["in_proj_bias"].chunk(3), strict=True)
        found["output_bias"] = slopes["out_proj.bias"]
    return found


SIZE, THEIR_HEADS = 15, 3
LAYERS = {
    "self": {},
    "without bias": {"bias": False},
    "cross": {"cross": True},
    "other sizes": {"cross": True, "kdim": 7, "vdim": 11},
    "other sizes without bias": {"cross": True, "kdim": 7, "vdim": 11, "bias": False},
}
MASKS = {
    "no mask": lambda n: {},
    "padding": lambda n: {"key_padding_mask": torch.arange(n) >= torch.tensor([[n - 2], [n]])},
    "a mask": lambda n: {"attn_mask": ~seen_mask(QUERY, n)},
    "a mask for each head": lambda n: {"attn_mask": ~seen_mask(BATCH * THEIR_HEADS, QUERY, n)},
    "an additive mask and padding": lambda n: {
        "attn_mask": interop.to_additive(seen_mask(QUERY, n), torch.float64),
        "key_padding_mask": interop.to_additive(torch.arange(n) < torch.tensor([[n - 1], [n]]), torch.float64),
    },
}


def seen_mask(*shape):
    """A mask in which every query sees the first key."""
    mask = torch.rand(*shape, generator=torch.Generator().manual_seed(1)) < 0.5
    mask[..., 0] = True
    return mask


def converted(given):
    """Their masks as one of ours."""
    mask = None
    if "attn_mask" in given:
        mask = interop.from_attn_mask(given["attn_mask"])
        mask = mask.unflatten(0, (BATCH, THEIR_HEADS)) if mask.ndim == 3 else mask
    if "key_padding_mask" in given:
        real = interop.from_key_padding(given["key_padding_mask"])
        mask = real if mask is None else mask & real
    return mask


def torch_layer(*, cross=False, **options):
    """Torch's layer with numbers everywhere, biases too, and its inputs."""
    module = torch.nn.MultiheadAttention(SIZE, THEIR_HEADS, batch_first=True, dtype=torch.float64, **options)
    with torch.no_grad():
        for seed, parameter in enumerate(module.parameters()):
            parameter.copy_(randn(*parameter.shape, seed=seed) / 3)
    query = randn(BATCH, QUERY, SIZE)
    key = randn(BATCH, KEY, options.get("kdim", SIZE), seed=1) if cross else query
    return module, (query, key, randn(BATCH, KEY, options.get("vdim", SIZE), seed=2) if cross else query)


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("name", LAYERS)
def test_it_is_torchs_layer_with_its_weights(name, mask):
    module, given = torch_layer(**LAYERS[name])
    layer, masks = MultiHead.of(module), MASKS[mask](given[1].shape[1])
    for asked in (True, False):
        theirs = outputs(module, given, **masks, need_weights=asked, average_attn_weights=False)
        ours = outputs(layer, given, mask=converted(masks), need_weights=asked)
        assert (ours[1] is None) == (theirs[1] is None) == (not asked)
        for got, wanted in zip((*ours[: 1 + asked], *ours[2]), (*theirs[: 1 + asked], *theirs[2]), strict=True):
            torch.testing.assert_close(got, wanted, rtol=0, atol=1e-12)
        slopes = as_ours(theirs[3])
        assert slopes.keys() == ours[3].keys()
        for part, wanted in slopes.items():
            torch.testing.assert_close(ours[3][part], wanted, rtol=0, atol=1e-12)


def test_where_torchs_layer_gives_nan_it_gives_its_bias():
    """A sentence of padding alone. Torch gives a number if the weights are not asked for, and NaN if they are."""
    module, (query, key, value) = torch_layer(cross=True)
    layer, padding = MultiHead.of(module), torch.tensor([[True] * KEY, [False] * KEY])
    silent = module(query, key, value, key_padding_mask=padding, need_weights=False)[0]
    assert module(query, key, value, key_padding_mask=padding)[0][0].isnan().all()
    for asked in (True, False):
        out, weights, slopes, own = outputs(
            layer, (query, key, value), mask=interop.from_key_padding(padding), need_weights=asked
        )
        close(out, silent)
        close(out[0], layer.output_bias.expand(QUERY, SIZE))
        assert weights is None or (weights[0] == 0).all()
        assert all((slope[0] == 0).all() and (slope[1] != 0).any() for slope in slopes)
        assert all(slope.isfinite().all() for slope in own.values())


def test_copied_weights_are_copies_and_keep_what_they_were():
    module, given = torch_layer(dropout=0.25)
    module.out_proj.weight.requires_grad_(False)
    layer = MultiHead.of(module.eval())
    assert not layer.training
    assert layer.attention.dropout == 0.25
    assert not layer.output_weight.requires_grad
    assert layer.query_weight.requires_grad
    before = layer(*given).context
    with torch.no_grad():
        module.in_proj_weight.zero_()
    close(layer(*given).context, before)
    for extra in ("add_bias_kv", "add_zero_attn"):
        with pytest.raises(ValueError, match="module must not have add_bias_kv or add_zero_attn"):
            MultiHead.of(torch.nn.MultiheadAttention(6, 2, **{extra: True}))


@pytest.mark.parametrize("turn", [None, rotate], ids=["no places", "rotary"])
@pytest.mark.parametrize("groups", [4, 2, 1])
def test_reading_on_is_reading_at_once(groups, turn):
    """Item by item, in runs, and at once, for a batch with padding before its words."""
    torch.manual_seed(1)
    layer = MultiHead(16, 4, key_value_heads=groups, turn=turn).double()
    text = randn(BATCH, 7, 16)
    for mask in (None, torch.arange(7) >= torch.tensor([[[0]], [[3]]])):
        wanted = layer(text, mask=mask, is_causal=True)
        for runs in ([1] * 7, [3, 1, 3], [7], [2, 5]):
            cache, start = None, 0
            for length in runs:
                end = start + length
                shown = None if mask is None else mask[..., :end]
                found, cache = layer.decode(text[:, start:end], cache, mask=shown)
                close(found.context, wanted.context[:, start:end])
                close(found.weights, wanted.weights[:, :, start:end, :end])
                start = end
            assert cache.key.shape == cache.value.shape == (BATCH, 7, groups * 4)


def test_a_cache_can_be_read_on_in_two_ways():
    layer, text = MultiHead(6, 2).double(), randn(5, 6)
    _, cache = layer.decode(text[:3])
    kept = Cache(*(part.clone() for part in cache))
    first, _ = layer.decode(text[3:4], cache)
    second, _ = layer.decode(text[4:5], cache, need_weights=False)
    close(cache, kept)
    close(first.context, layer(text[:4], is_causal=True).context[3:])
    close(second.context, layer(text[[0, 1, 2, 4]], is_causal=True).context[3:])


@torch.no_grad()
def read_on(layer, text, runs, **options):
    """Outputs of a text that is read in runs of these lengths, and the caches on the way."""
    caches, outputs, start = [None], [], 0
    for length in runs:
        found, cache = layer.decode(text[:, start : start + length], caches[-1], **options)
        caches, outputs, start = [*caches, cache], [*outputs, found.context], start + length
    return torch.cat(outputs, 1), caches


@pytest.mark.parametrize("options", [{}, {"need_weights": False}], ids=["weights", "no weights"])
@pytest.mark.parametrize(
    "layer", [MultiHead(16, 4), MultiHead(16, 4, key_value_heads=2), MultiHead(16, 4, turn=rotate)]
)
def test_reading_on_without_a_graph_is_reading_at_once(layer, options):
    """One copy when the room is full, and views of one memory until then; a graph, a file or a copy needs no room."""
    layer, text = layer.double(), randn(BATCH, 13, 16)
    wanted = layer(text, is_causal=True).context
    found, caches = read_on(layer, text, [2, 1, 3, *[1] * 7], **options)
    close(found, wanted)
    places = [cache.key.untyped_storage().data_ptr() for cache in caches[1:]]
    assert len(set(places)) == 3  # the first; room for 6; for 14, which the item after the 6th asks for
    for other in (copy.deepcopy(caches[5]), pickle.loads(pickle.dumps(caches[5])), Cache(*caches[5])):
        assert type(other) is Cache
        close(layer.decode(text[:, 8:9], other)[0].context, wanted[:, 8:9])
    close(layer.decode(text[:, 8:9], caches[5])[0].context.detach(), wanted[:, 8:9])


@pytest.mark.parametrize("turn", [None, rotate])
@pytest.mark.parametrize("groups", [4, 2, 1])
@torch.no_grad()
def test_one_item_goes_the_short_way_with_places_and_groups_too(groups, turn):
    """But not with what changes the precision."""
    layer, text = MultiHead(16, 4, key_value_heads=groups, turn=turn).double(), randn(BATCH, 7, 16)
    _, caches = read_on(layer, text, [5], need_weights=False)
    found, _ = next_item(layer, text[:, 5:6], caches[1])
    close(found.context, layer(text[:, :6], is_causal=True).context[:, 5:])
    layer.turn = lambda vectors, places: rotate(vectors, places).float()
    assert next_item(layer, text[:, 5:6], caches[1]) is None


def test_caches_of_one_memory_stay_as_they_are():
    """A second way on from a cache, from an older one, and a gradient through what was kept."""
    layer, text, other = MultiHead(6, 2).double(), randn(BATCH, 9, 6), randn(BATCH, 9, 6, seed=1)
    _, caches = read_on(layer, text, [2, 1, 1, 1], need_weights=False)
    kept = [[part.clone() for part in cache] for cache in caches[1:]]
    asking = randn(BATCH, 3, 6).requires_grad_()
    loss = (asking @ caches[2].key.mT).square().sum()
    for start, cache in ((5, caches[4]), (5, caches[4]), (3, caches[2])):
        with torch.no_grad():
            found, _ = layer.decode(other[:, start : start + 1], cache, need_weights=False)
        wanted = layer(torch.cat([text[:, :start], other[:, start : start + 1]], 1), is_causal=True)
        close(found.context, wanted.context[:, start:])
    for cache, parts in zip(caches[1:], kept, strict=True):
        close(list(cache), parts)
    loss.backward()  # what it holds was not written over


def test_what_is_not_plain_is_read_on_as_before():
    """NaN, numbers too large, half precision, inference mode, other batches, hooks, dropout, bad input."""
    layer, text = MultiHead(6, 2), randn(BATCH, 5, 6, dtype=torch.float32)
    for spoil in (torch.nan, torch.inf, 1e14):
        spoilt = text.clone()
        spoilt[0, 3, 0] = spoil
        wanted = layer(spoilt, is_causal=True).context
        found, caches = read_on(layer, spoilt, [1] * 5, need_weights=False)
        torch.testing.assert_close(found, wanted, equal_nan=True)
        assert [cache.is_ordinary for cache in caches[2:]] == [True, True, False, False]
    _, caches = read_on(layer, text, [2, 1], need_weights=False)
    with torch.inference_mode():
        inferred = layer.decode(text[:, 3:4], caches[2], need_weights=False)
        inferred = layer.decode(text[:, 4:5], inferred[1], need_weights=False)
    wanted = layer(text, is_causal=True).context[:, 4:]
    torch.testing.assert_close(inferred[0].context.clone(), wanted)
    with torch.no_grad():
        for bad, error in ((text[:1, :1], ValueError), (text[:, :1, :5], ValueError), ([1.0], TypeError)):
            with pytest.raises(error):
                layer.decode(bad, caches[2], need_weights=False)
        called = []
        layer.attention.register_forward_hook(lambda *_: called.append(1))
        layer.decode(text[:, :1], caches[2], need_weights=False)
        assert called == [1]
        halved = MultiHead(6, 2).bfloat16()
        _, after = read_on(halved, text.bfloat16(), [2, 1, 1, 1], need_weights=False)
        assert after[4].key.dtype == torch.bfloat16


def test_places_tell_the_order_and_nothing_else_does():
    order, text = torch.tensor([3, 0, 4, 1, 2]), randn(5, 8)
    plain, turned = MultiHead(8, 2).double(), MultiHead(8, 2, turn=rotate).double()
    close(plain(text[order]).context, plain(text).context[order])
    assert (turned(text[order]).context - turned(text).context[order]).abs().max() > 1e-3
    shifted = functools.partial(rotate, base=100.0)
    later = MultiHead(8, 2, turn=lambda x, places: shifted(x, places + 5)).double()
    nearer = MultiHead(8, 2, turn=shifted).double()
    later.load_state_dict(nearer.state_dict())
    close(later(text).context, nearer(text).context)  # only distances count


def test_nan_behind_the_mask_spoils_no_gradient_and_nan_in_sight_only_its_own_sentence():
    layer, text = MultiHead(6, 2, key_size=5, value_size=7).double(), randn(BATCH, QUERY, 6)
    key, value = randn(BATCH, KEY, 5, seed=1), randn(BATCH, KEY, 7, seed=2)
    mask = key_mask(torch.tensor([2, 5]), KEY)
    wanted = outputs(layer, (text, key, value), mask=mask)
    key[0, 2:], value[0, 2:] = torch.nan, torch.inf
    found = outputs(layer, (text, key, value), mask=mask)
    close(found[0], wanted[0])
    close(found[2], wanted[2])
    close(found[3], wanted[3])
    value[0, 0] = torch.nan
    spoilt = layer(text, key, value, mask=mask)
    assert spoilt.context[0].isnan().all()
    close(spoilt.context[1], wanted[0][1])
    slopes = torch.autograd.grad(spoilt.context[1].sum(), list(layer.parameters()))
    assert all(slope.isfinite().all() for slope in slopes)


def test_sizes_of_grouped_queries_and_of_heads():
    layer = MultiHead(12, 6, key_value_heads=2, key_size=5, value_size=7, head_size=3)
    shapes = {name: tuple(part.shape) for name, part in layer.named_parameters() if "weight" in name}
    assert shapes == {"query_weight": (18, 12), "key_weight": (6, 5), "value_weight": (6, 7), "output_weight": (12, 18)}
    found = layer(torch.randn(BATCH, QUERY, 12), torch.randn(BATCH, KEY, 5), torch.randn(BATCH, KEY, 7))
    assert found.context.shape == (BATCH, QUERY, 12)
    assert found.weights.shape == (BATCH, 6, QUERY, KEY)


def test_dropout_is_for_training():
    layer, text = MultiHead(6, 2, dropout=0.5), torch.randn(BATCH, 13, 6)
    assert (layer(text).weights == 0).any()
    assert torch.equal(layer.eval()(text).context, layer(text).context)
    assert (layer(text).weights > 0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_layer_keeps_its_precision(dtype, device):
    layer, text = (
        MultiHead(6, 2, key_value_heads=1, turn=None).to(device, dtype),
        randn(BATCH, 5, 6, dtype=dtype, device=device),
    )
    asked, silent = layer(text, is_causal=True), layer(text, is_causal=True, need_weights=False)
    assert asked.context.dtype == asked.weights.dtype == dtype
    size = 8 * torch.finfo(dtype).eps
    torch.testing.assert_close(silent.context, asked.context, rtol=size, atol=size)


def test_autocast_gives_what_it_gives_without_weights():
    layer, text = MultiHead(6, 2), torch.randn(BATCH, 5, 6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        asked, silent = layer(text, is_causal=True), layer(text, is_causal=True, need_weights=False)
    torch.testing.assert_close(silent.context.float(), asked.context.float(), rtol=0.03, atol=0.03)
    torch.testing.assert_close(asked.context.float(), layer(text, is_causal=True).context, rtol=0.03, atol=0.03)


def test_vmap_over_layers_is_a_loop_over_them():
    layers, text = [MultiHead(6, 2).double() for _ in range(3)], randn(5, 6)
    stacked, _ = torch.func.stack_module_state(layers)
    found = torch.vmap(lambda p: torch.func.functional_call(layers[0], p, (text,)).context)(stacked)
    for got, layer in zip(found, layers, strict=True):
        close(got, layer(text).context)


@pytest.mark.usefixtures("unchecked")
def test_exports_with_open_sizes():
    layer, text = MultiHead(8, 4, key_value_heads=2, turn=rotate).double(), randn(BATCH, 5, 8)
    sizes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("time")}
    program = torch.export.export(layer, (text,), dynamic_shapes={"query": sizes}, strict=False)
    other = randn(3, 13, 8)
    close(program.module()(other).context, layer(other).context)


def test_reading_on_without_a_batch():
    """Of as many items as heads too, where a mask of two axes could be taken for one of a batch."""
    layer, text = MultiHead(8, 4).double(), randn(6, 8)
    first, cache = layer.decode(text[:4])
    found = torch.cat([first.context, layer.decode(text[4:], cache)[0].context])
    close(found, layer(text, is_causal=True).context)
    close(found[:4], layer(text[:4], mask=causal(4)).context)


@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_named():
    query, key, value = (part.detach() for part in inputs())
    layer, text = MultiHead(6, 2), torch.randn(BATCH, BATCH, 6)

    def run(query=query, key=key, value=value, heads=HEADS, **options):
        return multihead(query, key, value, heads=heads, **options)

    cases = [
        (ValueError, "query has 42 features, which heads=5 must divide", lambda: run(heads=5)),
        (ValueError, "heads must be at least 1, got 0", lambda: run(heads=0)),
        (ValueError, "key_value_heads must divide heads=6, got 4", lambda: run(key_value_heads=4)),
        (ValueError, "key_value_heads must divide heads=6, got 0", lambda: run(key_value_heads=0)),
        (ValueError, "value has 11 features, which heads=6 must divide", lambda: run(value=value[..., :11])),
        (ValueError, "key has d_k=14 but query has d_k=7", lambda: run(key_value_heads=3)),
        (TypeError, "mask must be boolean", lambda: run(mask=torch.ones(QUERY, KEY))),
        (ValueError, "does not broadcast", lambda: run(mask=torch.ones(HEADS, QUERY, KEY).bool())),
        (TypeError, "key must be a tensor, got list", lambda: run(key=[1.0])),
        (ValueError, r"query must have shape \(\*batch, time, heads \* size\)", lambda: run(query=query[0, 0])),
        (ValueError, "heads=4, got 6", lambda: MultiHead(6, 4)),
        (ValueError, "key_value_heads must divide heads=4, got 3", lambda: MultiHead(8, 4, key_value_heads=3)),
        (
            ValueError,
            r"key_weight must have shape \(rows=6, size=5\), got shape \(6, 6\)",
            lambda: layer(text, text[..., :5]),
        ),
        (TypeError, "query must be floating point", lambda: layer(text.long())),
        (ValueError, "can be read as", lambda: layer(text, mask=torch.ones(BATCH, BATCH).bool())),
        # Beside the causal mask this was read as (query, key), and nobody was told.
        (ValueError, "can be read as", lambda: layer.decode(text, mask=torch.ones(BATCH, BATCH).bool())),
        (TypeError, "mask must be boolean", lambda: layer.decode(text, mask=torch.ones(BATCH))),
        (ValueError, "mask of shape .* does not broadcast", lambda: layer.decode(text, mask=torch.ones(9).bool())),
        (TypeError, "cache must be what .* decode returned, got tuple", lambda: layer.decode(text, (1, 2))),
        (ValueError, "cache has a key of shape", lambda: layer.decode(text[:1], layer.decode(text)[1])),
        (
            ValueError,
            "cache has a key of shape",
            lambda: layer.decode(text, MultiHead(6, 3, head_size=4).decode(text)[1]),
        ),
    ]
    for error, message, call in cases:
        with pytest.raises(error, match=message):
            call()


# --- known wrong versions ---------------------------------------------------------------------------------------------


def spoilt(*, scale=None, interleaved=False, runs=True, keep_causal=True, safe=True, first_mask=False, mixed=False):
    """The plain formula, wrong in one way."""

    def attention(query, key, value, *, heads, key_value_heads=None, mask=None, is_causal=False, need_weights=True):
        groups = key_value_heads or heads

        def cut(vectors, n):
            if interleaved:  # features h, h + H, h + 2H ... in place of a run
                return vectors.unflatten(-1, (-1, n)).movedim(-1, -3)
            if mixed:  # a view in place of a transposition: time goes into the heads
                return vectors.reshape(*vectors.shape[:-2], n, vectors.shape[-2], -1)
            return vectors.unflatten(-1, (n, -1)).transpose(-3, -2)

        q, k, v = cut(query, heads), cut(key, groups), cut(value, groups)
        times = heads // groups
        k, v = (x.repeat_interleave(times, -3) if runs else x.repeat(1, times, 1, 1) for x in (k, v))
        energies = q @ k.mT / math.sqrt(scale or q.shape[-1])
        visible = torch.ones_like(energies, dtype=torch.bool)
        if mask is not None:
            mask = mask if mask.ndim == 4 else mask.unsqueeze(1)
            visible = visible & (mask[:, :1] if first_mask else mask)
        if is_causal and (keep_causal or not need_weights):
            visible = visible.tril()
        energies = energies.masked_fill(~visible, -torch.inf)
        weights = energies.softmax(-1)
        if safe or not need_weights:
            weights = torch.where(visible.any(-1, keepdim=True), weights, 0.0)
        context = torch.where(weights.unsqueeze(-1) > 0, weights.unsqueeze(-1) * v.unsqueeze(-3), 0.0).sum(-2)
        if not safe:
            context = weights @ v
        return Attention(join(context), weights if need_weights else None, energies)

    return attention


WRONG = {
    "scaled by the size of all heads": (check_value, spoilt(scale=HEADS * D_K)),
    "features dealt out one by one": (check_value, spoilt(interleaved=True)),
    "heads cut by a view": (check_value, spoilt(mixed=True)),
    "groups repeated in turn": (check_value, spoilt(runs=False)),
    "the first head's mask for all": (check_value, spoilt(first_mask=True)),
    "the future seen with the weights": (check_asking_changes_nothing, spoilt(keep_causal=False)),
    "NaN with the weights": (check_asking_changes_nothing, spoilt(safe=False)),
    "NaN behind the mask": (check_batch_mates, spoilt(safe=False)),
}


@pytest.mark.parametrize(("check", "mutant"), WRONG.values(), ids=WRONG)
def test_wrong_versions_are_rejected(check, mutant):
    with pytest.raises((AssertionError, RuntimeError)):
        check(mutant)


def test_the_unspoilt_version_passes():
    check_value(spoilt())
    check_asking_changes_nothing(spoilt())


@pytest.mark.parametrize("wrong", ["upper-left", "no places", "forgets"])
def test_wrong_caches_are_rejected(wrong, monkeypatch):
    """Causal from the first key on; new items that are turned as if they were the first; only the new keys seen."""
    if wrong == "upper-left":
        monkeypatch.setattr("attnlib.masks.causal", lambda n, k, *, device, alignment=None: causal(n, k, device=device))
    elif wrong == "no places":
        project = MultiHead.project
        monkeypatch.setattr(MultiHead, "project", lambda self, inputs, *given, start=0: project(self, inputs, *given))
    else:
        decode = MultiHead.decode
        monkeypatch.setattr(MultiHead, "decode", lambda self, inputs, cache, mask: decode(self, inputs, None))
    with pytest.raises(AssertionError):
        test_reading_on_is_reading_at_once(2, rotate)
