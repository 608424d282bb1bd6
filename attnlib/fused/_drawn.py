"""One key drawn for each query, in proportion to the exponential of their inner product, a run of queries at a time.

Weights of a run stand in memory and are thrown away: what is kept of a query is the key drawn, the logarithm of its
probability and that of the sum, from which the weights are computed again going backwards. A draw inverts the
distribution function at one uniform number, in two steps: first a block of keys, by the blocks' sums, then the key.

No maximum is looked for where it is not needed. By Cauchy and Schwarz no energy is above ``|q| max |k|``, which two
further columns of the vectors take off the energies inside of their product, with what hides padding.
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .._checks import HALF, TRANSFORMED, is_transformed
from .._rows import bad_rows
from .._work import Work, lengths
from .native import built

__all__ = ["drawn_in_runs"]

PAIRS = 2**20  # so many weights of a run on the CPU, near what its caches hold; a graphics card wants more at a time
PAIRS_ELSEWHERE = 2**26
BLOCK = 64
HIDDEN = -1e4  # an energy so low has an exponential of nought in every precision
LEAST = 1e-20  # a sum below this may have lost weights to underflow
BELOW_ONE = 1 - 2**-52


def drawn_in_runs(work: Work, uniforms: Tensor) -> tuple[Tensor, Tensor] | str:
    """Positions drawn and the logarithms of their probabilities; why not, where this cannot be done.

    Args:
        work: query, key, scale and mask.
        uniforms: numbers from 0 to 1, float64, ``(sample, *batch, query)``.

    Returns:
        Both ``(sample, *batch, query)``. A query that sees nothing has position -1 and 0, one whose energies are not
        all numbers -1 and NaN.
    """
    if is_transformed():
        return TRANSFORMED
    if work.query.shape[-1] != work.key.shape[-1]:
        return "the sizes of query and key differ"
    if not uniforms.numel() or not work.key.shape[-2]:
        return "there is nothing to draw"
    scale = work.query.shape[-1] ** -0.5 if work.scale is None else work.scale
    n_query, n_key = lengths(work)
    query, key = (part.float() if part.dtype in HALF else part for part in (work.query, work.key))
    query = (query * scale).expand(*work.batch, *query.shape[-2:]).reshape(-1, *query.shape[-2:])
    key = key.expand(*work.batch, *key.shape[-2:]).reshape(-1, *key.shape[-2:])
    mask, owner = None, None
    if work.mask is not None:
        mask = work.mask.expand(*work.mask.shape[:-1], n_key)
        owner = torch.arange(mask.shape[:-2].numel(), device=mask.device).view(mask.shape[:-2])
        owner = owner.expand(work.batch).reshape(-1)
        mask = mask.reshape(-1, *mask.shape[-2:])
    ours = uniforms.movedim(0, -1).reshape(-1, n_query, uniforms.shape[0])
    position, log_probability, _ = torch.ops.attnlib.draw_keys(query, key, ours, mask, owner, work.is_causal)
    return tuple(part.movedim(-1, 0).reshape(uniforms.shape) for part in (position, log_probability))


class _Run(NamedTuple):
    """Rows ``first ... last - 1`` of some batch entries, and how many keys they may see at most."""

    batch: slice
    rows: slice
    keys: int


def _runs(query: Tensor, n_key: int, width: int, is_causal: bool) -> Iterator[_Run]:
    """Runs of rows that fit, several batch entries at a time where they are short."""
    n_batch, n_query = query.shape[:2]
    pairs = PAIRS if query.device.type == "cpu" else PAIRS_ELSEWHERE
    rows = max(1, min(n_query, pairs // max(width, 1)))
    together = max(1, pairs // max(width * n_query, 1)) if rows == n_query else 1
    for first in range(0, n_batch, together):
        for start in range(0, n_query, rows):
            end = min(start + rows, n_query)
            keys = min(end, n_key) if is_causal else n_key
            yield _Run(slice(first, min(first + together, n_batch)), slice(start, end), keys)


class _Pairs:
    """Weights of runs of rows: vectors with two more columns, a shift and what hides padding, and the mask."""

    def __init__(
        self, query: Tensor, key: Tensor, mask: Tensor | None, owner: Tensor | None, shift: Tensor, *, is_causal: bool
    ) -> None:
        self.query, self.key, self.mask, self.owner, self.is_causal = query, key, mask, owner, is_causal
        self.hides_keys = mask is not None and mask.shape[-2] == 1  # the same for all queries: goes into the product
        shut = query.new_zeros(*key.shape[:2], 1)
        if mask is not None and self.hides_keys:
            shut = torch.where(mask.mT[owner], 0.0, HIDDEN).to(query.dtype)
        self.keys = torch.cat([key, torch.ones_like(shut), shut], -1)
        self.queries = torch.cat([query, -shift, torch.ones_like(shift)], -1)
        self.bad: tuple[Tensor, Tensor] | None = None
        self.memory = query.new_empty(0)

    def quarantine(self) -> None:
        """Take out what is not finite, if there is some; energies with it are NaN from here on."""
        bad = bad_rows(self.query), bad_rows(self.key)
        self.query, self.key = self.query.masked_fill(bad[0], 0.0), self.key.masked_fill(bad[1], 0.0)
        self.bad = bad

    def shifted(self, run: _Run, width: int | None = None) -> Tensor:
        """Energies less the shift of the rows of a run, ``width`` columns; what is hidden or beyond has no weight."""
        queries = self.queries[run.batch, run.rows]
        found = self._room(*queries.shape[:2], width or run.keys)
        torch.bmm(queries, self.keys[run.batch, : run.keys].mT, out=found[..., : run.keys])
        found[..., run.keys :] = -torch.inf
        return self._hide(found, run, padding=False)

    def _room(self, *shape: int) -> Tensor:
        """The same memory for each run: pages that were touched are not asked for again."""
        size = math.prod(shape)
        if self.memory.numel() < size:
            self.memory = self.memory.new_empty(size)
        return self.memory[:size].view(shape)

    def energies(self, run: _Run) -> Tensor:
        """The energies, minus infinity where hidden, NaN where a vector that is seen is not finite."""
        found = self.query[run.batch, run.rows] @ self.key[run.batch, : run.keys].mT
        if self.bad is not None:
            bad_query, bad_key = self.bad
            found = found.masked_fill_(bad_query[run.batch, run.rows] | bad_key[run.batch, : run.keys].mT, torch.nan)
        return self._hide(found, run, padding=True)

    def _hide(self, found: Tensor, run: _Run, *, padding: bool) -> Tensor:
        if self.mask is not None and self.owner is not None and (padding or not self.hides_keys):
            owner = self.owner[run.batch]
            mask = self.mask[owner[0]].unsqueeze(0) if len(owner) == 1 else self.mask[owner]
            mask = mask if self.hides_keys else mask[:, run.rows]
            found[..., : run.keys].masked_fill_(~mask[..., : run.keys], -torch.inf)
        if self.is_causal:
            start = run.rows.start
            late = found[..., start:]
            ahead = torch.ones(late.shape[-2:], dtype=torch.bool, device=late.device).triu_(1)
            late.masked_fill_(ahead, -torch.inf)
        return found


@torch.library.custom_op("attnlib::draw_keys", mutates_args=())
def _draw_keys(
    query: Tensor, key: Tensor, uniforms: Tensor, mask: Tensor | None, owner: Tensor | None, is_causal: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Positions and logarithms of their probabilities ``(batch, query, sample)``, of the sums ``(batch, query, 1)``."""
    n_key, n_samples = key.shape[1], uniforms.shape[-1]
    position = torch.full(uniforms.shape, -1, device=query.device)
    log_probability = query.new_zeros(uniforms.shape)
    log_sum = query.new_full((*uniforms.shape[:-1], 1), -torch.inf)
    if not (n_key and uniforms.numel()):
        return position, log_probability, log_sum
    bound = torch.linalg.vector_norm(query, dim=-1, keepdim=True)
    bound = bound * torch.linalg.vector_norm(key, dim=-1, keepdim=True).amax(-2, keepdim=True)
    pairs = _Pairs(query, key, mask, owner, bound, is_causal=is_causal)
    is_bounded = query.device.type == "cpu" and float(bound.max()) < -HIDDEN / 4
    if not (query.device.type == "cpu" and math.isfinite(bound.max())):
        pairs.quarantine()
    block = min(BLOCK, n_key)
    for run in _runs(query, n_key, max(n_key, n_samples * block), is_causal):
        at = (run.batch, run.rows)
        width = -(-run.keys // block) * block
        shift = bound[at]
        if is_bounded:
            found = _inverted(pairs.shifted(run, width), uniforms[at], block)
            is_bounded = float(found[2].min()) > LEAST
        if not is_bounded:
            energies = pairs.energies(run)
            top = energies.amax(-1, keepdim=True)
            shift = top.masked_fill(top == -torch.inf, 0.0)
            beyond = (0, width - run.keys)
            found = _inverted(
                torch.nn.functional.pad(energies.sub_(shift), beyond, value=-torch.inf), uniforms[at], block
            )
        position[at], chosen, total = found
        log_probability[at] = (chosen / total).log().to(query.dtype)
        log_sum[at] = (total.log() + shift).to(query.dtype)
    lost, empty = ~(log_sum < torch.inf), log_sum == -torch.inf
    position.masked_fill_(lost | empty, -1)
    return (
        position,
        log_probability.masked_fill_(empty, 0.0).masked_fill_(lost, torch.nan),
        log_sum.masked_fill_(lost, torch.nan),
    )


def _inverted(energies: Tensor, uniforms: Tensor, block: int) -> tuple[Tensor, Tensor, Tensor]:
    """Where the distribution function passes the uniform numbers; the weights there, and the sum. Energies are lost.

    Sums are taken in double precision, so that a weight of a billionth is drawn as often as it should be. What is left
    within a block is stretched to the block's own sum, which rounding may make another.
    """
    if built("drawn") and energies.dtype == torch.float32 and energies.device.type == "cpu":
        found = torch.ops.attnlib.pick_keys(energies.flatten(0, -2), uniforms.flatten(0, -2), block)
        return tuple(part.view(*uniforms.shape[:-1], -1) for part in found)
    weights = energies.exp_()
    sums = weights.view(*weights.shape[:-1], -1, block).sum(-1)
    reached = sums.cumsum(-1, dtype=torch.float64)
    total = reached[..., -1:]
    goal = (uniforms.clamp(max=BELOW_ONE) * total).contiguous()
    which = torch.searchsorted(reached, goal, right=True).clamp_(max=sums.shape[-1] - 1)
    share = ((goal - reached.gather(-1, which)) / sums.gather(-1, which) + 1).clamp_(0, BELOW_ONE)
    first = torch.arange(which.shape[:-1].numel(), device=which.device).view(*which.shape[:-1], 1) * sums.shape[-1]
    parts = weights.view(-1, block).index_select(0, (which + first).flatten()).view(*which.shape, block)
    within = parts.cumsum(-1, dtype=torch.float64)
    goal = share.unsqueeze(-1) * within[..., -1:]
    place = torch.searchsorted(within, goal, right=True).clamp_(max=block - 1)
    return which * block + place.squeeze(-1), parts.gather(-1, place).squeeze(-1), total


@_draw_keys.register_fake
def _(
    query: Tensor, key: Tensor, uniforms: Tensor, mask: Tensor | None, owner: Tensor | None, is_causal: bool
) -> tuple[Tensor, Tensor, Tensor]:
    sums = query.new_empty((*uniforms.shape[:-1], 1))
    return uniforms.new_empty(uniforms.shape, dtype=torch.int64), query.new_empty(uniforms.shape), sums


@torch.library.custom_op("attnlib::draw_keys_backward", mutates_args=())
def _draw_keys_backward(
    upstream: Tensor,
    query: Tensor,
    key: Tensor,
    position: Tensor,
    log_sum: Tensor,
    mask: Tensor | None,
    owner: Tensor | None,
    is_causal: bool,
) -> tuple[Tensor, Tensor]:
    """Gradients of query and key: that of ``log p`` by the energies is one where it was drawn, less the weights."""
    upstream = upstream.masked_fill(position < 0, 0.0)
    bad = bad_rows(query), bad_rows(key)
    query, key = query.masked_fill(bad[0], 0.0), key.masked_fill(bad[1], 0.0)
    shift = torch.where(log_sum.isfinite(), log_sum, -2 * HIDDEN)  # of a row without a draw: all weights nought
    pairs = _Pairs(query, key, mask, owner, shift, is_causal=is_causal)
    to_query, to_key = torch.zeros_like(query), torch.zeros_like(key)
    total = upstream.sum(-1, keepdim=True)
    asked = query * total
    for run in _runs(query, key.shape[1], key.shape[1], is_causal):
        at = (run.batch, run.rows)
        weights = pairs.shifted(run).exp_()
        to_query[at] = weights @ key[run.batch, : run.keys] * -total[at]
        to_key[run.batch, : run.keys].baddbmm_(weights.mT, asked[at], alpha=-1)
    first = torch.arange(len(key), device=key.device).view(-1, 1) * key.shape[1]
    flat_key, flat = key.reshape(-1, key.shape[-1]), to_key.view(-1, key.shape[-1])
    for sample in range(position.shape[-1] if len(flat_key) else 0):
        drawn = (position[..., sample].clamp(min=0) + first).flatten()
        pull = upstream[..., sample : sample + 1]
        to_query += pull * flat_key.index_select(0, drawn).view_as(query)
        flat.index_add_(0, drawn, (pull * query).view(-1, key.shape[-1]))
    return to_query, to_key


@_draw_keys_backward.register_fake
def _(
    upstream: Tensor,
    query: Tensor,
    key: Tensor,
    position: Tensor,
    log_sum: Tensor,
    mask: Tensor | None,
    owner: Tensor | None,
    is_causal: bool,
) -> tuple[Tensor, Tensor]:
    return torch.empty_like(query), torch.empty_like(key)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    query, key, _, ctx.mask, ctx.owner, ctx.is_causal = inputs
    position, _, log_sum = output
    ctx.mark_non_differentiable(position, log_sum)
    ctx.save_for_backward(query, key, position, log_sum)


def _gradient(ctx: Any, _position: Tensor, upstream: Tensor, _log_sum: Tensor) -> tuple[Tensor | None, ...]:
    query, key, position, log_sum = ctx.saved_tensors
    given = (upstream, query, key, position, log_sum, ctx.mask, ctx.owner, ctx.is_causal)
    return *torch.ops.attnlib.draw_keys_backward(*given), None, None, None, None


torch.library.register_autograd("attnlib::draw_keys", _gradient, setup_context=_keep)
