"""Write what the page of figures to play with needs, and the still pictures that stand in for them.

The figures themselves are drawn by book/_static/play.js with the planner's engine. Here the data
are read off the measured runs once, and each figure's first state is drawn, for readers without
JavaScript and for print.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from t2lib.data.answers import chance
from t2lib.data.io import atomic_path
from t2lib.data.measured import load_passk
from t2lib.validation.empirical import empirical_optimum

FOLDER = Path("results/static/play")


@dataclass(frozen=True)
class Settings:
    """Hold what the figures show first."""

    task: str = "arc_easy"
    C_train: float = 1e20
    C_inf: float = 1.4e11  # one pass of a 70B model
    slide_law: str = "gemstones-arc-easy"
    universe_law: str = "gemstones-arc-easy-items"
    mean_p: float = 0.05
    spread: int = 40  # of 60 steps of a slider
    verifier: tuple[int, int, int] = (28, 30, 90)  # of 60 steps, of 60, per cent


def play_data(settings: Settings = Settings()) -> dict[str, Any]:
    """Return the data of the figures, ready for JSON."""
    stops = _crown(settings)
    distances = [abs(math.log((stop["C_inf"] or 1.0) / settings.C_inf)) for stop in stops]
    return {
        "laws": sorted({settings.slide_law, settings.universe_law}),
        "crown": {
            "C_train": settings.C_train,
            "stops": stops,
            "start": int(np.argmin(distances)),
        },
        "slide": {
            "law": settings.slide_law,
            "C_train": [0.3 * settings.C_train, settings.C_train, 3 * settings.C_train],
            "C_inf": [4e9, 1e15],
            "start": 17,
        },
        "spread": {"mean": settings.mean_p, "start": settings.spread},
        "verifier": {"start": list(settings.verifier)},
        "universe": {
            "law": settings.universe_law,
            "C_train": settings.C_train,
            "C_inf": settings.C_inf,
        },
    }


def _crown(settings: Settings) -> list[dict[str, Any]]:
    """Return the measured sizes at each inference budget, with what a list of answers solves."""
    table = load_passk("gemstones", task=settings.task, k=[2.0**i for i in range(17)])
    budgets = [None, *np.geomspace(4e9, 4e12, 18)]
    # The budget that the rest of the book uses is one of the stops.
    nearest = int(np.argmin([math.inf, *np.abs(np.log(np.array(budgets[1:]) / settings.C_inf))]))
    budgets[nearest] = settings.C_inf
    stops = []
    for C_inf in budgets:
        frame = empirical_optimum(table, C_train=settings.C_train, C_inf=C_inf)
        listed = chance(settings.task, k=frame["k"].to_numpy())["list"]
        rows = [
            {
                "N": float(row["N"]),
                "k": float(row["k"]),
                "accuracy": float(row["accuracy"]),
                "se": None if np.isnan(row["accuracy_se"]) else float(row["accuracy_se"]),
                "chance": float(guessed),
                "best": bool(row["best"]),
            }
            for (_, row), guessed in zip(frame.iterrows(), listed, strict=True)
        ]
        stops.append({"C_inf": None if C_inf is None else float(C_inf), "models": rows})
    return stops


def write_play(folder: str | Path = FOLDER, settings: Settings = Settings()) -> Path:
    """Write the data and the still pictures into ``folder``, which is made if missing.

    Returns the folder. Needs the extra ``plot``.

    Raises
    ------
    ValueError
        If no run was measured at the training budget.
    """
    from matplotlib.figure import Figure

    from t2lib.book.figures.stills import STILLS
    from t2lib.book.page import svg_text

    out = Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    data = play_data(settings)
    text = json.dumps(data, allow_nan=False).replace("</", "<\\/")
    with atomic_path(out / "data.js") as temporary:
        temporary.write_text(f"t2play.data({text});\n", encoding="ascii")
    for name, draw in STILLS.items():
        figure = Figure(figsize=(6.4, 3.4), layout="constrained")
        draw(figure.subplots(), data)
        with atomic_path(out / f"{name}.svg") as temporary:
            temporary.write_text(svg_text(figure, name), encoding="utf-8")
    return out
