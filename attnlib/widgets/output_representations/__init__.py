"""Widgets of the output representations."""
