r"""A neural Turing machine: a network that tells heads where to look in a memory, and what to write there.

The arithmetic of the heads stands in :mod:`attnlib.frontiers.memory`; here is what learns.
"""

from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from .memory import Addressed, Heads, address, read, write

__all__ = ["FeedForward", "LongShortTerm", "Ran", "State", "Stepped", "TuringMachine"]


class State(NamedTuple):
    """What a machine is in between two steps: its memory, where its heads are, what they read, what the controller
    keeps. Reading heads come first, then writing ones."""

    memory: Float[Tensor, "*batch row size"]
    weights: Float[Tensor, "*batch head row"]
    reads: Float[Tensor, "*batch reader size"]
    kept: tuple[Tensor, ...]


class Stepped(NamedTuple):
    """The state after a step; what came out; and, for whoever wants to look, how the heads came to be where they are
    and what was written."""

    state: State
    output: Float[Tensor, "*batch out"]
    addressed: Addressed
    erase: Float[Tensor, "*batch writer size"]
    add: Float[Tensor, "*batch writer size"]


class Ran(NamedTuple):
    """Outputs and weightings of all steps, and the state after the last."""

    output: Float[Tensor, "batch time out"]
    weights: Float[Tensor, "batch time head row"]
    state: State


class Controller(Protocol):
    """What a machine asks of its controller: ``hidden``, the size of what it says, a beginning, and a step."""

    hidden: int

    def start(self, batch: int, like: Tensor) -> tuple[Tensor, ...]:
        """What it keeps before the first step."""

    def __call__(self, inputs: Tensor, kept: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """What it says, ``(batch, hidden)``, and what it keeps."""


class FeedForward(nn.Module):
    r"""A controller that keeps nothing: what it is to remember has to be in the memory.

    .. math:: h_t = \tanh(W [x_t; r_{t-1}] + b)

    Args:
        inputs: size of an input and all that was read.
        hidden: size of a layer.

    Source: Graves et al. 2014, section 3.4 [graves2014]; one layer of tanh is ours.

    >>> FeedForward(3, 5)(torch.zeros(2, 3), ())[0].shape
    torch.Size([2, 5])
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.layer = nn.Linear(inputs, hidden)

    def start(self, batch: int, like: Tensor) -> tuple[Tensor, ...]:
        """Nothing."""
        return ()

    def forward(
        self, inputs: Float[Tensor, "*batch in"], kept: tuple[Tensor, ...]
    ) -> tuple[Float[Tensor, "*batch hidden"], tuple[Tensor, ...]]:
        """What it says, and nothing."""
        return torch.tanh(self.layer(inputs)), ()


class LongShortTerm(nn.Module):
    r"""A controller with a memory of its own, as registers beside the machine's: an LSTM, from zeros.

    .. math:: h_t, c_t = \mathrm{LSTM}([x_t; r_{t-1}], h_{t-1}, c_{t-1})

    Args:
        inputs: size of an input and all that was read.
        hidden: size of a state.

    Source: Graves et al. 2014, section 3.4 [graves2014].

    >>> controller = LongShortTerm(3, 5)
    >>> said, kept = controller(torch.zeros(2, 3), controller.start(2, torch.zeros(0)))
    >>> said.shape, len(kept)
    (torch.Size([2, 5]), 2)
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.cell = nn.LSTMCell(inputs, hidden)

    def start(self, batch: int, like: Tensor) -> tuple[Tensor, ...]:
        """Zeros, of hidden state and cell."""
        return like.new_zeros(batch, self.hidden), like.new_zeros(batch, self.hidden)

    def forward(
        self, inputs: Float[Tensor, "*batch in"], kept: tuple[Tensor, ...]
    ) -> tuple[Float[Tensor, "*batch hidden"], tuple[Tensor, ...]]:
        """The hidden state, and both."""
        hidden, cell = self.cell(inputs, kept)
        return hidden, (hidden, cell)


class TuringMachine(nn.Module):
    r"""A controller, a memory, and heads that read and write.

    .. math::
        h_t = \mathrm{controller}([x_t; r_{t-1}]), \qquad
        \begin{aligned}
        \beta &= \mathrm{softplus}, & g, e &= \sigma, & s &= \mathrm{softmax}, & \gamma &= 1 + \mathrm{softplus}
        \end{aligned}
        \quad \text{of } W h_t + b, \qquad y_t = V [h_t; r_t] + d

    In a step all heads find their places in the memory as it stood before; then the writing heads write, and then the
    reading heads read, what was just written too.

    Args:
        inputs: size of an input.
        outputs: size of an output, which is linear: no squashing.
        rows: :math:`N` of the memory.
        size: of a row, :math:`M`.
        hidden: size of what the controller says.
        readers: number of heads that read.
        writers: number of heads that write.
        reach: :math:`S`, the longest step along the rows; 0 for heads that find their place by content alone.
        controller: makes one of ``(inputs, hidden)``: :class:`FeedForward` or :class:`LongShortTerm`.

    Raises:
        ValueError: a number is below what there has to be, which is a row, a size, and a head of either kind at least.

    Source: Graves et al. 2014, section 3 [graves2014]. Memories that begin at a small constant learn best: Collier and
    Beel 2018 [collier2018], of which we saw the abstract.

    Departs from the source: it does not say where heads begin, nor what comes first in a step. Here the memory begins
    at 0.000001, all heads at row 0, and the order is the one above.

    >>> machine = TuringMachine(3, 2, rows=7, size=5, hidden=11)
    >>> ran = machine(torch.zeros(1, 4, 3))
    >>> ran.output.shape, ran.weights.shape  # a head that reads, one that writes
    (torch.Size([1, 4, 2]), torch.Size([1, 4, 2, 7]))
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        rows: int,
        size: int,
        hidden: int,
        readers: int = 1,
        writers: int = 1,
        reach: int = 1,
        controller: type[FeedForward] | type[LongShortTerm] = FeedForward,
    ) -> None:
        super().__init__()
        least = {"rows": (rows, 1), "size": (size, 1), "readers": (readers, 1), "writers": (writers, 1)}
        for name, (given, lowest) in (least | {"reach": (reach, 0)}).items():
            if given < lowest:
                raise ValueError(f"{name} must be at least {lowest}, got {given}")
        self.rows, self.size, self.readers, self.writers, self.reach = rows, size, readers, writers, reach
        self.controller: Controller = controller(inputs + readers * size, hidden)
        self.heads = nn.Linear(hidden, (readers + writers) * sum(self._parts()))
        self.writing = nn.Linear(hidden, writers * 2 * size)
        self.output = nn.Linear(hidden + readers * size, outputs)

    def _parts(self) -> list[int]:
        """Key, strength, gate, shift, sharpness: how many numbers each head is told."""
        return [self.size, 1, 1, 2 * self.reach + 1, 1]

    def start(self, batch: int) -> State:
        """An empty memory, and all heads at its first row.

        Args:
            batch: number of sequences.
        """
        like = self.output.weight
        weights = like.new_zeros(batch, self.readers + self.writers, self.rows)
        weights[..., 0] = 1
        memory = like.new_full((batch, self.rows, self.size), 1e-6)
        kept = self.controller.start(batch, like)
        return State(memory, weights, read(memory, weights[:, : self.readers]), kept)

    def told(self, said: Float[Tensor, "*batch hidden"]) -> Heads:
        """What the heads are told by what the controller says."""
        numbers = self.heads(said).unflatten(-1, (self.readers + self.writers, -1))
        key, strength, gate, shift, sharpness = numbers.split(self._parts(), -1)
        strength, sharpness = F.softplus(strength.squeeze(-1)), 1 + F.softplus(sharpness.squeeze(-1))
        return Heads(key, strength, gate.squeeze(-1).sigmoid(), shift.softmax(-1), sharpness)

    def step(self, inputs: Float[Tensor, "*batch in"], state: State) -> Stepped:
        """Take a step.

        Args:
            inputs: :math:`x_t`, ``(*batch, in)``.
            state: that after the step before, or :meth:`start`'s.
        """
        said, kept = self.controller(torch.cat([inputs, state.reads.flatten(-2)], -1), state.kept)
        found = address(self.told(said), state.memory, state.weights)
        erase, add = self.writing(said).unflatten(-1, (self.writers, 2 * self.size)).split(self.size, -1)
        erase = erase.sigmoid()
        memory = write(state.memory, found.weights[..., self.readers :, :], erase=erase, add=add)
        reads = read(memory, found.weights[..., : self.readers, :])
        output = self.output(torch.cat([said, reads.flatten(-2)], -1))
        return Stepped(State(memory, found.weights, reads, kept), output, found, erase, add)

    def forward(self, inputs: Float[Tensor, "batch time in"], state: State | None = None) -> Ran:
        """Run over a sequence.

        Args:
            inputs: ``(batch, time, in)``, of one step or more.
            state: where to go on from; an empty memory without it.

        Returns:
            A :class:`Ran`.

        Raises:
            ValueError: there is no step.
        """
        if inputs.shape[1] == 0:
            raise ValueError(f"inputs must have at least one step, got shape {tuple(inputs.shape)}")
        state = self.start(len(inputs)) if state is None else state
        outputs, weights = [], []
        for t in range(inputs.shape[1]):
            state, output, found, _, _ = self.step(inputs[:, t], state)
            outputs.append(output)
            weights.append(found.weights)
        return Ran(torch.stack(outputs, 1), torch.stack(weights, 1), state)
