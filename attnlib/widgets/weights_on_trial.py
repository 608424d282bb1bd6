"""WeightsOnTrial: a sentence whose weights can be dragged, with the network's beside them and the answer of both."""

from typing import Any, ClassVar

import torch

from attnlib.explanation import divergence
from attnlib.widgets.presets import Presets, PresetWidget, preset
from attnlib.widgets.text import number, share
from attnlib.widgets.traits import Array, Output, StateError, Texts

__all__ = ["PRESETS", "WeightsOnTrial"]

_N: Any = (("n", 2, 12),)
_MIXED: dict[str, Any] = {
    "words": ["a", "painfully", "funny", "ode", "to", "bad", "behavior", "."],
    "values": [-0.7, -1.1, 1.1, 0.2, -0.6, -4.6, -2.3, -2.1],
    "trained": [0.06, 0.09, 0.18, 0.18, 0.24, 0.15, 0.05, 0.05],
}
PRESETS = [
    preset("A review", "Notice.", **_MIXED, weights=_MIXED["trained"]),
]


class WeightsOnTrial(PresetWidget):
    """What a network's weights on the words of a sentence do to its answer, and what other weights would do.

    Args:
        words: from 2 to 12.
        values: what each word says by itself, above 0 for positive; the energy of the answer is their mean by the
            weights.
        trained: the weights that the network gave; they are divided by their sum.
        weights: the weights to try; they are divided by theirs.
        preset: the name of a preset to start from; what else is given comes on top.
        presets: what the reader can start from.

    The outputs are computed in float64 with attnlib: ``shares`` (the weights that are tried), ``answer`` and
    ``network_answer`` (probabilities of *positive*), and ``apart``, the divergence of the two maps.

    >>> trial = WeightsOnTrial(words=["good", "bad"], values=[2, -2], trained=[3, 1], weights=[1, 1])
    >>> trial.shares, trial.answer
    ([0.5, 0.5], 0.5)
    """

    words = Texts(_MIXED["words"], shape=_N)
    values = Array(_N, _MIXED["values"], least=-99, most=99)
    trained = Array(_N, _MIXED["trained"], least=0, most=99)
    weights = Array(_N, _MIXED["trained"], least=0, most=99)
    presets = Presets(PRESETS)
    shares = Output("the weights that are tried, by their sum")
    answer = Output("probability of positive with these")
    network_answer = Output("the same with the network's weights")
    apart = Output("divergence of the two maps, from 0 to log 2")

    sample: ClassVar = {"words": ["good", "bad"], "values": [2, -2], "trained": [3, 1], "weights": [0, 1]}

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
