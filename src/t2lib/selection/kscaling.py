"""Laws in k fitted to sample counts: what n samples per problem say of pass@k far beyond n.

Two kinds. A curve (a power law, a saturating law) is fitted to the mean pass@k itself. A population
is a distribution of p over problems, from which pass@k follows at every k; its likelihood is that
of the counts, so a problem never solved is evidence and not an infinite loss. Beyond k ≈ n the data
cannot tell populations apart that differ below p ≈ 1/n only, so the form ``average`` keeps several
families and lets each count as much as it explains.

Also here: where to draw the next samples, and estimates of single small p from counts (shrinkage)
and from sampling until a success.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special

from t2lib import _check
from t2lib.laws.fit import tails
from t2lib.passk import beta_pass_at_k, pass_at_k_from_counts

__all__ = [
    "FORMS",
    "KScaling",
    "fit_kscaling",
    "next_samples",
    "nll_from_first_pass",
    "p_from_stopping",
    "population_weights",
]

Floats = NDArray[np.float64]

FORMS = ("power", "saturating", "beta_moments", "beta", "scaled_beta", "npmle", "average")
FAMILIES = ("beta", "logit_normal", "log_gamma", "log_lognormal", "two_groups")  # of the average

# Nodes in logit p at which populations are tabulated; what lies beyond the ends is put on them.
_STEP = 0.1
_LOGIT = np.arange(-40.0, 16.0 + _STEP / 2, _STEP)
_EDGES = np.concatenate([[-np.inf], _LOGIT[:-1] + _STEP / 2, [np.inf]])
_LOG_P = -np.logaddexp(0.0, -_LOGIT)
_LOG_Q = -np.logaddexp(0.0, _LOGIT)
# A problem with more successes and failures than this is known better than the nodes are close.
_MOST_INFORMATION = 50.0
_LEAST_SHAPES = 20.0  # effective number of tabulated shapes that an average rests on


@dataclass(frozen=True)
class KScaling:
    """A fitted law in k.

    Attributes
    ----------
    form : str
        One of ``FORMS``.
    params : dict of str to float
        Estimates; empty for the nonparametric form. For the average the weight of each family.
    n_problems : int
        Problems that it was fitted to.
    """

    form: str
    params: dict[str, float]
    n_problems: int
    _mean: Callable[[Floats], Floats] = field(repr=False)  # k (K,) to pass@k (K,)
    _draws: Callable[[Floats], tuple[Floats, Floats]] = field(repr=False)
    _weights: Floats | None = field(default=None, repr=False)  # of the nodes, for populations
    _seed: int = 0

    def pass_at_k(self, k: ArrayLike) -> Floats:
        """Mean pass@k over problems like those fitted, real k ≥ 1."""
        ks = _check.at_least("k", k, 1.0, "k counts samples per problem.")
        return np.asarray(self._mean(ks.ravel()).reshape(ks.shape))[()]

    def interval(
        self,
        k: ArrayLike,
        *,
        n_items: int | None = None,
        sampled: bool = False,
        level: float = 0.95,
    ) -> tuple[Floats, Floats]:
        """Interval of mean pass@k.

        Parameters
        ----------
        k : array_like
            Real, at least 1.
        n_items : int, optional
            The mean over this many new problems, which is what a repetition on other problems would
            find; None: over all problems there could be.
        sampled : bool
            With ``n_items``: that mean measured by one run of k samples per problem, instead of
            known exactly.
        level : float
            Coverage that is aimed at.

        Returns
        -------
        lo, hi : numpy.ndarray
            In the shape of k.
        """
        ks = _check.at_least("k", k, 1.0, "k counts samples per problem.")
        _check.within("level", level, 0.01, 0.999)
        mean, variance = self._draws(ks.ravel())
        if n_items is not None:
            many = float(_check.at_least("n_items", n_items, 1.0))
            if sampled:
                variance = mean * (1.0 - mean)
            mean = _beta_draws(mean, variance / many, np.random.default_rng(self._seed + 1))
        lo, hi = np.quantile(mean, tails(level), axis=0)
        return lo.reshape(ks.shape)[()], hi.reshape(ks.shape)[()]

    def shrink(self, n: ArrayLike, c: ArrayLike) -> pd.DataFrame:
        """Estimate single p from counts, with the fitted population as prior (empirical Bayes).

        Returns
        -------
        pandas.DataFrame
            Per problem: p and log_p, the posterior means of p and of log p.

        Raises
        ------
        ValueError
            For curves, which hold no distribution of p, and counts that are none.
        """
        if self._weights is None:
            raise ValueError(
                f"form must be one with a distribution of p, got {self.form!r}. Fit "
                "form='average' (or 'beta') to shrink single problems."
            )
        n_, c_ = _counts(n, c)
        like = _likelihood(n_, c_) * self._weights
        like /= like.sum(axis=1, keepdims=True)
        return pd.DataFrame({"p": like @ np.exp(_LOG_P), "log_p": like @ _LOG_P})


def fit_kscaling(
    n: ArrayLike,
    c: ArrayLike,
    *,
    form: str = "average",
    replicates: int = 400,
    seed: int = 0,
) -> KScaling:
    """Fit a law in k to counts: n samples drawn per problem, c of them right.

    Parameters
    ----------
    n, c : array_like
        Whole numbers, one per problem; n may differ between problems, and may have been chosen
        after a look at earlier counts (``next_samples``): that leaves the likelihood of populations
        as it is, but biases c/n, on which "power", "saturating" and "beta_moments" rest.
    form : str
        - "power": −log pass@k = a·k^−b, least squares in logs on the unbiased pass@k for k up to
          the smallest n (Brown et al., arXiv 2407.21787);
        - "saturating": pass@k = F·(1 − (1 − p)^k), a ceiling F ≤ 1 and one p for all, least squares
          on the same (the shape of Wang et al., arXiv 2505.20522, as a curve over problems);
        - "beta_moments": a Beta with the mean and variance of c/n, sampling noise taken as spread;
        - "beta": Beta by the beta-binomial likelihood (Kazdan et al., arXiv 2510.05197);
        - "scaled_beta": p = s·Beta by the same likelihood, s ≤ 1 the largest p there is (the family
          of Schaeffer et al., arXiv 2502.17578);
        - "npmle": any distribution, the most likely one (Kiefer and Wolfowitz);
        - "average": five families, flat priors over a wide range of shapes, each shape weighted by
          its posterior probability: Beta; logit-normal; log-gamma and log-lognormal (−log p, which
          adds up over the tokens of an answer, is gamma or log-normal); two log-gamma groups of
          problems, easy and hard. Counts of n samples hardly see the hard group, which is what
          keeps intervals far beyond n honest.
    replicates : int
        Draws behind the intervals: problems resampled and refitted, or, for the average, draws from
        the posterior. Where all problems have the same c/n, resampling would find no error at all;
        then half a problem that is never solved and half one that always is join the draws
        (Jeffreys' prior on the share of unlike problems).
    seed : int
        Of these draws.

    Returns
    -------
    KScaling

    Raises
    ------
    TypeError, ValueError
        If a count is not a whole number, c > n, fewer than 8 problems are given, none was ever
        solved (then every law in k fits), or samples are single: of all problems, or of one for
        the curves, which need pass@k at several k of every problem.
    """
    _check.choice("form", form, FORMS)
    n_, c_ = _counts(n, c)
    if n_.size < 8:
        raise ValueError(
            f"n must hold at least 8 problems, got {n_.size}. A distribution over problems needs "
            "problems: add some, or pool tasks of one kind."
        )
    if not c_.any():
        raise ValueError(
            "c must hold a success, got none in "
            f"{n_.sum():g} samples. Draw more samples, or use easier problems or a better model: "
            "without a success every law in k fits."
        )
    replicates = _check.count("replicates", replicates, 2)
    _check_several(n_, form)
    if form == "average":
        return _fit_average(n_, c_, replicates, seed)
    if form in ("power", "saturating"):
        return _fit_curve(n_, c_, form, replicates, seed)
    return _fit_population(n_, c_, form, replicates, seed)


# --- where to draw --------------------------------------------------------------------------------


def next_samples(
    n: ArrayLike, c: ArrayLike, samples: int, *, successes: int | None = 3
) -> NDArray[np.int64]:
    """Share out the next samples over problems: more for those that are still unsolved.

    Problems solved ``successes`` times get none while others remain; those are brought to equal n
    from below. The idea, a greater budget for harder problems, is that of the dynamic sampling of
    Kazdan et al. (arXiv 2510.05197), the rule is ours. Fit a population to what comes out, by its
    likelihood; see ``fit_kscaling``.

    Parameters
    ----------
    n, c : array_like
        Samples drawn so far and right ones among them, one per problem; n may be 0.
    samples : int
        Samples to share out, all problems together.
    successes : int, optional
        After how many successes a problem is set aside; None: never, which is equal sampling.

    Returns
    -------
    numpy.ndarray
        Samples to draw per problem; they add up to ``samples``.

    Raises
    ------
    TypeError, ValueError
        If a count is not a whole number in its range.
    """
    n_, c_ = _counts(n, c, least=0.0)
    most = 2.0**52 / n_.size  # so that sums stay exact
    _check.within("n", n_, 0.0, most)
    spend = int(_check.within("samples", _whole("samples", samples, 0.0), 0.0, most))
    enough = np.inf if successes is None else float(_whole("successes", successes, 1.0))
    waiting = np.flatnonzero(c_ < enough)
    if waiting.size == 0:
        waiting = np.arange(n_.size)
    waiting = waiting[np.argsort(n_[waiting], kind="stable")]
    drawn = n_[waiting].astype(np.int64)
    below = np.cumsum(drawn)
    # Lifting the j problems with fewest samples to the j-th's takes so many:
    price = np.arange(1, drawn.size + 1) * drawn - below
    lifted = int(np.searchsorted(price, spend, side="right"))
    level, rest = divmod(spend + int(below[lifted - 1]), lifted)
    more = np.zeros(n_.size, dtype=np.int64)
    more[waiting[:lifted]] = level - drawn[:lifted]
    more[waiting[:rest]] += 1
    return more


# --- curves --------------------------------------------------------------------------------------


def _fit_curve(n: Floats, c: Floats, form: str, replicates: int, seed: int) -> KScaling:
    n_problems = n.size
    ks = np.unique(np.round(np.geomspace(1.0, float(n.min()), 16)))
    n, c, counts = _resampled(n, c, replicates, seed)
    each = pass_at_k_from_counts(n[:, None], c[:, None], ks)  # (problems, k)
    tables = counts @ each / counts.sum(axis=1, keepdims=True)
    fit = _power if form == "power" else _saturating
    found = np.array([fit(ks, row) for row in tables])
    names = ("a", "b") if form == "power" else ("ceiling", "p")

    def curve(params: Floats, k: Floats) -> Floats:
        first, second = params[:, :1], params[:, 1:]
        if form == "power":
            return np.asarray(np.exp(-first * k**-second))
        return np.asarray(first * -np.expm1(k * np.log1p(-second)))

    def draws(k: Floats) -> tuple[Floats, Floats]:
        mean = curve(found[1:], k)
        return mean, mean * (1.0 - mean)  # the most that problems can differ: no law of p is known

    return KScaling(
        form, dict(zip(names, found[0].tolist(), strict=True)), n_problems,
        lambda k: curve(found[:1], k)[0], draws, None, seed,
    )  # fmt: skip


def _resampled(n: Floats, c: Floats, replicates: int, seed: int) -> tuple[Floats, Floats, Floats]:
    """Draw problems with replacement.

    Returns
    -------
    n, c : (problems,)
        As given, and two more problems where all are alike: one never solved, one always.
    counts : (replicates + 1, problems)
        How often each problem counts; the first row is the data as they are.
    """
    rng = np.random.default_rng(seed)
    if np.ptp(c / n) > 0:
        drawn = rng.multinomial(n.size, np.full(n.size, 1 / n.size), size=replicates)
        return n, c, np.vstack([np.ones(n.size), drawn])
    weights = np.concatenate([np.ones(n.size), [0.5, 0.5]])
    counts = rng.dirichlet(weights, size=replicates) * n.size
    most = float(n.max())
    n, c = np.append(n, [most, most]), np.append(c, [0.0, most])
    return n, c, np.vstack([np.floor(weights), counts])


def _power(k: Floats, passed: Floats) -> tuple[float, float]:
    """A and b ≥ 0 of −log pass@k = a·k^−b, least squares in logs."""
    use = (passed > 0) & (passed < 1)
    if use.sum() < 2:
        return (1e3, 0.0) if not passed.any() else (1e-12, 0.0)
    b, log_a = np.polyfit(np.log(k[use]), np.log(-np.log(passed[use])), 1)
    return float(np.exp(log_a)), float(max(-b, 0.0))


def _saturating(k: Floats, passed: Floats) -> tuple[float, float]:
    """Ceiling F in (0, 1] and p of F·(1 − (1 − p)^k): for each p the best F has a closed form."""

    def best(p: float) -> tuple[float, float]:
        shape = -np.expm1(k * np.log1p(-p))
        ceiling = float(np.clip((shape @ passed) / (shape @ shape), 0.0, 1.0))
        return float(((ceiling * shape - passed) ** 2).sum()), ceiling

    grid = np.geomspace(1e-9, 1.0 - 1e-9, 120)
    at = int(np.argmin([best(p)[0] for p in grid]))
    ends = np.log(grid[[max(at - 1, 0), min(at + 1, grid.size - 1)]])
    found = optimize.minimize_scalar(
        lambda x: best(float(np.exp(x)))[0], bounds=tuple(ends), method="bounded"
    )
    p = float(np.exp(found.x))
    return best(p)[1], p


# --- populations ---------------------------------------------------------------------------------


@cache
def _table(family: str) -> tuple[tuple[str, ...], Floats, Floats]:
    """Names, parameters (P, d) and node weights (P, G) of a family over a wide range of shapes."""
    if family == "beta":
        a, b = _mesh(np.geomspace(1e-3, 30.0, 44), np.geomspace(0.03, 1e7, 58))
        return ("a", "b"), np.stack([a, b], axis=1), population_weights("beta", a, b)
    if family == "scaled_beta":
        a, b, s = _mesh(
            np.geomspace(1e-3, 10.0, 24), np.geomspace(0.1, 1e4, 18), np.geomspace(1e-3, 1.0, 12)
        )
        return ("a", "b", "scale"), np.stack([a, b, s], 1), population_weights("beta", a, b, s)
    if family == "two_groups":
        return _two_groups()
    if family == "logit_normal":
        names, m, s = ("mean", "sd"), np.linspace(-30.0, 6.0, 73), np.geomspace(0.2, 15.0, 32)
    elif family == "log_gamma":
        names, m, s = ("mean", "shape"), np.geomspace(0.02, 60.0, 72), np.geomspace(0.1, 300.0, 36)
    else:
        names, m, s = ("median", "sd"), np.geomspace(0.02, 60.0, 72), np.geomspace(0.05, 2.0, 32)
    m, s = _mesh(m, s)
    return names, np.stack([m, s], axis=1), population_weights(family, m, s)


def _two_groups() -> tuple[tuple[str, ...], Floats, Floats]:
    """A share of easier problems beside the hard ones, −log p gamma in both."""
    at = _spread(6000, 5).T
    mean, shape, share = 2.0 * 30.0 ** at[0], 300.0 ** at[1], 0.01 * 50.0 ** at[2]
    ratio, shape_easy = 0.05 + 0.75 * at[3], 300.0 ** at[4]
    hard = population_weights("log_gamma", mean, shape)
    easy = population_weights("log_gamma", mean * ratio, shape_easy)
    names = ("mean", "shape", "share_easy", "ratio", "shape_easy")
    shapes = np.stack([mean, shape, share, ratio, shape_easy], axis=1)
    return names, shapes, (1.0 - share)[:, None] * hard + share[:, None] * easy


def _spread(n: int, d: int) -> Floats:
    """N points (n, d) even in the unit cube: multiples of powers of the root of x^(d+1) = x + 1."""
    root = float(optimize.brentq(lambda x: x ** (d + 1) - x - 1.0, 1.0, 2.0))
    steps = root ** -np.arange(1.0, d + 1)
    return np.asarray((0.5 + np.arange(1.0, n + 1)[:, None] * steps) % 1.0)


def _mesh(*axes: Floats) -> list[Floats]:
    return [grid.ravel() for grid in np.meshgrid(*axes, indexing="ij")]


def population_weights(
    family: str, first: ArrayLike, second: ArrayLike, scale: ArrayLike = 1.0
) -> Floats:
    """Weights (P, G) of populations on the nodes in logit p; rows sum to 1.

    "beta": a, b and the largest p ``scale``; "logit_normal": mean and standard deviation of
    logit p; "log_gamma": −log p is gamma with that mean and shape; "log_lognormal": −log p is
    log-normal with that median and that standard deviation of its logarithm.
    """
    _check.choice("family", family, FAMILIES[:4])
    one = (_check.finite if family == "logit_normal" else _check.positive)("first", first)
    x, y = (np.atleast_1d(v)[:, None] for v in (one, _check.positive("second", second)))
    with np.errstate(over="ignore", under="ignore"):
        if family == "beta":
            s = np.atleast_1d(_check.positive("scale", scale))[:, None]
            p = np.minimum(special.expit(_EDGES) / s, 1.0)
            below = special.betainc(x, y, p)
        elif family == "logit_normal":
            below = special.ndtr((_EDGES - x) / y)
        else:
            surprise = np.logaddexp(0.0, -_EDGES)
            if family == "log_gamma":
                below = special.gammaincc(y, y * surprise / x)
            else:
                with np.errstate(divide="ignore"):
                    below = special.ndtr(np.log(x / surprise) / y)
    _check.finite("first and second", below, "Such a population is beyond floating point.")
    return np.asarray(np.maximum(np.diff(below, axis=1), 0.0))


def _likelihood(n: Floats, c: Floats) -> Floats:
    """Binomial likelihood (problems, G) at the nodes, up to a factor per problem."""
    information = c * (n - c) / n
    temper = np.minimum(1.0, _MOST_INFORMATION / np.maximum(information, 1e-300))[:, None]
    log = temper * (c[:, None] * _LOG_P + (n - c)[:, None] * _LOG_Q)
    return np.asarray(np.exp(log - log.max(axis=1, keepdims=True)))


def _kinds(n: Floats, c: Floats) -> tuple[Floats, Floats, NDArray[np.intp]]:
    """Distinct (n, c) and which of them each problem is."""
    kinds, which = np.unique(np.stack([n, c]), axis=1, return_inverse=True)
    return kinds[0], kinds[1], which.ravel()


def _log_evidence(family: str, n: Floats, c: Floats) -> Floats:
    """Log-likelihood (P, kinds) of every distinct count under every shape of a family."""
    with np.errstate(divide="ignore"):
        found = np.log(_table(family)[2] @ _likelihood(n, c).T)
    return np.maximum(found, -1e6)


def _passed(k: Floats) -> Floats:
    """pass@k at the nodes, (G, K)."""
    return np.asarray(-np.expm1(k * _LOG_Q[:, None]))


def _moments(weights: Floats, k: Floats) -> tuple[Floats, Floats]:
    """Mean and variance over problems of pass@k, (R, K), of populations (R, G)."""
    passed = _passed(k)
    mean = weights @ passed
    return mean, np.maximum(weights @ (passed * passed) - mean * mean, 0.0)


def _fit_average(n: Floats, c: Floats, replicates: int, seed: int) -> KScaling:
    kn, kc, which = _kinds(n, c)
    many = np.bincount(which).astype(np.float64)
    scores = [_log_evidence(family, kn, kc) @ many for family in FAMILIES]
    # Families count alike before the data, whatever the number of shapes that stand for them.
    log = np.concatenate([s - np.log(s.size) for s in scores])
    posterior = _posterior(log)
    tables = np.vstack([_table(family)[2] for family in FAMILIES])
    sizes = np.cumsum([s.size for s in scores])[:-1]
    shares = [float(part.sum()) for part in np.split(posterior, sizes)]
    chosen = np.random.default_rng(seed).choice(log.size, size=replicates, p=posterior)
    weights = posterior @ tables
    drawn = tables[chosen]
    return KScaling(
        "average", dict(zip(FAMILIES, shares, strict=True)), n.size,
        lambda k: _moments(weights[None], k)[0][0], lambda k: _moments(drawn, k), weights, seed,
    )  # fmt: skip


def _posterior(log: Floats) -> Floats:
    """Probabilities of tabulated shapes, flattened until several count.

    With many problems the likelihood is narrower than the table is close; the one shape that
    happens to lie next to it must not pass for certainty.
    """

    def probabilities(power: float) -> Floats:
        found = np.exp(power * (log - log.max()))
        return np.asarray(found / found.sum())

    def too_many(log_power: float) -> float:
        return 1.0 / float(np.sum(probabilities(np.exp(log_power)) ** 2)) - _LEAST_SHAPES

    if too_many(0.0) >= 0.0:
        return probabilities(1.0)
    return probabilities(float(np.exp(optimize.brentq(too_many, -30.0, 0.0))))


def _fit_population(n: Floats, c: Floats, form: str, replicates: int, seed: int) -> KScaling:
    n_problems = n.size
    n, c, drawn = _resampled(n, c, replicates, seed)
    kn, kc, which = _kinds(n, c)
    counts = np.zeros((replicates + 1, kn.size))
    np.add.at(counts.T, which, drawn.T)
    params: dict[str, float]
    if form == "npmle":
        like = _likelihood(kn, kc)
        weights = np.stack([_kiefer_wolfowitz(like, row) for row in counts])
        params = {}
    elif form == "beta_moments":
        a, b = _beta_moments(kc / kn, counts)
        params, weights = {"a": float(a[0]), "b": float(b[0])}, population_weights("beta", a, b)
    else:
        names, shapes, table = _table(form)
        score = counts @ _log_evidence(form, kn, kc).T
        best = np.argmax(score, axis=1)
        found = _polish(_likelihood(kn, kc), counts[0], shapes[best[0]])
        params, weights = dict(zip(names, found.tolist(), strict=True)), table[best]
        weights[0] = population_weights("beta", *found)[0]
    exact = form in ("beta", "beta_moments")

    def mean(k: Floats) -> Floats:
        if exact:
            a, b = params["a"], params["b"]
            return beta_pass_at_k(a / (a + b), a + b, k)
        return np.asarray(_moments(weights[:1], k)[0][0])

    return KScaling(
        form, params, n_problems, mean, lambda k: _moments(weights[1:], k), weights[0], seed
    )


def _beta_moments(share: Floats, counts: Floats) -> tuple[Floats, Floats]:
    """A and b of the Beta with the mean and variance of c/n, one per row of multiplicities."""
    total = counts.sum(axis=1)
    mean = np.clip(counts @ share / total, 1e-9, 1.0 - 1e-9)
    variance = counts @ (share * share) / total - mean * mean
    most = mean * (1.0 - mean)
    variance = np.clip(variance, 1e-9 * most, (1.0 - 1e-9) * most)
    total_ab = most / variance - 1.0
    return mean * total_ab, (1.0 - mean) * total_ab


def _polish(like: Floats, many: Floats, start: Floats) -> Floats:
    """Maximum of the likelihood near the best shape of the table: a, b and, if there, the scale."""

    def cost(x: Floats) -> float:
        weights = population_weights("beta", *np.exp(x))[0]
        return -float(many @ np.log(np.maximum(like @ weights, 1e-300)))

    ends = [(-14.0, 14.0), (-14.0, 23.0), (-12.0, 0.0)][: start.size]
    found = optimize.minimize(cost, np.log(start), method="Nelder-Mead", bounds=ends)
    return np.asarray(np.exp(found.x))


def _kiefer_wolfowitz(like: Floats, many: Floats, rounds: int = 500) -> Floats:
    """Most likely distribution on the nodes, by EM from the flat one."""
    weights = np.full(like.shape[1], 1.0 / like.shape[1])
    share = many / many.sum()
    for _ in range(rounds):
        weights = weights * ((share / np.maximum(like @ weights, 1e-300)) @ like)
    return np.asarray(weights / weights.sum())


def _beta_draws(mean: Floats, variance: Floats, rng: np.random.Generator) -> Floats:
    """One draw each from the Beta with this mean and variance; the mean where there is none."""
    room = mean * (1.0 - mean)
    ok = (variance > 0) & (room > 0)
    total = np.where(ok, room / np.where(ok, variance, 1.0) - 1.0, 1.0)
    total = np.maximum(total, 1e-9)
    a = np.where(ok, np.maximum(mean * total, 1e-12), 1.0)
    b = np.where(ok, np.maximum((1.0 - mean) * total, 1e-12), 1.0)
    return np.where(ok, rng.beta(a, b), mean)


# --- sampling until a success --------------------------------------------------------------------


def p_from_stopping(draws: ArrayLike, successes: int = 2) -> Floats:
    """Unbiased estimate (r − 1)/(K − 1) of p when sampling stopped at the r-th success.

    Sampling until a fixed number of passes gives every problem the same relative precision, however
    small p is (the idea of PassUntil, Hu et al., arXiv 2310.03262, who use r/K).

    Parameters
    ----------
    draws : array_like
        K, the samples drawn up to and with the r-th success; whole numbers ≥ r.
    successes : int
        r ≥ 2: from one success no unbiased estimate with finite use exists (it is 1 or 0).

    Raises
    ------
    TypeError, ValueError
        If a value is not a whole number in its range.
    """
    r = float(_check.at_least("successes", successes, 2.0, "Sample until the second success."))
    drawn = _whole("draws", draws, r)
    return np.asarray((r - 1.0) / (drawn - 1.0))[()]


def nll_from_first_pass(draws: ArrayLike, k: ArrayLike = 1) -> Floats:
    """Unbiased estimate of −log pass@k from the number of samples up to the first success.

    It is the harmonic number H_m with m = ⌊(K − 1)/k⌋: cut the samples into blocks of k, then m
    blocks failed before one passed; E H_m = Σ_j P(m ≥ j)/j = Σ_j (1 − pass@k)^j/j = −log pass@k.
    So the task NLL of the T² laws, which counts leave infinite, can be measured by sampling.

    Parameters
    ----------
    draws : array_like
        K ≥ 1, the samples up to and with the first success.
    k : array_like
        Samples budgeted, whole, at least 1; broadcasts.

    Raises
    ------
    TypeError, ValueError
        If a value is not a whole number in its range.
    """
    drawn, ks = _whole("draws", draws, 1.0), _whole("k", k, 1.0)
    blocks = np.floor((drawn - 1.0) / ks)
    return np.asarray(special.digamma(blocks + 1.0) + np.euler_gamma)[()]


# --- checks --------------------------------------------------------------------------------------


def _whole(name: str, value: ArrayLike, least: float) -> Floats:
    arr = _check.at_least(name, value, least)
    _check.require(name, arr, arr == np.floor(arr), "a whole number", "Counts are not fractional.")
    return arr


def _check_several(n: Floats, form: str) -> None:
    """Refuse single samples, which tell pass@1 and nothing of larger k."""
    fewest = n.min() if form in ("power", "saturating") else n.max()
    if fewest < 2:
        at = int(np.argmin(n))
        one = "a problem" if fewest == n.min() < n.max() else "every problem"
        raise ValueError(
            f"n must be at least 2 to fit form={form!r}, got one sample of {one} (position {at}): "
            "single samples give pass@1, the mean of c/n, and say nothing of larger k. Draw more "
            "samples, leave such problems out, or let form='average' use the others."
        )


def _counts(n: Any, c: Any, least: float = 1.0) -> tuple[Floats, Floats]:
    n_, c_ = np.broadcast_arrays(_whole("n", n, least), _whole("c", c, 0.0))
    n_, c_ = np.atleast_1d(n_), np.atleast_1d(c_)
    _check.one_length({"n": n_, "c": c_})
    _check.require(
        "c", c_, c_ <= n_, "at most n", "n counts samples drawn, c the right ones among them."
    )
    return n_, c_
