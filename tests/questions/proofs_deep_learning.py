"""What the questions of section 2 ask, computed: a function a question, named by its label.

Each gives the right answer and, where a hint speaks of a mistake, what that mistake gives, by the wrong answer's text.
`test_questions.py` says what an answer is for each kind.
"""

import json
import math
from graphlib import TopologicalSorter

import torch

from attnlib import attend, masks, scores
from attnlib.alignment import alignment_error_rate
from attnlib.data.spelling import carriers
from attnlib.distributions import entmax, sigmoid, softmax, sparsemax
from attnlib.recurrent.gated_unit import GatedUnit
from attnlib.recurrent.rnnsearch import RNNsearch
from attnlib.widgets.recurrent.own_word import say
from book._tools import toc

LN2 = math.log(2)
RESULTS = toc.ROOT / "book" / "experiments" / "results"
SPOKEN = RESULTS / "letters_to_sounds"


def numbers(*shapes):
    """Random tensors in float64."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in shapes]


# --- keys, queries and values -----------------------------------------------------------------------------------------


def kqv_q_weight():
    energies = LN2 * torch.tensor([3.0, 1.0, 1.0, 0.0], dtype=torch.float64)
    wrong = {"2/3": softmax(energies[:3])[0], "3/5": (energies / energies.sum())[0]}
    return softmax(energies)[0], wrong | {"1/4": softmax(energies, temperature=1e12)[0]}


def kqv_q_gradient():
    weights = torch.tensor([0.3, 0.2, 0.5], dtype=torch.float64)
    value = torch.tensor([1.0, 3.0, 0.0], dtype=torch.float64)
    energies = weights.log().requires_grad_()
    (slope,) = torch.autograd.grad(softmax(energies) @ value, energies)
    assert [round(each, 2) for each in slope.tolist()] == [0.03, 0.42, -0.45]
    farther = (value - weights @ value).abs().argsort(descending=True).tolist()
    by_weight, by_value = (each.argsort(descending=True).tolist() for each in (weights, value))
    order = slope.abs().argsort(descending=True).tolist()
    return order, {"c a b": by_weight, "b c a": farther, "b a c": by_value}


def kqv_q_work():
    def both(m, n, d_k, d_v):
        """Counted in two products of loops."""
        energies = sum(1 for _ in range(m) for _ in range(n) for _ in range(d_k))
        return energies, sum(1 for _ in range(m) for _ in range(d_v) for _ in range(n))

    return lambda **sizes: sum(both(**sizes)), {
        "m n d_k": lambda **sizes: both(**sizes)[0],
        "m n d_v": lambda **sizes: both(**sizes)[1],
    }


def kqv_q_mask():
    key = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    query = LN2 * torch.tensor([[2.0, 1.0], [2.0, 1.0], [0.0, 0.0]])
    mask = masks.key_mask(torch.tensor([2]), n_key=3)
    weights = attend(query, key, score=scores.dot, mask=mask[0]).weights
    weights[1] = attend(query, key, score=scores.dot).weights[1] * mask[0]
    shown = [[f"{weight:.2f}" for weight in row] for row in weights.tolist()]
    assert shown == [["0.67", "0.33", "0.00"], ["0.57", "0.29", "0.00"], ["0.50", "0.50", "0.00"]]
    assert round(weights[1].sum().item(), 2) == 0.86
    late = weights.sum(-1, keepdim=True) < 0.99
    return late & ~mask[0], {}


# --- scores -----------------------------------------------------------------------------------------------------------


def scores_q_ratio():
    def most(sharpness):
        query, key = torch.tensor([[1.0, 0.0]]), torch.tensor([[3.0, 0.0], [-2.0, 0.0]])
        weights = softmax(sharpness * scores.similarity(query.double(), key.double()))[0]
        return weights[0] / weights[1]

    return most(2.0), {"e^2": most(1.0)}


def scores_q_size():
    covariance = torch.eye(256)
    variance = torch.trace(covariance @ covariance)
    return variance.sqrt(), {"256": variance, "1/16": torch.tensor(1 / math.sqrt(256))}


def scores_q_bias():
    query, key, w_q, w_k, b_q, b_k, out = numbers((5, 3), (7, 3), (4, 3), (4, 3), (4,), (4,), (5, 7))
    for bias in (b_q, b_k):
        bias.requires_grad_()
    weights = softmax((query @ w_q.mT + b_q) @ (key @ w_k.mT + b_k).mT)
    still = [grad.abs().max() < 1e-12 for grad in torch.autograd.grad((weights * out).sum(), (b_q, b_k))]
    return [still == [True, False], still == [False, True], not any(still), all(still)], {}


def scores_q_held():
    def held(d_q, d_k, d_h):
        pair = [torch.nn.Linear(size, d_h, bias=False) for size in (d_q, d_k)]
        return sum(matrix.weight.numel() for matrix in pair)

    return held, {"d_q d_k": lambda d_q, d_k, d_h: scores.General(d_q, d_k).weight.numel()}


# --- distributions ----------------------------------------------------------------------------------------------------


def distributions_q_leak():
    def leak(gap):
        return 1 - softmax(torch.tensor([gap] + [0.0] * 9, dtype=torch.float64))[0]

    return leak(math.log(3)), {"1/4": 1 - leak(math.log(3)), "9/10": leak(0.0)}


def distributions_q_sparse():
    energies = torch.tensor([1.2, 0.8, -0.5], dtype=torch.float64)
    all_three = energies - (energies.sum() - 1) / 3
    assert all_three[2] < 0
    shares = energies / energies[:2].sum()
    return sparsemax(energies)[0], {"0.54": softmax(energies)[0], "31/30": all_three[0], "0.6": shares[0]}


def distributions_q_gap():
    def takes_all(distribution, gap):
        return distribution(torch.tensor([gap, 0.0, 0.0], dtype=torch.float64))[1] == 0

    def least(distribution):
        """The smallest gap, by a twentieth, at which the others get nothing."""
        return next((gap for gap in (0.05 * step for step in range(1, 201)) if takes_all(distribution, gap)), math.inf)

    functions = [softmax, lambda e: entmax(e, alpha=3.0), sparsemax, lambda e: entmax(e, alpha=1.5)]
    gaps = [least(each) for each in functions]
    assert gaps[0] == math.inf
    assert max(abs(gap - wanted) for gap, wanted in zip(gaps[1:], (0.5, 1.0, 2.0), strict=True)) < 0.06
    return sorted(range(4), key=gaps.__getitem__), {}


def distributions_q_shift():
    (energies,) = numbers((7,))
    moved = [(each(energies + 5) - each(energies)).abs().max() > 1e-6 for each in (softmax, sparsemax, sigmoid)]
    return [*(bool(each) for each in moved), not any(moved)], {}


# --- RNNsearch --------------------------------------------------------------------------------------------------------


def rnnsearch_q_step():
    context, state, energies, weights = range(4)
    needs = {weights: {energies}, context: {weights}, state: {context}, energies: set()}  # Eq. 2 to 5
    return list(TopologicalSorter(needs).static_order()), {}


def rnnsearch_q_late():
    torch.manual_seed(0)
    model = RNNsearch(7, 9, embedding=3, hidden=4, alignment=5, maxout=2).double().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    source, visible = torch.tensor([[4, 6, 2, 3]]), torch.ones(1, 4, dtype=torch.bool)
    target = torch.tensor([[1, 3, 5, 4, 6, 3, 2, 7, 8]])
    other = target.clone()
    other[0, 5] = 7  # the fifth word: before the first stands the mark of beginning
    one, two = (model(source, visible, each).weights[0] for each in (target, other))
    moved = (one - two).abs().amax(-1) > 1e-9
    return moved.nonzero()[0].double() + 1, {}


def rnnsearch_q_gate():
    unit = GatedUnit(1, 1).double()
    for parameter in unit.parameters():
        torch.nn.init.zeros_(parameter)
    unit.input.bias.data = torch.tensor([math.log(3), 0.0, -30.0], dtype=torch.float64)  # z = 3/4, a proposal of -1
    state = torch.ones(1, 1, dtype=torch.float64)
    turned = 0.75 * state - 0.25
    return unit(unit.read(torch.zeros(1, 1, dtype=torch.float64)), state).detach(), {"1/2": turned}


# --- letters to sounds ------------------------------------------------------------------------------------------------


def letters_to_sounds_q_chance():
    def without(sounds):
        right = 1.0
        for _ in range(sounds):
            right *= 1 - 0.1
        return right

    return without(12), {"0.9": without(1), "1/10": 1 - without(1), "1-0.9^12": 1 - without(12)}


def letters_to_sounds_q_order():
    found = json.loads((SPOKEN / "metrics.json").read_text("utf-8"))
    arms = {arm: [run["test"] for run in found["runs"][arm]] for arm in ("RNNencdec", "RNNsearch")}
    tests = [arms["RNNencdec"], [found["g2p-en"]["test"]], arms["RNNsearch"]]

    def ranked(measure):
        means = [sum(test["15 and more"][measure] for test in each) / len(each) for each in tests]
        return sorted(range(len(tests)), key=means.__getitem__)

    assert ranked("exact")[::-1] == [1, 2, 0]  # by whole words, of which a hint speaks
    return ranked("error"), {}


def letters_to_sounds_q_cell():
    found = say("RNNsearch", "plum")
    weights = found.weights[:-1]
    shown = ["0.70 0.24 0.05 0.01", "0.09 0.39 0.49 0.02", "0.01 0.04 0.93 0.02", "0.00 0.00 0.02 0.98"]
    assert [" ".join(f"{weight:.2f}" for weight in row) for row in weights.tolist()] == shown
    assert found.sounds == ["P", "L", "AH", "M"]
    assert carriers("plum", found.sounds) == [{i} for i in range(4)]
    largest = torch.nn.functional.one_hot(weights.argmax(-1), 4).bool()
    return largest & ~torch.eye(4, dtype=torch.bool), {}


# --- ablation and maps ------------------------------------------------------------------------------------------------


SAID = torch.tensor([0.2, 0.4, 3.0, -3.0], dtype=torch.float64)
WEIGHED = torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=torch.float64)


def ablation_q_erase():
    def needed(order):
        """How many words go in this order until the sign of what is left turns."""
        left = WEIGHED * SAID
        for count, word in enumerate(order.tolist(), 1):
            left[word] = 0
            if left.sum() < 0:
                return torch.tensor(float(count))
        raise AssertionError

    by_product = (WEIGHED * SAID).argsort(descending=True)
    return needed(WEIGHED.argsort(descending=True)), {"1": needed(by_product)}


def ablation_q_other():
    context = WEIGHED @ SAID
    rows = torch.stack([SAID[2:], torch.ones(2, dtype=torch.float64)])
    third, fourth = torch.linalg.solve(rows, torch.stack([context, torch.ones((), dtype=torch.float64)]))
    return third, {"0.2": WEIGHED[2], "5/12": fourth, "1/2": context}


# --- RNNsearch on text ------------------------------------------------------------------------------------------------


def rnnsearch_text_q_error():
    theirs, ours = {(0, 0), (1, 1), (2, 2), (3, 3)}, {(0, 0), (1, 1), (2, 2), (3, 4), (4, 4)}
    found = alignment_error_rate(ours, theirs)
    precision, recall = found.precision, found.recall
    wrong = {"2/3": 2 / (1 / precision + 1 / recall), "2/5": 1 - precision, "1/4": 1 - recall}
    return found.error, wrong | {"13/40": 1 - (precision + recall) / 2}


def rnnsearch_text_q_kept():
    def kept(within, beyond):
        return (25 - beyond) / (30 - within)

    return kept(20, 22), {"5/6": kept(0, 0), "1/2": kept(20, 20), "7/10": 1 - kept(20, 22)}


def rnnsearch_text_q_order():
    def stored(name):
        return json.loads((RESULTS / name / "metrics.json").read_text("utf-8"))

    runs, verses = stored("rnnsearch"), stored("rnnsearch_verses")
    made, right = (sum(column) for column in zip(*verses["links"]["IBM Model 1, to 25"], strict=True))
    luong = [run["test"]["all"]["error"] for run in stored("rnnsearch_longer")["arms"]["LuongOrder-25"]]
    printed = [runs["runs"][f"RNNsearch-25-{seed}"]["test"]["all"]["error"] for seed in runs["seeds"]]
    errors = [
        sum(printed) / len(printed),
        runs["baselines"]["25"]["uniform"]["all"]["error"],
        1 - 2 * right / (made + sum(verses["linked by people"])),
        sum(luong) / len(luong),
    ]
    assert min(printed) - max(luong) > 0.1
    return sorted(range(4), key=errors.__getitem__), {}
