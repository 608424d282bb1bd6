"""The network that TrainItHere trains, out of the library; ``js/math/learner.js`` and ``learning.js`` are held to it.

One attention layer writes a row of letters backwards: the places of the output ask, those of the input answer.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from attnlib import attend, scores
from attnlib.distributions import softmax
from attnlib.softness import baselines, hard
from attnlib.softness.local import full_weights, local, predicted_centres
from attnlib.widgets.softness.hard_sampler import uniforms

__all__ = ["BROKEN", "Batch", "How", "Learner", "Run", "Sizes", "batch", "example", "fitting", "run", "seed_of"]

BROKEN = ("nothing", "no tanh", "no scale", "no mask", "wrong axis")
BATCH = 16  # rows of a step
START = 0.5  # deviation of the numbers of the tables


@dataclass(frozen=True)
class Sizes:
    """How large everything is; rows are ``shortest`` to ``longest`` letters long."""

    letters: int = 8
    longest: int = 8
    shortest: int = 4
    size: int = 16
    hidden: int = 16
    half_width: int = 2


class How(NamedTuple):
    """What is asked of a learner."""

    score: str = "additive"
    attention: str = "soft"
    reach: str = "everywhere"
    broken: str = "nothing"


class Batch(NamedTuple):
    """Rows of letters by number, filled up with a padding that is one more; their lengths; numbers to draw by."""

    letters: Tensor
    length: Tensor
    draws: Tensor


def fitting(how: How) -> tuple[str, ...]:
    """What can be broken: there is no tanh in a product, and softmax over the queries makes no row to draw from."""
    plain = how.attention == "soft" and how.reach == "everywhere"
    able = {"no tanh": how.score == "additive", "no scale": how.score == "scaled dot", "wrong axis": plain}
    return tuple(name for name in BROKEN if able.get(name, True))


def seed_of(seed: int, number: int) -> int:
    """A seed for each step of a run, so that any step can be had without those before it; as ``js/math/chance.js``.

    >>> seed_of(1, 0)
    606290972
    """
    return (seed * 0x9E3779B1 + (number + 1) * 0x85EBCA6B) & 0xFFFFFFFF


def batch(sizes: Sizes, seed: int, step: int) -> Batch:
    """The rows of a step; the first is step 0."""
    most = BATCH * (1 + 2 * sizes.longest)
    numbers = iter(uniforms(seed_of(seed, step), most))
    rows, lengths = [], []
    for _ in range(BATCH):
        lengths.append(sizes.shortest + int((sizes.longest - sizes.shortest + 1) * next(numbers)))
        rows.append(_filled((int(sizes.letters * next(numbers)) for _ in range(lengths[-1])), sizes))
    draws = [_filled((next(numbers) for _ in range(length)), sizes, 0.0) for length in lengths]
    return Batch(torch.tensor(rows), torch.tensor(lengths), torch.tensor(draws, dtype=torch.float64))


def example(sizes: Sizes, seed: int) -> Batch:
    """The row that is shown, two places short of the longest, each letter but once."""
    length = sizes.longest - 2
    left, chosen = list(range(sizes.letters)), []
    for number in uniforms(seed_of(seed, -2), length):
        chosen.append(left.pop(int(len(left) * number)))
    return Batch(torch.tensor([_filled(chosen, sizes)]), torch.tensor([length]), torch.zeros(1, sizes.longest).double())


def _filled(values: Iterable[float], sizes: Sizes, padding: float | None = None) -> list[float]:
    found = list(values)
    return found + [sizes.letters if padding is None else padding] * (sizes.longest - len(found))


class Learner(nn.Module):
    """The network, in double precision, as a seed starts it.

    Keys, which are the values too, are the vector of a letter plus that of its place; the query is the vector of its
    own place plus that of the row's length. Both are projected, and the score makes of the two what it is named for.
    """

    letter: Tensor
    place: Tensor
    asking: Tensor
    length: Tensor
    query_weight: Tensor
    key_weight: Tensor
    vector: Tensor
    centre_weight: Tensor
    centre_vector: Tensor
    output: Tensor
    output_bias: Tensor

    def __init__(self, sizes: Sizes, seed: int) -> None:
        super().__init__()
        self.sizes = sizes
        shapes = self.shapes(sizes)
        numbers = iter(uniforms(seed_of(seed, -1), sum(rows * columns for rows, columns, _ in shapes.values())))
        for name, (rows, columns, deviation) in shapes.items():
            drawn = [deviation * 12**0.5 * (next(numbers) - 0.5) for _ in range(rows * columns)]
            self.register_parameter(name, nn.Parameter(torch.tensor(drawn, dtype=torch.float64).view(rows, columns)))

    @staticmethod
    def shapes(sizes: Sizes) -> dict[str, tuple[int, int, float]]:
        """Rows and columns of each matrix, and the deviation of its numbers at the start."""
        narrow, read = sizes.size**-0.5, sizes.hidden**-0.5
        return {
            "letter": (sizes.letters + 1, sizes.size, START),
            "place": (sizes.longest, sizes.size, START),
            "asking": (sizes.longest, sizes.size, START),
            "length": (sizes.longest + 1, sizes.size, START),
            "query_weight": (sizes.hidden, sizes.size, narrow),
            "key_weight": (sizes.hidden, sizes.size, narrow),
            "vector": (1, sizes.hidden, read),
            "centre_weight": (sizes.hidden, sizes.size, narrow),
            "centre_vector": (1, sizes.hidden, read),
            "output": (sizes.letters, sizes.size, narrow),
            "output_bias": (1, sizes.letters, 0.0),
        }

    def _score(self, how: How) -> Callable[[Tensor, Tensor], Tensor]:
        def additive(query: Tensor, key: Tensor) -> Tensor:
            return scores.additive(
                query,
                key,
                vector=self.vector[0],
                query_weight=self.query_weight,
                key_weight=self.key_weight,
                activation=nn.Identity() if how.broken == "no tanh" else torch.tanh,
            )

        def product(query: Tensor, key: Tensor) -> Tensor:
            scaled = how.score == "scaled dot" and how.broken != "no scale"
            score = scores.scaled_dot if scaled else scores.dot
            return score(query @ self.query_weight.mT, key @ self.key_weight.mT)

        return additive if how.score == "additive" else product

    def weights(self, rows: Batch, how: How) -> tuple[Tensor, Tensor]:
        """The weights of each place of the output over those of the input, and the values."""
        places = torch.arange(self.sizes.longest)
        real = places < rows.length.unsqueeze(-1)
        query = self.asking + self.length[rows.length].unsqueeze(-2)
        key = self.letter[rows.letters] + self.place
        seen = torch.ones_like(real) if how.broken == "no mask" else real
        mask = real.unsqueeze(-1) & seen.unsqueeze(-2)
        score = self._score(how)
        if how.reach == "window":
            centre = predicted_centres(
                query, lengths=rows.length, weight=self.centre_weight, vector=self.centre_vector[0], to_last=True
            )
            half = self.sizes.half_width
            found = local(query, key, score=score, mask=mask, centre=centre, half_width=half, renormalise=True).weights
            return full_weights(cast(Tensor, found), centre=centre, n_key=self.sizes.longest), key
        across = how.broken == "wrong axis"
        distribution = (lambda energies: softmax(energies.mT).mT) if across else softmax
        weights = attend(query, key, score=score, distribution=distribution, mask=mask).weights
        return cast(Tensor, weights), key

    def forward(self, rows: Batch, how: How, *, greedy: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """Logarithms of the letters' probabilities, those of what was drawn (0 for soft attention), and the weights."""
        weights, value = self.weights(rows, how)
        chosen = torch.zeros(weights.shape[:-1], dtype=weights.dtype)
        if how.attention == "hard":
            total = weights.detach().cumsum(-1)
            place = weights.argmax(-1) if greedy else (total <= rows.draws.unsqueeze(-1)).sum(-1)
            some = weights.gather(-1, place.clamp(max=self.sizes.longest - 1).unsqueeze(-1)).squeeze(-1)
            chosen = torch.where(some > 0, some, 1.0).log()
            context = hard.take(place.clamp(max=self.sizes.longest - 1)[None], value)[0]
        else:
            context = weights @ value
        return (context @ self.output.mT + self.output_bias).log_softmax(-1), chosen, weights

    def loss(self, rows: Batch, how: How, baseline: float | Tensor = 0.0) -> tuple[Tensor, int]:
        """The mean loss of all letters of some rows, with the gradient to learn by; how many letters are right."""
        logs, chosen, _ = self(rows, how)
        real, answer = self.answer(rows)
        likelihood = logs.gather(-1, answer.unsqueeze(-1)).squeeze(-1)
        right = int((logs.argmax(-1) == answer)[real].sum())
        if how.attention == "soft":
            return -likelihood[real].mean(), right
        return hard.reinforce_loss(likelihood[None], chosen[None], baseline=baseline)[real].mean(), right

    def answer(self, rows: Batch) -> tuple[Tensor, Tensor]:
        """Which places of the output there are, and the letter that belongs into each."""
        places = torch.arange(self.sizes.longest)
        real = places < rows.length.unsqueeze(-1)
        back = (rows.length.unsqueeze(-1) - 1 - places).clamp(min=0)
        return real, rows.letters.gather(-1, back).masked_fill(~real, 0)


class Run(NamedTuple):
    """What came of a training: the loss and the share of right letters at each step, and what the shown row gets."""

    losses: list[float]
    rights: list[float]
    weights: list[list[float]]
    written: list[int]


@lru_cache(maxsize=16)
def run(seed: int, how: tuple[How, ...], spans: tuple[int, ...], rate: float) -> Run:
    """Train from the start: so many steps in each way, one after the other."""
    sizes = Sizes()
    learner = Learner(sizes, seed)
    optimiser = torch.optim.Adam(learner.parameters(), lr=rate, fused=True)
    average = baselines.MovingAverage().double()
    losses, rights = [], []
    for step, now in enumerate(_each(how, spans)):
        rows = batch(sizes, seed, step)
        loss, right = learner.loss(rows, now, average.value)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        average(-loss.detach()[None])
        losses.append(loss.item())
        rights.append(right / int(rows.length.sum()))
    shown = example(sizes, seed)
    with torch.no_grad():
        logs, _, weights = learner(shown, how[-1], greedy=True)
    length = int(shown.length)
    return Run(losses, rights, weights[0, :length].tolist(), logs[0, :length].argmax(-1).tolist())


def _each(how: tuple[How, ...], spans: tuple[int, ...]) -> Iterator[How]:
    for now, count in zip(how, spans, strict=True):
        yield from [now] * count
