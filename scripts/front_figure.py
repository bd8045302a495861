"""Draw the figure of the README: measured models beside what guessing reaches.

`python scripts/front_figure.py` writes book/_static/front.png from shipped measurements.
The numbers that it shows stand in the file, and tests/test_visual.py computes them again.
"""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from t2lib import figures
from t2lib.book.chance_tables import catch_table
from t2lib.figures.style import power

FILE = Path(__file__).resolve().parents[1] / "book" / "_static" / "front.png"
C_TRAIN, C_INF = 5e20, 1.4e11  # FLOPs; FLOPs per served token


def numbers() -> pd.DataFrame:
    """Compute what the figure shows."""
    return catch_table(C_train=C_TRAIN, C_inf=C_INF)


def front(rows: pd.DataFrame) -> Figure:
    """Draw the figure."""
    figures.use_style()
    mpl.rcParams["font.family"] = "DejaVu Sans"  # comes with matplotlib
    figure, ax = plt.subplots(figsize=(6.0, 4.4))
    figures.measured_beside_chance(rows, ax=ax)
    ax.set_title(f"Pythia models trained with {power(C_TRAIN)} FLOPs, on GSM8K", fontsize=11)
    return figure


def main() -> None:
    """Write the figure where the README shows it."""
    rows = numbers()
    facts = {
        "Source": f"scripts/front_figure.py, C_train {C_TRAIN:g} FLOPs, C_inf {C_INF:g} per token",
        "Description": json.dumps(rows.to_dict("list")),
    }
    front(rows).savefig(FILE, dpi=130, metadata=facts)
    print(FILE)


if __name__ == "__main__":
    main()
