"""What the questions of section 1 ask, computed: a function a question, named by its label; see
`proofs_deep_learning.py`.
"""

import pytest
import torch

from attnlib.brain.across_scales import normalise
from attnlib.brain.bottleneck import entropy_in_bits, mutual_information

# --- the bottleneck ---------------------------------------------------------------------------------------------------


def bottleneck_q_pass():
    weights = torch.tensor([1 / 2] + 4 * [1 / 8], dtype=torch.float64)
    bits = entropy_in_bits(weights)
    return 2**bits, {"2": bits, "5": weights.count_nonzero(), "16/5": 1 / weights.square().sum()}


def bottleneck_q_bits():
    told = mutual_information(torch.eye(8, dtype=torch.float64))
    generator = torch.Generator().manual_seed(0)
    tables = torch.rand(500, 20, 8, generator=generator, dtype=torch.float64) ** 9
    assert (mutual_information(tables) <= told).all()
    return told, {"ln 8": told * torch.tensor(2.0).double().log(), "1/8": torch.tensor(1 / 8)}


# --- saliency ---------------------------------------------------------------------------------------------------------


def peak(*row):
    """The peak of a map that holds a row."""
    return normalise(torch.tensor([row], dtype=torch.float64)).max()


def saliency_q_peak():
    return peak(0, 6, 0, 2, 0, 4, 0), {"1": peak(0, 6, 0, 0)}


def saliency_q_order():
    peaks = [peak(0, 4, 0, 3, 0), peak(4, 0, 3, 0, 1), peak(0, 4, 0)]
    assert [each.item() for each in peaks] == pytest.approx([1 / 16, 1 / 4, 1])
    return sorted(range(3), key=lambda i: -peaks[i]), {}
