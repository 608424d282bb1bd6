"""Small training loops: a data set by epochs with checkpoints (``fit``), a loss by steps on a page (``descend``)."""

from .batching import *
from .descent import *
from .loop import *
from .record import *
from .start import *
