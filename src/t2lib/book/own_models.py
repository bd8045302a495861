"""Take the steps of the chapter on a reader's own models: read, draw, plan, and what is next.

The chapter runs on evaluation logs, tables of counts or losses, and suites, of which it knows
nothing in advance; these steps choose what fits the kind of measurements.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from t2lib.book.places import EXAMPLE
from t2lib.costs.rental import Rental
from t2lib.data import io, store
from t2lib.data._count_tables import passk_of_counts
from t2lib.data.readers.recognise import is_measurements, read_measurements, shown_notes
from t2lib.data.tables import passk_table
from t2lib.laws.base import Law
from t2lib.laws.power import PowerLaw
from t2lib.planning.allocation import Allocation
from t2lib.planning.budget import Budget
from t2lib.planning.design import next_runs
from t2lib.planning.optimum import allocate
from t2lib.planning.trust import ExtrapolationError
from t2lib.units import flops, number, size
from t2lib.validation.comparison import fit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "budget_sentence",
    "draw_measured",
    "guessing_sentence",
    "judgement",
    "nearest_table",
    "next_sentence",
    "next_table",
    "own_budget",
    "passk_of",
    "plan_table",
    "plan_within",
    "read_own",
    "reading_sentences",
    "shown_runs",
]

_DRAWN_K = 4.0 ** np.arange(9)
_ALWAYS = 1e-6  # nats: of questions that are always solved
_SOLVED = 0.8  # pass@k of the middle checkpoint from which more samples are not asked about
_UNKNOWN = 1000  # an interval of N wider than this factor says nothing
_MOST_RUNS = 10  # of the recommended ones that are listed


def read_own(
    measurements: str, *, models: str | None, task: str | None, answers: str | None
) -> pd.DataFrame:
    """Read the measurements of one task, whatever wrote them.

    Parameters
    ----------
    measurements
        A file or folder that ``t2.read_measurements`` knows, a suite
        by name or folder, or "example-sums", the shipped logs.
    models
        CSV of model, N and D, where the logs do not say.
    task
        Which task; None where there is only one.
    answers
        File of training answers, one a line, for what guessing reaches.

    Raises
    ------
    ValueError
        If there are several tasks and none is chosen, and what the reader raises.
    """
    if measurements == EXAMPLE:
        folder = io.data_dir() / "examples" / "sums"
        measurements, models = str(folder / "logs"), models or str(folder / "models.csv")
    if measurements not in store.list_suites() and is_measurements(measurements):
        frame = read_measurements(measurements, models=models, answers=answers)
    else:
        frame = _of_suite(measurements, task, answers)
    if "task" not in frame:
        return frame
    # One task is planned for: the laws of several are compared on the planner page.
    attrs, names = frame.attrs, sorted(frame["task"].astype(str).unique())
    if task is None and len(names) > 1:
        raise ValueError(
            f"task must be one of {', '.join(names)}, got None. Say which of them to plan for."
        )
    if task is not None and task not in names:
        raise ValueError(f"task must be one of {', '.join(names)}, got {task!r}. Choose one.")
    frame = frame[frame["task"].astype(str) == (task or names[0])].astype({"task": str})
    frame.attrs = attrs
    return frame.reset_index(drop=True)


def _of_suite(name: str, task: str | None, answers: str | None) -> pd.DataFrame:
    """Read a suite of scores, counts or losses."""
    kind = store.measure_of(name)
    if kind == "loss":
        runs = store.load_runs(name)
        frame = runs[["run_id", "N", "D", "val_loss"]].rename(columns={"val_loss": "loss"})
    else:
        chosen = answers if answers is None or task is None else {task: answers}
        frame = store.load_suite(name, answers=chosen)
    frame.attrs |= {"kind": "runs" if kind == "loss" else kind, "notes": []}
    frame.attrs.setdefault("dropped", {})
    return frame


def reading_sentences(frame: pd.DataFrame) -> str:
    """Say in a paragraph what was read, chosen and left out."""
    sizes = [size(value) for value in (frame["N"].min(), frame["N"].max())]
    tokens = [size(value) for value in (frame["D"].min(), frame["D"].max())]
    count = frame[["N", "D"]].drop_duplicates().shape[0]
    nouns = {"logp": "log-probabilities", "counts": "counts", "runs": "losses"}
    kind = nouns.get(frame.attrs["kind"], "values")
    lines = [
        f"{len(frame):,} {kind} of {count} checkpoints: {sizes[0]} to {sizes[1]} parameters, "
        f"{tokens[0]} to {tokens[1]} training tokens."
    ]
    lines += [f"{note[0].upper()}{note[1:]}." for note in shown_notes(frame)]
    return " ".join(lines)


def passk_of(frame: pd.DataFrame) -> pd.DataFrame | None:
    """Return pass@k of log-probabilities or counts; None for losses.

    Columns as of ``t2lib.passk_table``, with what guessing reaches where the answers are known.
    """
    kind = frame.attrs["kind"]
    if kind == "runs":
        return None
    if kind == "passk":
        return frame
    if kind == "counts":
        table, _ = passk_of_counts(frame, None, macro=False)
        for task, prior in frame.attrs.get("priors", {}).items():
            rows = table["task"] == task
            solved = [float(prior.list_solves(k).mean()) for k in table.loc[rows, "k"]]
            table.loc[rows, "chance_list"] = solved
        return table
    return passk_table(frame, _DRAWN_K, chance=bool(frame.attrs.get("priors")))


def draw_measured(frame: pd.DataFrame, table: pd.DataFrame | None, ax: Axes) -> Axes:
    """Draw pass@k of the longest-trained checkpoint of each size, or the losses of all runs."""
    from t2lib import figures

    if table is None:
        column = next(name for name in ("loss", "nll") if name in frame)
        for N, runs in frame.sort_values("D").groupby("N"):
            ax.plot(runs["D"], runs[column], "o-", ms=4, label=size(float(N)))  # type: ignore[arg-type]
        ax.set(xscale="log", xlabel="training tokens D", ylabel="loss (nats)")
        if frame["N"].nunique() <= 12:
            ax.legend(title="N")
        return ax
    last = table[table["D"] == table.groupby("N")["D"].transform("max")]
    figures.passk_curves(last, ax=ax)
    if "chance_list" in last and last["chance_list"].notna().any():
        line = last.groupby("k")["chance_list"].mean()
        ax.plot(line.index, line, "k:", label="a list of answers")
        ax.legend()
    return ax


def own_budget(
    law: Law,
    *,
    c_train: float | str | None,
    c_inf: float | str | None,
    device: Mapping[str, Any],
    limits: Mapping[str, Any] | None = None,
    table: pd.DataFrame | None = None,
) -> tuple[Budget, list[str]]:
    """Return the budget in the units that were given, and what was assumed.

    Parameters
    ----------
    law
        Without budgets, the middle of what it was fitted to is asked.
    c_train, c_inf
        FLOPs to train, and FLOPs per served token.
    device
        gpus, days, gpu and mfu: instead of ``c_train``.
    limits
        max_N, max_D and max_k, None for no limit.
    table
        Of pass@k: without ``c_inf`` as many samples are asked as still help its middle checkpoint.
    """
    # Training: FLOPs, or devices for some days, or what measured runs had.
    notes = []
    gpus, days = device["gpus"], device["days"]
    if (gpus is None) != (days is None):
        raise ValueError("gpus and days must be given together, got one of them. Give both.")
    if gpus is not None and c_train is not None:
        raise ValueError(
            "c_train must be left out with gpus and days, got both. Say None to leave it out."
        )
    if gpus is not None:
        rental = Rental(gpu=device["gpu"], mfu=device["mfu"])
        c_train = gpus * days * 86400.0 * rental.device.flops * rental.mfu
    middle = {} if law.comparison_ is None else law.comparison_.attrs
    if c_train is None:
        N, D = (np.sqrt(np.prod(law.fitted_range_[name])) for name in ("N", "D"))
        c_train = float(middle.get("C_train", 6 * N * D))
        notes.append(
            f"No training budget was given: {flops(float(c_train))} FLOPs, as measured runs had."
        )
    # Sampling: as many samples as the middle of the fitted range, or as still help.
    if c_inf is None and law.uses_k:
        ranges = law.fitted_range_
        N, k = (np.sqrt(np.prod(ends)) for ends in (ranges["N"], ranges.get("k", (1.0, 64.0))))
        if table is not None:
            reached = table.groupby("k")["accuracy"].median()
            k = max([1.0, *reached.index[reached <= _SOLVED]])
        c_inf = float(2 * N * k)
        notes.append(f"No inference budget was given: {flops(float(c_inf))} FLOPs a served token.")
    if not law.uses_k:
        c_inf = None
        notes.append("Losses know one sample per question: an inference budget changes nothing.")
    bounds = {name: value for name, value in (limits or {}).items() if value is not None}
    return Budget.fixed(c_train, c_inf, **bounds), notes


def plan_within(law: Law, budget: Budget) -> tuple[Allocation, list[str]]:
    """Return the best plan, and why the library would refuse it (nothing if it would not)."""
    try:
        return allocate(law, budget), []
    except ExtrapolationError as error:
        return error.allocation, list(error.reasons)


def plan_table(best: Allocation, metric: str) -> pd.DataFrame:
    """Return N, D, k and the prediction with their intervals, as text."""
    rows = {
        "N (parameters)": (best.N, best.N_interval, size),
        "D (tokens)": (best.D, best.D_interval, size),
        "k (samples)": (best.k, best.k_interval, number),
        "tokens per parameter": (best.tokens_per_param, best.tokens_per_param_interval, number),
        f"predicted {metric}": (best.value, best.value_interval, number),
    }
    columns = {
        name: (written(value), " to ".join(map(written, ends)) if ends else "")
        for name, (value, ends, written) in rows.items()
    }
    head = ["best", f"{best.level:.0%} interval"]
    return pd.DataFrame.from_dict(columns, orient="index", columns=head)


def guessing_sentence(table: pd.DataFrame | None) -> str:
    """Say how many checkpoints lie above what a list of training answers reaches."""
    if table is None:
        return "Losses know no chance line: nothing is answered."
    if "chance_list" not in table or table["chance_list"].isna().all():
        return (
            "What guessing reaches is not known for this task: name a file of training answers "
            "to see it. Until then pass@k at many samples may be guessing."
        )
    rows = table[table["k"] == table["k"].max()]
    n_above = int((rows["accuracy"] > rows["chance_list"]).sum())
    return (
        f"At k = {number(float(rows['k'].iloc[0]))} {n_above} of {len(rows)} checkpoints "
        f"solve more questions than a list of training answers, which solves "
        f"{number(100 * float(rows['chance_list'].mean()))} % without reading them."
    )


def budget_sentence(budget: Budget, assumed: list[str], device: Mapping[str, Any]) -> str:
    """Say what is asked, in the units that were given."""
    assert isinstance(budget.C_train, float)
    text = f"Asked: {flops(budget.C_train)} FLOPs of training"
    if device["gpus"] is not None:
        text += (
            f" ({number(device['gpus'])} {device['gpu']} for {number(device['days'])} days at "
            f"{100 * device['mfu']:.3g} % of their peak rate)"
        )
    if isinstance(budget.C_inf, float):
        text += f", {flops(budget.C_inf)} FLOPs per served token"
    limits = [
        f"{name} = {size(getattr(budget, name))}"
        for name in ("max_N", "max_D", "max_k")
        if getattr(budget, name) is not None
    ]
    return " ".join([text + (f", {', '.join(limits)}" if limits else "") + ".", *assumed])


def judgement(best: Allocation, refused: list[str]) -> str:
    """Say what speaks against a plan, as a list."""
    if refused:
        head = "**The plan is refused**: its law knows nothing there. It is a forecast, no advice."
    elif best.warnings:
        head = "The plan lies where the law can speak. What to know before following it:"
    else:
        return "Nothing speaks against the plan: it lies inside what was measured."
    reasons = dict.fromkeys([*refused, *best.warnings])
    return "\n".join([head, "", *(f"- {reason}" for reason in reasons)])


def nearest_table(best: Allocation) -> pd.DataFrame:
    """Return the measured checkpoints nearest to a plan, as text."""
    rows = best.nearest
    written = {"N": size, "D": size, "k": number, "measured": number, "predicted": number}
    columns = {name: rows[name].map(write) for name, write in written.items() if name in rows}
    return pd.DataFrame(columns)


def next_table(
    law: Law, table: pd.DataFrame, budget: Budget, share: float
) -> tuple[pd.DataFrame | None, str]:
    """Return the runs that would make the plan surest, and which law says so or why there are none.

    The design needs a sum of power laws in N, D and k. Where the chosen law is another, Approach 1
    takes its place for pass@k. The answer is for the budgets alone, without limits.
    """
    assert isinstance(budget.C_train, float)
    amounts: dict[str, Any] = {"C_train": budget.C_train, "C_inf": budget.C_inf}
    names = {"loss": "Approach 1", "chinchilla": "Chinchilla's law", "interaction": "its law"}
    word = f"By {names.get(law.kind, law.kind)}, the chosen law."
    try:
        if not isinstance(law, PowerLaw):
            substitute = "loss" if "k" in table else "chinchilla"
            word = (
                f"The chosen law ({law.kind}) is no sum of power laws, which the choice of runs "
                f"needs: these are by {names[substitute]}, fitted to the same measurements."
            )
            if "k" in table:  # what is always solved has a loss of zero, which no power law has
                table = table[table["nll"] > _ALWAYS]
            law = fit(table, substitute)
            law.bootstrap(50, seed=0)
        return next_runs(law, **amounts, allowance=share * budget.C_train), word
    except ValueError as error:
        return None, f"{word} {error}"


def next_sentence(runs: pd.DataFrame | None, why: str, budget: Budget, share: float) -> str:
    """Say what the next runs cost and what they make surer."""
    assert isinstance(budget.C_train, float)
    if runs is None or runs.empty:
        return f"No further runs can be recommended. {why}"
    width_now, width_after = (
        float(np.exp(width)) for width in (runs.attrs["width"], runs["width"].min())
    )
    if width_now > _UNKNOWN:
        today = f"these measurements do not tell it within a factor of {_UNKNOWN}"
    else:
        today = f"now it has a factor of {number(width_now)}"
    return (
        f"For {number(100 * share)} % of the training budget ({flops(share * budget.C_train)} "
        f"FLOPs), {runs['run'].nunique()} further runs would give the best N a 95 % interval of a "
        f"factor of {number(width_after)}, if the law is right; {today}. The first "
        f"{min(len(runs), _MOST_RUNS)} checkpoints of them are listed. {why}"
    )


def shown_runs(runs: pd.DataFrame | None) -> pd.DataFrame:
    """Return the recommended runs as text."""
    if runs is None or runs.empty:
        return pd.DataFrame({"N": [], "D": []})
    runs = runs.head(_MOST_RUNS)
    return pd.DataFrame(
        {
            "N": runs["N"].map(size),
            "D": runs["D"].map(size),
            "tokens per parameter": runs["tokens_per_param"].map(number),
            "FLOPs": runs["cost"].map(flops),
        }
    )
