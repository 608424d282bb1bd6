"""Frontiers (article § 4): where weights come from, attention as a kernel, linear cost, memories that are written."""
