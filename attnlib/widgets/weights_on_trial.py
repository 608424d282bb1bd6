"""WeightsOnTrial: a sentence whose weights can be dragged, with the network's beside them and the answer of both."""

from typing import Any, ClassVar

import torch

from attnlib.explanation import divergence
from attnlib.widgets.presets import Presets, PresetWidget, preset
from attnlib.widgets.text import number, share
from attnlib.widgets.traits import Array, Number, Output, StateError, Texts

__all__ = ["PRESETS", "WeightsOnTrial"]

_N: Any = (("n", 2, 12),)
# Snippets of reviews of films, and what a network made of them: book/experiments/ablation.py, sharp start, seed 0.
_PUT: dict[str, Any] = {
    "words": ["a", "well", "put", "together", "piece", "of", "urban", "satire", "."],
    "values": [1.047, 2.056, 0.862, 1.916, 2.019, 1.969, 2.583, 1.237, 1.261],
    "trained": [0.006, 0.175, 0.5, 0.02, 0.011, 0.061, 0.101, 0.122, 0.003],
}
_BAD: dict[str, Any] = {
    "words": ["a", "painfully", "funny", "ode", "to", "bad", "behavior", "."],
    "values": [-0.924, -1.237, 0.53, -0.148, -0.816, -2.811, -1.784, -1.225],
    "trained": [0.004, 0.083, 0.039, 0.025, 0.021, 0.81, 0.013, 0.004],
}
_PUNCH: dict[str, Any] = {
    "words": ["its", "rawness", "and", "vitality", "give", "it", "considerable", "punch", "."],
    "values": [-0.621, -0.657, 0.145, -1.063, -1.082, -0.584, 0.427, -1.313, -0.552],
    "trained": [0.108, 0.112, 0.475, 0.14, 0.007, 0.013, 0.023, 0.117, 0.005],
}
PRESETS = [
    preset(
        "Half on one word",
        "Half of the weight is on “put”, and yet each word by itself says positive: no weights at all could turn this "
        "decision.",
        **_PUT,
        weights=_PUT["trained"],
        tolerance=0.01,
    ),
    preset(
        "The same answer",
        "Nine tenths of the weight are on the full stop now, and the answer is the same to within a hundredth.",
        **_PUT,
        weights=[0, 0, 0, 0, 0.097, 0, 0, 0, 0.903],
        tolerance=0.01,
    ),
    preset(
        "From another start",
        "A second network, alike but for its start, weighs the same words like this: put into the first, its weights "
        "tell another story and leave the decision as it is.",
        **_PUT,
        weights=[0.05, 0.221, 0.344, 0.256, 0.059, 0.013, 0.049, 0.007, 0.001],
        tolerance=0.01,
    ),
    preset(
        "A map to believe",
        "Four fifths of the weight are on “bad”, which also says most by itself: make the weights even and see how far "
        "the answer moves.",
        **_BAD,
        weights=_BAD["trained"],
        tolerance=0.01,
    ),
    preset(
        "Words that disagree",
        "Two words speak for the film and seven against it: here weights can turn the decision, so drag “considerable” "
        "until it turns.",
        **_PUNCH,
        weights=_PUNCH["trained"],
        tolerance=0.01,
    ),
]


class WeightsOnTrial(PresetWidget):
    """What a network's weights on the words of a sentence do to its answer, and what other weights would do.

    Args:
        words: from 2 to 12.
        values: what each word says by itself, above 0 for positive; the energy of the answer is their mean by the
            weights.
        trained: the weights that the network gave; they are divided by their sum.
        weights: the weights to try; they are divided by theirs.
        tolerance: by how much the answer may move where the page looks for the farthest weights.
        preset: the name of a preset to start from; what else is given comes on top.
        presets: what the reader can start from.

    The outputs are computed in float64 with attnlib: ``shares`` (the weights that are tried), ``answer`` and
    ``network_answer`` (probabilities of *positive*), and ``apart``, the divergence of the two maps.

    >>> trial = WeightsOnTrial(words=["good", "bad"], values=[2, -2], trained=[3, 1], weights=[1, 1])
    >>> trial.shares, trial.answer
    ([0.5, 0.5], 0.5)
    """

    words = Texts(_PUT["words"], shape=_N)
    values = Array(_N, _PUT["values"], least=-99, most=99)
    trained = Array(_N, _PUT["trained"], least=0, most=99)
    weights = Array(_N, _PUT["trained"], least=0, most=99)
    tolerance = Number(0.01, least=0.01, most=0.2)
    presets = Presets(PRESETS)
    shares = Output("the weights that are tried, by their sum")
    answer = Output("probability of positive with these")
    network_answer = Output("the same with the network's weights")
    apart = Output("divergence of the two maps, from 0 to log 2")

    sample: ClassVar = {"tolerance": 0.05}

    def _check(self, state: dict[str, Any]) -> None:
        for name in ("trained", "weights"):
            if not sum(state[name]) > 0:
                raise StateError(f"{name} must have a weight above 0; got none")

    def _compute(self) -> None:
        values, own, network = (
            torch.tensor(each, dtype=torch.float64) for each in (self.values, self.weights, self.trained)
        )
        own, network = own / own.sum(), network / network.sum()
        self.set_trait("shares", own.tolist())
        self.set_trait("answer", (own @ values).sigmoid().item())
        self.set_trait("network_answer", (network @ values).sigmoid().item())
        self.set_trait("apart", divergence(network, own).item())

    def summary(self) -> str:
        """Each word with its weight, and both answers."""
        told = ", ".join(f"“{word}” {share(part)}" for word, part in zip(self.words, self.shares, strict=True))
        positive = (
            f"positive with probability {share(self.answer)}, by the network's weights {share(self.network_answer)}"
        )
        return f"{positive}; the maps are {number(self.apart, 3)} apart: {told}"
