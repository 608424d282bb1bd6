"""Files that are whole or not there, and checkpoints that know which run they belong to."""

import ast
import hashlib
import inspect
import io
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

MAGIC = b"attnlib checkpoint 1 "


def write(path: Path, content: bytes) -> None:
    """Replace a file at once: whoever looks, also after a kill or a full disk, finds the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError:
        part.unlink(missing_ok=True)
        raise


def saved(content: Any) -> bytes:
    """What ``torch.save`` writes."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def save(path: Path, content: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    """Write a checkpoint of the run that ``identity`` describes."""
    body = saved({"identity": json.dumps(identity), **content})
    write(path, MAGIC + hashlib.sha256(body).hexdigest().encode() + b"\n" + body)


def load(path: Path, identity: Mapping[str, Any]) -> dict[str, Any] | None:
    """Read a checkpoint; None where there is none. It must be whole and of the same run."""
    try:
        head, _, body = path.read_bytes().partition(b"\n")
    except FileNotFoundError:
        return None
    if head != MAGIC + hashlib.sha256(body).hexdigest().encode():
        raise RuntimeError(f"{path} is damaged or no checkpoint of this version: delete it to start again")
    content: dict[str, Any] = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
    before = json.loads(content.pop("identity"))
    differences = [
        f"{name} was {before.get(name)!r}, is {identity.get(name)!r}"
        for name in sorted({*before, *identity})
        if before.get(name) != identity.get(name)
    ]
    if differences:
        raise RuntimeError(
            f"{path} belongs to another run: {'; '.join(differences)}. Go back to those, give another folder, or "
            "delete it to start again"
        )
    return content


def settings_of(thing: Optimizer | LRScheduler) -> str:
    """An optimizer or a schedule in words: its kind and its numbers."""
    if isinstance(thing, Optimizer):
        told: Any = [{k: v for k, v in group.items() if k != "params"} for group in thing.param_groups]
    else:
        told = thing.state_dict()
    return f"{type(thing).__name__} {json.dumps(told, default=str)}"


def codes(objects: Iterable[Any]) -> dict[str, str]:
    """The hash of the code, comments apart, of each file in which the objects are written.

    What is typed into a notebook has none.
    """
    found = {}
    for thing in objects:
        thing = inspect.unwrap(getattr(thing, "func", thing))
        try:
            text = Path(inspect.getsourcefile(thing) or "").read_text("utf-8")
            found[thing.__module__] = short_hash(ast.dump(ast.parse(text)))
        except (TypeError, OSError, AttributeError):
            continue
    return found


def short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
