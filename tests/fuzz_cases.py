"""The random cases of :mod:`fuzz`: what to call the library with, and the same for the oracle."""

import functools
import math
import random
from typing import NamedTuple

import fuzz_oracle
import torch

import attnlib
from attnlib import distributions, scores, structured

HALF = (torch.float16, torch.bfloat16)
DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
SAME_SIZE = ("similarity", "dot", "scaled_dot", "generalized_kernel", "gaussian")
SMOOTH = ("tanh", "sigmoid", "softplus", "relu")
TORCH = {name: pair[0] for name, pair in fuzz_oracle.FUNCTIONS.items()}
# Leading dimensions of query, key and value.
BATCHES = (
    ((), (), ()),
    ((), (), ()),
    ((1,), (1,), (1,)),
    ((2,), (2,), (2,)),
    ((3,), (3,), (3,)),
    ((2, 2), (2, 2), (2, 2)),
    ((2, 1), (1, 2), (2, 2)),
    ((), (2,), (2,)),
    ((2,), (), (2,)),
    ((2,), (2, 1), ()),
    ((1,), (3,), (1,)),
    ((0,), (0,), (0,)),
)
GROUPED = (((2,), (1,)), ((4,), (2,)), ((3,), (3,)), ((2, 4), (2, 2)), ((1, 2), (2, 1)))


class Case(NamedTuple):
    """One case: what the library is to be called with, and the same for the oracle."""

    task: fuzz_oracle.Task
    dtype: torch.dtype
    leaves: dict  # name: tensor that wants a gradient
    call: object  # function of (attend, local, need_weights)
    lost: set  # rows that see a query or key that is not finite
    lost_value: set  # rows that see a value that is not finite
    bad_pairs: torch.Tensor  # (rows, key): visible pairs with a vector that is not finite
    is_masked: bool
    has_gradients: bool  # also where nothing is masked
    is_local: bool
    n_columns: int
    upstream: torch.Tensor
    at_weights: torch.Tensor | None
    what: str


class Maker:
    """Random choices and tensors, all from one seed."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.generator = torch.Generator().manual_seed(seed)
        self.dtype = self.random.choice(DTYPES)
        self.single = torch.float64 if self.dtype == torch.float64 else torch.float32
        self.leaves, self.views, self.what = {}, {}, []

    def chance(self, p):
        return self.random.random() < p

    def pick(self, *options):
        return self.random.choice(options)

    def normal(self, *shape, spread=1.0, dtype=None):
        numbers = torch.randn(shape, generator=self.generator, dtype=torch.float64)
        return (numbers * spread).to(dtype or self.dtype)

    def leaf(self, name, tensor):
        self.leaves[name] = tensor.detach().requires_grad_()
        return self.leaves[name]

    def garbage(self, like, kind):
        """What may stand behind a mask."""
        largest = torch.finfo(like.dtype).max
        if kind == "bits":  # of uninitialised memory
            size = like.element_size()
            bits = torch.randint(0, 256, (like.numel() * size,), generator=self.generator, dtype=torch.uint8)
            return bits.view(like.dtype).reshape(like.shape)
        if kind == "huge":
            return (2 * torch.rand(like.shape, generator=self.generator, dtype=torch.float64) - 1).to(like.dtype) * (
                largest * self.pick(1.0, 1.0, 0.5, 1e-3, 1e-8, 1e-19)
            )
        numbers = {"nan": (math.nan,), "inf": (math.inf,), "-inf": (-math.inf,), "largest": (largest, -largest)}
        numbers["mixed"] = (math.nan, math.inf, -math.inf, largest, -largest, 0.0)
        choice = torch.randint(0, len(numbers[kind]), like.shape, generator=self.generator)
        return torch.tensor(numbers[kind], dtype=like.dtype)[choice]

    def vectors(self, name, shape, spread, seen):
        """A tensor laid out in memory in some way, with garbage in rows that are not seen; its logical bad rows."""
        layout = self.pick("contiguous", "contiguous", "transposed", "sliced", "expanded")
        base_shape, expanded = list(shape), None
        if layout == "expanded" and shape[:-1]:
            expanded = self.random.randrange(len(shape) - 1)
            base_shape[expanded] = min(1, shape[expanded])
            seen = seen.any(expanded, keepdim=True) if shape[expanded] else seen
        numbers = self.normal(*base_shape, spread=spread)
        if numbers.numel():
            if self.chance(0.06):  # vectors without a direction
                numbers[torch.rand(base_shape[:-1], generator=self.generator) < 0.3] = 0.0
            hidden = ~seen
            if self.chance(0.75) and bool(hidden.any()):
                kind = self.pick("nan", "inf", "-inf", "mixed", "largest", "largest", "huge", "huge", "bits", "bits")
                self.what.append(f"{name} hides {kind}")
                spoilt = self.garbage(numbers, kind)
                if self.chance(0.3):
                    spoilt = torch.where(torch.rand(base_shape, generator=self.generator) < 0.5, spoilt, numbers)
                numbers = torch.where(hidden.unsqueeze(-1), spoilt, numbers)
            if self.chance(0.08):
                kind = self.pick("nan", "inf", "mixed", "largest", "largest", "huge")
                self.what.append(f"{name} shows {kind}")
                rows = torch.rand(base_shape[:-1], generator=self.generator) < 0.25
                numbers = torch.where(rows.unsqueeze(-1), self.garbage(numbers, kind), numbers)
        self.what.append(f"{name} {tuple(shape)} {layout}")
        if layout == "transposed":
            self.leaf(name, numbers.mT.contiguous())
            self.views[name] = _transposed
        elif layout == "sliced":
            around = torch.full((*shape[:-1], 2 * shape[-1] + 1), torch.nan, dtype=self.dtype)
            around[..., 1::2] = numbers
            self.leaf(name, around)
            self.views[name] = _sliced
        else:
            self.leaf(name, numbers)
            self.views[name] = _same if expanded is None else functools.partial(torch.Tensor.expand, size=tuple(shape))
        return self.views[name](self.leaves[name])

    def spread_out(self, shape):
        """A shape that broadcasts to this one."""
        if self.chance(0.4):
            return tuple(shape)
        cut = self.random.randrange(len(shape) + 1) if self.chance(0.6) else 0
        return tuple(1 if self.chance(0.35) else size for size in shape[cut:])

    def flags(self, shape, p):
        return torch.rand(shape, generator=self.generator) < p


def _transposed(leaf):
    return leaf.mT


def _sliced(leaf):
    return leaf[..., 1::2]


def _same(leaf):
    return leaf


def reduced(flags, shape):
    """``any`` over what was broadcast from ``shape``."""
    extra = flags.ndim - len(shape)
    if extra:
        flags = flags.flatten(0, extra - 1).any(0) if extra > 1 else flags.any(0)
    for axis, size in enumerate(shape):
        if size == 1 and flags.shape[axis] != 1:
            flags = flags.any(axis, keepdim=True)
    return flags


def build(seed):
    """The case of a seed."""
    maker = Maker(seed)
    is_local = maker.chance(0.14)
    is_grouped = not is_local and maker.chance(0.1)
    name = maker.pick(*(["dot", "scaled_dot"] * 3), *fuzz_oracle.SCORES)
    n_query = 0 if maker.chance(0.02) else maker.random.randint(1, 4)
    n_key = maker.random.randint(0, 6)
    d_q, d_k, d_v = (maker.random.randint(1, 4) for _ in range(3))
    if maker.chance(0.01):
        d_v = 0
    d_k = d_q if name in SAME_SIZE else d_k
    if is_grouped:
        q_batch, k_batch = maker.pick(*GROUPED)
        v_batch, groups = k_batch, q_batch[-1] // k_batch[-1]
        batch = (*torch.broadcast_shapes(q_batch[:-1], k_batch[:-1]), q_batch[-1])
    else:
        (q_batch, k_batch, v_batch), groups = maker.pick(*BATCHES), 1
        if maker.chance(0.15):
            q_batch, k_batch, v_batch = maker.pick(*BATCHES[:-1])
        batch = tuple(torch.broadcast_shapes(q_batch, k_batch, v_batch))
    shares_value = maker.chance(0.15)
    if shares_value:
        v_batch, d_v = k_batch, d_k
        batch = batch if is_grouped else tuple(torch.broadcast_shapes(q_batch, k_batch))
    shape = (*batch, n_query, n_key)

    # What may be seen.
    mask, bias, is_causal = None, None, not is_local and maker.chance(0.25)
    visible = torch.ones(shape, dtype=torch.bool)
    if maker.chance(0.65):
        mask = maker.flags(maker.spread_out(shape), maker.pick(0.4, 0.7, 0.9))
        if mask.ndim > 1 and mask.shape[-2] > 1 and maker.chance(0.4):
            mask[..., maker.random.randrange(mask.shape[-2]), :] = False
        if mask.ndim == 2 and len(shape) > 2:  # may be taken for (batch, key), and is refused
            mask = mask.unsqueeze(0)
        visible = visible & mask
    if is_causal:
        visible = visible & (torch.arange(n_key) <= torch.arange(n_query).unsqueeze(-1))
    wide = maker.pick(0.01, 0.3, 1.0, 1.0, 3.0, 10.0, 100.0)
    options, window, first = {}, None, None
    if is_local:
        visible, first, window, options = _windows(maker, visible, mask is not None, batch, n_query, n_key)
    elif maker.chance(0.3):
        dtype = maker.pick(maker.dtype, torch.float32) if maker.dtype in HALF else maker.dtype
        bias = maker.normal(*maker.spread_out(shape), spread=maker.pick(0.5, 3.0, 30.0), dtype=dtype)
        if maker.chance(0.4):
            bias = torch.where(maker.flags(bias.shape, 0.3), -torch.inf, bias)
        hidden = ~reduced(visible, bias.shape)
        if bool(hidden.any()) and maker.chance(0.5):
            kind = maker.pick("nan", "inf", "-inf", "largest", "bits")
            maker.what.append(f"bias hides {kind}")
            bias = torch.where(hidden, maker.garbage(bias, kind), bias)
        visible = visible & (bias.detach() != -torch.inf)
        maker.leaf("added", bias)
    is_masked = is_local or is_causal or mask is not None or bias is not None

    # The vectors.
    own_visible = visible
    if not is_masked:  # nothing is hidden, even where there is no key
        own_visible = torch.ones((*batch, max(n_query, 1), max(n_key, 1)), dtype=torch.bool)
    by_query = own_visible.any(-1)
    if groups > 1:  # a head of the keys is seen by all queries of its group
        own_visible = visible.unflatten(-3, (-1, groups)).any(-3)
    seen = {
        "query": (reduced(by_query, (*q_batch, n_query)), (*q_batch, n_query, d_q)),
        "key": (reduced(own_visible.any(-2), (*k_batch, n_key)), (*k_batch, n_key, d_k)),
        "value": (reduced(own_visible.any(-2), (*v_batch, n_key)), (*v_batch, n_key, d_v)),
    }
    tensors, bad = {}, {}
    for part, (rows, full) in seen.items():
        if part == "value" and shares_value:
            tensors[part], bad[part] = None, bad["key"]
            continue
        tensors[part] = maker.vectors(part, full, wide if part != "value" else maker.pick(0.1, 1.0, 10.0), rows)
        bad[part] = ~tensors[part].detach().isfinite().all(-1)

    # Score, scale, distribution.
    score, own_scale, inside = _score(maker, name, d_q, d_k, n_key if not is_local else 2 * window[0] + 1, wide)
    scale = None
    if not is_local and maker.chance(0.25):
        if maker.chance(0.5):
            scale = maker.pick(0.0, 1.0, 0.125, -0.5, 2.0, 1)
        else:
            full = (*maker.spread_out(shape[:-1]), 1) if maker.chance(0.8) else ()
            scale = maker.leaf("scale", maker.normal(*full, dtype=maker.pick(maker.dtype, maker.single)))
        if name == "scaled_dot" and own_scale is not None:  # in place of which one would stand?
            score, own_scale = scores.scaled_dot, None
    kind, distribution, numbers = ("softmax", None, (None, 1.0, 0.0)), None, None
    if not is_local:
        kind, distribution, numbers = _distribution(maker, batch, n_query, n_key, is_grouped)
    else:
        kind, numbers = "softmax", (None, 1.0, 0.0)

    if not is_local:
        options = {"scale": scale, "bias": maker.leaves.get("added"), "mask": mask, "is_causal": is_causal}
        options["enable_gqa"] = is_grouped
        if distribution is not None:
            options["distribution"] = distribution
    else:
        options["mask"] = mask
    as_module = not is_local and maker.chance(0.2)

    def call(attend, local_, need_weights):
        views = {
            part: None if leaf is None else maker.views[part](maker.leaves[part]) for part, leaf in tensors.items()
        }
        if is_local:
            return local_(*views.values(), score=score, **options)
        if as_module and attend is attnlib.attend:
            rest = {key: value for key, value in options.items() if key not in ("scale", "distribution")}
            chosen = {key: options[key] for key in ("scale", "distribution") if key in options}
            return attnlib.Attend(score, **chosen)(*views.values(), **rest, need_weights=need_weights)
        return attend(*views.values(), score=score, **options, need_weights=need_weights)

    grown = {
        part: (rows.repeat_interleave(groups, -2) if groups > 1 and part != "query" else rows)
        for part, rows in bad.items()
    }
    spoilt = visible & (grown["query"].unsqueeze(-1).expand(shape) | grown["key"].unsqueeze(-2).expand(shape))
    n_rows = math.prod(shape[:-1])
    flat = spoilt.reshape(n_rows, n_key)
    value_flat = (visible & grown["value"].unsqueeze(-2)).reshape(n_rows, n_key)
    lost = set(flat.any(-1).nonzero().flatten().tolist())
    lost_value = set(value_flat.any(-1).nonzero().flatten().tolist())
    if is_local:
        lost |= options.pop("lost")
    n_columns = 2 * window[0] + 1 if is_local else n_key
    numbers_of = "float" if dict.get(maker.leaves, "alpha") is None else "tensor"
    maker.what += [
        f"score {name}{inside or ''}, {kind} {numbers} ({numbers_of} alpha), {maker.dtype}",
        f"batch {batch}, {n_query} queries, {n_key} keys, value {'is key' if shares_value else d_v}, groups {groups}",
        f"mask {None if mask is None else tuple(mask.shape)}, causal {is_causal}, scale {scale}",
        f"bias {None if bias is None else (tuple(bias.shape), bias.dtype)}, local {window}",
    ]
    task = fuzz_oracle.Task(
        maker.leaves,
        maker.views,
        name,
        inside,
        own_scale,
        scale if not isinstance(scale, torch.Tensor) else None,
        (kind, *numbers),
        batch,
        n_query,
        n_key,
        visible,
        groups,
        first,
        window,
    )
    return Case(
        task,
        maker.dtype,
        maker.leaves,
        call,
        lost,
        lost_value,
        flat,
        is_masked,
        is_masked or not any(bool(rows.any()) for rows in bad.values()),
        is_local,
        n_columns,
        maker.normal(n_rows, d_v),
        maker.normal(n_rows, n_columns) if maker.chance(0.25) else None,
        "; ".join(maker.what),
    )


def _windows(maker, visible, has_mask, batch, n_query, n_key):
    """Centres, and what is seen through the windows around them."""
    half_width = maker.random.randint(1, 3)
    gaussian, rounded = maker.chance(0.7), maker.chance(0.3)
    renormalise = gaussian and maker.chance(0.3)
    if not gaussian and maker.chance(0.2):
        half_width = 0
    shape = (*(maker.spread_out(batch) if batch else ()), n_query)
    if maker.chance(0.3):
        centre = torch.randint(-2, n_key + 2, shape, generator=maker.generator)
    else:
        centre = torch.rand(shape, generator=maker.generator, dtype=torch.float64) * (n_key + 2) - 1
        centre = centre.to(maker.pick(maker.single, maker.dtype))
        if maker.chance(0.15) and centre.numel():
            centre.view(-1)[0] = maker.pick(math.nan, math.inf, -math.inf, 3e4)
    held = torch.where(centre.isnan(), 0.0, centre).double().clamp(-1e6, 1e6).expand(*batch, n_query)
    places = torch.arange(n_key)
    distance = places - held.unsqueeze(-1)
    first = held.floor().long() - half_width
    inside = (places >= first.unsqueeze(-1)) & (places <= first.unsqueeze(-1) + 2 * half_width)
    if not rounded:
        inside = inside & (distance.abs() <= half_width)
    nan = centre.isnan().expand(*batch, n_query)
    lost = nan & visible.any(-1) if has_mask else nan
    options = {"half_width": half_width, "gaussian": gaussian, "renormalise": renormalise, "rounded": rounded}
    options["lost"] = set(lost.flatten().nonzero().flatten().tolist())
    if centre.is_floating_point():
        options["centre"] = maker.leaf("centre", centre)
    else:
        options["centre"] = maker.views["centre"] = centre
    maker.what.append(f"centre {tuple(shape)} {centre.dtype} rounded {rounded}")
    return visible & inside, first, (half_width, gaussian, renormalise), options


def _score(maker, name, d_q, d_k, n_key, wide):
    """The callable, a factor of its own, and what the oracle has to know besides the parameters."""
    if name in ("similarity", "dot", "gaussian"):
        return getattr(scores, name), None, {}
    if name == "scaled_dot":
        if maker.chance(0.2):
            factor = maker.pick(0.25, -1.0, 3.0)
            return functools.partial(scores.scaled_dot, scale=factor), factor, {}
        return scores.scaled_dot, None, {}
    if name == "generalized_kernel":
        chosen = maker.pick("relu", "square", "exp", "softplus") if wide <= 3 else maker.pick("relu", "softplus")
        return functools.partial(scores.generalized_kernel, feature_map=TORCH[chosen]), None, {"feature_map": chosen}
    inside = {}
    if name in ("activated_general", "concat", "additive", "deep", "feature_based"):
        inside["activation"] = maker.pick("tanh", *SMOOTH)
    d_w = maker.random.randint(1, 4)
    shapes = {
        "general": {"weight": (d_q, d_k)},
        "biased_general": {"weight": (d_k, d_q), "bias": (d_k,)},
        "activated_general": {"weight": (d_q, d_k), "bias": ()},
        "concat": {"weight": (d_w, d_q + d_k), "vector": (d_w,), "bias": (d_w,)},
        "additive": {"query_weight": (d_w, d_q), "key_weight": (d_w, d_k), "vector": (d_w,), "bias": (d_w,)},
        "deep": {"query_weight": (d_w, d_q), "key_weight": (d_w, d_k), "vector": (d_w,), "bias": (d_w,)},
        "location_based": {"weight": (n_key + maker.random.randrange(3), d_q)},
        "feature_based": {"first_weight": (d_w, d_k), "second_weight": (d_w, d_k), "vector": (d_w,), "bias": (d_w,)},
    }[name]
    if name == "feature_based":
        inside |= {"first_map": maker.pick("abs", "softplus"), "second_map": maker.pick("square", "tanh")}
    if name == "deep":
        inside["layers"] = maker.random.randrange(3)
        for layer in range(inside["layers"]):
            shapes[f"layer_weights.{layer}"] = (d_w, d_w)
            shapes[f"layer_biases.{layer}"] = (d_w,)
        shapes["vector_bias"] = ()
    with_bias = name not in ("concat", "additive", "feature_based") or maker.chance(0.6)
    if not with_bias:
        del shapes["bias"]
    functions = {key: TORCH[value] for key, value in inside.items() if key != "layers"}
    numbers = {key: maker.normal(*shape, spread=maker.pick(0.5, 1.0, 2.0)) for key, shape in shapes.items()}
    if maker.chance(0.5) and (with_bias or name != "feature_based"):  # the module
        sizes = {
            "concat": (d_q, d_k, d_w),
            "additive": (d_q, d_k, d_w),
            "deep": (d_q, d_k, [d_w] * (1 + inside.get("layers", 0))),
            "location_based": (d_q, shapes.get("weight", (0,))[0]),
            "feature_based": (d_k, d_k, d_w),
        }.get(name, (d_q, d_k))
        rest = {} if with_bias else {"bias": False}
        made = getattr(scores, "".join(word.title() for word in name.split("_")))
        module = made(*sizes, **functions, **rest, dtype=maker.dtype)
        for key, parameter in module.named_parameters():
            parameter.data.copy_(numbers[key])
            maker.leaves[key] = parameter
        return module, None, inside
    given = {key: maker.leaf(key, number) for key, number in numbers.items()}
    if name == "deep":
        layers = [(given.pop(f"layer_weights.{i}"), given.pop(f"layer_biases.{i}")) for i in range(inside["layers"])]
        given["layers"] = layers
    return functools.partial(getattr(scores, name), **given, **functions), None, inside


def _distribution(maker, batch, n_query, n_key, is_grouped):
    """The kind, the callable (None for the default), and its alpha, temperature and bias as numbers."""
    kind = maker.pick(*(["plain"] * 8), *(["softmax"] * 2), *(["sparsemax"] * 2), *(["entmax"] * 6), "sigmoid", "chain")
    if kind == "plain":
        return "softmax", None, (None, 1.0, 0.0)
    options, temperature = {}, 1.0
    if maker.chance(0.5):
        temperature = maker.pick(0.3, 0.05, 3.0, 30.0)
        options["temperature"] = temperature
        if maker.chance(0.5) and kind != "chain":
            shape = maker.pick((), (n_query, 1), *(() if is_grouped else ((*batch, n_query, 1),)))
            numbers = maker.normal(*shape, spread=0.5, dtype=maker.single).exp() * temperature
            options["temperature"] = maker.leaf("temperature", numbers)
    if kind in ("softmax", "sparsemax"):
        return kind, functools.partial(getattr(distributions, kind), **options), (2.0, temperature, 0.0)
    if kind == "sigmoid":
        shift = maker.pick(0.0, -1.5)
        return kind, functools.partial(distributions.sigmoid, bias=shift, **options), (None, temperature, shift)
    if kind == "chain":
        shape = (2, 2) if maker.chance(0.5) else (max(n_key - 1, 0), 2, 2)
        options["transition"] = maker.leaf("transition", maker.normal(*shape, dtype=maker.single))
        chosen = functools.partial(structured.segmentation, **options)
        return "segmentation", chosen, (None, temperature, 0.0)
    alpha = maker.pick(1.5, 1.5, 1.3, 2.5, 1.05, 4.0, "tensor")
    if alpha == "tensor":
        shape = maker.pick((), (n_query,), *(() if is_grouped else ((*batch, n_query),)))
        alpha = 1.1 + 1.5 * torch.rand(shape, generator=maker.generator, dtype=maker.single)
        alpha = maker.leaf("alpha", alpha)
    options["alpha"] = alpha
    chosen = functools.partial(distributions.entmax, **options)
    return "entmax", chosen, (None if isinstance(alpha, torch.Tensor) else alpha, temperature, 0.0)
