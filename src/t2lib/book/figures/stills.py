"""Draw the still pictures of the figures to play with, for print and without JavaScript."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from t2lib.figures.inputs import inside_data
from t2lib.figures.style import (
    WITH_SAMPLES,
    other_hues,
    plain_ticks,
    power,
    size_ticks,
    solid_and_dashed,
)
from t2lib.laws.io import load_law
from t2lib.passk import beta_pass_at_k, pass_at_k
from t2lib.planning.optimum import isoflop
from t2lib.selection.verifier import Verifier, best_of_k
from t2lib.units import size

STEPS = 60  # of every slider


def _draw_crown(ax: Axes, data: dict[str, Any]) -> None:
    rows = data["crown"]["stops"][data["crown"]["start"]]["models"]
    sizes = [row["N"] for row in rows]
    solved = [row["accuracy"] for row in rows]
    ax.plot(sizes, solved, "o-", color=WITH_SAMPLES, label="measured models")
    ax.plot(
        sizes, [row["chance"] for row in rows], ":", color="0.3", label="a list of frequent answers"
    )
    place: Any = {"textcoords": "offset points", "ha": "center"}
    for i, row in enumerate(rows):  # neighbours' labels at two heights
        offset = (0, -16 - 14 * (i % 2))
        ax.annotate(f"k = {row['k']:,.0f}", (row["N"], row["accuracy"]), offset, **place)
    ax.set(xscale="log", yscale="log", xlabel="model size N, parameters")
    ax.set_ylim(min(solved) / 2)
    ax.set_ylabel("share of questions solved")
    size_ticks(ax.xaxis)
    plain_ticks(ax.yaxis)
    ax.legend()


def _draw_slide(ax: Axes, data: dict[str, Any]) -> None:
    lo, hi = data["slide"]["C_inf"]
    C_inf = lo * (hi / lo) ** (data["slide"]["start"] / STEPS)
    law = load_law(data["slide"]["law"]).with_replicates(0)
    N = np.geomspace(*law.fitted_range_["N"], 120)
    budgets = data["slide"]["C_train"]
    for C_train, colour in zip(budgets, other_hues(len(budgets)), strict=True):
        frame = isoflop(law, N=N, C_train=C_train, C_inf=C_inf)
        share = frame["value"] / frame["value"].max()
        look: Any = {"color": colour, "label": f"{power(C_train)} FLOPs"}
        solid_and_dashed(ax, frame["N"], share, inside_data(frame), **look)
    ax.plot([], [], "--", color="0.4", label="outside the data")
    ax.set(xscale="log", xlabel="model size N, parameters", ylabel="pass@k, relative to the best")
    size_ticks(ax.xaxis)
    ax.legend(title=f"trained with, at {power(C_inf)} FLOPs a token")


def _draw_spread(ax: Axes, data: dict[str, Any]) -> None:
    k = np.geomspace(1, 1e4, 80)
    mean, width = data["spread"]["mean"], spread_of(data["spread"]["start"])
    ax.plot(
        k,
        beta_pass_at_k(mean=mean, concentration=width, k=k),
        color=WITH_SAMPLES,
        label="questions that differ",
    )
    ax.plot(k, pass_at_k(np.log(mean), k), color="0.4", label="every question at the mean p")
    ax.set(xscale="log", xlabel="samples per question k", ylabel="share of questions solved")
    ax.legend()


def _draw_verifier(ax: Axes, data: dict[str, Any]) -> None:
    k = np.geomspace(1, 1e5, 100)
    p, verifier = verifier_of(data["verifier"]["start"])
    ax.plot(k, pass_at_k(np.log(p), k), color="0.4", label="perfect verifier")
    ax.plot(k, best_of_k(np.log(p), k, verifier), color=WITH_SAMPLES, label="this verifier")
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
    ax.plot(N, (replicates / value.max()).T, color=WITH_SAMPLES, alpha=0.2, lw=1)
    ax.plot(
        N,
        value / value.max(),
        lw=2,
        color=WITH_SAMPLES,
        label=f"the fit: best at {size(N[value.argmax()])}",
    )
    ax.set(xscale="log", xlabel="model size N, parameters", ylabel="pass@k, relative to the best")
    size_ticks(ax.xaxis)
    ax.legend()


def spread_of(step: int) -> float:
    """Return the concentration of the Beta distribution at a slider's step."""
    return float(300 * (0.03 / 300) ** (step / STEPS))


def verifier_of(steps: list[int]) -> tuple[float, Verifier]:
    """Return p and the verifier at the steps of the three sliders."""
    p = 1e-4 * (0.5 / 1e-4) ** (steps[0] / STEPS)
    fpr = 1e-5 * (0.5 / 1e-5) ** (steps[1] / STEPS) if steps[1] else 0.0
    return p, Verifier(tpr=steps[2] / 100, fpr=fpr)


STILLS: dict[str, Callable[[Axes, dict[str, Any]], None]] = {
    "crown": _draw_crown,
    "slide": _draw_slide,
    "spread": _draw_spread,
    "verifier": _draw_verifier,
    "universe": _draw_universe,
}
