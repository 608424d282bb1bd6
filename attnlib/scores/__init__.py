"""Score functions: how well does a query match a key?

A score is any callable ``(query, key) -> energies`` that takes ``query`` of shape ``(*batch, query, d_q)`` and ``key``
of shape ``(*batch, key, d_k)`` and returns ``(*batch, query, key)``; leading dimensions broadcast. The functions here
are the rows of Table 1 of the article and of the longer table of Chaudhari et al. 2021, in the latter's order.
Parameters are keyword-only tensors: fix them with ``functools.partial``, or use the modules of the same names.

Energies of half-precision vectors are computed, and returned, in float32, under autocast too; only a feature map gets
the vectors as they are, for it may have parameters of their precision. Where a vector overflows on the way to an energy
(a projection, a feature), its energies are NaN and give no gradient, so that it can be hidden.
"""

from . import functions, modules
from .functions import *
from .modules import *

__all__ = functions.__all__ + modules.__all__
