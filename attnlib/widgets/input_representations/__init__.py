"""Widgets of the input representations."""
