"""Output representations (article § 3.4): several heads, several hops, a weight for each feature."""
