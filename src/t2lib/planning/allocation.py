"""Hold the best use of a budget, and show it as a table, a profile or a drawing."""

from __future__ import annotations

import html
import importlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from t2lib.costs.base import Cost
from t2lib.laws.base import Predictor
from t2lib.planning.budget import Budget
from t2lib.planning.spending import SharedSpending
from t2lib.planning.trust import Judgement, judge
from t2lib.units import flops, number, rough
from t2lib.units import size as written_size

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Allocation"]

TABLE = '<table class="dataframe">'  # notebooks and the book set it as they set a data frame


@dataclass(frozen=True)
class Allocation:
    """Hold the best use of a budget according to a law.

    Attributes
    ----------
    N, D, k : float
        Parameters, training tokens, samples per question (k ≥ 1).
    tokens_per_param : float
        D/N.
    value : float
        What the law predicts there: nll in nats or accuracy, by ``law.kind``.
    at_bound : str or None
        None for an interior optimum. "k=1": one sample is all that C_inf pays for at this N;
        "lower", "upper": the end of the search range; "memory": no larger model fits; "max_N",
        "max_D", "max_k": that limit of the budget; "flat": the law predicts the same value, to
        rounding, over a stretch of N, of which this is the middle.
    C_train : float
        Training budget, in ``unit``.
    C_inf : float or None
        Inference budget, ``unit`` per served token; None if it was not limited and k is 1.
    extrapolates : tuple of str
        Which of N, D, k, tokens_per_param lie outside the data that the law was fitted to.
    level : float
        Coverage of the intervals.
    value_interval : tuple of float or None
        Bootstrap interval of the law's value at this allocation; None without bootstrap.
    N_interval, D_interval, k_interval, tokens_per_param_interval : tuple of float or None
        Bootstrap intervals of the optimum: every replicate is optimised anew.
    C_total, train_fraction, train_fraction_interval, queries, tokens_per_sample
        Set for a shared budget only; C_total in ``unit``.
    cost_per_query : float or None
        What one question costs with its k samples and its share of training, in ``unit``; set for a
        shared budget.
    cost_of_pass : float or None
        ``cost_per_query`` over the predicted accuracy, the price of one correct answer (Erol et
        al., arXiv 2504.13359, with training amortised); None for laws that predict a loss.
    unit : str
        Of budgets and costs: "FLOPs", "FLOP equivalents" or "money".
    N_effective, D_effective : float or None
        Parameters and unique tokens that N and D are worth, if the cost model counts repetitions
        and that makes a difference; the law is read there.
    """

    N: float
    D: float
    k: float
    tokens_per_param: float
    value: float
    at_bound: str | None
    C_train: float
    C_inf: float | None
    extrapolates: tuple[str, ...] = ()
    level: float = 0.95
    value_interval: tuple[float, float] | None = None
    N_interval: tuple[float, float] | None = None
    D_interval: tuple[float, float] | None = None
    k_interval: tuple[float, float] | None = None
    tokens_per_param_interval: tuple[float, float] | None = None
    C_total: float | None = None
    train_fraction: float | None = None
    train_fraction_interval: tuple[float, float] | None = None
    queries: float | None = None
    tokens_per_sample: float | None = None
    cost_per_query: float | None = None
    cost_of_pass: float | None = None
    unit: str = "FLOPs"
    N_effective: float | None = None
    D_effective: float | None = None

    # What the decision was made with; not a field, so not in ``to_dict``.
    _origin: ClassVar[tuple[Predictor, Cost, Budget] | None] = None
    _judged: ClassVar[Judgement | None] = None

    def to_dict(self) -> dict[str, Any]:
        """Return a plain dict, ready for JSON, in which tuples are lists.

        It ends with what speaks against the plan: warnings, nearest, reach, chance, k_slope and
        held_out.
        """
        fields = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}
        rows = self.nearest.rename_axis("run").reset_index().astype(object)
        return fields | {
            "warnings": self.warnings,
            "nearest": rows.where(rows.notna(), None).to_dict("records"),
            "reach": self.reach,
            "chance": self.chance,
            "k_slope": self.k_slope,
            "held_out": None if self.held_out is None else dict(self.held_out),
        }

    @property
    def law(self) -> Predictor | None:
        """Return the law that decided, or None for an allocation made by hand."""
        return self._origin[0] if self._origin else None

    @property
    def cost(self) -> Cost | None:
        """Return how training and serving were counted, or None for one made by hand."""
        return self._origin[1] if self._origin else None

    @property
    def budget(self) -> Budget | None:
        """Return what could be spent, or None for an allocation made by hand."""
        return self._origin[2] if self._origin else None

    # What speaks against it, computed when it is first read.

    def _judgement(self) -> Judgement:
        if self._judged is None:
            object.__setattr__(self, "_judged", judge(self))
        assert self._judged is not None
        return self._judged

    @property
    def warnings(self) -> list[str]:
        """Return what a reader should know before acting on the plan, gravest first."""
        return list(self._judgement().warnings)

    @property
    def nearest(self) -> pd.DataFrame:
        """Return the nearest measured checkpoint of each of the nearest runs, nearest first.

        Index: the run. Columns: N, D, k (the plan's, or the nearest that was measured), measured,
        measured_se, predicted. Empty where the law holds no measurements.
        """
        return self._judgement().nearest.copy()

    @property
    def reach(self) -> dict[str, float]:
        """Return by what factor each size lies beyond the law's data, 1 inside.

        Names: N, D, k, tokens_per_param and C_train (6·N·D).
        """
        return dict(self._judgement().reach)

    @property
    def chance(self) -> float | None:
        """Return what guessing reaches with k samples, None where that is not known.

        The guesses are the k most frequent training answers. 0 for a law on the questions that no
        such list solves.
        """
        return self._judgement().chance

    @property
    def k_slope(self) -> float | None:
        """Return the slope of log pass@k in log k at the plan, None for laws without k."""
        return self._judgement().k_slope

    @property
    def held_out(self) -> Mapping[str, Any] | None:
        """Return the law's error on checkpoints that were held out, where it is known."""
        return self._judgement().held_out

    def profile(self) -> pd.DataFrame:
        """Return the law along N at this budget, without bootstrap intervals.

        Columns: those of :func:`~t2lib.planning.optimum.isoflop`.

        Raises
        ------
        ValueError
            If the allocation does not know its law.
        """
        if self._origin is None:
            raise ValueError(
                "this allocation must come from allocate or allocate_total, got one without a law. "
                "Make it with t2lib.allocate(law, ...)."
            )
        law, cost, budget = self._origin
        law, sizes = law.with_replicates(0), None
        if budget.shared_total:
            # Down and up from the optimum by a factor of 30, as far as the budget reaches.
            reach = float(SharedSpending.check(law, budget, cost).largest_size(1.0))
            largest = min(30 * self.N, reach)
            grid = np.geomspace(max(self.N / 30, 1.0), largest, 101)
            sizes = np.minimum(grid, largest)
        # Not a plain import: the module makes allocations, so it stands above this one.
        optimum = importlib.import_module("t2lib.planning.optimum")
        profile: pd.DataFrame = optimum.isoflop(law, budget, N=sizes, cost=cost)
        return profile

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the law along N at this budget, with the optimum and its interval.

        The sizes that the law was fitted to are shaded, and measured runs on the profile are drawn
        where the law holds them. Needs the extra ``plot``; draws on ``ax`` or on new axes.
        """
        # Not a plain import: laws stand below the figures and work without matplotlib.
        figures = importlib.import_module("t2lib.figures")
        axes: Axes = figures.allocation_profile(self, ax=ax)
        return axes

    def _repr_html_(self) -> str:
        """Return a table of N, D, k and the value, and what speaks against them, for notebooks."""
        metric = "value" if self.law is None else self.law.metric
        rows = [
            ("N (parameters)", self.N, self.N_interval, written_size),
            ("D (tokens)", self.D, self.D_interval, written_size),
            ("k (samples)", self.k, self.k_interval, number),
            (metric, self.value, self.value_interval, number),
        ]
        lines = [
            f"<tr><th>{name}</th><td>{written(value)}</td>"
            f"<td>{' to '.join(map(written, ends)) if ends else ''}</td></tr>"
            for name, value, ends, written in rows
        ]
        head = f"<tr><th></th><th>best</th><th>{100 * self.level:g} % interval</th></tr>"
        table = f"{TABLE}<caption>{self._caption()}</caption>{head}{''.join(lines)}</table>"
        return table + self._measured_html() + self._against_html()

    def _measured_html(self) -> str:
        """Return the nearest measured models as a table, empty where none are known."""
        if self.nearest.empty:
            return ""
        columns = ("N", "D", "k", "measured", "predicted")
        lines = []
        for row in self.nearest.head(3).to_dict("records"):
            values = {name: rough(row[name]) for name in columns}
            if row["measured_se"] > 0:  # NaN where it is not known
                values["measured"] += f" ± {row['measured_se']:.1g}"
            lines.append(f"<tr>{''.join(f'<td>{text}</td>' for text in values.values())}</tr>")
        head = "".join(f"<th>{name}</th>" for name in columns)
        caption = "<caption>nearest measured models</caption>"
        return f"{TABLE}{caption}<tr>{head}</tr>{''.join(lines)}</table>"

    def _against_html(self) -> str:
        """Return the warnings as a list, empty where there are none."""
        if not self.warnings:
            return ""
        entries = "".join(f"<li>{html.escape(text)}</li>" for text in self.warnings)
        return f"<p>Against this plan:</p><ul>{entries}</ul>"

    def _caption(self) -> str:
        """Say in a line which budget this is and what speaks against the optimum."""
        budgets = {"C_train": self.C_train, "C_inf": self.C_inf}
        if self.C_total is not None:
            budgets = {"C_total": self.C_total}
        symbols = {f"C<sub>{name[2:]}</sub>": v for name, v in budgets.items() if v is not None}
        parts = [f"{name} = {flops(v)} {self.unit}" for name, v in symbols.items()]
        if self.at_bound is not None:
            parts.append(f"at bound: {self.at_bound}")
        if self.extrapolates:
            parts.append(f"outside the fitted data: {', '.join(self.extrapolates)}")
        return "; ".join(parts)

    def with_one_sample(self) -> Allocation:
        """Return the same plan with k = 1, for a rule that does no better with more samples."""
        plan = replace(self, k=1.0)
        return plan if self._origin is None else plan._from(*self._origin)

    def _from(self, law: Predictor, cost: Cost, budget: Budget) -> Allocation:
        """Remember what decided, for ``profile`` and ``plot``."""
        object.__setattr__(self, "_origin", (law, cost, budget))
        return self
