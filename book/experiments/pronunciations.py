"""Train a small transformer to say English words, letter by letter to sound by sound, and ask what each head is worth.

    python book/experiments/pronunciations.py

One network, of one seed. One setting, not searched: what is asked is what the heads of a network that works do, and not
how well such a network can be made to work. It is judged on words that were not trained with, which no seed chooses, as
it is and with its numbers in one byte each; then with each head switched off alone, and with three at random. About ten
minutes on one quiet core; a run that was broken off goes on.
"""

import functools
import hashlib
import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from attnlib.data import pronunciations
from attnlib.data.pairs import Split, split
from attnlib.data.pronunciations import LETTERS, SOUNDS, Spoken
from attnlib.output_representations.interventions import Head, Row, rows_set, switched_off
from attnlib.output_representations.transformer import Transformer
from attnlib.output_representations.transformer_layer import Edit
from attnlib.training import Batched, Record, fit, seed_everything
from attnlib.widgets.output_representations.transformer_model import packed_model, quantised

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from book._tools import provenance

RESULTS = Path(__file__).parent / "results" / "pronunciations"
RUNS = Path(__file__).parent / "runs" / "pronunciations"
STORE = Path(__file__).resolve().parents[2] / "attnlib/widgets/output_representations/heads_explorer.json"
SETTING: dict[str, Any] = {
    "seeds": [0],
    "lengths": [3, 12],
    "size": 64,
    "heads": 4,
    "layers": 2,
    "hidden": 192,
    "epochs": 6,
    "batch": 128,
    "rate": 0.003,
    "warm up": 300,
    "longest": 20,
    "threes": 12,
    "every": 3,
    "looked at every": 11,
}
MARK = len(SOUNDS)  # begins the sounds, and ends them


# --- words ------------------------------------------------------------------------------------------------------------


@functools.cache
def words() -> Split:
    """Words of 3 to 12 letters, in three parts."""
    least, most = SETTING["lengths"]
    return split(spoken for spoken in pronunciations.load() if least <= len(spoken.word) <= most)


def letters(spelt: list[str]) -> tuple[Tensor, Tensor]:
    """Numbers of letters, and which of them are real."""
    rows = [torch.tensor([LETTERS.index(letter) for letter in word]) for word in spelt]
    mask = nn.utils.rnn.pad_sequence([torch.ones(len(row), dtype=torch.bool) for row in rows], batch_first=True)
    return nn.utils.rnn.pad_sequence(rows, batch_first=True), mask


def batch(items: list[Spoken]) -> tuple[Tensor, ...]:
    """Letters, their mask, the sounds that the decoder is told and those that it should say; -100 behind the end.

    Of a word that is said in several ways the first one is learned.
    """
    rows = [torch.tensor([SOUNDS.index(sound) for sound in spoken.sounds[0]]) for spoken in items]
    told = nn.utils.rnn.pad_sequence([F.pad(row, (1, 0), value=MARK) for row in rows], batch_first=True)
    said = [F.pad(row, (0, 1), value=MARK) for row in rows]
    wanted = nn.utils.rnn.pad_sequence(said, batch_first=True, padding_value=-100)
    return *letters([spoken.word for spoken in items]), told, wanted


# --- training ---------------------------------------------------------------------------------------------------------


def network() -> Transformer:
    sizes = {name: SETTING[name] for name in ("size", "heads", "layers", "hidden")}
    return Transformer(len(LETTERS), len(SOUNDS) + 1, **sizes)


def loss(model: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, int]:
    """Summed over the sounds and the marks that end them, and how many there are."""
    source, mask, told, wanted = given
    logits = model(source, told, mask, need_weights=False).logits
    return F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), reduction="sum"), int((wanted >= 0).sum())


def schedule(optimizer: Optimizer) -> LambdaLR:
    """The rate rises for the first steps, and then falls in a line to nought."""
    items = Batched(words().train, SETTING["batch"], batch)
    steps, rise = SETTING["epochs"] * len(items.order(0, 0)), SETTING["warm up"]
    return LambdaLR(optimizer, lambda step: min((step + 1) / rise, max(steps - step, 0) / (steps - rise)))


def evaluate(model: nn.Module) -> dict[str, float]:
    """The loss on the words of the second part."""
    items = Batched(words().dev, 512, batch, lambda spoken: len(spoken.word))
    found = [loss(model, batch(items.at(places))) for places in items.order(0, 0)]
    return {"loss": sum(float(total) for total, _ in found) / sum(count for _, count in found)}


def trained(seed: int) -> tuple[Transformer, Record]:
    """A network as it was left, or trained now."""
    seed_everything(seed)
    model, folder = network(), RUNS / f"seed {seed}"
    if (folder / "model.pt").exists():
        model.load_state_dict(torch.load(folder / "model.pt", weights_only=True))
        return model.eval(), Record.load(folder / "record.json")
    record = fit(
        model,
        loss,
        Batched(words().train, SETTING["batch"], batch, lambda spoken: (len(spoken.word), len(spoken.sounds[0]))),
        epochs=SETTING["epochs"],
        seed=seed,
        optimizer=functools.partial(Adam, lr=SETTING["rate"], betas=(0.9, 0.98)),
        schedule=schedule,
        evaluate=evaluate,
        folder=folder,
        configuration=SETTING | {"data": pronunciations.PACKAGE.sha256},
    )
    return model.eval(), record


# --- what it says -----------------------------------------------------------------------------------------------------


def distance(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    """The fewest sounds to put in, take out or exchange that make the one of the other."""
    row = list(range(len(other) + 1))
    for i, sound in enumerate(one, 1):
        corner, row[0] = row[0], i
        for j, wanted in enumerate(other, 1):
            corner, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, corner + (sound != wanted))
    return row[-1]


def by_length(items: list[Spoken]) -> Iterable[list[int]]:
    """Places of words of one length, a few hundred at a time: without padding."""
    for length in sorted({len(spoken.word) for spoken in items}):
        places = [i for i, spoken in enumerate(items) if len(spoken.word) == length]
        yield from (places[start : start + 500] for start in range(0, len(places), 500))


def said(model: Transformer, items: list[Spoken], edit: Edit | None = None) -> list[tuple[str, ...]]:
    """What the network says to each word."""
    found: list[tuple[str, ...]] = [()] * len(items)
    for places in by_length(items):
        source, _ = letters([items[i].word for i in places])
        words = model.greedy(source, begin=MARK, end=MARK, longest=SETTING["longest"], edit=edit).words.tolist()
        for i, row in zip(places, words, strict=True):
            found[i] = tuple(SOUNDS[n] for n in (row[: row.index(MARK)] if MARK in row else row))
    return found


def judged(items: list[Spoken], told: list[tuple[str, ...]]) -> dict[str, Any]:
    """The share of words that are said in one of their ways; and wrong sounds a sound of the nearest of these."""
    nearest = [
        min((distance(way, one), -len(way)) for way in spoken.sounds) for spoken, one in zip(items, told, strict=True)
    ]
    wrong, sounds = (sum(column) for column in zip(*nearest, strict=True))
    return {
        "words": len(items),
        "exact": round(sum(not d for d, _ in nearest) / len(items), 5),
        "error": round(-wrong / sounds, 5),
    }


def right(items: list[Spoken], told: list[tuple[str, ...]]) -> Tensor:
    return torch.tensor([one in spoken.sounds for spoken, one in zip(items, told, strict=True)], dtype=torch.float64)


def of_each_length(items: list[Spoken], told: list[tuple[str, ...]]) -> dict[str, Any]:
    found = {"all": judged(items, told)}
    for length in range(SETTING["lengths"][0], SETTING["lengths"][1] + 1):
        places = [i for i, spoken in enumerate(items) if len(spoken.word) == length]
        found[str(length)] = judged([items[i] for i in places], [told[i] for i in places])
    return found


# --- what each head is worth ------------------------------------------------------------------------------------------

HEADS = [
    Head(part, layer, head)
    for part in ("encoder", "decoder", "across")
    for layer in range(SETTING["layers"])
    for head in range(SETTING["heads"])
]
named = "{0.part} {0.layer} {0.head}".format


def costs(model: Transformer, items: list[Spoken], off: list[Head], whole: Tensor) -> dict[str, Any]:
    """What share of the words is right with all heads on and wrong without some; its 95 % interval over words."""
    lost = whole - right(items, said(model, items, switched_off(off)))
    half = 1.96 * lost.std().item() / len(items) ** 0.5
    mean = lost.mean().item()
    return {
        "heads": [named(head) for head in off],
        "cost": round(mean, 5),
        "interval": [round(mean - half, 5), round(mean + half, 5)],
    }


def threes() -> list[list[Head]]:
    """Heads three at a time, drawn once for all networks."""
    g = torch.Generator().manual_seed(0)
    return [[HEADS[i] for i in torch.randperm(len(HEADS), generator=g)[:3].tolist()] for _ in range(SETTING["threes"])]


def shares(weights: Tensor) -> dict[str, float]:
    """The mean weight of the item itself, the one before, the one after, and the first, where there is one."""
    n = weights.shape[-1]
    return {
        "itself": weights.diagonal(dim1=-2, dim2=-1).mean().item(),
        "before": weights.diagonal(-1, -2, -1).mean().item() if n > 1 else 0.0,
        "after": weights.diagonal(1, -2, -1).mean().item() if n > 1 else 0.0,
        "first": weights[..., 1:, 0].mean().item() if n > 1 else 0.0,
    }


def looks(model: Transformer, items: list[Spoken]) -> dict[str, Any]:
    """Where the heads look while the network says what it says, a mean over words.

    ``near`` is the weight within one letter of the place that is as far along the letters as the sound is along the
    sounds; ``even`` is what would lie there if all letters had the same weight.
    """
    sums: dict[str, dict[str, float]] = {}
    even = 0.0
    told = said(model, items)
    for spoken, one in zip(items, told, strict=True):
        source = letters([spoken.word])[0]
        numbers = [SOUNDS.index(sound) for sound in one]
        found = model(source, torch.tensor([[MARK, *numbers]]))
        encoded = model.read(source)
        n, m = len(spoken.word), max(len(one), 1)
        along = torch.arange(m) * max(n - 1, 0) / max(m - 1, 1)
        near = ((torch.arange(n) - along[:, None]).abs() <= 1).double()
        even += near.mean(-1).mean().item()
        for i in range(SETTING["layers"]):
            places = (encoded.layers[i].own, found.layers[i].own, found.layers[i].across)
            for part, attended in zip(("encoder", "decoder", "across"), places, strict=True):
                assert attended is not None
                assert attended.weights is not None
                for h, weights in enumerate(attended.weights[0].double()):
                    shared = (
                        {"near": (weights[:m] * near).sum(-1).mean().item()} if part == "across" else shares(weights)
                    )
                    mine = sums.setdefault(f"{part} {i} {h}", dict.fromkeys(shared, 0.0))
                    for kind, value in shared.items():
                        mine[kind] += value
    return {
        "words": len(items),
        "even": round(even / len(items), 5),
        "heads": {head: {k: round(v / len(items), 5) for k, v in mine.items()} for head, mine in sums.items()},
    }


def moved(model: Transformer, items: list[Spoken]) -> dict[str, Any]:
    """Words of six letters: how many begin with another sound when a head's first look goes to the last letter."""
    six = [spoken for spoken in items if len(spoken.word) == 6]
    plain = [one[:1] for one in said(model, six)]
    found = {}
    for head in HEADS:
        if head.part == "across":
            edit = rows_set({Row(*head, 0): [0.0] * 5 + [1.0]})
            other = [one[:1] for one in said(model, six, edit)]
            found[named(head)] = sum(a != b for a, b in zip(plain, other, strict=True))
    return {"words": len(six), "changed": found}


@torch.no_grad()
def examined(seed: int, report: Callable[[str], None]) -> dict[str, Any]:
    """All that is measured of one network; kept, so that a run that was broken off goes on."""
    path = RUNS / f"examined {seed}.json"
    if path.exists():
        return dict(json.loads(path.read_text(encoding="utf-8")))
    model, record = trained(seed)
    items = words().test
    report(f"seed {seed}: trained in {sum(record.seconds):.0f} s, loss {record.metrics[-1]['loss']:.4f}")
    page = quantised(model).float()
    told, some = said(page, items), items[:: SETTING["every"]]
    whole = right(some, told[:: SETTING["every"]])
    found = {
        "seed": seed,
        "losses": [round(each, 5) for each in record.losses],
        "dev": [round(each["loss"], 5) for each in record.metrics],
        "seconds": round(sum(record.seconds)),
        "parameters": record.n_parameters,
        "test": of_each_length(items, said(model, items)),
        "in bytes": of_each_length(items, told),
        "switched off on": len(some),
        "one off": [costs(page, some, [head], whole) for head in HEADS],
        "three off": [costs(page, some, heads, whole) for heads in threes()],
        "looks": looks(page, items[:: SETTING["looked at every"]]),
        "moved": moved(page, some),
    }
    path.write_text(json.dumps(found) + "\n", encoding="utf-8")
    return found


def main() -> None:
    torch.set_num_threads(1)
    runs = [examined(seed, lambda text: print(text, flush=True)) for seed in SETTING["seeds"]]
    model, _ = trained(SETTING["seeds"][0])
    STORE.write_text(json.dumps(packed_model(model), separators=(",", ":")) + "\n", encoding="utf-8")
    print(f"{STORE.name}: {STORE.stat().st_size} bytes")
    metrics = {
        **provenance.stamp(Path(__file__)),
        "setting": SETTING,
        "versions": {"torch": torch.__version__},
        "device": "cpu",
        "words": dict(zip(("train", "dev", "test"), map(len, words()), strict=True)),
        "page": digest(),
        "runs": runs,
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "metrics.json").write_text(json.dumps(metrics, separators=(",", ":")) + "\n", encoding="utf-8")


def digest() -> str:
    """Of what the page holds: the first network."""
    return hashlib.sha256(STORE.read_bytes()).hexdigest()


if __name__ == "__main__":
    main()
