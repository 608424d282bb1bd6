"""One sequence over two processes gives what one process gives, forwards and backwards."""

import os
import socket

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from attnlib.fused.across import attend_across

CASES = ({}, {"is_causal": True}, {"scale": 0.3, "is_causal": True})
N, D = 5, 4


def parts():
    torch.manual_seed(0)
    return [torch.randn(2, 2 * N, D, dtype=torch.float64) for _ in range(4)]


def plain(query, key, value, *, scale=D**-0.5, is_causal=False):
    """The formula, for the whole sequence."""
    energies = query @ key.mT * scale
    if is_causal:
        energies = energies.masked_fill(torch.ones(2 * N, 2 * N).triu(1).bool(), -torch.inf)
    return energies.softmax(-1) @ value


def work(rank, port, found):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=2)
    *tensors, weight = (part.chunk(2, -2)[rank] for part in parts())
    results = []
    for options in CASES:
        leaves = [tensor.clone().requires_grad_() for tensor in tensors]
        context = attend_across(*leaves, **options)
        results.append([context.detach(), *torch.autograd.grad((context * weight).sum(), leaves)])
    torch.save(results, found / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def halves(tmp_path_factory):
    """What each of two processes found."""
    folder = tmp_path_factory.mktemp("across")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(work, args=(port, folder), nprocs=2)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.mark.skipif(not dist.is_gloo_available(), reason="torch was built without gloo")
@pytest.mark.parametrize("case", range(len(CASES)))
def test_two_processes_find_what_one_finds(halves, case) -> None:
    *tensors, weight = parts()
    leaves = [tensor.requires_grad_() for tensor in tensors]
    context = plain(*leaves, **CASES[case])
    expected = [context.detach(), *torch.autograd.grad((context * weight).sum(), leaves)]
    for both, whole in zip(zip(*(half[case] for half in halves), strict=True), expected, strict=True):
        torch.testing.assert_close(torch.cat(both, -2), whole)


def test_without_a_group_it_says_so() -> None:
    query = torch.randn(3, 4)
    with pytest.raises(RuntimeError, match="init_process_group"):
        attend_across(query, query, query)


def test_causal_needs_as_many_queries_as_keys(monkeypatch) -> None:
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    with pytest.raises(ValueError, match="as many queries as keys in each process, got 3 and 5"):
        attend_across(torch.randn(3, 4), torch.randn(5, 4), torch.randn(5, 4), is_causal=True)
