"""One small training loop, and the record of a run."""

from .fit import *
