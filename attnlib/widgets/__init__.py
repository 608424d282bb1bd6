"""Widgets that run with a kernel and in a page without one; ``base`` says how one is written."""

from attnlib.widgets.query_tuner import QueryTuner

__all__ = ["QueryTuner"]
