"""Attention in recurrent translators (article § 2.1), and what turns their steps into sentences."""
