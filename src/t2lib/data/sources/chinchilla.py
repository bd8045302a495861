"""Read the Chinchilla runs as Epoch AI took them off a figure.

It is figure 4 of Hoffmann et al. (2022).

245 points with N, C_train and final loss; D = C_train / (6N). ``kept`` marks the 240 points that
Epoch's fit uses: it drops the 5 largest losses.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

N_DROPPED = 5


def build(paths: Mapping[str, Path]) -> dict[str, pd.DataFrame]:
    """Make the table "chinchilla-epoch".

    Columns: N, D, C_train, nll (nats per token), kept.
    """
    raw = pd.read_csv(paths["points"])
    n = raw["Model Size"].astype("float64")
    c_train = raw["Training FLOP"].astype("float64")
    nll = raw["loss"].astype("float64")
    frame = pd.DataFrame(
        {
            "N": n,
            "D": c_train / (6.0 * n),
            "C_train": c_train,
            "nll": nll,
            "kept": nll.rank(method="first", ascending=False) > N_DROPPED,
        }
    )
    return {"chinchilla-epoch": frame}
