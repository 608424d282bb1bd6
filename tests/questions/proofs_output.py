"""What the questions of section 3.4 ask, computed: a function a question, named by its label; see
`proofs_deep_learning.py`.
"""

import pytest
import torch

from attnlib import attend
from attnlib.explanation import divergence
from attnlib.output_representations.multidimensional import attend_features
from attnlib.output_representations.multihead import MultiHead, multihead
from attnlib.output_representations.structured_self import penalty

# --- multi-head -------------------------------------------------------------------------------------------------------


def multi_head_q_held():
    def held(d, H):
        """Counted in a layer of d H numbers, whose heads share them out: H squared times the sum."""
        return sum(each.numel() for each in MultiHead(d * H, heads=H, bias=False).parameters()) / H**2

    return held, {}


def multi_head_q_root():
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(3, 128, generator=generator, dtype=torch.float64)
    weights = multihead(vectors, vectors, vectors, heads=8).weights
    head = vectors[:, :16]
    ratio = (head @ head.mT)[0, 1] - (head @ head.mT)[0, 2]
    return ratio / (weights[0, 0, 1] / weights[0, 0, 2]).log(), {}


# --- multi-dimensional ------------------------------------------------------------------------------------------------


def multi_dimensional_q_feature():
    value = torch.tensor([[4.0, 0.0], [0.0, 8.0]], dtype=torch.float64)

    def context(*first):
        energies = torch.tensor([first, [1.0, 1.0]], dtype=torch.float64).log()
        return attend_features(energies[None], value).context[0]

    assert context(3.0, 1.0).tolist() == pytest.approx([3.0, 4.0])  # as by hand
    made = context(3.0, 3.0)
    return made[1], {"4": context(3.0, 1.0)[1], "3": made[0]}


def multi_dimensional_q_penalty():
    def of(*hops):
        return penalty(torch.tensor(hops, dtype=torch.float64))

    half, even = [0.5, 0.5, 0.0], [1 / 3] * 3
    one, other = [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]
    return of(half, half), {"10/9": of(even, even), "2": of(one, one), "0": of(one, other)}


# --- heads of real models ---------------------------------------------------------------------------------------------


def real_heads_q_apart():
    first, second = torch.tensor([[0.5, 0.5, 0.0], [0.5, 0.0, 0.5]], dtype=torch.float64)
    apart = divergence(first, second)
    nothing_shared = divergence(first.roll(1), torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64))
    summed = (first - second).abs().sum()
    return apart, {"ln(2)": nothing_shared, "ln(2)/4": apart / 2, "1/2": summed / 2, "0": divergence(first, first)}


def real_heads_q_length():
    def of_first(length):
        """The first token's share of the lengths, in a row whose other tokens bring vectors of length 1."""
        lengths = torch.tensor([0.6, 0.3, 0.1]) * torch.tensor([length, 1.0, 1.0])
        return (lengths / lengths.sum())[0].item(), lengths[0].item()

    share, length = of_first(1 / 3)
    return share, {"0.6": of_first(1)[0], "0.2": length, "9/11": of_first(3)[0]}


def real_heads_q_even():
    tokens = torch.zeros(4, 3, dtype=torch.float64)
    first = attend(tokens, tokens, is_causal=True).weights[:, 0]
    unmasked = attend(tokens, tokens).weights[2, 0]
    return first[2:].mean(), {"1/4": unmasked, "1/3": first[2], "25/48": first.mean()}
