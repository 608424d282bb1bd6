"""The museum of broken attention: faults of public code, each in a few lines, with the number that shows it.

Each is brought into one form, ``(query, key, value, mask)``, and written anew: no line is from the code that had it.

>>> exhibit = find("softmax over the queries")
>>> print(exhibit.code)
def softmax_over_queries(query, key, value, mask=None):
    energies = query @ key.mT / query.shape[-1] ** 0.5
    weights = hide(energies, mask).softmax(-2)
    return weights @ value, weights
>>> exhibit.breaks in exhibit.report().failed
True
"""

from .collection import EXHIBITS, find
from .exhibit import Exhibit, Source

__all__ = ["EXHIBITS", "Exhibit", "Source", "find"]
