"""Hard attention from query, key and value: what :func:`attnlib.softness.hard.sample` draws from weights, without them.

The weights of all pairs are needed for nothing but the draw. So they are computed for a run of queries at a time, and
again going backwards: memory grows with the number of queries and keys, not with their product.
"""

from typing import NamedTuple, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .._checks import may_look
from .._rows import wide
from .._work import Work, prepared
from ..attention import attend
from ..fused._drawn import drawn_in_runs
from ..fused.native import by_kernel
from ..fused.paths import first
from .hard import take

__all__ = ["Sampled", "attend_sampled"]

PATHS = {
    "in runs of queries, in C++": by_kernel("drawn", drawn_in_runs, single=True),
    "in runs of queries": drawn_in_runs,
}


class Sampled(NamedTuple):
    """The value of each drawn position, which position it was, and the logarithm of its probability."""

    context: Float[Tensor, "sample *batch query d_v"]
    position: Int[Tensor, "sample *batch query"]
    log_probability: Float[Tensor, "sample *batch query"]


def attend_sampled(
    query: Float[Tensor, "*#batch query d_k"],
    key: Float[Tensor, "*#batch key d_k"],
    value: Float[Tensor, "*#batch key d_v"] | None = None,
    *,
    mask: Bool[Tensor, "*#mask"] | None = None,
    scale: float | Tensor | None = None,
    is_causal: bool = False,
    n_samples: int = 1,
    generator: torch.Generator | None = None,
) -> Sampled:
    r"""Draw a position for each query, with the softmax of scaled dot products as probabilities, and read its value.

    .. math::
        \tilde s \sim \mathrm{Multinoulli}\bigl(\mathrm{softmax}(s \, q K^\top)\bigr), \qquad c = v_{\tilde s}

    Each row and sample takes one uniform number :math:`u`: the position is the first whose cumulated weight is above
    it. The value has the gradient of what was drawn, the log-probability that of the weights:
    :math:`\partial \log \alpha_m / \partial e_i = [i = m] - \alpha_i`. Give both to
    :func:`~attnlib.softness.hard.reinforce_loss`. There are no second derivatives, but within
    :func:`attnlib.fused.reference_only`.

    Args:
        query: ``(*batch, query, d_k)``. Leading dimensions of query, key and value broadcast.
        key: ``(*batch, key, d_k)``.
        value: ``(*batch, key, d_v)``; without it the keys are the values.
        mask: boolean, True = may attend, broadcastable to ``(*batch, query, key)``.
        scale: :math:`s`, as in :func:`attnlib.attend`; :math:`1 / \sqrt{d_k}` unless given.
        is_causal: query ``i`` may attend to keys ``0 ... i``, as far as ``mask`` allows.
        n_samples: how many draws a query, at least 1.
        generator: where the uniform numbers come from; the same seed gives the same draws.

    Returns:
        Contexts ``(sample, *batch, query, d_v)``, positions and log-probabilities ``(sample, *batch, query)``. A query
        that sees nothing has position -1, a context of zeros and log-probability 0. One whose energies are not all
        numbers has position -1, and NaN for the other two. A position of weight 0 is never drawn. What is hidden
        changes nothing, and of the values only the drawn ones are read.

    Raises:
        TypeError: as :func:`attnlib.attend`; ``n_samples`` is not a whole number.
        ValueError: as there; ``n_samples`` is below 1.

    Source: Xu et al. 2015, section 4.1 [xu2015]; the keys and queries: the article's Eq. 8 and 12 [niu2021].

    Departs from the source: a row with nothing to draw from is defined; the draw inverts the distribution function.

    >>> query, key = torch.tensor([[1000.0]]), torch.tensor([[1.0], [0.0]])  # the first has all of the weight
    >>> attend_sampled(query, key, torch.tensor([[7.0, 8.0], [9.0, 9.0]]), n_samples=2).context
    tensor([[[7., 8.]],
    <BLANKLINE>
            [[7., 8.]]])
    """
    value = key if value is None else value
    if isinstance(n_samples, bool) or not isinstance(n_samples, int):
        raise TypeError(f"n_samples must be a whole number, got {type(n_samples).__name__}")
    if n_samples < 1:
        raise ValueError(f"n_samples must be at least 1, got {n_samples}")
    work, _ = prepared(query, key, value, mask=mask, scale=scale, is_causal=is_causal)
    shape = (n_samples, *work.batch, query.shape[-2])
    uniforms = torch.rand(shape, generator=generator, dtype=torch.float64, device=query.device)
    found = first("attend_sampled", PATHS, work, uniforms)
    position, log_probability = _reference(work, uniforms) if found is None else found
    values = work.value.expand(*work.batch, *work.value.shape[-2:])
    context = take(position, values)
    if not (may_look(position) and position.numel() and int(position.min()) >= 0):  # else all of them were drawn
        context = context.masked_fill(log_probability.detach().isnan().unsqueeze(-1), torch.nan)
    return Sampled(context, position, log_probability.to(work.value.dtype))


def _reference(work: Work, uniforms: Tensor) -> tuple[Tensor, Tensor]:
    """The same through the weights of all pairs."""
    found = attend(work.query, work.key, mask=work.mask, scale=work.scale, is_causal=work.is_causal)
    weights = wide(cast(Tensor, found.weights))
    weights = weights.expand(*work.batch, *weights.shape[-2:])
    if weights.shape[-1] == 0:
        return torch.full_like(uniforms, -1, dtype=torch.int64), torch.zeros_like(uniforms)
    reached = weights.detach().cumsum(-1, dtype=torch.float64)
    total = reached[..., -1:]
    goal = uniforms.unsqueeze(-1).clamp(max=1 - 2**-52) * total
    position = (reached <= goal).sum(-1)
    nothing = (total.squeeze(-1) == 0) | total.squeeze(-1).isnan()
    place = position.masked_fill(nothing, 0)
    chosen = weights.expand(*place.shape, -1).gather(-1, place.unsqueeze(-1)).squeeze(-1)
    log_probability = torch.where(total.squeeze(-1) == 0, 1.0, chosen).log()
    return position.masked_fill(nothing, -1), log_probability
