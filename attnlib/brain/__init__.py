"""Attention in the brain (article § 1): what stands out, what is traced back, and what a bottleneck lets pass."""
