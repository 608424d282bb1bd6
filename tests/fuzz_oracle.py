"""Attention from its definitions, for :mod:`fuzz`: in float64, row by row; none but the visible pairs are computed.

Without a line of attnlib. Beside each number stands a bound of how far float32 may be from it: the formulas are run a
second time with absolute values (so that nothing cancels), which bounds the energies' rounding, and the distributions
say what a small change of the energies does to a row. Gradients are bounded in the same way.
"""

import functools
import math
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

STEPS = 16  # operations whose rounding adds up on the way to a number, generously

# Functions inside of scores, and what bounds their size and slope when it is given absolute values.
FUNCTIONS = {
    "tanh": (torch.tanh, lambda x: x),
    "sigmoid": (torch.sigmoid, lambda x: 1 + x),
    "relu": (torch.relu, lambda x: x),
    "softplus": (F.softplus, lambda x: 1 + x),
    "abs": (torch.abs, lambda x: x),
    "square": (torch.square, torch.square),
    "exp": (torch.exp, torch.exp),
}
KINKED = ("relu", "abs")
MAPS = {"feature_map", "first_map", "second_map"}


class Inner:
    """The functions inside of a score, which remembers what went into them."""

    def __init__(self, bound):
        self.bound, self.seen = bound, []

    def __call__(self, name, x):
        self.seen.append((name, x.detach()))
        return FUNCTIONS[name][self.bound](x)


# --- scores: one energy for each row of q and k; p are the parameters, place is the number of the key -----------------


def similarity(q, k, p, place, inner):
    # A square may be beyond float64: only directions count, so what is very large is divided by a power of two first.
    q, k = (torch.where(x.detach().abs().amax(-1, keepdim=True) > 1e100, x * 2.0**-600, x) for x in (q, k))
    lengths = q.norm(dim=-1), k.norm(dim=-1)
    if inner.bound:  # 1 / |q| is a constant times q, and turns with q as well
        one = [torch.where(length > 1e-8, 1 / length, 0.0).detach().unsqueeze(-1) for length in lengths]
        left, right = q * one[0], k * one[1]
        both = (left * right).sum(-1)
        return both + both.detach() * ((left * left.detach()).sum(-1) + (right * right.detach()).sum(-1))
    zero = (lengths[0] <= 1e-8) | (lengths[1] <= 1e-8)
    safe = torch.where(zero.unsqueeze(-1), 1.0, q), torch.where(zero.unsqueeze(-1), 1.0, k)
    cosine = (safe[0] * safe[1]).sum(-1) / (safe[0].norm(dim=-1) * safe[1].norm(dim=-1))
    return torch.where(zero, 0.0, cosine)


def dot(q, k, p, place, inner):
    return (q * k).sum(-1)


def general(q, k, p, place, inner):
    return ((q @ p["weight"]) * k).sum(-1)


def biased_general(q, k, p, place, inner):
    return (k * (q @ p["weight"].mT + p["bias"])).sum(-1)


def activated_general(q, k, p, place, inner):
    return inner(p["activation"], general(q, k, p, place, inner) + p["bias"])


def generalized_kernel(q, k, p, place, inner):
    return (inner(p["feature_map"], q) * inner(p["feature_map"], k)).sum(-1)


def concat(q, k, p, place, inner):
    hidden = torch.cat([q, k], -1) @ p["weight"].mT
    return inner(p["activation"], hidden + p["bias"] if "bias" in p else hidden) @ p["vector"]


def additive(q, k, p, place, inner):
    hidden = q @ p["query_weight"].mT + k @ p["key_weight"].mT
    return inner(p["activation"], hidden + p["bias"] if "bias" in p else hidden) @ p["vector"]


def deep(q, k, p, place, inner):
    hidden = inner(p["activation"], q @ p["query_weight"].mT + k @ p["key_weight"].mT + p["bias"])
    for layer in range(p["layers"]):
        hidden = inner(p["activation"], hidden @ p[f"layer_weights.{layer}"].mT + p[f"layer_biases.{layer}"])
    return hidden @ p["vector"] + p["vector_bias"]


def location_based(q, k, p, place, inner):
    return (p["weight"][place] * q).sum(-1)


def feature_based(q, k, p, place, inner):
    first, second = inner(p["first_map"], k), inner(p["second_map"], k)
    hidden = first @ p["first_weight"].mT + second @ p["second_weight"].mT
    return inner(p["activation"], hidden + p["bias"] if "bias" in p else hidden) @ p["vector"]


def gaussian(q, k, p, place, inner):
    return (q + k).square().sum(-1) / 2 if inner.bound else (q - k).square().sum(-1) / -2


SCORES = {
    "similarity": similarity,
    "dot": dot,
    "scaled_dot": dot,
    "general": general,
    "biased_general": biased_general,
    "activated_general": activated_general,
    "generalized_kernel": generalized_kernel,
    "concat": concat,
    "additive": additive,
    "deep": deep,
    "location_based": location_based,
    "feature_based": feature_based,
    "gaussian": gaussian,
}


# --- distributions: a row of energies over T, each uncertain by slack; tiny is the rounding of the arithmetic ---------


class Row(NamedTuple):
    """Weights, how far they may be off, the slopes s of ``dp = diag(s) - s s^T / sum(s)``, how far those may be off."""

    weights: list
    off: list
    slopes: list
    slopes_off: list
    doubtful: bool  # so near an edge of the support that the gradient may be that of either side


def softmax_row(z, slack, tiny, alpha=None):
    top = max(z)
    shares = [math.exp(x - top) for x in z]
    total = sum(shares)
    weights = [share / total for share in shares]
    change = math.expm1(min(2 * slack, 50.0))
    off = [min(w * (change + tiny), 1.0) for w in weights]
    if slack > 0.1:  # one that is too small for a number may have been a large one
        off = [min(1.0, math.exp(min(0.0, x - top + 2 * slack))) for x in z]
    return Row(weights, off, weights, off, slack > 1)


def entmax_row(z, slack, tiny, alpha):
    """``p = [(alpha - 1) z - tau]_+ ^ (1 / (alpha - 1))``, tau by bisection."""
    order, top = alpha - 1, max(z)
    scaled, power = [order * (x - top) for x in z], 1 / order
    low, high = -1.0, 0.0  # the largest alone makes a total of 1 or more at -1, and all make 0 at 0
    while True:
        tau = (low + high) / 2
        if tau in (low, high):
            break
        if sum((x - tau) ** power for x in scaled if x > tau) >= 1:
            low = tau
        else:
            high = tau
    reach = 2 * order * slack + tiny
    curve = power * (2 - alpha)

    def slope(height):
        return height**curve if height > 0 else 0.0

    weights, off, slopes, slopes_off, doubtful = [], [], [], [], False
    for x in scaled:
        height = x - tau
        weight = max(height, 0.0) ** power
        above, below = min(max(height + reach, 0.0), 2.0), max(height - reach, 0.0)
        weights.append(weight)
        off.append(min(max(above**power - weight, weight - below**power) + tiny * weight, 1.0))
        slopes.append(slope(height))
        doubtful = doubtful or (alpha >= 2 and abs(height) < 4 * reach)
        near = (slope(above), slope(below)) if alpha < 2 else (slopes[-1],)
        if alpha > 2 and height > 4 * reach:
            near = (slope(below), slope(above))
        slopes_off.append(max(abs(s - slopes[-1]) for s in near) + tiny * slopes[-1])
    total_off = sum(off)  # where a steep one is off, so are all, for they sum to 1
    off = [min(d + w * total_off, 1.0) for w, d in zip(weights, off, strict=True)]
    return Row(weights, off, slopes, slopes_off, doubtful or 2 * sum(slopes_off) > sum(slopes))


def simplex_pull(row, g, size):
    """How the loss changes with z; the same without cancellation; how far it may be off."""
    s, off, total = row.slopes, row.slopes_off, sum(row.slopes)
    mean = sum(map(float.__mul__, s, g)) / total
    big = sum(map(float.__mul__, s, size)) / total
    share = sum(d * (x + big) for d, x in zip(off, size, strict=True)) / total
    pull = [si * (gi - mean) for si, gi in zip(s, g, strict=True)]
    bound = [si * (xi + big) for si, xi in zip(s, size, strict=True)]
    slip = [2 * (di * (xi + big) + si * share) for si, di, xi in zip(s, off, size, strict=True)]
    return pull, bound, slip


def alpha_pull(row, alpha, size, g, tiny):
    """The same for alpha (Correia et al. 2019, Proposition 1)."""
    order, total = alpha - 1, sum(row.slopes)
    entropy = [-w * math.log(w) if w > 0 else 0.0 for w in row.weights]
    whole = sum(entropy)
    pull = bound = slip = 0.0
    for w, off, s, s_off, h, gi, xi in zip(
        row.weights, row.off, row.slopes, row.slopes_off, entropy, g, size, strict=True
    ):
        tilde = s / total
        pull += gi * ((w - tilde) / order**2 + (h - tilde * whole) / order)
        bound += xi * ((w + tilde) / order**2 + (h + tilde * whole) / order)
        tilde_off = 2 * (s_off + tilde * sum(row.slopes_off)) / total
        h_off = off * (1 + abs(math.log(max(w, off, 1e-300))))
        slip += xi * ((off + tilde_off) / order**2 + (h_off + tilde_off * whole + tilde * h_off) / order)
    return pull, bound, slip + tiny * bound


def sigmoid_row(z, slack, tiny):
    weights = [1 / (1 + math.exp(-x)) if x > -700 else 0.0 for x in z]
    change = math.expm1(min(slack, 50.0))
    if slack > 1:
        return weights, [1.0] * len(z)
    return weights, [min(min(w, 1 - w) * change + tiny * w, 1.0) for w in weights]


@functools.cache
def _chains(n):
    return np.array([[c >> i & 1 for i in range(n)] for c in range(2**n)], dtype=float).reshape(2**n, n)


def segmentation_row(z, slack, tiny, transition, places):
    """By enumeration of the selectors of the visible keys. The step into a key is the one that ends there."""
    n = len(z)
    chains = _chains(n)
    states = chains.astype(int)
    steps = [transition if transition.ndim == 2 else transition[place - 1] for place in places[1:]]
    logits = chains @ np.array(z)
    for i, step in enumerate(steps):
        logits = logits + step[states[:, i], states[:, i + 1]]
    chance = np.exp(logits - logits.max())
    chance /= chance.sum()
    weights = chance @ chains
    rough = n * slack + tiny * (sum(abs(x) for x in z) + sum(np.abs(step).max() for step in steps) + 1)
    change = math.expm1(min(2 * rough, 50.0))
    return chains, states, chance, weights, change


def segmentation_pull(state, transition, places, g, size):
    chains, states, chance, weights, change = state
    g, size = np.array(g), np.array(size)
    felt, bulk = chains @ g - weights @ g, chains @ size + weights @ size
    pull = (chance * felt) @ chains
    bound = (chance * bulk) @ chains + weights * float(weights @ size)
    turn, turn_bound = np.zeros_like(transition), np.zeros_like(transition)
    for i, place in enumerate(places[1:]):
        here = () if transition.ndim == 2 else (place - 1,)
        for k in (0, 1):
            for m in (0, 1):
                taken = chance * ((states[:, i] == k) & (states[:, i + 1] == m))
                turn[(*here, k, m)] += float(taken @ felt)
                turn_bound[(*here, k, m)] += float(taken @ bulk) + float(taken.sum() * (weights @ size))
    return pull.tolist(), bound.tolist(), (change * bound).tolist(), turn, turn_bound, change * turn_bound


# --- the whole --------------------------------------------------------------------------------------------------------


class Task(NamedTuple):
    """What is to be computed. Tensors are in the precision of the library's; here they are widened."""

    leaves: dict  # name: tensor, as the library gets it; "query", "key", "value", "bias", "scale", parameters, ...
    views: dict  # name: how the tensor that is passed is laid over its leaf
    score: str
    options: dict  # names of the functions inside of the score, the number of layers
    own_scale: float | None  # a factor of scaled_dot itself
    scale: float | None  # attend's, if it is a number
    distribution: tuple  # kind, alpha, temperature, and the sigmoid's bias; numbers, or None if a leaf
    batch: tuple
    n_query: int
    n_key: int
    visible: torch.Tensor  # (*batch, query, key)
    groups: int  # queries for each head of the keys
    first: torch.Tensor | None  # local: (*batch, query), the place of the window's first column
    window: tuple | None  # local: D, gaussian, renormalise


class Expected(NamedTuple):
    """Numbers and how far from them the library's may be."""

    context: torch.Tensor  # (rows, size)
    context_off: torch.Tensor
    context_bulk: torch.Tensor  # sums of absolute values, which a kernel that rounds the weights may be off by
    pairs: tuple  # row, and column of weights and energies
    weights: torch.Tensor
    weights_off: torch.Tensor
    energies: torch.Tensor
    energies_off: torch.Tensor
    burst: set  # rows that go beyond the precision's range
    doubtful: set  # rows whose gradient is not to be compared
    gradients: object  # function of what arrives at context and weights


def expected(task, dtype, skip):
    """The rows of ``task`` that are not in ``skip``."""
    single = torch.float64 if dtype == torch.float64 else torch.float32
    eps, largest, least = torch.finfo(single).eps, torch.finfo(single).max, torch.finfo(dtype).smallest_normal
    wide = {name: leaf.detach().double().requires_grad_() for name, leaf in task.leaves.items()}
    bulk = {name: leaf.detach().abs().requires_grad_() for name, leaf in wide.items()}
    n_rows = math.prod(task.batch) * task.n_query
    seen = task.visible.reshape(n_rows, task.n_key)
    if skip:
        seen = seen.clone()
        seen[sorted(skip)] = False
    row, column = seen.nonzero(as_tuple=True)

    def flat(given, name, columns):
        """The tensor of that name as one row for each row, or each pair, of the batch."""
        tensor = task.views[name](given[name]) if name in task.views else given[name]
        if name in ("key", "value") and task.groups > 1:
            tensor = tensor.repeat_interleave(task.groups, -3)
        tensor = tensor.expand(
            *task.batch, *columns, *([tensor.shape[-1]] if name in ("query", "key", "value") else [])
        )
        leading = len(task.batch) + len(columns)
        return tensor.reshape(math.prod(tensor.shape[:leading]), *tensor.shape[leading:])

    sentence = row // max(task.n_query, 1) * task.n_key + column
    place = column if task.first is None else column - task.first.reshape(-1)[row]
    found = []
    for bound, given in enumerate((wide, bulk)):
        inner = Inner(bound)
        q = flat(given, "query", (task.n_query,)).index_select(0, row)
        k = flat(given, "key", (task.n_key,)).index_select(0, sentence)
        v = flat(given, "value" if "value" in given else "key", (task.n_key,)).index_select(0, sentence)
        raw = SCORES[task.score](q, k, {**given, **task.options}, place, inner)
        energies = raw
        if "scale" in given:
            energies = energies * flat(given, "scale", (task.n_query, 1)).index_select(0, row)
        elif task.scale is not None:
            energies = energies * (abs(task.scale) if bound else task.scale)
        elif task.own_scale is not None:
            energies = energies * (abs(task.own_scale) if bound else task.own_scale)
        elif task.score == "scaled_dot":
            energies = energies / math.sqrt(q.shape[-1])
        if "added" in given:
            energies = energies + flat(given, "added", (task.n_query, task.n_key)).index_select(
                0, row * task.n_key + column
            )
        vectors = torch.cat([q, k], -1).detach()
        found.append((energies, v, inner.seen, raw, vectors))
    (energies, v, inside, _, _), (size, v_size, inside_size, raw_size, vectors) = found

    kinked, steep = torch.zeros(len(row), dtype=torch.bool), torch.zeros(len(row), dtype=torch.float64)
    for (name, x), (_, x_size) in zip(inside, inside_size, strict=True):
        steep = torch.maximum(steep, x_size.amax(-1) if x_size.ndim > 1 else x_size)
        if name in KINKED:
            near = x.abs() <= 2 * STEPS * eps * x_size
            kinked |= (near & (x_size > 0)).any(-1) if x.ndim > 1 else near & (x_size > 0)
    energies_off = STEPS * eps * size.detach() * (1 + steep)
    if MAPS & task.options.keys():  # a feature map is the caller's, and rounds as the vectors that it is given
        energies_off = energies_off + 2 * torch.finfo(dtype).eps * size.detach() * (1 + steep)
        energies_off = energies_off + 4 * least * torch.finfo(dtype).eps * (1 + steep)
    most = torch.maximum(size.detach(), raw_size.detach()).nan_to_num(torch.inf)
    values, slack = energies.detach().tolist(), energies_off.tolist()

    kind, alpha, temperature, shift = task.distribution
    rows_alpha = _by_row(wide, "alpha", task, ())
    rows_temperature = _by_row(wide, "temperature", task, (1,))
    transition = wide["transition"].detach().numpy() if "transition" in wide else None
    spans, start = {}, 0
    for r, n in zip(*(part.tolist() for part in row.unique_consecutive(return_counts=True)), strict=True):
        spans[r] = range(start, start + n)
        start += n
    over = most > largest * 1e-4
    if task.score != "similarity":  # what is large may overflow on the way, though multiplied by zero in the end
        over |= (vectors > largest * 1e-4).any(-1)
    if MAPS & task.options.keys():  # in the precision of the vectors
        for name, x in inside_size:
            over |= (FUNCTIONS[name][1](x) > torch.finfo(dtype).max / 4).any(-1)
    burst = set(row[over].tolist())
    doubtful = set(row[kinked].tolist())
    weights, off, kept = [0.0] * len(values), [0.0] * len(values), {}
    places = column.tolist()
    tiny = STEPS * eps
    for r, span in spans.items():
        if r in burst:
            continue
        t = temperature if rows_temperature is None else rows_temperature[r]
        z = [values[i] / t for i in span]
        loose = max(slack[i] for i in span) / t + eps * max(map(abs, z))
        if kind == "segmentation":
            state = segmentation_row(z, loose, tiny, transition, [places[i] for i in span])
            shares, change = state[3].tolist(), state[4]
            shares_off = [min(1.0, w * (change + tiny)) if change < 1 else 1.0 for w in shares]
        elif kind == "sigmoid":
            shares, shares_off = state = sigmoid_row([x + shift for x in z], loose + eps * abs(shift), tiny)
        else:
            a = alpha if rows_alpha is None else rows_alpha[r]
            state = (softmax_row if kind == "softmax" else entmax_row)(z, loose, tiny, a)
            shares, shares_off = state.weights, state.off
            if state.doubtful:
                doubtful.add(r)
        kept[r] = z, state, t, loose
        weights[span.start : span.stop] = shares
        off[span.start : span.stop] = shares_off
    weights, off = (torch.tensor(part, dtype=torch.float64) for part in (weights, off))
    off = off + torch.finfo(single).smallest_normal  # what is smaller may be flushed to zero
    centres, plain = None, weights
    if task.window is not None:
        weights, off, centres = _gaussian(task, wide, row, column, weights, off, n_rows, tiny)
    d_v = v.shape[-1]
    context, context_off, context_bulk = (
        torch.zeros(n_rows, d_v, dtype=torch.float64).index_add(0, row, part)
        for part in (
            weights.unsqueeze(-1) * v.detach(),
            (off + STEPS * eps * weights).unsqueeze(-1) * v_size.detach(),
            weights.unsqueeze(-1) * v_size.detach(),
        )
    )
    wild = (context_bulk > torch.finfo(dtype).max / 4) | context_bulk.isnan()
    burst |= set(wild.any(-1).nonzero().flatten().tolist())
    too_large = min(largest * 1e-4, torch.finfo(dtype).max / 64)  # the kernel rounds what comes back to the energies
    burst |= set(row[(v_size.detach() > too_large).any(-1)].tolist())

    def gradients(arriving, at_weights, coarse, silent):
        """By name: the gradient, and how far the library's may be off.

        Args:
            arriving: what arrives at the context, ``(rows, size)``.
            at_weights: what arrives at the weights of the pairs, or None.
            coarse: rounding of what comes back in the dtype of the inputs.
            silent: rows at which nothing arrives.
        """
        upstream = arriving.index_select(0, row)
        g = (upstream * v.detach()).sum(-1)
        g_size = (upstream.abs() * v_size.detach()).sum(-1)
        if at_weights is not None:
            g, g_size = g + at_weights, g_size + at_weights.abs()
        live = {r: span for r, span in spans.items() if r in kept and r not in silent}
        alive = torch.zeros(len(row), dtype=torch.bool)
        for span in live.values():
            alive[span.start : span.stop] = True
        g, g_size = torch.where(alive, g, 0.0), torch.where(alive, g_size, 0.0)
        extra = {}
        if centres is not None:
            g, g_size, extra["centre"] = centres(g, g_size, plain)
        flushed = 100 * torch.finfo(single).smallest_normal * (1 + g_size)
        g, g_size = g.tolist(), g_size.tolist()
        pull, bound, slip = ([0.0] * len(row) for _ in range(3))
        by_alpha, by_temperature = {}, {}
        turn = [0.0 if transition is None else np.zeros_like(transition) for _ in range(3)]
        for r, span in live.items():
            z, state, t, loose = kept[r]
            here, here_size = g[span.start : span.stop], g_size[span.start : span.stop]
            if kind == "segmentation":
                *parts, one, two, three = segmentation_pull(
                    state, transition, [places[i] for i in span], here, here_size
                )
                turn = [turn[0] + one, turn[1] + two, turn[2] + three]
            elif kind == "sigmoid":
                shares, shares_off = state
                parts = (
                    [w * (1 - w) * x for w, x in zip(shares, here, strict=True)],
                    [w * x for w, x in zip(shares, here_size, strict=True)],
                    [d * x for d, x in zip(shares_off, here_size, strict=True)],
                )
            else:
                parts = simplex_pull(state, here, here_size)
                if rows_alpha is not None:
                    by_alpha[r] = alpha_pull(state, rows_alpha[r], here_size, here, tiny)
            if rows_temperature is not None:
                top = max(map(abs, z))
                by_temperature[r] = (
                    -sum(map(float.__mul__, parts[0], z)) / t,
                    2 * top * sum(parts[1]) / t,
                    2 * sum(top * s + loose * b for b, s in zip(parts[1], parts[2], strict=True)) / t,
                )
            for whole, part in zip((pull, bound, slip), parts, strict=True):
                whole[span.start : span.stop] = [x / t for x in part]
        pull, bound, slip = (torch.tensor(part, dtype=torch.float64) for part in (pull, bound, slip))
        rough = STEPS * eps * (1 + steep) + coarse
        slip = slip + rough * bound + torch.where(alive, 2 * least * torch.finfo(dtype).eps + flushed, 0.0)
        heavy = torch.where(alive, weights, 0.0).unsqueeze(-1) * upstream
        heavy_off = torch.where(alive, off + (STEPS * eps + coarse) * weights, 0.0).unsqueeze(-1) * upstream.abs()
        names = [name for name in wide if name not in ("alpha", "temperature", "transition", "centre")]
        result = {}
        for given, ends, starts in (
            (wide, (energies, v), (pull, heavy)),
            (bulk, (size, v_size), (torch.where(alive, slip, 0.0), heavy_off)),
        ):
            ends, starts = zip(*((e, s) for e, s in zip(ends, starts, strict=True) if e.requires_grad), strict=True)
            result[given is bulk] = torch.autograd.grad(
                ends, [given[name] for name in names], starts, retain_graph=True, materialize_grads=True
            )
        found = {n: (want, slack) for n, want, slack in zip(names, result[False], result[True], strict=True)}
        for name, by_row, trailing in (("alpha", by_alpha, ()), ("temperature", by_temperature, (1,))):
            if name in wide:
                found[name] = _gathered(wide[name], by_row, task, trailing, rough=STEPS * eps)
        if transition is not None:
            pulled, bulky, loose = (torch.as_tensor(part) for part in turn)
            found["transition"] = pulled, loose + (STEPS * eps + coarse) * bulky
        if "centre" in extra and "centre" in wide:
            found["centre"] = extra["centre"]
        return found

    return Expected(
        context,
        context_off,
        context_bulk,
        (row, column if task.first is None else place),
        weights,
        off,
        energies.detach(),
        energies_off,
        burst,
        doubtful,
        gradients,
    )


def _by_row(wide, name, task, trailing):
    if name not in wide:
        return None
    return wide[name].detach().expand(*task.batch, task.n_query, *trailing).flatten().tolist()


def _gathered(leaf, by_row, task, trailing, rough):
    """Contributions of rows, summed to the leaf that was broadcast to them."""
    shape = (*task.batch, task.n_query, *trailing)
    whole = torch.zeros(3, math.prod(shape), dtype=torch.float64)
    for r, parts in by_row.items():
        whole[:, r] = torch.tensor(parts, dtype=torch.float64)
    pull, bound, slip = (part.reshape(shape).sum_to_size(leaf.shape) for part in whole)
    return pull, slip + rough * bound


def _gaussian(task, wide, row, column, weights, off, n_rows, tiny):
    """Local attention: the weights times a Gaussian, perhaps normalised again, and what the centre gets."""
    half_width, gaussian, renormalise = task.window
    distance = torch.zeros(len(row), dtype=torch.float64)
    bell = torch.ones(len(row), dtype=torch.float64)
    if gaussian:
        centre = wide["centre"].detach() if "centre" in wide else task.views["centre"]
        centre = centre.double().expand(*task.batch, task.n_query).flatten()[row]
        distance = column - centre
        bell = torch.exp(-2 * distance**2 / half_width**2)
    shares = weights * bell
    total = torch.ones(n_rows, dtype=torch.float64)
    if renormalise:
        total = torch.zeros(n_rows, dtype=torch.float64).index_add(0, row, shares)
        total = torch.where(total == 0, 1.0, total)
    total = total[row]
    blur = off * bell

    def centres(g, g_size, plain):
        if renormalise:
            mean, mean_size = (
                torch.zeros(n_rows, dtype=torch.float64).index_add(0, row, shares * x)[row] / total for x in (g, g_size)
            )
            g, g_size = (g - mean) / total, (g_size + mean_size) / total
        moved, most = (plain * bell * x * 4 * y / half_width**2 for x, y in ((g, distance), (g_size, distance.abs())))
        pull, bulk = (
            torch.zeros(n_rows, dtype=torch.float64).index_add(0, row, part).reshape(*task.batch, task.n_query)
            for part in (moved, most + blur * g_size * 4 * distance.abs() / half_width**2 / tiny)
        )
        found = None
        if "centre" in wide:
            shape = wide["centre"].shape
            found = pull.sum_to_size(shape), tiny * bulk.sum_to_size(shape)
        return g * bell, g_size * bell, found

    if renormalise:
        slack = torch.zeros(n_rows, dtype=torch.float64).index_add(0, row, blur)[row]
        blur = (blur + shares * slack / total) / total
    return shares / total, blur, centres
