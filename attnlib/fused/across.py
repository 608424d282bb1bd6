"""One sequence over several processes: each holds a run of its queries, keys and values.

Torch has context parallelism of its own, for the kernels of GPUs; on the CPU, as of torch 2.13, its kernel of attention
is not among those that it can split. Here the keys and values are gathered instead, and their gradients added up where
they came from, with any backend of ``torch.distributed`` and by any path of :func:`attnlib.attend`.
"""

from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor

from .._checks import check_vectors
from ..attention import attend
from ..masks import causal

__all__ = ["attend_across"]


class _Gathered(torch.autograd.Function):
    """The parts of all processes, one after the other; backwards each gets the sum of what all have for its part."""

    @staticmethod
    def forward(ctx: Any, part: Tensor, group: Any) -> Tensor:
        ctx.group = group
        parts = [torch.empty_like(part) for _ in range(dist.get_world_size(group))]
        dist.all_gather(parts, part.contiguous(), group=group)
        return torch.cat(parts, -2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        total = gradients[0].contiguous()
        dist.all_reduce(total, group=ctx.group)  # not reduce_scatter, which gloo has not
        return total.chunk(dist.get_world_size(ctx.group), -2)[dist.get_rank(ctx.group)].contiguous(), None


def attend_across(
    query: Float[Tensor, "*batch query d_k"],
    key: Float[Tensor, "*batch key d_k"],
    value: Float[Tensor, "*batch key d_v"],
    *,
    scale: float | None = None,
    is_causal: bool = False,
    group: "dist.ProcessGroup | None" = None,
) -> Float[Tensor, "*batch query d_v"]:
    r"""The context of this process's queries over the keys of all processes, in the order of their ranks.

    .. math:: c_i = \sum_{r} \sum_{j \in r} \mathrm{softmax}_j(s\, q_i^\top k_j)\, v_j

    Every process calls it, with parts of equal shape. A process computes the pairs of its own queries: with ``p``
    processes a ``p``-th of the time, if the sequence is not causal; if it is, the last has the most to do. It holds the
    keys and values of all, so it is for sequences whose pairs are too many, not for those whose keys do not fit. If
    it is causal, the mask of its pairs takes a byte for each besides.

    Args:
        query: this process's run of queries.
        key: its run of keys, as long for each process.
        value: and of values.
        scale: as for :func:`attnlib.attend`.
        is_causal: a query may attend to the keys up to its own place in the whole sequence; then each process must hold
            as many queries as keys.
        group: the processes; none for all.

    Raises:
        RuntimeError: ``torch.distributed`` has no process group.
        ValueError: ``is_causal`` with unlike numbers of queries and keys, or shapes that do not fit.

    Source: keys and values gathered from all, as torch's tutorial says that Llama 3 was trained [grattafiori2024].
    """
    check_vectors(query, key, value)
    if not dist.is_available() or not dist.is_initialized():
        raise RuntimeError("torch.distributed has no process group: call init_process_group first")
    n_query, n_key = query.shape[-2], key.shape[-2]
    if is_causal and n_query != n_key:
        raise ValueError(f"is_causal needs as many queries as keys in each process, got {n_query} and {n_key}")
    key, value = (_Gathered.apply(part, group) for part in (key, value))  # type: ignore[no-untyped-call]
    if not is_causal:
        return attend(query, key, value, scale=scale, need_weights=False).context
    # The keys of later processes are hidden from all queries here: left out, they cost nothing.
    seen = n_key * (dist.get_rank(group) + 1)
    mask = causal(n_query, seen, alignment="lower-right", device=query.device)
    key, value = key[..., :seen, :], value[..., :seen, :]
    return attend(query, key, value, scale=scale, mask=mask, need_weights=False).context
