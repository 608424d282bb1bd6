"""What the questions of the page on the taxonomy ask, computed: a function a question, named by its label; see
`proofs_deep_learning.py`.
"""

import torch

from attnlib import masks
from attnlib.book.taxonomy import Work, cells
from attnlib.distributions import softmax
from attnlib.output_representations.multihead import multihead


def taxonomy_q_cells():
    def work(softness, sources):
        return Work(name="", authors="", year=0, source="", softness=softness, input_form="item-wise",
                    input_representation=sources, output_representation="single-output")  # fmt: skip

    both = work(("soft", "hard"), ("distinctive", "self"))
    wrong = {
        "6": len(both.types),
        "2": len(cells(work("soft", ("distinctive", "self")))),
        "1": len(cells(work("soft", "self"))),
    }
    return len(cells(both)), wrong


def taxonomy_q_levels():
    sentences = [torch.zeros(1, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)]
    short, long = softmax(torch.stack([words.logsumexp(-1) for words in sentences]))
    by_means = softmax(torch.stack([words.mean() for words in sentences]))[0]
    assert torch.allclose(softmax(torch.cat(sentences))[0], short)  # flat
    return short, {"1/2": by_means, "1/3": short / long, "3/4": long}


def taxonomy_q_window():
    def weights(heads, mask=None):
        """How many weights the middle word's output has."""
        words = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
        return int((multihead(words, words, words, heads=heads, mask=mask).weights[:, 32] > 0).sum())

    near, left = masks.window(64, left=3, right=3), masks.window(64, left=2, right=1)
    others = near & ~torch.eye(64, dtype=torch.bool)
    return weights(4, near), {"256": weights(4), "5": weights(1, near), "16": weights(4, others), "8": weights(4, left)}
