"""Compare the six key figures, block by block, with small pictures.

The data are made up here, so that a refit changes nothing. A change that is meant: look at the new
figures, then write their pictures with ``T2LIB_BASELINES=write pytest tests/test_visual.py``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from files import load_file
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from t2lib import figures

BASELINES = Path(__file__).parent / "baselines"
BLOCKS = (40, 64)  # rows and columns of a picture
NOTICEABLE = 0.10  # difference of a block's colour, of full scale
TOLERATED = 0.01  # share of blocks that another font or version may change
SIZES = np.array([1e6, 4e6, 16e6])


def suite() -> pd.DataFrame:
    N, D = (x.ravel() for x in np.meshgrid(SIZES, np.geomspace(1e7, 1e9, 5)))
    return pd.DataFrame({"N": N, "D": D, "C_train": 6 * N * D, "overtrained": D / N > 100})


def accuracies() -> pd.DataFrame:
    rows = []
    for i, n in enumerate(SIZES):
        k = 4.0 ** np.arange(7)
        curve = 1 - (1 - 0.004 * 3**i) ** k
        rows.append(pd.DataFrame({"N": n, "k": k, "accuracy": curve, "accuracy_se": 0.1 * curve}))
    return pd.concat(rows)


def predictions() -> pd.DataFrame:
    x = np.linspace(1.0, 4.0, 12)
    bend = 1 + 0.1 * np.sin(3 * x)
    frame = pd.DataFrame({"k": np.tile([1.0, 64.0], 12), "measured": np.repeat(x, 2)})
    return frame.assign(predicted=np.repeat(x * bend, 2), held_out=frame["measured"] > 3)


def profiles() -> pd.DataFrame:
    rows = []
    for c in (1e18, 1e19, 1e20):
        n = np.geomspace(1e6, 1e9, 60)
        value = 2 + np.log10(n / 1e7 / (c / 1e18) ** 0.4) ** 2 - 0.2 * np.log10(c / 1e18)
        rows.append(pd.DataFrame({"C_train": c, "N": n, "value": value}))
    return pd.concat(rows)


def frontiers() -> dict[str, pd.DataFrame]:
    c = np.geomspace(1e18, 1e24, 9)
    out = {}
    for name, ratio in (("k = 1", 20.0 * (c / 1e18) ** 0.02), ("T²", 90.0 * (c / 1e18) ** 0.2)):
        out[name] = pd.DataFrame(
            {
                "C_train": c,
                "extrapolates": np.where(c > 1e22, "D", ""),
                "tokens_per_param": ratio,
                "tokens_per_param_lo": ratio / 1.6,
                "tokens_per_param_hi": ratio * 1.6,
            }
        )
    return out


def errors() -> pd.DataFrame:
    values = {"Approach 1": [3.0, 6.0, 4.0], "Approach 2": [9.0, 7.0, 12.0]}
    return pd.DataFrame(values, index=["near", "far", "both"])


FIGURES: dict[str, Callable[[], Axes]] = {
    "checkpoint_grid": lambda: figures.checkpoint_grid(suite()),
    "passk_curves": lambda: figures.passk_curves(accuracies()),
    "predicted_measured": lambda: figures.predicted_measured(predictions()),
    "isoflop_profiles": lambda: figures.isoflop_profiles(profiles(), metric="nll", what="loss"),
    "frontier": lambda: figures.frontier(frontiers()),
    "held_out_errors": lambda: figures.held_out_errors(errors(), floor=2.0, what="error (%)"),
}


@pytest.fixture(autouse=True)
def _closed():
    figures.use_style()
    mpl.rcParams["font.family"] = "DejaVu Sans"  # comes with matplotlib, so it is everywhere
    yield
    plt.close("all")


def picture(figure: Figure | None) -> np.ndarray:
    """Mean colour of each block of the drawn figure, shape (40, 64, 3), from 0 to 1."""
    assert figure is not None
    figure.set_size_inches(6.4, 4.0)
    figure.set_dpi(100)
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[:, :, :3] / 255.0  # type: ignore[attr-defined]
    rows, columns = BLOCKS
    blocks = pixels.reshape(rows, pixels.shape[0] // rows, columns, pixels.shape[1] // columns, 3)
    return np.asarray(blocks.mean(axis=(1, 3)))


def changed(one: np.ndarray, other: np.ndarray) -> float:
    """Share of blocks whose colour differs noticeably."""
    return float((np.abs(one - other).max(axis=2) > NOTICEABLE).mean())


def test_figure_of_the_readme_shows_the_shipped_measurements() -> None:
    script = load_file("scripts/front_figure.py")
    with Image.open(script.FILE) as picture_file:
        drawn = pd.DataFrame(json.loads(picture_file.info["Description"]))
    pd.testing.assert_frame_equal(drawn, script.numbers(), rtol=1e-6, check_dtype=False)
    # What the README says of it: the list lies above every model, and samples favour the smallest.
    assert (drawn["list"] > drawn["sampled"]).all()
    assert drawn["N"].idxmin() == drawn["sampled"].idxmax()


@pytest.mark.parametrize("name", FIGURES)
def test_figure_looks_as_it_did(name: str) -> None:
    drawn_picture, path = picture(FIGURES[name]().figure), BASELINES / f"{name}.png"
    if os.environ.get("T2LIB_BASELINES") == "write":
        BASELINES.mkdir(exist_ok=True)
        plt.imsave(path, drawn_picture)
    baseline = plt.imread(path)[:, :, :3]
    share = changed(drawn_picture, baseline)
    assert share <= TOLERATED, (
        f"{share:.1%} of {name} changed. Draw it and look; if that is meant, see the top of this "
        "file."
    )


def _other_colours(ax: Axes) -> None:
    for line in ax.get_lines():
        line.set_color("red")
    for shape in [*ax.collections, *ax.patches]:
        shape.set_color("red")


def _upside_down(ax: Axes) -> None:
    ax.invert_yaxis()


def _bare(ax: Axes) -> None:
    for artist in [*ax.get_lines(), *ax.collections, *ax.patches]:
        artist.remove()


@pytest.mark.parametrize("harm", [_other_colours, _upside_down, _bare])
@pytest.mark.parametrize("name", FIGURES)
def test_a_spoilt_figure_would_be_noticed(name: str, harm: Callable[[Axes], None]) -> None:
    ax = FIGURES[name]()
    harm(ax)
    assert changed(picture(ax.figure), plt.imread(BASELINES / f"{name}.png")[:, :, :3]) > TOLERATED


@pytest.mark.parametrize("name", FIGURES)
def test_another_font_is_tolerated(name: str) -> None:
    with mpl.rc_context({"font.family": "DejaVu Serif"}):
        share = changed(
            picture(FIGURES[name]().figure), plt.imread(BASELINES / f"{name}.png")[:, :, :3]
        )
    assert share <= TOLERATED


def test_pictures_are_small() -> None:
    files = list(BASELINES.glob("*.png"))
    assert {path.stem for path in files} == set(FIGURES)
    assert sum(path.stat().st_size for path in files) < 60_000
