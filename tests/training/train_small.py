"""A run to be killed and resumed: ``python train_small.py FOLDER [--die N]``.

``--die 20`` kills the process by SIGKILL when half of its 20th checkpoint stands on the disk; there is one a step.
"""

import argparse
import os
import random
import signal
from pathlib import Path

import torch
from torch import nn

from attnlib import training
from attnlib.training import _checkpoint, _run

WORDS, EPOCHS, BATCH, N_ITEMS = 13, 3, 8, 97  # 97 = 12 * 8 + 1: one item in the last batch


def sentences(n=N_ITEMS, seed=0):
    generator = random.Random(seed)
    return [[generator.randrange(1, WORDS) for _ in range(generator.randrange(2, 12))] for _ in range(n)]


class Small(nn.Module):
    def __init__(self, dropout=0.2):
        super().__init__()
        self.embedding = nn.Embedding(WORDS, 11)
        self.hidden, self.output = nn.GRU(11, 7, batch_first=True), nn.Linear(7, WORDS)
        self.dropout = nn.Dropout(dropout)

    def forward(self, words):
        return self.output(self.dropout(self.hidden(self.dropout(self.embedding(words)))[0]))


def padded(rows):
    return nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True)


def collate(rows):
    """Source and target: each word's successor. Now and then a word of the source is lost."""
    lossy = [[0 if random.random() < 0.1 else word for word in row] for row in rows]
    return padded(lossy), (padded(rows) % (WORDS - 1) + 1) * (padded(rows) > 0)


def collate_plainly(rows):
    return padded(rows), (padded(rows) % (WORDS - 1) + 1) * (padded(rows) > 0)


def loss(model, batch):
    source, target = batch
    logits = model(source)
    return nn.functional.cross_entropy(logits.mT, target, ignore_index=0, reduction="sum"), (target > 0).sum()


def evaluate(model):
    """Draws random numbers, which must disturb nobody."""
    torch.rand(5), random.random()
    summed, count = loss(model, collate_plainly(sentences(11, seed=1)))
    return {"loss": float(summed / count), "draw": float(torch.rand(1))}


def falling(optimizer):
    """A rate that differs from step to step, and whose state is more than the number of the step."""
    return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 50)


def data(**changed):
    return training.Batched(**{"items": sentences(), "batch_size": BATCH, "collate": collate, "length": len, **changed})


def run(folder, *, plain=False, seed=0, batched=None, **options):
    training.seed_everything(seed)
    model = Small(dropout=0.0 if plain else 0.2)
    batched = {"collate": collate_plainly if plain else collate, **(batched or {})}
    settings = {"epochs": EPOCHS, "seed": seed, "evaluate": evaluate, "schedule": falling, "folder": folder, **options}
    return model, training.fit(model, loss, data(**batched), **settings)


def die_in_checkpoint(number):
    original, left = _checkpoint.write, [number]

    def write(path, content):
        left[0] -= path.name == "checkpoint.pt"
        if left[0] == 0:
            path.with_name(path.name + ".part").write_bytes(content[: len(content) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        original(path, content)

    _checkpoint.write = write


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--die", type=int)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    _run.SECONDS_BETWEEN_CHECKPOINTS = 0.0  # after every step
    if arguments.die:
        die_in_checkpoint(arguments.die)
    run(arguments.folder)


if __name__ == "__main__":
    main()
