"""Widgets about the book itself."""
