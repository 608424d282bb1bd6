"""Widgets of § 3.1, the softness of attention."""
