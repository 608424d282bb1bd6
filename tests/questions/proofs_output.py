"""What the questions of section 3.4 ask, computed: a function a question, named by its label; see
`proofs_deep_learning.py`.
"""

import torch

from attnlib.output_representations.multihead import MultiHead, multihead

# --- multi-head -------------------------------------------------------------------------------------------------------


def multi_head_q_held():
    def held(d, H):
        """Counted in a layer of d H numbers, whose heads share them out: H squared times the sum."""
        return sum(each.numel() for each in MultiHead(d * H, heads=H, bias=False).parameters()) / H**2

    return held, {}


def multi_head_q_root():
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(3, 512, generator=generator, dtype=torch.float64)
    weights = multihead(vectors, vectors, vectors, heads=8).weights
    head = vectors[:, :64]
    ratio = (head @ head.mT)[0, 1] - (head @ head.mT)[0, 2]
    return ratio / (weights[0, 0, 1] / weights[0, 0, 2]).log(), {}
