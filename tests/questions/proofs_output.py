"""What the questions of section 3.4 ask, computed: a function a question, named by its label; see
`proofs_deep_learning.py`.
"""

import pytest
import torch

from attnlib.output_representations.multidimensional import attend_features
from attnlib.output_representations.multihead import MultiHead, multihead
from attnlib.output_representations.structured_self import penalty

# --- multi-head -------------------------------------------------------------------------------------------------------


def multi_head_q_held():
    def held(d, H):
        """Counted in a layer of d H numbers, whose heads share them out: H squared times the sum."""
        return sum(each.numel() for each in MultiHead(d * H, heads=H, bias=False).parameters()) / H**2

    return held, {}


def multi_head_q_root():
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(3, 128, generator=generator, dtype=torch.float64)
    weights = multihead(vectors, vectors, vectors, heads=8).weights
    head = vectors[:, :16]
    ratio = (head @ head.mT)[0, 1] - (head @ head.mT)[0, 2]
    return ratio / (weights[0, 0, 1] / weights[0, 0, 2]).log(), {}


# --- multi-dimensional ------------------------------------------------------------------------------------------------


def multi_dimensional_q_feature():
    value = torch.tensor([[4.0, 0.0], [0.0, 8.0]], dtype=torch.float64)

    def context(*first):
        energies = torch.tensor([first, [1.0, 1.0]], dtype=torch.float64).log()
        return attend_features(energies[None], value).context[0]

    assert context(3.0, 1.0).tolist() == pytest.approx([3.0, 4.0])  # as by hand
    made = context(3.0, 3.0)
    return made[1], {"4": context(3.0, 1.0)[1], "3": made[0]}


def multi_dimensional_q_penalty():
    def of(*hops):
        return penalty(torch.tensor(hops, dtype=torch.float64))

    half, even = [0.5, 0.5, 0.0], [1 / 3] * 3
    one, other = [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]
    return of(half, half), {"10/9": of(even, even), "2": of(one, one), "0": of(one, other)}
