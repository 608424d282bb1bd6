"""What the questions of sections 3.2 and 3.3 ask, computed: a function a question, named by its label; see
`proofs_deep_learning.py`.
"""

import math

import torch

from attnlib.input_features.channels import SqueezeExcitation, excite
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
