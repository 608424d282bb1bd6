"""Widgets of § 1, attention in the human brain."""
