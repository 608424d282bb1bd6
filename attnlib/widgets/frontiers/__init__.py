"""Widgets of the frontiers (article § 4)."""
