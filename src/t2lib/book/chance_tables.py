"""Set measured pass@k beside samplers that never read the question.

Tables of the shipped study ``chance`` (``benchmarks/chance.py``, protocol ``params/chance.yml``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from t2lib import _check
from t2lib.book.words import TASKS
from t2lib.data.answers import chance
from t2lib.data.measured import load_passk
from t2lib.units import flops, number, size
from t2lib.validation.empirical import empirical_optimum

__all__ = [
    "catch_table",
    "paper_rows",
    "pythia_rows",
    "seed_rows",
    "shift_rows",
    "shift_table",
    "suite_numbers",
    "suite_table",
    "verdict_rows",
    "verdict_summary",
    "verdict_table",
]

QUESTIONS = {"arc_easy": 2376, "sciq": 1000, "openbookqa": 500, "lambada": 5153}
CLEAR = 2.0  # times the list's share, above which guessing is no explanation

STAGES = {"base": "base", "ft": "fine-tuned", "sft": "SFT"}


def catch_table(*, C_train: float, C_inf: float) -> pd.DataFrame:
    """Measure Pythia on GSM8K at one training budget, with one sample, with k and by guessing.

    Budgets in FLOPs and FLOPs per served token.

    Returns
    -------
    pandas.DataFrame
        One row per size: N, k = C_inf/2N, single (pass@1), sampled (pass@k), each with a standard
        error over the questions (_se), list (pass@k of the k most frequent training answers).
    """
    table = load_passk("pythia", task="gsm8k")
    single, sampled = (
        empirical_optimum(table, C_train=C_train, C_inf=budget).set_index("N")
        for budget in (None, C_inf)
    )
    columns = {"accuracy": "sampled", "question_se": "sampled_se"}
    rows = sampled[["k", *columns]].rename(columns=columns)
    rows = rows.assign(single=single["accuracy"], single_se=single["question_se"])
    guesses = chance("gsm8k", k=rows["k"].to_list())["list"].to_numpy()
    return rows.assign(list=guesses).reset_index()


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
        f"{TASKS[row['task']]}, {STAGES[row['stage']]}, {size(row['N'])}, k = {number(row['k'])}"
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

    One row per task and C_train. The best size with one sample and with more is followed by their
    ratio; ratio and gain have intervals, for both measures.
    """
    cells: dict[tuple[str, str], dict[tuple[str, str], str]] = {}
    names = {"raw": "all questions", "unlisted": "unlisted answers"}
    for row in rows.to_dict("records"):
        entry = cells.setdefault((TASKS[row["task"]], flops(row["C_train"])), {})
        ratio, gain = (
            f"{row[name]:.2f} [{row[f'{name}_interval'][0]:.2f}, {row[f'{name}_interval'][1]:.2f}]"
            for name in ("ratio", "gain")
        )
        measure = names[row["measure"]]
        entry[measure, "best N: smaller by"] = f"{size(row['N_one'])} → {size(row['N'])}: {ratio}"
        entry[measure, "gain"] = gain
    table = pd.DataFrame.from_dict(cells, orient="index")
    return table.rename_axis(index=["task", "C_train"], columns=["", ""])


def verdict_rows(
    study: Mapping[str, Any],
    humaneval: Mapping[str, Any],
    suites: Mapping[str, Mapping[str, Any]],
) -> pd.DataFrame:
    """Judge, for each body of evidence, whether small models win where guessing does not count.

    Parameters
    ----------
    study
        The shipped study ``chance``.
    humaneval
        ``data/published/humaneval_isoflop.json``.
    suites
        Name → shipped study of a suite of rows of equal compute, such as ``messages``.

    Returns
    -------
    pandas.DataFrame
        label; guessing: "none" (nobody can guess, or unlisted questions only), or the accuracy of
        the smaller model over that of the list; N_one and N: best sizes at one sample and with
        samples, or the published pair, NaN over several tasks; gain: accuracy of the smaller over
        that of the larger model with as many FLOPs; low and high: its 95 % interval; verdict:
        "survives" (interval above 1), "fails" (below 1), "open", or "says nothing" where the
        accuracy is less than twice the list's. One of ``suites`` survives only if the interval of
        the best size's shift lies above 0, too (so say their protocols).

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
    rows += [_rows_verdict(f"{name} (toys)", suite) for name, suite in suites.items()]
    moves = [row.pop("moves", True) for row in rows]
    frame = pd.DataFrame(rows)
    columns = frame[["guessing", "low", "high"]].assign(moves=moves)
    return frame.assign(verdict=[_verdict(*row) for row in columns.itertuples(index=False)])


def _macro(
    study: Mapping[str, Any], pick: Callable[[Sequence[int]], int] = max
) -> Mapping[str, Any]:
    """Return the mean over tasks of a study of rows of equal compute, at the larger C_inf."""
    passes = pick(study["protocol"]["passes"])
    results = (r for r in study["results"] if r["task"] == "macro" and r["passes"] == passes)
    result: Mapping[str, Any] = next(results)
    return result


def _rows_verdict(label: str, study: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row of a suite of ours: means over its rows of equal compute."""
    macro, label = _macro(study), f"{label}, mean of rows"
    overall, rows = macro["overall"], [row for row in macro["rows"] if row.get("counts", True)]
    if "gain" not in overall:  # too few rows to judge
        return _body_of_evidence(label, 0.0, [np.nan] * 3)
    against = min(row["accuracy"] / row["chance"] if row["chance"] else np.inf for row in rows)
    gain = [overall["gain"], *overall["gain_interval"]]
    entry = _body_of_evidence(label, "none" if against >= CLEAR else float(against), gain)
    return entry | {"moves": overall["shift_interval"][0] > 0}  # else N may stay where it is


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
            f"Gemstones, {TASKS[row['task']]}, {flops(row['C_train'])}",
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
        label = f"the paper, {TASKS[task]}, {STAGES[stage]}"
        verdicts.append(_body_of_evidence(label, beyond_list, gain, (large["N"], small["N"])))
    return verdicts


def _published_gain(small: float, large: float, n: int) -> list[float]:
    """Return the ratio of two published means, and the widest 95 % interval that n allows.

    Of values between 0 and 1 with mean m the variance is at most m(1 − m).
    """
    error = np.sqrt(sum((1 - mean) / (mean * n) for mean in (small, large)))
    gain = small / large
    return [gain, *(gain * float(np.exp(side * error)) for side in (-1.96, 1.96))]


def _verdict(guessing: float | str, low: float, high: float, moves: bool) -> str:
    if isinstance(guessing, float) and guessing < CLEAR:
        return "says nothing"
    return "survives" if low > 1 and moves else "fails" if high < 1 else "open"


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


def suite_table(study: Mapping[str, Any]) -> pd.DataFrame:
    """Write the rows of equal compute of a suite's study as people read them.

    One row per C_train, the mean over tasks at the larger C_inf: best N at one sample and with
    samples, what the best size solves with its samples and by guessing, the gain with its interval,
    and how much two seeds differ (a factor of one standard deviation).
    """
    lines = []
    for row in _macro(study)["rows"]:
        low, high = row["gain_interval"]
        lines.append(
            {
                "C_train": flops(row["C_train"]),
                "best N: samples": f"{size(row['N_one'])} → {size(row['N'])}: {number(row['k'])}",
                "solved": f"{100 * row['accuracy']:.2g} %",
                "guessed": f"{100 * row['chance']:.1g} %",
                "gain": f"{row['gain']:.2f} [{low:.2f}, {high:.2f}]",
                "between seeds": f"× {np.exp(row['noise']):.2g}",
            }
        )
    return pd.DataFrame(lines).set_index("C_train")


def seed_rows(study: Mapping[str, Any]) -> pd.DataFrame:
    """Return accuracy with samples by size of a suite's study, with what its seeds span.

    Columns: budget (C_train), N, k, accuracy (mean over tasks and seeds), low and high (the worst
    and the best seed), for ``figures.row_profiles``.
    """
    rows = [
        (row["C_train"], entry["N"], entry["k"], np.mean(entry["many"]), *_ends(entry["many"]))
        for row in _macro(study)["rows"]
        for entry in row["by_size"]
    ]
    return pd.DataFrame(rows, columns=["budget", "N", "k", "accuracy", "low", "high"])


def _ends(values: Sequence[float]) -> tuple[float, float]:
    return min(values), max(values)


def suite_numbers(study: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a chapter says of a suite's study: means over the rows that count.

    ratio (best N at one sample over that with samples), gain, and few, the gain at the smaller
    C_inf, each with _low and _high of their interval; seed_low and seed_high, the gain by the seed
    that the sizes were chosen on; noise, the factor of one standard deviation between seeds (median
    of the rows); rows, counted rows, and those whose best size falls or grows beyond doubt; percent
    solved and guessed in the counted rows.
    """
    result, fewer = _macro(study), _macro(study, min)["overall"]
    overall, rows = result["overall"], result["rows"]
    counted = [row for row in rows if row.get("counts", True)]
    verdicts = [row["verdict"] for row in counted]
    numbers = {
        "rows": len(rows),
        "counted": len(counted),
        "smaller": verdicts.count("smaller"),
        "larger": verdicts.count("larger"),
        "seeds": min(row["seeds"] for row in rows),
        "noise": float(np.exp(np.median([row["noise"] for row in counted]))),
        "solved_low": 100 * min(row["accuracy"] for row in counted),
        "solved_high": 100 * max(row["accuracy"] for row in counted),
        "guessed": 100 * max(row["chance"] for row in counted),
    }
    for name, value, ends in (
        ("ratio", 2 ** overall["shift"], [2**end for end in overall["shift_interval"]]),
        ("gain", overall["gain"], overall["gain_interval"]),
        ("few", fewer["gain"], fewer["gain_interval"]),
        ("seed", overall["gain"], _ends(overall["gain_by_seed"])),
    ):
        numbers |= {name: value, f"{name}_low": ends[0], f"{name}_high": ends[1]}
    return numbers


def verdict_summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Count the verdicts of ``verdict_rows`` for each body of evidence."""
    bodies = rows["label"].str.split(", ").str[0].str.removesuffix(" (toys)")
    names = {"the paper": "the paper, Tables 1 and 2", "suite text": "our suite text (toys)"}
    names |= {name: f"our suite {name} (toys)" for name in ("messages", "phrases")}
    names |= {"Gemstones": "Gemstones, unlisted answers"}
    counts = pd.crosstab(bodies.map(lambda name: names.get(name, name)), rows["verdict"])
    verdicts = ["survives", "open", "fails", "says nothing"]
    order = dict.fromkeys(bodies.map(lambda name: names.get(name, name)))
    return counts.reindex(index=list(order), columns=verdicts, fill_value=0).rename_axis(
        index=None, columns=None
    )
