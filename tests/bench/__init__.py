"""``make bench``: each mechanism against its peers and against what the processor can do; see ``__main__.py``."""
