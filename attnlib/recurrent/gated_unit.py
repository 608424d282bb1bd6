"""The gated unit of Cho et al. 2014, as the first attention model has it.

It is not ``torch.nn.GRU``: there the update gate has the opposite sense, and the reset gate comes after the matrix.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

__all__ = ["GatedUnit", "both_ways"]


class GatedUnit(nn.Module):
    r"""A recurrent unit that decides how much of its state to renew, and how much to look at when it does.

    .. math::
        \begin{aligned}
        z_t &= \sigma(W_z x_t + U_z s_{t-1} + C_z c_t + b_z) \\
        r_t &= \sigma(W_r x_t + U_r s_{t-1} + C_r c_t + b_r) \\
        \tilde s_t &= \tanh(W x_t + U [r_t \circ s_{t-1}] + C c_t + b) \\
        s_t &= (1 - z_t) \circ s_{t-1} + z_t \circ \tilde s_t
        \end{aligned}

    The parameters are stacked in the order z, r, candidate: ``input.weight`` is ``(3n, m)``, ``input.bias`` ``(3n,)``,
    ``gates_recurrent`` ``(2n, n)``, ``recurrent`` ``(n, n)`` and ``context.weight`` ``(3n, d)``.

    Args:
        inputs: :math:`m`, size of an input.
        hidden: :math:`n`, size of a state.
        context: :math:`d`, size of a context; 0 for a unit without the :math:`C` terms.

    Source: Bahdanau et al. 2015, A.1.1, A.2.1 and A.2.2 [bahdanau2015]; Cho et al. 2014, section 2.3 [cho2014].

    Departs from the source: has the biases that the paper leaves out of its equations.

    >>> unit = GatedUnit(2, 3)
    >>> for parameter in unit.parameters():
    ...     _ = torch.nn.init.zeros_(parameter)
    >>> unit(unit.read(torch.ones(1, 2)), torch.ones(1, 3))  # z = 1/2 and a candidate of 0
    tensor([[0.5000, 0.5000, 0.5000]], grad_fn=<LerpBackward1>)
    """

    def __init__(self, inputs: int, hidden: int, *, context: int = 0) -> None:
        super().__init__()
        self.input = nn.Linear(inputs, 3 * hidden)
        self.gates_recurrent = nn.Parameter(torch.empty(2 * hidden, hidden))
        self.recurrent = nn.Parameter(torch.empty(hidden, hidden))
        self.context = nn.Linear(context, 3 * hidden, bias=False) if context else None
        for matrix in (*torch.split(self.gates_recurrent.data, hidden), self.recurrent):
            nn.init.orthogonal_(matrix)

    def read(self, inputs: Float[Tensor, "*batch m"]) -> Float[Tensor, "*batch n3"]:
        """What the inputs add to both gates and the candidate: of shape ``(*batch, 3n)``, for all steps at once."""
        read: Tensor = self.input(inputs)
        return read

    def read_context(self, context: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch n3"]:
        """What a context adds, ``(*batch, 3n)``.

        Raises:
            TypeError: the unit was made without a context.
        """
        if self.context is None:
            raise TypeError("this unit was made with context=0 and reads none")
        read: Tensor = self.context(context)
        return read

    def forward(
        self,
        read: Float[Tensor, "batch n3"],
        state: Float[Tensor, "batch n"],
        read_context: Float[Tensor, "batch n3"] | None = None,
    ) -> Float[Tensor, "batch n"]:
        """Take a step.

        Args:
            read: what :meth:`read` gave for the input, ``(batch, 3n)``.
            state: :math:`s_{t-1}`, ``(batch, n)``.
            read_context: what :meth:`read_context` gave, for a unit with a context.

        Returns:
            :math:`s_t`, ``(batch, n)``.
        """
        added = read if read_context is None else read + read_context
        n = state.shape[-1]
        update, reset = torch.sigmoid(torch.addmm(added[..., : 2 * n], state, self.gates_recurrent.mT)).chunk(2, -1)
        candidate = torch.tanh(torch.addmm(added[..., 2 * n :], reset * state, self.recurrent.mT))
        return torch.lerp(state, candidate, update)

    def run(
        self, inputs: Float[Tensor, "batch time m"], mask: Bool[Tensor, "batch time"]
    ) -> Float[Tensor, "batch time n"]:
        """All states from a first one of zeros; where the mask is False the state stays as it was.

        Args:
            inputs: ``(batch, time, m)``.
            mask: ``(batch, time)``, True for a real input.
        """
        read = self.read(inputs)
        state, states = read.new_zeros(len(inputs), self.recurrent.shape[0]), []
        for t in range(inputs.shape[1]):
            state = torch.where(mask[:, t, None], self(read[:, t], state), state)
            states.append(state)
        return torch.stack(states, 1)


def both_ways(
    forwards: GatedUnit,
    backwards: GatedUnit,
    inputs: Float[Tensor, "batch time m"],
    mask: Bool[Tensor, "batch time"],
) -> tuple[Float[Tensor, "batch time n"], Float[Tensor, "batch time n"]]:
    r"""The states of two units, of which one reads from the left and one from the right.

    .. math:: \overrightarrow h_j = \mathrm{unit}(x_j, \overrightarrow h_{j-1}), \qquad
        \overleftarrow h_j = \mathrm{unit}(x_j, \overleftarrow h_{j+1})

    The same as ``run`` for each, in one loop instead of two.

    Args:
        forwards: reads from the left.
        backwards: reads from the right.
        inputs: ``(batch, time, m)``.
        mask: ``(batch, time)``, True for a real input; on the others a state stays as it was.

    Returns:
        The forward and the backward states, each ``(batch, time, n)``, both in the order of the inputs.

    Source: Bahdanau et al. 2015, section 3.2 and A.2.1 [bahdanau2015].

    >>> unit = GatedUnit(2, 3)
    >>> forth, back = both_ways(unit, unit, torch.ones(1, 4, 2), torch.ones(1, 4, dtype=torch.bool))
    >>> bool((forth[:, 0] == back[:, -1]).all())
    True
    """
    read = torch.stack([forwards.read(inputs), backwards.read(inputs).flip(1)])  # (2, batch, time, 3n)
    real = torch.stack([mask, mask.flip(1)]).unsqueeze(-1)
    gates = torch.stack([forwards.gates_recurrent.mT, backwards.gates_recurrent.mT])
    recurrent = torch.stack([forwards.recurrent.mT, backwards.recurrent.mT])
    n = recurrent.shape[-1]
    state, states = read.new_zeros(2, len(inputs), n), []
    for t in range(inputs.shape[1]):
        added = read[:, :, t]
        update, reset = torch.sigmoid(torch.baddbmm(added[..., : 2 * n], state, gates)).chunk(2, -1)
        candidate = torch.tanh(torch.baddbmm(added[..., 2 * n :], reset * state, recurrent))
        state = torch.where(real[:, :, t], torch.lerp(state, candidate, update), state)
        states.append(state)
    forth, back = torch.stack(states, 2)
    return forth, back.flip(1)
