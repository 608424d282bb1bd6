"""Train a small transformer to say English words, letter by letter to sound by sound, and ask what each head is worth.

    python book/experiments/pronunciations.py

Two networks that differ in their seed alone. One setting, not searched: what is asked is what the heads of a network
that works do, and not how well such a network can be made to work. Each is judged on words that were not trained with,
which no seed chooses, as it is and with its numbers in one byte each; then with each head switched off alone, and with
three at random. About ten minutes a network on one quiet core; a run that was broken off goes on.
"""

import functools
import sys
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
from attnlib.output_representations.transformer import Transformer
from attnlib.training import Batched, Record, fit, seed_everything

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

RESULTS = Path(__file__).parent / "results" / "pronunciations"
RUNS = Path(__file__).parent / "runs" / "pronunciations"
SETTING: dict[str, Any] = {
    "seeds": [0, 1],
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


def main() -> None:
    torch.set_num_threads(1)
    for seed in SETTING["seeds"]:
        print(seed, trained(seed)[1].metrics, flush=True)


if __name__ == "__main__":
    main()
