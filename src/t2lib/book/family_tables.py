"""Make tables of how laws foresee overtrained models of real families.

Tables of the shipped study ``families`` (``benchmarks/families.py``, protocol
``params/families.yml``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from t2lib import _check
from t2lib.book.validation_tables import numbers
from t2lib.book.words import TASKS
from t2lib.units import number, size
from t2lib.validation.protocol import Validation

__all__ = [
    "FAMILIES",
    "exponent_table",
    "family_numbers",
    "held_out_points",
    "law_table",
    "loss_signs",
    "loss_table",
    "pooling_table",
    "pythia_details",
    "pythia_table",
    "schedule_table",
    "small_table",
    "together_numbers",
    "together_table",
    "toy_table",
]

Study = Mapping[str, Any]

FAMILIES = {
    "kempner-fineweb": "FineWeb",
    "kempner-fineweb-edu": "FineWeb-Edu",
    "kempner-slimpajama": "SlimPajama",
    "kempner-smollm": "SmolLM corpus",
    "kempner-proof-pile-2": "Proof-Pile-2",
    "kempner-starcoder": "StarCoder",
    "steplaw": "step law",
    "gemstones": "Gemstones",
    "chinchilla": "Chinchilla points",
}
LAWS = {
    "chinchilla": "Chinchilla",
    "chinchilla Huber": "Chinchilla, Huber loss",
    "chinchilla weighted": "Chinchilla, weighted",
    "interaction": "interaction",
    "interaction pooled": "interaction, prior set before",
    "interaction learned": "interaction, prior of other repositories",
    "interaction shared": "interaction, prior of all other families",
    "interaction families": "interaction, all families fitted together",
}
WAYS = {
    "other repositories, once": "other repositories, all their runs",
    "other repositories, once, below the cut": "other repositories, below the cut",
    "other families, once": "all other families, all their runs",
    "other families, once, below the cut": "all other families, below the cut",
}
APPROACHES = {"loss": "Approach 1", "accuracy": "Approach 2", "counts": "counts"}
SCHEDULES = {
    "constant": "constant rate",
    "cooled": "cooled down",
    "mixed": "constant, the last cooled down",
}


def _loss_rows(study: Study) -> list[dict[str, Any]]:
    """Return the held-out errors with ``ratio`` to Chinchilla's on the same family and cut."""
    rows = study["loss"]["rows"]
    base = {(r["family"], r["cut"]): r["error"] for r in rows if r["law"] == "chinchilla"}
    return [row | {"ratio": row["error"] / base[row["family"], row["cut"]]} for row in rows]


def loss_table(study: Study) -> pd.DataFrame:
    """Return error and signed bias in percent, by family, cut and law.

    Laws are Chinchilla and interaction; beside them the cuts in tokens per parameter.
    """
    limits: dict[str, list[str]] = {}
    table: dict[str, dict[str, str]] = {}
    for cut in study["protocol"]["cuts"]:
        for law in ("chinchilla", "interaction"):
            rows = [r for r in study["loss"]["rows"] if (r["cut"], r["law"]) == (cut, law)]
            table[f"{LAWS[law]}, {_percent(cut)}"] = {
                row["family"]: _minus(f"{100 * row['error']:.2f} ({100 * row['bias']:+.2f})")
                for row in rows
            }
        for row in rows:
            limits.setdefault(row["family"], []).append(f"{row['limit']:,.0f}")
    cuts = {name: " and ".join(values) for name, values in limits.items()}
    frame = pd.DataFrame({"cuts at D/N": cuts} | table)
    return frame.reindex(list(FAMILIES)).rename(index=FAMILIES)


def _percent(cut: float) -> str:
    return f"{100 * cut:.0f} %"


def _minus(text: str) -> str:
    return text.replace("-", "−")


def loss_signs(study: Study, law: str, cut: float) -> dict[str, float]:
    """Return a law's signed bias in percent by family: below zero it promises too low a loss."""
    return {
        FAMILIES[row["family"]]: 100 * row["bias"]
        for row in study["loss"]["rows"]
        if (row["law"], row["cut"]) == (law, cut)
    }


def law_table(study: Study, role: str = "all") -> pd.DataFrame:
    """Return ratio to Chinchilla's error, families won, and coverage, by cut and law."""
    _check.choice("role", role, ("all", "test"))
    rows = [row for row in study["summary"] if row["role"] == role]
    table = [
        {
            "cut": _percent(row["cut"]),
            "law": LAWS[row["law"]],
            "error ratio": f"{row['ratio']:.2f}",
            "ahead on": f"{row['wins']} of {row['families']}",
            "law's interval holds": f"{row['coverage']:.0%}",
            "with noise": f"{row['coverage with noise']:.0%}",
        }
        for row in rows
    ]
    return pd.DataFrame(table).set_index(["cut", "law"])


def pooling_table(study: Study, role: str = "all") -> pd.DataFrame:
    """Return the ratio to Chinchilla's error by where the prior comes from."""
    table: dict[str, dict[str, str]] = {}
    for row in study["after"]["means"]:
        if row["role"] == role and row["way"] in WAYS:
            column = table.setdefault(f"cut at {_percent(row['cut'])}", {})
            column[WAYS[row["way"]]] = f"{row['ratio']:.2f}"
    for row in study["summary"]:
        if (row["role"], row["law"]) == (role, "interaction"):
            table[f"cut at {_percent(row['cut'])}"]["no prior"] = f"{row['ratio']:.2f}"
    return pd.DataFrame(table).rename_axis(index="prior from")


def small_table(study: Study, role: str = "test") -> pd.DataFrame:
    """Return the ratio to Chinchilla's error by number of checkpoints, cut and law."""
    return _ratios(row for row in study["small"] if row["role"] == role)


def together_table(study: Study) -> pd.DataFrame:
    """Return the ratio to Chinchilla's error of families fitted together, by size and cut."""
    return _ratios(row for row in study["summary"] if row["role"] == "test")


def _ratios(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Return one column per law; a row per cut and number of checkpoints, all of them last."""
    table: dict[str, dict[tuple[str, str], str]] = {}
    for row in sorted(rows, key=lambda row: (row["cut"], row["size"] or math.inf)):
        if row["law"] != "chinchilla":
            column = table.setdefault(LAWS[row["law"]], {})
            key = f"cut at {_percent(row['cut'])}", str(row["size"] or "all")
            column[key] = f"{row['ratio']:.2f}"
    return pd.DataFrame(table).fillna("").rename_axis(index=["", "checkpoints"])


def together_numbers(study: Study, size: int = 12) -> dict[str, Any]:
    """Return the numbers that the chapter quotes of families fitted together, by name."""
    out: dict[str, Any] = {"goal": study["protocol"]["goal at 12"]}
    names = {
        "interaction": "alone",
        "interaction families": "families",
        "interaction shared": "shared",
    }
    for row in study["summary"]:
        if (row["role"], row["size"]) != ("test", size) or row["law"] not in names:
            continue
        tag = "median" if row["cut"] == 0.5 else "far"
        out[f"{names[row['law']]}-{tag}"] = row["ratio"]
        if row["law"] == "interaction families":
            worse = [FAMILIES[name] for name in FAMILIES if row["by_family"].get(name, 0) > 1]
            out[f"lost-{tag}"] = ", ".join(worse) or "none"
    return out


def exponent_table(study: Study) -> pd.DataFrame:
    """Return b′ of each family from all its runs, with its interval and the ratios covered."""
    rows = {row["family"]: row for row in study["loss"]["exponents"]}
    table = pd.DataFrame(
        {
            "runs": [rows[name]["n"] for name in FAMILIES],
            "N": [" to ".join(size(end) for end in rows[name]["N"]) for name in FAMILIES],
            "tokens per parameter": [
                " to ".join(number(round(end)) for end in rows[name]["tokens_per_param"])
                for name in FAMILIES
            ],
            "b′": [_minus(f"{rows[name]['params']['b_prime']:+.2f}") for name in FAMILIES],
            "95 %": [
                _minus(" to ".join(f"{end:+.2f}" for end in rows[name]["interval"]["b_prime"]))
                for name in FAMILIES
            ],
        },
        index=list(FAMILIES.values()),
    )
    return table


def held_out_points(study: Study, cut: float) -> dict[str, pd.DataFrame]:
    """Return held-out misses, one frame per family.

    Columns: tokens_per_param, law, miss (predicted/measured − 1, in percent).
    """
    frames = {}
    for part in study["loss"]["points"]:
        if part["cut"] != cut:
            continue
        ratio = np.array(part["D"]) / np.array(part["N"])
        laws = {
            name: 100 * (np.array(value["ratio"]) - 1)
            for name, value in part.items()
            if isinstance(value, Mapping)
        }
        frames[part["family"]] = pd.concat(
            [
                pd.DataFrame({"tokens_per_param": ratio, "law": LAWS[name], "miss": miss})
                for name, miss in laws.items()
            ],
            ignore_index=True,
        )
    return {FAMILIES[name]: frames[name] for name in FAMILIES if name in frames}


def pythia_table(study: Study, cut: float = 0.7) -> pd.DataFrame:
    """Return promised over measured pass@k of Pythia beyond a cut, by task and law.

    For all checkpoints, and for those of runs that have not turned.
    """
    table: dict[str, dict[tuple[str, str], str]] = {}
    for row in _pythia_rows(study, cut):
        cells = {
            f"promised / measured, {row['label']}": f"{row['median_ratio']:.1f}",
            f"interval holds, {row['label']}": f"{row['coverage']:.0%}",
        }
        for name, text in cells.items():
            table.setdefault(name, {})[row["name"]] = text
    return pd.DataFrame(table).rename_axis(index=("task", "law"))


def pythia_details(study: Study, cut: float = 0.7) -> pd.DataFrame:
    """Return the forecasts of Pythia's pass@k beyond a cut, a row per task, law and checkpoints."""
    table = {
        (*row["name"], row["label"]): {
            "number": str(row["cells"]),
            "promised / measured": f"{row['median_ratio']:.2f}",
            "mean error": _minus(f"{100 * row['bias']:+,.0f} %"),
        }
        for row in _pythia_rows(study, cut)
    }
    frame = pd.DataFrame.from_dict(table, orient="index")
    return frame.rename_axis(index=("task", "law", "checkpoints")).sort_index()


def _pythia_rows(study: Study, cut: float) -> list[dict[str, Any]]:
    """Return the rows of both parts with names in words."""
    labels = {"all": "all", "without turned": "before the turn"}
    return [
        row | {"label": labels[part], "name": (TASKS[row["task"]], APPROACHES[row["law"]])}
        for part in labels
        for row in study["pythia"]
        if (row["part"], row["cut"]) == (part, cut)
    ]


def schedule_table(study: Study) -> pd.DataFrame:
    """Return the best N without samples from Gemstones' losses under three schedules."""
    rows = [row for row in study["schedule"] if row["set"] in SCHEDULES]
    table = {}
    for row in rows:
        cells = {"checkpoints": str(row["n"])}
        for best in row["best"]:
            low, high = best["N_interval"]
            cells[f"best N at {best['C_train']:.0e} FLOPs".replace("e+", "e")] = (
                f"{size(best['N'])} ({size(low)} to {size(high)})"
            )
        table[SCHEDULES[row["set"]]] = cells
    return pd.DataFrame(table).T.rename_axis("schedule")


def family_numbers(study: Study) -> dict[str, Any]:
    """Return the numbers that the chapter's sentences quote, by name."""
    rows = _loss_rows(study)
    summary = {(row["role"], row["cut"], row["law"]): row for row in study["summary"]}
    out: dict[str, Any] = {"runs": sum(row["n"] for row in study["loss"]["exponents"])}
    # Laws of the loss, at both cuts.
    for cut, tag in ((0.5, "median"), (0.7, "far")):
        for role in ("all", "test"):
            for law in ("interaction", "interaction learned", "interaction shared"):
                row = summary[role, cut, law]
                name = f"{tag}-{role}-{law.rsplit(' ', 1)[-1]}"
                out |= {name: row["ratio"], f"{name}-wins": row["wins"]}
        worse = {
            row["family"]
            for row in rows
            if (row["law"], row["cut"]) == ("interaction", cut) and row["ratio"] > 1
        }
        out[f"{tag}-lost"] = [FAMILIES[name] for name in FAMILIES if name in worse]
        for law in ("chinchilla", "interaction"):
            row = summary["all", cut, law]
            out[f"{tag}-{law}-error"] = 100 * row["error"]
            out[f"{tag}-{law}-bias"] = 100 * row["bias"]
            out[f"{tag}-{law}-coverage"] = 100 * row["coverage"]
            out[f"{tag}-{law}-noise"] = 100 * row["coverage with noise"]
        pooled = [
            row["ratio"]
            for row in study["after"]["means"]
            if (row["role"], row["way"], row["cut"]) == ("all", "other repositories, once", cut)
        ]
        out[f"pooled-{tag}"] = pooled[0]
    # From loss to tasks.
    for route in study["protocol"]["tasks"]["ways"]:
        misses = [row["error"] for row in study["tasks"] if row["way"] == route]
        out["tasks-" + route.replace(" ", "-")] = 100 * float(np.median(misses))
    # Pythia beyond the 70th percentile.
    pythia = [row for row in study["pythia"] if row["cut"] == 0.7]
    promised = [row["median_ratio"] for row in pythia if row["part"] == "all"]
    early = [row for row in pythia if (row["part"], row["task"]) == ("without turned", "gsm8k")]
    cells = {(row["part"], row["task"]): row["cells"] for row in pythia}
    out |= {"promised-low": min(promised), "promised-high": max(promised)}
    out["early-low"] = min(row["median_ratio"] for row in early)
    out["early-high"] = max(row["median_ratio"] for row in early)
    out["early-cells"] = cells["without turned", "gsm8k"]
    out["gsm8k-cells"] = cells["all", "gsm8k"]
    out["math-early-cells"] = cells["without turned", "math"]
    # What a cooldown gains.
    gap = next(row for row in study["schedule"] if row["set"] == "gap")
    out["gap"] = 100 * gap["mean"]
    out["gap-D"] = 100 * gap["per_e_fold_D"] * float(np.log(10))
    out["gap-N"] = 100 * gap["per_e_fold_N"] * float(np.log(10))
    return out


def toy_table(validations: Mapping[str, Validation], paper: Mapping[str, float]) -> pd.DataFrame:
    """Return what the toy suites measure of the paper's second question, beside the paper.

    Parameters
    ----------
    validations
        By suite, as ``load_validation`` returns them.
    paper
        The paper's held-out relative errors, "approach 1" and "approach 2".
    """
    lines = {"Approach 1, task NLL": "a1", "Approach 2, pass@k": "a2"}
    won, surely = "tasks on which the overtrained model is ahead", "surely ahead; surely behind"
    column = {name: f"{100 * paper[f'approach {tag[-1]}']:.1f} %" for name, tag in lines.items()}
    table = {"paper": column | {won: "8 of 8", surely: "–"}}
    for suite, validation in validations.items():
        values = numbers(validation, passes=1)
        column = {name: f"{values[f'{tag}-held_out']:.3g} %" for name, tag in lines.items()}
        column[won] = f"{values['ahead']} of {values['tasks']}"
        column[surely] = f"{values['ahead-sure']}; {values['behind-sure']}"
        table[f"TOY {suite}"] = column
    return pd.DataFrame(table)
