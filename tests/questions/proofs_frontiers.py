"""What the questions of section 4 ask, computed: a function a question, named by its label; see
`proofs_deep_learning.py`.
"""

import itertools
import math

import torch

from attnlib.frontiers.adaptive import adaptive_span, ponder, span_shares
from attnlib.frontiers.delta_rule import delta_rule
from attnlib.frontiers.factors import factors
from attnlib.frontiers.linear import linear_attention
from attnlib.frontiers.memory import sharpened, write
from attnlib.frontiers.nonlocal_block import dot_product, gaussian
from attnlib.frontiers.similarity import auc

# --- kernels and linear attention -------------------------------------------------------------------------------------


def kernels_q_context():
    key = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]], dtype=torch.float64)
    value = torch.tensor([[0.0], [3.0], [6.0]], dtype=torch.float64)
    query = torch.zeros(1, 2, dtype=torch.float64)
    return linear_attention(query, key, value).context, {"3": value.mean()}


def kernels_q_length():
    def length(D, d):
        """Where the two meet, found by halving."""
        low, high = 1e-6, 1e6
        for _ in range(200):
            n = (low + high) / 2
            low, high = (n, high) if n * n * (D + d) < 2 * n * D * d else (low, n)
        return high

    return length, {}


def kernels_q_delta():
    def answer(strength, values):
        key = torch.tensor([[0.6, 0.8]], dtype=torch.float64).expand(len(values), 2)
        value = torch.tensor(values, dtype=torch.float64)[:, None]
        return delta_rule(key, key, value, strength=strength).context[-1]

    return answer(0.5, [5.0, 7.0]), {
        "7": answer(1.0, [5.0, 7.0]),
        "2.5": answer(0.5, [5.0]),
        "12": torch.tensor(5.0 + 7.0),
    }


# --- adaptive attention -----------------------------------------------------------------------------------------------


def adaptive_q_span():
    distance = torch.arange(4.0, dtype=torch.float64)
    shares = span_shares(distance, span=1.0, ramp=2.0)
    weights = shares / shares.sum()
    query, key = torch.ones(1, 1, dtype=torch.float64), torch.zeros(4, 1, dtype=torch.float64)
    asked = torch.cat([query] * 4)  # the last of four sees the others at these distances
    span = torch.tensor(1.0, dtype=torch.float64)
    assert torch.allclose(adaptive_span(asked, key, span=span, ramp=2.0, is_causal=True).weights[3].flip(0), weights)
    return weights[2], {"1/2": shares[2], "0": weights[3]}


def adaptive_q_halt():
    def cost(*chances):
        step = lambda state, n: (state, torch.full((1,), chances[n], dtype=torch.float64))  # noqa: E731
        return ponder(step, torch.ones(1, 1, dtype=torch.float64), max_steps=len(chances))

    made = cost(0.6, 0.3, 0.4)
    return made.cost, {"3": made.steps, "2.4": cost(0.6, 0.4).cost}


# --- non-local --------------------------------------------------------------------------------------------------------


def non_local_q_gaussian():
    key = torch.tensor([[0.0], [1.0], [1.0]], dtype=torch.float64)
    value = torch.tensor([[3.0], [6.0], [9.0]], dtype=torch.float64)
    one, two = (torch.full((1, 1), theta, dtype=torch.float64) for theta in (1.0, 2.0))
    wrong = {"6.6": gaussian(one, key, value, scale=math.log(2)).context, "10": dot_product(two, key, value).context}
    return gaussian(two, key, value, scale=math.log(2)).context, wrong


def non_local_q_pairs():
    def compared(T, H, W):
        places = list(itertools.product(range(T), range(H), range(W)))
        return sum(1 for _ in places for _ in places)

    def in_frames(T, H, W):
        places = list(itertools.product(range(T), range(H), range(W)))
        return sum(one[0] == other[0] for one in places for other in places)

    return compared, {"T (H W)^2": in_frames}


# --- memory -----------------------------------------------------------------------------------------------------------


def memory_q_sharpen():
    weights = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64)
    two, one = (sharpened(weights, torch.tensor(power, dtype=torch.float64)) for power in (2.0, 1.0))
    return two[0], {"0.36": weights[0] ** 2, "0.6": one[0], "0.522": (2 * weights).softmax(0)[0]}


def memory_q_write():
    def held(weight, erase=1.0):
        memory = torch.tensor([[4.0], [0.0]], dtype=torch.float64)
        weights = torch.tensor([[weight, 1 - weight]], dtype=torch.float64)
        told = {"erase": erase, "add": 10.0}
        return write(memory, weights, **{name: torch.tensor([[each]]).double() for name, each in told.items()})[0]

    return held(0.5), {"9": held(0.5, erase=0.0), "10": held(1.0)}


# --- query-key interaction --------------------------------------------------------------------------------------------


def interacting(query, keys, *terms):
    """The weights of one query in units of log 2, with u = 1."""
    q, k, u = (torch.tensor(each, dtype=torch.float64) for each in ([[query]], [[key] for key in keys], [1.0]))
    return factors(q, k, terms=terms, key_bias=u, scale=math.log(2)).weights[0]


def interaction_q_key():
    assert torch.equal(interacting(1.0, [0.0, 1.0, 3.0], 3), interacting(-1.0, [0.0, 1.0, 3.0], 3))  # in every row
    return interacting(1.0, [0.0, 1.0, 3.0], 3)[2], {"4/7": interacting(1.0, [0.0, 1.0, 2.0], 3)[2]}


def interaction_q_both():
    keys = [0.0, 1.0, 2.0]
    wrong = {"16/21": interacting(-2.0, keys, 1)[0], "1/7": interacting(-2.0, keys, 3)[0]}
    return interacting(-2.0, keys, 1, 3)[0], wrong | {"1/3": interacting(-1.0, keys, 1, 3)[0]}


# --- human attention --------------------------------------------------------------------------------------------------


def agreed(*scores):
    """The AUC against a person who selects the fourth and the fifth word."""
    selected = torch.tensor([False, False, False, True, True])
    return auc(selected, torch.tensor(scores, dtype=torch.float64))


def human_q_auc():
    made = agreed(0.1, 0.2, 0.1, 0.4, 0.2)
    return made, {"5/6": agreed(0.1, 0.2, 0.1, 0.4, 0.19), "1": agreed(0.1, 0.2, 0.1, 0.4, 0.21), "5.5": 6 * made}


def human_q_person():
    return agreed(0.0, 1.0, 0.0, 1.0, 1.0), {
        "1": agreed(0.0, 0.0, 0.0, 1.0, 1.0),
        "7/12": agreed(0.0, 1.0, 0.0, 0.0, 1.0),
    }
