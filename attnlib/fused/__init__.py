"""Fast paths: the same functions as the mechanisms' own, in less time or memory, and what they are built of.

A mechanism's public function takes a path where it gives the same context and the weights are not asked for;
:func:`explain` says which one, and why not another. What is called by name stands in :mod:`attnlib.fused.across`: one
sequence over several processes.
"""

from .native import build_kernels
from .paths import Choice, Explanation, explain, reference_only

__all__ = ["Choice", "Explanation", "build_kernels", "explain", "reference_only"]
