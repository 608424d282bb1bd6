"""``make bench``: how attend compares with torch's kernel and with the plain formula, and what else costs how much.

Ratios, not times: the versions under comparison run in turn, round by round, in one process, so that a busy machine
slows all of them alike. Beside each ratio stands the error against float64, so that speed is never had for wrong
numbers. Nothing is asserted.
"""

import argparse
import functools
import statistics
import time

import torch
import torch.nn.functional as F

from attnlib import attend, distributions, masks, scores


def naive(query, key, value, mask=None, is_causal=False):
    """The formula and nothing else: no safe rows, no quarantine."""
    energies = query @ key.mT * query.shape[-1] ** -0.5
    if is_causal:
        mask = torch.ones(energies.shape[-2:], dtype=torch.bool, device=energies.device).tril()
    if mask is not None:
        energies = energies.masked_fill(~mask, -torch.inf)
    return torch.softmax(energies, -1) @ value


now = time.perf_counter


def clock(call, repeats, device):
    if device.type == "cuda":
        torch.cuda.synchronize()
    start = now()
    for _ in range(repeats):
        call()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return (now() - start) / repeats


def with_backward(call, leaves):
    def run():
        torch.autograd.grad(call().sum(), leaves)

    return run


def compare(title, calls, exact, device, rounds, leaves=None):
    """Print the time of each call over that of the first, and its error; a name in brackets is another function."""
    timed = {name: with_backward(call, leaves) if leaves else call for name, call in calls.items()}
    for call in timed.values():
        call()
    repeats = max(1, min(200, int(0.005 / clock(next(iter(timed.values())), 1, device))))
    times = {name: [] for name in timed}
    for _ in range(rounds):
        for name, call in timed.items():
            times[name].append(clock(call, repeats, device))
    yardstick = times[next(iter(times))]
    print(f"\n{title}")
    for name, call in calls.items():
        ratios = [one / other for one, other in zip(times[name], yardstick, strict=True)]
        best = min(times[name]) / min(yardstick)
        spread = f"({min(ratios):.2f} to {max(ratios):.2f})"
        error = "" if name[0] == "(" else f"{(call().detach().double() - exact).abs().max().item():.1e}"
        print(f"  {name:36s} {statistics.median(ratios):7.2f}  {spread:18s} {best:7.2f}   {error}")


def bench_attend(device, rounds, batch, heads, length, size):
    make = functools.partial(torch.randn, batch, heads, length, size, device=device)
    parts = [make().requires_grad_() for _ in range(3)]
    lengths = torch.randint(length // 2, length + 1, (batch,), device=device)
    padding = masks.key_mask(lengths, length).unsqueeze(1)

    def versions(mask, is_causal):
        return {
            "F.scaled_dot_product_attention": lambda: F.scaled_dot_product_attention(
                *parts, attn_mask=mask, is_causal=is_causal
            ),
            "attend(need_weights=False)": lambda: (
                attend(*parts, mask=mask, is_causal=is_causal, need_weights=False).context
            ),
            "attend": lambda: attend(*parts, mask=mask, is_causal=is_causal).context,
            "the formula": lambda: naive(*parts, mask, is_causal),
        }

    pairs = (torch.rand(batch, 1, length, length, device=device) > 0.3) | torch.eye(length, dtype=bool, device=device)
    for title, mask, is_causal in [
        ("", None, False),
        (", causal", None, True),
        (", padding mask", padding, False),
        (", a mask for each pair", pairs, False),
    ]:
        calls = versions(mask, is_causal)
        exact = naive(*(part.detach().double() for part in parts), mask, is_causal)
        shape = f"{batch} x {heads} heads x {length} x {size}{title}"
        with torch.no_grad():
            compare(f"forward, {shape}", calls, exact, device, rounds)
        compare(f"forward and backward, {shape}", calls, exact, device, rounds, parts)


def bench_additive(device, rounds, length):
    """The split matrix against a concatenation of every query with every key."""
    d, d_w = 64, 32
    query, key = torch.randn(length, d, device=device), torch.randn(length, d, device=device)
    vector, weight = torch.randn(d_w, device=device), torch.randn(d_w, 2 * d, device=device) / d**0.5

    def concatenated(query, key, vector, weight):
        pairs = [query.unsqueeze(-2).expand(-1, length, -1), key.unsqueeze(-3).expand(length, -1, -1)]
        return torch.tanh(torch.cat(pairs, -1) @ weight.mT) @ vector

    query_weight, key_weight = weight.split(d, -1)
    calls = {
        "concatenation of all pairs": lambda: concatenated(query, key, vector, weight),
        "scores.concat": lambda: scores.concat(query, key, vector=vector, weight=weight),
        "scores.additive": lambda: scores.additive(
            query, key, vector=vector, query_weight=query_weight, key_weight=key_weight
        ),
        "(scores.scaled_dot)": lambda: scores.scaled_dot(query, key),
    }
    exact = concatenated(*(part.double() for part in (query, key, vector, weight)))
    compare(f"additive score, {length} x {length}, d_w={d_w}", calls, exact, device, rounds)


def bench_distributions(device, rounds, n_rows, n_key):
    energies = torch.randn(n_rows, n_key, device=device, requires_grad=True)
    calls = {"torch.softmax": lambda: torch.softmax(energies, -1), "softmax": lambda: distributions.softmax(energies)}
    exact = torch.softmax(energies.double(), -1).detach()
    with torch.no_grad():
        compare(f"softmax, {n_rows} x {n_key}, forward", calls, exact, device, rounds)
    compare(f"softmax, {n_rows} x {n_key}, forward and backward", calls, exact, device, rounds, [energies])
    try:
        import entmax
    except ImportError:
        print("\nthe entmax package is not here: sparsemax and entmax are not compared")
        return
    for name, theirs, ours in [
        ("sparsemax", functools.partial(entmax.sparsemax, dim=-1), distributions.sparsemax),
        ("entmax 1.5", functools.partial(entmax.entmax15, dim=-1), distributions.entmax),
        (
            "entmax 1.3",
            functools.partial(entmax.entmax_bisect, alpha=1.3, dim=-1),
            functools.partial(distributions.entmax, alpha=1.3),
        ),
    ]:
        calls = {
            f"{name} of the entmax package": functools.partial(theirs, energies),
            f"{name} of attnlib": functools.partial(ours, energies),
            "(torch.softmax)": lambda: torch.softmax(energies, -1),
        }
        exact = ours(energies.double()).detach()
        compare(f"{name}, {n_rows} x {n_key}, forward and backward", calls, exact, device, rounds, [energies])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few rounds and small sizes")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=1, help="of torch (default: 1)")
    parser.add_argument("--busy", action="store_true", help="count processor time, one thread: for a machine in use")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    torch.manual_seed(0)
    rounds = 5 if arguments.quick else 15
    torch.set_num_threads(1 if arguments.busy else arguments.threads)
    if arguments.busy:
        global now
        now = time.process_time
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else torch.backends.cpu.get_cpu_capability()
    print(f"device {device} ({name}), torch {torch.__version__}, {torch.get_num_threads()} threads, float32")
    print(f"each against the first line of its group, {rounds} rounds; names in brackets compute another function")
    print(f"  {'':36s} {'median':>7s}  {'least to most':18s} {'best':>7s}   error")
    for sizes in [(1, 4, 16, 64)] if arguments.quick else [(1, 4, 16, 64), (8, 8, 128, 64), (2, 8, 1024, 64)]:
        bench_attend(device, rounds, *sizes)
    bench_additive(device, rounds, 64 if arguments.quick else 256)
    bench_distributions(device, rounds, *((256, 64) if arguments.quick else (4096, 128)))


if __name__ == "__main__":
    main()
