"""Fit sums of power laws, in batches of starts and of bootstrap replicates.

``least_squares`` searches exponents on a grid and polishes them, ``robust`` minimises Huber's loss
of log residuals. Both know arrays only: no law, no table.
"""

from t2lib.laws.solver.least_squares import (
    CHUNK,
    GridTable,
    Pull,
    Solution,
    best_first,
    best_separable,
    better_of,
    levenberg_marquardt,
    nnls_small,
    project,
    replicate_separable,
    separable,
)
from t2lib.laws.solver.robust import best_huber_log, huber, huber_log

__all__ = [
    "CHUNK",
    "GridTable",
    "Pull",
    "Solution",
    "best_first",
    "best_huber_log",
    "best_separable",
    "better_of",
    "huber",
    "huber_log",
    "levenberg_marquardt",
    "nnls_small",
    "project",
    "replicate_separable",
    "separable",
]
