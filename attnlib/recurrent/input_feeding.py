"""What Luong et al. 2015 do with a context: the attentional vector, and feeding it to the next step.

Their decoder goes ``h_t -> weights -> c_t -> h~_t``: first the recurrent cell, then the attention with the cell's new
state as the query. Any attention fits in, :func:`attnlib.attend` and :func:`~attnlib.softness.local.local` alike.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .._checks import check_parameter
from ..attention import Attention

__all__ = ["AttentionalVector", "Fed", "InputFeeding", "attentional_vector"]


def attentional_vector(
    context: Float[Tensor, "*#batch d_v"],
    query: Float[Tensor, "*#batch d_q"],
    *,
    weight: Float[Tensor, "d_out d_v+d_q"],
) -> Float[Tensor, "*batch d_out"]:
    r"""What was found and who asked, in one vector: the decoder predicts its word from it.

    .. math:: \tilde h_t = \tanh(W_c [c_t; h_t])

    Args:
        context: :math:`c_t`, ``(*batch, d_v)``.
        query: :math:`h_t`, ``(*batch, d_q)``.
        weight: :math:`W_c`, ``(d_out, d_v + d_q)``; the context's columns come first.

    Returns:
        ``(*batch, d_out)``, each entry between -1 and 1.

    Raises:
        ValueError: a size of ``weight`` does not fit.

    Source: Luong et al. 2015, Eq. 5 [luong2015].

    >>> weight = torch.tensor([[1.0, -1.0], [1.0, 1.0]])
    >>> attentional_vector(torch.tensor([0.5]), torch.tensor([0.5]), weight=weight).atanh()
    tensor([0., 1.])
    """
    d_v, d_q = context.shape[-1], query.shape[-1]
    check_parameter("weight", weight, **{"d_out": weight.shape[0], "d_v + d_q": d_v + d_q})
    return torch.tanh(context @ weight[:, :d_v].mT + query @ weight[:, d_v:].mT)


class AttentionalVector(nn.Module):
    """:func:`attentional_vector` with its ``weight`` of shape ``(d_out, d_v + d_q)``.

    Args:
        d_v: size of the contexts.
        d_q: size of the queries.
        d_out: size of the result.

    Source: Luong et al. 2015, Eq. 5 [luong2015].

    >>> AttentionalVector(5, 3, 2)(torch.zeros(7, 5), torch.zeros(7, 3)).shape
    torch.Size([7, 2])
    """

    def __init__(
        self,
        d_v: int,
        d_q: int,
        d_out: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(d_out, d_v + d_q, device=device, dtype=dtype))
        nn.init.xavier_uniform_(self.weight)

    def forward(
        self, context: Float[Tensor, "*#batch d_v"], query: Float[Tensor, "*#batch d_q"]
    ) -> Float[Tensor, "*batch d_out"]:
        """Attentional vectors of shape ``(*batch, d_out)``."""
        return attentional_vector(context, query, weight=self.weight)


class Fed(NamedTuple):
    """What a step of :class:`InputFeeding` hands to the next: the attentional vector, the cell's output and memory."""

    vector: Float[Tensor, "batch d"]
    hidden: Float[Tensor, "batch d"]
    memory: Float[Tensor, "batch d"]


class InputFeeding(nn.Module):
    r"""One step of a decoder that is told, with its next input, what it attended to.

    .. math::
        h_t = \mathrm{LSTM}([x_t; \tilde h_{t-1}], h_{t-1}), \quad
        c_t = \mathrm{look}(h_t), \quad \tilde h_t = \tanh(W_c [c_t; h_t])

    Args:
        d_in: size of the inputs :math:`x_t`.
        d: size of the cell, so of the queries, and of the attentional vectors.
        d_v: size of the contexts.

    Source: Luong et al. 2015, sections 3.1 and 3.3, Eq. 5 [luong2015].

    Departs from the source: one layer instead of four.

    >>> from attnlib import attend
    >>> step, key, value = InputFeeding(3, 4, 5), torch.zeros(2, 7, 4), torch.zeros(2, 7, 5)
    >>> fed, found = step(torch.zeros(2, 3), step.start(2), lambda query: attend(query, key, value))
    >>> fed.vector.shape, found.weights.shape
    (torch.Size([2, 4]), torch.Size([2, 1, 7]))
    """

    def __init__(
        self,
        d_in: int,
        d: int,
        d_v: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(d_in + d, d, device=device, dtype=dtype)
        self.combine = AttentionalVector(d_v, d, d, device=device, dtype=dtype)

    def start(self, batch: int) -> Fed:
        """Zeros, for the first step: nothing was attended to yet."""
        return Fed(*(self.combine.weight.new_zeros(batch, self.cell.hidden_size) for _ in Fed._fields))

    def forward(
        self, inputs: Float[Tensor, "batch d_in"], fed: Fed, look: Callable[[Tensor], Attention]
    ) -> tuple[Fed, Attention]:
        """Take a step.

        Args:
            inputs: :math:`x_t`, ``(batch, d_in)``.
            fed: what the step before gave, or :meth:`start`.
            look: from the query ``(batch, 1, d)`` to an attention. Global: ``lambda query: attend(query, key, value,
                score=...)``. Local-p: ``lambda query: local(query, key, value, centre=predict(query, ...), ...)``.

        Returns:
            What the next step is fed, its ``vector`` being what the word is predicted from; and the attention.
        """
        hidden, memory = self.cell(torch.cat([inputs, fed.vector], -1), (fed.hidden, fed.memory))
        found = look(hidden.unsqueeze(-2))
        return Fed(self.combine(found.context.squeeze(-2), hidden), hidden, memory), found
