"""Give intervals of a law, of new measurements, and over several laws."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import ndtr, ndtri, stdtrit

from t2lib import _check
from t2lib._check import Floats
from t2lib.laws.intervals.noise import ResidualNoise, distance, from_scale, rule_of, to_scale

if TYPE_CHECKING:
    from t2lib.laws.base import Predictor

__all__ = ["Intervals", "measurement_ends"]


INTERVAL_KINDS = ("law", "measurement", "model")
STEPS = 26  # of bisection, which halve the search range each
CHUNK = 2_000_000  # replicates times places held at a time


class Intervals:
    """Give what predicts its intervals."""

    def predict_interval(
        self,
        *,
        N: ArrayLike,
        D: ArrayLike,
        k: ArrayLike | None = None,
        level: float = 0.95,
        kind: str = "law",
        n_items: ArrayLike | None = None,
    ) -> pd.DataFrame:
        """Return intervals at N parameters, D tokens and k samples.

        Parameters
        ----------
        N, D, k
            Sizes, tokens and samples, which broadcast.
        level
            Share of the cases that an interval is to cover.
        kind
            "law": where the law would lie had it been fitted to other checkpoints like these. It
            covers no new measurement. "measurement": where a new checkpoint's measured value lies;
            wider by the spread of measurements about the law, which grows beyond the fitted sizes
            (``noise_``). "model": the union of the latter over this law and ``rivals_``, the laws
            that fit about as well.
        n_items
            Questions that a measurement is taken on, if they are new ones or answers are sampled:
            "measurement" and "model" are then at least as wide as the error of that sample.

        Returns
        -------
        pandas.DataFrame
            Columns lo and hi, one row per place in the order of the broadcast arguments.

        Raises
        ------
        ValueError
            As ``predict``; for an unknown kind; if the law holds neither replicates nor a
            covariance of all its parameters; if it holds no residuals ("measurement"), or knows no
            rival ("model").
        """
        law: Any = self  # ``Intervals`` is a part of ``Predictor``
        _check.choice("kind", kind, INTERVAL_KINDS)
        _check.within("level", level, 0.01, 0.999)
        sizes = [np.atleast_1d(v) for v in law.checked_sizes(N, D, k)]
        flat = [np.asarray(np.ravel(v), dtype=np.float64) for v in np.broadcast_arrays(*sizes)]
        places = (flat[0], flat[1], flat[2])
        items = None if n_items is None else _check.at_least("n_items", n_items, 1.0)
        if items is not None:
            items = np.ravel(np.broadcast_to(items, np.broadcast(*sizes).shape))
        # The union of intervals is the interval from the least to the greatest end.
        laws = [law]
        if kind == "model":
            laws += law.rivals_
            if len(laws) == 1 and law.comparison_ is None:
                raise ValueError(
                    "kind='model' joins the laws that fit about as well, and this law knows no "
                    "other. Fit it by t2lib.fit(table, law='auto'), or use kind='measurement'."
                )
        ends = [_ends(each_law, places, level, kind, items) for each_law in laws]
        lo, hi = np.min([lo for lo, _ in ends], axis=0), np.max([hi for _, hi in ends], axis=0)
        return pd.DataFrame({"lo": lo, "hi": hi})


def _ends(
    law: Predictor,
    places: tuple[Floats, Floats, Floats],
    level: float,
    kind: str,
    n_items: Floats | None,
) -> tuple[Floats, Floats]:
    """Return the ends of one law's intervals at flat arrays of N, D and k."""
    N, D, k = places
    if kind == "law" and law.bootstrap_ is not None:
        return law.bootstrap_.predict_interval(N=N, D=D, k=k, level=level)
    noise = law.noise_ if kind != "law" else ResidualNoise(rule_of(law).scale, (1.0,), (0.0,), 0.0)
    if noise is None:
        raise ValueError(
            f"kind={kind!r} needs the residuals of the fit, and this law holds none: it is a "
            "mix, was given its parameters, or comes from an older file. Fit it again, or use "
            "kind='law'."
        )
    return measurement_ends(law, noise, places, level, n_items=n_items)


def measurement_ends(
    law: Predictor,
    noise: ResidualNoise,
    places: tuple[Floats, Floats, Floats],
    level: float,
    *,
    n_items: Floats | None = None,
    tail: str | None = None,
) -> tuple[Floats, Floats]:
    """Return the ends of intervals that hold a new measurement.

    Parameters
    ----------
    law, noise
        A fitted law, and the spread of measurements about it.
    places
        Flat arrays of N, D and k.
    level
        Coverage.
    n_items
        Questions of each measurement, for its sampling error.
    tail
        "normal" or "t", by default that of the rule for laws of this kind.
    """
    N, D, k = places
    centre = to_scale(noise.scale, law.predict(N=N, D=D, k=k if law.uses_k else None))
    # The noise, at least the sampling error of the questions.
    deviation = noise.deviation(k, distance(law.fitted_range_, N, D))
    items = np.asarray(noise.n_items) if n_items is None and noise.n_items else n_items
    if items is not None and law.metric == "accuracy":
        p = np.clip(from_scale(noise.scale, centre), 1e-12, 1 - 1e-12)
        slope = 1 / p if noise.scale == "log" else 1 / (p * (1 - p))
        deviation = np.maximum(deviation, np.sqrt(p * (1 - p) / items) * slope)
    freedom = _freedom(law) if (tail or rule_of(law).tail) == "t" else 1e9
    tails = np.array([(1 - level) / 2, (1 + level) / 2])
    if law.bootstrap_ is None:
        total = np.hypot(_asymptotic_errors(law, noise.scale, places), deviation)
        ends = centre + stdtrit(freedom, tails)[:, None] * total
    else:
        # Few groups have wider tails than the normal law: all deviations grow by that ratio.
        replicates = to_scale(noise.scale, law.bootstrap_.predict(N=N, D=D, k=k))
        middle = np.median(replicates, axis=0)
        wider = float(stdtrit(freedom, tails[1]) / ndtri(tails[1]))
        ends = _mixture_ends(middle + wider * (replicates - middle), wider * deviation, tails)
    lo, hi = from_scale(noise.scale, ends)
    return (lo, np.minimum(hi, 1.0)) if law.metric == "accuracy" else (lo, hi)


def _freedom(law: Predictor) -> float:
    """Return degrees of freedom, those of the independent groups."""
    boot = law.bootstrap_
    n_groups = law.fingerprint_.get("n_groups", 2) if boot is None else boot.n_groups
    return float(max(n_groups - 1, 1))


def _mixture_ends(replicates: Floats, deviation: Floats, tails: Floats) -> Floats:
    """Return quantiles (tails, places) of replicates (R, places) with normal noise of their own.

    The distribution is the mean over replicates of normal ones about each; bisection finds where
    it passes the tails.
    """
    ends = np.empty((tails.size, deviation.size))
    size = max(1, CHUNK // len(replicates))
    for start in range(0, deviation.size, size):
        z, spread = replicates[:, start : start + size], deviation[start : start + size]
        unit = np.maximum(spread, 1e-12)
        for i, tail in enumerate(tails):
            lo, hi = z.min(axis=0) - 6 * unit, z.max(axis=0) + 6 * unit
            for _ in range(STEPS):
                middle = (lo + hi) / 2
                short = ndtr((middle - z) / unit).mean(axis=0) < tail
                lo, hi = np.where(short, middle, lo), np.where(short, hi, middle)
            ends[i, start : start + size] = (lo + hi) / 2
    return ends


def _asymptotic_errors(law: Predictor, scale: str, places: tuple[Floats, Floats, Floats]) -> Floats:
    """Return standard errors of predictions by the parameters' covariance (delta method).

    Parameters on a limit count as known there.
    """
    covariance, params = law.covariance_, law.params_
    if covariance is None or np.isnan(np.diag(covariance)).sum() > len(params) / 2:
        raise ValueError(
            "an interval needs replicates or a covariance of the parameters, and this law has "
            "neither. Call law.bootstrap() first, or load a law that was saved with its bootstrap."
        )
    slopes = []
    for name, estimate in params.items():
        step = 1e-6 * max(abs(estimate), 1e-12)
        up, down = (
            to_scale(scale, law.curve({**params, name: estimate + sign * step}, *places))
            for sign in (1.0, -1.0)
        )
        slopes.append((up - down) / (2 * step))
    gradient = np.stack(slopes, axis=-1)
    variance = np.einsum("mi,ij,mj->m", gradient, np.nan_to_num(covariance), gradient)
    return np.asarray(np.sqrt(np.maximum(variance, 0.0)))
