"""Follow a power law along one pair of budgets under any smooth cost.

The budgets fix D and k at each N, so along them the law is a function of log N alone: a sum of
terms whose logs are linear in log N, log D and log k. Under the paper's count these are straight
lines and the law is convex; under any other smooth count their slopes are known, and the optimum is
still where the law's slope vanishes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from t2lib import _check
from t2lib._check import Floats
from t2lib.costs.base import DENSE, Cost, DenseCost, check_cost
from t2lib.costs.transformer import ShapeLadder

if TYPE_CHECKING:
    from t2lib.laws.power import PowerLaw

__all__ = ["BudgetPath"]


_STEP = 0.05  # in log N, of the differences that give slopes of costs
_SCAN = 400  # points at which to look for further optima


class BudgetPath:
    """Follow a power law along one pair of budgets.

    k = 1 everywhere if C_inf is None.

    Raises
    ------
    TypeError, ValueError
        For budgets that are not positive numbers, and costs that are not smooth in N.
    """

    def __init__(
        self, law: PowerLaw, C_train: float, C_inf: float | None, cost: Cost = DENSE
    ) -> None:
        self.law, self.cost = law, cost
        self.C_train = float(_check.budget("C_train", C_train))
        self.C_inf = None if C_inf is None else float(_check.budget("C_inf", C_inf))
        _check_smooth(cost)
        self.most = cost.affordable_size(self.C_train, self.C_inf)

    def tokens(self, N: Floats) -> Floats:
        """Return D at N, as processed."""
        return np.asarray(self.C_train / self.cost.train_rate(N))

    def worth(self, N: Floats) -> tuple[Floats, Floats]:
        """Return what N and its D are worth, where the law is read."""
        return self.cost.effective(N, self.tokens(N))

    def samples(self, N: Floats) -> Floats:
        """Return the samples k at N."""
        if self.C_inf is None:
            return np.ones_like(N)
        return self.cost.sampling(N, self.C_inf)

    def logs(self, n: Floats) -> dict[str, Floats]:
        """Return logs of the sizes read by the law at log N."""
        N = np.exp(n)
        size, tokens = self.worth(N)
        return {"N": np.log(size), "D": np.log(tokens), "k": np.log(self.samples(N))}

    def moves(self, n: Floats) -> tuple[dict[str, Floats], dict[str, Floats]]:
        """Return first and second derivatives of these logs in log N."""
        flat = np.zeros_like(n)
        first, second = {"N": flat + 1.0, "k": flat}, dict.fromkeys(("N", "D", "k"), flat)
        if isinstance(self.cost, DenseCost):  # straight lines, to the last digit
            return first | {
                "D": flat - 1.0,
                "k": flat if self.C_inf is None else flat - 1.0,
            }, second
        (first["N"], first["D"]), (second["N"], second["D"]) = _derivatives(
            lambda x: np.log(np.stack(self.worth(np.exp(x)))), n
        )
        if self.C_inf is not None:
            base_rate, _ = self.cost.serve_rates(np.exp(n))
            b1, b2 = _derivatives(lambda x: self.cost.serve_rates(np.exp(x))[0], n)
            c1, c2 = _derivatives(lambda x: np.log(self.cost.serve_rates(np.exp(x))[1]), n)
            share = b1 / (self.C_inf - base_rate)
            first["k"] = -share - c1
            second["k"] = -b2 / (self.C_inf - base_rate) - share * share - c2
        return first, second

    def powers(self, N: float) -> dict[str, float]:
        """Return to which power of N each size goes near N."""
        n = np.log(np.array([N]))
        D, _ = _derivatives(lambda x: np.log(self.tokens(np.exp(x))), n)
        k = self.moves(n)[0]["k"]
        return {"N": 1.0, "D": float(D[0]), "k": float(k[0]), "tokens_per_param": float(D[0]) - 1.0}

    def rates(self, params: Mapping[str, Any], first: Mapping[str, Floats]) -> list[Floats]:
        """Return d log term / d log N of each term."""
        return [
            np.asarray(sum(sign * params[e] * first[size] for e, (size, sign) in part.items()))
            for part in self.law.terms.values()
        ]

    def terms(self, params: Mapping[str, Any], n: Floats) -> list[Floats]:
        """Return each term at log N."""
        logs = self.logs(n)
        out = []
        with np.errstate(divide="ignore"):
            for coefficient, part in self.law.terms.items():
                power = np.log(params[coefficient])
                for exponent, (size, sign) in part.items():
                    power = power + sign * params[exponent] * logs[size]
                out.append(np.exp(power))
        return out

    def slope(self, params: Mapping[str, Any], n: Floats) -> Floats:
        """Return the derivative of the law in log N."""
        pairs = zip(self.rates(params, self.moves(n)[0]), self.terms(params, n), strict=True)
        return np.asarray(sum(rate * term for rate, term in pairs))

    def bend(self, params: Mapping[str, Any], n: Floats) -> Floats:
        """Return the second derivative of the law in log N."""
        first, second = self.moves(n)
        parts = zip(
            self.rates(params, first),
            self.rates(params, second),
            self.terms(params, n),
            strict=True,
        )
        return np.asarray(sum((rate * rate + turn) * term for rate, turn, term in parts))

    def gradient(self, params: Mapping[str, Any], n: Floats) -> dict[str, Floats]:
        """Differentiate log N at the optimum in log coefficients and exponents.

        By implicit differentiation of "the slope vanishes": E has none.
        """
        first, _ = self.moves(n)
        logs, values = self.logs(n), self.terms(params, n)
        rates, bend = self.rates(params, first), self.bend(params, n)
        out = {name: np.zeros_like(n) for name in self.law.exponents()}
        for rate, value, (name, part) in zip(rates, values, self.law.terms.items(), strict=True):
            out[name] = -rate * value / bend
            for e, (size, sign) in part.items():
                out[e] = out[e] - sign * value * (first[size] + rate * logs[size]) / bend
        return out

    def log_optimum(self, params: Mapping[str, Floats]) -> Floats:
        """Find log N where the slope vanishes, per row of parameters (R,).

        ValueError if it does so nowhere, or, which only other counts than the paper's could bring
        about, at several N.
        """
        shape = np.broadcast(*params.values()).shape
        lo, hi = np.zeros(shape), np.full(shape, np.log(self.most))
        inside = (self.slope(params, lo) < 0) & (self.slope(params, hi) > 0)
        if not inside.all():
            raise ValueError(
                "C_train and C_inf must leave an optimum between N = 1 and N = "
                f"{self.most:.3g}, where k = 1 or D = 1, got a law that only falls or only rises "
                "there. Raise the smaller budget."
            )
        if not isinstance(self.cost, DenseCost):
            columns = {name: np.asarray(value)[..., None] for name, value in params.items()}
            up = self.slope(columns, np.linspace(lo, hi, _SCAN, axis=-1)) > 0
            if (np.diff(up.astype(np.int8), axis=-1) != 0).sum(axis=-1).max() > 1:
                raise ValueError(
                    "cost must leave the law one optimum along the budgets, got one under which "
                    "its slope vanishes at several N. Use bootstrap intervals (t2lib.allocate)."
                )
        for _ in range(70):
            middle = 0.5 * (lo + hi)
            up = self.slope(params, middle) > 0
            lo, hi = np.where(up, lo, middle), np.where(up, middle, hi)
        return np.asarray(0.5 * (lo + hi))


def _derivatives(fun: Callable[[Floats], Floats], n: Floats) -> tuple[Floats, Floats]:
    """Compute two derivatives by central differences of fourth order."""
    a, b, c, d, e = (fun(n + step * _STEP) for step in (-2, -1, 0, 1, 2))
    first = (a - 8 * b + 8 * d - e) / (12 * _STEP)
    return first, (-a + 16 * b - 30 * c + 16 * d - e) / (12 * _STEP**2)


def _check_smooth(cost: Cost) -> None:
    """Refuse costs whose slope in N jumps, such as interpolated shapes, also of a base."""
    check_cost(cost)
    part: Any = cost
    while part is not None:
        shape = getattr(part, "shape", None)
        if isinstance(shape, ShapeLadder) and shape.sizes:
            raise ValueError(
                "cost must be smooth in N, got a ShapeLadder that interpolates between given "
                "sizes: at its kinks the optimum has no slope to follow. Leave its sizes, depths "
                "and widths out, or use bootstrap intervals (t2lib.allocate)."
            )
        if getattr(part, "device_memory", None) is not None:
            raise ValueError(
                "cost must be smooth in N, got device_memory, where costs end at the largest model "
                "that fits. Give batch instead, or use bootstrap intervals (t2lib.allocate)."
            )
        part = getattr(part, "base", None)
