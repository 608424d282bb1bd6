"""FeatureAttention: a weight for each feature of each token, against one weight for each token."""

from typing import ClassVar

import torch

from attnlib import attend
from attnlib.output_representations.multidimensional import attend_features
from attnlib.widgets.presets import Presets, PresetWidget, preset
from attnlib.widgets.text import share
from attnlib.widgets.traits import Array, Output, Texts, Whole

__all__ = ["FEATURES", "PRESETS", "FeatureAttention"]

FEATURES = 3
_THINGS = ["circle", "square", "star", "cross"]
_VALUES = [[1.0, 3.0, 3.0], [6.0, 2.0, 5.0], [7.0, 9.0, 9.0], [5.0, 4.0, 1.0]]
_FLAT = [0.0] * FEATURES

PRESETS = [
    preset(
        "Each from its own",
        "Hue is read from the circle and size from the star; one weight for each token gives either 0.40 and reads "
        "neither: raise the circle's size and see who gives way.",
        tokens=_THINGS,
        energies=[[4.0, 0.0, 0.0], _FLAT, [0.0, 4.0, 0.0], _FLAT],
        values=_VALUES,
        token=0,
    ),
    preset(
        "All agree",
        "The features of a token have the same energy here, so that filled and dashed bars are one: move one handle, "
        "and the other two features do not stir.",
        tokens=_THINGS,
        energies=[[0.0] * FEATURES, [2.0] * FEATURES, [1.0] * FEATURES, [-1.0] * FEATURES],
        values=_VALUES,
        token=1,
    ),
    preset(
        "They cancel",
        "Hue is read from the circle and the star, size from the square, place from the cross; but every token's "
        "mean energy is 0, so that one weight for each token tells none from another: four bars of a quarter.",
        tokens=_THINGS,
        energies=[[3.0, -3.0, 0.0], [-3.0, 3.0, 0.0], [3.0, 0.0, -3.0], [-3.0, 0.0, 3.0]],
        values=_VALUES,
        token=2,
    ),
    preset(
        "A constant",
        "For size every token has an energy of 3 and for hue 0, and both have four bars of a quarter: a softmax over "
        "the tokens does not see what all of them have; lower one, and the bars move.",
        tokens=_THINGS,
        energies=[[0.0, 3.0, 2.0], [0.0, 3.0, 0.0], [0.0, 3.0, 0.0], [0.0, 3.0, 0.0]],
        values=_VALUES,
        token=3,
    ),
]


class FeatureAttention(PresetWidget):
    """Energies of three features of some tokens: the weights of each feature, and one weight for each token.

    Args:
        tokens: from 2 to 6 names.
        features: three names.
        energies: ``(token, feature)``.
        values: ``(token, feature)``, what is averaged.
        token: the one whose energies the handles show.
        preset: the name of a preset to start from; what else is given comes on top.
        presets: what the reader can start from.

    The outputs are recomputed in float64 with attnlib: ``weights`` ``(token, feature)``, each feature's summing to one,
    and their ``context``; ``one`` weight for each token, from the mean of its energies, and its ``mixture``.

    >>> widget = FeatureAttention(tokens=["a", "b"], energies=[[99, 0, 0], [0, 99, 0]], values=[[1, 2, 3], [5, 6, 7]])
    >>> widget.context, widget.mixture
    ([1.0, 6.0, 5.0], [3.0, 4.0, 5.0])
    """

    tokens = Texts(_THINGS, shape=(("token", 2, 6),))
    features = Texts(["hue", "size", "place"], shape=(FEATURES,))
    energies = Array((("token", 2, 6), FEATURES), PRESETS[0]["state"]["energies"])
    values = Array((("token", 2, 6), FEATURES), _VALUES)
    token = Whole(0, below="tokens")
    presets = Presets(PRESETS)
    weights = Output("of each feature of each token; each feature's sum to one")
    context = Output("what each feature reads")
    one = Output("the weight of each token where all its features share one")
    mixture = Output("what each feature reads under these")

    sample: ClassVar = {"energies": [[1.0, 0.5, 0.0], [0.0, 0.5, 2.0], [0.0, -1.0, 1.0], [0.5, 0.0, 0.0]]}

    def _compute(self) -> None:
        energies, values = (torch.tensor(part, dtype=torch.float64) for part in (self.energies, self.values))
        found = attend_features(energies.unsqueeze(-3), values)
        assert found.weights is not None
        self.set_trait("weights", found.weights[0].tolist())
        self.set_trait("context", found.context[0].tolist())
        none = energies.new_zeros(1, 1)
        shared = attend(none, none.expand(len(energies), 1), values, bias=energies.mean(-1).unsqueeze(0))
        assert shared.weights is not None
        self.set_trait("one", shared.weights[0].tolist())
        self.set_trait("mixture", shared.context[0].tolist())

    def summary(self) -> str:
        """Where each feature looks most, and the largest of the shared weights."""
        told = []
        for k, feature in enumerate(self.features):
            best = max(range(len(self.tokens)), key=lambda i: self.weights[i][k])
            told.append(f"{feature} most at {self.tokens[best]} ({share(self.weights[best][k])})")
        top = max(range(len(self.tokens)), key=self.one.__getitem__)
        return f"{', '.join(told)}; one weight for each token: most at {self.tokens[top]} ({share(self.one[top])})"
