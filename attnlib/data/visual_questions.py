"""Visual questions about scenes of coloured shapes, with the regions and the words that decide the answer.

All of it is ours: scenes and questions come from a seed. For each question it is known in which cells the answer is to
be read and which words say what is asked, so that attention on either side can be held against what it ought to be.
What such a set cannot show: anything about photographs, or about questions that people ask.
"""

import random
from collections.abc import Sequence
from functools import cache, partial
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["ANSWERS", "CELL", "COLOURS", "KINDS", "SHAPES", "WORDS", "Question", "Thing", "ask", "draw", "make"]

CELL = 8  # pixels across a cell
COLOURS = {
    "red": (0.84, 0.15, 0.16),
    "green": (0.13, 0.55, 0.23),
    "blue": (0.12, 0.34, 0.78),
    "yellow": (0.96, 0.77, 0.11),
    "purple": (0.55, 0.25, 0.62),
}
"""Red, green and blue of each colour, from 0 to 1."""
SHAPES = ("circle", "square", "triangle", "cross")
KINDS = ("colour", "shape", "side", "count", "exists")
"""What is asked, in words. The colour of the only circle, the shape of the only red thing, colour or shape of what lies
beside a thing, how many there are, and whether there is one."""

_GROUND = 0.93
_MOST = 4  # no more of what is counted
_SIZES = (2.8, 3.2, 3.6)
_SIDES = {"left": (0, -1), "right": (0, 1), "above": (-1, 0), "below": (1, 0)}
_MANY = {shape: shape + ("es" if shape == "cross" else "s") for shape in SHAPES}
_ASIDE, _END = "i like {colour} {shapes} but", "in this picture"
_GRAMMAR = (
    *("what", "colour", "shape", "is", "the", "thing", "things", "of", "how", "many", "are", "there", "a"),
    *("i", "like", "but", "in", "this", "picture"),
)

WORDS = (*_GRAMMAR, *_SIDES, *COLOURS, *SHAPES, *_MANY.values())
"""Every word that a question may have."""
ANSWERS = (*COLOURS, *SHAPES, "yes", "no", *map(str, range(_MOST + 1)))


class Thing(NamedTuple):
    """A shape in a cell; cells count from the upper left, row by row. ``size`` is its radius in pixels."""

    cell: int
    shape: str
    colour: str
    size: float = 3.2


class Question(NamedTuple):
    """A scene and a question about it.

    ``things``: the scene; ``words`` and ``answer``; ``kind``: one of :data:`KINDS`. ``regions``: the cells in which the
    answer is to be read, none where the answer is *no* or 0; ``beside``: the cell that a question of the kind *side*
    starts from, else None; ``listen``: positions of the words that say what is asked and of which thing: another word
    of its list in the place of one makes another question.
    """

    things: tuple[Thing, ...]
    words: tuple[str, ...]
    answer: str
    kind: str
    regions: tuple[int, ...]
    beside: int | None
    listen: tuple[int, ...]


def make(*, count: int, side: int = 4, kinds: Sequence[str] = KINDS, seed: int = 0) -> list[Question]:
    """Questions, each about a scene of its own.

    Each has its own random numbers, which come from the seed and its place alone: the first ten are the same however
    many there are. Kinds are as likely as one another; so are *yes* and *no*. A third of the questions has an aside in
    front, which names a colour and shapes that have nothing to do with what is asked, and a third has an ending.

    Args:
        count: how many.
        side: cells along a side of a scene, at least 3.
        kinds: of :data:`KINDS`, what may be asked.
        seed: another one gives other questions.

    Returns:
        A list of :class:`Question`.

    Raises:
        ValueError: ``count`` is below 0, ``side`` below 3, or a kind is none.

    >>> one = make(count=1, seed=3)[0]
    >>> " ".join(one.words), one.answer
    ('is there a green cross', 'yes')
    >>> [(thing.shape, thing.colour) for thing in one.things if thing.cell in one.regions]
    [('cross', 'green')]
    """
    if count < 0:
        raise ValueError(f"count must be at least 0, got {count}")
    if side < 3:
        raise ValueError(f"side must be at least 3, got {side}")
    if not kinds or not set(kinds) <= set(KINDS):
        raise ValueError(f"kinds must be some of {', '.join(KINDS)}, got {tuple(kinds)}")
    return [_one(random.Random(f"{seed}/question/{place}"), side, kinds) for place in range(count)]


def ask(things: Sequence[Thing], words: Sequence[str], side: int = 4) -> Question:
    """A question of one's own about a scene, in the words of :func:`make`, with its answer.

    Raises:
        ValueError: it is none that :func:`make` could ask, or what it speaks of is not there, or not once.

    >>> scene = [Thing(0, "square", "red"), Thing(1, "circle", "blue")]
    >>> ask(scene, "what shape is right of the red square".split()).answer
    'circle'
    """
    own = list(words)
    start = own.index("but") + 1 if "but" in own else 0
    end = len(own) - 3 if own[-3:] == _END.split() else len(own)
    found = _read(list(things), own[start:end], side)
    if found is None:
        raise ValueError(f"words must be a question of this set, with one answer, got {' '.join(own)!r}")
    kind, answer, regions, beside, listen = found
    placed = tuple(start + place for place in listen)
    return Question(tuple(things), tuple(own), answer, kind, tuple(sorted(regions)), beside, placed)


def draw(things: Sequence[Thing], side: int = 4) -> Float[Tensor, "3 height width"]:
    """A scene in red, green and blue from 0 to 1, ``CELL`` pixels a cell, on light grey.

    >>> draw([Thing(0, "square", "red")]).shape
    torch.Size([3, 32, 32])
    """
    image = torch.full((3, CELL * side, CELL * side), _GROUND)
    for thing in things:
        row, column = (CELL * part for part in divmod(thing.cell, side))
        patch = image[:, row : row + CELL, column : column + CELL]
        cover, colour = _stamp(thing.shape, thing.size), torch.tensor(COLOURS[thing.colour])[:, None, None]
        patch.copy_(cover * colour + (1 - cover) * patch)
    return image


@cache
def _stamp(shape: str, size: float) -> Tensor:
    """How much of each pixel of a cell a shape covers; not to be changed."""
    fine = 8  # points along a pixel that are looked at
    at = (torch.arange(fine * CELL) / fine - (CELL - 1 / fine) / 2).expand(fine * CELL, -1)
    x, y = at.abs(), at.mT
    inside = {
        "circle": x.square() + y.square() <= size**2,
        "square": torch.maximum(x, y.abs()) <= 0.88 * size,
        "triangle": (y <= 0.85 * size) & (1.75 * x <= y + size),
        "cross": (torch.minimum(x, y.abs()) <= 0.33 * size) & (torch.maximum(x, y.abs()) <= size),
    }[shape]
    return inside.float().unflatten(0, (CELL, fine)).unflatten(-1, (CELL, fine)).mean((1, 3))  # type: ignore[no-any-return,no-untyped-call]


def _one(rng: random.Random, side: int, kinds: Sequence[str]) -> Question:
    """Draw until scene and question fit; the kind, and whether the answer is yes, are drawn once."""
    kind, wanted, colours = rng.choice(list(kinds)), rng.random() < 0.5, list(COLOURS)
    while True:
        cells = rng.sample(range(side**2), rng.randint(4, 7))
        things = [Thing(cell, rng.choice(SHAPES), rng.choice(colours), rng.choice(_SIZES)) for cell in sorted(cells)]
        found = _read(things, words := _asked(rng, kind), side)
        if found is None or (kind == "exists" and (found[1] == "yes") != wanted):
            continue
        if rng.random() < 1 / 3:
            aside = _ASIDE.format(colour=rng.choice(list(COLOURS)), shapes=_MANY[rng.choice(SHAPES)])
            words = [*aside.split(), *words]
        if rng.random() < 1 / 3:
            words = [*words, *_END.split()]
        return ask(things, words, side)


def _asked(rng: random.Random, kind: str) -> list[str]:
    """The words of a question, which may have no answer."""
    shape, colour = rng.choice(SHAPES), rng.choice(list(COLOURS))
    way, of = rng.choice(list(_SIDES)), rng.choice(("colour", "shape"))
    beside = f"{way} of" if way in ("left", "right") else way
    counted = rng.choice((_MANY[shape], f"{colour} things"))
    return {
        "colour": f"what colour is the {shape}",
        "shape": f"what shape is the {colour} thing",
        "side": f"what {of} is {beside} the {colour} {shape}",
        "count": f"how many {counted} are there",
        "exists": f"is there a {colour} {shape}",
    }[kind].split()


_Read = tuple[str, str, list[int], int | None, list[int]]


def _those(things: list[Thing], shape: str | None = None, colour: str | None = None) -> list[Thing]:
    return [each for each in things if shape in (None, each.shape) and colour in (None, each.colour)]


def _read(things: list[Thing], words: list[str], side: int) -> _Read | None:
    """Kind, answer, regions, what the question starts from, and what to listen to; None where it has no answer."""

    those = partial(_those, things)
    one = {many: shape for shape, many in _MANY.items()}
    match words:
        case ["what", "colour", "is", "the", shape] if shape in SHAPES:
            found = those(shape)
            return ("colour", found[0].colour, [found[0].cell], None, [1, 4]) if len(found) == 1 else None
        case ["what", "shape", "is", "the", colour, "thing"] if colour in COLOURS:
            found = those(colour=colour)
            return ("shape", found[0].shape, [found[0].cell], None, [1, 4]) if len(found) == 1 else None
        case ["how", "many", *counted, "are", "there"] if len(counted) in (1, 2):
            if len(counted) == 1 and counted[0] in one:
                found = those(one[counted[0]])
            elif counted[-1] == "things" and counted[0] in COLOURS:
                found = those(colour=counted[0])
            else:
                return None
            few = len(found) <= _MOST
            return ("count", str(len(found)), [each.cell for each in found], None, [1, 2]) if few else None
        case ["is", "there", "a", colour, shape] if colour in COLOURS and shape in SHAPES:
            found = those(shape, colour)
            return "exists", "yes" if found else "no", [each.cell for each in found], None, [3, 4]
        case ["what", "colour" | "shape" as of, "is", way, *rest] if way in _SIDES and rest[-3:-2] == ["the"]:
            if rest[:-3] != (["of"] if way in ("left", "right") else []):
                return None
            start, last = those(rest[-1], rest[-2]), len(words) - 1
            if len(start) != 1 or rest[-1] not in SHAPES or rest[-2] not in COLOURS:
                return None
            row, column = (a + b for a, b in zip(divmod(start[0].cell, side), _SIDES[way], strict=True))
            there = [each for each in things if divmod(each.cell, side) == (row, column)]
            if not there:
                return None
            answer = there[0].colour if of == "colour" else there[0].shape
            return "side", answer, [there[0].cell], start[0].cell, [1, 3, last - 1, last]
    return None
