"""Forecast pass@k far beyond the n samples drawn per problem.

A population is a distribution of p over problems, from which pass@k follows at every k. Its
likelihood is that of the counts, so a problem never solved is evidence and not an infinite loss.
Beyond k ≈ n the data cannot tell populations apart that differ below p ≈ 1/n only, so the form
``average`` keeps several families and lets each count as much as it explains.

Also here: where to draw the next samples, and estimates of small p from counts (shrinkage) and of
the NLL from sampling until a success. Laws that the book compares these with are in
``t2lib.book.kscaling_baselines``.
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
from t2lib._check import Floats
from t2lib.laws.fit import tails
from t2lib.passk import beta_pass_at_k

__all__ = [
    "FORMS",
    "KScaling",
    "fit_kscaling",
    "next_samples",
    "nll_from_first_pass",
    "population_weights",
]

FORMS = ("beta", "scaled_beta", "npmle", "average")
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
    """Hold a fitted law in k.

    Attributes
    ----------
    form : str
        One of ``FORMS``, or the name of a baseline.
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
        """Predict mean pass@k over problems like those fitted, real k ≥ 1."""
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
        """Compute an interval of mean pass@k.

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
            n_means = float(_check.at_least("n_items", n_items, 1.0))
            if sampled:
                variance = mean * (1.0 - mean)
            mean = _beta_draws(mean, variance / n_means, np.random.default_rng(self._seed + 1))
        lo, hi = np.quantile(mean, tails(level), axis=0)
        return lo.reshape(ks.shape)[()], hi.reshape(ks.shape)[()]

    def shrink(self, n: ArrayLike, c: ArrayLike) -> pd.DataFrame:
        """Estimate single p from counts, with the fitted population as prior.

        This is empirical Bayes.

        Returns
        -------
        pandas.DataFrame
            Per problem: p and log_p, the posterior means of p and of log p.

        Raises
        ------
        ValueError
            For curves, which hold no distribution of p, and for impossible counts.
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
    """Fit a law in k to counts of samples and of correct samples.

    Parameters
    ----------
    n, c : array_like
        Samples drawn and correct ones among them, whole numbers, one per problem; n may differ
        between problems, and may have been chosen after a look at earlier counts
        (``next_samples``): that leaves the likelihood of populations as it is.
    form : str
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
        solved (then every law in k fits), or every problem has a single sample.
    """
    _check.choice("form", form, FORMS)
    n_, c_ = checked_problems(n, c, form)
    replicates = _check.count("replicates", replicates, 2)
    if form == "average":
        return _fit_average(n_, c_, replicates, seed)
    return _fit_population(n_, c_, form, replicates, seed)


def checked_problems(
    n: ArrayLike, c: ArrayLike, form: str, *, every_problem: bool = False
) -> tuple[Floats, Floats]:
    """Return counts that a law in k can be fitted to.

    With ``every_problem`` each of them must have more than one sample.
    """
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
    _check_several(n_, form, every_problem)
    return n_, c_


def next_samples(
    n: ArrayLike, c: ArrayLike, samples: int, *, successes: int | None = 3
) -> NDArray[np.int64]:
    """Distribute the next samples over problems, more to those still unsolved.

    Problems solved ``successes`` times get none while others remain; those are brought to equal n
    from below. The idea, a greater budget for harder problems, is that of the dynamic sampling of
    Kazdan et al. (arXiv 2510.05197), the rule is ours. Fit a population to what comes out, by its
    likelihood; see ``fit_kscaling``.

    Parameters
    ----------
    n, c : array_like
        Samples drawn so far and correct ones among them, one per problem; n may be 0.
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
    limit = 2.0**52 / n_.size  # so that sums stay exact
    _check.within("n", n_, 0.0, limit)
    spend = int(_check.within("samples", _check.whole("samples", samples, 0.0), 0.0, limit))
    # Problems that wait for samples, those with the fewest first.
    enough = np.inf if successes is None else float(_check.whole("successes", successes, 1.0))
    waiting = np.flatnonzero(c_ < enough)
    if waiting.size == 0:
        waiting = np.arange(n_.size)
    waiting = waiting[np.argsort(n_[waiting], kind="stable")]
    counts = n_[waiting].astype(np.int64)
    total = np.cumsum(counts)
    # Bringing the j problems with fewest samples to the j-th's number takes so many:
    price = np.arange(1, counts.size + 1) * counts - total
    lifted = int(np.searchsorted(price, spend, side="right"))
    level, remainder = divmod(spend + int(total[lifted - 1]), lifted)
    extra = np.zeros(n_.size, dtype=np.int64)
    extra[waiting[:lifted]] = level - counts[:lifted]
    extra[waiting[:remainder]] += 1
    return extra


def resampled_problems(
    n: Floats, c: Floats, replicates: int, seed: int
) -> tuple[Floats, Floats, Floats]:
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
        resampled = rng.multinomial(n.size, np.full(n.size, 1 / n.size), size=replicates)
        return n, c, np.vstack([np.ones(n.size), resampled])
    weights = np.concatenate([np.ones(n.size), [0.5, 0.5]])
    counts = rng.dirichlet(weights, size=replicates) * n.size
    largest = float(n.max())
    n, c = np.append(n, [largest, largest]), np.append(c, [0.0, largest])
    return n, c, np.vstack([np.floor(weights), counts])


@cache
def _table(family: str) -> tuple[tuple[str, ...], Floats, Floats]:
    """Tabulate a family over a wide range of shapes.

    Returns the names and values (P, d) of its parameters, and node weights (P, G).
    """
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
    """Tabulate easier problems beside hard ones, −log p gamma in both."""
    u = _spread(6000, 5).T
    mean, shape, share = 2.0 * 30.0 ** u[0], 300.0 ** u[1], 0.01 * 50.0 ** u[2]
    ratio, shape_easy = 0.05 + 0.75 * u[3], 300.0 ** u[4]
    hard = population_weights("log_gamma", mean, shape)
    easy = population_weights("log_gamma", mean * ratio, shape_easy)
    names = ("mean", "shape", "share_easy", "ratio", "shape_easy")
    shapes = np.stack([mean, shape, share, ratio, shape_easy], axis=1)
    return names, shapes, (1.0 - share)[:, None] * hard + share[:, None] * easy


def _spread(n: int, d: int) -> Floats:
    """Spread n points (n, d) evenly in the unit cube.

    They are multiples of powers of the root of x^(d+1) = x + 1.
    """
    root = float(optimize.brentq(lambda x: x ** (d + 1) - x - 1.0, 1.0, 2.0))
    steps = root ** -np.arange(1.0, d + 1)
    return np.asarray((0.5 + np.arange(1.0, n + 1)[:, None] * steps) % 1.0)


def _mesh(*axes: Floats) -> list[Floats]:
    return [grid.ravel() for grid in np.meshgrid(*axes, indexing="ij")]


def population_weights(
    family: str, first: ArrayLike, second: ArrayLike, scale: ArrayLike = 1.0
) -> Floats:
    """Compute weights (P, G) of populations on the nodes in logit p.

    Rows sum to 1.

    "beta": a, b and the largest p ``scale``; "logit_normal": mean and standard deviation of
    logit p; "log_gamma": −log p is gamma with that mean and shape; "log_lognormal": −log p is
    log-normal with that median and that standard deviation of its logarithm.
    """
    _check.choice("family", family, FAMILIES[:4])
    check = _check.finite if family == "logit_normal" else _check.positive
    checked = check("first", first), _check.positive("second", second)
    x, y = (np.atleast_1d(value)[:, None] for value in checked)
    with np.errstate(over="ignore", under="ignore"):
        if family == "beta":
            s = np.atleast_1d(_check.positive("scale", scale))[:, None]
            p = np.minimum(special.expit(_EDGES) / s, 1.0)
            cumulative = special.betainc(x, y, p)
        elif family == "logit_normal":
            cumulative = special.ndtr((_EDGES - x) / y)
        else:
            surprise = np.logaddexp(0.0, -_EDGES)
            if family == "log_gamma":
                cumulative = special.gammaincc(y, y * surprise / x)
            else:
                with np.errstate(divide="ignore"):
                    cumulative = special.ndtr(np.log(x / surprise) / y)
    _check.finite("first and second", cumulative, "Such a population is beyond floating point.")
    return np.asarray(np.maximum(np.diff(cumulative, axis=1), 0.0))


def _likelihood(n: Floats, c: Floats) -> Floats:
    """Compute the binomial likelihood (problems, G) at the nodes.

    It is known up to a factor per problem.
    """
    information = c * (n - c) / n
    temper = np.minimum(1.0, _MOST_INFORMATION / np.maximum(information, 1e-300))[:, None]
    log = temper * (c[:, None] * _LOG_P + (n - c)[:, None] * _LOG_Q)
    return np.asarray(np.exp(log - log.max(axis=1, keepdims=True)))


def _kinds(n: Floats, c: Floats) -> tuple[Floats, Floats, NDArray[np.intp]]:
    """Find the distinct (n, c), and the kind of each problem."""
    kinds, kind = np.unique(np.stack([n, c]), axis=1, return_inverse=True)
    return kinds[0], kinds[1], kind.ravel()


def _log_evidence(family: str, n: Floats, c: Floats) -> Floats:
    """Compute the log-likelihood (P, kinds) of counts under each shape of a family."""
    with np.errstate(divide="ignore"):
        evidence = np.log(_table(family)[2] @ _likelihood(n, c).T)
    return np.maximum(evidence, -1e6)


def _passed(k: Floats) -> Floats:
    """Compute pass@k at the nodes, (G, K)."""
    return np.asarray(-np.expm1(k * _LOG_Q[:, None]))


def population_moments(weights: Floats, k: Floats) -> tuple[Floats, Floats]:
    """Compute mean and variance of pass@k, (R, K), over populations (R, G)."""
    passed = _passed(k)
    mean = weights @ passed
    return mean, np.maximum(weights @ (passed * passed) - mean * mean, 0.0)


def _fit_average(n: Floats, c: Floats, replicates: int, seed: int) -> KScaling:
    """Average the families by posterior probability, flat priors over tabulated shapes."""
    kn, kc, kind = _kinds(n, c)
    multiplicity = np.bincount(kind).astype(np.float64)
    scores = [_log_evidence(family, kn, kc) @ multiplicity for family in FAMILIES]
    # Families count alike before the data, whatever the number of shapes that stand for them.
    log = np.concatenate([s - np.log(s.size) for s in scores])
    posterior = _posterior(log)
    tables = np.vstack([_table(family)[2] for family in FAMILIES])
    sizes = np.cumsum([s.size for s in scores])[:-1]
    shares = [float(part.sum()) for part in np.split(posterior, sizes)]
    chosen = np.random.default_rng(seed).choice(log.size, size=replicates, p=posterior)
    weights = posterior @ tables
    replicate_weights = tables[chosen]
    return KScaling(
        "average",
        dict(zip(FAMILIES, shares, strict=True)),
        n.size,
        lambda k: population_moments(weights[None], k)[0][0],
        lambda k: population_moments(replicate_weights, k),
        weights,
        seed,
    )


def _posterior(log: Floats) -> Floats:
    """Compute probabilities of tabulated shapes, flattened until several count.

    With many problems the likelihood is narrower than the table is close; the one shape that
    happens to lie next to it must not pass for certainty.
    """

    def probabilities(power: float) -> Floats:
        relative = np.exp(power * (log - log.max()))
        return np.asarray(relative / relative.sum())

    def too_many(log_power: float) -> float:
        return 1.0 / float(np.sum(probabilities(np.exp(log_power)) ** 2)) - _LEAST_SHAPES

    if too_many(0.0) >= 0.0:
        return probabilities(1.0)
    return probabilities(float(np.exp(optimize.brentq(too_many, -30.0, 0.0))))


def _fit_population(n: Floats, c: Floats, form: str, replicates: int, seed: int) -> KScaling:
    """Fit a population by likelihood, again to resampled problems."""
    n_problems = n.size
    n, c, multiplicity = resampled_problems(n, c, replicates, seed)
    # Problems of equal (n, c) are alike: count them.
    kn, kc, kind = _kinds(n, c)
    counts = np.zeros((replicates + 1, kn.size))
    np.add.at(counts.T, kind, multiplicity.T)
    params: dict[str, float]
    if form == "npmle":
        like = _likelihood(kn, kc)
        weights = np.stack([_kiefer_wolfowitz(like, row) for row in counts])
        params = {}
    else:
        # The best tabulated shape, refined for the data as they are.
        names, shapes, table = _table(form)
        score = counts @ _log_evidence(form, kn, kc).T
        best = np.argmax(score, axis=1)
        estimates = _polish(_likelihood(kn, kc), counts[0], shapes[best[0]])
        params, weights = dict(zip(names, estimates.tolist(), strict=True)), table[best]
        weights[0] = population_weights("beta", *estimates)[0]

    def mean(k: Floats) -> Floats:
        if form == "beta":
            a, b = params["a"], params["b"]
            return beta_pass_at_k(a / (a + b), a + b, k)
        return np.asarray(population_moments(weights[:1], k)[0][0])

    return KScaling(
        form,
        params,
        n_problems,
        mean,
        lambda k: population_moments(weights[1:], k),
        weights[0],
        seed,
    )


def _polish(like: Floats, counts: Floats, start: Floats) -> Floats:
    """Maximise the likelihood near the best tabulated a, b and, if any, scale."""

    def cost(x: Floats) -> float:
        weights = population_weights("beta", *np.exp(x))[0]
        return -float(counts @ np.log(np.maximum(like @ weights, 1e-300)))

    ends = [(-14.0, 14.0), (-14.0, 23.0), (-12.0, 0.0)][: start.size]
    solution = optimize.minimize(cost, np.log(start), method="Nelder-Mead", bounds=ends)
    return np.asarray(np.exp(solution.x))


def _kiefer_wolfowitz(like: Floats, counts: Floats, rounds: int = 500) -> Floats:
    """Find the most likely distribution on the nodes, by EM from the flat one."""
    weights = np.full(like.shape[1], 1.0 / like.shape[1])
    share = counts / counts.sum()
    for _ in range(rounds):
        weights = weights * ((share / np.maximum(like @ weights, 1e-300)) @ like)
    return np.asarray(weights / weights.sum())


def _beta_draws(mean: Floats, variance: Floats, rng: np.random.Generator) -> Floats:
    """Draw from Betas of these means and variances, or return the mean.

    The mean stands where no Beta has that variance.
    """
    room = mean * (1.0 - mean)
    ok = (variance > 0) & (room > 0)
    total = np.where(ok, room / np.where(ok, variance, 1.0) - 1.0, 1.0)
    total = np.maximum(total, 1e-9)
    a = np.where(ok, np.maximum(mean * total, 1e-12), 1.0)
    b = np.where(ok, np.maximum((1.0 - mean) * total, 1e-12), 1.0)
    return np.where(ok, rng.beta(a, b), mean)


def nll_from_first_pass(draws: ArrayLike, k: ArrayLike = 1) -> Floats:
    """Estimate −log pass@k from the samples drawn up to the first success.

    The estimate is unbiased.

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
    n_draws, ks = _check.whole("draws", draws, 1.0), _check.whole("k", k, 1.0)
    blocks = np.floor((n_draws - 1.0) / ks)
    return _check.scalar(special.digamma(blocks + 1.0) + np.euler_gamma)


def _check_several(n: Floats, form: str, every_problem: bool) -> None:
    """Refuse single samples, which tell pass@1 and nothing of larger k."""
    fewest = n.min() if every_problem else n.max()
    if fewest < 2:
        position = int(np.argmin(n))
        scope = "a problem" if fewest == n.min() < n.max() else "every problem"
        raise ValueError(
            f"n must be at least 2 to fit form={form!r}, got one sample of {scope} "
            f"(position {position}): single samples give pass@1, the mean of c/n, and say nothing "
            "of larger k. Draw more samples, leave such problems out, or let form='average' use "
            "the others."
        )


def _counts(n: Any, c: Any, least: float = 1.0) -> tuple[Floats, Floats]:
    n_, c_ = (np.atleast_1d(values) for values in _check.counts(n, c, least))
    _check.one_length({"n": n_, "c": c_})
    return n_, c_
