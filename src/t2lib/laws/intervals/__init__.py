"""Say where a law, a new measurement, or any of several laws may lie.

``noise`` estimates how far new checkpoints fall from a law; ``prediction`` turns that, and the
replicates of a bootstrap, into intervals.
"""

from t2lib.laws.intervals.prediction import INTERVAL_KINDS, Intervals, measurement_ends

__all__ = ["INTERVAL_KINDS", "Intervals", "measurement_ends"]
