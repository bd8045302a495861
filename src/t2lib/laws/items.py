"""Forecast the log-likelihood of every ranked item from N and D.

A loss follows from N and D, and every rank's log-likelihood from the loss.

Ours, not the T² paper's; Approach 1 and 2 stand beside it in ``t2lib.laws.power``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from t2lib import _check
from t2lib._check import Floats, Ints
from t2lib.laws.base import Law
from t2lib.laws.fit import FitResult, FitStatus
from t2lib.laws.observations import (
    Observations,
    checked_rows,
    checkpoints,
    domain,
    fingerprint,
    group_names,
)
from t2lib.laws.power import InteractionLaw
from t2lib.laws.solver.least_squares import CHUNK
from t2lib.passk import log_pass_at_k

CEILING = -1e-9  # largest log-likelihood a forecast may give: p just under 1
QUADRATURE = 96  # rank bins that stand for all items in a forecast
HUBER = 1.345  # robust standard deviations beyond which a checkpoint's pull stops growing
STEPS = 20  # of reweighting
NOISE_K = (1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0, 65536.0)  # where the noise is measured


class ItemLaw(Law):
    """Predict pass@k from sorted items that are linear in the loss.

    Stage 1 is an ``InteractionLaw`` of a loss V(N, D): validation or pretraining loss if there is
    one (less noisy), else the task's NLL. Stage 2 sorts the items of each checkpoint by
    log-likelihood, writes the sorted curve with a few nodes (linear between them in the logit of
    the rank), and regresses each node on V̂, with Huber's weights: first-token probabilities swing
    from checkpoint to checkpoint, and a few large swings would tilt a least squares line. From the
    forecast curve follow pass@k at every k, its mean over items and the task NLL, without assuming
    a distribution over questions.

    ``predict`` gives accuracy (mean pass@k); ``predict_nll`` the mean of −log pass@k.

    Parameters
    ----------
    n_nodes : int
        Nodes of the sorted curve; they crowd toward the easiest items, which decide small k.
    ratio_weight : float
        Passed to the ``InteractionLaw``.
    """

    kind = "items"
    metric = "accuracy"
    uses_k = True
    param_names = InteractionLaw.param_names

    def __init__(self, n_nodes: int = 10, ratio_weight: float = 0.5, n_items: int = 0) -> None:
        super().__init__()
        self.n_nodes = _check.count("n_nodes", n_nodes, 4, 40)
        self.ratio_weight = float(ratio_weight)
        self.n_items = int(n_items)  # set by fit; an argument only so that a file restores it

    def options(self) -> dict[str, Any]:
        """Return the constructor's arguments, for JSON."""
        return {
            "n_nodes": self.n_nodes,
            "ratio_weight": self.ratio_weight,
            "n_items": self.n_items,
        }

    def positive_params(self) -> tuple[str, ...]:
        """Return the names of parameters that cannot be negative."""
        return ("E", "A", "alpha", "B", "beta")

    # Fitting

    def fit(
        self,
        *,
        N: ArrayLike,
        D: ArrayLike,
        nll: ArrayLike,
        logp: ArrayLike,
        item_weights: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> Self:
        """Fit to the loss and the items' log-likelihoods of each checkpoint.

        Parameters
        ----------
        N, D, nll : (n,)
            Sizes, tokens and loss (nats) of the checkpoints.
        logp : (n, m)
            Natural log-likelihood of each item's answer, ≤ 0; or the means of m rank bins, best
            bin first, with ``item_weights`` (m,) as the number of items in each.
        groups : (n,), optional
            What the bootstrap resamples, such as training runs with many checkpoints each.

        Raises
        ------
        ValueError
            As ``InteractionLaw.fit``; also if ``logp`` has another number of rows, is above 0 or
            not finite, or has fewer than twice as many columns as there are nodes.
        """
        rows = checked_rows(N=N, D=D, nll=nll)
        values = _check.finite("logp", logp, "Drop items that a checkpoint cannot answer at all.")
        n_rows = rows["N"].size
        if values.ndim != 2 or values.shape[0] != n_rows:
            raise ValueError(
                f"logp must have shape ({n_rows}, items), one row per checkpoint, got "
                f"{values.shape}."
            )
        _check.require("logp", values, values <= 0, "at most 0", "Pass natural logs of p.")
        if values.shape[1] < 2 * self.n_nodes:
            raise ValueError(
                f"logp must have at least {2 * self.n_nodes} items for {self.n_nodes} nodes, got "
                f"{values.shape[1]}. Use fewer nodes or more items."
            )
        if item_weights is None:
            values = np.sort(values, axis=1)[:, ::-1]
            sizes = np.ones(values.shape[1])
        else:
            sizes = _check.positive("item_weights", item_weights)
            if sizes.shape != (values.shape[1],):
                raise ValueError(
                    f"item_weights must have one value per column of logp ({values.shape[1]}), got "
                    f"shape {sizes.shape}."
                )
        group_ids = checkpoints(rows, groups)
        # Stage 1: the loss from N and D.
        self._stage1 = InteractionLaw(ratio_weight=self.ratio_weight)
        self._stage1.fit(**{name: rows[name] for name in ("N", "D", "nll")}, groups=group_ids)
        self._items = values, sizes
        # Stage 2: a robust line in the loss for each node of the sorted curve.
        self.n_items = round(float(sizes.sum()))
        self._nodes_of = self._project(values, sizes)
        loss = self._stage1.predict(N=rows["N"], D=rows["D"])
        level, slope, self._spread = _first_lines(loss, self._nodes_of)
        lines = self._flat(level, slope)
        params = self._stage1.params_ | {str(name): float(lines[name][0]) for name in lines}
        curve = self.sorted_curve(params, loss)
        measured = self._nodes_of @ self._basis().T
        bin_sizes = self._bins()[1]
        # Only stage 1 has a covariance; the lines' part is unknown.
        n_lines = len(params) - len(self.param_names)
        wide = np.full((len(params), len(params)), np.nan)
        if self._stage1.covariance_ is not None:
            wide[: -n_lines or None, : -n_lines or None] = self._stage1.covariance_
        self.result_ = FitResult(
            params,
            objective=float((bin_sizes * (curve - measured) ** 2).sum() / bin_sizes.sum()),
            status=self._judge(slope[0]),
            fitted_range=domain(rows),  # k has no range of its own: items give every k
            fingerprint=fingerprint(rows, group_ids) | {"n_items": self.n_items},
            covariance=wide,
            observations=Observations.of(rows, np.empty(0), group_ids, names=group_names(groups)),
        )
        return self

    def noise_rows(self) -> tuple[Floats, Floats, Floats, Floats] | None:
        """Return N, D, k and measured pass@k of each checkpoint at a few k, or None."""
        data = self.observations_
        if data is None:
            return None
        logp = np.minimum(self._nodes_of @ self._basis().T, CEILING)
        parts = [-np.expm1(k * np.log1p(-np.exp(logp))) @ self.bin_shares() for k in NOISE_K]
        N, D = (np.tile(data.sizes[name], len(NOISE_K)) for name in ("N", "D"))
        return N, D, np.repeat(NOISE_K, len(parts[0])), np.concatenate(parts)

    def _judge(self, slope: Floats) -> FitStatus:
        first = self._stage1.status_
        if not first.ok:
            return FitStatus(first.code, f"Stage 1 (loss): {first.message}")
        if (slope > 0).any():
            return FitStatus(
                "at_bound",
                f"{int((slope > 0).sum())} of {slope.size} nodes rise with the loss: those items "
                "do not follow it, so read forecasts that depend on them with care.",
            )
        return FitStatus(first.code, f"Stage 1 (loss): {first.message}")

    def _measured_table(self, data: Observations) -> pd.DataFrame:
        """Return measured pass@k of the fitted checkpoints, k in powers of 4."""
        logp, sizes = self._items
        share = sizes / sizes.sum()
        frames = []
        for k in 4.0 ** np.arange(9):
            solved = -np.expm1(k * np.log1p(-np.exp(np.minimum(logp, CEILING))))
            mean = solved @ share
            variance = np.maximum(solved**2 @ share - mean**2, 0.0)
            # A rank bin counts as its questions, which differ little within it.
            error = np.sqrt(variance / max(sizes.sum() - 1, 1))
            columns = {"group": data.group_ids, "k": k, "accuracy": mean, "accuracy_se": error}
            frames.append(pd.DataFrame({**data.sizes, **columns}))
        return pd.concat(frames, ignore_index=True)

    def _logit_nodes(self) -> Floats:
        """Return node positions in logit(rank/n).

        They are geometric from the easiest item, with three in the tail.
        """
        share = np.concatenate(
            [np.geomspace(0.5 / self.n_items, 0.5, self.n_nodes - 3), [0.75, 0.9, 0.97]]
        )
        return np.asarray(np.log(share / (1 - share)))

    def _bins(self) -> tuple[Floats, Floats]:
        """Return mid-ranks and sizes of the bins for all items.

        The bins are fine at both ends.
        """
        n = self.n_items
        half_edges = np.geomspace(1, n / 2 + 1, QUADRATURE // 2) - 1
        edges = np.unique(np.round(np.concatenate([half_edges, n - half_edges])).astype(np.intp))
        sizes = np.diff(edges).astype(np.float64)
        return edges[:-1] + sizes / 2, sizes

    def _basis(self) -> Floats:
        """Return hat functions of the nodes at mid-ranks, (bins, nodes)."""
        middle, _ = self._bins()
        return _hats(np.log(middle / (self.n_items - middle)), self._logit_nodes())

    def _project(self, values: Floats, sizes: Floats) -> Floats:
        """Project each checkpoint's sorted curve on node values (n, J).

        By least squares over items.
        """
        middle = np.cumsum(sizes) - sizes / 2
        hats = _hats(np.log(middle / (self.n_items - middle)), self._logit_nodes())
        root = np.sqrt(sizes)[:, None]
        solved = np.linalg.lstsq(hats * root, (values * root[:, 0]).T, rcond=None)[0]
        return np.asarray(solved.T)

    def _flat(self, level: Floats, slope: Floats) -> pd.DataFrame:
        return pd.DataFrame(np.hstack([level, slope]), columns=list(self._line_names()))

    def _line_names(self) -> tuple[str, ...]:
        return tuple(f"{kind}_{j:02d}" for kind in ("level", "slope") for j in range(self.n_nodes))

    def _all_params(self) -> tuple[str, ...]:
        return self.param_names + self._line_names()

    def _refit(self, counts: Floats, groups: Ints) -> tuple[pd.DataFrame, NDArray[np.bool_]]:
        data = self._data()
        stage1, converged = self._stage1._refit(counts, groups)
        columns = {str(name): stage1[name].to_numpy()[:, None] for name in stage1}
        loss = self._stage1.curve(columns, data.sizes["N"], data.sizes["D"], np.ones(1))
        level, slope = _lines(loss, self._nodes_of, counts[:, groups], self._spread)
        return pd.concat([stage1, self._flat(level, slope)], axis=1), converged

    # Forecasts

    def sorted_curve(self, params: Mapping[str, Any], loss: Floats) -> Floats:
        """Forecast log-likelihoods at the rank bins, shape (..., bins)."""
        level, slope = (
            np.stack([np.asarray(params[f"{kind}_{j:02d}"]) for j in range(self.n_nodes)], axis=-1)
            for kind in ("level", "slope")
        )
        nodes = level + slope * np.asarray(loss)[..., None]
        return np.asarray(np.minimum(nodes @ self._basis().T, CEILING))

    def item_logp(self, params: Mapping[str, Any], N: Floats, D: Floats) -> Floats:
        """Return forecast log-likelihoods at the rank bins, shape (..., bins).

        ``bin_shares`` says which share of the items each bin stands for.
        """
        return self.sorted_curve(params, InteractionLaw().curve(params, N, D, np.ones(1)))

    def _logp(
        self, params: Mapping[str, Any], N: Floats, D: Floats, k: Floats
    ) -> tuple[Floats, Floats]:
        """Forecast log-likelihoods at the rank bins and broadcast k.

        k has the same shape but for the bins.
        """
        loss = InteractionLaw().curve(params, N, D, np.ones(1))
        loss, k = np.broadcast_arrays(loss, k)
        return self.sorted_curve(params, loss), np.asarray(k[..., None])

    def _log_pass(self, params: Mapping[str, Any], N: Floats, D: Floats, k: Floats) -> Floats:
        return np.asarray(log_pass_at_k(*self._logp(params, N, D, k)))

    def curve(self, params: Mapping[str, Any], N: Floats, D: Floats, k: Floats) -> Floats:
        """Return predictions at parameters that broadcast against N, D and k, unchecked."""
        # Not by way of log pass@k, which holds more digits than a mean over items can show: this
        # is where every search for an optimum spends its time.
        logp, k = self._logp(params, N, D, k)
        return np.asarray(-np.expm1(k * np.log1p(-np.exp(logp))) @ self.bin_shares())

    def bin_shares(self) -> Floats:
        """Return the share of all items that each rank bin stands for."""
        _, sizes = self._bins()
        return np.asarray(sizes / sizes.sum())

    def predict_nll(self, *, N: ArrayLike, D: ArrayLike, k: ArrayLike) -> Floats:
        """Predict the task NLL under k samples.

        It is the mean over items of −log pass@k. Arguments and errors are those of ``predict``.
        """
        sizes = self.checked_sizes(N, D, k)
        return np.asarray(-self._log_pass(self.check_fitted().params, *sizes) @ self.bin_shares())

    def replicate_nll(self, *, N: ArrayLike, D: ArrayLike, k: ArrayLike) -> Floats:
        """Return ``predict_nll`` of every bootstrap replicate, shape (R, …).

        Raises
        ------
        ValueError
            If there was no bootstrap.
        """
        if self.bootstrap_ is None:
            raise ValueError("replicate_nll needs replicates, got none. Call bootstrap first.")
        sizes = self.checked_sizes(N, D, k)
        columns = self.bootstrap_.columns(*sizes)
        return np.asarray(-self._log_pass(columns, *sizes) @ self.bin_shares())

    def predict_loss(self, *, N: ArrayLike, D: ArrayLike) -> Floats:
        """Predict the loss V(N, D) of stage 1, in nats."""
        n, d, ones = self.checked_sizes(N, D, 1.0)
        return np.asarray(InteractionLaw().curve(self.check_fitted().params, n, d, ones))


def _hats(x: Floats, nodes: Floats) -> Floats:
    """Return piecewise linear hat functions of the nodes.

    Column j is 1 at node j and 0 at the others; flat outside.
    """
    return np.stack([np.interp(x, nodes, row) for row in np.eye(nodes.size)], axis=1)


def _first_lines(loss: Floats, nodes: Floats) -> tuple[Floats, Floats, Floats]:
    """Fit robust lines (1, J) and the spread (J,) about them."""
    ones = np.ones((1, loss.size))
    level, slope = _weighted(loss[None], nodes, ones[:, :, None])
    for _ in range(STEPS):
        distance = np.abs(nodes - level - slope * loss[:, None])
        spread = np.maximum(1.4826 * np.median(distance, axis=0), 1e-9)
        level, slope = _weighted(loss[None], nodes, _pull(distance, spread)[None])
    return level, slope, spread


def _lines(loss: Floats, nodes: Floats, w: Floats, spread: Floats) -> tuple[Floats, Floats]:
    """Fit robust lines of the nodes to resampled losses (R, n).

    ``nodes`` is (n, J), ``w`` (R, n), and the spread (J,) is that of the fit. Returns levels and
    slopes (R, J).
    """
    size = max(1, CHUNK // nodes.size)
    parts = []
    for start in range(0, loss.shape[0], size):
        x, weights = loss[start : start + size], w[start : start + size, :, None]
        level, slope = _weighted(x, nodes, weights)
        for _ in range(STEPS):
            distance = np.abs(nodes - level[:, None] - slope[:, None] * x[:, :, None])
            level, slope = _weighted(x, nodes, weights * _pull(distance, spread))
        parts.append((level, slope))
    return np.concatenate([a for a, _ in parts]), np.concatenate([b for _, b in parts])


def _pull(distance: Floats, spread: Floats) -> Floats:
    """Return Huber's weights of residuals."""
    return np.minimum(1.0, HUBER * spread / np.maximum(distance, 1e-12))


def _weighted(loss: Floats, nodes: Floats, w: Floats) -> tuple[Floats, Floats]:
    """Fit weighted least squares lines, levels and slopes (R, J).

    Weights are (R, n, J) or (R, n, 1).
    """
    total = w.sum(axis=1)
    middle = np.einsum("rnj,rn->rj", w, loss) / total
    height = np.einsum("rnj,nj->rj", np.broadcast_to(w, (*loss.shape, nodes.shape[1])), nodes)
    height = height / total
    centred = loss[:, :, None] - middle[:, None]
    pulled = w * centred
    slope = np.einsum("rnj,nj->rj", np.broadcast_to(pulled, (*loss.shape, nodes.shape[1])), nodes)
    slope = slope / (pulled * centred).sum(axis=1)
    return height - slope * middle, slope
