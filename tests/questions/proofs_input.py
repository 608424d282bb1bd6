"""What the questions of sections 3.2 and 3.3 ask, computed: a function a question, named by its label; see
`proofs_deep_learning.py`.
"""

import math
from graphlib import TopologicalSorter

import pytest
import torch

from attnlib import attend
from attnlib.input_features.channels import SqueezeExcitation, excite
from attnlib.input_features.retina import retina
from attnlib.input_features.sampling import bilinear, to_coordinate
from attnlib.input_representations.hierarchical import pool
from attnlib.input_representations.self_attention import self_attention

# --- item-wise --------------------------------------------------------------------------------------------------------


def item_wise_q_gate():
    def gates(*means):
        image = torch.tensor(means, dtype=torch.float64)[:, None, None].expand(2, 3, 5)
        expand = math.log(3) * torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
        reduce = torch.tensor([[1.0, -2.0]], dtype=torch.float64)
        return excite(image, reduce_weight=reduce, expand_weight=expand).weights

    first, second = gates(6.0, 2.0)
    return first, {"3/4": gates(3.0, 1.0)[0], "1/10": second}


def item_wise_q_held():
    def held(C, r):
        """Counted in a layer of r times as many channels, which r divides: it holds r squared times as many numbers."""
        return sum(each.numel() for each in SqueezeExcitation(r * C, ratio=r).parameters()) / r**2

    return held, {}


# --- self-attention ---------------------------------------------------------------------------------------------------


def attended(words, **options):
    """The example by hand: a is 0, b is 1, the energy of two b is log 2."""
    inputs = torch.tensor([[float(word == "b")] for word in words], dtype=torch.float64)
    one = torch.ones(1, 1, dtype=torch.float64)
    return self_attention(inputs, query_weight=math.log(2) * one, key_weight=one, value_weight=one, **options)


def self_q_context():
    context, weights, _ = attended("bbaa")
    wrong = {"1/2": context[2], "4/5": attended("abb").context[1], "1/3": weights[0, 0]}
    return context[0], wrong


def self_q_order():
    generator = torch.Generator().manual_seed(0)
    inputs, *matrices = (
        torch.randn(*shape, generator=generator).double() for shape in ((5, 3), (4, 3), (4, 3), (2, 3))
    )
    order = torch.tensor([3, 0, 4, 1, 2])
    names = ("query_weight", "key_weight", "value_weight")
    before, after = (
        self_attention(each, **dict(zip(names, matrices, strict=True))).context for each in (inputs, inputs[order])
    )
    stay, move = torch.allclose(after, before), torch.allclose(after, before[order])
    return [stay, move, not (stay or move), bool((after - after[0]).abs().max() < 1e-9)], {}


def self_q_future():
    free, causal = attended("bab").weights, attended("bab", is_causal=True).weights
    shown = causal.clone()
    shown[1] = free[1]
    wanted = [["1.00", "0.00", "0.00"], ["0.33", "0.33", "0.33"], ["0.40", "0.20", "0.40"]]
    assert [[f"{weight:.2f}" for weight in row] for row in shown.tolist()] == wanted
    assert [f"{weight:.1f}" for weight in causal[1].tolist()] == ["0.5", "0.5", "0.0"]
    return (shown > 0) & (causal == 0), {}


# --- glimpses ---------------------------------------------------------------------------------------------------------


def glimpses_q_retina():
    row = torch.tensor([0.0, 0, 0, 0, 2, 6, 4, 0], dtype=torch.float64)
    image = row.expand(1, 8, 8)  # each line is the row

    def seen(centre):
        """The sharp patch and the wide one, each with its two cells."""
        location = torch.tensor([2 * centre / 8 - 1, 0.0], dtype=torch.float64)
        return retina(image, location, size=2, scales=2)[:, 0, 0]

    assert seen(4.5).tolist() == [[1.0, 4.0], [0.5, 4.5]]  # as by hand
    (_, sharp), (first, second) = seen(5.0)
    return second, {"4": seen(4.0)[1, 1], "6": sharp, "10": 2 * second, "1": first}


def glimpses_q_slope():
    def told(place, reward, baseline=0.6):
        mean = torch.zeros((), dtype=torch.float64, requires_grad=True)
        chance = torch.distributions.Normal(mean, 0.5).log_prob(torch.tensor(place, dtype=torch.float64))
        return (reward - baseline) * torch.autograd.grad(chance, mean)[0]

    assert told(-0.25, 0.0).item() == pytest.approx(0.6)  # as by hand
    return told(0.5, 1.0), {"2": told(0.5, 1.0, 0.0), "-1.2": told(0.5, 0.0)}


# --- spatial transformer ----------------------------------------------------------------------------------------------


def between(x, y):
    """The image by hand at a place in pixels, with its slopes."""
    image = torch.tensor([[[0.0, 0, 0], [0, 4, 8], [0, 12, 0]]], dtype=torch.float64)
    place = torch.tensor([x, y], dtype=torch.float64, requires_grad=True)
    made = bilinear(image, to_coordinate(place, 3).view(1, 1, 2)).squeeze()
    return made.detach(), torch.autograd.grad(made, place)[0]


def spatial_transformer_q_sample():
    return between(1.75, 1.5)[0], {"7": between(1.25, 1.5)[0], "6": between(1.5, 1.5)[0], "4": between(2.0, 1.5)[0]}


def spatial_transformer_q_slope():
    right, down = between(1.25, 1.5)[1]
    return down, {"-4": right, "9": between(1.25, 2.0)[0]}


# --- hierarchical -----------------------------------------------------------------------------------------------------


def read(loud, padding=0, sentences=(1.0, 3.0)):
    """The two sentences by hand: the exponential of A's first energy, words of padding in B, what sentences weigh."""
    weight = torch.tensor([[0.0, 1.0]], dtype=torch.float64)  # the score reads the second number, the energy's arctanh

    def pooled(values, energies):
        arguments = torch.tensor(energies, dtype=torch.float64) / 10
        items = torch.stack([torch.tensor(values, dtype=torch.float64), arguments.atanh()], -1)
        return pool(torch.full((1, 1), 10.0, dtype=torch.float64), items, items[:, :1], weight=weight).context.item()

    first = pooled([4.0, 0.0], [math.log(loud), 0.0])
    second = pooled([-1.0] + [0.0] * padding, [0.0] * (1 + padding))
    return first, pooled([first, second], [math.log(each) for each in sentences])


def hierarchical_q_context():
    first, document = read(7.0)
    return document, {"0": read(3.0)[1], "3.5": first, "1.25": read(7.0, sentences=(1.0, 1.0))[1]}


def hierarchical_q_padding():
    return read(3.0, padding=3)[1], {"0": read(3.0)[1], "3/8": read(3.0, padding=1)[1]}


# --- coarse and fine --------------------------------------------------------------------------------------------------


def affinities(*column):
    """The matrix by hand with other numbers, whose logarithms are added to its first column."""
    energies = torch.tensor([[1.0, 2.0], [4.0, 1.0], [1.0, 1.0]], dtype=torch.float64).log()
    energies[:, 0] += math.log(*column)
    return energies


def coarse_and_fine_q_loud():
    loud, before = (affinities(factor) for factor in (4.0, 1.0))
    wrong = {"2/7": before.amax(1).softmax(0)[0], "3/14": loud.logsumexp(1).softmax(0)[0]}
    return loud.amax(1).softmax(0)[0], wrong


def coarse_and_fine_q_back():
    loud, before = (affinities(factor).softmax(1)[1] for factor in (4.0, 1.0))
    return loud[0], {"4/5": before[0], "1/17": loud[1], "8/9": affinities(2.0).softmax(1)[1, 0]}


# --- attention via attention ------------------------------------------------------------------------------------------


def steered(*weights):
    """The words' context and the letters' weights, by hand."""
    words = torch.tensor([[8.0], [2.0]], dtype=torch.float64)
    energies = torch.tensor([weights], dtype=torch.float64).log()
    context = attend(energies, words, score=lambda query, key: query).context
    letters = torch.arange(3, dtype=torch.float64)[:, None]
    found = attend(context, letters, score=lambda query, key: query @ key.mT / 5 * math.log(2))
    return context[0, 0], found.weights[0]


def via_q_context():
    return steered(0.25, 0.75)[0], {"5": steered(0.5, 0.5)[0], "6.5": steered(0.75, 0.25)[0]}


def via_q_letter():
    return steered(0.0, 1.0)[1][2], {"4/7": steered(0.5, 0.5)[1][2], "0.695": steered(1.0, 0.0)[1][2]}


# --- co-attention -----------------------------------------------------------------------------------------------------


def co_attention_q_turns():
    image, alone, again = range(3)
    return list(TopologicalSorter({image: {alone}, again: {image}, alone: set()}).static_order()), {}  # J2


def co_attention_q_largest():
    affinity = torch.tensor([[0.2, 0.6, 0.1], [0.7, 0.5, -0.4], [-0.1, 0.3, 0.9]])
    largest = affinity == affinity.amax(0)
    return largest & (torch.arange(3) == 1), {}
