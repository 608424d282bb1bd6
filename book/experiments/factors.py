"""Leave factors out of self-attention, and of encoder-decoder attention: what are they worth in each?

    python book/experiments/factors.py [--smoke]

A small network learns to say short English words: an encoder layer reads letters, a decoder layer says sounds, one by
one. No position is told but by the second and the fourth factor. All four are at work in three places: among letters,
from sounds to letters, and among the sounds that were said. In one of the first two, some are left out. Judged is the
share of sounds that are right, given those before, of words that nobody trained with. Each arm is trained at each rate
of one grid and keeps the one that is best on other words still. Seeds stand side by side on the first axis: each has
its own start and its own order of the words, which is the same for all arms. What is done lies in ``runs/factors``, so
that a script that was killed goes on where it was.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from attnlib.data import pronunciations
from attnlib.data.pronunciations import LETTERS, SOUNDS
from attnlib.frontiers.factors import factors
from attnlib.frontiers.relative_positions import distance_features
from attnlib.output_representations.parts import join, split
from attnlib.training import descend
from attnlib.training.side_by_side import linear, normed

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from book._tools import provenance
from book._tools.kept import kept

HERE = Path(__file__).parent
RUNS, RESULTS = HERE / "runs" / "factors", HERE / "results" / "factors"
SETTING: dict[str, Any] = {
    "seeds": 5,
    "rates": [0.0025, 0.005, 0.015],
    "steps": 400,
    "batch": 32,
    "clip": 1.0,
    "longest": 7,
    "size": 32,
    "heads": 2,
    "choose by": 500,
    "tested": 1000,
}
LONGEST, SIZE, HEADS = (SETTING[name] for name in ("longest", "size", "heads"))
NOTHING, END = 0, len(SOUNDS) + 1  # numbers of what is no sound: before the first, and after the last
ALL = (1, 2, 3, 4)
CHOICES = (ALL, (2, 3, 4), (1, 3, 4), (1, 2, 4), (1, 2, 3), (1,), (3,), (4,), ())


class Arm(NamedTuple):
    """Which terms are at work among letters, and from sounds to letters."""

    letters: tuple[int, ...]
    across: tuple[int, ...]

    @property
    def name(self) -> str:
        return " ".join("".join(map(str, terms)) or "none" for terms in self)


ARMS = [*(Arm(terms, ALL) for terms in CHOICES), *(Arm(ALL, terms) for terms in CHOICES[1:])]


class Words(NamedTuple):
    """Letters from 1, 0 beyond the end, ``(word, time)``; sounds from 1, with the end, and nothing beyond."""

    letters: Tensor
    sounds: Tensor


State = dict[str, Tensor]
# The sites of attention, what is normed, and the sizes of all that each arm has; those of the terms come with an arm.
SITES, HEAD = ("letters", "across", "sounds"), SIZE // HEADS
NORMS = ("of letters", "of sounds", "to ask", "to answer", "first", "second", "last")
AROUND: dict[str, tuple[int, ...]] = {
    "embed letters": (SIZE, len(LETTERS) + 1),
    "embed sounds": (SIZE, END + 1),
    "first wide": (2 * SIZE, SIZE),
    "first wide bias": (2 * SIZE,),
    "first narrow": (SIZE, 2 * SIZE),
    "second wide": (2 * SIZE, SIZE),
    "second wide bias": (2 * SIZE,),
    "second narrow": (SIZE, 2 * SIZE),
    "answer": (END + 1, SIZE),
    "answer bias": (END + 1,),
    **{f"{name} gain": (SIZE,) for name in NORMS},
    **{f"{site} {name}": (SIZE, SIZE) for site in SITES for name in ("value", "output")},
}
OF_TERMS: dict[str, tuple[set[int], tuple[int, ...]]] = {
    "query": ({1, 2}, (SIZE, SIZE)),
    "key": ({1, 3}, (SIZE, SIZE)),
    "far": ({2, 4}, (SIZE, SIZE)),
    "key bias": ({3}, (HEADS, HEAD)),
    "far bias": ({4}, (HEADS, HEAD)),
}
FAR = distance_features(LONGEST, LONGEST, SIZE)


def at(arm: Arm, site: str) -> tuple[int, ...]:
    return {"letters": arm.letters, "across": arm.across, "sounds": ALL}[site]


def start(arm: Arm) -> State:
    """By seed: uniform with a variance of one over what comes in; biases of zero, but for those that ask."""
    sizes = dict(AROUND)
    for site in SITES:
        used = {name: size for name, (terms, size) in OF_TERMS.items() if terms & set(at(arm, site))}
        sizes |= {f"{site} {name}": size for name, size in used.items()}
    made = {}
    for name, size in sizes.items():
        drawn = []
        for seed in range(SETTING["seeds"]):
            g = torch.Generator().manual_seed(1000 * seed + sum(map(ord, name)))
            bound = (3 / size[-1]) ** 0.5 if len(size) == 2 else 0.0
            drawn.append((2 * torch.rand(size, generator=g) - 1) * bound + ("gain" in name))
        made[name] = torch.stack(drawn).requires_grad_()
    return made


def attended(p: State, arm: Arm, site: str, inputs: Tensor, memory: Tensor, **options: Any) -> Tensor:
    """What one site adds, all seeds at once: the layer :class:`~attnlib.frontiers.factors.Factors`."""
    value = split(linear(p, f"{site} value", memory), HEADS)
    query, key = (
        split(linear_alone(p, f"{site} {name}", x), HEADS) if f"{site} {name}" in p else torch.zeros_like(value)
        for name, x in (("query", inputs), ("key", memory))
    )
    vectors = split(FAR @ p[f"{site} far"].mT, HEADS).unsqueeze(1) if f"{site} far" in p else None
    biases = (p.get(f"{site} {name} bias") for name in ("key", "far"))
    key_bias, far_bias = (None if bias is None else bias.unsqueeze(1) for bias in biases)
    options |= {"vectors": vectors, "key_bias": key_bias, "position_bias": far_bias, "scale": HEAD**-0.5}
    found = factors(query, key, value, terms=at(arm, site), need_weights=False, **options)
    return linear(p, f"{site} output", join(found.context))


def linear_alone(p: State, name: str, x: Tensor) -> Tensor:
    """The matrix without the bias of its name, which is another's."""
    return linear({name: p[name]}, name, x)


def thought(p: State, name: str, x: Tensor) -> Tensor:
    return x + linear(p, f"{name} narrow", linear(p, f"{name} wide", normed(p, name, x)).relu())


def said(arm: Arm, p: State, given: Words) -> Tensor:
    """An encoder layer and a decoder layer: what each seed says next of its words, ``(seed, word, time, sound)``."""
    real = (given.letters > 0)[:, :, None, None]
    x = linear(p, "embed letters", F.one_hot(given.letters, len(LETTERS) + 1).float()) * SIZE**0.5
    y = linear(p, "embed sounds", F.one_hot(F.pad(given.sounds, (1, -1)), END + 1).float()) * SIZE**0.5
    of_letters, of_sounds = normed(p, "of letters", x), normed(p, "of sounds", y)
    x = thought(p, "first", x + attended(p, arm, "letters", of_letters, of_letters, mask=real))
    y = y + attended(p, arm, "sounds", of_sounds, of_sounds, is_causal=True)
    y = y + attended(p, arm, "across", normed(p, "to ask", y), normed(p, "to answer", x), mask=real)
    return linear(p, "answer", normed(p, "last", thought(p, "second", y)))


def words() -> dict[str, Words]:
    """Short words with the first way in which each is said, in an order that is drawn once; in three parts."""
    number = {sound: i + 1 for i, sound in enumerate(SOUNDS)}
    short = [
        (spoken.word, [*(number[sound] for sound in spoken.sounds[0]), END])
        for spoken in pronunciations.load()
        if len(spoken.word) <= LONGEST and len(spoken.sounds[0]) < LONGEST
    ]
    order = torch.randperm(len(short), generator=torch.Generator().manual_seed(7)).tolist()
    rows = [
        ([ord(c) - 96 for c in word] + [0] * (LONGEST - len(word)), said + [NOTHING] * (LONGEST - len(said)))
        for word, said in (short[i] for i in order)
    ]
    whole = Words(torch.tensor([row[0] for row in rows]), torch.tensor([row[1] for row in rows]))
    first, second = SETTING["choose by"], SETTING["choose by"] + SETTING["tested"]
    parts = {"choose by": slice(0, first), "tested": slice(first, second), "trained": slice(second, None)}
    return {name: Words(whole.letters[part], whole.sounds[part]) for name, part in parts.items()}


def train(arm: Arm, rate: float, trained: Words) -> State:
    p, g = start(arm), torch.Generator().manual_seed(1)  # the same words for all arms

    def loss(step: int) -> Tensor:
        chosen = torch.randint(len(trained.letters), (SETTING["seeds"], SETTING["batch"]), generator=g)
        given = Words(trained.letters[chosen], trained.sounds[chosen])
        each = F.cross_entropy(said(arm, p, given).flatten(0, -2), given.sounds.flatten(), reduction="none")
        real = given.sounds != NOTHING
        return (each.view_as(real) * real).sum((1, 2)) / real.sum((1, 2))

    descend(p.values(), loss, steps=SETTING["steps"], rate=rate, clip=SETTING["clip"])
    return {name: part.detach() for name, part in p.items()}


@torch.no_grad()
def examine(arm: Arm, p: State, part: Words) -> list[float]:
    """The share of sounds, the end among them, that each seed says rightly after those before."""
    given = Words(*(x.expand(SETTING["seeds"], -1, -1) for x in part))
    real = given.sounds != NOTHING
    right = (said(arm, p, given).argmax(-1) == given.sounds) & real
    return [round(share, 5) for share in (right.sum((1, 2)).double() / real.sum((1, 2))).tolist()]


def run(arm: Arm, parts: dict[str, Words]) -> dict[str, Any]:
    started, searched, tested = time.process_time(), {}, {}
    for rate in SETTING["rates"]:
        p = train(arm, rate, parts["trained"])
        searched[str(rate)], tested[str(rate)] = (examine(arm, p, parts[name]) for name in ("choose by", "tested"))
    best = max(searched, key=lambda rate: sum(searched[rate]))
    seconds = round(time.process_time() - started)
    return {"search": searched, "best": float(best), "test": tested[best], "at each": tested, "seconds": seconds}


def floor(part: Words, trained: Words) -> float:
    """What is right if the sound that is the most frequent after the one before is said each time."""
    pairs = [(F.pad(x.sounds, (1, -1))[x.sounds != NOTHING], x.sounds[x.sounds != NOTHING]) for x in (trained, part)]
    counts = torch.zeros(END + 1, END + 1).index_put_(pairs[0], torch.ones(()), accumulate=True)
    return round((counts.argmax(-1)[pairs[1][0]] == pairs[1][1]).double().mean().item(), 5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="a few steps of each, and nothing is kept")
    smoke = parser.parse_args().smoke
    torch.set_num_threads(1)
    if smoke:
        SETTING.update(steps=2, rates=[0.01], tested=50, **{"choose by": 50})
    parts, runs = words(), {}
    for arm in ARMS:

        def made(arm: Arm = arm) -> dict[str, Any]:
            return run(arm, parts)

        runs[arm.name] = made() if smoke else kept(RUNS / f"{arm.name}.pt", made)
        shares = runs[arm.name]["test"]
        print(f"{arm.name}: {min(shares):.3f} to {max(shares):.3f}, {runs[arm.name]['seconds']} s", flush=True)
    if smoke:
        return
    metrics = {
        **provenance.stamp(Path(__file__)),
        "setting": SETTING,
        "words": {name: len(part.letters) for name, part in parts.items()},
        "floor": floor(parts["tested"], parts["trained"]),
        "versions": {"torch": torch.__version__},
        "device": "cpu",
        "runs": runs,
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "metrics.json").write_text(json.dumps(metrics, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
