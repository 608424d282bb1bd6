"""The softness of attention (article § 3.1): soft and hard, global and local."""
