"""Widgets that run with a kernel and in a page without one; ``base`` says how one is written."""

from attnlib.widgets.alignment_explorer import AlignmentExplorer
from attnlib.widgets.decoder_stepper import DecoderStepper
from attnlib.widgets.distribution_lab import DistributionLab
from attnlib.widgets.hard_sampler import HardSampler
from attnlib.widgets.local_window import LocalWindow
from attnlib.widgets.query_tuner import QueryTuner
from attnlib.widgets.score_field import ScoreField
from attnlib.widgets.taxonomy_map import TaxonomyMap

__all__ = [
    "AlignmentExplorer",
    "DecoderStepper",
    "DistributionLab",
    "HardSampler",
    "LocalWindow",
    "QueryTuner",
    "ScoreField",
    "TaxonomyMap",
]
