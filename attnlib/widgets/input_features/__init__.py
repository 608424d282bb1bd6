"""Widgets of the forms of the input feature."""
