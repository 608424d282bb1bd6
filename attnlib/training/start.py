"""What a run starts from: a seed, and a device."""

import random

import torch

__all__ = ["best_device", "seed_everything"]


def seed_everything(seed: int, *parts: object) -> None:
    """Seed Python's and torch's generators, those of all GPUs included.

    Call it before the model is made: :func:`~attnlib.training.loop.fit` seeds what follows.

    Args:
        seed: any whole number.
        parts: what else tells this stream from others, such as the number of a step.

    >>> seed_everything(7); a = torch.rand(1); seed_everything(7); bool(a == torch.rand(1))
    True
    """
    mixed = random.Random("/".join(map(str, (seed, *parts)))).getrandbits(63) if parts else seed
    random.seed(mixed)
    torch.manual_seed(mixed)


def best_device() -> torch.device:
    """The GPU where there is one; else the processor."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
