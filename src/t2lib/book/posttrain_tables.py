"""Make the tables and numbers on post-training that chapters show."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from t2lib.book.words import said
from t2lib.units import flops, number, size

__all__ = [
    "STAGE_NAMES",
    "optima_table",
    "pair_claims",
    "pair_table",
    "slope_table",
    "training_table",
]

STAGE_NAMES = {"base": "pretrained", "ft": "FT", "sft": "SFT", "passk": "pass@k objective"}


def optima_table(frame: pd.DataFrame, *, by: str) -> pd.DataFrame:
    """Tabulate the best tokens per parameter at each stage, with intervals where there are some.

    ``frame`` (``stages.measured_optima`` or ``stages.law_optima``) has one row per stage, task and
    ``by`` ("budget" or "law").
    """
    ends = zip(frame["tokens_per_param_lo"], frame["tokens_per_param_hi"], strict=True)
    bounds = ["" if pd.isna(lo) else f" ({number(lo)} to {number(hi)})" for lo, hi in ends]
    rows = frame.assign(text=frame["tokens_per_param"].map(number) + bounds)
    wide = rows.pivot(index=["task", by], columns="stage", values="text")
    wide = wide.rename(said, level="task")
    wide = wide.rename(flops, level=by) if by == "budget" else wide.rename(str.capitalize, level=by)
    return _stages(wide).rename_axis(index={"budget": "training FLOPs"})


def training_table(reports: pd.DataFrame) -> pd.DataFrame:
    """Average how the post-trainings of ``stages.training_reports`` went, by objective and task."""
    names = {"lr": "learning rate", "best_epoch": "best epoch"}
    columns = ["lr", "steps", "best_epoch", "gain on dev (nats)"]
    frame = reports.assign(**{columns[-1]: reports["dev_before"] - reports["dev_after"]})
    means = frame.groupby(["stage", "task"])[columns].mean().map("{:.3g}".format)
    means = means.rename(STAGE_NAMES, level="stage").rename(said, level="task")
    return means.rename(columns=names).rename_axis(index={"stage": "objective"})


def pair_table(pairs: pd.DataFrame) -> pd.DataFrame:
    """Compare the best overtrained cell with the Chinchilla-optimal, by stage and task.

    ``pairs`` has rows of ``regret.overtrained_table``, and the columns stage and paper (the ratio
    that the paper reports, or NaN). pass@k is in percent, with the model's size beside it.
    """

    def models(kind: str) -> Iterable[str]:
        values = zip(100 * pairs[f"accuracy_{kind}"], pairs[f"N_{kind}"], strict=True)
        return [f"{percent:.2g} ({size(n)})" for percent, n in values]

    ends = zip(pairs["gain"], pairs["gain_lo"], pairs["gain_hi"], strict=True)
    names = zip(pairs["stage"], pairs["task"], strict=True)
    return pd.DataFrame(
        {
            "overtrained, % (N)": models("overtrained"),
            "Chinchilla-optimal, % (N)": models("chinchilla"),
            "ratio (95 %)": [f"{gain:.2g} ({lo:.2g} to {hi:.2g})" for gain, lo, hi in ends],
            "at equal k": pairs["by_model"].map("{:.2f}".format).tolist(),
            "the paper's ratio": ["" if pd.isna(x) else f"{x:.2g}" for x in pairs["paper"]],
        },
        index=[f"{STAGE_NAMES[stage]}: {said(task)}" for stage, task in names],
    )


def slope_table(slopes: pd.DataFrame) -> pd.DataFrame:
    """Tabulate what twice the pretraining tokens bring at each stage, in nats, and what survives.

    ``slopes`` is the frame of ``stages.pretraining_slopes``; the share that survives is in
    brackets, with its interval.
    """
    texts = [
        f"{row.slope:.2f}"
        if row.stage == "base"
        else f"{row.slope:.2f} ({row.share:.2f}, {row.share_lo:.2f} to {row.share_hi:.2f})"
        for row in slopes.itertuples()
    ]
    wide = slopes.assign(text=texts).pivot(index="task", columns="stage", values="text")
    return _stages(wide.rename(said))


def _stages(wide: pd.DataFrame) -> pd.DataFrame:
    """Put columns of stages in the order of training, under their names."""
    order = [stage for stage in STAGE_NAMES if stage in wide]
    return wide[order].rename(columns=STAGE_NAMES).rename_axis(columns=None)


def pair_claims(pairs: pd.DataFrame, largest: float) -> dict[str, Any]:
    """Collect what chapter 05 says of the overtrained against the Chinchilla-optimal cells.

    ``pairs`` has rows of ``regret.overtrained_table``, ``largest`` is the largest N measured.
    """
    low, high = pairs["by_model"].min(), pairs["by_model"].max()
    return {
        "equal-k": "worse" if high < 1 else "better" if low > 1 else "not always better",
        "equal-lo": low,
        "equal-hi": high,
        "post-best": 100 * pairs["accuracy_overtrained"].max(),
        "n-edge": int((pairs["edge"] == "smallest").sum()),
        "n-top": int((pairs["N_chinchilla"] == largest).sum()),
    }
