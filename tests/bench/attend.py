"""Scaled dot-product attention, with and without masks: against torch's kernel and the plain formula."""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from attnlib import attend, masks

from . import peers
from .case import BOTH, OURS, Case, Work, formula, lower, made, within

SDPA, FORMULA, WEIGHTS = "torch's SDPA", "the formula", f"{OURS}, with weights"


def cases(*, quick: bool, device: str) -> Iterator[Case]:
    sizes = [(2, 2, 16)] if quick else [(1, 4, 16), (8, 8, 128), (2, 8, 512), (1, 4, 2048)]
    if device == "cuda" and not quick:
        sizes = [(8, 16, 128), (8, 16, 1024), (4, 16, 4096)]
    for batch, heads, n in sizes:
        for name in ("no mask", "causal", "padding"):
            yield case(name, batch, heads, n, device)


def case(name: str, batch: int, heads: int, n: int, device: str, d: int = 64) -> Case:
    lengths = torch.arange(batch) % 4 * n // 8 + n // 2
    visible = {"no mask": None, "causal": lower(n, device), "padding": masks.key_mask(lengths, n).unsqueeze(1)}[name]
    visible = None if visible is None else visible.to(device)
    causal = name == "causal"
    shown = None if causal else visible
    options = {"is_causal": causal, "mask": shown}
    ways: dict[str, Callable[..., Tensor]] = {
        SDPA: lambda q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=shown, is_causal=causal),
        OURS: lambda q, k, v: attend(q, k, v, need_weights=False, **options).context,
        FORMULA: lambda q, k, v: formula(q, k, v, visible),
        WEIGHTS: lambda q, k, v: attend(q, k, v, **options).context,
    }
    if (theirs := peers.x_transformers()) is not None:
        module = theirs.Attend(flash=True, causal=causal).to(device)
        keys = visible[:, 0, 0] if name == "padding" and visible is not None else None
        ways["x-transformers"] = lambda q, k, v: module(q, k, v, mask=keys)[0]
    pairs = batch * heads * n * n * (0.5 if causal else 1)
    return Case(
        name=f"attend, {name}",
        size={"B": batch, "H": heads, "N": n, "d": d},
        inputs=made(*[(batch, heads, n, d)] * 3, device=device),
        ways=ways,
        exact=lambda q, k, v: formula(q, k, v, visible if visible is None or causal else visible[:1]),
        work=Work(flops=4 * pairs * d, exp=pairs, numbers=4 * batch * heads * n * d),
        memory=(BOTH,) if n >= 2048 and name != "causal" else (),
        goals=(
            within(SDPA, 1.03 if n >= 128 else 1.5),
            within(FORMULA, 1.05 if name == "no mask" else 1.2, ours=WEIGHTS),
        ),
    )
