"""Where each mechanism stands: the article's Table 2 as data, and two surveys' taxonomies beside it.

Four criteria, each with its types (``CRITERIA``); the works placed in them (``WORKS``); and how other surveys cut the
same field (``SURVEYS``). The figure, the table and the widget read from here, so a placement is written once. Where a
chapter of the book stands is said by its own card.

A work has a type when one of its variants or layers has it, so it may have several of one criterion. Three rules decide
where the papers do not: ``global`` and ``local`` are said of a weighted sum, so a work that draws, or that only weighs
its items and sums nothing, has neither; what no other input asks is ``self``, be the query learned, a state that has
seen the input alone, or absent; and ``hierarchical`` stands beside one of the other three, since a level has queries of
its own.
"""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

__all__ = [
    "CRITERIA",
    "SURVEYS",
    "WORKS",
    "Criterion",
    "Placed",
    "Survey",
    "Type",
    "Work",
    "cells",
    "criterion",
    "select",
    "unmatched",
]


class Type(NamedTuple):
    """One category of a criterion, and what it says in one line."""

    name: str
    meaning: str


class Criterion(NamedTuple):
    """One question that the taxonomy asks of a mechanism, and the answers that it knows."""

    name: str
    title: str
    short: str
    question: str
    types: tuple[Type, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the types."""
        return tuple(kind.name for kind in self.types)


CRITERIA = (
    Criterion(
        "softness",
        "Softness of attention",
        "Softness",
        "An average or a choice, and among which items?",
        (
            Type("soft", "every candidate counts by its weight, and the result has a gradient"),
            Type("hard", "one or a few are drawn or picked, and the rest does not count"),
            Type("global", "the weighted sum runs over all items"),
            Type("local", "the weighted sum runs over a window"),
        ),
    ),
    Criterion(
        "input_form",
        "Forms of input feature",
        "Input form",
        "What is there to weigh or to choose?",
        (
            Type("item-wise", "a list of items, with one code per item"),
            Type("location-wise", "places or regions of one map, which is read where the choice falls"),
        ),
    ),
    Criterion(
        "input_representation",
        "Input representations",
        "Input source",
        "Where do queries and keys come from?",
        (
            Type("distinctive", "queries from one input, keys from another"),
            Type("self", "from one input; nothing else asks"),
            Type("co-attention", "two inputs, and each asks the other"),
            Type("hierarchical", "levels, such as words and sentences, with weights on each"),
        ),
    ),
    Criterion(
        "output_representation",
        "Output representations",
        "Output",
        "How many sets of weights make one output?",
        (
            Type("single-output", "one"),
            Type("multi-head", "several, each over projections of its own; the contexts are joined"),
            Type("multi-dimensional", "several over the same values as they are, or one per feature"),
        ),
    ),
)


def criterion(name: str) -> Criterion:
    """The criterion of this name.

    Raises:
        ValueError: there is none of this name; the message lists those there are.

    >>> criterion("input_form").names
    ('item-wise', 'location-wise')
    """
    for entry in CRITERIA:
        if entry.name == name:
            return entry
    raise ValueError(f"unknown criterion {name!r}; there are {', '.join(entry.name for entry in CRITERIA)}")


def _types(name: str, value: str | Iterable[str]) -> tuple[str, ...]:
    """One type or several of a criterion, checked, in the order of the table."""
    known = criterion(name)
    wanted = (value,) if isinstance(value, str) else tuple(value)
    for kind in wanted:
        if kind not in known.names:
            raise ValueError(f"unknown type {kind!r} of {name}; it has {', '.join(known.names)}")
    if len(set(wanted)) < len(wanted):
        raise ValueError(f"{name} names a type twice: {', '.join(wanted)}")
    return tuple(kind for kind in known.names if kind in wanted)


@dataclass(frozen=True, kw_only=True)
class Placed:
    """Something that has a place in the taxonomy: for each criterion, the types that it has.

    A type may be given by its name alone, several as a tuple; an empty tuple says that the criterion does not apply.

    Raises:
        ValueError: a type that its criterion does not have, or one given twice.
    """

    softness: str | tuple[str, ...] = ()
    input_form: str | tuple[str, ...] = ()
    input_representation: str | tuple[str, ...] = ()
    output_representation: str | tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for entry in CRITERIA:
            object.__setattr__(self, entry.name, _types(entry.name, getattr(self, entry.name)))

    def of(self, name: str) -> tuple[str, ...]:
        """The types in one criterion."""
        found: tuple[str, ...] = getattr(self, criterion(name).name)
        return found

    @property
    def types(self) -> tuple[str, ...]:
        """All types, in the order of the table."""
        return tuple(itertools.chain.from_iterable(self.of(entry.name) for entry in CRITERIA))


@dataclass(frozen=True, kw_only=True)
class Work(Placed):
    """A paper: its short name, authors, year, and key in the bibliography."""

    name: str
    authors: str
    year: int
    source: str
    note: str = ""


WORKS = (
    Work(
        name="RNNsearch",
        authors="Bahdanau, Cho & Bengio",
        year=2015,
        source="bahdanau2015",
        softness=("soft", "global"),
        input_form="item-wise",
        input_representation="distinctive",
        output_representation="single-output",
        note="Translates: the decoder's state asks, the source's words answer.",
    ),
    Work(
        name="Show, attend and tell",
        authors="Xu et al.",
        year=2015,
        source="xu2015",
        softness=("soft", "hard", "global"),
        input_form="item-wise",
        input_representation="distinctive",
        output_representation="single-output",
        note="Two variants of one captioner. The items are the cells of a grid over the image.",
    ),
    Work(
        name="Global and local attention",
        authors="Luong, Pham & Manning",
        year=2015,
        source="luong2015",
        softness=("soft", "global", "local"),
        input_form="item-wise",
        input_representation="distinctive",
        output_representation="single-output",
        note="Translates, once over all words and once over a window that moves. Local is soft too.",
    ),
    Work(
        name="RAM",
        authors="Mnih et al.",
        year=2014,
        source="mnih2014",
        softness="hard",
        input_form="location-wise",
        input_representation="self",
        output_representation="single-output",
        note="Reads an image in glimpses and draws the place of the next. Its state has seen nothing but the image.",
    ),
    Work(
        name="DRAM",
        authors="Ba, Mnih & Kavukcuoglu",
        year=2015,
        source="ba2015",
        softness="hard",
        input_form="location-wise",
        input_representation="self",
        output_representation="single-output",
        note="RAM for several objects in an image, one after the other. It starts from a coarse view of the whole.",
    ),
    Work(
        name="Spatial transformer",
        authors="Jaderberg et al.",
        year=2015,
        source="jaderberg2015",
        softness=("soft", "local"),
        input_form="location-wise",
        input_representation="self",
        output_representation="single-output",
        note="Warps a whole map: each output cell is an average over two by two cells about a predicted place.",
    ),
    Work(
        name="SENet",
        authors="Hu, Shen & Sun",
        year=2018,
        source="hu2018",
        softness="soft",
        input_form="item-wise",
        input_representation="self",
        output_representation="single-output",
        note="The items are channels. Each is multiplied by its weight, a sigmoid; no average is taken.",
    ),
    Work(
        name="Hierarchical co-attention",
        authors="Lu et al.",
        year=2016,
        source="lu2016",
        softness=("soft", "global"),
        input_form="item-wise",
        input_representation=("co-attention", "hierarchical"),
        output_representation="single-output",
        note="Image and question attend to each other at three levels: word, phrase, question.",
    ),
    Work(
        name="MGAN",
        authors="Fan, Feng & Zhao",
        year=2018,
        source="fan2018",
        softness=("soft", "global"),
        input_form="item-wise",
        input_representation="co-attention",
        output_representation="multi-dimensional",
        note="A sentence and a phrase in it weigh each other's words, each twice: by a mean, and word by word.",
    ),
    Work(
        name="IARNN",
        authors="Wang, Liu & Zhao",
        year=2016,
        source="wang2016",
        softness="soft",
        input_form="item-wise",
        input_representation="distinctive",
        output_representation="single-output",
        note="Called inner attention: the question weighs the answer's words before or inside the network; no average.",
    ),
    Work(
        name="HAN",
        authors="Yang et al.",
        year=2016,
        source="yang2016",
        softness=("soft", "global"),
        input_form="item-wise",
        input_representation=("self", "hierarchical"),
        output_representation="single-output",
        note="Weights over words make sentences, weights over sentences make the document.",
    ),
    Work(
        name="Attention-via-attention",
        authors="Zhao & Zhang",
        year=2018,
        source="zhao2018",
        softness=("soft", "global"),
        input_form="item-wise",
        input_representation=("distinctive", "hierarchical"),
        output_representation="single-output",
        note="Translates into characters and asks two levels: words, and all characters, told of the words or not.",
    ),
    Work(
        name="Two-level attention",
        authors="Xiao et al.",
        year=2015,
        source="xiao2015",
        softness="hard",
        input_form="location-wise",
        input_representation=("self", "hierarchical"),
        output_representation="single-output",
        note="Keeps the patches of an image that show the object, then looks for its parts.",
    ),
    Work(
        name="Transformer",
        authors="Vaswani et al.",
        year=2017,
        source="vaswani2017",
        softness=("soft", "global"),
        input_form="item-wise",
        input_representation=("distinctive", "self"),
        output_representation="multi-head",
        note="Self in encoder and decoder, distinctive between them.",
    ),
    Work(
        name="Structured self-attention",
        authors="Lin et al.",
        year=2017,
        source="lin2017",
        softness=("soft", "global"),
        input_form="item-wise",
        input_representation="self",
        output_representation="multi-dimensional",
        note="A matrix of r distributions over the n words.",
    ),
    Work(
        name="Multi-level self-attention",
        authors="Du et al.",
        year=2018,
        source="du2018",
        softness=("soft", "global"),
        input_form="item-wise",
        input_representation=("self", "hierarchical"),
        output_representation="multi-dimensional",
        note="The same matrix over words, and over sentences.",
    ),
    Work(
        name="DiSAN",
        authors="Shen et al.",
        year=2018,
        source="shen2018",
        softness=("soft", "global"),
        input_form="item-wise",
        input_representation="self",
        output_representation="multi-dimensional",
        note="One set of weights per feature. Words see those before or those after; the last layer, all.",
    ),
)


def select(entries: Iterable[Any] = WORKS, **criteria: str | Iterable[str]) -> tuple[Any, ...]:
    """The entries that have every type asked for.

    Args:
        entries: what to choose from; the works unless given.
        criteria: criterion to a type, or to several types, all of which an entry must have.

    Returns:
        Those that remain, in their order; all of them where nothing is asked.

    Raises:
        ValueError: an unknown criterion or type; the message names those there are.

    >>> [work.name for work in select(softness=("soft", "hard"))]
    ['Show, attend and tell']
    """
    wanted = {name: set(_types(name, value)) for name, value in criteria.items()}
    return tuple(entry for entry in entries if all(kinds <= set(entry.of(name)) for name, kinds in wanted.items()))


def cells(entry: Placed | None = None) -> tuple[tuple[str, ...], ...]:
    """The combinations of one type a criterion that an entry stands in; without an entry, all there are.

    An entry with two types of one criterion stands in two cells, and one without a type in a criterion in none.

    >>> len(cells())
    96
    >>> cells(WORKS[3])
    (('hard', 'location-wise', 'self', 'single-output'),)
    """
    return tuple(itertools.product(*(entry.of(one.name) if entry else one.names for one in CRITERIA)))


class Survey(NamedTuple):
    """Another taxonomy: its axes, the types of each, and our types that say the same (none: an empty tuple)."""

    name: str
    source: str
    axes: Mapping[str, Mapping[str, tuple[str, ...]]]


SURVEYS = (
    Survey(
        "Chaudhari et al.",
        "chaudhari2021",
        {
            "number of sequences": {
                "distinctive": ("distinctive",),
                "co-attention": ("co-attention",),
                "self": ("self",),
            },
            "number of abstraction levels": {"single-level": (), "multi-level": ("hierarchical",)},
            "number of positions": {"soft / global": ("soft", "global"), "hard": ("hard",), "local": ("local",)},
            "number of representations": {
                "multi-representational": (),
                "multi-dimensional": ("multi-dimensional",),
            },
        },
    ),
    Survey(
        "Brauwers & Frasincar",
        "brauwers2023",
        {
            "features: multiplicity": {
                "singular features": (),
                "coarse-grained co-attention": ("co-attention",),
                "fine-grained co-attention": ("co-attention",),
                "multi-grained co-attention": ("co-attention",),
                "rotatory": (),
            },
            "features: levels": {
                "single-level": (),
                "attention-via-attention": ("hierarchical",),
                "hierarchical": ("hierarchical",),
            },
            "features: representations": {"single-representational": (), "multi-representational": ()},
            "general: scoring": dict.fromkeys(
                (
                    "additive",
                    "multiplicative",
                    "scaled multiplicative",
                    "general",
                    "biased general",
                    "activated general",
                    "similarity",
                ),
                (),
            ),
            "general: alignment": {
                "global / soft": ("soft", "global"),
                "hard": ("hard",),
                "local": ("local",),
                "reinforced": ("soft", "hard"),
            },
            "general: dimensionality": {"single-dimensional": (), "multi-dimensional": ("multi-dimensional",)},
            "query: type": {"basic": ("distinctive",), "specialized": ("co-attention",), "self-attentive": ("self",)},
            "query: multiplicity": {
                "singular": ("single-output",),
                "multi-head": ("multi-head",),
                "multi-hop": (),
                "capsule-based": (),
            },
        },
    ),
)


def unmatched(survey: Survey) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Our types that a survey has no word for, and its types that we have no word for.

    >>> unmatched(SURVEYS[0])[0]
    ('item-wise', 'location-wise', 'single-output', 'multi-head')
    """
    matched = {ours for axis in survey.axes.values() for kinds in axis.values() for ours in kinds}
    ours = tuple(name for one in CRITERIA for name in one.names if name not in matched)
    theirs = tuple(name for axis in survey.axes.values() for name, kinds in axis.items() if not kinds)
    return ours, theirs
