"""Properties that any attention must have, for anybody's function: ``check(function)`` gives a table.

``report.failed`` names what does not hold; :func:`assert_attention` does the same in a test.
"""

from ._run import assert_attention, check
from .report import Finding, Report

__all__ = ["Finding", "Report", "assert_attention", "check"]
