"""Set measured pass@k beside samplers that never read the question.

Tables of the shipped study ``chance`` (``benchmarks/chance.py``, protocol ``params/chance.yml``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from t2lib import _check
from t2lib.units import flops, number, size

__all__ = [
    "messages_table",
    "paper_rows",
    "pythia_rows",
    "shift_rows",
    "shift_table",
    "verdict_rows",
    "verdict_summary",
    "verdict_table",
]

QUESTIONS = {"arc_easy": 2376, "sciq": 1000, "openbookqa": 500, "lambada": 5153}
CLEAR = 2.0  # times the list's share, above which guessing is no explanation

TASK_NAMES = {
    "arc_easy": "ARC-Easy",
    "gsm8k": "GSM8K",
    "lambada": "LAMBADA",
    "openbookqa": "OpenBookQA",
    "sciq": "SciQ",
}
STAGES = {"base": "base", "ft": "fine-tuned", "sft": "SFT"}


def pythia_rows(study: Mapping[str, Any]) -> pd.DataFrame:
    """Return Pythia on GSM8K beside the chance line, by size.

    Columns: label, model, N, D, k = C_inf/2N, accuracy (pass@k on the 128 sampled questions) with
    accuracy_se, list and prior on the same questions, rank_correlation over questions between solve
    rate and frequency of the answer.
    """
    rows = pd.DataFrame(study["pythia"]).sort_values(["N", "D"], ignore_index=True)
    labels = [
        f"{size(row['N'])}, {size(row['D'])} tokens, k = {number(row['k'])}"
        for row in rows.to_dict("records")
    ]
    return rows.assign(label=labels)


def paper_rows(study: Mapping[str, Any], *, kind: str = "overtrained") -> pd.DataFrame:
    """Return the best published models of the paper beside the chance line.

    Columns: label, stage, task, N, k, accuracy, list, prior. ``kind`` is "overtrained" or
    "chinchilla", the paper's two columns (Tables 1 and 2 of Roberts et al., 2026).
    """
    _check.choice("kind", kind, ("overtrained", "chinchilla"))
    rows = pd.DataFrame(study["paper"])
    rows = rows[rows["kind"] == kind].reset_index(drop=True)
    labels = [
        f"{TASK_NAMES[row['task']]}, {STAGES[row['stage']]}, {size(row['N'])}, "
        f"k = {number(row['k'])}"
        for row in rows.to_dict("records")
    ]
    return rows.assign(label=labels)


def shift_rows(study: Mapping[str, Any], C_inf: float) -> pd.DataFrame:
    """Return how the best size of Gemstones moves, with and without listed answers.

    Returns
    -------
    pandas.DataFrame
        One row per task, C_train and measure: "raw" counts all questions, "unlisted" those whose
        answer no training answer equals. ``ratio`` is the best size at one sample over the best at
        k = C_inf/2N, ``gain`` the accuracy of the latter size over that of the former with k
        samples each; both with ``_interval`` (95 %, resampled questions).

    Raises
    ------
    ValueError
        If the study has no such C_inf.
    """
    rows = pd.DataFrame(study["gemstones"])
    rows = rows[np.isclose(rows["C_inf"], C_inf, rtol=1e-6)]
    rows = rows[rows["measure"].isin(["raw", "unlisted"]) & rows["ratio_interval"].notna()]
    if rows.empty:
        budgets = sorted(set(pd.DataFrame(study["gemstones"]).dropna()["C_inf"]))
        raise ValueError(
            f"C_inf must be one that the study resampled ({', '.join(map(flops, budgets))}), got "
            f"{flops(C_inf)}. Use that, or run benchmarks/chance.py with others."
        )
    return rows.reset_index(drop=True)


def shift_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Write the rows of ``shift_rows`` as people read them.

    One row per task and C_train; ratio and gain with intervals, for both measures.
    """
    cells: dict[tuple[str, str], dict[tuple[str, str], str]] = {}
    names = {"raw": "all questions", "unlisted": "unlisted answers"}
    for row in rows.to_dict("records"):
        entry = cells.setdefault((TASK_NAMES[row["task"]], flops(row["C_train"])), {})
        entry[names[row["measure"]], "best N"] = f"{size(row['N_one'])} → {size(row['N'])}"
        for name, title in (("ratio", "smaller by"), ("gain", "gain")):
            low, high = row[f"{name}_interval"]
            entry[names[row["measure"]], title] = f"{row[name]:.2f} [{low:.2f}, {high:.2f}]"
    table = pd.DataFrame.from_dict(cells, orient="index")
    return table.rename_axis(index=["task", "C_train"], columns=["", ""])


def verdict_rows(
    study: Mapping[str, Any], messages: Mapping[str, Any], humaneval: Mapping[str, Any]
) -> pd.DataFrame:
    """Judge, for each body of evidence, whether small models win where guessing does not count.

    Parameters
    ----------
    study, messages
        The shipped studies ``chance`` and ``messages``.
    humaneval
        ``data/published/humaneval_isoflop.json``.

    Returns
    -------
    pandas.DataFrame
        label; guessing: "none" (nobody can guess, or unlisted questions only), or the accuracy of
        the smaller model over that of the list; N_one and N: best sizes at one sample and with
        samples, or the published pair, NaN over several tasks; gain: accuracy of the smaller over
        that of the larger model with as many FLOPs; low and high: its 95 % interval; verdict:
        "survives" (interval above 1), "fails" (below 1), "open", or "says nothing" where the
        accuracy is less than twice the list's. The suite messages is "open" while it has one seed:
        its interval counts questions only.

        The gain of Gemstones and of the suite is that of the best of several sizes on the same
        questions, which cannot fall below 1. Intervals of published numbers are the widest that
        their mean and number of questions allow.
    """
    rows = [*_gemstones_verdicts(study), *_suite_verdicts(study), *_paper_verdicts(study)]
    pythia = pd.DataFrame(study["pythia"])
    beyond_list = float((pythia["accuracy"] / pythia["list"]).max())
    rows.append(_body_of_evidence("Pythia, GSM8K, 128 questions", beyond_list, [np.nan] * 3))
    # Of the published pairs the one with the most samples.
    pair = max(humaneval["pairs"], key=lambda entry: entry["k_standard"])
    label = f"HumanEval, k = {pair['k_standard']} and {pair['k_overtrained']}"
    means = pair["accuracy_overtrained"], pair["accuracy_standard"]
    gain = _published_gain(*means, humaneval["problems"])
    sizes = pair["N_standard"], pair["N_overtrained"]
    rows.append(_body_of_evidence(label, "none", gain, sizes))
    # The suite messages, after the most passes over its data.
    macro = next(
        r
        for r in messages["results"]
        if r["task"] == "macro" and r["passes"] == max(messages["protocol"]["passes"])
    )
    overall = macro["overall"]
    gain = [overall["gain"], *overall["gain_interval"]]
    rows.append(_body_of_evidence("messages (toys), mean of rows", "none", gain))
    frame = pd.DataFrame(rows)
    columns = frame[["guessing", "low", "high"]]
    verdicts = [_verdict(*row) for row in columns.itertuples(index=False)]
    if min((row["seeds"] for row in macro["rows"]), default=1) < 2:
        verdicts[-1] = "open"
    return frame.assign(verdict=verdicts)


def _body_of_evidence(
    label: str,
    guessing: str | float,
    gain: Sequence[float],
    sizes: tuple[float, float] = (np.nan, np.nan),
) -> dict[str, Any]:
    """Return a row of the verdicts: gain with its interval, best N at one sample and with more."""
    row = {"label": label, "guessing": guessing, "N_one": sizes[0], "N": sizes[1]}
    return row | dict(zip(("gain", "low", "high"), map(float, gain), strict=True))


def _gemstones_verdicts(study: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a row per task: the budget with the most samples per parameter."""
    rows = pd.DataFrame(study["gemstones"])
    rows = rows[(rows["measure"] == study["measure"]) & rows["ratio_interval"].notna()]
    return [
        _body_of_evidence(
            f"Gemstones, {TASK_NAMES[row['task']]}, {flops(row['C_train'])}",
            "none",
            [row["gain"], *row["gain_interval"]],
            (row["N_one"], row["N"]),
        )
        for row in rows.to_dict("records")
    ]


def _suite_verdicts(study: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a row per stage of the suite text: geometric means over tasks."""
    rows = pd.DataFrame(study["suites_overall"])
    rows = rows[rows["measure"] == study["measure"]]
    verdicts = []
    for stage, part in rows.groupby("stage", sort=False):
        logs = np.log(np.stack(part["gain_interval"]))
        middle = np.log(part["gain"])
        # Tasks are resampled apart: their errors add as independent ones.
        errors = [np.sqrt(((logs[:, i] - middle) ** 2).sum()) / len(part) for i in (0, 1)]
        label = f"suite text (toys), {STAGES[str(stage)]}, {len(part)} tasks"
        ends = [np.exp(middle.mean() + shift) for shift in (0.0, -errors[0], errors[1])]
        verdicts.append(_body_of_evidence(label, "none", ends))
    return verdicts


def _paper_verdicts(study: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a row per task and stage of the paper's Tables 1 and 2."""
    entries = {(row["stage"], row["task"], row["kind"]): row for row in study["paper"]}
    verdicts = []
    for stage, task in dict.fromkeys((stage, task) for stage, task, _ in entries):
        small, large = (entries[stage, task, kind] for kind in ("overtrained", "chinchilla"))
        gain = _published_gain(small["accuracy"], large["accuracy"], QUESTIONS[task])
        beyond_list = float(small["accuracy"] / small["list"])
        label = f"the paper, {TASK_NAMES[task]}, {STAGES[stage]}"
        verdicts.append(_body_of_evidence(label, beyond_list, gain, (large["N"], small["N"])))
    return verdicts


def _published_gain(small: float, large: float, n: int) -> list[float]:
    """Return the ratio of two published means, and the widest 95 % interval that n allows.

    Of values between 0 and 1 with mean m the variance is at most m(1 − m).
    """
    error = np.sqrt(sum((1 - mean) / (mean * n) for mean in (small, large)))
    gain = small / large
    return [gain, *(gain * float(np.exp(side * error)) for side in (-1.96, 1.96))]


def _verdict(guessing: float | str, low: float, high: float) -> str:
    if isinstance(guessing, float) and guessing < CLEAR:
        return "says nothing"
    return "survives" if low > 1 else "fails" if high < 1 else "open"


def verdict_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Write the rows of ``verdict_rows`` as people read them, one per body of evidence."""
    lines = []
    for row in rows.to_dict("records"):
        guessing = row["guessing"]
        moved = "" if np.isnan(row["N"]) else f"{size(row['N_one'])} → {size(row['N'])}"
        has_gain = np.isfinite(row["gain"])
        lines.append(
            {
                "evidence": row["label"],
                "against the list": "no list helps" if guessing == "none" else f"× {guessing:.2g}",
                "best N": moved,
                "gain": f"{row['gain']:.2f} [{row['low']:.2f}, {row['high']:.2f}]"
                if has_gain
                else "",
                "does T² survive?": row["verdict"],
            }
        )
    return pd.DataFrame(lines).set_index("evidence")


def messages_table(messages: Mapping[str, Any], task: str = "macro") -> pd.DataFrame:
    """Write the rows of equal compute of the study ``messages`` as people read them.

    One row per C_train, at the larger C_inf: best N at one sample and with samples, samples and
    accuracy of the latter, what k guesses solve, and the gain with its interval.

    Raises
    ------
    ValueError
        If the study has no such task.
    """
    passes = max(messages["protocol"]["passes"])
    results = {r["task"]: r["rows"] for r in messages["results"] if r["passes"] == passes}
    _check.choice("task", task, tuple(results))
    lines = []
    for row in results[task]:
        low, high = row["gain_interval"]
        lines.append(
            {
                "C_train": flops(row["C_train"]),
                "best N": f"{size(row['N_one'])} → {size(row['N'])}",
                "k": number(row["k"]),
                "solved": f"{100 * row['accuracy']:.2g} %",
                "guessed": f"{100 * row['chance']:.1g} %",
                "gain": f"{row['gain']:.2f} [{low:.2f}, {high:.2f}]",
            }
        )
    return pd.DataFrame(lines).set_index("C_train")


def verdict_summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Count the verdicts of ``verdict_rows`` for each body of evidence."""
    bodies = rows["label"].str.split(", ").str[0].str.removesuffix(" (toys)")
    names = {"the paper": "the paper, Tables 1 and 2", "suite text": "our suite text (toys)"}
    names |= {"messages": "our suite messages (toys)", "Gemstones": "Gemstones, unlisted answers"}
    counts = pd.crosstab(bodies.map(lambda name: names.get(name, name)), rows["verdict"])
    verdicts = ["survives", "open", "fails", "says nothing"]
    order = dict.fromkeys(bodies.map(lambda name: names.get(name, name)))
    return counts.reindex(index=list(order), columns=verdicts, fill_value=0).rename_axis(
        index=None, columns=None
    )
