"""Widgets of § 2.1, attention in a recurrent translator."""
