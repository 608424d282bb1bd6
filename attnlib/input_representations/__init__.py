"""Input representations (article § 3.3): two inputs that ask each other, one that asks itself, inputs in levels."""
