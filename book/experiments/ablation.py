"""Take attention out of a network, properly, and put the maps of a trained one to the test; on sentences about films.

    python book/experiments/ablation.py
    python book/experiments/ablation.py --smoke      a minute, to see that the losses fall; writes no results

A network reads a sentence (word vectors, a gated unit in both directions), makes one vector of the annotations, and
says whether people found it positive. Arms differ in how the vector is made. Attention has a layer ``W, b, u`` for its
energies; the others have the same three as a layer beside the answer, so that all arms but one, "mean, no more", have
the same number of parameters. Ten seeds stand side by side on the first axis, with the same start and the same batches
in every arm. Each arm is trained at each rate; each network is kept as it was when the loss on sentences that choose
was least, and the rate of an arm is chosen by these losses too.

Then, with the networks of the arm with attention: their weights permuted, replaced by others with the same answer,
erased; a second network that is trained to say the same with other weights; and a reader of single words that is given
weights. ``control``: made-up sentences in which it is known that attention helps, for the method itself.
What is done lies in ``runs/ablation``: a script that was killed goes on where it was.
"""

import argparse
import functools
import itertools
import json
import math
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnlib.data import reviews
from attnlib.data.vocabulary import Vocabulary
from attnlib.distributions import softmax
from attnlib.explanation import Adversary, adversarial, divergence, erased, permuted
from attnlib.training import descend

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from book._tools import provenance
from book._tools.kept import kept

HERE = Path(__file__).parent
RUNS, RESULTS = HERE / "runs" / "ablation", HERE / "results" / "ablation"
SETTING: dict[str, Any] = {
    "seeds": 10,
    "rates": [0.006, 0.018],
    "steps": 400,
    "every": 50,
    "batch": 32,
    "d": 24,
    "hidden": 12,
    "layer": 16,
    "dropout": 0.3,
    "longest": 24,
    "sure": 0.5,
    "least": 2,
    "tested": 1500,
    "choose by": 700,
    "orders": 100,
    "tolerance": 0.01,
    "lambdas": [0.001, 0.01, 0.1],
    "sharp": 6.0,
    "shown": {"longest": 9, "sentences": 8},
    "control": {
        "steps": [25, 50],
        "batch": 32,
        "rates": [0.006, 0.018, 0.03, 0.05, 0.1],
        "tested": 500,
        "length": 24,
    },
}
SMOKE = {"seeds": 2, "rates": [0.006], "steps": 60, "every": 20, "tested": 200, "choose by": 100, "lambdas": [0.01]}
ATTENTION, SHARP, BARE = "attention", "attention, sharp start", "mean, no more"
ARMS = (ATTENTION, SHARP, BARE, "mean", "last states", "maximum", "random weights")
GUIDES = (
    "even weights",
    "its own attention",
    "the ordinary start's weights",
    "the reader's weights",
    "the adversary's weights",
    "other weights with the same answer",
)


# --- networks, a seed each, side by side ------------------------------------------------------------------------------


class Read(NamedTuple):
    """What the networks make of sentences: energies, above 0 for positive, and where there are weights, these."""

    energy: Tensor  # (seed, sentence)
    weights: Tensor | None  # (seed, sentence, word)
    values: Tensor | None  # what each word says by itself: the energy is their mean by the weights


def drawn(g: torch.Generator, seeds: int, *shape: int, scale: float) -> nn.Parameter:
    return nn.Parameter(torch.empty(seeds, *shape).uniform_(-scale, scale, generator=g))


class Networks(nn.Module):
    """Readers side by side; every parameter has the seed first. ``is_plain``: no word is read with its neighbours."""

    def __init__(
        self, arm: str, words: int, setting: dict[str, Any], *, is_plain: bool = False, start: int = 0
    ) -> None:
        super().__init__()
        self.arm, self.is_plain, self.dropout = arm, is_plain, setting["dropout"]
        g = torch.Generator().manual_seed(start)
        s, d, n, layer = (setting[name] for name in ("seeds", "d", "hidden", "layer"))
        self.vectors = nn.Parameter(torch.randn(s, words, d, generator=g) * 0.3)
        if is_plain:
            self.token, self.token_bias = drawn(g, s, d, 2 * n, scale=d**-0.5), drawn(g, s, 1, 2 * n, scale=d**-0.5)
        else:
            self.input, self.input_bias = (
                drawn(g, s, 2, d, 3 * n, scale=n**-0.5),
                drawn(g, s, 2, 1, 3 * n, scale=n**-0.5),
            )
            self.gates, self.state = drawn(g, s, 2, n, 2 * n, scale=n**-0.5), drawn(g, s, 2, n, n, scale=n**-0.5)
        self.answer, self.answer_bias = drawn(g, s, 2 * n, scale=(2 * n) ** -0.5), drawn(g, s, scale=(2 * n) ** -0.5)
        if arm != BARE and arm != "given weights":
            self.weight, self.bias = drawn(g, s, 2 * n, layer, scale=(2 * n) ** -0.5), drawn(g, s, 1, layer, scale=0.1)
            self.vector = drawn(g, s, layer, scale=layer**-0.5)
        if arm == SHARP:
            self.vector.data.mul_(setting["sharp"])
            self.weight.data.mul_(2)
        self.chance = torch.randn(s, words, generator=g)  # an energy for each word of the vocabulary, which stays

    def annotations(self, words: Tensor, mask: Tensor) -> Tensor:
        """``(seed, sentence, word, 2n)`` of numbers ``(seed, sentence, word)``."""
        s, b, longest = words.shape
        shift = (torch.arange(s) * self.vectors.shape[1]).view(s, 1, 1)
        x = F.dropout(F.embedding(words + shift, self.vectors.flatten(0, 1)), self.dropout, self.training)
        if self.is_plain:
            return torch.tanh(x.flatten(1, 2) @ self.token + self.token_bias).view(s, b, longest, -1)
        turned = (mask.sum(-1, keepdim=True) - 1 - torch.arange(longest)).clamp(min=0)  # real words in reverse
        mirror = x.gather(2, turned.unsqueeze(-1).expand_as(x))
        read = (torch.stack([x, mirror], 1).flatten(2, 3) @ self.input + self.input_bias).view(s * 2, b, longest, -1)
        gates, inner = self.gates.flatten(0, 1), self.state.flatten(0, 1)
        n = inner.shape[-1]
        state, states = x.new_zeros(s * 2, b, n), []
        for added in read.unbind(2):
            update, reset = torch.sigmoid(torch.baddbmm(added[..., : 2 * n], state, gates)).chunk(2, -1)
            candidate = torch.tanh(torch.baddbmm(added[..., 2 * n :], reset * state, inner))
            state = torch.lerp(state, candidate, update)
            states.append(state)
        forth, back = torch.stack(states, 2).view(s, 2, b, longest, n).unbind(1)
        return torch.cat([forth, back.gather(2, turned.unsqueeze(-1).expand_as(back))], -1)

    def beside(self, rows: Tensor) -> Tensor:
        """The layer: an energy of each row ``(seed, ..., 2n)``."""
        flat = torch.tanh(rows.flatten(1, -2) @ self.weight + self.bias) @ self.vector.unsqueeze(-1)
        return flat.view(rows.shape[:-1])

    def forward(self, words: Tensor, mask: Tensor, given: Tensor | None = None) -> Read:
        h = self.annotations(words, mask)
        if self.arm == "last states":
            n = h.shape[-1] // 2
            end = (mask.sum(-1) - 1).view(*mask.shape[:2], 1, 1).expand(-1, -1, 1, n)
            return self.said(torch.cat([h[..., :n].gather(2, end).squeeze(2), h[..., 0, n:]], -1))
        if self.arm == "maximum":
            return self.said(h.masked_fill(~mask.unsqueeze(-1), -math.inf).amax(2))
        weights = self.weigh(words, mask, h) if given is None else given
        found = self.said((weights.unsqueeze(-2) @ h).squeeze(-2))
        values = torch.einsum("sbtn,sn->sbt", h, self.answer) + self.answer_bias.view(-1, 1, 1)
        return Read(found.energy, weights, torch.where(mask, values, 0.0))

    def weigh(self, words: Tensor, mask: Tensor, h: Tensor) -> Tensor:
        if self.arm in (ATTENTION, SHARP):
            return softmax(self.beside(h).masked_fill(~mask, -math.inf))
        if self.arm == "random weights":
            shift = (torch.arange(len(words)) * self.chance.shape[1]).view(-1, 1, 1)
            return softmax(self.chance.flatten()[words + shift].masked_fill(~mask, -math.inf))
        return mask / mask.sum(-1, keepdim=True)

    def said(self, context: Tensor) -> Read:
        """The answer; beside attention and the bare mean, with what the layer adds."""
        energy = torch.einsum("sbn,sn->sb", context, self.answer) + self.answer_bias.unsqueeze(-1)
        if self.arm not in (ATTENTION, SHARP, BARE, "given weights"):
            energy = energy + self.beside(context)
        return Read(energy, None, None)

    def count(self) -> int:
        """Parameters of one network."""
        return sum(parameter[0].numel() for parameter in self.parameters())


# --- sentences --------------------------------------------------------------------------------------------------------


class Part(NamedTuple):
    """Sentences in numbers ``(sentence, word)``, padded with 0; which words are real; which sentences are positive."""

    words: Tensor
    mask: Tensor
    sign: Tensor
    place: list[int]  # in the list of all sentences


class Data(NamedTuple):
    vocabulary: Vocabulary
    train: Part
    choose: Part
    test: Part


def sentences() -> list[reviews.Sentence]:
    """Those about films that are no longer than the longest, and on whose sign people agree to some degree."""
    found = [review.sentences[0] for review in reviews.films()]
    return [s for s in found if len(s.words) <= SETTING["longest"] and abs(s.rating) >= SETTING["sure"]]


def padded(rows: list[list[int]]) -> tuple[Tensor, Tensor]:
    longest = max(map(len, rows))
    words = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    return words, torch.tensor([[True] * len(row) + [False] * (longest - len(row)) for row in rows])


def data(setting: dict[str, Any]) -> Data:
    """One split for all arms and seeds; the vocabulary is that of what is trained with."""
    given = sentences()
    order = random.Random(0).sample(range(len(given)), len(given))
    ends = [setting["tested"], setting["tested"] + setting["choose by"]]
    places = order[ends[1] :], order[ends[0] : ends[1]], order[: ends[0]]
    vocabulary = Vocabulary.build([given[i].words for i in places[0]], least=setting["least"])

    def part(which: list[int]) -> Part:
        words, mask = padded([vocabulary.encode(given[i].words) for i in which])
        return Part(words, mask, torch.tensor([given[i].rating > 0 for i in which]), which)

    return Data(vocabulary, *map(part, places))


def made(n: int, length: int, seed: int) -> Part:
    """Words 9 to 28; the mark 4 before the one opinion, 5 to 8, that counts; up to four more that do not."""
    g = random.Random(seed)
    rows, signs = [], []
    for _ in range(n):
        row = [g.randrange(9, 29) for _ in range(length)]
        for place in g.sample(range(length), 4):
            row[place] = g.randrange(5, 9)
        at = g.randrange(length - 1)
        row[at : at + 2] = [4, g.randrange(5, 9)]
        rows.append(row)
        signs.append(row[at + 1] < 7)
    words, mask = padded(rows)
    return Part(words, mask, torch.tensor(signs), [])


# --- training ---------------------------------------------------------------------------------------------------------


def batches(n: int, setting: dict[str, Any]) -> Callable[[int], Tensor]:
    """Which sentences each seed sees at a step ``(seed, batch)``: all of them before one comes again, in each arm."""
    g = torch.Generator().manual_seed(1)
    count = n // setting["batch"]
    orders: list[Tensor] = []

    def draw(step: int) -> Tensor:
        while len(orders) <= step // count:
            orders.append(torch.rand(setting["seeds"], n, generator=g).argsort(-1))
        at = step % count * setting["batch"]
        chosen_ones: Tensor = orders[step // count][:, at : at + setting["batch"]]
        return chosen_ones

    return draw


def cut(part: Part, which: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Sentences by number ``(seed, batch)``, no longer than the longest of them."""
    mask = part.mask[which]
    longest = int(mask.sum(-1).max())
    return part.words[which][..., :longest], mask[..., :longest], part.sign[which].float()


@torch.no_grad()
def read(model: Networks, part: Part, given: Tensor | None = None) -> Read:
    """All sentences of a part, by all seeds."""
    was, seeds = model.training, len(model.answer)
    model.eval()
    found: list[list[Tensor]] = [[], [], []]
    for start in range(0, len(part.words), 250):
        words, mask = (x[start : start + 250].expand(seeds, -1, -1) for x in (part.words, part.mask))
        result = model(words, mask, None if given is None else given[:, start : start + 250])
        for kept_so_far, new in zip(found, result, strict=True):
            kept_so_far.append(new)
    model.train(was)
    return Read(*(torch.cat(each, 1) if each[0] is not None else None for each in found))


def loss_of(energy: Tensor, sign: Tensor) -> Tensor:
    """Cross-entropy ``(seed, ...)``."""
    return F.binary_cross_entropy_with_logits(energy, sign.expand_as(energy), reduction="none")


def train(
    model: Networks,
    loss: Callable[[int], Tensor],
    judge: Callable[[], Tensor],
    *,
    steps: int,
    every: int,
    rate: float,
) -> tuple[Tensor, Tensor]:
    """Down a loss ``(seed,)``; each network is left as it was when ``judge``, ``(seed,)``, was least, with when."""
    seeds = len(model.answer)
    best, when = torch.full((seeds,), math.inf), torch.zeros(seeds, dtype=torch.long)
    kept_state = {name: value.clone() for name, value in model.state_dict().items()}

    def look(step: int) -> None:
        if (step + 1) % every:
            return
        now = judge()
        better = now < best
        best[better], when[better] = now[better], step + 1
        for name, value in model.state_dict().items():
            kept_state[name][better] = value[better]

    torch.manual_seed(0)  # what drops out
    descend(model.parameters(), loss, steps=steps, rate=rate, clip=1.0, after=look)
    model.load_state_dict(kept_state)
    model.eval()
    return best, when


def trained(arm: str, rate: float, setting: dict[str, Any], given: Data) -> dict[str, Any]:
    """An arm at a rate: loss where it is chosen and energies where it is tested, of each seed; and its state."""
    model = Networks(arm, len(given.vocabulary), setting)
    draw = batches(len(given.train.sign), setting)

    def loss(step: int) -> Tensor:
        words, mask, sign = cut(given.train, draw(step))
        return loss_of(model(words, mask).energy, sign).mean(-1)

    def judge() -> Tensor:
        return loss_of(read(model, given.choose).energy, given.choose.sign.float()).mean(-1)

    best, when = train(model, loss, judge, rate=rate, **{name: setting[name] for name in ("steps", "every")})
    energy = read(model, given.test).energy
    return {"chosen by": best, "step": when, "energy": energy, "count": model.count(), "state": model.state_dict()}


def control(arm: str, rate: float, steps: int, setting: dict[str, Any]) -> dict[str, Tensor]:
    """Right answers ``(seed,)`` on made-up sentences, where it is chosen and where it is tested."""
    how = setting["control"]
    plain = {**setting, "dropout": 0.0}
    model = Networks(arm, 29, plain)
    fresh = made(steps * how["batch"], how["length"], 0)
    which = torch.arange(steps * how["batch"]).view(steps, 1, -1).expand(-1, setting["seeds"], -1)

    def loss(step: int) -> Tensor:
        words, mask, sign = cut(fresh, which[step])
        return loss_of(model(words, mask).energy, sign).mean(-1)

    torch.manual_seed(0)
    descend(model.parameters(), loss, steps=steps, rate=rate, clip=1.0)
    parts = {name: made(how["tested"], how["length"], seed) for name, seed in (("chosen by", 1), ("right", 2))}
    return {name: right(read(model, part).energy, part.sign).mean(-1) for name, part in parts.items()}


def by_counting(setting: dict[str, Any]) -> float:
    """Right answers on made-up sentences of one who counts opinions and does not see the mark; half for a draw."""
    part = made(setting["control"]["tested"], setting["control"]["length"], 2)
    good, bad = (((part.words == word) | (part.words == word + 1)).sum(-1) for word in (5, 7))
    return torch.where(good == bad, 0.5, ((good > bad) == part.sign).double()).mean().item()


def right(energy: Tensor, sign: Tensor) -> Tensor:
    return ((energy > 0) == sign).double()


# --- maps on trial ----------------------------------------------------------------------------------------------------


def network(arm: str, run: dict[str, Any], setting: dict[str, Any], given: Data, **options: Any) -> Networks:
    model = Networks(arm, len(given.vocabulary), setting, **options)
    model.load_state_dict(run["state"])
    return model.eval()


def order_of(a: Tensor, mask: Tensor) -> Tensor:
    """Ranks among what is visible, ties by their mean; hidden ones do not count."""
    less = (a.unsqueeze(-2) < a.unsqueeze(-1)) & mask.unsqueeze(-2)
    same = (a.unsqueeze(-2) == a.unsqueeze(-1)) & mask.unsqueeze(-2)
    return torch.where(mask, less.sum(-1) + 0.5 * (same.sum(-1) - 1), 0.0)


def correlation(a: Tensor, b: Tensor, mask: Tensor) -> Tensor:
    """Spearman's, of each row; NaN where one side is all alike."""
    count = mask.sum(-1, keepdim=True)
    x, y = (order_of(each, mask) for each in (a, b))
    x, y = (torch.where(mask, each - each.sum(-1, keepdim=True) / count, 0.0) for each in (x, y))
    return (x * y).sum(-1) / (x.square().sum(-1) * y.square().sum(-1)).sqrt()


@torch.no_grad()
def trial(model: Networks, setting: dict[str, Any], given: Data) -> dict[str, Tensor]:
    """Each number ``(seed, sentence)`` of the test: what becomes of the answer when the weights are others."""
    part = given.test
    found = read(model, part)
    weights, values = found.weights, found.values
    assert weights is not None
    assert values is not None
    mask = part.mask.expand_as(weights)
    answer = found.energy.sigmoid()
    result = {"answer": answer, "largest": weights.amax(-1)}
    even = mask / mask.sum(-1, keepdim=True)
    result["from even"] = divergence(weights, even, mask=mask)
    least = values.masked_fill(~mask, math.inf).amin(-1)
    most = values.masked_fill(~mask, -math.inf).amax(-1)
    result["one side"] = ((least > 0) | (most < 0)).float()  # whatever the weights, the decision is the same
    result["reach"] = most.sigmoid() - least.sigmoid()  # how far weights could move the answer at most
    result["even moves"] = ((even * values).sum(-1).sigmoid() - answer).abs()
    g = torch.Generator().manual_seed(2)
    moved = []
    for start in range(0, len(part.sign), 250):
        own, said, seen = (x[:, start : start + 250] for x in (weights, values, mask))
        drawn_weights = permuted(own.expand(setting["orders"], *own.shape), mask=seen, generator=g)
        moved.append(((drawn_weights * said).sum(-1).sigmoid() - answer[:, start : start + 250]).abs().median(0).values)
    result["permuted moves"] = torch.cat(moved, 1)
    other = exact(found, mask, setting["tolerance"])
    result["adversary"] = other.divergence
    result["adversary moves"] = ((other.weights * values).sum(-1).sigmoid() - answer).abs()
    pairs = [divergence(weights, weights.roll(shift, 0), mask=mask) for shift in range(1, len(weights))]
    result["among seeds"] = torch.stack(pairs).mean(0)
    side = torch.where(found.energy > 0, 1.0, -1.0).unsqueeze(-1)
    ranks = {
        "weight": weights,
        "gradient": side * values,
        "product": side * values * weights,
        "chance": torch.rand(weights.shape, generator=g),
    }
    for name, rank in ranks.items():
        left = (erased(weights, rank, mask=mask) * values.unsqueeze(-2)).sum(-1) * side
        gone = (left <= 0).int().argmax(-1)  # at the last step nothing is left, which counts as a flip
        result[f"flip by {name}"] = gone / mask.sum(-1)
    gone = deleted(model, part, answer)
    result["deleted"] = correlation(weights, gone, mask)
    result["deleted by product"] = correlation(weights * values.abs(), gone, mask)
    return result


def exact(found: Read, mask: Tensor, tolerance: float) -> Adversary:
    """For each sentence the farthest weights whose answer is no more than the tolerance away."""
    assert found.weights is not None
    assert found.values is not None
    answer = found.energy.sigmoid()
    low, high = ((answer + side).clamp(1e-6, 1 - 1e-6).logit() for side in (-tolerance, tolerance))
    parts = []
    for start in range(0, answer.shape[1], 250):
        rows = slice(start, start + 250)
        given = (x[:, rows] for x in (found.weights, found.values, low, high))
        parts.append(adversarial(*given, mask=mask[:, rows]))
    return Adversary(*(torch.cat(each, 1) for each in zip(*parts, strict=True)))


def deleted(model: Networks, part: Part, answer: Tensor) -> Tensor:
    """How far the answer moves when a word is taken out of the text, ``(seed, sentence, word)``."""
    n = part.words.shape[1]
    moved = torch.zeros(*answer.shape, n)
    for place in range(n):
        keep = [i for i in range(n) if i != place]
        mask = torch.arange(n - 1) < (part.mask.sum(-1, keepdim=True) - 1).clamp(min=1)
        there = read(model, Part(part.words[:, keep], mask, part.sign, []))
        moved[..., place] = (there.energy.sigmoid() - answer).abs()
    return torch.where(part.mask, moved, 0.0)


def whole_adversary(weight: float, rate: float, setting: dict[str, Any], given: Data, base: Networks) -> dict[str, Any]:
    """Networks that are trained to say what the others say with other weights: TVD − weight · KL, from a new start."""
    model = Networks(SHARP, len(given.vocabulary), setting, start=1)
    draw = batches(len(given.train.sign), setting)
    aims = {name: read(base, getattr(given, name)) for name in ("train", "choose", "test")}
    seeds = torch.arange(setting["seeds"]).unsqueeze(-1)

    def far(found: Read, aim: Read) -> tuple[Tensor, Tensor]:
        """Total variation of the answers, and Kullback-Leibler from the base's weights to these, of each sentence."""
        assert found.weights is not None
        assert aim.weights is not None
        p = aim.weights[..., : found.weights.shape[-1]]
        kl = (found.weights * ((found.weights + 1e-12) / (p + 1e-12)).log()).sum(-1)
        return (found.energy.sigmoid() - aim.energy.sigmoid()).abs(), kl

    def loss(step: int) -> Tensor:
        which = draw(step)
        words, mask, _ = cut(given.train, which)
        energy, weights, _ = aims["train"]
        assert weights is not None
        aim = Read(energy[seeds, which], weights[seeds, which], None)
        variation, kl = far(model(words, mask), aim)
        return (variation - weight * kl).mean(-1)

    def judge() -> Tensor:
        variation, kl = far(read(model, given.choose), aims["choose"])
        return (variation - weight * kl).mean(-1)

    _, when = train(model, loss, judge, rate=rate, **{name: setting[name] for name in ("steps", "every")})
    found, aim = read(model, given.test), aims["test"]
    assert found.weights is not None
    assert aim.weights is not None
    return {
        "step": when,
        "moved": far(found, aim)[0].mean(-1),
        "divergence": divergence(found.weights, aim.weights).mean(-1),
        "right": right(found.energy, given.test.sign).mean(-1),
        "same decision": ((found.energy > 0) == (aim.energy > 0)).double().mean(-1),
        "state": model.state_dict(),
    }


def guided(
    guide: str, rate: float, setting: dict[str, Any], given: Data, others: dict[str, Networks]
) -> dict[str, Any]:
    """A reader of single words with weights from elsewhere: loss where it is chosen, energies where it is tested."""
    arm = {"its own attention": ATTENTION, "even weights": BARE}.get(guide, "given weights")
    model = Networks(arm, len(given.vocabulary), setting, is_plain=True)
    draw = batches(len(given.train.sign), setting)
    parts = {name: getattr(given, name) for name in ("train", "choose", "test")}
    fixed = {name: weights_of(guide, part, setting, others) for name, part in parts.items()}
    seeds = torch.arange(setting["seeds"]).unsqueeze(-1)

    def loss(step: int) -> Tensor:
        which = draw(step)
        words, mask, sign = cut(given.train, which)
        known = fixed["train"]
        weights = None if known is None else known[seeds, which][..., : words.shape[-1]]
        return loss_of(model(words, mask, weights).energy, sign).mean(-1)

    def judge() -> Tensor:
        return loss_of(read(model, given.choose, fixed["choose"]).energy, given.choose.sign.float()).mean(-1)

    best, when = train(model, loss, judge, rate=rate, **{name: setting[name] for name in ("steps", "every")})
    return {"chosen by": best, "step": when, "energy": read(model, given.test, fixed["test"]).energy}


def weights_of(guide: str, part: Part, setting: dict[str, Any], others: dict[str, Networks]) -> Tensor | None:
    """The weights that a guide gives to sentences; None where the reader has its own."""
    if guide in others:
        return read(others[guide], part).weights
    if guide != GUIDES[-1]:
        return None
    found = read(others["the reader's weights"], part)
    assert found.weights is not None
    return exact(found, part.mask.expand_as(found.weights), setting["tolerance"]).weights


def summed(tried: dict[str, Tensor], length: Tensor) -> dict[str, Any]:
    """Means over the sentences, of each seed; how often nothing flips before all is gone; and by the largest weight."""
    can = tried["one side"] == 0
    found: dict[str, Any] = {name: rounded(value.nanmean(-1), 5) for name, value in tried.items()}
    for name, value in tried.items():
        if name.startswith("flip by"):
            found[name.replace("flip", "no flip")] = rounded((value == 1).double().mean(-1))
            found[name.replace("flip", "possible flip")] = rounded((value * can).sum(-1) / can.sum(-1), 5)
    found |= shares(tried["adversary"])
    others = [tried["answer"].roll(shift, 0) for shift in range(1, len(tried["answer"]))]
    found["answer among seeds"] = rounded(torch.stack([(tried["answer"] - y).abs() for y in others]).mean((0, 2)))
    same = [(tried["answer"] > 0.5) == (y > 0.5) for y in others]
    found["decision among seeds"] = rounded(torch.stack(same).double().mean((0, 2)))
    bins = [(tried["largest"] > low) & (tried["largest"] <= low + 0.25) for low in (0, 0.25, 0.5, 0.75)]
    found["by largest"] = {
        "sentences": [each.sum(-1).tolist() for each in bins],
        "moves": [rounded((tried["permuted moves"] * each).sum(-1) / each.sum(-1).clamp(min=1), 5) for each in bins],
        "words": [rounded((length * each).sum(-1) / each.sum(-1).clamp(min=1), 2) for each in bins],
    }
    return found


def shares(far: Tensor) -> dict[str, Any]:
    """Of the sentences: whose farthest weights are beyond nine tenths of the way that there is, and beyond half."""
    edges = {"nearly as far as can be": 0.9, "beyond half of the way": 0.5}
    return {name: rounded((far > edge * math.log(2)).double().mean(-1)) for name, edge in edges.items()}


def untrained(setting: dict[str, Any], given: Data) -> dict[str, Any]:
    """The farthest weights with the same answer in networks of the sharp start that have learned nothing."""
    model = Networks(SHARP, len(given.vocabulary), setting).eval()
    found = read(model, given.test)
    assert found.weights is not None
    far = exact(found, given.test.mask.expand_as(found.weights), setting["tolerance"]).divergence
    return {"adversary": rounded(far.mean(-1), 5), **shares(far)}


def shown(model: Networks, setting: dict[str, Any], given: Data) -> list[dict[str, Any]]:
    """The first short sentences of the test, with what the first three seeds make of them."""
    found, part, all_of_them = read(model, given.test), given.test, sentences()
    assert found.weights is not None
    assert found.values is not None
    short = [i for i, mask in enumerate(part.mask) if mask.sum() <= setting["shown"]["longest"]]
    rows = []
    for i in short[: setting["shown"]["sentences"]]:
        n, sentence = int(part.mask[i].sum()), all_of_them[part.place[i]]
        row = {"words": list(sentence.words), "rating": round(sentence.rating, 2)}
        for name, value in (("weights", found.weights), ("values", found.values)):
            row[name] = rounded(value[:3, i, :n])
        rows.append(row)
    return rows


# --- all of it --------------------------------------------------------------------------------------------------------


def rounded(values: Tensor, digits: int = 4) -> Any:
    return [[round(x, digits) for x in row] if isinstance(row, list) else round(row, digits) for row in values.tolist()]


def chosen(trials: dict[str, dict[str, Any]]) -> str:
    """The rate whose mean loss over the seeds, where it is chosen, is least."""
    return min(trials, key=lambda rate: trials[rate]["chosen by"].mean().item())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--smoke", action="store_true")
    smoke = parser.parse_args().smoke
    torch.set_num_threads(1)
    setting = {**SETTING, **SMOKE} if smoke else SETTING
    folder = Path(tempfile.mkdtemp()) if smoke else RUNS
    started = time.perf_counter()

    def say(what: str) -> None:
        print(f"{time.perf_counter() - started:6.0f} s  {what}", flush=True)

    given = data(setting)
    sign = given.test.sign
    say(f"{len(given.train.sign)} sentences, {len(given.vocabulary)} words")
    runs: dict[str, dict[str, dict[str, Any]]] = {}
    for arm in ARMS:
        for rate in setting["rates"]:
            make = functools.partial(trained, arm, rate, setting, given)
            runs.setdefault(arm, {})[str(rate)] = run = kept(folder / f"{arm} {rate}.pt", make)
            share, loss = right(run["energy"], sign).mean(-1), run["chosen by"].mean()
            say(f"{arm}, {rate}: {share.mean():.4f} ± {share.std():.4f}, loss {loss:.4f}, at {run['step'].tolist()}")
    tried: dict[str, dict[str, Tensor]] = {}
    for arm in (ATTENTION, SHARP):
        base_rate = chosen(runs[arm])
        base = network(arm, runs[arm][base_rate], setting, given)
        tried[arm] = kept(folder / f"trial {arm}.pt", functools.partial(trial, base, setting, given))
        say(f"{arm}: " + ", ".join(f"{name} {value.nanmean():.3f}" for name, value in tried[arm].items()))
    adversaries = {}
    for weight in setting["lambdas"]:
        make = functools.partial(whole_adversary, weight, float(base_rate), setting, given, base)
        adversaries[str(weight)] = run = kept(folder / f"adversary {weight}.pt", make)
        say(f"adversary {weight}: " + ", ".join(f"{k} {v.float().mean():.3f}" for k, v in run.items() if k != "state"))
    enemy = network(SHARP, adversaries[str(setting["lambdas"][len(setting["lambdas"]) // 2])], setting, given)
    plain = network(ATTENTION, runs[ATTENTION][chosen(runs[ATTENTION])], setting, given)
    others = {"the ordinary start's weights": plain, "the reader's weights": base, "the adversary's weights": enemy}
    guides: dict[str, dict[str, Any]] = {}
    for guide in GUIDES:
        for rate in setting["rates"]:
            make = functools.partial(guided, guide, rate, setting, given, others)
            guides.setdefault(guide, {})[str(rate)] = run = kept(folder / f"guide {guide} {rate}.pt", make)
            share, loss = right(run["energy"], sign).mean(), run["chosen by"].mean()
            say(f"guided by {guide}, {rate}: {share:.4f}, loss {loss:.4f}")
    controls: dict[str, dict[str, dict[str, dict[str, Tensor]]]] = {}
    for steps, arm, rate in itertools.product(
        setting["control"]["steps"], (ATTENTION, "mean"), setting["control"]["rates"]
    ):
        make = functools.partial(control, arm, rate, steps, setting)
        run = kept(folder / f"control {steps} {arm} {rate}.pt", make)
        controls.setdefault(str(steps), {}).setdefault(arm, {})[str(rate)] = run
        say(f"control, {steps} steps, {arm}, {rate}: {rounded(run['right'])}")
    if smoke:
        return
    metrics = {
        **provenance.stamp(Path(__file__)),
        "setting": SETTING,
        "versions": {"torch": torch.__version__},
        "device": "cpu",
        "sentences": {name: len(getattr(given, name).sign) for name in ("train", "choose", "test")},
        "words": len(given.vocabulary),
        "positive": round(sign.double().mean().item(), 4),
        "arms": {
            arm: {
                "parameters": trials[base_rate]["count"],
                "rate": chosen(trials),
                "search": {rate: rounded(run["chosen by"]) for rate, run in trials.items()},
                "steps": {rate: run["step"].tolist() for rate, run in trials.items()},
                "right": {rate: rounded(right(run["energy"], sign).mean(-1)) for rate, run in trials.items()},
                "wrong": [
                    [i for i, good in enumerate(row) if not good]
                    for row in right(trials[chosen(trials)]["energy"], sign).tolist()
                ],
            }
            for arm, trials in runs.items()
        },
        "trial": {arm: summed(each, given.test.mask.sum(-1)) for arm, each in tried.items()},
        "untrained": untrained(setting, given),
        "shown": {
            arm: shown(network(arm, runs[arm][chosen(runs[arm])], setting, given), setting, given) for arm in tried
        },
        "adversaries": {
            weight: {name: rounded(value.float(), 5) for name, value in run.items() if name != "state"}
            for weight, run in adversaries.items()
        },
        "guides": {
            guide: {
                "rate": chosen(trials),
                "search": {rate: rounded(run["chosen by"]) for rate, run in trials.items()},
                "right": {rate: rounded(right(run["energy"], sign).mean(-1)) for rate, run in trials.items()},
            }
            for guide, trials in guides.items()
        },
        "control": {
            steps: {
                arm: {rate: {name: rounded(value) for name, value in run.items()} for rate, run in trials.items()}
                for arm, trials in each.items()
            }
            for steps, each in controls.items()
        },
    }
    metrics["by counting"] = round(by_counting(setting), 4)
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "metrics.json").write_text(json.dumps(metrics, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
