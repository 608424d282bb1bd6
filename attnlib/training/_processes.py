"""One process or several (``torchrun``): what differs between them, and nothing else."""

import atexit
import os
from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


def join(device: torch.device) -> tuple[int, int]:
    """This process's rank and how many there are; meets the others first where ``torchrun`` has started several."""
    if not dist.is_available():
        return 0, 1
    if not dist.is_initialized():
        if int(os.environ.get("WORLD_SIZE", "1")) < 2:
            return 0, 1
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        atexit.register(_leave)
    return dist.get_rank(), dist.get_world_size()


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


def spread(model: nn.Module) -> None:
    """Give every process the parameters and buffers of the first."""
    for part in (*model.parameters(), *model.buffers()):
        dist.broadcast(part.detach(), 0)


def total(loss: Tensor, count: float) -> tuple[float, float]:
    """The summed loss and the count of all processes."""
    both = torch.stack((loss.detach().double(), loss.new_tensor(count, dtype=torch.float64)))
    dist.all_reduce(both)
    return float(both[0]), float(both[1])


def add_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Sum the gradients over the processes; one that no process has stays None, as it would in a single process."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    there = torch.tensor([parameter.grad is not None for parameter in trained])
    parts = [torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten() for p in trained]
    flat = torch.cat((*parts, there.to(parts[0])))
    dist.all_reduce(flat)
    *parts, there = torch.split(flat, [*(p.numel() for p in trained), len(trained)])
    for parameter, part, owners in zip(trained, parts, there.tolist(), strict=True):
        parameter.grad = part.view_as(parameter).to(parameter.dtype) if owners else None


def of_first(value: Any) -> Any:
    """What the first process holds, in every process."""
    box = [value]
    dist.broadcast_object_list(box, 0)
    return box[0]
