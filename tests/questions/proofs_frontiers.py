"""What the questions of section 4 ask, computed: a function a question, named by its label; see
`proofs_deep_learning.py`.
"""

import torch

from attnlib.frontiers.delta_rule import delta_rule
from attnlib.frontiers.linear import linear_attention

# --- kernels and linear attention -------------------------------------------------------------------------------------


def kernels_q_context():
    key = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]], dtype=torch.float64)
    value = torch.tensor([[0.0], [3.0], [6.0]], dtype=torch.float64)
    query = torch.zeros(1, 2, dtype=torch.float64)
    return linear_attention(query, key, value).context, {"3": value.mean()}


def kernels_q_length():
    def length(D, d):
        """Where the two meet, found by halving."""
        low, high = 1e-6, 1e6
        for _ in range(200):
            n = (low + high) / 2
            low, high = (n, high) if n * n * (D + d) < 2 * n * D * d else (low, n)
        return high

    return length, {}


def kernels_q_delta():
    def answer(strength, values):
        key = torch.tensor([[0.6, 0.8]], dtype=torch.float64).expand(len(values), 2)
        value = torch.tensor(values, dtype=torch.float64)[:, None]
        return delta_rule(key, key, value, strength=strength).context[-1]

    return answer(0.5, [5.0, 7.0]), {
        "7": answer(1.0, [5.0, 7.0]),
        "2.5": answer(0.5, [5.0]),
        "12": torch.tensor(5.0 + 7.0),
    }
