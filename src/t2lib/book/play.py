"""Write what the page of figures to play with needs, and the still pictures that stand in for them.

The figures themselves are drawn by book/_static/play.js with the planner's engine. Here the data
are read off the measured runs once, and each figure's first state is drawn, for readers without
JavaScript and for print.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from t2lib.data.answers import chance
from t2lib.data.io import atomic_path
from t2lib.data.measured import load_passk
from t2lib.laws.io import load_law
from t2lib.passk import beta_pass_at_k, pass_at_k
from t2lib.planning.optimum import isoflop
from t2lib.selection.verifier import Verifier, best_of_k
from t2lib.units import size
from t2lib.validation.empirical import empirical_optimum

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FOLDER = Path("results/static/play")
STEPS = 60  # of every slider


@dataclass(frozen=True)
class Settings:
    """Hold what the figures show first."""

    task: str = "arc_easy"
    C_train: float = 1e20
    C_inf: float = 1.4e11  # one pass of a 70B model
    slide_law: str = "gemstones-arc-easy"
    universe_law: str = "gemstones-arc-easy-items"
    mean_p: float = 0.05
    spread: int = 40  # of STEPS
    verifier: tuple[int, int, int] = (28, 30, 90)  # of STEPS, of STEPS, per cent


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
            figure.savefig(temporary, format="svg", metadata={"Date": None})
    return out


def _draw_crown(ax: Axes, data: dict[str, Any]) -> None:
    rows = data["crown"]["stops"][data["crown"]["start"]]["models"]
    sizes = [row["N"] for row in rows]
    ax.plot(sizes, [row["accuracy"] for row in rows], "o-", label="measured models")
    ax.plot(sizes, [row["chance"] for row in rows], "s-", label="a list of frequent answers")
    for row in rows:
        ax.annotate(f"k = {row['k']:.2g}", (row["N"], row["accuracy"]))
    ax.set(xscale="log", yscale="log", xlabel="model size N, parameters")
    ax.set_ylabel("share of questions solved")
    ax.legend()


def _draw_slide(ax: Axes, data: dict[str, Any]) -> None:
    lo, hi = data["slide"]["C_inf"]
    C_inf = lo * (hi / lo) ** (data["slide"]["start"] / STEPS)
    law = load_law(data["slide"]["law"]).with_replicates(0)
    for C_train in data["slide"]["C_train"]:
        frame = isoflop(
            law, N=np.geomspace(*law.fitted_range_["N"], 120), C_train=C_train, C_inf=C_inf
        )
        ax.plot(frame["N"], frame["value"] / frame["value"].max(), label=f"C = {C_train:.0e}")
    ax.set(xscale="log", xlabel="model size N, parameters", ylabel="pass@k, share of the best")
    ax.legend(title=f"{C_inf:.1e} FLOPs a token")


def _draw_spread(ax: Axes, data: dict[str, Any]) -> None:
    k = np.geomspace(1, 1e4, 80)
    mean, width = data["spread"]["mean"], spread_of(data["spread"]["start"])
    ax.plot(k, beta_pass_at_k(mean=mean, concentration=width, k=k), label="questions that differ")
    ax.plot(k, pass_at_k(np.log(mean), k), label="every question at the mean p")
    ax.set(xscale="log", xlabel="samples per question k", ylabel="share of questions solved")
    ax.legend()


def spread_of(step: int) -> float:
    """Return the concentration of the Beta distribution at a slider's step."""
    return float(300 * (0.03 / 300) ** (step / STEPS))


def verifier_of(steps: list[int]) -> tuple[float, Verifier]:
    """Return p and the verifier at the steps of the three sliders."""
    p = 1e-4 * (0.5 / 1e-4) ** (steps[0] / STEPS)
    fpr = 1e-5 * (0.5 / 1e-5) ** (steps[1] / STEPS) if steps[1] else 0.0
    return p, Verifier(tpr=steps[2] / 100, fpr=fpr)


def _draw_verifier(ax: Axes, data: dict[str, Any]) -> None:
    k = np.geomspace(1, 1e5, 100)
    p, verifier = verifier_of(data["verifier"]["start"])
    ax.plot(k, pass_at_k(np.log(p), k), label="perfect verifier")
    ax.plot(k, best_of_k(np.log(p), k, verifier), label="this verifier")
    ax.set(xscale="log", xlabel="samples per question k", ylabel="answers that are right")
    ax.legend()


def _draw_universe(ax: Axes, data: dict[str, Any]) -> None:
    setting = data["universe"]
    law = load_law(setting["law"])
    assert law.bootstrap_ is not None
    N = np.geomspace(*law.fitted_range_["N"], 60)
    D, k = setting["C_train"] / (6 * N), np.maximum(setting["C_inf"] / (2 * N), 1)
    value = law.predict(N=N, D=D, k=k)
    replicates = law.bootstrap_.predict(N=N, D=D, k=k)[:30]
    ax.plot(N, (replicates / value.max()).T, color="C0", alpha=0.2, lw=1)
    ax.plot(N, value / value.max(), lw=2, label=f"the fit: best at {size(N[value.argmax()])}")
    ax.set(xscale="log", xlabel="model size N, parameters", ylabel="pass@k, relative to the best")
    ax.legend()


STILLS: dict[str, Callable[[Axes, dict[str, Any]], None]] = {
    "crown": _draw_crown,
    "slide": _draw_slide,
    "spread": _draw_spread,
    "verifier": _draw_verifier,
    "universe": _draw_universe,
}
