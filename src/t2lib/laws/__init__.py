"""Answer how loss and accuracy depend on size, data and samples.

Laws are fitted here, resampled, written to files and read back. Laws import passk, units and
t2lib.data, and never planning, selection, validation, measure or torch.

Called as a function, ``t2lib.laws()``, the package lists the fits that ship with t2lib.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


class LawsPackage(ModuleType):
    """Let the package be called: ``t2lib.laws()``."""

    def __call__(self) -> pd.DataFrame:
        """Tabulate the shipped fits; see :func:`t2lib.laws.io.shipped_laws`."""
        from t2lib.laws.io import shipped_laws

        return shipped_laws()


sys.modules[__name__].__class__ = LawsPackage
