"""Train a small convolutional network on digits with squeeze and excitation, without, and with gates that are blind.

    python book/experiments/channels.py [ARM ...]

Few digits are trained with, so that there are errors to count. Each arm is trained at each rate of the same grid and
keeps the one that is best on digits that are neither trained nor tested with. Ten seeds stand side by side on the first
axis; all arms share starts, as far as they have the same parameters, and batches. Nine trainings, about a minute each
on one core. What is done lies in ``runs/channels``, so that a script that was killed goes on where it was, and ARMs may
be trained in processes of their own; who changes a setting, or how a network is trained, empties that folder first.
"""

import json
import math
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.optim.lr_scheduler import LambdaLR

from attnlib.data import scenes
from attnlib.data.pairs import split
from attnlib.input_features.channels import SqueezeExcitation
from attnlib.training import descend

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from book._tools import provenance

HERE = Path(__file__).parent
RUNS, RESULTS = HERE / "runs" / "channels", HERE / "results" / "channels"
SETTING: dict[str, Any] = {
    "seeds": 10,
    "rates": [0.005, 0.01, 0.02],
    "steps": 1000,
    "batch": 32,
    "channels": [8, 16, 32],
    "ratio": 2,
    "choose by": 0.1,
    "tested": 0.6,
    "shuffles": 999,
}
ARMS = ("no gates", "blind gates", "excitation")
LAYERS = ("1", "2", "3")


class Digits(NamedTuple):
    """Images ``(digit, 1, 8, 8)`` and which digit each is."""

    image: Tensor
    kind: Tensor


@cache
def data() -> dict[str, Digits]:
    """Digits to train with, to choose the rate by, and to test with; none is in two of them."""
    parts = split(scenes.load(), dev=SETTING["choose by"], test=SETTING["tested"])
    return {
        name: Digits(torch.stack([d.image for d in part])[:, None], torch.tensor([d.kind for d in part]))
        for name, part in zip(("train", "choose", "test"), parts, strict=True)
    }


# --- the network ------------------------------------------------------------------------------------------------------


class Network(nn.Module):
    """Three convolutions, each with a gate per channel behind it; the mean over places is read by a linear layer.

    The gates of ``"blind gates"`` have the parameters of excitation and see ones in place of the image: they are the
    same for all images. ``given`` puts other gates in place of its own, ``(digit or 1, channel)`` per layer.
    """

    def __init__(self, arm: str) -> None:
        super().__init__()
        self.arm, widths = arm, SETTING["channels"]
        ins = [1, *widths[:-1]]
        self.conv = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in zip(ins, widths, strict=True))
        self.answer = nn.Linear(widths[-1], 10)
        if arm != "no gates":  # made last, so that all arms share the start of the rest
            self.gate = nn.ModuleList(SqueezeExcitation(width, SETTING["ratio"]) for width in widths)

    def forward(self, x: Tensor, given: list[Tensor | None] | None = None) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Scores, and of each layer the gates and what they were made from."""
        gates, squeezed = [], []
        for i, conv in enumerate(self.conv):
            x = conv(x if i == 0 else F.avg_pool2d(x, 2)).relu()
            if self.arm == "no gates":
                continue
            found = self.gate[i](torch.ones_like(x) if self.arm == "blind gates" else x)
            own = given[i] if given is not None else None
            weights = found.weights if own is None else own
            x = weights[..., None, None] * x
            gates.append(weights)
            squeezed.append(found.squeezed)
        return self.answer(x.mean((-2, -1))), gates, squeezed


def start(arm: str) -> dict[str, Tensor]:
    """The parameters of all seeds, stacked."""
    made = []
    for seed in range(SETTING["seeds"]):
        torch.manual_seed(seed)
        made.append(Network(arm))
    return stack_module_state(made)[0]  # type: ignore[return-value, arg-type]


def run(arm: str, state: dict[str, Tensor], x: Tensor, *, given: list[Tensor | None] | None = None) -> Any:
    """All seeds at once, each on images of its own, or all on the same ``(digit, 1, 8, 8)``."""
    model = Network(arm)
    one = vmap(
        lambda p, images, gates: functional_call(model, p, (images, gates)),
        in_dims=(0, 0 if x.ndim == 5 else None, None if given is None else [None if g is None else 0 for g in given]),
    )
    return one(state, x, given)


def train(arm: str, rate: float) -> dict[str, Tensor]:
    state, given, steps = start(arm), data()["train"], SETTING["steps"]
    choose = torch.Generator().manual_seed(2)  # the same digits for all arms

    def loss(step: int) -> Tensor:
        index = torch.randint(len(given.kind), (SETTING["seeds"], SETTING["batch"]), generator=choose)
        scores = run(arm, state, given.image[index])[0]
        return F.cross_entropy(scores.transpose(1, 2), given.kind[index], reduction="none").mean(-1)

    falling = lambda stepper: LambdaLR(stepper, lambda step: (1 + math.cos(math.pi * step / steps)) / 2)  # noqa: E731
    descend(state.values(), loss, steps=steps, rate=rate, schedule=falling)
    return {name: value.detach() for name, value in state.items()}


def trial(arm: str, rate: float) -> tuple[dict[str, Tensor], int]:
    """The trained parameters and the seconds that it took, read again if it was done before."""
    place = RUNS / f"{arm}, {rate}.pt"
    if not place.exists():
        started = time.perf_counter()
        state = train(arm, rate)
        RUNS.mkdir(parents=True, exist_ok=True)
        torch.save((state, round(time.perf_counter() - started)), place)
        print(f"{arm}, rate {rate}", flush=True)
    found: tuple[dict[str, Tensor], int] = torch.load(place, weights_only=True)
    return found


# --- what comes of it -------------------------------------------------------------------------------------------------


@torch.no_grad()
def right(arm: str, state: dict[str, Tensor], on: Digits, given: list[Tensor | None] | None = None) -> Tensor:
    """The share right, one number a seed."""
    return (run(arm, state, on.image, given=given)[0].argmax(-1) == on.kind).double().mean(-1)


def between(values: Tensor, kind: Tensor) -> tuple[Tensor, Tensor]:
    """How much of the variance over digits lies between the ten kinds, and how far class means are apart.

    ``values``: (seed, digit, channel). The first is a share, over all channels together; the second the deviation of
    the ten class means, a mean over channels. Both one number a seed.
    """
    member = F.one_hot(kind, 10).to(values.dtype)
    means = (member / member.sum(0)).T @ values
    centre = values.mean(1, keepdim=True)
    explained = (member.sum(0)[:, None] * (means - centre).square()).sum((1, 2))
    total = (values - centre).square().sum((1, 2))
    share = torch.where(total > 1e-9, explained / total, 0)  # gates of a dead hidden layer are a half for all images
    return share, means.std(1).mean(-1)


@torch.no_grad()
def by_class(state: dict[str, Tensor], on: Digits) -> dict[str, dict[str, Tensor]]:
    """Of each layer: how gates and squeezed images differ by class, and the same with shuffled labels."""
    _, gates, squeezed = run("excitation", state, on.image)
    generator, found = torch.Generator().manual_seed(3), {}
    for name, s, z in zip(LAYERS, gates, squeezed, strict=True):
        s, z = s.double(), z.double()
        share, apart = between(s, on.kind)
        drawn = [
            between(s, on.kind[torch.randperm(len(on.kind), generator=generator)])[0]
            for _ in range(SETTING["shuffles"])
        ]
        shuffled = torch.stack(drawn)
        found[name] = {
            "share": share,
            "apart": apart,
            "shuffled share": shuffled.mean(0),
            "p": (1 + (shuffled >= share).sum(0)) / (1 + len(shuffled)),
            "share of the squeezed": between(z, on.kind)[0],
            "gate": s.mean((1, 2)),
        }
    return found


@torch.no_grad()
def with_other_gates(state: dict[str, Tensor], on: Digits) -> dict[str, Tensor]:
    """The share right where gates are not the image's own: their mean, in all layers or one, or another image's."""
    gates = run("excitation", state, on.image)[1]
    means: list[Tensor | None] = [g.mean(1, keepdim=True) for g in run("excitation", state, data()["train"].image)[1]]
    order = torch.randperm(len(on.kind), generator=torch.Generator().manual_seed(4))
    others: list[Tensor | None] = [g[:, order] for g in gates]
    found = {"own": None, "mean": means, "another image's": others}
    for i, name in enumerate(LAYERS):
        found[f"mean in layer {name}"] = [mean if i == j else None for j, mean in enumerate(means)]
    return {name: right("excitation", state, on, given) for name, given in found.items()}


def rounded(found: dict[str, Tensor]) -> dict[str, list[float]]:
    return {name: [float(f"{x:.5g}") for x in values.tolist()] for name, values in found.items()}


def best(searched: dict[str, list[float]]) -> float:
    return float(max(searched, key=lambda rate: sum(searched[rate])))


def chosen(arm: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What an arm comes to at its best rate, and its parameters."""
    on = data()
    trials = {str(rate): trial(arm, rate) for rate in SETTING["rates"]}
    searched = rounded({rate: right(arm, state, on["choose"]) for rate, (state, _) in trials.items()})
    state = trials[str(best(searched))][0]
    return {
        "search": searched,
        "rate": best(searched),
        "parameters": sum(value[0].numel() for value in state.values()),
        **rounded({"test": right(arm, state, on["test"]), "train": right(arm, state, on["train"])}),
        "seconds": sum(seconds for _, seconds in trials.values()),
    }, state


@torch.no_grad()
def shown(states: dict[str, dict[str, Tensor]], on: Digits) -> dict[str, Any]:
    """The mean gate of each class and channel in each layer, first seed."""
    member = F.one_hot(on.kind, 10).float()
    return {
        when: {
            name: [[round(x, 4) for x in row] for row in ((member / member.sum(0)).T @ gates[0]).tolist()]
            for name, gates in zip(LAYERS, run("excitation", state, on.image)[1], strict=True)
        }
        for when, state in states.items()
    }


def main(arms: list[str]) -> None:
    torch.set_num_threads(1)
    if arms:
        for arm in arms:
            chosen(arm)
        return
    arms_found, states = {}, {}
    for arm in ARMS:
        arms_found[arm], states[arm] = chosen(arm)
        print(f"{arm}: rate {arms_found[arm]['rate']}, {arms_found[arm]['seconds']} s", flush=True)
    test = data()["test"]
    excitation = {"before": start("excitation"), "after": states["excitation"]}
    metrics = {
        **provenance.stamp(Path(__file__)),
        "setting": SETTING,
        "versions": {"torch": torch.__version__},
        "device": "cpu",
        "digits": {name: len(part.kind) for name, part in data().items()},
        "arms": arms_found,
        "by class": {
            when: {layer: rounded(found) for layer, found in by_class(state, test).items()}
            for when, state in excitation.items()
        },
        "gates": rounded(with_other_gates(states["excitation"], test)),
        "shown": shown(excitation, test),
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "metrics.json").write_text(json.dumps(metrics, separators=(",", ":")) + "\n", encoding="utf-8")
    state = {name: value.half() for name, value in states["excitation"].items()}
    torch.save(state, RESULTS / "model.pt")  # of excitation, all seeds


if __name__ == "__main__":
    main(sys.argv[1:])
