"""The forms of the input feature (article § 3.2): items, such as the channels of an image, and locations in it."""
