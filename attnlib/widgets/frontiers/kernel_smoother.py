"""KernelSmoother: keys on a line, each with a value, and the mean that a kernel makes of them for any query."""

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

from torch import Tensor

from attnlib import Attention
from attnlib.frontiers.kernels import (
    kernel_smoother,
    linear_kernel,
    log_exponential_kernel,
    log_rbf_kernel,
    polynomial_kernel,
)
from attnlib.frontiers.linear import positive_elu
from attnlib.scores import generalized_kernel
from attnlib.widgets.plane import tensor
from attnlib.widgets.presets import Presets, PresetWidget, preset
from attnlib.widgets.text import number
from attnlib.widgets.traits import Array, Choice, Number, Output, Whole

__all__ = ["PRESETS", "KernelSmoother"]

_NEUTRAL: dict[str, Any] = {
    "query": 0.8,
    "points": [[-2.6, -0.4], [-1.8, 1.6], [-0.9, 1.1], [0.2, -1.2], [1.2, -1.5], [2.0, 0.6], [2.6, 2.2]],
    "kernel": "radial",
    "width": 0.5,
    "degree": 2,
}


def _preset(name: str, notice: str, **state: Any) -> dict[str, Any]:
    """A preset that leaves nothing as it was."""
    return preset(name, notice, **{**_NEUTRAL, **state})


PRESETS = [
    _preset(
        "Near keys count",
        "The curve follows the values of the keys near q: make h smaller and it jumps from key to key, "
        "larger and it flattens towards the mean.",
    ),
    _preset(
        "Softmax attention",
        "Its kernel is exp(qk): at q = 0 all keys weigh alike, and as q leaves 0 the farthest key on its side takes "
        "over, for a dot product pays for length.",
        kernel="exponential",
        width=1.0,
        query=2.4,
    ),
    _preset(
        "A flat curve",
        "Every key weighs something, and φ(q) grows with q, yet no weight moves: the curve is flat wherever q goes.",
        kernel="elu + 1",
        width=1.0,
    ),
    _preset(
        "Three features",
        "(1 + qk)² is a product of three features: the curve bends a little, no weight is negative, and a key where "
        "1 + qk = 0, here F, weighs nothing.",
        kernel="polynomial",
        width=1.0,
        query=-0.5,
    ),
    _preset(
        "No distribution",
        "The plain product q k is negative for some keys: their weights are below 0, others above 1, and the context "
        "leaves the range of the values.",
        kernel="linear",
        width=1.0,
    ),
]


class KernelSmoother(PresetWidget):
    """A kernel's weighted mean of values, for keys on a line: points to move, a query, kernel and width to choose.

    ``points`` are rows of a key and its value. Query and keys are divided by ``width`` before the kernel sees them.
    Outputs are computed in float64 by :func:`attnlib.frontiers.kernels.kernel_smoother`. A kernel that may be negative
    is taken as it is; where it adds up to zero there is no average, and ``weights`` and ``context`` are 0.

    >>> smoother = KernelSmoother(points=[[1, 0], [3, 10]], query=1, kernel="linear")
    >>> smoother.weights, smoother.context
    ([0.25, 0.75], 7.5)
    """

    query = Number(_NEUTRAL["query"], least=-1e3, most=1e3)
    points = Array((("n", 1, 12), 2), _NEUTRAL["points"], least=-1e3, most=1e3, help="rows of a key and its value")
    kernel = Choice(("radial", "exponential", "elu + 1", "polynomial", "linear"), _NEUTRAL["kernel"])
    width = Number(_NEUTRAL["width"], least=0.05, most=1e3, help="h, by which query and keys are divided")
    degree = Whole(_NEUTRAL["degree"], least=1, most=6, help="of the polynomial kernel")
    presets = Presets(PRESETS, help="what the reader can start from: name, notice and state of each")
    weights = Output("one number a key")
    context = Output("the weighted mean")

    sample: ClassVar = {"query": 0.25}
    presets_of = ("points",)

    def smooth(self, query: Any) -> Attention:
        """The attention of these queries ``(query,)``."""
        pairs = tensor(self.points)
        key, value = pairs[:, :1], pairs[:, 1:]
        chosen: dict[str, dict[str, Callable[[Tensor, Tensor], Tensor]]] = {
            "radial": {"log_kernel": log_rbf_kernel},
            "exponential": {"log_kernel": log_exponential_kernel},
            "elu + 1": {"kernel": partial(generalized_kernel, feature_map=positive_elu)},
            "polynomial": {"kernel": partial(polynomial_kernel, degree=self.degree, offset=1.0)},
            "linear": {"kernel": linear_kernel},
        }
        taken: dict[str, Any] = chosen[self.kernel]
        asked = tensor(query)[:, None] / self.width
        return kernel_smoother(asked, key / self.width, value, signed="kernel" in taken, **taken)

    def _compute(self) -> None:
        context, weights, _ = self.smooth([self.query])
        assert weights is not None
        self.set_trait("weights", weights[0].tolist())
        self.set_trait("context", context.item())

    def summary(self) -> str:
        """The kernel, the query, every key's weight, and the context, if there is one."""
        told = ", ".join(f"{chr(65 + i)} {number(weight, 3)}" for i, weight in enumerate(self.weights))
        context = f"context {number(self.context)}" if any(self.weights) else "no average here"
        return f"{self.kernel} kernel, h = {number(self.width)}, q = {number(self.query)}: weights {told}; {context}"
