"""What the questions of section 3.1 ask, computed: a function a question, named by its label; see
`proofs_deep_learning.py`.
"""

import torch

from attnlib.distributions import softmax
from attnlib.softness import hard
from attnlib.softness.local import full_weights, local

WEIGHTS = torch.tensor([0.5, 0.25, 0.25], dtype=torch.float64)
REWARDS = torch.tensor([-1.0, -2.0, -4.0], dtype=torch.float64)


def bound_and_truth(weights, rewards):
    """The bound of H1, and the log-likelihood that it is under."""
    logs = weights.log()
    return hard.bound(rewards, logs), hard.log_marginal(rewards, logs)


def estimates(baseline):
    """What a draw of each position says to each energy (draw, energy)."""
    energies = WEIGHTS.log().requires_grad_()
    logs = softmax(energies).log()
    made = []
    for s in range(3):
        loss = hard.reinforce_loss(REWARDS[s : s + 1], logs[s : s + 1], baseline=baseline)
        made.append(-torch.autograd.grad(loss, energies, retain_graph=True)[0])
    return torch.stack(made)


def soft_and_hard_q_draw():
    said = estimates(-3.0)[0]
    assert said[1] == estimates(0.0)[0, 0]  # the mistake that one hint has two names for
    return said[0], {"-1/2": said[1], "2": REWARDS[0] + 3, "-2": estimates(3.0)[0, 0]}


def soft_and_hard_q_tight():
    def tight(weights, rewards):
        bound, truth = bound_and_truth(*(torch.tensor(each, dtype=torch.float64) for each in (weights, rewards)))
        return bool((bound - truth).abs() < 1e-9)

    bound, truth = bound_and_truth(torch.tensor([0.5, 0.5]), torch.tensor([0.0, -4.0]))
    assert (round(bound.item(), 2), round(truth.item(), 2)) == (-2.0, -0.67)
    alike, same = tight([0.5, 0.5], [0.0, -4.0]), tight([0.7, 0.2, 0.1], [-2.0, -2.0, -2.0])
    best_baseline = tight(WEIGHTS.tolist(), REWARDS.tolist())  # which has no part in either
    return [alike, same, best_baseline, tight([0.5, 0.5], [0.0, -4.0])], {}


def soft_and_hard_q_draws():
    def times(s, t):
        """How many times as many draws, found by halving: until the mean's spread is that of the other."""
        low, high = 0.0, 1e6
        for _ in range(200):
            middle = (low + high) / 2
            low, high = (middle, high) if s / middle**0.5 > t else (low, middle)
        return high

    return times, {"(t/s)^2": lambda s, t: times(t, s)}


def soft_and_hard_q_worst():
    energies = WEIGHTS.log().requires_grad_()
    (exact,) = torch.autograd.grad(hard.bound(REWARDS, softmax(energies).log()), energies)
    assert exact.tolist() == [0.5, 0.0, -0.5]
    off = (estimates(0.0) - exact).abs()
    assert off.max() == 2.5
    assert off[1, 1] == 1.5
    assert off[1].max() == off[1, 1]
    return off == off.max(), {}


# --- global and local attention ---------------------------------------------------------------------------------------


def windowed(centre, **options):
    """The weights of twenty keys that are all alike, with D = 2."""
    query, key = torch.ones(1, 1, dtype=torch.float64), torch.zeros(20, 1, dtype=torch.float64)
    centre = torch.tensor([centre], dtype=torch.float64)
    weights = local(query, key, centre=centre, half_width=2, **options).weights
    return full_weights(weights, centre=centre, n_key=20)[0]


def global_and_local_q_window():
    return windowed(7.5).count_nonzero(), {"5": windowed(7.0).count_nonzero()}


def global_and_local_q_weight():
    plain, full = windowed(4.0, gaussian=False), windowed(4.0)
    wide = torch.exp(torch.tensor(-1 / (2 * 2**2)))  # with sigma = D
    return full[5], {
        "1/5": plain[5],
        "exp(-1/2)": full[5] / plain[5],
        "1/5 exp(-1/8)": plain[5] * wide,
        "0.2442": windowed(4.0, renormalise=True)[5],
    }


def global_and_local_q_cost():
    def seen(m, n, D):
        """Counted, with centres so far from the ends that no window is cut."""
        places = range(-100, 100)
        return sum(abs(place - centre) <= D for centre in range(m) for place in places)

    return seen, {}
