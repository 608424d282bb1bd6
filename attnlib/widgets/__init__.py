"""Widgets that run with a kernel and in a page without one; ``base`` says how one is written."""
