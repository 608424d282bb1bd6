"""Properties that any attention must have, for anybody's function: ``check(function)`` gives a table.

``report.failed`` names what does not hold; :func:`assert_attention` does the same in a test:

>>> from attnlib import attend
>>> def test_my_attention():
...     assert_attention(attend, kind="scaled dot")
>>> test_my_attention()

What it cannot see: faults that come with size, as it calls with a few short sequences; with training, as a module is
looked at in ``eval()``; on another device than the one given; that a mechanism is another one than its name says,
unless the kind is ``"dot"`` or ``"scaled dot"``; the weights behind a projection of the values, unless they are
returned; and self-attention of one input, which has to be given queries and keys apart (``tied=True`` where the keys
are the values too). What needs float64 to be seen is looked at in float32 where a function computes in that.
"""

from ._run import assert_attention, check
from .names import kinds, properties
from .report import Finding, Report

__all__ = ["Finding", "Report", "assert_attention", "check", "kinds", "properties"]
